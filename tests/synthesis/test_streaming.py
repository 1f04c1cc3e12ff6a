"""Speech in pieces: the same sound as in one go, the first piece at once, and nothing left behind when one leaves."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from test_reference import speech as noise

from toolkit.errors import BadText, UsageError
from toolkit.synthesis.decoding import FrameStream
from toolkit.synthesis.result import SpeechWarning
from toolkit.synthesis.speaker import Speech, load
from toolkit.synthesis.streaming import CHUNK_FRAMES, SpeechStream, StreamTiming

Speeches = Callable[..., Speech]
TEXT = "Hello there, how are you today?"


def joined(stream: SpeechStream) -> NDArray[np.float32]:
    return np.concatenate([samples for samples, _ in stream])


@pytest.mark.parametrize("chunks", [CHUNK_FRAMES, (1,), (3, 7), (1000,)])
def test_pieces_in_a_row_are_the_whole(speech: Speeches, chunks: tuple[int, ...]) -> None:
    whole = speech().speak(TEXT, speaker="vivian", max_frames=30, seed=3)
    stream = speech().stream(TEXT, speaker="vivian", max_frames=30, seed=3, chunk_frames=chunks)
    found = joined(stream)
    assert found.shape == whole.samples.shape
    assert float(np.abs(found - whole.samples).max()) < 1e-4


def test_pieces_grow_and_carry_their_timing(speech: Speeches) -> None:
    began = time.perf_counter()
    pieces = list(speech().stream(TEXT, max_frames=27, seed=2))
    timings = [timing for _, timing in pieces]
    frames = [timing.frames for timing in timings]
    assert len(frames) >= 3
    assert tuple(frames[:-1]) == CHUNK_FRAMES[: len(frames) - 1]  # the last piece takes what is left
    assert all(samples.size == 1920 * count for (samples, _), count in zip(pieces, frames, strict=True))
    assert [timing.audio_s for timing in timings] == pytest.approx((0.08 * np.cumsum(frames)).tolist())
    assert timings == sorted(timings, key=lambda timing: timing.elapsed_s)
    assert timings[-1].elapsed_s < time.perf_counter() - began
    assert StreamTiming(1, 1, 0.5, 0.08).lead_s == pytest.approx(-0.42)


def test_the_report_comes_with_the_last_piece(speech: Speeches) -> None:
    stream = speech().stream(TEXT, speaker="ryan", max_frames=10, seed=3)
    next(stream)
    assert stream.report is None
    rest = list(stream)
    report = stream.report
    assert report is not None
    assert (report.seed, report.text, len(report.parts)) == (3, TEXT, 1)
    assert report.frames == 1 + sum(timing.frames for _, timing in rest)
    assert report.seconds == pytest.approx(report.frames * 0.08)
    assert report.first_audio_s < report.timings_s["total"]
    assert report.to_json()["frames"] == report.frames
    with pytest.raises(StopIteration):
        next(stream)


def test_a_clone_is_streamed_behind_its_reference(speech: Speeches) -> None:
    model = speech("base")
    with pytest.warns(SpeechWarning):
        voice = model.make_voice("anna", (noise(1.5, 16000), 16000), ref_text="What was said.")
    whole = model.clone(TEXT, voice=voice, max_frames=12, seed=1)
    found = joined(model.stream(TEXT, voice=voice, max_frames=12, seed=1))
    assert found.shape == whole.samples.shape
    assert float(np.abs(found - whole.samples).max()) < 1e-4


def test_parts_of_a_long_text_follow_with_their_pauses(demo: Callable[..., Path]) -> None:
    model = load(demo(), device="cpu", max_text_length=40)
    text = "One sentence is spoken here. Two sentences are better. "
    whole = model.speak(text, max_frames=10, seed=1)
    stream = model.stream(text, max_frames=10, seed=1)
    found = joined(stream)
    assert stream.report is not None
    assert [part.pause_s for part in stream.report.parts] == [0.45, 0.0]
    assert [part.text for part in stream.report.parts] == [part.text for part in whole.parts]
    assert found.size / 24000 == pytest.approx(stream.report.frames * 0.08 + 0.45, abs=0.45)
    assert stream.report.seconds == pytest.approx(found.size / 24000)


def test_a_text_of_any_length_can_be_streamed(speech: Speeches) -> None:
    stream = speech().stream("字" * 100_000, max_frames=1)
    samples, timing = next(stream)
    assert timing.part == 1
    assert samples.size == 1920 - 192  # the last 8 ms are held back for a fade
    stream.close()


def test_errors_come_before_the_first_piece(speech: Speeches) -> None:
    with pytest.raises(BadText, match="nothing to speak"):
        speech().stream("😀")
    with pytest.raises(UsageError, match="No speaker"):
        speech().stream(TEXT, speaker="nobody")
    with pytest.raises(UsageError, match="chunk_frames must be whole numbers of at least 1"):
        speech().stream(TEXT, chunk_frames=())
    with pytest.raises(UsageError, match="chunk_frames must be whole numbers of at least 1"):
        speech().stream(TEXT, chunk_frames=(1, 0))
    with pytest.raises(UsageError, match="a custom_voice model takes no voice"):
        speech().stream(TEXT, voice="anna.voice.safetensors")


def test_leaving_early_lets_go_of_the_caches(speech: Speeches) -> None:
    def alive() -> set[int]:
        gc.collect()
        return {id(item) for item in gc.get_objects() if type(item) is FrameStream}

    before = alive()  # other tests' fixtures may hold some
    stream = speech().stream(TEXT, max_frames=30, seed=1)
    next(stream)
    assert len(alive() - before) == 1
    stream.close()
    with pytest.raises(StopIteration):
        next(stream)
    del stream
    assert not alive() - before


def test_the_callers_code_is_not_in_inference_mode(speech: Speeches) -> None:
    stream = speech().stream(TEXT, max_frames=5, seed=1)
    for _ in stream:
        assert not torch.is_inference_mode_enabled()
        torch.ones(2, requires_grad=True).sum().backward()


def test_two_streams_in_turns_do_not_mix(speech: Speeches) -> None:
    alone = [joined(speech().stream(TEXT, max_frames=12, seed=seed)) for seed in (1, 2)]
    streams = [speech().stream(TEXT, max_frames=12, seed=seed) for seed in (1, 2)]
    found: list[list[NDArray[np.float32]]] = [[], []]
    going = [0, 1]
    while going:
        for index in list(going):
            piece = next(streams[index], None)
            if piece is None:
                going.remove(index)
            else:
                found[index].append(piece[0])
    for index in (0, 1):
        assert np.concatenate(found[index]) == pytest.approx(alone[index], abs=1e-5)
