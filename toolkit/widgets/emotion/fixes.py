"""What a click puts in place of what the linter found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from toolkit.errors import UsageError
from toolkit.tuning.effects import Clause, clauses_of, parse_effects
from toolkit.tuning.linting import Finding, Lint, lint_instruction
from toolkit.tuning.wording import say

__all__ = ["Model", "fix_of"]

_BY_CLAUSE = frozenset(("vague-adverb", "mood-word", "no-parameter", "out-of-range", "long-clause"))


@dataclass(frozen=True)
class Model:
    """What the linter has to know of a model; ``text_language`` is that of the text to speak."""

    kind: str = "custom_voice"
    size: str = "pocket"
    text_language: str = "auto"

    def lint(self, instruction: str) -> Lint:
        """Lint for this model. Raises UsageError for an empty or endless instruction."""
        return lint_instruction(
            instruction, model_kind=self.kind, size=self.size, text_language=self.text_language
        )  # fmt: skip


def fix_of(lint: Lint, finding: Finding, model: Model) -> str | None:
    """The instruction with one finding put right, None where no wording does that (then another model may).

    Only the parts that the finding lies in change; of a contradiction the second side goes.
    """
    text = lint.instruction
    if finding.rule == "one-language":
        return lint.mixed or None
    if finding.rule == "other-language":
        other = "en" if lint.language == "zh" else "zh"
        return say(lint.effects, other) or None
    clauses = clauses_of(text)
    if finding.rule == "contradiction":
        first = next((one for one in clauses if one.start <= finding.start < one.end), None)
        others = [text[one.start : one.end].strip() for one in clauses if one is not first]
        if first is None or not others or len({one.field for one in first.mentions}) < len(first.mentions):
            return lint.rewritten or None  # both sides in one part
        return ("，" if lint.language == "zh" else ", ").join(others)
    if finding.rule not in _BY_CLAUSE:
        return None
    fixed, at = [], 0
    for clause in clauses:
        inside = clause.start <= finding.start < clause.end or finding.start <= clause.start < finding.end
        fixed.append(text[at : clause.start])
        part = text[clause.start : clause.end]
        if inside:
            elsewhere = _said(one for one in clauses if one is not clause)
            part = _better(part, model, elsewhere)
        fixed.append(part)
        at = clause.end
    fixed.append(text[at:])
    found = "".join(fixed).strip(" ,，;；")
    return found if found and found != text else None


def _said(clauses: Iterable[Clause]) -> set[str]:
    """What they name outright; moods are mixtures."""
    return {mention.field for one in clauses for mention in one.mentions if mention.basis != "mood"}


def _better(part: str, model: Model, elsewhere: set[str]) -> str:
    """A part in quantities, without those that another part names: a mood does not go against what is said outright."""
    space = part[: len(part) - len(part.lstrip())]
    try:
        better = model.lint(part.strip())
    except UsageError:
        return part
    if better.rewritten == part.strip():
        return part
    kept = [one for one in better.parts if not (named := set(parse_effects(one).named())) or named - elsewhere]
    return space + ("，" if better.language == "zh" else ", ").join(kept)
