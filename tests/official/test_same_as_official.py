"""Ours and the official package on the same checkpoints and texts: equal codes, logits and waves.

``pytest tests/official --official PYTHON``; see docs/parity.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from comparison import (
    Difference,
    Side,
    compare_codec,
    compare_interface,
    compare_low_precision,
    compare_speech,
    plainly_asked,
)
from golden_set import GoldenCase, GoldenSet

from toolkit.synthesis.speaker import load

Compare = Callable[[Side, GoldenSet, GoldenCase], Iterator[Difference]]


def differences(official: GoldenSet, dtype: str, compare: Compare, *, codec: bool = False, pack: bool = True) -> str:
    """All differences, one a line, so that a failure names every case at once."""
    told: list[str] = []
    count = 0
    for name, recipe in official.checkpoints.items():
        if recipe["dtype"] != dtype:
            continue
        side = Side(official.folder / "checkpoints" / name, getattr(torch, dtype), pack=pack)
        cases = official.cases(name)
        if codec:
            both = official.codec_cases("codec_decode") + official.codec_cases("codec_encode")
            cases = [case for case in both if case.checkpoint == name]
        count += len(cases)
        found = [difference for case in cases for difference in compare(side, official, case)]
        told += [f"{name}/{one.case}[{one.row}] {one.what}: {one.detail}" for one in found]
    assert count, "no case was compared"
    return "\n".join(told)


@pytest.mark.parametrize("pack", [True, False], ids=["packed weights", "plain weights"])
def test_greedy_and_drawn_speech_is_the_official_one(official: GoldenSet, pack: bool) -> None:
    assert differences(official, "float32", compare_speech, pack=pack) == ""


def test_the_codec_alone_is_the_official_one(official: GoldenSet) -> None:
    assert differences(official, "float32", compare_codec, codec=True) == ""


def test_in_bfloat16_first_logits_point_where_the_official_ones_do(official: GoldenSet) -> None:
    assert differences(official, "bfloat16", compare_low_precision) == ""


@pytest.mark.filterwarnings("ignore::toolkit.synthesis.result.SpeechWarning")
def test_the_python_interface_gives_the_official_codes_and_waves(official: GoldenSet) -> None:
    told: list[str] = []
    count = 0
    for name, recipe in official.checkpoints.items():
        cases = [case for case in official.cases(name) if plainly_asked(case)]
        if recipe["dtype"] == "float32" and cases:
            folder = official.folder / "checkpoints" / name
            speech = load(folder, device="cpu", dtype="float32", max_text_length=1000)
            found = [difference for case in cases for difference in compare_interface(speech, official, case)]
            told += [f"{name}/{one.case} {one.what}: {one.detail}" for one in found]
            count += len(cases)
    assert count, "no case was compared"
    assert told == []
