"""A diagnosis to show: ranked findings with reasons for and against, the cure, and the next question."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolkit import __version__
from toolkit.doctor.document import Block, Bullets, Detail, Document, Heading, Paragraph, StatusRow, StatusRows
from toolkit.doctor.inquiry import SCHEMA, Inquiry
from toolkit.doctor.page import render_fragment
from toolkit.doctor.wording import command_details, fix_details, percent
from toolkit.errors import EXIT_FAILS, EXIT_WELL
from troubleshoot.engine import Diagnosis, Finding, diagnose
from troubleshoot.evidence import Case, Matcher, Observation
from troubleshoot.facts import fact_to_json
from troubleshoot.rule import WrongAdvice

__all__ = ["DiagnosisReport", "diagnose_inquiry", "document_of"]

_SHOWN_FINDINGS = 3
_SHOWN_EVIDENCE = 4
_LEAST_RIVAL = 0.15


@dataclass(frozen=True)
class DiagnosisReport:
    """A diagnosis with what it rests on."""

    inquiry: Inquiry
    case: Case
    diagnosis: Diagnosis

    @property
    def exit_code(self) -> int:
        """3 when a cause is known, else 0: a log without a known fault is not a failure."""
        return EXIT_FAILS if self.diagnosis.known else EXIT_WELL

    def _repr_html_(self) -> str:
        return render_fragment(document_of(self, __version__))

    def to_json(self) -> dict[str, object]:
        """JSON form (docs/json.md)."""
        diagnosis = self.diagnosis
        return {
            "schema": SCHEMA,
            "kind": "diagnosis",
            "known": diagnosis.known,
            "findings": [finding.to_json() for finding in diagnosis.findings],
            "second_fault": diagnosis.second_fault.rule.id if diagnosis.second_fault else None,
            "question": diagnosis.question.to_json() if diagnosis.question else None,
            "collect": list(diagnosis.collect),
            "facts": {name: fact_to_json(value) for name, value in sorted(diagnosis.facts.items())},
            "logs": [
                {
                    "name": name,
                    "lines": scan.lines,
                    "bytes": scan.bytes_read,
                    "first_exception_line": scan.first_exception_line,
                }
                for name, scan in self.case.logs.items()
            ],
            "inquiry": {
                **self.inquiry.to_json(),
                "audio_measures": {n: fact_to_json(v) for n, v in self.case.audio.items()},
            },
        }


def diagnose_inquiry(matcher: Matcher, inquiry: Inquiry) -> DiagnosisReport:
    """Read the inputs and diagnose them."""
    case = inquiry.case(matcher)
    return DiagnosisReport(inquiry, case, diagnose(matcher, case))


def document_of(report: DiagnosisReport, version: str, *, verbose: bool = False) -> Document:
    """The diagnosis to show."""
    diagnosis = report.diagnosis
    blocks: list[Block] = []
    if diagnosis.known:
        known = [finding for finding in diagnosis.findings if finding.known]
        count = len(known) if verbose else _SHOWN_FINDINGS
        blocks.append(
            StatusRows(
                tuple(_finding(finding, report, place) for place, finding in enumerate(known[:count], 1)), stacked=True
            )
        )
        if len(known) > count:
            blocks.append(
                Paragraph("Less likely: " + ", ".join(finding.rule.id for finding in known[count:]) + ".", dim=True)
            )
        blocks.extend(_second_fault(diagnosis))
    else:
        blocks.append(Paragraph("Not known: nothing found here is sure enough to name a cause."))
        if diagnosis.findings:
            guesses = ", ".join(
                f"{finding.rule.id} ({percent(finding.probability)})"
                for finding in diagnosis.findings[:_SHOWN_FINDINGS]
            )
            blocks.append(Paragraph(f"Nearest guesses: {guesses}."))
        blocks.extend([Heading("Collect next"), Bullets(diagnosis.collect)])
    blocks.extend(_question(diagnosis))
    return Document(f"QWEN-AUDIO diagnosis {version}", _inputs(report), tuple(blocks))


def _finding(finding: Finding, report: DiagnosisReport, place: int) -> StatusRow:
    rule = finding.rule
    facts = report.diagnosis.facts
    details = [Detail("cause", rule.cause)]
    details += [Detail("for", _evidence(seen)) for seen in finding.evidence_for[:_SHOWN_EVIDENCE]]
    details += [Detail("against", _evidence(seen)) for seen in finding.evidence_against[:_SHOWN_EVIDENCE]]
    if finding.explained_by:
        details.append(Detail("note", f"a consequence of {finding.explained_by}; cure that first"))
    if place == 1:
        details += fix_details(rule, facts, fixes=2)
        details.append(Detail("verify", rule.verify.text))
        details += command_details(rule.verify.commands, facts)
        details += [Detail("wrong", _advice(advice)) for advice in rule.wrong_advice[:2]]
        details += [Detail("unlike", f"{other.rule}: {other.tell}") for other in rule.lookalikes[:2]]
    else:
        details += [Detail("fix", rule.fixes[0].title)]
    return StatusRow(percent(finding.probability), rule.id, rule.title, tuple(details))


def _advice(advice: WrongAdvice) -> str:
    return f'"{advice.claim}" {advice.truth}'


def _evidence(seen: Observation) -> str:
    place = f"line {seen.line}: " if seen.line else ""
    source = f"{Path(seen.source).name} " if seen.line and seen.source not in ("log", "-", "") else ""
    return f"{seen.weight:+.1f}  {source}{place}{seen.quote} ({seen.why})"


def _second_fault(diagnosis: Diagnosis) -> list[Block]:
    if diagnosis.second_fault is None:
        return []
    rule = diagnosis.second_fault.rule
    return [
        Paragraph(
            f"Next likely fault, with evidence of its own: {rule.id} ({rule.title}). Expect it once the first is cured."
        )
    ]


def _question(diagnosis: Diagnosis) -> list[Block]:
    asked = diagnosis.question
    if asked is None:
        return []
    first, second = asked.between
    probability = {finding.rule.id: finding.probability for finding in diagnosis.findings}
    if probability[second] < _LEAST_RIVAL and diagnosis.known:
        return []  # nobody wants to be asked about a cause that nothing speaks for
    answers = tuple(f"--answer {asked.question.id}={answer.value}   {answer.text}" for answer in asked.question.answers)
    return [
        Heading(f"To tell {first} from {second} (about {asked.question.cost_s:.0f} s)"),
        Paragraph(f"{asked.question.ask}\n{asked.question.ask_zh}"),
        Bullets(answers),
    ]


def _inputs(report: DiagnosisReport) -> str:
    parts = [f"{Path(name).name}: {scan.lines} lines" for name, scan in report.case.logs.items()]
    if report.inquiry.words:
        parts.append("words")
    if report.case.facts:
        parts.append(f"{len(report.case.facts)} facts")
    if report.case.audio:
        parts.append("audio")
    if report.case.answers:
        parts.append("answers")
    return ", ".join(parts)
