"""A recording beside another of the same text, to show: the table of differences, and its JSON."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from toolkit.acoustics.comparison import Comparison, Difference
from toolkit.acoustics.difference_table import COLUMNS, difference_rows
from toolkit.doctor.document import Block, Heading, Paragraph, Table

__all__ = ["Compared", "blocks_of", "to_json"]


@dataclass(frozen=True, eq=False)
class Compared:
    """A recording, the other that it was compared with (the reference), and what differs."""

    name: str
    reference: str
    comparison: Comparison


def blocks_of(one: Compared) -> list[Block]:
    """A section: the table of differences, and a sentence on what goes beyond the spread of the seeds."""
    comparison = one.comparison
    shown = len(COLUMNS) if comparison.seeds else 4
    rows = tuple(row[:shown] for row in difference_rows(comparison))
    table = Table(COLUMNS[:shown], rows, right=(1, 2, 4) if comparison.seeds else (1, 2))
    return [Heading(f"{one.name} against {one.reference}"), table, Paragraph(_sentence(comparison))]


def to_json(one: Compared) -> dict[str, object]:
    """One object; what could not be measured is null."""
    return {
        "file": one.name,
        "against": one.reference,
        "seeds": one.comparison.seeds,
        "differences": [_difference(difference) for difference in one.comparison.differences],
    }


def _sentence(comparison: Comparison) -> str:
    if not comparison.seeds:
        return (
            "Whether a difference means anything cannot be told without a spread: give three or more recordings of the "
            "same text by other seeds (--spread)."
        )
    beyond = [one.title for one in comparison.differences if one.verdict == "beyond"]
    judged = sum(one.verdict in ("within", "beyond") for one in comparison.differences)
    said = f"{len(beyond)} of {judged} differences go beyond what {comparison.seeds} seeds differ by chance"
    return f"{said}: {'; '.join(beyond)}." if beyond else f"{said}."


def _difference(one: Difference) -> dict[str, object]:
    return {
        "name": one.name,
        "title": one.title,
        "reference": _number(one.reference),
        "clip": _number(one.clip),
        "unit": one.unit,
        "difference": _number(one.size),
        "difference_unit": one.size_unit,
        "place_s": _number(one.place_s),
        "spread": _number(one.spread),
        "multiple": _number(one.multiple),
        "verdict": one.verdict,
    }


def _number(value: float) -> float | None:
    return round(value, 4) if isfinite(value) else None
