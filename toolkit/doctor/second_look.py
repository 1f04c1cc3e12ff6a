"""After a fix: run again just what spoke for the finding, and say solved or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.acoustics import measure, read_wav
from toolkit.doctor.document import Block, Bullets, Detail, Document, Heading, StatusRow, StatusRows
from toolkit.doctor.inquiry import SCHEMA, Inquiry
from toolkit.doctor.wording import fix_details, percent
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
    # What a new log says of versions and cards renews facts that the first log had told.
    renewed_facts |= set(matcher.all_facts(Case(logs=scans)))
    looked = [_Looked.at(line, now, has_log=bool(logs), has_audio=bool(audio), renewed=renewed_facts) for line in spoke]
    scored = score_observations(matcher.catalogue, now)
    return RecheckReport(
        rule=rule,
        outcome=_outcome(looked),
        gone=tuple(each.text for each in looked if each.state == "gone"),
        still=tuple(each.text for each in looked if each.state == "still"),
        untested=tuple(f"{each.text}: {each.advice}" for each in looked if each.state == "untested" and each.advice),
        probability_before=_number(finding.get("probability")),
        probability_now=scored[0].probability if scored else rule.prior,
        facts={**inquiry.measured, **new_facts},
    )


def document_of(report: RecheckReport, version: str) -> Document:
    """The outcome to show."""
    before, now = percent(report.probability_before), percent(report.probability_now)
    text = f"{report.rule.title}: {before} before, {now} now."
    details = [Detail("gone", line) for line in report.gone] + [Detail("still", line) for line in report.still]
    if report.outcome == "not-solved":
        details += fix_details(report.rule, report.facts, fixes=2)
    row = StatusRow(report.outcome, report.rule.id, text, tuple(details))
    blocks: list[Block] = [StatusRows((row,), stacked=True)]
    if report.untested:
        blocks += [Heading("Not looked at again"), Bullets(report.untested)]
    return Document(f"QWEN-AUDIO recheck {version}", report.outcome.replace("-", " "), tuple(blocks))


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


@dataclass(frozen=True)
class _Looked:
    """A line of evidence at the second look: ``state`` is gone, still or untested; ``advice`` is how to test it."""

    text: str
    weight: float
    state: str
    advice: str = ""

    @classmethod
    def at(
        cls, line: dict[str, object], now: list[Observation], *, has_log: bool, has_audio: bool, renewed: set[str]
    ) -> _Looked:
        kind, why, quote = str(line.get("kind")), str(line.get("why")), str(line.get("quote"))
        text, weight = f"{quote} ({why})", _number(line.get("weight"))
        advice = _untestable(kind, quote, has_log=has_log, has_audio=has_audio, renewed=renewed)
        if advice is not None:
            return cls(text, weight, "untested", advice)
        speaks = any((seen.kind, seen.why) == (kind, why) for seen in now if seen.weight > 0)
        return cls(text, weight, "still" if speaks else "gone")


def _untestable(kind: str, quote: str, *, has_log: bool, has_audio: bool, renewed: set[str]) -> str | None:
    """What is needed to test a line of evidence again; ``None`` when everything is at hand."""
    if kind == "log" and not has_log:
        return "run the failing action again and give its log: qwen-audio recheck SAVED NEW.log"
    if kind == "audio" and not has_audio:
        return "record again and give the file: --audio NEW.wav"
    if kind == "fact" and not any(part.split(" = ")[0] in renewed for part in quote.split(", ")):
        return "not measured here; tell it again with --fact NAME=VALUE"
    if kind not in _RERUN:
        return "" if kind == "says" else "only a person can say"
    return None


def _outcome(looked: list[_Looked]) -> Outcome:
    """Solved when nothing is still there and what is gone weighs no less than the half of what was not tested."""
    if any(each.state == "still" for each in looked):
        return "not-solved"
    gone = max((each.weight for each in looked if each.state == "gone"), default=0.0)
    untested = max((each.weight for each in looked if each.state == "untested"), default=0.0)
    return "solved" if gone > 0 and gone >= untested / 2 else "unclear"


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
