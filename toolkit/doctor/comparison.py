"""A good machine beside a bad one: rows that differ first, then facts that differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.doctor.document import Block, Document, Heading, Paragraph, Table
from toolkit.doctor.inquiry import SCHEMA
from toolkit.doctor.report import probe_states_by_prefix
from toolkit.doctor.wording import shown
from toolkit.errors import EXIT_WARNINGS, EXIT_WELL
from toolkit.probe.facts_file import FactsFile
from troubleshoot.catalogue import Catalogue
from troubleshoot.facts import NA, FactValue, fact_to_json
from troubleshoot.requirements import RowResult, check_requirements

__all__ = ["Comparison", "compare", "document_of"]

# Facts that differ from minute to minute and explain nothing by themselves.
_VOLATILE = (
    "memory.available_gb",
    "gpu.free_gb",
    "gpu.utilization_percent",
    "gpu.temperature_c",
    "gpu.sm_clock_mhz",
    "gpu.pstate",
    "gpu.power_w",
    "operation.",
    "torch.import_s",
    "disk.free_gb",
    "shm.free_gb",
    "gpu.processes",
    "gpu.list",
    "gpu.uuid",
    "gpu.used_gb",
    "gpu.other_gb",
    "gpu.memory_clock_mhz",
    "gpu.power_draw_w",
    "gpu.pcie",
    "gpu.problem",
    "forecast.lines",
    "forecast.changes",
    "forecast.published",
    "forecast.reason",
    "forecast.free_gb",
    "service.processes",
    "service.port_process",
)


@dataclass(frozen=True)
class Comparison:
    """Differences of two sets of facts. Each row pairs the good verdict with the bad one.

    ``telling`` are facts that some rule asks for. ``only_good`` and ``only_bad`` name groups of facts (``model``) that
    were measured on one machine only, mostly because the other doctor was not given a model or a service.
    """

    rows: tuple[tuple[RowResult, RowResult], ...]
    telling: tuple[tuple[str, FactValue, FactValue], ...]
    others: tuple[tuple[str, FactValue, FactValue], ...]
    only_good: tuple[str, ...] = ()
    only_bad: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 when nothing differs, 4 when something does."""
        return EXIT_WARNINGS if self.rows or self.telling or self.others else EXIT_WELL

    def to_json(self) -> dict[str, object]:
        """JSON form."""

        def pairs(facts: tuple[tuple[str, FactValue, FactValue], ...]) -> list[dict[str, object]]:
            return [{"name": name, "good": fact_to_json(good), "bad": fact_to_json(bad)} for name, good, bad in facts]

        return {
            "schema": SCHEMA,
            "kind": "comparison",
            "rows": [
                {"id": good.row.id, "good": good.verdict, "bad": bad.verdict, "bad_found": bad.found}
                for good, bad in self.rows
            ],
            "telling": pairs(self.telling),
            "others": pairs(self.others),
            "only_good": list(self.only_good),
            "only_bad": list(self.only_bad),
        }


def compare(catalogue: Catalogue, good_file: FactsFile, bad_file: FactsFile) -> Comparison:
    """Differences, with the facts that some rule asks for apart from the rest."""
    good, bad = good_file.facts, bad_file.facts
    judged = [check_requirements(catalogue, file.facts, probe_states_by_prefix(file)) for file in (good_file, bad_file)]
    rows = tuple((left, right) for left, right in zip(*judged, strict=True) if left.verdict != right.verdict)
    asked = {name for rule in catalogue for item in rule.evidence for name in (item.fact or {})}
    of_good, of_bad = _groups(good), _groups(bad)
    differing = [
        (name, good.get(name), bad.get(name))
        for name in sorted({*good, *bad})
        if not name.startswith(_VOLATILE)
        and name.split(".")[0] in of_good & of_bad
        and _plain(good.get(name)) != _plain(bad.get(name))
    ]
    return Comparison(
        rows,
        tuple(item for item in differing if item[0] in asked),
        tuple(item for item in differing if item[0] not in asked),
        tuple(sorted(of_good - of_bad)),
        tuple(sorted(of_bad - of_good)),
    )


def document_of(comparison: Comparison, good_name: str, bad_name: str, version: str) -> Document:
    """The comparison to show."""
    blocks: list[Block] = []
    if comparison.rows:
        rows = tuple((left.row.title, left.verdict, right.verdict, right.found) for left, right in comparison.rows)
        blocks += [Heading("Requirements that differ"), Table(("row", "good", "bad", "found on the bad machine"), rows)]
    if comparison.telling:
        blocks += [Heading("Facts that rules ask for"), _facts_table(comparison.telling)]
    if comparison.others:
        blocks += [Heading("Other facts"), _facts_table(comparison.others)]
    for name, only in (("good", comparison.only_good), ("bad", comparison.only_bad)):
        if only:
            blocks.append(Paragraph(f"Looked at on the {name} machine only: {', '.join(only)}."))
    if not blocks:
        blocks.append(Paragraph("The two machines do not differ in anything that was measured."))
    return Document(f"QWEN-AUDIO comparison {version}", f"good: {good_name}, bad: {bad_name}", tuple(blocks))


def _facts_table(facts: tuple[tuple[str, FactValue, FactValue], ...]) -> Table:
    return Table(("fact", "good", "bad"), tuple((name, _short(good), _short(bad)) for name, good, bad in facts))


def _groups(facts: Mapping[str, FactValue]) -> set[str]:
    return {name.split(".")[0] for name in facts}


def _short(value: FactValue) -> str:
    text = shown(value).split("\n", 1)[0] or "empty"
    return text if len(text) <= 28 else text[:27] + "…"


def _plain(value: FactValue) -> object:
    return None if isinstance(value, NA) else value
