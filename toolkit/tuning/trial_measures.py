"""What is measured of each trial, and which of it is tested for a change."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics.levels import Levels
from toolkit.acoustics.voice import measure_voice

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TESTED", "Tested", "clause_boundaries", "measure_clip", "rounded"]

_SHORTEST_PAUSE_S = 0.06
_SHORTEST_CLIP_S = 0.05
_BOUNDARY = re.compile(r"[,;:!?。，；：！？、—]+|\.(?!\d)|\n")


@dataclass(frozen=True)
class Tested:
    """A measure that an instruction can be meant to change.

    Attributes:
        name: as results call it.
        title: in words.
        source: name among the values of a trial.
        scale: to a scale on which changes add up: logarithms for rates, semitones for pitch.
        show: a change on that scale, in words.
        noticeable: the least change that a listener is likely to notice, on that scale: 5 % of tempo (Quené 2007,
            Journal of Phonetics 35), 1 dB of level; the others are figures of the house.
    """

    name: str
    title: str
    source: str
    scale: Callable[[float], float]
    show: Callable[[float], str]
    noticeable: float


def _same(value: float) -> float:
    return value


TESTED: tuple[Tested, ...] = (
    Tested("rate", "rate", "text_rate_per_s", math.log, lambda v: f"{(math.exp(v) - 1) * 100:+.0f} %", math.log(1.05)),
    Tested("pitch", "pitch", "median_f0_hz", lambda v: 12 * math.log2(v / 100), lambda v: f"{v:+.1f} st", 0.5),
    Tested("spread", "pitch movement", "f0_spread_st", _same, lambda v: f"{v:+.2f} st", 0.4),
    Tested("level", "level", "level_dbfs", _same, lambda v: f"{v:+.1f} dB", 1.0),
    Tested("voicing", "voiced share", "voiced_share", _same, lambda v: f"{v * 100:+.0f} points", 0.1),
    Tested("pause", "pauses", "boundary_pause_s", _same, lambda v: f"{v:+.2f} s", 0.1),
)
"""Six, which is the most that eight seeds can be corrected for."""


def measure_clip(samples: NDArray[np.float32], sample_rate_hz: int, text: str) -> dict[str, float | None]:
    """Measures of one clip of mono speech by name, to six digits; None where there is nothing to measure.

    They are those of :func:`toolkit.acoustics.voice.measure_voice` (``text_rate_per_s`` is of the text, so that its
    ratio between clips of one text is that of their sounding times), and two more: ``f0_spread_st``, the standard
    deviation of the pitch, and ``boundary_pause_s``, the mean of as many of the longest pauses as the text has marks
    inside it, 0 for a mark without pause.
    """
    if samples.size < _SHORTEST_CLIP_S * sample_rate_hz or not np.isfinite(samples).all():
        return {}
    voice = measure_voice(samples, sample_rate_hz, text)
    wanted = clause_boundaries(text)
    longest = [*_pauses_s(voice.levels), *[0.0] * wanted][:wanted]
    values = voice.values()
    values["f0_spread_st"] = voice.pitch.spread_st()
    values["boundary_pause_s"] = sum(longest) / wanted if wanted and voice.sounding_s > 0 else math.nan
    return rounded(values)


def rounded(values: Mapping[str, float]) -> dict[str, float | None]:
    """To six digits, and None for what is not finite: what a file keeps is what was computed with."""
    return {name: float(f"{value:.6g}") if math.isfinite(value) else None for name, value in values.items()}


def clause_boundaries(text: str) -> int:
    """Marks inside a text at which a speaker pauses."""
    return max(0, len([part for part in _BOUNDARY.split(text) if re.search(r"\w", part)]) - 1)


def _pauses_s(levels: Levels) -> list[float]:
    """Lengths of the quiet stretches between sounds, the longest first."""
    loud = np.flatnonzero(levels.is_loud)
    gaps = (np.diff(loud) - 1) * levels.hop / levels.sample_rate
    return sorted((float(gap) for gap in gaps if gap >= _SHORTEST_PAUSE_S), reverse=True)
