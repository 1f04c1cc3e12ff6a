"""After a fix: run again just what spoke for the finding, and say solved or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.acoustics import measure, read_wav
from toolkit.doctor.document import Block, Bullets, Detail, Document, Heading, StatusRow, StatusRows
from toolkit.doctor.inquiry import SCHEMA, Inquiry
from toolkit.doctor.wording import fix_details
from toolkit.errors import EXIT_FAILS, EXIT_WARNINGS, EXIT_WELL, BadBundle, UsageError
from troubleshoot.engine import score_observations
from troubleshoot.evidence import Case, Matcher, Observation
from troubleshoot.facts import FactValue, told_facts
from troubleshoot.rule import Rule
from troubleshoot.scanner import ScanResult, scan_path

__all__ = ["Outcome", "RecheckReport", "Reprobe", "document_of", "recheck"]

Outcome = Literal["solved", "not-solved", "unclear"]
Reprobe = Callable[[Sequence[str]], Mapping[str, FactValue]]
_RERUN = ("log", "fact", "audio")


@dataclass(frozen=True)
class RecheckReport:
    """What came of the second look: evidence that is ``gone``, ``still`` there, or ``untested``."""

    rule: Rule
    outcome: Outcome
    gone: tuple[str, ...]
    still: tuple[str, ...]
    untested: tuple[str, ...]
    probability_before: float
    probability_now: float
    facts: Mapping[str, FactValue]

    @property
    def exit_code(self) -> int:
        """0 solved, 3 not solved, 4 unclear."""
        return {"solved": EXIT_WELL, "not-solved": EXIT_FAILS, "unclear": EXIT_WARNINGS}[self.outcome]

    def to_json(self) -> dict[str, object]:
        """JSON form."""
        return {
            "schema": SCHEMA,
            "kind": "recheck",
            "rule": self.rule.id,
            "outcome": self.outcome,
            "gone": list(self.gone),
            "still": list(self.still),
            "untested": list(self.untested),
            "probability_before": round(self.probability_before, 4),
            "probability_now": round(self.probability_now, 4),
        }


def recheck(
    matcher: Matcher,
    inquiry: Inquiry,
    saved: Mapping[str, object],
    *,
    rule_id: str | None,
    logs: Sequence[Path],
    audio: Sequence[Path],
    told: Mapping[str, object],
    reprobe: Reprobe,
) -> RecheckReport:
    """Take a saved diagnosis up again.

    ``logs`` and ``audio`` are new recordings of the same action; ``reprobe`` measures the named facts anew. Evidence
    from words and answers cannot be renewed by a machine, and facts that were told need to be told again (``told``).
    """
    finding = _finding(saved, rule_id)
    rule = matcher.catalogue.by_id.get(str(finding["rule"]))
    if rule is None:
        raise UsageError(f"the saved diagnosis names the rule {finding['rule']}, which this catalogue does not have")
    spoke = [line for line in _list(finding.get("evidence_for")) if isinstance(line, dict)]
    if not spoke:
        raise BadBundle(f"the saved diagnosis has no evidence for {rule.id}")
    new_facts, renewed_facts = _renew_facts(rule, inquiry, told, reprobe)
    scans: dict[str, ScanResult] = {str(path): scan_path(path, matcher.patterns) for path in logs}
    measures: dict[str, FactValue] = {}
    for path in audio:
        measures.update(measure(read_wav(path), inquiry.spoken_text or None))
    case = Case(logs=scans, facts=new_facts, audio=measures)
    now = [seen for seen in matcher.observe(case) if seen.rule == rule.id]
    gone, still, untested = _compare(spoke, now, bool(logs), bool(audio), renewed_facts)
    scored = score_observations(matcher.catalogue, now)
    return RecheckReport(
        rule=rule,
        outcome=_outcome(gone, still),
        gone=tuple(gone),
        still=tuple(still),
        untested=tuple(untested),
        probability_before=_number(finding.get("probability")),
        probability_now=scored[0].probability if scored else rule.prior,
        facts={**inquiry.measured, **new_facts},
    )


def document_of(report: RecheckReport, version: str) -> Document:
    """The outcome to show."""
    text = f"{report.rule.title}: {report.probability_before:.0%} before, {report.probability_now:.0%} now"
    details = [Detail("gone", line) for line in report.gone] + [Detail("still", line) for line in report.still]
    if report.outcome == "not-solved":
        details += fix_details(report.rule, report.facts, fixes=2)
    verdict = {"solved": "solved", "not-solved": "fail", "unclear": "warn"}[report.outcome]
    words = {"solved": "solved", "not-solved": "not solved", "unclear": "unclear"}[report.outcome]
    blocks: list[Block] = [StatusRows((StatusRow(verdict, report.rule.id, f"{words}. {text}", tuple(details)),))]
    if report.untested:
        blocks += [Heading("Not looked at again"), Bullets(report.untested)]
    return Document(f"QWEN-AUDIO recheck {version}", words, tuple(blocks))


def _finding(saved: Mapping[str, object], rule_id: str | None) -> Mapping[str, object]:
    findings = [finding for finding in _list(saved.get("findings")) if isinstance(finding, dict) and "rule" in finding]
    if not findings:
        raise UsageError("the saved diagnosis found nothing, so there is nothing to check again")
    if rule_id is None:
        return findings[0]
    for finding in findings:
        if finding["rule"] == rule_id:
            return finding
    raise UsageError(
        f"the saved diagnosis has no finding {rule_id}; it has: {', '.join(str(f['rule']) for f in findings)}"
    )


def _renew_facts(
    rule: Rule, inquiry: Inquiry, told: Mapping[str, object], reprobe: Reprobe
) -> tuple[dict[str, FactValue], set[str]]:
    """Facts as they are now, and the names among them that are new."""
    used = sorted({name for item in rule.evidence for name in (item.fact or {})})
    measured = [name for name in used if name in inquiry.measured]
    fresh = dict(reprobe(measured)) if measured else {}
    again = told_facts(told)
    # What was told before still describes the machine (its card, its system) unless it is told anew.
    before = {name: value for name, value in told_facts(inquiry.told).items() if name not in again}
    facts = {**before, **{name: fresh[name] for name in fresh if name in used or "." in name}, **again}
    return facts, set(fresh) | set(again)


def _compare(
    spoke: list[dict[str, object]], now: list[Observation], has_log: bool, has_audio: bool, renewed: set[str]
) -> tuple[list[str], list[str], list[str]]:
    gone: list[str] = []
    still: list[str] = []
    untested: list[str] = []
    speaking = {(seen.kind, seen.why) for seen in now if seen.weight > 0}
    for line in spoke:
        kind, why, quote = str(line.get("kind")), str(line.get("why")), str(line.get("quote"))
        shown = f"{quote} ({why})"
        if kind == "log" and not has_log:
            untested.append(f"{shown}: run the failing action again and give its log: qwen-audio recheck SAVED NEW.log")
        elif kind == "audio" and not has_audio:
            untested.append(f"{shown}: record again and give the file: --audio NEW.wav")
        elif kind == "fact" and not any(name.split(" = ")[0] in renewed for name in quote.split(", ")):
            untested.append(f"{shown}: was told, not measured; tell it again with --fact NAME=VALUE")
        elif kind not in _RERUN:
            if kind != "says":
                untested.append(f"{shown}: only a person can say")
        elif (kind, why) in speaking:
            still.append(shown)
        else:
            gone.append(shown)
    return gone, still, untested


def _outcome(gone: list[str], still: list[str]) -> Outcome:
    if still:
        return "not-solved"
    return "solved" if gone else "unclear"


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
