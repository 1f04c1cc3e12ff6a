"""Clicks: breaks of the waveform that cannot be predicted from what precedes them, and the beat in which they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics.prediction import prediction_residual
from troubleshoot.facts import NA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Clicks", "clicks_among", "find_breaks", "find_clicks"]

CERTAIN_RATIO = 4.0
"""How far a break has to stand above everything within 25 ms of it to be a click by itself. The pulses of a voice come
every 2 to 13 ms, so each has its equal close by; a plosive is followed by noise. In trials on 80 s of clean speech
(four synthetic voices, seven spoken words) 4 gave no false click, 3 gave four."""
POSSIBLE_RATIO = 2.0
"""The same for a break that counts only when it falls into a regular beat with others (15 false ones in those 80 s)."""
CLICK_MINIMUM = 0.01
"""Smallest break that counts, of full scale: -40 dBFS."""
FRAME_S = 0.080
"""A chunk is a whole number of the codec's frames, so the beat of its joints is a multiple of this."""
_GUARD_S = 0.0012
_REACH_S = 0.025
_BLOCK_S = 0.0004
_REACH_BLOCKS = round(_REACH_S / _BLOCK_S)
_PHASE_S = 0.003
_MIN_BEATS = 4
_DEVIATIONS = 6.0  # above what chance brings into one phase, since all phases of some hundred periods are tried
_MAX_CANDIDATES = 5_000
_LONGEST_PERIOD_S = 120.0


@dataclass(frozen=True)
class Clicks:
    """Times of the clicks in seconds, and the period of those that come regularly."""

    times_s: tuple[float, ...]
    period_s: float | NA


def find_clicks(mono: NDArray[np.float32], sample_rate: int, edges: Sequence[int] = ()) -> Clicks:
    """Clicks of a recording. ``edges`` are samples (the ends of zero gaps) near which a break is no click of its own.

    A click is a break that stands out by itself, or a weaker one that keeps a beat with at least three others: joints
    of chunks that were decoded with too little context come at every chunk, but often hide in loud speech.
    """
    if len(mono) // _block(sample_rate) < 2 * _REACH_BLOCKS:
        return Clicks((), NA("the recording is too short"))
    times, heights = find_breaks(mono, sample_rate, edges)
    return clicks_among(times, heights, len(mono) / sample_rate)


