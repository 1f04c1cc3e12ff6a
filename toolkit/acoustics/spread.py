"""How much readings of one text differ by chance: the size of a difference between seeds, and what goes beyond it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan, sqrt
from typing import Literal

import numpy as np

__all__ = [
    "FEWEST_SEEDS",
    "Scatter",
    "Spread",
    "UNKNOWN",
    "Verdict",
    "magnitude_scatter",
    "signed_scatter",
    "value_scatter",
]

FEWEST_SEEDS = 3
_LEVEL = 0.99
"""Share of differences by chance that lie within: of thirty measures in a table, every third table has one beyond."""

Verdict = Literal["within", "beyond", "no spread", "not measured"]


@dataclass(frozen=True)
class Scatter:
    """Of one measure between seeds, in the unit of its differences.

    Attributes:
        size: root mean square of the difference of two seeds; NaN where too few of them could be measured.
        limit: a difference above it is beyond what seeds do by chance.
    """

    size: float
    limit: float


@dataclass(frozen=True)
class Spread:
    """Scatter of every measure by its name, from ``seeds`` clips."""

    seeds: int
    scatters: Mapping[str, Scatter]

    def verdict(self, name: str, strength: float) -> Verdict:
        """Whether a difference (its logarithm, for ratios) lies within the spread of its measure."""
        scatter = self.scatters.get(name)
        if not isfinite(strength):
            return "not measured"
        if scatter is None or not isfinite(scatter.limit):
            return "no spread"
        return "beyond" if abs(strength) > scatter.limit else "within"


UNKNOWN = Scatter(nan, nan)


def value_scatter(values: Sequence[float], resolution: float) -> Scatter:
    """Of a measure that each seed has: a difference of two is the square root of 2 times their standard deviation.

    Two clips more of the same kind differ by less than ``limit`` in 99 of 100 cases when the values are normally
    distributed (Student's t with seeds - 1 degrees of freedom). The size is never taken below ``resolution``, what the
    measure can tell apart at all.
    """
    known = np.array([value for value in values if isfinite(value)])
    if len(known) < FEWEST_SEEDS:
        return UNKNOWN
    size = max(sqrt(2) * float(known.std(ddof=1)), resolution)
    return Scatter(size, size * _quantile((1 + _LEVEL) / 2, len(known) - 1))


def signed_scatter(pairs: Sequence[float], seeds: int, resolution: float) -> Scatter:
    """Of a difference that only pairs of seeds have and that may fall on either side of 0."""
    known = np.array([pair for pair in pairs if isfinite(pair)])
    if len(known) < FEWEST_SEEDS:
        return UNKNOWN
    size = max(sqrt(float(np.mean(np.square(known)))), resolution)
    return Scatter(size, size * _quantile((1 + _LEVEL) / 2, seeds - 1))


def magnitude_scatter(pairs: Sequence[float], seeds: int, resolution: float) -> Scatter:
    """Of a difference that is never negative, such as a distance: beyond is what stands out of those between seeds."""
    known = np.array([pair for pair in pairs if isfinite(pair)])
    if len(known) < FEWEST_SEEDS:
        return UNKNOWN
    size = max(sqrt(float(np.mean(np.square(known)))), resolution)
    deviation = max(float(known.std(ddof=1)), resolution)
    return Scatter(size, float(known.mean()) + deviation * _quantile(_LEVEL, seeds - 1) * sqrt(1 + 1 / seeds))


def _quantile(share: float, freedom: int) -> float:
    from scipy.special import stdtrit  # Student's t, without the second that scipy.stats takes to load

    return float(stdtrit(freedom, share))
