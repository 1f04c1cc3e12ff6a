"""The engine: log-odds with a cap a group, root causes before their symptoms, and an honest "not known"."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from troubleshoot.catalogue import Catalogue
from troubleshoot.evidence import Case, Matcher, Observation
from troubleshoot.facts import NA, FactValue
from troubleshoot.questions import NextQuestion, choose_question
from troubleshoot.rule import Rule

__all__ = ["GROUP_CAP", "THRESHOLD", "Diagnosis", "Finding", "diagnose", "score_observations"]

THRESHOLD = 0.5
GROUP_CAP = 7.0
_ECHO_SHARE = 0.25
# A candidate below this is not worth a reader's time even in a list of guesses.
_LEAST_PROBABILITY = 0.002
_MAX_FINDINGS = 12
_MASK_MARGIN = 2.0
# Facts alone may add this much to a cause when a failure was described, and this share of what the description adds.
_CIRCUMSTANCE_ALLOWANCE = 1.0
_CIRCUMSTANCE_SHARE = 0.5


@dataclass(frozen=True)
class Finding:
    """One ranked cause. ``log_odds`` is the prior's plus those of all groups."""

    rule: Rule
    log_odds: float
    evidence_for: tuple[Observation, ...]
    evidence_against: tuple[Observation, ...]
    known: bool
    explained_by: str | None = None

    @property
    def probability(self) -> float:
        """Logistic of the log-odds."""
        return 1.0 / (1.0 + math.exp(-self.log_odds))

    def to_json(self) -> dict[str, object]:
        """JSON form; see docs/json.md."""
        rule = self.rule
        return {
            "rule": rule.id,
            "family": rule.family,
            "title": rule.title,
            "probability": round(self.probability, 4),
            "log_odds": round(self.log_odds, 2),
            "known": self.known,
            "evidence_for": [seen.to_json() for seen in self.evidence_for],
            "evidence_against": [seen.to_json() for seen in self.evidence_against],
            "cause": rule.cause,
            "fixes": [fix.model_dump(mode="json") for fix in rule.fixes],
            "verify": rule.verify.model_dump(mode="json"),
            "lookalikes": [other.model_dump(mode="json") for other in rule.lookalikes],
            "wrong_advice": [advice.model_dump(mode="json") for advice in rule.wrong_advice],
            "references": list(rule.references),
            "explained_by": self.explained_by,
        }


@dataclass(frozen=True)
class Diagnosis:
    """The answer to a case. ``known`` is false when nothing passes the threshold."""

    findings: tuple[Finding, ...]
    known: bool
    second_fault: Finding | None
    question: NextQuestion | None
    collect: tuple[str, ...]
    facts: Mapping[str, FactValue]


def diagnose(matcher: Matcher, case: Case) -> Diagnosis:
    """Rank the causes of a case. Pure: the same case gives the same answer."""
    catalogue = matcher.catalogue
    facts = matcher.all_facts(case)
    complaint = bool(case.words) or bool(case.logs)
    findings = score_observations(catalogue, matcher.observe(case, facts), complaint=complaint)
    findings = _harmless_last(findings, asked=bool(case.words))
    findings = _roots_first(findings)
    ranked = [finding for finding in findings if finding.probability >= _LEAST_PROBABILITY][:_MAX_FINDINGS]
    known = any(finding.known for finding in ranked)
    return Diagnosis(
        findings=tuple(ranked),
        known=known,
        second_fault=_second_fault(ranked),
        question=choose_question(
            catalogue, [(f.rule.id, f.probability) for f in ranked if f.rule.kind == "cause"], case.answers
        ),
        collect=() if known else _what_to_collect(ranked, case, facts),
        facts=facts,
    )


def score_observations(
    catalogue: Catalogue, observations: Iterable[Observation], *, complaint: bool = False
) -> list[Finding]:
    """Findings for all rules with at least one observation for them, most probable first.

    ``complaint`` says that somebody described a failure or gave its log, so that a cause has to fit that as well.
    """
    by_rule: dict[str, list[Observation]] = {}
    for seen in observations:
        if seen.rule in catalogue.by_id:
            by_rule.setdefault(seen.rule, []).append(seen)
    findings = []
    for rule_id, seen_of_rule in by_rule.items():
        if not any(seen.weight > 0 for seen in seen_of_rule):
            continue
        rule = catalogue.by_id[rule_id]
        log_odds = math.log(rule.prior / (1 - rule.prior)) + _evidence_sum(seen_of_rule, complaint=complaint)
        ordered = sorted(seen_of_rule, key=lambda seen: (-abs(seen.weight), seen.kind, seen.quote))
        findings.append(
            Finding(
                rule=rule,
                log_odds=log_odds,
                evidence_for=tuple(seen for seen in ordered if seen.weight > 0),
                evidence_against=tuple(seen for seen in ordered if seen.weight < 0),
                known=log_odds >= math.log(THRESHOLD / (1 - THRESHOLD)),
            )
        )
    return sorted(findings, key=lambda finding: (-finding.log_odds, finding.rule.id))


