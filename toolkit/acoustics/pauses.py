"""Pauses of speech with their edges to a few milliseconds, and where the sound begins and ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics.levels import QUIET_DBFS, Levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SHORTEST_PAUSE_S", "Pause", "Phrases", "find_phrases"]

SHORTEST_PAUSE_S = 0.15
"""Shorter silences are the closures of plosives: those of slow speech last up to 0.15 s (Kent and Read, "Acoustic
Analysis of Speech", 2002, give 50 to 150 ms)."""
_WEAK_BELOW_DB = 45.0
_OVER_NOISE_DB = 8.0
_LONGEST_WEAK_S = 0.20
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
    next to it (f, th, the release of a t) end too: where the level of 6 ms falls to 45 dB below the speech, or to 8 dB
    above the noise of the recording if that is higher. A breath within a pause therefore does not end it.
    """
    loud = levels.is_loud
    places = np.flatnonzero(loud)
    if not len(places):
        return Phrases(0.0, 0.0, ())
    hop_s = levels.hop / levels.sample_rate
    ends = _SoundEnds(mono, levels)
    # A frame is twice as long as a hop: what is loud about frame n lies in its first half if frame n + 1 is quiet,
    # and in its second half if frame n - 1 is.
    pauses = []
    for before in np.flatnonzero(np.diff(places) > 1):
        begin_s, end_s = ((int(places[number]) + 1) * hop_s for number in (before, before + 1))
        if end_s - begin_s >= SHORTEST_PAUSE_S:
            pause = Pause(ends.stop_s(begin_s), ends.start_s(end_s))
            if pause.length_s >= SHORTEST_PAUSE_S:
                pauses.append(pause)
    first_s, last_s = (int(places[0]) + 1) * hop_s, (int(places[-1]) + 1) * hop_s
    return Phrases(ends.start_s(first_s), ends.stop_s(min(last_s, len(mono) / levels.sample_rate)), tuple(pauses))


class _SoundEnds:
    """Where sound that is heard at the edge of a pause, or just beside it, begins and ends."""

    def __init__(self, mono: NDArray[np.float32], levels: Levels) -> None:
        rate = levels.sample_rate
        step, half = max(1, round(_STEP_S * rate)), max(1, round(_WIDTH_S * rate / 2))
        sums = np.concatenate(([0.0], np.cumsum(np.square(mono - mono.mean(dtype=np.float64)))))
        centres = np.arange(0, len(mono) + 1, step)
        starts, stops = np.maximum(centres - half, 0), np.minimum(centres + half, len(mono))
        power = np.maximum(sums[stops] - sums[starts], 0.0) / np.maximum(stops - starts, 1)
        noise_db = float(np.percentile(levels.frames_db, 5))
        weak_db = max(min(noise_db + _OVER_NOISE_DB, levels.quiet_db), levels.speech_db - _WEAK_BELOW_DB, QUIET_DBFS)
        self._is_sound = power > 10 ** (weak_db / 10)
        self._step_s = step / rate
        self._length_s = len(mono) / rate
        self._half_s = half / rate

    def stop_s(self, near_s: float) -> float:
        """End of the sound that lasts at ``near_s``, or else of the last sound before it."""
        return self._edge_s(self._is_sound, self._index(near_s), -1)

    def start_s(self, near_s: float) -> float:
        """Beginning of the sound that lasts at ``near_s``, or else of the first sound after it."""
        last = len(self._is_sound) - 1
        return self._edge_s(self._is_sound[::-1], last - self._index(near_s), 1)

    def _index(self, time_s: float) -> int:
        return min(max(round(time_s / self._step_s), 0), len(self._is_sound) - 1)

    def _edge_s(self, is_sound: NDArray[np.bool_], at: int, inwards: int) -> float:
        """Edge of the sound about ``at``, which ends later in ``is_sound``; seen from the back for a beginning."""
        if is_sound[at]:
            silent = np.flatnonzero(~is_sound[at : at + round(_LONGEST_WEAK_S / self._step_s)])
            # What never falls silent is no weak sound but noise: the edge of the loud sound counts then.
            last = at + (int(silent[0]) - 1 if len(silent) else 0)
        else:
            heard = np.flatnonzero(is_sound[:at])
            last = int(heard[-1]) if len(heard) else at
        index = last if inwards < 0 else len(is_sound) - 1 - last
        # The level of 6 ms rises 3 ms before the sound does, and falls 3 ms after it.
        return min(max(index * self._step_s + inwards * self._half_s, 0.0), self._length_s)
