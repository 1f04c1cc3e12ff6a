"""``qwen-audio tune show``, ``score`` and ``export``: what to do with a prompt book."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.output import HtmlOption, JsonOption, note
from toolkit.cli.tune_emotion import show_book
from toolkit.errors import UsageError

__all__ = ["export", "score", "show"]

BookArgument = Annotated[Path, typer.Argument(metavar="BOOK", help="A prompt book.")]


def show(book: BookArgument, as_json: JsonOption = False, html: HtmlOption = None) -> None:
    """Show a prompt book: answers, ranking, scores. Nothing is spoken. Exit codes as for what wrote it."""
    from toolkit.tuning.book import load_book

    show_book(load_book(book), as_json=as_json, html=html)


def score(
    book: BookArgument,
    variant: Annotated[int | None, typer.Option("--variant", metavar="N", help="Number of the wording.")] = None,
    points: Annotated[int | None, typer.Option("--score", metavar="1..5", help="1 bad, 5 excellent.")] = None,
    better: Annotated[
        str | None, typer.Option("--better", metavar="A:B", help="A was better than B, by their numbers.")
    ] = None,
    remark: Annotated[str, typer.Option("--note", metavar="TEXT", help="A remark.")] = "",
) -> None:
    """Keep what a person thought of a wording, beside its measures."""
    from toolkit.tuning.book import load_book, save_book, with_preference, with_score

    if (variant is None) != (points is None) or (variant is None) == (better is None):
        raise UsageError("give --variant N with --score 1..5, or --better A:B")
    found = load_book(book)
    if variant is not None and points is not None:
        found = with_score(found, variant, points, remark)
    else:
        sides = re.fullmatch(r"(\d{1,4}):(\d{1,4})", better or "")
        if sides is None:
            raise UsageError(f"--better {better}: give two numbers of wordings, such as 2:1")
        found = with_preference(found, int(sides[1]), int(sides[2]), remark)
    save_book(found, book)
    note(f"wrote {book}")


def export(
    book: BookArgument,
    output: Annotated[Path, typer.Argument(metavar="OUT", help="File ending in .csv or .parquet.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Write a row a trial as CSV or Parquet."""
    from toolkit.tuning.book import load_book
    from toolkit.tuning.frames import export_book

    note(f"wrote {export_book(load_book(book), output, overwrite=overwrite)}")