def _evidence_sum(observations: Sequence[Observation], *, complaint: bool) -> float:
    circumstances = [seen for seen in observations if seen.kind == "fact" and seen.weight > 0]
    symptoms = [seen for seen in observations if seen.kind != "fact" or seen.weight < 0]
    total = sum(_group_sums(observations).values())
    if not complaint or not circumstances:
        return total
    # An old card or a certain version is a circumstance that most of its owners live with in peace: it may not
    # outweigh by far what was actually complained of.
    without = sum(_group_sums(symptoms).values())
    heard = sum(_group_sums([seen for seen in symptoms if seen.weight > 0]).values())
    return min(total, without + _CIRCUMSTANCE_ALLOWANCE + _CIRCUMSTANCE_SHARE * heard)


def _group_sums(observations: Sequence[Observation]) -> dict[str, float]:
    groups: dict[str, list[float]] = {}
    for seen in observations:
        groups.setdefault(seen.group, []).append(seen.weight)
    return {name: _capped(weights) for name, weights in groups.items()}


def _capped(weights: list[float]) -> float:
    ups = sorted((weight for weight in weights if weight > 0), reverse=True)
    downs = sorted(weight for weight in weights if weight < 0)
    total = sum(side[0] + _ECHO_SHARE * sum(side[1:]) for side in (ups, downs) if side)
    return max(-GROUP_CAP, min(GROUP_CAP, total))


def _harmless_last(findings: list[Finding], *, asked: bool) -> list[Finding]:
    causes = [finding for finding in findings if finding.rule.kind == "cause"]
    # A harmless line is a finding only for somebody who asks about it; in a log alone it is put aside.
    harmless = [replace(found, known=found.known and asked) for found in findings if found.rule.kind == "harmless"]
    seen = [finding for finding in harmless if any(line.kind != "says" for line in finding.evidence_for)]
    if seen and not any(finding.known for finding in causes):
        best = causes[0].log_odds if causes else -math.inf
        if best > seen[0].log_odds:
            return sorted([*causes, *harmless], key=lambda found: (-found.log_odds, found.rule.id))
        return [*seen, *causes]
    return [*causes, *(replace(finding, known=False) for finding in harmless)]


def _roots_first(findings: list[Finding]) -> list[Finding]:
    """Move a known root cause before the known symptoms that it explains, and say so on them."""
    ranked = list(findings)
    for root in [finding for finding in ranked if finding.known]:
        for place, other in enumerate(ranked):
            if other.rule.id not in root.rule.masks or other.explained_by or not _may_mask(root, other):
                continue
            ranked[place] = replace(other, explained_by=root.rule.id)
            root_place = next(index for index, finding in enumerate(ranked) if finding.rule.id == root.rule.id)
            if root_place > place:
                ranked.insert(place, ranked.pop(root_place))
    return ranked


def _may_mask(root: Finding, other: Finding) -> bool:
    # A root that is barely believed does not push aside a symptom's rule that is nearly certain.
    mutual = root.rule.id in other.rule.masks
    return root.log_odds > other.log_odds - (0.0 if mutual else _MASK_MARGIN)


def _second_fault(ranked: list[Finding]) -> Finding | None:
    """The next likely fault: known, not explained by the first, and with evidence of its own."""
    if not ranked or not ranked[0].known:
        return None
    first = {(seen.kind, seen.quote) for seen in ranked[0].evidence_for}
    for finding in ranked[1:]:
        if not finding.known or finding.explained_by or finding.rule.kind == "harmless":
            continue
        if any((seen.kind, seen.quote) not in first and seen.kind != "says" for seen in finding.evidence_for):
            return finding
    return None


def _what_to_collect(ranked: list[Finding], case: Case, facts: Mapping[str, FactValue]) -> tuple[str, ...]:
    wanted: list[str] = []
    if not case.logs:
        wanted.append("the whole log of one failing run, from its first line: qwen-audio diagnose LOG")
    if not any(name.startswith("torch.") for name in facts):
        wanted.append(
            "facts of the interpreter that runs the service: qwen-audio doctor --python PATH --json > facts.json"
        )
    missing = sorted(
        {
            name
            for finding in ranked[:3]
            for item in finding.rule.evidence
            for name in (item.fact or {})
            if facts.get(name) is None or isinstance(facts.get(name), NA)
        }
    )
    if missing:
        wanted.append("these facts, which would tell the likeliest causes apart: " + ", ".join(missing[:8]))
    if not case.audio:
        wanted.append("a recording of the fault, when it can be heard: qwen-audio diagnose --audio OUT.wav")
    if not case.words:
        wanted.append("what happens and what was changed last, in your own words: --words TEXT")
    return tuple(wanted)
