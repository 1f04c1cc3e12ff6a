"""What could not be captured reaches the notes of one result, in a sentence each, and no later one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.synthesis.fast.backend import FastBackend
from toolkit.synthesis.fast.codec_runner import choose_codec_path
from toolkit.synthesis.fast.path import choose_path
from toolkit.synthesis.speaker import Speech, load

FRAMES = choose_path("cuda", (9, 0), "3.4.0", capture_fault="no graph today")
CODEC = choose_codec_path("cuda", fast=True, capture_fault="none for sound")
PROMPTS = (
    "The reading of prompts could not be captured as a CUDA graph: no prompt is recorded. Speech is the same, but "
    "begins later."
)


class FramesOnly:
    """Records the first thing that it is given, which is a frame; then prompts, which it refuses."""

    def __init__(self) -> None:
        self.asked = 0

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        self.asked += 1
        work()
        if self.asked > 1:
            raise RuntimeError("no prompt is recorded\nmore")
        return work


def sentence(told: str) -> str:
    return told[0].upper() + told[1:]


@pytest.fixture
def unlucky(demo: Callable[..., Path]) -> Speech:
    """Frames are no graphs, prompts cannot be recorded, and the codec runs step by step."""
    model = load(demo(), dtype="float32", device="cpu", path="fast").model
    speech = Speech(model, backend=FastBackend(model.talker, path=FRAMES, recorder=FramesOnly()))
    speech._pipeline.codec.path = CODEC
    return speech


def test_a_result_says_once_what_could_not_be_captured(unlucky: Speech) -> None:
    first, second = unlucky.speak_many(["Hello.", "One more."], speaker="Ryan", seed=1, max_frames=3)
    for told in (sentence(FRAMES.warning), PROMPTS, sentence(CODEC.warning)):
        assert first.notes.count(told) == 1
        assert told not in second.notes
    later = unlucky.speak("Hello.", speaker="Ryan", seed=1, max_frames=3)
    assert not any("could not be captured" in note for note in (*second.notes, *later.notes))


def test_a_stream_says_it_in_its_report(unlucky: Speech) -> None:
    stream = unlucky.stream("Hello.", speaker="Ryan", seed=1, max_frames=3)
    assert len(list(stream)) > 0
    assert stream.report is not None
    assert sum("could not be captured" in note for note in stream.report.notes) == 3
    later = unlucky.speak("Hello.", speaker="Ryan", seed=1, max_frames=3)
    assert not any("could not be captured" in note for note in later.notes)


def test_what_fails_later_is_still_told(unlucky: Speech) -> None:
    unlucky._pipeline.codec.path = choose_codec_path("cpu", fast=True)
    first = unlucky.speak("Hello.", speaker="Ryan", seed=1, max_frames=3)
    assert sentence(CODEC.warning) not in first.notes
    unlucky._pipeline.codec.path = CODEC
    assert sentence(CODEC.warning) in unlucky.speak("Hello.", speaker="Ryan", seed=1, max_frames=3).notes


def test_where_nothing_failed_nothing_is_said(demo: Callable[..., Path]) -> None:
    speech = load(demo(), dtype="float32", device="cpu", path="fast")
    assert not any("captured" in note for note in speech.speak("Hello.", speaker="Ryan", seed=1, max_frames=3).notes)
