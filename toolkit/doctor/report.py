"""The doctor's report: requirement rows, causes that the facts alone establish, and the support tier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit import __version__
from toolkit.doctor.document import (
    Block,
    Bullets,
    Code,
    Detail,
    Document,
    Heading,
    Paragraph,
    StatusRow,
    StatusRows,
    Table,
)
from toolkit.doctor.page import render_fragment
from toolkit.doctor.speech_path import path_facts
from toolkit.doctor.wording import fix_details, shown
from toolkit.errors import EXIT_FAILS, EXIT_WARNINGS, EXIT_WELL
from toolkit.probe.catalogue import PROBES
from toolkit.probe.facts_file import FactsFile
from troubleshoot.engine import Finding, diagnose
from troubleshoot.evidence import Case, Matcher
from troubleshoot.facts import NA, FactValue
from troubleshoot.requirements import RowResult, check_requirements

__all__ = ["SCHEMA", "DoctorReport", "build_report", "document_of", "probe_states_by_prefix"]

SCHEMA = 1
_VERDICTS = {"fits": "fits", "tight": "is tight", "does-not-fit": "does not fit yet", "unknown": "may fit"}
# While one of these fails, nothing runs on the card at all.
_ROWS_OF_THE_CARD = frozenset({"wsl-libcuda", "graphics-card", "torch-version", "torch-build", "cuda"})
_SHOWN_LINES = 8  # of a stack most of which is the machinery of the import


@dataclass(frozen=True)
class DoctorReport:
    """Rows in order, and the causes beyond them that the facts establish. ``tier`` says what to expect."""

    file: FactsFile
    rows: tuple[RowResult, ...]
    also: tuple[Finding, ...]
    tier: str

    @property
    def exit_code(self) -> int:
        """0 well, 3 something fails, 4 only warnings."""
        verdicts = {row.verdict for row in self.rows}
        if any(row.is_bad for row in self.rows):
            return EXIT_FAILS
        return EXIT_WARNINGS if "warn" in verdicts or self.also else EXIT_WELL

    def _repr_html_(self) -> str:
        return render_fragment(document_of(self))

    def to_json(self) -> dict[str, object]:
        """JSON form: schema, rows, findings, and the facts file whole, so that it can be diagnosed elsewhere."""
        return {
            "schema": SCHEMA,
            "kind": "doctor",
            "exit_code": self.exit_code,
            "tier": self.tier,
            "rows": [row.to_json() for row in self.rows],
            "findings": [finding.to_json() for finding in self.also],
            "facts_file": self.file.to_json(),
        }


def build_report(matcher: Matcher, file: FactsFile) -> DoctorReport:
    """Judge a facts file. Pure, so a report from another machine is judged here."""
    facts = {**file.facts, **path_facts(file.facts)}
    rows = check_requirements(matcher.catalogue, facts, probe_states_by_prefix(file))
    shown_rules = {row.rule.id for row in rows if row.rule}
    diagnosis = diagnose(matcher, Case(facts=file.facts))
    also = tuple(
        finding
        for finding in diagnosis.findings
        if finding.known
        and finding.rule.requirement is None  # those are judged as rows
        and finding.explained_by not in shown_rules
    )
    return DoctorReport(file, rows, also, _tier(rows, file.facts))


def probe_states_by_prefix(file: FactsFile) -> dict[str, str]:
    """How the probe ended that gives the facts of a prefix."""
    provides = {probe.name: probe.provides for probe in PROBES}
    return {prefix.split(".")[0]: entry.state for entry in file.probes for prefix in provides.get(entry.name, ())}


def document_of(report: DoctorReport, *, verbose: bool = False) -> Document:
    """The report to show."""
    facts = report.file.facts
    blocks: list[Block] = [StatusRows(tuple(_row(row, facts, verbose) for row in report.rows))]
    if report.also:
        blocks.append(Heading("Also found"))
        blocks.append(StatusRows(tuple(_also(finding, facts) for finding in report.also), stacked=True))
    blocks.extend(_forecast(facts, verbose))
    blocks.extend(_ended_badly(report))
    notes = _notes(report, facts)
    if notes:
        blocks.append(Heading("Notes"))
        blocks.append(Bullets(tuple(notes)))
    blocks.append(Paragraph(_summary(report)))
    blocks.append(Paragraph(report.tier))
    python = facts.get("python.executable") or report.file.interpreter
    subtitle = f"{python} (Python {shown(facts.get('python.version'))}), {report.file.created}"
    return Document(f"QWEN-AUDIO doctor {__version__}", subtitle, tuple(blocks))


def _row(result: RowResult, facts: Mapping[str, FactValue], verbose: bool) -> StatusRow:
    row = result.row
    if result.verdict == "ok" and not verbose:
        return StatusRow(result.verdict, row.title, f"{result.found} [needed: {row.threshold}]")
    details: list[Detail] = []
    if verbose or result.rule is not None or result.is_bad:
        details = [Detail("needed", row.threshold), Detail("why", row.why)]
    if result.follows is not None and result.verdict != "not-checked":
        details.append(Detail("fix", f"See what fails above: {result.follows.title}."))
    elif result.rule is not None:
        details.extend(fix_details(result.rule, facts))
    elif result.remedy:
        details.append(Detail("fix", result.remedy))
    if result.rule is not None:
        details.append(Detail("rule", result.rule.id))
    return StatusRow(result.verdict, row.title, result.found, tuple(details))


def _also(finding: Finding, facts: Mapping[str, FactValue]) -> StatusRow:
    reasons = [Detail("because", f"{seen.quote}: {seen.why}") for seen in finding.evidence_for[:3]]
    return StatusRow("warn", finding.rule.id, finding.rule.title, (*reasons, *fix_details(finding.rule, facts)))


def _forecast(facts: Mapping[str, FactValue], verbose: bool) -> list[Block]:
    """The arithmetic behind the memory row, where there is a card or a model to speak of."""
    lines = facts.get("forecast.lines")
    known = isinstance(facts.get("forecast.verdict"), str)
    if not isinstance(lines, list) or not (known or verbose):
        return []
    rows = [
        (str(line["label"]), f"{line['bytes'] / 2**20:,.0f}", str(line["formula"]))
        for line in lines
        if isinstance(line, dict)
    ]
    total = sum(line["bytes"] for line in lines if isinstance(line, dict))
    rows.append(("in all", f"{total / 2**20:,.0f}", str(facts.get("forecast.reason") or "")))
    blocks: list[Block] = [
        Heading(f"Memory forecast: {shown(facts.get('forecast.model'))} in {shown(facts.get('forecast.dtype'))}"),
        Table(("what", "MiB", "how it is counted"), tuple(rows), right=(1,)),
    ]
    changes = facts.get("forecast.changes")
    if isinstance(changes, list) and changes:
        blocks.append(Paragraph("What would save memory, one step after the other:"))
        blocks.append(Bullets(tuple(_change(change) for change in changes if isinstance(change, dict))))
    return blocks


def _change(change: Mapping[str, object]) -> str:
    saves = change["saves_bytes"]
    size = f"{saves / 2**20:,.0f} MiB" if isinstance(saves, int) else "memory"
    then = _VERDICTS.get(str(change["verdict"]), "may fit")
    return f"{change['setting']} {change['before']} -> {change['after']} saves {size}; then it {then}"


def _ended_badly(report: DoctorReport) -> list[Block]:
    """What a probe left behind that did not come to its end: how it ended and the lines that it wrote last."""
    blocks: list[Block] = []
    for probe in report.file.probes:
        told = probe.reason.split("\n", 1)[0]
        if probe.state not in ("crashed", "timed-out", "failed") or (
            told and _is_told(told, report) and not probe.last_lines
        ):
            continue
        blocks.append(Heading(f"Probe {probe.name}: {probe.state.replace('-', ' ')}"))
        blocks.append(
            Paragraph(_sentence(probe.reason) or f"It ended after {probe.elapsed_s:.1f} s without saying why.")
        )
        if probe.last_lines:
            blocks.append(Code(probe.last_lines[:_SHOWN_LINES]))
    return blocks


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _is_told(text: str, report: DoctorReport) -> bool:
    return any(text in row.found for row in report.rows)


def _notes(report: DoctorReport, facts: Mapping[str, FactValue]) -> list[str]:
    notes = []
    if facts.get("nvcc.version"):
        notes.append(
            f"nvcc {shown(facts['nvcc.version'])} is installed. For information only: PyTorch wheels carry their own "
            "CUDA, and nothing here uses nvcc."
        )
    conflicts = facts.get("packages.conflicts")
    if conflicts and not isinstance(conflicts, NA):
        texts = str(conflicts).split("; ")
        notes.extend(f"Package conflict: {text}" for text in texts[:6])
    return notes


def _summary(report: DoctorReport) -> str:
    counts = {
        "fail": sum(row.is_bad for row in report.rows),
        "warn": sum(row.verdict == "warn" for row in report.rows) + len(report.also),
        "ok": sum(row.verdict == "ok" for row in report.rows),
    }
    rest = len(report.rows) - sum(row.is_bad or row.verdict in ("warn", "ok") for row in report.rows)
    return f"{counts['fail']} fail, {counts['warn']} warn, {counts['ok']} ok, {rest} not applicable or not checked."


def _tier(rows: tuple[RowResult, ...], facts: Mapping[str, FactValue]) -> str:
    by_id = {row.row.id: row for row in rows}
    bad = {row.row.id for row in rows if row.is_bad}
    vendor = facts.get("gpu.vendor")
    if isinstance(vendor, str) and vendor != "nvidia":
        return "Support: no NVIDIA card. Speech works on the CPU in float32, slower than real time."
    if bad & _ROWS_OF_THE_CARD:
        return "Support: not usable as it stands. Put right what fails above, then run the doctor again."
    if by_id["compute-capability"].is_bad or by_id["bf16"].verdict in ("fail", "warn"):
        support = "Support: float32, slower. Native BF16 needs compute capability 8.0."
        bad.discard("compute-capability")
    elif by_id["bf16"].verdict == "ok":
        support = "Support: native BF16. This is what the toolkit is made for."
    else:
        return "Support: not established, since BF16 was not tried on the card."
    return f"{support} But first put right what fails above." if bad else support
