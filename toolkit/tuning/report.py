"""A prompt book as a page for people and as JSON: the answers, what was asked, and what people thought."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict

from toolkit.doctor.document import Block, Bullets, Document, Heading, Paragraph, Table
from toolkit.errors import EXIT_WARNINGS, EXIT_WELL
from toolkit.tuning.answers import Answer, answers_of
from toolkit.tuning.book import Book
from toolkit.tuning.precisions import Comparison, compare_precisions
from toolkit.tuning.trial_measures import TESTED

__all__ = ["document_of", "exit_code", "to_json"]


def exit_code(book: Book) -> int:
    """0 when, at every precision, some wording did something and the best reached all that is asked for, or no
    precision differs or fails; else 4."""
    if book.plan.kind == "precision":
        well = all(not one.exceeds and not one.failed_runs and one.rows for one in compare_precisions(book))
    else:
        best = [answer for answer in answers_of(book) if answer.place == 1]
        well = all(
            answer.found and all(check.verdict in ("reached", "not measurable") for check in answer.checks)
            for answer in best
        )
    return EXIT_WELL if well else EXIT_WARNINGS


def to_json(book: Book) -> dict[str, object]:
    """All of it as JSON values; what is not finite is null."""
    plan = book.plan
    data: dict[str, object] = {
        "schema": 1,
        "kind": f"tune-{plan.kind}",
        "exit_code": exit_code(book),
        "finished": book.finished,
        "plan": plan.model_dump(mode="json"),
        "machine": book.machine.model_dump(mode="json") if book.machine else None,
    }
    if plan.kind == "precision":
        data["comparisons"] = [_comparison_json(one) for one in compare_precisions(book)]
    else:
        data["answers"] = [_answer_json(book, answer) for answer in answers_of(book)]
    data["trials"] = [trial.model_dump(mode="json") for trial in book.trials]
    return data


def document_of(book: Book, version: str) -> Document:
    """The page of a book."""
    plan = book.plan
    where = book.machine.card if book.machine else "no machine"
    said = f"{plan.model} on {where}, {plan.seeds} seeds from {plan.first_seed}: {plan.text}"
    blocks: list[Block] = [] if book.finished else [Paragraph("Unfinished: the same command goes on with it.")]
    blocks += _precision_blocks(book) if plan.kind == "precision" else _emotion_blocks(book)
    return Document(f"QWEN-AUDIO tune {plan.kind} {version}", said, tuple(blocks))


def _emotion_blocks(book: Book) -> list[Block]:
    blocks: list[Block] = []
    answers = answers_of(book)
    for precision in book.plan.precisions:
        own = [answer for answer in answers if answer.precision == precision]
        blocks.append(Heading(f"{precision}: wordings, the best first"))
        rows = tuple(
            (str(one.variant.number), one.variant.origin, one.variant.instruction, _share(one.closeness), one.told(),
             _people(book, one.variant.number))
            for one in own
        )  # fmt: skip
        columns = ("no.", "origin", "instruction", "reached", "what it did", "people")
        blocks.append(Table(columns, rows, right=(0, 3)))
        checks = tuple((str(one.variant.number), check.told()) for one in own for check in one.checks)
        if checks:
            blocks.append(Table(("no.", "asked and measured"), checks, right=(0,)))
        changes = tuple(_changes(own))
        if changes:
            columns = ("no.", "changed by more than chance", "by", "effect d", "95 % of d", "p, corrected")
            blocks.append(Table(columns, changes, right=(0, 2, 3, 5)))
        notes = _notes(own)
        if notes:
            blocks.append(Bullets(notes))
    return blocks


def _changes(answers: list[Answer]) -> Iterator[tuple[str, ...]]:
    """A row for each measure that changed by more than chance."""
    by_name = {one.name: one for one in TESTED}
    for answer in answers:
        for test in answer.judgement.tests if answer.judgement else ():
            if answer.judgement and test.measure in answer.judgement.changed:
                one = by_name[test.measure]
                interval = f"{test.low_d:.1f} to {test.high_d:.1f}" if math.isfinite(test.low_d) else "-"
                number = str(answer.variant.number)
                yield (
                    number,
                    one.title,
                    one.show(test.mean_change),
                    _number(test.effect_d),
                    interval,
                    (f"{test.adjusted_p:.3f}"),
                )


def _notes(answers: list[Answer]) -> tuple[str, ...]:
    notes: dict[str, None] = {}
    for answer in answers:
        for told in answer.notes:
            notes[f"variant {answer.variant.number}: {told}"] = None
        if answer.failed:
            notes[f"variant {answer.variant.number}: {answer.failed} runs failed"] = None
        if answer.cut:
            notes[f"variant {answer.variant.number}: {answer.cut} runs ran into the length cap"] = None
    return tuple(notes)


def _people(book: Book, variant: int) -> str:
    scores = [one.score for one in book.scores if one.variant == variant]
    told = [f"{sum(scores) / len(scores):.1f} ({len(scores)})"] if scores else []
    wins = sum(one.better == variant for one in book.preferences)
    losses = sum(one.worse == variant for one in book.preferences)
    if wins or losses:
        told.append(f"A/B {wins}:{losses}")
    return ", ".join(told) or "-"


def _precision_blocks(book: Book) -> list[Block]:
    blocks: list[Block] = []
    for one in compare_precisions(book):
        blocks.append(Heading(f"{one.precision} against {one.reference}"))
        rows = tuple(
            (row.measure, _number(row.reference), _number(row.value), row.difference or "-", _number(row.times_spread),
             _number(row.adjusted_p), row.verdict)
            for row in one.rows
        )  # fmt: skip
        if rows:
            columns = ("measure", one.reference, one.precision, "difference", "x spread", "p", "verdict")
            blocks.append(Table(columns, rows, right=(1, 2, 3, 4, 5)))
        told = one.told()
        blocks.append(Paragraph(told[0].upper() + told[1:] + "."))
        if one.notes:
            blocks.append(Bullets(one.notes))
    return blocks


def _comparison_json(one: Comparison) -> dict[str, object]:
    return {
        **_finite(asdict(one)),
        "rows": [_finite(asdict(row)) for row in one.rows],
        "failed_runs": list(one.failed_runs),
        "notes": list(one.notes),
        "exceeds": one.exceeds,
        "told": one.told(),
    }


def _answer_json(book: Book, answer: Answer) -> dict[str, object]:
    tests = answer.judgement.tests if answer.judgement else ()
    number = answer.variant.number
    return {
        "variant": answer.variant.model_dump(mode="json"),
        "precision": answer.precision,
        "place": answer.place,
        "found": answer.found,
        "joint_p": _or_none(answer.joint_p),
        "heard": list(answer.heard),
        "told": answer.told(),
        "closeness": _or_none(answer.closeness),
        "checks": [_finite(asdict(check)) for check in answer.checks],
        "tests": [_finite(asdict(test)) for test in tests],
        "failed": answer.failed,
        "cut": answer.cut,
        "notes": list(answer.notes),
        "scores": [one.score for one in book.scores if one.variant == number],
        "better_than": [one.worse for one in book.preferences if one.better == number],
        "worse_than": [one.better for one in book.preferences if one.worse == number],
    }


def _finite(values: dict[str, object]) -> dict[str, object]:
    return {name: _or_none(value) if isinstance(value, float) else value for name, value in values.items()}


def _or_none(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _share(value: float) -> str:
    return f"{value * 100:.0f} %" if value == value else "-"


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "∞" if value == math.inf else "-"
