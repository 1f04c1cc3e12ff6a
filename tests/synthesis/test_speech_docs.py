"""docs/speech.md: the Python examples run as they stand, with demo models in place of trained ones."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from test_reference import speech as noise

import toolkit
from toolkit.synthesis import speaker
from toolkit.synthesis.hub import PINNED
from toolkit.synthesis.speaker import Speech

PAGE = Path(__file__).parents[2] / "docs" / "speech.md"
KINDS = {"pocket": "custom_voice", "1.7B-Base": "base", "1.7B-VoiceDesign": "voice_design"}


def test_the_python_examples_run(
    speech: Callable[..., Speech], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(model: str, **_: Any) -> Speech:
        return speech(KINDS[model])

    monkeypatch.setattr(toolkit, "load", load, raising=False)
    # With this seed the designed sample is long enough to be a reference.
    monkeypatch.setattr(speaker.secrets, "randbelow", lambda _: 1)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "voices").mkdir()
    soundfile.write(tmp_path / "me.wav", noise(4.0), 24000)
    played: list[int] = []
    names: dict[str, Any] = {"play": lambda samples: played.append(samples.size)}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 2
    script = tmp_path.parent / f"{tmp_path.name}-examples.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    runpy.run_path(str(script), init_globals=names)
    assert sum(played) > 0
    made = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))
    assert made == ["me.wav", "out.wav", "out.wav.json", "voices/me.voice.safetensors"]


def test_the_models_of_the_examples_exist() -> None:
    named = set(re.findall(r"(?:--model |load\(\"|download )([01]\.\d[\w.-]*)", PAGE.read_text("utf-8")))
    assert named
    assert all(any(full.endswith(name) for full in PINNED) for name in named)
