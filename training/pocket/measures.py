"""What a style commands, measured in the sound: length, pauses, rate, pitch, its spread, level, voice or whisper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.acoustics.pitch import median_f0_hz, track_pitch, voiced_share
from training.pocket.espeak import Phone

__all__ = ["Measures", "Pause", "boundaries", "boundary_pauses", "measure", "pearson", "semitones", "speech_s"]

SAMPLE_RATE_HZ = 24_000
SHORTEST_PAUSE_S = 0.060
"""Shorter silences are closures of stops at an ordinary rate."""

_WINDOW_S, _HOP_S = 0.020, 0.005
_QUIET_BELOW_DB = 32.0
"""A frame so far below the louder speech (its 95th percentile) is silent: below the weakest fricatives of the engine,
and above the noise that a codec leaves in a pause."""
_BLIP_S = 0.015
_ACTIVE_DB = 30.0
_DISTANCE_COST = 0.5
_REACH_S = 0.5


@dataclass(frozen=True)
class Pause:
    """A silence inside the speech; ``share`` is how much of the speech (silences apart) lies before it, 0 to 1."""

    start_s: float
    length_s: float
    share: float


@dataclass(frozen=True)
class Measures:
    """Of one utterance.

    Attributes:
        seconds: length of the clip.
        start_s, stop_s: where speech begins and ends; both 0 when there is none.
        pauses: silences of at least 60 ms between them.
        level_db: RMS of the active blocks in dBFS (see :func:`measure`).
        f0_hz: median pitch, NaN without voice.
        spread_st: standard deviation of the pitch in semitones, NaN without voice.
        voiced_share: share of the sounding frames that have a pitch; about 0.8 for speech, 0 for whispers.
    """

    seconds: float
    start_s: float
    stop_s: float
    pauses: tuple[Pause, ...]
    level_db: float
    f0_hz: float
    spread_st: float
    voiced_share: float


def measure(wave: NDArray[np.float32]) -> Measures:
    """All measures of a mono clip at 24 kHz.

    Silence is told by energy against the clip's own level, in frames of 20 ms, as in the simple detectors that follow
    Rabiner and Sambur (1975, Bell System Technical Journal 54). The active level is the mean power of the blocks of
    20 ms within 30 dB of the loudest, a short form of ITU-T P.56. Pitch is that of :mod:`toolkit.acoustics.pitch`.
    """
    sound = np.nan_to_num(np.asarray(wave, np.float64), posinf=0.0, neginf=0.0)
    seconds = len(sound) / SAMPLE_RATE_HZ
    quiet = _quiet_frames(sound)
    loud = np.flatnonzero(~quiet)
    if not len(loud):
        nothing = float("nan")
        return Measures(seconds, 0.0, 0.0, (), -math.inf, nothing, nothing, 0.0)
    # A frame that is loud may be so by its last or first 5 ms; the true edge lies about the middle of the frame.
    start_s = int(loud[0]) * _HOP_S + _WINDOW_S / 2
    stop_s = min(seconds, int(loud[-1]) * _HOP_S + _WINDOW_S / 2)
    track = track_pitch(np.asarray(sound, np.float32), SAMPLE_RATE_HZ)
    return Measures(
        seconds,
        start_s,
        max(start_s, stop_s),
        _pauses(quiet, int(loud[0]), int(loud[-1])),
        _active_level_db(sound),
        median_f0_hz(track),
        track.spread_st(),
        voiced_share(track),
    )


def boundaries(phones: Sequence[Phone]) -> list[float]:
    """Shares of the speech (0 to 1, silences apart) at which the pauses between clauses lie, from known times."""
    total = sum(phone.stop_s - phone.start_s for phone in phones if phone.name != "_")
    sounding = [index for index, phone in enumerate(phones) if phone.name != "_"]
    shares: list[float] = []
    spoken = 0.0
    for index, phone in enumerate(phones):
        length = phone.stop_s - phone.start_s
        if phone.name != "_":
            spoken += length
        elif sounding and sounding[0] < index < sounding[-1] and length >= SHORTEST_PAUSE_S:
            shares.append(spoken / total)
    return shares


def boundary_pauses(measures: Measures, shares: Sequence[float]) -> list[float]:
    """Length in s of the pause at each boundary; 0 where there is none of 60 ms.

    Each boundary takes the silence that is longest and nearest: length less half the distance counts. Stops hold short
    silences too, so that the longest ones of a clip would not do.
    """
    total = speech_s(measures, [pause.length_s for pause in measures.pauses])
    taken: set[int] = set()
    found: list[float] = []
    for share in shares:
        best, best_score = -1, -math.inf
        for index, pause in enumerate(measures.pauses):
            distance_s = abs(pause.share - share) * total
            score = pause.length_s - _DISTANCE_COST * distance_s
            if index not in taken and distance_s <= _REACH_S and score > best_score:
                best, best_score = index, score
        taken.add(best)
        found.append(measures.pauses[best].length_s if best >= 0 else 0.0)
    return found


def speech_s(measures: Measures, pauses_s: Sequence[float]) -> float:
    """Seconds from the first to the last sound less these pauses; never 0, so that it can divide."""
    return max(measures.stop_s - measures.start_s - sum(pauses_s), 0.01)


def semitones(f0_hz: float, reference_hz: float) -> float:
    """How far a pitch lies above another one; NaN when one of them is none."""
    return 12 * math.log2(f0_hz / reference_hz) if f0_hz > 0 and reference_hz > 0 else float("nan")


def pearson(first: Sequence[float], second: Sequence[float]) -> float:
    """Correlation over the pairs in which both are finite; NaN when fewer than three, or one of them never changes."""
    pairs = np.array([pair for pair in zip(first, second, strict=True) if all(map(math.isfinite, pair))])
    if len(pairs) < 3 or not pairs.std(axis=0).all():
        return float("nan")
    return float(np.corrcoef(pairs.T)[0, 1])


def _quiet_frames(sound: NDArray[np.float64]) -> NDArray[np.bool_]:
    window, hop = round(_WINDOW_S * SAMPLE_RATE_HZ), round(_HOP_S * SAMPLE_RATE_HZ)
    if len(sound) < window:
        return np.ones(1, np.bool_)
    sums = np.concatenate(([0.0], np.cumsum(np.square(sound))))
    starts = np.arange(0, len(sound) - window + 1, hop)
    power = np.maximum(sums[starts + window] - sums[starts], 0.0) / window
    threshold = max(float(np.percentile(power, 95)) * 10 ** (-_QUIET_BELOW_DB / 10), 1e-10)
    quiet = power < threshold
    for start, stop in _runs(~quiet):
        inside = start > 0 and stop < len(quiet)
        # A run of n loud frames can come from a click that is (window + n hops) shorter than it looks.
        if inside and (stop - start) * _HOP_S <= _WINDOW_S + _BLIP_S and power[start:stop].max() < 10 * threshold:
            quiet[start:stop] = True
    return np.asarray(quiet)


def _pauses(quiet: NDArray[np.bool_], first: int, last: int) -> tuple[Pause, ...]:
    runs = []
    for start, stop in _runs(quiet):
        length_s = (stop - start - 1) * _HOP_S + _WINDOW_S
        if start > first and stop <= last and length_s >= SHORTEST_PAUSE_S:
            runs.append((start * _HOP_S, length_s))
    total = max((last - first) * _HOP_S - sum(length for _, length in runs), 0.01)
    found, before_s = [], 0.0
    for start_s, length_s in runs:
        share = (start_s - first * _HOP_S - before_s) / total
        found.append(Pause(start_s, length_s, min(max(share, 0.0), 1.0)))
        before_s += length_s
    return tuple(found)


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    turns = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return list(zip(turns[::2].tolist(), turns[1::2].tolist(), strict=True))


def _active_level_db(sound: NDArray[np.float64]) -> float:
    block = round(_WINDOW_S * SAMPLE_RATE_HZ)
    usable = len(sound) // block * block
    if not usable:
        return -math.inf
    blocks = np.square(sound[:usable].reshape(-1, block)).mean(1)
    active = blocks[blocks > blocks.max() * 10 ** (-_ACTIVE_DB / 10)]
    return 10 * math.log10(active.mean()) if len(active) else -math.inf
