"""Finds what makes an instruction weak, contradictory or useless, in English, Chinese or both, and words it anew."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from toolkit.errors import UsageError
from toolkit.tuning.effects import Clause, Effects, clauses_of, parse_effects
from toolkit.tuning.vocabulary import FIELDS
from toolkit.tuning.wording import language_of, say, say_one

__all__ = ["LONGEST_CLAUSE", "RULES", "Finding", "Lint", "LintRule", "lint_instruction"]

Severity = Literal["fail", "warning", "note"]
Basis = Literal["measured", "told"]
_KINDS = ("custom_voice", "voice_design", "base")
_SIZES = ("0b6", "1b7", "pocket")

LONGEST_CLAUSE = 15
"""Characters (Chinese) or words (other scripts) of one clause; the tutorial's figure, which nobody has measured."""

POCKET_RANGE = {
    "rate": (0.6, 1.6),
    "pitch_st": (-7.0, 12.0),
    "spread": (0.0, 2.0),
    "level_db": (-12.0, 6.0),
    "pause_s": (0.08, 1.2),
}
"""What the pocket voice was trained for: LIMITS of ``training/pocket/style.py``, in the units of Effects."""


@dataclass(frozen=True)
class LintRule:
    """A rule, how bad what it finds is, and whether that was measured or is only told, and by whom."""

    id: str
    severity: Severity
    basis: Basis
    source: str


_TUTORIAL = "the tutorial, told of BF16 and never measured"
RULES: dict[str, LintRule] = {
    rule.id: rule
    for rule in (
        LintRule("vague-adverb", "warning", "told", f"{_TUTORIAL} (first rule)"),
        LintRule("mood-word", "note", "told", f"{_TUTORIAL} (first rule); figures: words.yaml"),
        LintRule("one-language", "note", "told", f"{_TUTORIAL} (second rule: mixed instructions are more robust)"),
        LintRule("long-clause", "warning", "told", f"{_TUTORIAL} (third rule)"),
        LintRule("contradiction", "fail", "told", "the words themselves: no clip can do both"),
        LintRule("no-parameter", "warning", "told", "the words name a timbre or a taste"),
        LintRule("ignored-by-model", "fail", "measured", "the prompt is equal with and without it, or it is refused"),
        LintRule("other-language", "note", "told", "nobody measured whether a foreign instruction is followed worse"),
        LintRule("out-of-range", "warning", "measured", "the ranges that the pocket voice was trained in"),
    )
}
"""All rules by their id."""

_SENTENCE = re.compile(
    r"[^,;:!?。，；：！？、\n.]+(?:\.\d[^,;:!?。，；：！？、\n.]*)*"
)  # a point before a digit divides nothing


@dataclass(frozen=True)
class Finding:
    """One thing to put right: characters ``start`` to ``end`` of the instruction, what and why, and the remedy."""

    rule: str
    severity: Severity
    basis: Basis
    start: int
    end: int
    text: str
    fix: str


@dataclass(frozen=True)
class Lint:
    """What was found, and better wordings.

    Attributes:
        instruction: as given.
        language: "zh", "en" or "mixed".
        effects: what it asks for, in quantities.
        findings: in the order of the text.
        rewritten: the instruction with concrete quantities in place of each part that holds a vague word, a mood or
            too many words (what else such a part says is lost); parts that nothing was found in stay as they are. Of a
            contradiction the first side is kept. Equal to ``instruction`` where there is nothing to better, "" where
            nothing is left of it.
        parts: the same, in short parts.
        mixed: the quantities alone, in both languages; "" where nothing was asked for.
    """

    instruction: str
    language: str
    effects: Effects
    findings: tuple[Finding, ...]
    rewritten: str
    parts: tuple[str, ...]
    mixed: str

    @property
    def worst(self) -> Severity | None:
        """The gravest severity, None where nothing was found."""
        found = {finding.severity for finding in self.findings}
        return next((severity for severity in ("fail", "warning", "note") if severity in found), None)


