"""The melody of speech: how far its pitch ranges, how it falls over a phrase, how it ends, how its end is drawn out."""

from __future__ import annotations

from itertools import pairwise
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics.levels import Levels
from toolkit.acoustics.pauses import Phrases
from toolkit.acoustics.pitch import PitchTrack

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["f0_range_st", "f0_slope_st_per_s", "final_lengthening", "final_movement_st"]

_FEWEST_FRAMES = 10
_BRIDGED_FRAMES = 4
"""A voice that stops for less than 40 ms (a tap, a frame that was missed) goes on."""
_SHORTEST_STRETCH_FRAMES = 6
_END_FRAMES = 5
_BEFORE_FRAMES = 30


def _semitones(track: PitchTrack) -> NDArray[np.float64]:
    return np.asarray(12 * np.log2(track.f0_hz))


def f0_range_st(track: PitchTrack) -> float:
    """Semitones between the 5th and the 95th percentile of the pitch; NaN with less than 0.1 s of voice."""
    voiced = track.voiced_hz
    if len(voiced) < _FEWEST_FRAMES:
        return nan
    low, high = np.percentile(voiced, (5, 95))
    return float(12 * np.log2(high / low))


def f0_slope_st_per_s(track: PitchTrack, phrases: Phrases) -> float:
    """Declination: slope of the straight lines, one a phrase, all of the same slope, that fit the pitch best.

    Least squares in semitones over the voiced frames; phrases are the stretches between pauses. NaN where no phrase
    spans 0.3 s with 0.1 s of voice.
    """
    semitones = _semitones(track)
    above = below = 0.0
    for start_s, stop_s in phrases.spans_s():
        chosen = track.is_voiced & (track.times_s >= start_s) & (track.times_s <= stop_s)
        times = track.times_s[chosen]
        if len(times) >= _FEWEST_FRAMES and times[-1] - times[0] >= 0.3:
            centred = times - times.mean()
            above += float(np.sum(centred * semitones[chosen]))
            below += float(np.sum(np.square(centred)))
    return above / below if below else nan


def final_movement_st(track: PitchTrack) -> float:
    """How the last voiced stretch ends: the median pitch of its last 50 ms above that of up to 0.3 s before them.

    A rise is positive, a fall negative. A stretch lasts at least 60 ms and may break off for less than 40 ms; NaN
    without one, or where less than 30 ms are before its end.
    """
    places = np.flatnonzero(track.is_voiced)
    if not len(places):
        return nan
    stretches = np.split(places, np.flatnonzero(np.diff(places) > _BRIDGED_FRAMES) + 1)
    last = next((stretch for stretch in stretches[::-1] if len(stretch) >= _SHORTEST_STRETCH_FRAMES), None)
    if last is None or len(last) < _END_FRAMES + 3:
        return nan
    semitones = _semitones(track)[last]
    before = semitones[:-_END_FRAMES][-_BEFORE_FRAMES:]
    return float(np.median(semitones[-_END_FRAMES:]) - np.median(before))


def final_lengthening(levels: Levels, phrases: Phrases, syllables_s: NDArray[np.float64]) -> float:
    """Length of the last syllable over the median length of the others; NaN with fewer than four syllables.

    A syllable reaches from the lowest level between its centre and the one before to that between it and the next,
    or to the edge of its phrase.
    """
    lengths: list[float] = []
    times_s = levels.times_s
    for start_s, stop_s in phrases.spans_s():
        centres = syllables_s[(syllables_s >= start_s) & (syllables_s <= stop_s)]
        if not len(centres):
            continue
        bounds = [start_s]
        for left, right in pairwise(centres):
            first, last = np.searchsorted(times_s, (left, right))
            bounds.append(float(times_s[first + int(np.argmin(levels.frames_db[first : last + 1]))]))
        lengths.extend(np.diff([*bounds, stop_s]))
    if len(lengths) < 4:
        return nan
    usual = float(np.median(lengths[:-1]))
    return lengths[-1] / usual if usual > 0 else nan
