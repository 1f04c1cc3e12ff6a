"""The wordings of one wish that are worth comparing: the user's, the linter's, mixed, in parts, and further ones."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.errors import UsageError
from toolkit.tuning.book import Origin, Variant
from toolkit.tuning.effects import fold, parse_effects
from toolkit.tuning.linting import lint_instruction
from toolkit.tuning.wording import language_of, say

__all__ = ["variants_of"]

_MOST_FURTHER = 15


def variants_of(
    instruction: str,
    *,
    further: Sequence[str] = (),
    model_kind: str = "custom_voice",
    size: str = "1b7",
    text_language: str | None = None,
) -> tuple[Variant, ...]:
    """No instruction (number 0), the user's, the linter's wording, that in Chinese and English, its quantities as
    sentences of their own, and ``further`` ones; what says the same with the same words comes once.

    Raises:
        UsageError: an instruction that is empty or too long, more than 15 further ones, or see
            :func:`toolkit.tuning.linting.lint_instruction`.
    """
    if len(further) > _MOST_FURTHER:
        raise UsageError(f"at most {_MOST_FURTHER} further variants can be compared at once, found {len(further)}")
    lint = lint_instruction(instruction, model_kind=model_kind, size=size, text_language=text_language)
    wordings: list[tuple[Origin, str]] = [("yours", instruction.strip())]
    if lint.rewritten:
        wordings.append(("linted", lint.rewritten))
    if lint.mixed:
        wordings.append(("mixed", lint.mixed))
    parts = _parts(lint.rewritten)
    if len(parts) > 1:
        mark = "。" if language_of("".join(parts)) == "zh" else ". "
        wordings.append(("parts", mark.join(parts) + mark.strip()))
    for text in further:
        if not text.strip():
            raise UsageError("a further variant is empty; say how to speak, such as '20% slower'")
        parse_effects(text)  # refuses what is too long
        wordings.append(("given", text.strip()))
    seen: set[str] = set()
    variants = [Variant(number=0, origin="none", instruction="")]
    for origin, text in wordings:
        key = fold(text).strip(" .。,，")
        if key not in seen:
            seen.add(key)
            variants.append(Variant(number=len(variants), origin=origin, instruction=text))
    return tuple(variants)


def _parts(rewritten: str) -> list[str]:
    """Each quantity by itself, in the language of the wording."""
    if not rewritten:
        return []
    effects = parse_effects(rewritten)
    separator, language = ("，", "zh") if language_of(rewritten) != "en" else (", ", "en")
    return [part for part in say(effects, language).split(separator) if part]
