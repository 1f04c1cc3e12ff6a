"""The rule: what one cause looks like, how sure each sign makes us, and what to do about it."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Literal

import re2
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from troubleshoot.conditions import Condition, parse_condition

__all__ = [
    "SCHEMA", "Answer", "Commands", "Evidence", "Fix", "LookAlike", "Question", "Requirement", "Rule", "Sample",
    "SampleFile", "Text", "Verify", "WrongAdvice", "compile_pattern", "flexible", "loose", "pattern_options",
    "prepared",
]

SCHEMA = 1
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,63}$")]
# Rules are shown in terminals and pages; what steers them, or turns the direction of writing, has no place in a text.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def _without_steering(text: str) -> str:
    if found := _STEERING.search(text):
        raise ValueError(f"holds the control character {found.group(0)!r}")
    return text


Line = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_without_steering)]
Prose = Annotated[str, Field(min_length=1, max_length=4_000), AfterValidator(_without_steering)]
Weight = Annotated[float, Field(ge=-8, le=8)]
_COUNT = re.compile(r"\{(\d+)(?:,(\d*))?\}")
# A quoted run, a code, an escape, a class (whose first character may be ]), a count, or one character.
_TOKEN = re.compile(
    r"\\Q.*?\\E|\\x\{[0-9a-fA-F]+\}|\\.|\[\^?\]?(?:\\.|\[:\^?[a-z]+:\]|[^\]\\])*\]|\{\d+(?:,\d*)?\}|.", re.DOTALL
)
# A short count keeps an automaton small enough, and says more than an endless one.
_SMALL_COUNT = 3
FixLabel = Literal["safe", "changes-output", "needs-reinstall", "needs-hardware"]


def flexible(pattern: str) -> str:
    """Let every space of a pattern match any white space, since terminals and log shippers wrap lines."""
    parts: list[str] = []
    for part, following in pairwise([*_tokens(pattern), ""]):
        if part != " ":
            parts.append(part)
        elif following[:1] in ("{", "*", "+", "?"):
            parts.append(r"\s")
        elif not parts or parts[-1] != r"\s+":
            parts.append(r"\s+")
    return "".join(parts)


def loose(pattern: str) -> str:
    """A pattern that matches wherever ``pattern`` does, and more: counted gaps become endless, which is faster."""
    return "".join(_loose_count(part) for part in _tokens(pattern))


def _loose_count(part: str) -> str:
    count = _COUNT.fullmatch(part)
    if not count:
        return part
    least, most = int(count[1]), count[1] if count[2] is None else count[2]
    return part if most and int(most) <= _SMALL_COUNT else "+" if least else "*"


def _tokens(pattern: str) -> list[str]:
    """Escapes, character classes, counts and single characters of a pattern, in order."""
    return _TOKEN.findall(pattern)


def prepared(pattern: str) -> str:
    """A rule's pattern as it is given to RE2: spaces flexible, ``^`` and ``$`` at the ends of lines."""
    return "(?m)" + flexible(pattern)


def pattern_options() -> re2.Options:
    """Options for all patterns of rules: case is ignored, groups are not captured, faults are raised, not printed."""
    options = re2.Options()
    options.never_capture = True
    options.case_sensitive = False
    options.log_errors = False
    return options


def compile_pattern(pattern: str) -> re2._Regexp:
    """Compile a rule's pattern as the scanner does: ignoring case, spaces flexible. Raises ValueError."""
    try:
        compiled = re2.compile(prepared(pattern), pattern_options())
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        raise ValueError(f"{pattern!r} is not a pattern that RE2 takes: {reason}") from None
    if any(match.end() == match.start() for match in (compiled.search(""), compiled.search("a a")) if match):
        raise ValueError(f"{pattern!r} matches an empty text, so it would match everything")
    return compiled


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Text(_Strict):
    """One text in English and Chinese."""

    en: Prose
    zh: Prose


class Sayings(_Strict):
    """How people put the symptom."""

    en: Annotated[list[Line], Field(min_length=1, max_length=48)]
    zh: Annotated[list[Line], Field(max_length=24)] = []


class Evidence(_Strict):
    """One sign; exactly one of ``log``, ``words``, ``fact``, ``audio`` is set."""

    log: Line | None = None
    words: Line | None = None
    fact: dict[str, str] | None = None
    audio: dict[str, str] | None = None
    weight: Weight
    group: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    why: Line

    @field_validator("log", "words")
    @classmethod
    def _pattern_compiles(cls, value: str | None) -> str | None:
        if value is not None:
            compile_pattern(value)
        return value

    @field_validator("fact", "audio")
    @classmethod
    def _conditions_parse(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        _check_conditions(value or {})
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Evidence:
        given = [name for name in ("log", "words", "fact", "audio") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"one of log, words, fact, audio is needed, found {', '.join(given) or 'none'}")
        for conditions in (self.fact, self.audio):
            if conditions is not None and not conditions:
                raise ValueError("a mapping of names to conditions is empty")
        if any(not name.startswith("audio.") for name in self.audio or {}):
            raise ValueError("names under audio start with 'audio.'")
        if self.weight == 0:
            raise ValueError("a weight of 0 says nothing")
        if self.group == "says":
            raise ValueError("the group 'says' belongs to the comparison with the rule's own sayings")
        return self

    @property
    def kind(self) -> str:
        """log, words, fact or audio."""
        return next(name for name in ("log", "words", "fact", "audio") if getattr(self, name) is not None)

    def conditions(self) -> dict[str, Condition]:
        """Parsed conditions of a fact or audio item."""
        return {name: parse_condition(text) for name, text in (self.fact or self.audio or {}).items()}


class Answer(_Strict):
    """One answer to a question and what it weighs for which rules."""

    value: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,31}$")]
    text: Line
    weights: Annotated[dict[str, Weight], Field(min_length=1)]


