"""Pauses of speech with their edges to a few milliseconds, and where the sound begins and ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics.levels import Levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SHORTEST_PAUSE_S", "Pause", "Phrases", "find_phrases"]

SHORTEST_PAUSE_S = 0.15
"""Shorter silences are the closures of plosives: those of slow speech last up to 0.15 s (Kent and Read, "Acoustic
Analysis of Speech", 2002, give 50 to 150 ms)."""
_WEAK_BELOW_DB = 55.0
_WEAK_DBFS = -80.0
_OVER_NOISE_DB = 8.0
_LONGEST_WEAK_S = 0.20
_CLOSURE_S = 0.09
"""A plosive at the edge of a phrase is closed for less, and its release, however weak, belongs to the phrase."""
_STEP_S = 0.002
_WIDTH_S = 0.006


@dataclass(frozen=True)
class Pause:
    """A silence between two stretches of speech, in seconds from the beginning of the clip."""

    start_s: float
    stop_s: float

    @property
    def length_s(self) -> float:
        """Seconds from the end of one sound to the beginning of the next."""
        return self.stop_s - self.start_s

    def to_json(self) -> dict[str, float]:
        """Beginning and end in seconds, to a tenth of a millisecond."""
        return {"start_s": round(self.start_s, 4), "stop_s": round(self.stop_s, 4)}


@dataclass(frozen=True)
class Phrases:
    """Where the sound is.

    Attributes:
        start_s, stop_s: beginning of the first and end of the last sound; both 0 in silence.
        pauses: the pauses between these, in order of time.
    """

    start_s: float
    stop_s: float
    pauses: tuple[Pause, ...]

    @property
    def sounding_s(self) -> float:
        """Length of the speech, pauses apart; what is closed for a plosive belongs to it."""
        return self.stop_s - self.start_s - sum(pause.length_s for pause in self.pauses)

    def spans_s(self) -> list[tuple[float, float]]:
        """Beginning and end of each stretch between pauses; none in silence."""
        if self.stop_s <= self.start_s:
            return []
        starts = [self.start_s, *(pause.stop_s for pause in self.pauses)]
        return list(zip(starts, [*(pause.start_s for pause in self.pauses), self.stop_s], strict=True))


def find_phrases(mono: NDArray[np.float32], levels: Levels) -> Phrases:
    """Beginning, end and pauses of speech.

    A pause is a stretch of at least 0.15 s that lies 26 dB below the louder speech. Its edges are where the weak sounds
    next to it (f, th, the release of a t) end too: where the level of 6 ms falls to 55 dB below the speech, or to 8 dB
    above the noise of that pause if that is higher. A breath within a pause therefore does not end it.
    In noise that is less than 26 dB below the speech there are no pauses to find.
    """
    places = np.flatnonzero(levels.is_loud)
    if not len(places):
        return Phrases(0.0, 0.0, ())
    # A frame is twice as long as a hop: what is loud about frame n lies in its first half if frame n + 1 is quiet,
    # and in its second half if frame n - 1 is.
    inner_s = (places + 1) * (levels.hop / levels.sample_rate)
    length_s = len(mono) / levels.sample_rate
    fine = _FineLevels(mono, levels)
    pauses = []
    for before in np.flatnonzero(np.diff(places) > 1):
        begin_s, end_s = float(inner_s[before]), float(inner_s[before + 1])
        if end_s - begin_s >= SHORTEST_PAUSE_S:
            pause = Pause(*fine.silence_s(begin_s, end_s))
            if pause.length_s >= SHORTEST_PAUSE_S:
                pauses.append(pause)
    _, start_s = fine.silence_s(0.0, float(inner_s[0]))
    stop_s, _ = fine.silence_s(min(float(inner_s[-1]), length_s), length_s)
    return Phrases(start_s, stop_s, tuple(pauses))


class _FineLevels:
    """Level of 6 ms every 2 ms, each without its own mean, as in :func:`toolkit.acoustics.levels.frame_levels`."""

    def __init__(self, mono: NDArray[np.float32], levels: Levels) -> None:
        rate = levels.sample_rate
        step, half = max(1, round(_STEP_S * rate)), max(1, round(_WIDTH_S * rate / 2))
        centred = mono - mono.mean(dtype=np.float64)
        sums = np.concatenate(([0.0], np.cumsum(centred)))
        squares = np.concatenate(([0.0], np.cumsum(np.square(centred))))
        centres = np.arange(0, len(mono) + 1, step)
        starts, stops = np.maximum(centres - half, 0), np.minimum(centres + half, len(mono))
        lengths = np.maximum(stops - starts, 1)
        power = (squares[stops] - squares[starts]) / lengths - np.square((sums[stops] - sums[starts]) / lengths)
        self._levels_db = 10 * np.log10(np.maximum(power, 1e-11))
        self._least_db = max(levels.speech_db - _WEAK_BELOW_DB, _WEAK_DBFS)
        self._most_db = levels.quiet_db
        self._step_s, self._half_s, self._length_s = step / rate, half / rate, len(mono) / rate
        self._margin = 2 * levels.hop // step

    def silence_s(self, begin_s: float, end_s: float) -> tuple[float, float]:
        """What is silent of a quiet stretch: end of the sound before it, beginning of the sound behind it."""
        count = len(self._levels_db)
        begin, end = (min(max(round(time_s / self._step_s), 0), count - 1) for time_s in (begin_s, end_s))
        quiet_db = self._levels_db[begin : end + 1]
        noise_db = float(np.percentile(quiet_db, 20)) if end - begin >= self._margin else self._least_db
        weak_db = max(min(noise_db + _OVER_NOISE_DB, self._most_db), self._least_db)
        first, last = max(begin - self._margin, 0), min(end + self._margin, count - 1)
        is_sound = _closed(self._levels_db[first : last + 1] > weak_db, round(_CLOSURE_S / self._step_s))
        most = round(_LONGEST_WEAK_S / self._step_s)
        before = first + _last_sound(is_sound, begin - first, most)
        behind = last - _last_sound(is_sound[::-1], last - end, most)
        # The level of 6 ms rises 3 ms before the sound does, and falls 3 ms after it.
        stop_s = min(max(before * self._step_s - self._half_s, 0.0), self._length_s)
        return stop_s, max(stop_s, min(behind * self._step_s + self._half_s, self._length_s))


def _last_sound(is_sound: NDArray[np.bool_], at: int, most: int) -> int:
    """Place of the last sound of those that last at ``at``, or of the last before it."""
    if is_sound[at]:
        silent = np.flatnonzero(~is_sound[at : at + most])
        # What never falls silent is no weak sound but noise: the edge of the loud sound counts then.
        return at + (int(silent[0]) - 1 if len(silent) else 0)
    heard = np.flatnonzero(is_sound[:at])
    return int(heard[-1]) if len(heard) else at


def _closed(is_sound: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    """The same, with silences of at most so many steps between sounds filled."""
    heard = np.flatnonzero(is_sound)
    filled = is_sound.copy()
    gaps = np.diff(heard)
    for at in np.flatnonzero((gaps > 1) & (gaps <= most)):
        filled[heard[at] : heard[at + 1]] = True
    return filled
