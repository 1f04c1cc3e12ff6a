"""What is kept of a recording of any length: levels, crossings of zero and breaks, joined from its windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics.clicks import Clicks, clicks_among
from toolkit.acoustics.levels import Levels
from troubleshoot.facts import NA

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Overview", "Part"]

_SILENT_PEAK = 1e-4


@dataclass(frozen=True, eq=False)
class Part:
    """What one window adds: only of the stretch that is its own, so that windows may overlap.

    Attributes:
        frames_db: levels of frames of 20 ms every ``hop`` samples, float64 ``[hops]``.
        crossings: crossings of zero in each hop, int ``[hops]``.
        break_times_s, break_heights: breaks of the waveform, times from the start of the recording.
        frame_count: samples of a channel.
        total, squares: sums of the samples and of their squares.
        peak: largest magnitude.
        last_db: level of the last 10 ms of the window.
    """

    frames_db: NDArray[np.float64]
    crossings: NDArray[np.int_]
    break_times_s: NDArray[np.float64]
    break_heights: NDArray[np.float64]
    frame_count: int
    total: float
    squares: float
    peak: float
    last_db: float


@dataclass(frozen=True, eq=False)
class Overview:
    """A whole recording: 1 MB for three hours, whatever its rate.

    ``promised_s`` is the length that its header promises, in seconds; NA when it promises nothing.
    """

    parts: Sequence[Part]
    hop: int
    sample_rate: int
    chunk_s: float | None
    promised_s: float | NA

    @cached_property
    def frame_count(self) -> int:
        """Samples of a channel."""
        return sum(part.frame_count for part in self.parts)

    @property
    def duration_s(self) -> float:
        """Length."""
        return self.frame_count / self.sample_rate

    @cached_property
    def levels(self) -> Levels:
        """Levels of all frames."""
        frames_db = np.concatenate([part.frames_db for part in self.parts])
        return Levels(frames_db, self.hop, self.sample_rate, float(np.percentile(frames_db, 95)))

    @cached_property
    def crossings(self) -> NDArray[np.int_]:
        """Crossings of zero in each hop."""
        return np.concatenate([part.crossings for part in self.parts])

    @cached_property
    def clicks(self) -> Clicks:
        """Clicks of the whole recording and their beat."""
        times = np.concatenate([part.break_times_s for part in self.parts])
        heights = np.concatenate([part.break_heights for part in self.parts])
        return clicks_among(times, heights, self.duration_s)

    @property
    def mean(self) -> float:
        """Mean of all samples, of full scale."""
        return sum(part.total for part in self.parts) / max(self.frame_count, 1)

    @property
    def rms(self) -> float:
        """Root of the mean square, of full scale."""
        return float((sum(part.squares for part in self.parts) / max(self.frame_count, 1)) ** 0.5)

    @property
    def is_silent(self) -> bool:
        """Nothing above a ten-thousandth of full scale."""
        return max(part.peak for part in self.parts) < _SILENT_PEAK

    @property
    def last_db(self) -> float:
        """Level of the last 10 ms."""
        return self.parts[-1].last_db
