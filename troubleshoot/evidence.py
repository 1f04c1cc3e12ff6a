"""From a case (log, facts, words, audio, answers) to observations: the lines that speak for or against rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from troubleshoot.catalogue import Catalogue
from troubleshoot.conditions import Condition, evaluate_all
from troubleshoot.extract import facts_from_log, facts_from_words
from troubleshoot.facts import NA, FactValue
from troubleshoot.rule import Evidence, compile_pattern
from troubleshoot.scanner import Hit, PatternSet, ScanResult
from troubleshoot.words import WordModel

__all__ = ["Case", "Matcher", "Observation"]

# A line that is known to be harmless may still be an echo of a true fault, but it is weak evidence.
_HARMLESS_SHARE = 0.25
# Wrappers re-raise under other names, so what stands in a later exception counts less than what stands in the first.
_LATER_EXCEPTION_SHARE = 0.8
# A log item of at least this weight is a message that a cause has to answer for; one that does not loses a little.
_TELLING = 2.5
_UNEXPLAINED = -1.0
# A message quoted in a sentence may be quoted from a web page.
_QUOTED_SHARE = 0.9


@dataclass(frozen=True)
class Case:
    """Everything known of one failure. ``logs`` holds one scan a file, by name."""

    logs: Mapping[str, ScanResult] = field(default_factory=dict)
    facts: Mapping[str, FactValue] = field(default_factory=dict)
    words: str = ""
    audio: Mapping[str, FactValue] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Observation:
    """One line of evidence. ``weight`` is in natural log-odds; ``kind`` is log, fact, audio, words, says or answer."""

    rule: str
    kind: str
    weight: float
    group: str
    why: str
    quote: str
    source: str = ""
    line: int | None = None

    def to_json(self) -> dict[str, object]:
        """JSON form."""
        return {
            "kind": self.kind, "weight": round(self.weight, 2), "group": self.group, "why": self.why,
            "quote": self.quote, "source": self.source, "line": self.line,
        }


@dataclass(frozen=True)
class _Conditional:
    rule: str
    item: Evidence
    conditions: dict[str, Condition]


class Matcher:
    """A catalogue made ready for matching; build it once and use it for many cases."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._log_items = [(rule, item) for rule in catalogue for item in rule.evidence if item.log is not None]
        self._word_items = [(rule.id, item) for rule in catalogue for item in rule.evidence if item.words is not None]
        self._conditional = [
            _Conditional(rule.id, item, item.conditions())
            for rule in catalogue
            for item in rule.evidence
            if item.kind in ("fact", "audio")
        ]
        self.patterns = PatternSet(item.log or "" for _, item in self._log_items)
        self._word_patterns = PatternSet(item.words or "" for _, item in self._word_items)
        self._words = WordModel(catalogue)

    def all_facts(self, case: Case) -> dict[str, FactValue]:
        """Facts of the case, completed by what its words and logs state; what was measured or told wins."""
        facts: dict[str, FactValue] = {}
        if case.words:
            facts.update(facts_from_words(case.words))
        for scan in case.logs.values():
            facts.update(facts_from_log(scan.interesting))
        for name, value in case.facts.items():
            if value is not None and not (isinstance(value, NA) and name in facts):
                facts[name] = value
        return facts

    def observe(self, case: Case, facts: Mapping[str, FactValue] | None = None) -> list[Observation]:
        """All observations of a case. ``facts`` are its :meth:`all_facts`, when the caller has them already."""
        if facts is None:
            facts = self.all_facts(case)
        found: list[Observation] = []
        for source, scan in case.logs.items():
            found.extend(self._from_log(source, scan))
        if case.words:
            found.extend(self._from_words(case.words, {(seen.rule, seen.why) for seen in found}))
        found.extend(self._from_conditions({**facts, **case.audio}))
        found.extend(self._from_answers(case.answers))
        found.extend(self._unexplained(found))
        return found

    def _from_log(self, source: str, scan: ScanResult) -> Iterable[Observation]:
        harmless = {hit.line for hit in scan.hits if self._is_harmless(hit)}
        telling = [hit for hit in scan.hits if self._is_telling(hit, harmless)]
        first = self._first_explained_exception(scan, telling)
        seen: set[int] = set()
        for hit in scan.hits:
            if hit.pattern in seen:
                continue
            seen.add(hit.pattern)
            rule, item = self._log_items[hit.pattern]
            share = 1.0
            if hit.line in harmless and rule.kind != "harmless":
                share = _HARMLESS_SHARE
            elif first is not None and hit.line > first and item.weight > 0:
                share = _LATER_EXCEPTION_SHARE
            yield Observation(rule.id, "log", item.weight * share, item.group, item.why, hit.quote, source, hit.line)

    def _is_harmless(self, hit: Hit) -> bool:
        rule, item = self._log_items[hit.pattern]
        return rule.kind == "harmless" and item.weight > 0

    def _is_telling(self, hit: Hit, harmless: set[int]) -> bool:
        rule, item = self._log_items[hit.pattern]
        return rule.kind == "cause" and item.weight >= _TELLING and hit.line not in harmless

    def _first_explained_exception(self, scan: ScanResult, telling: list[Hit]) -> int | None:
        # Only where the first exception itself speaks for a cause does it put the later ones into its shade.
        headlines = [hit.line for hit in scan.exceptions]
        for index, line in enumerate(headlines[:-1]):
            if any(line <= hit.line <= line + 2 for hit in telling):
                return min(line + 2, headlines[index + 1] - 1)
        return None

    def _from_words(self, words: str, from_log: set[tuple[str, str]]) -> Iterable[Observation]:
        data = (words + "\n").encode("utf-8", "replace")
        for index in self._word_patterns.matching(data):
            if index < len(self._word_items):
                rule_id, item = self._word_items[index]
                quote = _matched(item.words or "", words)
                yield Observation(rule_id, "words", item.weight, item.group, item.why, quote, "words")
        for index in self.patterns.matching(data):
            if index < len(self._log_items):
                rule, item = self._log_items[index]
                if (rule.id, item.why) not in from_log:
                    quote, weight = _matched(item.log or "", words), item.weight * _QUOTED_SHARE
                    yield Observation(rule.id, "words", weight, item.group, item.why, quote, "words")
        for rule_id, score in self._words.scores(words).items():
            why = "the description fits the rule's own: " + ", ".join(score.shared)
            yield Observation(rule_id, "says", score.log_odds, "says", why, words[:160], "words")

    def _from_conditions(self, facts: Mapping[str, FactValue]) -> Iterable[Observation]:
        for conditional in self._conditional:
            if evaluate_all(conditional.conditions, facts):
                item = conditional.item
                quote = ", ".join(f"{name} = {_shown(facts.get(name))}" for name in conditional.conditions)
                yield Observation(conditional.rule, item.kind, item.weight, item.group, item.why, quote, item.kind)

    def _unexplained(self, found: list[Observation]) -> list[Observation]:
        """Against every cause that leaves the log's telling message unexplained."""
        rules = self.catalogue.by_id
        logged = [seen for seen in found if seen.kind == "log" and seen.weight > 0]
        telling = [seen for seen in logged if seen.weight >= _TELLING and rules[seen.rule].kind == "cause"]
        if not telling:
            return []
        first = min(telling, key=lambda seen: (seen.line or 0, -seen.weight))
        why = "the log shows a message that this cause does not explain"
        silent = sorted({seen.rule for seen in found} - {seen.rule for seen in logged})
        return [
            Observation(rule_id, "log", _UNEXPLAINED, "unexplained", why, first.quote, first.source, first.line)
            for rule_id in silent
        ]

    def _from_answers(self, answers: Mapping[str, str]) -> Iterable[Observation]:
        for question_id, value in answers.items():
            question = self.catalogue.questions.get(question_id)
            for answer in question.answers if question else ():
                if answer.value != value or question is None:
                    continue
                group = f"answer-{question_id}"
                for rule_id, weight in answer.weights.items():
                    yield Observation(rule_id, "answer", weight, group, question.ask, answer.text, "answer")


def _matched(pattern: str, text: str) -> str:
    match = compile_pattern(pattern).search(text.encode("utf-8", "replace"))
    return match.group(0).decode("utf-8", "replace")[:160] if match else text[:160]


def _shown(value: FactValue) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not known" if value is None else str(value)
