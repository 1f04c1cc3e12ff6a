"""Lints style instructions, reads what they ask for in numbers, and tells whether an effect is more than chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.tuning.effects import Effects, parse_effects
    from toolkit.tuning.linting import Finding, Lint, lint_instruction
    from toolkit.tuning.statistics import EffectTest, Judgement, judge_effect

__all__ = [
    "EffectTest",
    "Effects",
    "Finding",
    "Judgement",
    "Lint",
    "judge_effect",
    "lint_instruction",
    "parse_effects",
]

_HOMES = {
    "EffectTest": "statistics",
    "Effects": "effects",
    "Finding": "linting",
    "Judgement": "statistics",
    "Lint": "linting",
    "lint_instruction": "linting",
    "judge_effect": "statistics",
    "parse_effects": "effects",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