def lint_instruction(text: str, *, model_kind: str, size: str, text_language: str | None = None) -> Lint:
    """Lint a style instruction for a model.

    Args:
        text: the instruction.
        model_kind: custom_voice, voice_design or base.
        size: 0b6, 1b7 or pocket.
        text_language: language of the text to speak, such as "Chinese"; None or "auto" where it is not known.

    Raises:
        UsageError: an unknown kind or size, an instruction that is empty or longer than 2,000 characters.
    """
    if model_kind not in _KINDS or size not in _SIZES:
        raise UsageError(
            f"model_kind is one of {', '.join(_KINDS)} and size one of {', '.join(_SIZES)}; found {model_kind}, {size}"
        )
    clauses = clauses_of(text)
    language = language_of(text)
    effects = parse_effects(text)
    findings = [
        *_ignored(text, model_kind, size),
        *_clause_findings(text, clauses, language, designs=model_kind == "voice_design"),
        *_contradictions(clauses),
        *_languages(text, language, text_language),
        *(_range_findings(clauses) if size == "pocket" else ()),
    ]
    findings.sort(key=lambda finding: (finding.start, finding.end, finding.rule))
    parts = _rewritten(text, clauses, findings, language, POCKET_RANGE if size == "pocket" else {})
    changed = any(finding.rule not in ("one-language", "other-language", "ignored-by-model") for finding in findings)
    separator = "，" if language == "zh" else ", "
    rewritten = separator.join(parts) if changed else text
    mixed = say(parse_effects(rewritten), "mixed") if rewritten else ""
    return Lint(text, language, effects, tuple(findings), rewritten, tuple(parts), mixed)


def _finding(rule_id: str, start: int, end: int, text: str, fix: str) -> Finding:
    rule = RULES[rule_id]
    return Finding(rule_id, rule.severity, rule.basis, start, end, text, fix)


def _ignored(text: str, kind: str, size: str) -> Iterator[Finding]:
    if kind == "base":
        why = "A Base model takes no instruction; it clones a voice and its manner from a recording."
        yield _finding("ignored-by-model", 0, len(text), why, "Take 1.7B-CustomVoice, or a recording in that manner.")
    elif kind == "custom_voice" and size == "0b6":
        why = "The 0.6B custom voice model drops every instruction: the prompt is the same without it."
        yield _finding("ignored-by-model", 0, len(text), why, "Take 1.7B-CustomVoice.")


def _clause_findings(text: str, clauses: tuple[Clause, ...], language: str, *, designs: bool) -> Iterator[Finding]:
    for clause in clauses:
        concrete = _concrete(clause, language)
        for token in clause.tokens:
            word = text[token.start : token.end]
            place = (token.start, token.end)
            if token.kind == "vague" and not clause.quantities:
                fix = f"Write: {concrete}." if concrete else "Name rate, pitch, volume, pause or breath with a number."
                yield _finding("vague-adverb", *place, f"“{word}” is a degree without a quantity.", fix)
            elif token.kind == "mood" and not designs:
                said = f"“{word}” is a mood or a role; what it does to the sound is left to the model."
                yield _finding("mood-word", *place, said, f"Write: {concrete}.")
            elif token.kind == "unsaid" and not designs:
                said = f"“{word}” is nothing that rate, pitch, volume, pause or breath could carry."
                fix = "Leave it out and choose a speaker who has it, or describe the voice to a VoiceDesign model."
                yield _finding("no-parameter", *place, said, fix)
    for found in _SENTENCE.finditer(text):
        if (length := _length(found.group())) > LONGEST_CLAUSE:
            said = (
                f"{length} characters or words in one clause; of more than {LONGEST_CLAUSE} the end is said to be lost."
            )
            yield _finding("long-clause", *found.span(), said, "Divide it: one quantity a part.")


def _length(clause: str) -> int:
    """Chinese characters, and words of other scripts."""
    han = re.findall(r"[\u3400-\u9fff]", clause)
    return len(han) + len(
        re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?|\d+(?:\.\d+)?", re.sub(r"[\u3400-\u9fff]", " ", clause))
    )


