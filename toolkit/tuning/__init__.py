"""Lints and compares style instructions: what they ask for, whether they do it, by more than chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.lazy import lazy_names

if TYPE_CHECKING:
    from toolkit.tuning.answers import Answer, Check, answers_of
    from toolkit.tuning.book import Book, Plan, Trial, Variant, load_book, save_book, with_preference, with_score
    from toolkit.tuning.effects import Effects, parse_effects
    from toolkit.tuning.frames import export_book, frame
    from toolkit.tuning.linting import Finding, Lint, lint_instruction
    from toolkit.tuning.precisions import Comparison, compare_precisions
    from toolkit.tuning.statistics import EffectTest, Judgement, judge_effect
    from toolkit.tuning.trials import Step, run_plan, speak_trials
    from toolkit.tuning.variants import variants_of

__all__ = [
    "Answer",
    "Book",
    "Check",
    "Comparison",
    "EffectTest",
    "Effects",
    "Finding",
    "Judgement",
    "Lint",
    "Plan",
    "Step",
    "Trial",
    "Variant",
    "answers_of",
    "compare_precisions",
    "export_book",
    "frame",
    "judge_effect",
    "lint_instruction",
    "load_book",
    "parse_effects",
    "run_plan",
    "save_book",
    "speak_trials",
    "variants_of",
    "with_preference",
    "with_score",
]

_HOMES = {
    "Answer": "answers",
    "Book": "book",
    "Check": "answers",
    "Comparison": "precisions",
    "EffectTest": "statistics",
    "Effects": "effects",
    "Finding": "linting",
    "Judgement": "statistics",
    "Lint": "linting",
    "Plan": "book",
    "Step": "trials",
    "Trial": "book",
    "Variant": "book",
    "answers_of": "answers",
    "compare_precisions": "precisions",
    "export_book": "frames",
    "frame": "frames",
    "judge_effect": "statistics",
    "lint_instruction": "linting",
    "load_book": "book",
    "parse_effects": "effects",
    "run_plan": "trials",
    "save_book": "book",
    "speak_trials": "trials",
    "variants_of": "variants",
    "with_preference": "book",
    "with_score": "book",
}

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
