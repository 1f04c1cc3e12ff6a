"""Autocast around BF16 weights: the same speech, and nothing else is offered."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import UsageError
from toolkit.synthesis.demo_model import make_demo_model
from toolkit.synthesis.speaker import load


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_model(tmp_path_factory.mktemp("model") / "demo", seed=4).folder


def test_on_bf16_weights_autocast_finds_nothing_to_cast(folder: Path) -> None:
    codes = []
    for autocast in (False, True):
        speech = load(folder, device="cpu", dtype="bfloat16", autocast=autocast)
        settings = speech.sampling().greedy()
        codes.append(speech.speak("Hello there.", speaker="Vivian", settings=settings, max_frames=6).codes)
    assert (codes[0] == codes[1]).all()


def test_on_other_weights_autocast_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="add dtype='bfloat16'"):
        load(folder, device="cpu", dtype="float32", autocast=True)