def find_breaks(
    mono: NDArray[np.float32], sample_rate: int, edges: Sequence[int] = ()
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times in seconds of breaks that may be clicks, and how often each stands above what surrounds it."""
    block = _block(sample_rate)
    count = len(mono) // block
    if count < 2 * _REACH_BLOCKS:
        return np.zeros(0), np.zeros(0)
    breaks = np.abs(prediction_residual(mono, sample_rate))
    count = len(breaks) // block
    blocks = breaks[: count * block].reshape(count, block)
    peaks = blocks.max(axis=1)
    height = peaks / np.maximum(_maximum_around(peaks, round(_GUARD_S / _BLOCK_S), _REACH_BLOCKS), 1e-9)
    found = np.flatnonzero((peaks > CLICK_MINIMUM) & (height > POSSIBLE_RATIO))
    # The ends are cuts, not breaks; audio.edge_jump tells about them.
    found = found[(found > 2) & (found < count - 3)]
    samples = found * block + blocks[found].argmax(axis=1)
    if len(edges):
        distance = np.min(np.abs(samples[:, None] - np.asarray(edges)[None, :]), axis=1)
        found, samples = found[distance > 2 * block], samples[distance > 2 * block]
    return _one_each(samples / sample_rate, np.asarray(height[found], np.float64))


def clicks_among(times: NDArray[np.float64], heights: NDArray[np.float64], duration_s: float) -> Clicks:
    """The breaks that are clicks: those that stand out by themselves or keep a beat, of a recording of this length."""
    times, heights = _one_each(times, heights)
    certain = heights > CERTAIN_RATIO
    period_s, on_beat = _beat(times, duration_s)
    if isinstance(period_s, NA) and int(certain.sum()) >= _MIN_BEATS:
        period_s = _even_step(times[certain]) or period_s
    kept = times[certain | on_beat]
    return Clicks(tuple(round(float(time), 4) for time in kept), period_s)


def _block(sample_rate: int) -> int:
    return max(2, round(_BLOCK_S * sample_rate))


def _maximum_around(peaks: NDArray[np.float32], guard: int, reach: int) -> NDArray[np.float32]:
    """For each block the largest peak ``guard`` to ``reach`` blocks before or after it."""
    from scipy.ndimage import maximum_filter1d

    width = 2 * ((reach - guard) // 2) + 1
    wide = maximum_filter1d(peaks, size=width, mode="constant", cval=0.0)
    offset = guard + 1 + width // 2
    padded = np.pad(wide, offset)
    around: NDArray[np.float32] = np.maximum(padded[: len(peaks)], padded[2 * offset :])
    return around


def _one_each(
    times: NDArray[np.float64], heights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Candidates that touch are one; the strongest of many stay."""
    if len(times) > _MAX_CANDIDATES:
        strongest = np.sort(np.argsort(heights)[-_MAX_CANDIDATES:])
        times, heights = times[strongest], heights[strongest]
    apart = np.concatenate(([True], np.diff(times) > 2 * _GUARD_S)) if len(times) else np.zeros(0, bool)
    return times[apart], heights[apart]


def _beat(times: NDArray[np.float64], duration_s: float) -> tuple[float | NA, NDArray[np.bool_]]:
    """Period in which the most candidates come at the same phase, far more than chance would bring together."""
    none = np.zeros(len(times), bool)
    if len(times) < _MIN_BEATS:
        return NA(f"fewer than {_MIN_BEATS} clicks"), none
    found: list[tuple[float, float, NDArray[np.bool_]]] = []
    for multiple in range(1, int(min(duration_s / _MIN_BEATS, _LONGEST_PERIOD_S) / FRAME_S) + 1):
        period = multiple * FRAME_S
        on_beat = _largest_phase(times, period)
        hits = len(np.unique(np.round((times[on_beat] - times[on_beat][0]) / period)))
        chance = len(times) * 2 * _PHASE_S / period
        if hits >= max(_MIN_BEATS, chance + _DEVIATIONS * chance**0.5 + 3):
            found.append((hits - chance, period, on_beat))
    if not found:
        return NA("the clicks are not regular"), none
    # Every divisor of the true period gathers the same clicks and some by chance, its multiples about half of them.
    most = max(hits for hits, _, _ in found)
    _, period, on_beat = max((entry for entry in found if entry[0] >= 0.8 * most), key=lambda entry: entry[1])
    return round(period, 4), on_beat


def _even_step(times: NDArray[np.float64]) -> float | None:
    """Step of clear clicks that come evenly, whatever its length: chunks of other engines are no whole frames."""
    steps = np.diff(times)
    step = float(np.median(steps))
    multiples = np.round(steps / step)
    is_even = step > 2 * _REACH_S and multiples.min() >= 1
    return round(step, 4) if is_even and np.max(np.abs(steps - multiples * step)) <= 2 * _PHASE_S else None


def _largest_phase(times: NDArray[np.float64], period: float) -> NDArray[np.bool_]:
    """Candidates within 3 ms of the phase at which most of them lie."""
    phases = np.mod(times, period)
    order = np.sort(np.concatenate((phases, phases + period)))
    counts = np.searchsorted(order, order[: len(phases)] + 2 * _PHASE_S, side="right") - np.arange(len(phases))
    centre = order[int(counts.argmax())] + _PHASE_S
    distance = np.abs(np.mod(phases - centre + period / 2, period) - period / 2)
    within: NDArray[np.bool_] = distance <= _PHASE_S + 1e-6
    return within
