"""Differences of two readings as the rows of a table: short text for reports and pictures alike."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.acoustics.comparison import Comparison, Difference

__all__ = ["COLUMNS", "difference_rows", "size_text", "value_text"]

COLUMNS = ("measure", "reference", "clip", "difference", "by spread", "verdict")


def difference_rows(comparison: Comparison) -> tuple[tuple[str, ...], ...]:
    """A row of :data:`COLUMNS` for each measure that at least one of the clips has.

    "by spread" is the difference divided by the spread between seeds.
    """
    return tuple(
        (
            one.title + (f", {one.unit}" if one.unit not in ("", "x") and isfinite(one.reference + one.clip) else ""),
            value_text(one.reference),
            value_text(one.clip),
            size_text(one) + (f" at {one.place_s:.2f} s" if isfinite(one.place_s) else ""),
            _multiple(one),
            one.verdict,
        )
        for one in comparison.differences
        if any(map(isfinite, (one.reference, one.clip, one.size)))
    )


def value_text(value: float) -> str:
    """A value without its unit; "-" where it could not be measured."""
    if not isfinite(value):
        return "-"
    return f"{value:.{0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2}f}"


def size_text(one: Difference) -> str:
    """The difference with its sign and unit, ratios as "x 1.20"; "-" where it could not be measured."""
    if not isfinite(one.size):
        return "-"
    if one.size_unit == "x":
        return f"x {one.size:.2f}"
    if one.is_distance:
        return f"{one.size:.2f} {one.size_unit}"
    return f"{_without_minus_zero(one.size):+.2f} {one.size_unit}".rstrip()


def _multiple(one: Difference) -> str:
    return f"{one.multiple:.1f}" if isfinite(one.multiple) else "-"


def _without_minus_zero(value: float) -> float:
    return 0.0 if abs(value) < 0.005 else value
