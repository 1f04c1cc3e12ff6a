"""The prompt book: a file of wordings, what was measured of each trial, and what people thought of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from toolkit.errors import UsageError
from toolkit.synthesis.whole_file import WholeFile

__all__ = [
    "MOST_SEEDS",
    "Book",
    "Line",
    "Machine",
    "Origin",
    "Plan",
    "Preference",
    "Score",
    "Trial",
    "Variant",
    "load_book",
    "save_book",
    "with_preference",
    "with_score",
]

MOST_SEEDS = 64
_MOST_BYTES = 16 * 2**20
_MOST_VARIANTS = 20
Origin = Literal["none", "yours", "linted", "mixed", "parts", "given"]
Precision = Literal["bfloat16", "float16", "float32"]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Variant(_Strict):
    """One wording. Number 0 is "no instruction", which every other one is compared with.

    ``origin``: "none", "yours" (as given), "linted" (the linter's wording), "mixed" (Chinese and English), "parts"
    (each quantity a sentence of its own), "given" (a further one of the user's).
    """

    number: int = Field(ge=0)
    origin: Origin
    instruction: str


class Plan(_Strict):
    """What is to be spoken; the same plan gives the same trials, on the same machine with the same versions.

    Attributes:
        kind: "emotion" compares wordings, "precision" compares precisions.
        model: pocket, a folder, a repository or its end; random, random-0b6 or random-tiny for drawn weights.
        instruction: as the user gave it; "" for none.
        seeds: runs of each variant at each precision.
        first_seed: seed of the first run; the others follow from it.
        batch: runs spoken side by side; part of the plan, since who sits beside whom changes the last bits of a sum.
    """

    kind: Literal["emotion", "precision"] = "emotion"
    text: str = Field(min_length=1)
    language: str = "auto"
    speaker: str | None = None
    model: str = "pocket"
    instruction: str = ""
    variants: Annotated[tuple[Variant, ...], Field(min_length=1, max_length=_MOST_VARIANTS + 1)]
    precisions: Annotated[tuple[Precision, ...], Field(min_length=1)] = ("float32",)
    seeds: int = Field(default=8, ge=3, le=MOST_SEEDS)
    first_seed: int = Field(default=1, ge=0, lt=2**31)
    batch: int = Field(default=8, ge=1, le=MOST_SEEDS)
    device: str = "auto"
    path: Literal["auto", "fast", "plain"] = "auto"

    @model_validator(mode="after")
    def _sound(self) -> Plan:
        numbers = [variant.number for variant in self.variants]
        if numbers != list(range(len(numbers))):
            raise ValueError(f"variants are numbered from 0 in their order, found {numbers}")
        if self.kind == "emotion" and (len(numbers) < 2 or self.variants[0].instruction):
            raise ValueError("variant 0 has no instruction, and at least one other has")
        if len(set(self.precisions)) != len(self.precisions):
            raise ValueError(f"a precision stands twice in {list(self.precisions)}")
        if self.kind == "precision" and (len(self.precisions) < 2 or len(numbers) != 1):
            raise ValueError("comparing precisions takes at least two of them, and one variant")
        return self

    @property
    def total(self) -> int:
        """Trials in all."""
        return len(self.variants) * len(self.precisions) * self.seeds


class Machine(_Strict):
    """Where the trials were spoken."""

    device: str
    card: str
    torch: str
    toolkit: str


class Trial(_Strict):
    """One run of one variant at one precision.

    Attributes:
        run: from 0; runs of the same number start from the same seed.
        seed: seed of the run (of its batch, where all rows of a batch are drawn for at once: the plain path).
        finish: "eos", "length" (ran into the length cap) or "failed".
        failure: what went wrong; "" when nothing did.
        seconds: length of the sound.
        values: measures by name; None where there is nothing to measure.
        audio: name of the kept file, None when it was not kept.
    """

    variant: int
    precision: Precision
    run: int
    seed: int
    finish: Literal["eos", "length", "failed"]
    failure: str = ""
    seconds: float
    values: dict[str, float | None]
    audio: str | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells it from the others: precision, variant, run."""
        return self.precision, self.variant, self.run


class Score(_Strict):
    """What a person thought of a variant: 1 (bad) to 5 (excellent)."""

    variant: int
    score: int = Field(ge=1, le=5)
    note: str = ""


class Preference(_Strict):
    """Which of two variants a person liked better."""

    better: int
    worse: int
    note: str = ""


class Line(_Strict):
    """A result in words, for readers of the file; it is made anew from the trials whenever the book is saved."""

    place: int
    variant: int
    precision: Precision
    told: str
    checks: tuple[str, ...] = ()


class Book(_Strict):
    """A prompt book, version 1."""

    schema_version: Literal[1] = 1
    finished: bool = False
    plan: Plan
    machine: Machine | None = None
    results: tuple[Line, ...] = ()
    scores: tuple[Score, ...] = ()
    preferences: tuple[Preference, ...] = ()
    trials: tuple[Trial, ...] = ()

    @model_validator(mode="after")
    def _sound(self) -> Book:
        numbers = {variant.number for variant in self.plan.variants}
        named = {trial.variant for trial in self.trials} | {score.variant for score in self.scores}
        named |= {number for one in self.preferences for number in (one.better, one.worse)}
        if named - numbers:
            raise ValueError(f"there is no variant {min(named - numbers)}; there are {sorted(numbers)}")
        if len({trial.key for trial in self.trials}) != len(self.trials):
            raise ValueError("a trial stands twice")
        if any(one.better == one.worse for one in self.preferences):
            raise ValueError("a variant cannot be better than itself")
        return self

    def trials_of(self, variant: int, precision: str) -> tuple[Trial, ...]:
        """The runs of a variant at a precision, in their order."""
        own = [trial for trial in self.trials if (trial.variant, trial.precision) == (variant, precision)]
        return tuple(sorted(own, key=lambda trial: trial.run))


def load_book(path: str | Path) -> Book:
    """Read a prompt book.

    Raises:
        UsageError: it is missing, too large, no YAML, or not a book of this version; the message names the field.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{path} has more than {_MOST_BYTES >> 20} MB; that is no prompt book")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the prompt book {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start}); it is no prompt book") from None
    data = _parsed(path, text)
    version = data.get("schema_version")
    if type(version) is int and version > 1:
        raise UsageError(f"{path} was written by a newer version (schema {version}); bring the toolkit up to date")
    try:
        # Through JSON, where a list may stand for a tuple and all else is as strict.
        return Book.model_validate_json(json.dumps(data))
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path} is no prompt book: {_told(error)}") from None


def save_book(book: Book, path: str | Path, *, overwrite: bool = True) -> Path:
    """Write a prompt book whole or not at all.

    Raises:
        BadOutput: the folder is missing or closed, or the file exists and may not be replaced.
        DiskFull: no room.
    """
    path = Path(path)
    head = book.model_dump(mode="json", exclude={"trials"})
    rows = "".join("- " + json.dumps(trial.model_dump(mode="json"), ensure_ascii=False) + "\n" for trial in book.trials)
    # A row of JSON is a row of YAML; one line a trial keeps a book readable and its differences short.
    text = yaml.safe_dump(head, allow_unicode=True, sort_keys=False, width=110)
    with WholeFile(path, overwrite=overwrite) as file:
        file.write((text + ("trials:\n" + rows if rows else "trials: []\n")).encode("utf-8"))
    return path


def with_score(book: Book, variant: int, score: int, note: str = "") -> Book:
    """The book with a further score. Raises UsageError for no such variant, or a score that is not 1 to 5."""
    return _changed(book, {"scores": [*_plain(book.scores), {"variant": variant, "score": score, "note": note}]})


def with_preference(book: Book, better: int, worse: int, note: str = "") -> Book:
    """The book with a further A/B judgement. Raises UsageError for no such variant, or twice the same."""
    row = {"better": better, "worse": worse, "note": note}
    return _changed(book, {"preferences": [*_plain(book.preferences), row]})


def _plain(rows: tuple[BaseModel, ...]) -> list[dict[str, object]]:
    return [row.model_dump(mode="json") for row in rows]


def _changed(book: Book, changes: dict[str, object]) -> Book:
    try:
        return Book.model_validate_json(json.dumps({**book.model_dump(mode="json"), **changes}))
    except ValidationError as error:
        raise UsageError(_told(error)) from None


def _parsed(path: Path, text: str) -> dict[str, object]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.AliasEvent):
                raise UsageError(f"{path} uses YAML aliases, which no prompt book has")
        data = loader(text).get_single_data()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        told = getattr(error, "problem", None) or str(error).split("\n")[0]
        raise UsageError(f"{path} is not valid YAML{where}: {told}") from None
    if not isinstance(data, dict) or "plan" not in data:
        raise UsageError(f"{path} is no prompt book: it has no plan")
    return cast("dict[str, object]", data)


def _told(error: Exception) -> str:
    """The first fault of a validation, as one line."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place + ': ' if place else ''}{first['msg'].removeprefix('Value error, ')}"
