"""Joining waveforms: one part untouched, several without a click, at one level, with the right pauses."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from toolkit.errors import UsageError
from toolkit.synthesis.joining import (
    FADE_S,
    KEPT_SILENCE_S,
    MAX_GAIN_DB,
    StreamJoiner,
    active_level,
    join_parts,
)

RATE = 24000
Samples = NDArray[np.float32]


def tone(seconds: float, level: float = 0.3, lead_s: float = 0.0, tail_s: float = 0.0) -> Samples:
    """A tone that begins and ends away from zero, between silences."""
    wave = level * np.cos(2 * np.pi * 150 * np.arange(round(seconds * RATE)) / RATE)
    return np.concatenate([np.zeros(round(lead_s * RATE)), wave, np.zeros(round(tail_s * RATE))]).astype(np.float32)


def steps(wave: Samples) -> float:
    return float(np.abs(np.diff(wave)).max())


def longest_silence_s(wave: Samples) -> float:
    quiet = np.concatenate(([False], np.abs(wave) < 1e-6, [False])).astype(int)
    edges = np.flatnonzero(np.diff(quiet))
    return float((edges[1::2] - edges[::2]).max()) / RATE if edges.size else 0.0


def test_a_single_part_comes_back_as_it_is() -> None:
    wave = tone(0.5)
    assert join_parts([wave], [0.0], RATE) is wave
    assert join_parts([np.zeros(0, np.float32), wave], [0.3, 0.0], RATE) is wave
    assert join_parts([], [], RATE).size == 0


def test_there_is_no_click_at_a_seam() -> None:
    part = tone(0.5)
    natural = steps(part)
    assert steps(np.concatenate([part, np.zeros(100, np.float32), part])) > 5 * natural
    joined = join_parts([part, part], [0.2, 0.0], RATE)
    assert steps(joined) < 1.5 * natural
    assert abs(joined[0]) < 0.01
    assert abs(joined[-1]) < 0.01


@pytest.mark.parametrize("pause_s", [0.2, 0.45, 0.8])
@pytest.mark.parametrize("silence_s", [0.0, 0.03, 0.7])
def test_the_pause_is_the_same_whatever_silence_the_parts_bring(pause_s: float, silence_s: float) -> None:
    part = tone(0.4, lead_s=silence_s, tail_s=silence_s)
    joined = join_parts([part, part], [pause_s, 0.0], RATE)
    # Trimming works in blocks of 20 ms.
    assert longest_silence_s(joined) == pytest.approx(pause_s, abs=0.045)


def test_parts_are_brought_to_one_level_within_bounds() -> None:
    quiet, usual, loud = tone(0.5, 0.15), tone(0.5, 0.2), tone(0.5, 0.3)
    joined = join_parts([quiet, usual, loud], [0.3, 0.3, 0.0], RATE)
    levels = [active_level(joined[start : start + RATE // 3], RATE) for start in (2000, 2000 + round(0.8 * RATE))]
    assert levels[0] == pytest.approx(levels[1], rel=0.05)
    whisper = tone(0.5, 0.01)
    joined = join_parts([whisper, usual, usual], [0.3, 0.3, 0.0], RATE)
    gain = active_level(joined[2000:9000], RATE) / active_level(whisper, RATE)
    assert 20 * np.log10(gain) == pytest.approx(MAX_GAIN_DB, abs=0.1)


def test_nothing_is_clipped_and_the_type_stays() -> None:
    peaky = tone(0.5, 0.2)
    peaky[5000] = 0.99
    joined = join_parts([tone(0.5, 0.6), peaky, tone(0.5, 0.6)], [0.1, 0.1, 0.0], RATE)
    assert joined.dtype == np.float32
    assert float(np.abs(joined).max()) <= 1.0


def test_a_silent_part_becomes_its_pause() -> None:
    joined = join_parts([tone(0.3), np.zeros(RATE, np.float32), tone(0.3)], [0.2, 0.2, 0.0], RATE)
    assert joined.size / RATE == pytest.approx(0.3 + 0.4 + 0.3, abs=0.06)


def test_each_part_needs_its_pause() -> None:
    with pytest.raises(UsageError, match="2 parts and 1 pauses"):
        join_parts([tone(0.1), tone(0.1)], [0.1], RATE)


def streamed(parts: list[Samples], pauses: list[float], piece: int) -> Samples:
    joiner, found = StreamJoiner(RATE), []
    for index, (part, pause) in enumerate(zip(parts, pauses, strict=True)):
        found += [joiner.feed(part[start : start + piece]) for start in range(0, part.size, piece)]
        found.append(joiner.end_part(pause, last=index + 1 == len(parts)))
    return np.concatenate(found)


@pytest.mark.parametrize("piece", [100, 1920, 100_000])
def test_streamed_parts_have_the_same_pauses_and_no_click(piece: int) -> None:
    parts = [tone(0.4, tail_s=0.1), tone(0.4, lead_s=0.3), tone(0.4)]
    assert longest_silence_s(streamed(parts, [0.5, 0.2, 0.0], piece)) == pytest.approx(0.5, abs=0.01)
    part = tone(0.4)
    assert steps(streamed([part, part, part], [0.5, 0.2, 0.0], piece)) < 1.5 * steps(part)


def test_the_only_part_of_a_stream_is_not_touched() -> None:
    part = tone(0.4)
    assert np.array_equal(streamed([part], [0.0], 500), part)


def test_fades_are_too_short_to_be_heard() -> None:
    assert 0.005 <= FADE_S <= 0.010
    assert KEPT_SILENCE_S > FADE_S
