"""Gaps: runs of exact zeros cut into speech, and WAV headers that were played as sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from toolkit.acoustics.levels import Levels

__all__ = ["Gap", "find_gaps", "starts_with_header"]

MIN_GAP_S = 0.002
"""Shortest run of zeros that counts; shorter ones occur where quantised speech crosses zero."""
_FLANK_S = 0.002
_FLANK_FACTOR = 2.0  # 20 dB below speech: where a pause was meant, speech has faded further by its first zero


@dataclass(frozen=True)
class Gap:
    """Zeros from sample ``start`` up to ``stop``."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Samples of the gap."""
        return self.stop - self.start


def find_gaps(mono: NDArray[np.float32], levels: Levels) -> tuple[Gap, ...]:
    """Runs of exact zeros with speech right before and right after them: sound that came too late, or was lost."""
    rate = levels.sample_rate
    flank = max(2, round(_FLANK_S * rate))
    threshold = _FLANK_FACTOR * 10 ** (levels.quiet_db / 20)
    found = []
    for start, stop in _zero_runs(mono, max(2, round(MIN_GAP_S * rate))):
        before, after = mono[max(0, start - flank) : start], mono[stop : stop + flank]
        if len(before) == flank == len(after) and min(_rms(before), _rms(after)) > threshold:
            found.append(Gap(start, stop))
    return tuple(found)


def _zero_runs(mono: NDArray[np.float32], shortest: int) -> list[tuple[int, int]]:
    is_zero = np.concatenate(([False], mono == 0.0, [False]))
    turns = np.flatnonzero(np.diff(is_zero))
    starts, stops = turns[::2], turns[1::2]
    long = stops - starts >= shortest
    return list(zip(starts[long].tolist(), stops[long].tolist(), strict=True))


def _rms(part: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(part, dtype=np.float64))))


def starts_with_header(samples: NDArray[np.float32]) -> bool:
    """Whether the first samples are a WAV header that was taken for sound, of 16 bits or of 32-bit floats."""
    flat = np.ascontiguousarray(samples[:32]).reshape(-1)
    finite = np.nan_to_num(flat, nan=0.0, posinf=0.0, neginf=0.0)
    as_words = np.clip(np.round(finite * 32768.0), -32768, 32767).astype("<i2").tobytes()
    return any(raw[:4] in (b"RIFF", b"RF64") and raw[8:12] == b"WAVE" for raw in (as_words, flat.tobytes()))