def _contradictions(clauses: tuple[Clause, ...]) -> Iterator[Finding]:
    # Moods are mixtures: "sad but fast" corrects the mixture and contradicts nothing.
    said = [mention for clause in clauses for mention in clause.mentions if mention.basis != "mood"]
    for name in FIELDS:
        own = [mention for mention in said if mention.field == name]
        other = next((mention for mention in own[1:] if mention.side != own[0].side), None)
        if other is not None:
            pair = f"{say_one(name, own[0].value, 'en')} and {say_one(name, other.value, 'en')}"
            yield _finding(
                "contradiction", other.start, other.end, f"It asks for {pair} at once.", "Keep one of the two."
            )
    whisper = next((mention for mention in said if mention.field == "whisper"), None)
    for mention in said if whisper is not None else ():
        if mention.field in ("pitch_st", "spread") or (mention.field == "level_db" and mention.side > 0):
            asked = say_one(mention.field, mention.value, "en")
            why = f"A whisper has no voice: it has no pitch and cannot be loud, and “{asked}” asks for that."
            yield _finding("contradiction", mention.start, mention.end, why, "Keep one of the two.")


def _languages(text: str, language: str, text_language: str | None) -> Iterator[Finding]:
    wanted = {"chinese": "zh", "zh": "zh", "english": "en", "en": "en"}.get((text_language or "").strip().lower())
    if wanted is not None and language not in (wanted, "mixed"):
        said = f"The instruction is in {'Chinese' if language == 'zh' else 'English'}, the text in {text_language}."
        yield _finding(
            "other-language", 0, len(text), said, "Try it in both languages; nobody measured which is better."
        )
    if language != "mixed":
        said = "The tutorial says that mixed Chinese and English instructions are more robust; it is not measured."
        yield _finding("one-language", 0, len(text), said, "Try the mixed wording beside this one, and measure.")


def _range_findings(clauses: tuple[Clause, ...]) -> Iterator[Finding]:
    for mention in (mention for clause in clauses for mention in clause.mentions):
        low, high = POCKET_RANGE.get(mention.field, (mention.value, mention.value))
        if not low <= mention.value <= high:
            nearest = say_one(mention.field, min(high, max(low, mention.value)), "en")
            said = f"The pocket voice cannot do “{say_one(mention.field, mention.value, 'en')}”."
            yield _finding("out-of-range", mention.start, mention.end, said, f"The nearest it can do: {nearest}.")


_BASES = ("number", "word", "mood")
"""How directly a quantity is said, the most direct first."""


def _concrete(
    clause: Clause,
    language: str,
    without: frozenset[str] = frozenset(),
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> str:
    values: dict[str, float] = {}
    for basis in _BASES:
        for mention in clause.mentions:
            if mention.basis == basis and mention.field not in without:
                low, high = (ranges or {}).get(mention.field, (mention.value, mention.value))
                values.setdefault(mention.field, min(high, max(low, mention.value)))
    separator = "，" if language == "zh" else ", "
    spoken = "en" if language == "en" else "zh"
    return separator.join(say_one(name, values[name], spoken) for name in FIELDS if name in values)


def _rewritten(
    text: str,
    clauses: tuple[Clause, ...],
    findings: list[Finding],
    language: str,
    ranges: Mapping[str, tuple[float, float]],
) -> list[str]:
    """Clauses with something to better become quantities, the others stay; of a contradiction the first is kept, and of
    a mood and what is said outright the latter."""
    parts: list[str] = []
    owners: dict[str, tuple[int, int]] = {}
    for number, clause in enumerate(clauses):
        for mention in clause.mentions:
            claim = _BASES.index(mention.basis), number
            owners[mention.field] = min(claim, owners.get(mention.field, claim))
    for number, clause in enumerate(clauses):
        own = {one.rule for one in findings if clause.start <= one.start and one.end <= clause.end}
        own |= {one.rule for one in findings if one.rule == "long-clause" and one.start <= clause.start < one.end}
        fields = {mention.field for mention in clause.mentions}
        against = {
            mention.field
            for one in findings
            for mention in clause.mentions
            if one.rule == "contradiction" and (one.start, one.end) == (mention.start, mention.end)
        }
        to_better = own & {"vague-adverb", "mood-word", "no-parameter", "contradiction", "out-of-range", "long-clause"}
        if clause.mentions and (to_better or against):
            elsewhere = {name for name in fields if owners[name][1] != number}
            concrete = _concrete(clause, language, frozenset(against | elsewhere), ranges)
            parts += [part for part in re.split("，|, ", concrete) if part]
        elif own & {"no-parameter"}:
            continue
        else:
            parts.append(text[clause.start : clause.end].strip())
    return parts
