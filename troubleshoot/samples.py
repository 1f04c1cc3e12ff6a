"""Samples of rules: inputs that must, or must not, lead to a rule, and how they fare."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from troubleshoot.engine import Diagnosis, diagnose
from troubleshoot.evidence import Case, Matcher
from troubleshoot.facts import told_facts
from troubleshoot.rule import Rule, Sample, SampleFile
from troubleshoot.scanner import scan_text

__all__ = ["SampleOutcome", "case_of", "check_samples"]


@dataclass(frozen=True)
class SampleOutcome:
    """Whether one sample came out as its file says, and what was found instead."""

    rule: str
    name: str
    wanted: str
    holds: bool
    found: str


def case_of(matcher: Matcher, *, log: str | None, words: str | None, facts: dict[str, object]) -> Case:
    """A case from plain texts and told facts."""
    logs = {"log": scan_text(log, matcher.patterns)} if log and log.strip() else {}
    return Case(logs=logs, facts=told_facts(facts), words=words or "")


def check_samples(matcher: Matcher, rule: Rule, samples: SampleFile) -> Iterator[SampleOutcome]:
    """Run the hits and misses of one rule against the whole catalogue."""
    for sample in samples.hit:
        diagnosis = _diagnose(matcher, sample)
        leaders = [finding for finding in diagnosis.findings[: sample.top] if finding.known]
        holds = any(finding.rule.id == rule.id for finding in leaders)
        yield SampleOutcome(rule.id, sample.name, "hit", holds, _summary(diagnosis, rule.id))
    for sample in samples.miss:
        diagnosis = _diagnose(matcher, sample)
        first = diagnosis.findings[0] if diagnosis.findings and diagnosis.findings[0].known else None
        holds = first is None or first.rule.id != rule.id
        if sample.expect is not None:
            holds = first is not None and first.rule.id == sample.expect
        wanted = f"miss ({sample.expect or 'anything else'})"
        yield SampleOutcome(rule.id, sample.name, wanted, holds, _summary(diagnosis, rule.id))


def _diagnose(matcher: Matcher, sample: Sample) -> Diagnosis:
    plain = case_of(matcher, log=sample.log, words=sample.words, facts=dict(sample.facts))
    return diagnose(matcher, Case(plain.logs, plain.facts, plain.words, dict(sample.audio), dict(sample.answers)))


def _summary(diagnosis: Diagnosis, rule_id: str) -> str:
    shown = [f"{finding.rule.id} {finding.probability:.2f}" for finding in diagnosis.findings[:3]]
    place = next((index for index, finding in enumerate(diagnosis.findings, 1) if finding.rule.id == rule_id), None)
    return ", ".join(shown) + (f"; {rule_id} is number {place}" if place and place > 3 else "") or "nothing"
