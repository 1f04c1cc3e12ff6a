"""Conditions on facts, written as text (``"< 8.0"``), with three answers: holds, does not hold, not known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest

import re2

from troubleshoot.facts import NA, FactValue

__all__ = ["Condition", "compare_versions", "evaluate_all", "parse_condition"]

_OPERATORS = ("==", "!=", "<=", ">=", "<", ">", "~", "!~", "in")
_WORDS = ("true", "false", "known", "unknown")
# Which outcomes of a comparison (-1, 0, 1) an operator accepts.
_ORDERS = {"<": (-1,), "<=": (-1, 0), ">": (1,), ">=": (0, 1), "==": (0,), "!=": (-1, 1)}
_DOTTED = re.compile(r"\d+(?:\.\d+)*", re.ASCII)
_RELEASE = re.compile(r"v?(\d+(?:\.\d+)*)")


@dataclass(frozen=True)
class Condition:
    """One parsed condition. ``operator`` is one of ``_OPERATORS`` or ``_WORDS``."""

    operator: str
    operand: str

    def holds(self, value: FactValue) -> bool | None:
        """``None`` when the value is not known, so that nothing is concluded from ignorance."""
        known = value is not None and not isinstance(value, NA)
        if self.operator == "known":
            return known
        if self.operator == "unknown":
            return not known
        if not known:
            return None
        if self.operator in ("true", "false"):
            return (value is True) == (self.operator == "true") if isinstance(value, bool) else None
        if isinstance(value, bool):
            return self._compare("true" if value else "false")
        if isinstance(value, int | float):
            return self._compare_number(value)
        return self._compare(str(value))

    def _compare_number(self, value: float) -> bool | None:
        # A measured number; versions are always text, since 2.10 comes after 2.9.
        if value != value:  # not a number: the measurement gave nothing
            return None
        if self.operator not in _ORDERS:
            return self._compare(str(value))
        if not _is_number(self.operand):
            return {"==": False, "!=": True}.get(self.operator)
        operand = float(self.operand)
        return _order_holds(self.operator, -1 if value < operand else 1 if value > operand else 0)

    def _compare(self, text: str) -> bool | None:
        match self.operator:
            case "~":
                return _matches(self.operand, text)
            case "!~":
                return not _matches(self.operand, text)
            case "in":
                return any(_equal(text, choice.strip()) for choice in self.operand.split(","))
            case "==":
                return _equal(text, self.operand)
            case "!=":
                return not _equal(text, self.operand)
        order = compare_versions(text, self.operand)
        if order is None:
            return None
        return _order_holds(self.operator, order)


def parse_condition(text: str) -> Condition:
    """Parse ``"< 8.0"``, ``"in a, b"``, ``"~ pattern"``, ``"true"``. Raises ValueError that names the operators."""
    stripped = text.strip()
    if stripped in _WORDS:
        return Condition(stripped, "")
    operator, _, operand = stripped.partition(" ")
    operand = operand.strip()
    if operator not in _OPERATORS or not operand:
        raise ValueError(
            f"{text!r} is not a condition: write an operator ({' '.join(_OPERATORS)}), a space and a value, "
            f"or one of {', '.join(_WORDS)}"
        )
    if operator in ("<", "<=", ">", ">=") and _parts(operand) is None:
        raise ValueError(f"{text!r} compares with {operand!r}, which is neither a number nor a version")
    if operator in ("~", "!~"):
        try:
            _pattern(operand)
        except re2.error as error:
            raise ValueError(f"{operand!r} is not a pattern that RE2 takes: {error}") from None
    return Condition(operator, operand)


def evaluate_all(conditions: Mapping[str, Condition], facts: Mapping[str, FactValue]) -> bool | None:
    """True when all hold, False when one does not, None when none fails but one is not known."""
    answers = [condition.holds(facts.get(name)) for name, condition in conditions.items()]
    if False in answers:
        return False
    return None if None in answers else True


def compare_versions(left: str, right: str) -> int | None:
    """-1, 0 or 1; ``None`` when one of the two has no number.

    A pre-release counts as its release, unlike in PEP 440: 5.0.0rc1 already breaks what 5.0.0 breaks.
    """
    first, second = _parts(left), _parts(right)
    if first is None or second is None:
        return None
    for a, b in zip_longest(first, second, fillvalue=0):
        if a != b:
            return -1 if a < b else 1
    return 0


def _parts(text: str) -> list[float] | None:
    lowered = text.strip().lower()
    if re.fullmatch(r"-?\d+(?:\.\d+)?e-?\d+|-\d+(?:\.\d+)?", lowered):
        return [float(lowered)]
    release = _RELEASE.match(lowered)
    return [float(part) for part in release.group(1).split(".")] if release else None


def _order_holds(operator: str, order: int) -> bool:
    return order in _ORDERS[operator]


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", text.strip().lower()) is not None


def _equal(left: str, right: str) -> bool:
    if left.lower() == right.lower():
        return True
    # 8 and 8.0 are one version, 2.1 and 2.10 are two.
    return bool(_DOTTED.fullmatch(left) and _DOTTED.fullmatch(right)) and compare_versions(left, right) == 0


def _matches(pattern: str, text: str) -> bool:
    # A fact from JSON may hold half of a surrogate pair, which has no UTF-8.
    return _pattern(pattern).search(text.encode("utf-8", "replace")) is not None


def _pattern(text: str) -> re2._Regexp:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    return re2.compile(text, options)
