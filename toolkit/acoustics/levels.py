"""Levels of short frames: where speech is, where it is quiet, and how long the quiet ends are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HOP_S", "Levels", "frame_levels"]

HOP_S = 0.010
FRAME_S = 0.020
QUIET_BELOW_DB = 26.0
"""Quiet is what lies a twentieth (26 dB) below speech; the murmur after a missed end lies about 25 dB below it
(jamiepine/voicebox#1077)."""
QUIET_DBFS = -60.0
"""Quiet in any case: a thousandth of full scale."""
SILENCE_BELOW_DB = 45.0
SILENCE_DBFS = -65.0
_FLOOR_DB = -200.0


@dataclass(frozen=True, eq=False)
class Levels:
    """RMS level of each frame in dBFS, every ``hop`` samples; ``speech_db`` is the level of the louder speech."""

    frames_db: NDArray[np.float64]
    hop: int
    sample_rate: int
    speech_db: float

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Centres of the frames."""
        return np.asarray((np.arange(len(self.frames_db)) + FRAME_S / HOP_S / 2) * self.hop / self.sample_rate)

    @property
    def quiet_db(self) -> float:
        """Level below which a frame is quiet."""
        return max(self.speech_db - QUIET_BELOW_DB, QUIET_DBFS)

    @property
    def is_loud(self) -> NDArray[np.bool_]:
        """Frames that are not quiet."""
        return self.frames_db > self.quiet_db

    @property
    def is_sounding(self) -> NDArray[np.bool_]:
        """Frames that hold some sound, murmur and room tone included, but not digital silence and dither."""
        return self.frames_db > max(self.speech_db - SILENCE_BELOW_DB, SILENCE_DBFS)

    def quiet_ends_s(self) -> tuple[float, float]:
        """Seconds of quiet before the first and after the last frame that is not quiet."""
        loud = np.flatnonzero(self.is_loud)
        total_s = len(self.frames_db) * self.hop / self.sample_rate
        if not len(loud):
            return total_s, total_s
        last = len(self.frames_db) - 1 - int(loud[-1])
        return int(loud[0]) * self.hop / self.sample_rate, last * self.hop / self.sample_rate


def frame_levels(mono: NDArray[np.float32], sample_rate: int) -> Levels:
    """Levels of frames of 20 ms every 10 ms, each without its own mean: an offset, also of a part, is not sound."""
    hop = max(1, round(HOP_S * sample_rate))
    length = max(1, round(FRAME_S * sample_rate))
    centred = mono - mono.mean(dtype=np.float64)
    sums = np.concatenate(([0.0], np.cumsum(centred)))
    squares = np.concatenate(([0.0], np.cumsum(np.square(centred))))
    starts = np.arange(0, max(1, len(mono) - hop // 2), hop)
    stops = np.minimum(starts + length, len(mono))
    lengths = np.maximum(stops - starts, 1)
    power = (squares[stops] - squares[starts]) / lengths - np.square((sums[stops] - sums[starts]) / lengths)
    # Sums over millions of samples leave rounding of about 1e-12 in a frame: far below 16 bits' dither (1e-10).
    frames_db = np.where(power > 1e-11, 10 * np.log10(np.maximum(power, 1e-11)), _FLOOR_DB)
    return Levels(frames_db, hop, sample_rate, float(np.percentile(frames_db, 95)))
