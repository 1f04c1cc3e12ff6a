"""The doctor's rows: each requirement judged by the rules that state it, as a pure function of facts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from troubleshoot.catalogue import Catalogue
from troubleshoot.conditions import evaluate_all, parse_condition
from troubleshoot.errors import RuleError
from troubleshoot.facts import NA, FactValue
from troubleshoot.rule import Rule
from troubleshoot.strict_yaml import read_yaml

__all__ = ["Row", "RowResult", "Verdict", "check_requirements", "load_rows"]

Verdict = Literal["ok", "warn", "fail", "not-applicable", "not-checked", "crashed", "timed-out"]
_ROWS_FILE = Path(__file__).parent / "requirements.yaml"
_FIELD = re.compile(r"\{([a-z0-9_.]+)\}")
_ENDED = ("crashed", "timed-out")
_AS_VERDICT: dict[str, Verdict] = {"crashed": "crashed", "timed-out": "timed-out"}
_FOUND_CHARACTERS = 300


class Row(BaseModel):
    """One requirement; the comment at the head of ``requirements.yaml`` says what each key means."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    id: str
    title: str
    threshold: str
    why: str
    needs: Annotated[list[str], Field(min_length=1)]
    found: Annotated[list[str], Field(min_length=1)]
    applies: dict[str, str] = {}
    not_applicable: dict[str, str] = {}
    must: dict[str, str] = {}
    otherwise: list[str] = []
    remedy: str = ""
    states: list[str] = []
    follows: list[str] = []

    @field_validator("applies", "must")
    @classmethod
    def _conditions_parse(cls, value: dict[str, str]) -> dict[str, str]:
        for text in value.values():
            parse_condition(text)
        return value

    @model_validator(mode="after")
    def _keys_agree(self) -> Row:
        if set(self.applies) != set(self.not_applicable):
            raise ValueError(f"{self.id}: applies and not_applicable name different facts")
        if bool(self.must) != bool(self.otherwise):
            raise ValueError(f"{self.id}: must and otherwise go together")
        return self


@dataclass(frozen=True)
class RowResult:
    """A judged row. ``rule`` is the rule that it breaks, if any; ``follows`` is the failing row that it comes from."""

    row: Row
    verdict: Verdict
    found: str
    rule: Rule | None = None
    follows: Row | None = None

    @property
    def is_bad(self) -> bool:
        """Whether the row fails, or its probe crashed or hung."""
        return self.verdict in ("fail", "crashed", "timed-out")

    @property
    def remedy(self) -> str:
        """What to do when no rule with its fixes says it."""
        return self.row.remedy if self.is_bad and self.rule is None else ""

    def to_json(self) -> dict[str, object]:
        """JSON form."""
        return {
            "id": self.row.id,
            "title": self.row.title,
            "verdict": self.verdict,
            "found": self.found,
            "threshold": self.row.threshold,
            "why": self.row.why,
            "rule": self.rule.id if self.rule else None,
            "follows": self.follows.id if self.follows else None,
            "fixes": [fix.model_dump(mode="json") for fix in self.rule.fixes] if self.rule else [],
            "remedy": self.remedy or None,
        }


@cache
def load_rows(path: Path = _ROWS_FILE) -> tuple[Row, ...]:
    """The rows in the order in which they are shown."""
    document = read_yaml(path)
    data = document.data
    rows = data.get("rows") if isinstance(data, dict) else None
    if not isinstance(rows, list):
        raise RuleError(path, 1, "does not hold a list of rows")
    loaded: list[Row] = []
    for place, row in enumerate(rows):
        line = document.line_of(("rows", place))
        try:
            loaded.append(Row.model_validate(row))
        except ValidationError as error:
            raise RuleError(path, line, str(error.errors(include_url=False)[0]["msg"])) from None
        unknown = set(loaded[-1].follows) - {earlier.id for earlier in loaded[:-1]}
        if unknown:
            raise RuleError(path, line, f"{loaded[-1].id} follows {min(unknown)}, which is no row above it")
    return tuple(loaded)


