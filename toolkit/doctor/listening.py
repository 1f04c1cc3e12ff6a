"""What was heard in recordings, to show: measures and faults of each, and the exit code they add up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from toolkit.acoustics.faults import Fault
from toolkit.acoustics.pauses import Pause
from toolkit.acoustics.voice import TITLES, UNITS, VALUE_NAMES
from toolkit.doctor.compared import Compared, blocks_of
from toolkit.doctor.compared import to_json as comparison_to_json
from toolkit.doctor.document import Block, Document, Heading, Paragraph, StatusRow, StatusRows, Table
from toolkit.doctor.inquiry import SCHEMA
from toolkit.errors import EXIT_FAILS, EXIT_WARNINGS, EXIT_WELL

__all__ = ["Heard", "document_of", "exit_code", "to_json"]


@dataclass(frozen=True, eq=False)
class Heard:
    """One recording: its name, format, measures by name (those that there are), pauses and faults."""

    name: str
    duration_s: float
    sample_rate_hz: int
    channels: int
    values: Mapping[str, float]
    pauses: tuple[Pause, ...]
    faults: tuple[Fault, ...]


_DIGITS = {"pause_count": 0, "centroid_hz": 0, "median_f0_hz": 1}


def exit_code(heard: Sequence[Heard]) -> int:
    """3 when any fault fails, 4 when all are warnings, 0 without faults."""
    weights = {fault.weight for one in heard for fault in one.faults}
    return EXIT_FAILS if "fail" in weights else EXIT_WARNINGS if weights else EXIT_WELL


def to_json(heard: Sequence[Heard], compared: Sequence[Compared] = ()) -> dict[str, object]:
    """One object; a measure that cannot be had is null. ``comparisons`` is there when something was compared."""
    files = [
        {
            "file": one.name,
            "duration_s": round(one.duration_s, 4),
            "sample_rate_hz": one.sample_rate_hz,
            "channels": one.channels,
            "measures": _values(one),
            "pauses": [pause.to_json() for pause in one.pauses],
            "faults": [fault.to_json() for fault in one.faults],
        }
        for one in heard
    ]
    beside = {"comparisons": [comparison_to_json(one) for one in compared]} if compared else {}
    return {"schema": SCHEMA, "kind": "listen", "exit_code": exit_code(heard), "files": files, **beside}


def document_of(heard: Sequence[Heard], version: str, compared: Sequence[Compared] = ()) -> Document:
    """A section a file: measures, then faults with their places; then a section a comparison."""
    blocks: list[Block] = []
    for one in heard:
        blocks.append(Heading(one.name))
        rows = [("sample rate", str(one.sample_rate_hz), "Hz")]
        for name, value in _values(one).items():
            shown = "-" if value is None else f"{value:.{_DIGITS.get(name, 2)}f}"
            rows.append((TITLES[name], shown, UNITS[name]))
        blocks.append(Table(("measure", "value", "unit"), tuple(rows), right=(1,)))
        blocks.append(StatusRows(tuple(map(_row, one.faults))) if one.faults else Paragraph("no faults heard"))
    for beside in compared:
        blocks += blocks_of(beside)
    return Document(f"QWEN-AUDIO listen {version}", "measures and faults of recordings", tuple(blocks))


def _row(fault: Fault) -> StatusRow:
    place = f"at {fault.place_s:.2f} s, confidence {fault.confidence:.2f}: {fault.says}"
    return StatusRow(fault.weight, fault.name, place)


def _values(one: Heard) -> dict[str, float | None]:
    """All measures in their order; the duration is known of the shortest clip, too."""
    found = dict.fromkeys(VALUE_NAMES, float("nan")) | dict(one.values) | {"duration_s": one.duration_s}
    return {name: round(value, 4) if isfinite(value) else None for name, value in found.items()}