class Question(_Strict):
    """A question or experiment, with the seconds it costs the person."""

    id: Slug
    ask: Prose
    ask_zh: Prose
    cost_s: Annotated[float, Field(gt=0, le=86_400)]
    answers: Annotated[list[Answer], Field(min_length=2, max_length=8)]
    kind: Literal["question", "experiment"] = "question"

    @field_validator("cost_s", mode="before")
    @classmethod
    def _whole_seconds_too(cls, value: object) -> object:
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("answers")
    @classmethod
    def _answers_differ(cls, value: list[Answer]) -> list[Answer]:
        names = [answer.value for answer in value]
        if len(set(names)) < len(names):
            raise ValueError("two answers have the same value")
        return value


class Commands(_Strict):
    """Commands by operating system; ``any`` serves all."""

    any: list[Line] = []
    linux: list[Line] = []
    windows: list[Line] = []
    macos: list[Line] = []
    wsl: list[Line] = []

    def for_os(self, family: str | None, *, wsl: bool = False) -> list[str]:
        """Commands for one system, or all of them, labelled, when the system is not known."""
        if family is None:
            own = [f"{line}  ({name})" for name in ("linux", "windows", "macos", "wsl") for line in getattr(self, name)]
            return [*self.any, *own]
        named = (self.wsl or self.linux) if wsl else getattr(self, family, [])
        return [*self.any, *named]


class Fix(_Strict):
    """One cure, with a label that says what it touches."""

    title: Line
    label: FixLabel
    steps: list[Prose] = []
    commands: Commands = Commands()

    @model_validator(mode="after")
    def _says_something(self) -> Fix:
        if not self.steps and self.commands == Commands():
            raise ValueError("a fix needs steps or commands")
        return self


class Verify(_Strict):
    """How one sees that the cure worked."""

    text: Prose
    commands: Commands = Commands()


class LookAlike(_Strict):
    """Another rule that looks the same, and how to tell."""

    rule: Slug
    tell: Prose


class WrongAdvice(_Strict):
    """Advice found in the field that does not help, and why."""

    claim: Prose
    truth: Prose


class Requirement(_Strict):
    """The row of the doctor's table which this rule decides."""

    row: Slug
    level: Literal["fail", "warn"]
    when: Annotated[list[dict[str, str]], Field(min_length=1)]
    found: Line

    @field_validator("when")
    @classmethod
    def _conditions_parse(cls, value: list[dict[str, str]]) -> list[dict[str, str]]:
        for conditions in value:
            if not conditions:
                raise ValueError("a mapping of names to conditions is empty")
            _check_conditions(conditions)
        return value


class Rule(_Strict):
    """One cause."""

    schema_version: Annotated[int, Field(alias="schema", ge=1, le=SCHEMA)]
    id: Slug
    family: Slug
    kind: Literal["cause", "harmless"] = "cause"
    title: Line
    title_zh: Line
    symptom: Text
    says: Sayings
    cause: Prose
    prior: Annotated[float, Field(gt=0, le=0.5)]
    evidence: Annotated[list[Evidence], Field(min_length=1, max_length=60)]
    questions: list[Question] = []
    fixes: Annotated[list[Fix], Field(min_length=1)]
    verify: Verify
    lookalikes: list[LookAlike] = []
    masks: list[Slug] = []
    wrong_advice: list[WrongAdvice] = []
    references: list[Line] = []
    requirement: Requirement | None = None

    @model_validator(mode="after")
    def _not_about_itself(self) -> Rule:
        if self.id in self.masks or any(other.rule == self.id for other in self.lookalikes):
            raise ValueError("a rule cannot mask or resemble itself")
        return self


class Sample(_Strict):
    """An input that must, or must not, lead to the rule."""

    name: Line
    log: str | None = None
    words: str | None = None
    facts: dict[str, str | int | float | bool] = {}
    audio: dict[str, str | int | float | bool] = {}
    answers: dict[str, str] = {}
    top: Annotated[int, Field(ge=1, le=5)] = 1
    expect: Slug | None = None

    @model_validator(mode="after")
    def _gives_something(self) -> Sample:
        if not (self.log or self.words or self.facts or self.audio or self.answers):
            raise ValueError("a sample needs log, words, facts, audio or answers")
        return self


class SampleFile(_Strict):
    """Samples beside a rule."""

    schema_version: Annotated[int, Field(alias="schema", ge=1, le=SCHEMA)]
    rule: Slug
    hit: Annotated[list[Sample], Field(min_length=1)]
    miss: Annotated[list[Sample], Field(min_length=1)]


def _check_conditions(conditions: dict[str, str]) -> None:
    for name, text in conditions.items():
        if "." not in name:
            raise ValueError(f"{name!r} is not the name of a fact; names have a dot, such as gpu.cc")
        parse_condition(text)