def check_requirements(
    catalogue: Catalogue, facts: Mapping[str, FactValue], probe_states: Mapping[str, str] | None = None
) -> tuple[RowResult, ...]:
    """Judge all rows.

    ``probe_states`` maps a fact prefix (``torch``) to how its probe ended, so that a missing fact shows as crashed or
    timed out instead of merely unknown.
    """
    by_row: dict[str, list[Rule]] = {}
    for rule in catalogue:
        if rule.requirement:
            by_row.setdefault(rule.requirement.row, []).append(rule)
    judged: dict[str, RowResult] = {}
    for row in load_rows():
        roots = [judged[name] for name in row.follows if judged[name].is_bad]
        judged[row.id] = _judge(row, by_row.get(row.id, []), facts, probe_states or {}, roots)
    return tuple(judged.values())


def _judge(
    row: Row,
    rules: list[Rule],
    facts: Mapping[str, FactValue],
    states: Mapping[str, str],
    roots: list[RowResult],
) -> RowResult:
    applies = _hold(row.applies, facts)
    if applies is False:
        return RowResult(row, "not-applicable", _not_applicable(row, facts))
    # A broken rule shows before anything else: a torch that crashes at import has no version, but a cause.
    broken = _worst([rule for rule in rules if _breaks(rule, facts)])
    root = next((found.follows or found.row for found in roots), None)
    if broken is not None and broken.requirement is not None:
        found = _fill([broken.requirement.found, *row.otherwise, *row.found], facts)
        verdict: Verdict = broken.requirement.level
        if verdict == "fail":
            verdict = _ended(row, facts) or verdict
        return RowResult(row, verdict, found, broken, root)
    missing = [name for name in (*row.applies, *row.needs) if not _is_known(facts.get(name))]
    if missing:
        ended = next((state for name in missing if (state := states.get(name.split(".")[0])) in _ENDED), None)
        if root is not None:
            return RowResult(row, "not-checked", f"to be seen once this is right: {root.title}", None, root)
        value = facts.get(missing[0])
        reason = value.reason if isinstance(value, NA) else f"{missing[0]} is not known"
        return RowResult(row, _AS_VERDICT.get(ended or "", "not-checked"), _first_line(reason))
    if _hold(row.must, facts) is False:
        return RowResult(row, _ended(row, facts) or "fail", _fill(row.otherwise, facts), None, root)
    return RowResult(row, "ok", _fill(row.found, facts))


def _hold(conditions: Mapping[str, str], facts: Mapping[str, FactValue]) -> bool | None:
    return evaluate_all({name: parse_condition(text) for name, text in conditions.items()}, facts)


def _not_applicable(row: Row, facts: Mapping[str, FactValue]) -> str:
    return next(
        reason
        for name, reason in row.not_applicable.items()
        if _hold({name: row.applies[name]}, facts) is False
    )


def _ended(row: Row, facts: Mapping[str, FactValue]) -> Verdict | None:
    """How the looking itself ended, when it did not end well."""
    return next((_AS_VERDICT[str(facts[name])] for name in row.states if str(facts.get(name)) in _ENDED), None)


def _worst(broken: list[Rule]) -> Rule | None:
    return min(
        broken,
        key=lambda rule: (rule.requirement is not None and rule.requirement.level != "fail", -rule.prior),
        default=None,
    )


def _breaks(rule: Rule, facts: Mapping[str, FactValue]) -> bool:
    requirement = rule.requirement
    return requirement is not None and any(_hold(conditions, facts) is True for conditions in requirement.when)


def _is_known(value: FactValue) -> bool:
    return value is not None and not isinstance(value, NA)


def _fill(templates: list[str], facts: Mapping[str, FactValue]) -> str:
    """The first text whose facts are all known, with their values; empty when there is none."""
    for template in templates:
        if all(_is_known(facts.get(name)) for name in _FIELD.findall(template)):
            return _FIELD.sub(lambda found: _shown(facts[found.group(1)]), template)
    return ""


def _shown(value: FactValue) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2g}" if abs(value) < 1 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"
    return _first_line(str(value))


def _first_line(text: str) -> str:
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= _FOUND_CHARACTERS else line[: _FOUND_CHARACTERS - 1] + "…"
