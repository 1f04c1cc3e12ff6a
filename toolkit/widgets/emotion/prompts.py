"""Prompt books of the notebook: made from its fields, kept over a change of wordings, and shown as rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from toolkit.errors import UsageError
from toolkit.tuning.book import Book, Plan, Variant, with_preference, with_score
from toolkit.tuning.trial_measures import TESTED
from toolkit.widgets.languages import Texts

__all__ = ["answer_rows", "book_rows", "carried", "check_rows", "covering", "new_book", "number_of", "plan_fields"]


def plan_fields(
    setting: Mapping[str, Any], instruction: str, variants: Sequence[Variant], **more: Any
) -> dict[str, Any]:
    """The fields of a :class:`toolkit.tuning.book.Plan`, as plain values; ``variants`` without number 0."""
    wordings = [Variant(number=0, origin="none", instruction="")]
    wordings += [
        Variant(number=number, origin=one.origin, instruction=one.instruction) for number, one in enumerate(variants, 1)
    ]
    return {
        "kind": "emotion",
        "text": setting["text"].strip(),
        "language": setting["language"],
        "speaker": setting["speaker"] or None,
        "model": setting["model"],
        "instruction": instruction.strip(),
        "variants": [one.model_dump(mode="json") for one in wordings],
        **more,
    }


def new_book(fields: Mapping[str, Any]) -> Book:
    """A book without trials. Raises UsageError that names the field."""
    try:
        return Book(
            plan=Plan.model_validate({**fields, "variants": tuple(Variant(**one) for one in fields["variants"])})
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from None


def number_of(book: Book, instruction: str) -> int | None:
    """The number of a wording in a book."""
    return next((one.number for one in book.plan.variants if one.instruction == instruction), None)


def covering(book: Book | None, fields: Mapping[str, Any], wordings: Iterable[str]) -> Book:
    """A book of this text and model that knows these wordings: the one there is, with what it lacks, or a new one.

    Raises:
        UsageError: the book is of another text or model, and what it holds would be lost.
    """
    fresh = book is None or not (book.trials or book.scores or book.preferences)
    if book is None or (fresh and book.plan.text != fields["text"]):
        book = new_book(fields)
    if (book.plan.text, book.plan.model) != (fields["text"], fields["model"]):
        raise UsageError(
            "the prompt book on this page is of another text or model; save it, then begin a new one in its tab"
        )
    missing = [one for one in dict.fromkeys(wordings) if number_of(book, one) is None]
    if not missing:
        return book
    known = list(book.plan.variants)
    known += [Variant(number=len(known) + at, origin="given", instruction=one) for at, one in enumerate(missing)]
    plan = Plan.model_validate({**book.plan.model_dump(), "variants": tuple(known)})
    return book.model_copy(update={"plan": plan, "finished": False})


def carried(old: Book | None, new: Book) -> Book:
    """The new book with what people thought of the wordings that the old one has too, for the same text."""
    if old is None or old.plan.text != new.plan.text:
        return new
    numbers = {one.number: number_of(new, one.instruction) for one in old.plan.variants}
    for score in old.scores:
        number = numbers[score.variant]
        if number is not None:
            new = with_score(new, number, score.score, score.note)
    for one in old.preferences:
        better, worse = numbers[one.better], numbers[one.worse]
        if better is not None and worse is not None:
            new = with_preference(new, better, worse, one.note)
    return new


def book_rows(book: Book, texts: Texts) -> list[tuple[str, ...]]:
    """Number, origin, wording, runs, mean score and A/B of each wording."""
    rows: list[tuple[str, ...]] = []
    for one in book.plan.variants:
        scores = [score.score for score in book.scores if score.variant == one.number]
        wins = sum(judged.better == one.number for judged in book.preferences)
        losses = sum(judged.worse == one.number for judged in book.preferences)
        rows.append((
            str(one.number), texts.say(f"emotion.origin.{one.origin}"), one.instruction or "-",
            str(sum(trial.variant == one.number for trial in book.trials)),
            f"{sum(scores) / len(scores):.1f} ({len(scores)})" if scores else "-",
            f"{wins}:{losses}" if wins or losses else "-",
        ))  # fmt: skip
    return rows


def answer_rows(report: Mapping[str, Any], texts: Texts) -> list[tuple[str, ...]]:
    """Place, number, wording, share reached and what it did, of each answer; or, of precisions, a row a measure."""
    say = texts.say
    if report["kind"] == "tune-precision":
        return [
            (_title(row["measure"], texts), one["precision"], row["difference"] or "-", _number(row["times_spread"]),
             _number(row["adjusted_p"]), say(f"emotion.verdict.{row['verdict'].replace(' ', '_')}"))
            for one in report["comparisons"] for row in one["rows"]
        ]  # fmt: skip
    rows: list[tuple[str, ...]] = []
    for one in report["answers"]:
        if one["joint_p"] is None:
            told = say("emotion.answer.few")
        elif not one["found"]:
            told = say("emotion.answer.nothing", p=f"{one['joint_p']:.3f}")
        elif not one["heard"]:
            told = say("emotion.answer.small", p=f"{one['joint_p']:.3f}")
        else:
            heard = ", ".join(_heard(part, texts) for part in one["heard"])
            told = say("emotion.answer.heard", heard=heard, p=f"{one['joint_p']:.3f}")
        share = "-" if one["closeness"] is None else f"{one['closeness'] * 100:.0f} %"
        variant = one["variant"]
        rows.append((str(one["place"]), str(variant["number"]), variant["instruction"], share, told))
    return rows


def check_rows(report: Mapping[str, Any], texts: Texts) -> list[tuple[str, ...]]:
    """Number of the wording, quantity, asked, measured with its interval, and verdict."""
    say = texts.say
    return [
        (
            str(one["variant"]["number"]), say(f"emotion.field.{check['field']}"), _number(check["asked"]),
            "-" if check["measured"] is None
            else f"{check['measured']:.2f} ({check['low']:.2f} … {check['high']:.2f})",
            say(f"emotion.verdict.{check['verdict'].replace(' ', '_')}"),
        )
        for one in report.get("answers", ()) for check in one["checks"]
    ]  # fmt: skip


def _heard(told: str, texts: Texts) -> str:
    """ "pitch +2.0 st" with the measure in the reader's language."""
    for one in TESTED:
        if told.startswith(f"{one.title} ") and told[len(one.title) + 1 : len(one.title) + 2] in "+-":
            return texts.say(f"emotion.tested.{one.name}") + told[len(one.title) :]
    return told


def _title(title: str, texts: Texts) -> str:
    return next((texts.say(f"emotion.tested.{one.name}") for one in TESTED if one.title == title), title)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
