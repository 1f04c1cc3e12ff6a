"""Dropouts: stretches of zeros, or of one held sample, that were cut into a sound instead of fading in and out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics.faults import Fault, Sound, detector, surely

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__: list[str] = []

_SHORTEST_S = 0.002
_LONGEST_S = 2.0
_NEAR_S = 0.001
_LEAST_EDGE, _LEAST_SOFT_EDGE, _SOFT_DB, _SOFTEST_DB = 0.26, 0.48, -34.0, -46.0
_HELD_ABOVE = 0.02
"""Magnitude from which a sample that stays the same is held; softer ones are steps of a coarse recording."""
_LEAST_STEPS = 6.0
"""Steps of the recording (16 bits or coarser) that sound beside a hole has; below, natural sound has runs of zeros."""


@detector("dropout")
def _dropouts(sound: Sound) -> Iterator[Fault]:
    """Zeros or a held sample with sound on both sides; the harder its edges, the surer.

    A voice that pauses has faded: its last sample is a small part of its last millisecond (in 830 gaps of clean speech
    a fifth at most, rarely half). At a hole it is any part. Where the edges are loud, 12 dB below the speech or louder,
    they tell by themselves: around the closure of a plosive speech has faded by 15 dB and more.
    """
    if sound.is_silent:
        return
    finite = np.isfinite(sound.recording.samples).all(axis=1).reshape(-1)
    magnitudes = np.abs(sound.mono)
    step = max(float(np.min(magnitudes, where=magnitudes > 0, initial=1.0)), 1 / 32768)
    near = max(3, round(_NEAR_S * sound.rate))
    for start, stop, value in _still(sound.mono, sound.rate):
        if not finite[start:stop].all():  # read as zeros; not-finite tells about them
            continue
        sides = sound.mono[max(0, start - near) : start] - value, sound.mono[stop : stop + near][::-1] - value
        if min(map(len, sides)) < near:
            continue
        levels = [_rms(side) for side in sides]
        if min(levels) < _LEAST_STEPS * step:
            continue
        loud_db = 20 * float(np.log10(min(levels))) - sound.levels.speech_db
        if loud_db < _SOFTEST_DB:
            continue
        edge = max(abs(float(side[-1])) / level for side, level in zip(sides, levels, strict=True))
        least = _LEAST_EDGE if loud_db > _SOFT_DB else _LEAST_SOFT_EDGE
        confidence = max(surely(loud_db, -14.5, -9), surely(edge, least, least + 0.25))
        length_s = (stop - start) / sound.rate
        what = "one held sample" if value else "zeros"
        says = f"{length_s * 1000:.0f} ms of {what} cut into the sound"
        yield Fault("dropout", start / sound.rate, length_s, length_s, "s", confidence, "fail", says)


def _still(mono: NDArray[np.float32], rate: int) -> Iterator[tuple[int, int, float]]:
    """Runs of equal samples that are zero or loud: bounds and value."""
    turns = np.flatnonzero(mono[1:] != mono[:-1]) + 1
    starts, stops = np.concatenate(([0], turns)), np.concatenate((turns, [len(mono)]))
    lengths = stops - starts
    long = (lengths >= max(2, round(_SHORTEST_S * rate))) & (lengths <= _LONGEST_S * rate)
    # Samples at the peak are a top that was cut, not a hole.
    peak = float(np.max(np.abs(mono), initial=0.0))
    for start, stop in zip(starts[long].tolist(), stops[long].tolist(), strict=True):
        value = float(mono[start])
        if value == 0.0 or _HELD_ABOVE < abs(value) < 0.98 * peak:
            yield start, stop, value


def _rms(part: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(part, dtype=np.float64)))) if len(part) else 0.0
