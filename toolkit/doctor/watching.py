"""What a watch saw, to show: the summary with its verdict, and the samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields

from toolkit.doctor.document import Block, Bullets, Document, Heading, StatusRow, StatusRows, Table
from toolkit.doctor.inquiry import SCHEMA
from toolkit.errors import EXIT_WARNINGS, EXIT_WELL
from toolkit.probe.watch import Sample, UtilizationVerdict, WatchSummary
from troubleshoot.facts import NA, fact_to_json

__all__ = ["document_of", "exit_code", "to_json"]

_ADVICE = (
    "steady 60 to 95 % while it speaks: healthy",
    "long below 30 % while it speaks: the card waits, for the CPU, the disk or the network; see "
    "`qwen-audio rules show python-launch-bound-decode`",
    "0 % while it speaks: another device works; see `qwen-audio rules show cpu-only-torch-wheel`",
)
_VERDICTS = {"steady": "ok", "low": "warn", "uneven": "warn"}
_SHOWN_SAMPLES = 120


def exit_code(summary: WatchSummary) -> int:
    """0 well, 4 when the card waited, worked unevenly or was throttled."""
    return EXIT_WARNINGS if any(row.verdict == "warn" for row in _rows(summary)) else EXIT_WELL


def document_of(summary: WatchSummary, samples: Sequence[Sample], version: str) -> Document:
    """The summary, how to read it, and the samples (evenly thinned when there are many)."""
    step = max(1, -(-len(samples) // _SHOWN_SAMPLES))
    rows = tuple(
        (
            f"{one.time_s:.1f}",
            _cell(one.utilization_percent),
            _gib(one.memory_used_bytes),
            _cell(one.sm_clock_mhz),
            _cell(one.power_w),
            _cell(one.temperature_c),
        )
        for one in samples[::step]
    )
    blocks: list[Block] = [StatusRows(_rows(summary)), Heading("How to read it"), Bullets(_ADVICE)]
    if rows:
        names = ("s", "util %", "memory GiB", "SM MHz", "W", "°C")
        blocks += [Heading("Samples"), Table(names, rows, right=(0, 1, 2, 3, 4, 5))]
    return Document(
        f"QWEN-AUDIO watch {version}",
        f"{summary.sample_count} samples in {summary.duration_s:.0f} s",
        tuple(blocks),
    )


def _rows(summary: WatchSummary) -> tuple[StatusRow, ...]:
    verdict, reasons, peak = summary.verdict, summary.throttle_reasons, summary.memory_peak_bytes
    if isinstance(verdict, UtilizationVerdict):
        used = StatusRow(
            _VERDICTS.get(verdict.value, "not-checked"), "Utilisation", f"{verdict.value}: {verdict.reason}"
        )
    else:
        used = StatusRow("not-checked", "Utilisation", verdict.reason)
    if isinstance(reasons, NA):
        slowed = StatusRow("not-checked", "Throttling", reasons.reason)
    else:
        slowed = StatusRow("warn" if reasons else "ok", "Throttling", ", ".join(reasons) or "none")
    if isinstance(peak, NA):
        memory = StatusRow("not-checked", "Memory peak", peak.reason)
    else:
        memory = StatusRow("ok", "Memory peak", f"{_gib(peak)} GiB")
    return used, slowed, memory


def to_json(summary: WatchSummary, samples: Sequence[Sample]) -> dict[str, object]:
    """JSON form: samples, summary, and the facts that a diagnosis can use."""
    return {
        "schema": SCHEMA,
        "kind": "watch",
        "exit_code": exit_code(summary),
        "samples": [{field.name: _plain(getattr(one, field.name)) for field in fields(one)} for one in samples],
        "summary": {name: _plain(value) for name, value in _shallow(summary).items()},
        "facts": {name: _plain(value) for name, value in summary.as_facts().items()},
    }


def _shallow(summary: WatchSummary) -> dict[str, object]:
    return {field.name: getattr(summary, field.name) for field in fields(summary)}


def _plain(value: object) -> object:
    if isinstance(value, UtilizationVerdict):
        return asdict(value)
    if isinstance(value, tuple):
        return list(value)
    return fact_to_json(value)


def _cell(value: object) -> str:
    return "N/A" if isinstance(value, NA) else f"{value:.0f}" if isinstance(value, float) else str(value)


def _gib(value: int | NA) -> str:
    return "N/A" if isinstance(value, NA) else f"{value / 2**30:.2f}"
