"""A prompt book as a table, a row a trial: a DataFrame, a CSV file or a Parquet file."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import BadOutput, UsageError
from toolkit.synthesis.whole_file import WholeFile, check_output
from toolkit.tuning.book import Book

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["export_book", "frame", "rows_of"]

_SUFFIXES = (".csv", ".parquet")


def rows_of(book: Book) -> list[dict[str, object]]:
    """A dict a trial: what was spoken, how it went, the mean human score of its variant, the measures; NaN for none."""
    names: dict[str, None] = {name: None for trial in book.trials for name in trial.values}
    scores: dict[int, list[int]] = {}
    for score in book.scores:
        scores.setdefault(score.variant, []).append(score.score)
    rows: list[dict[str, object]] = []
    for trial in book.trials:
        variant = book.plan.variants[trial.variant]
        given = scores.get(trial.variant)
        row: dict[str, object] = {
            "model": book.plan.model,
            "card": book.machine.card if book.machine else "",
            "text": book.plan.text,
            "precision": trial.precision,
            "variant": trial.variant,
            "origin": variant.origin,
            "instruction": variant.instruction,
            "run": trial.run,
            "seed": trial.seed,
            "finish": trial.finish,
            "failure": trial.failure,
            "seconds": trial.seconds,
            "audio": trial.audio or "",
            "score": sum(given) / len(given) if given else math.nan,
            "better_than": sum(one.better == trial.variant for one in book.preferences),
            "worse_than": sum(one.worse == trial.variant for one in book.preferences),
        }
        values: Mapping[str, float | None] = trial.values
        row.update({name: math.nan if values.get(name) is None else values[name] for name in names})
        rows.append(row)
    return rows


def frame(book: Book) -> DataFrame:
    """:func:`rows_of` as a pandas DataFrame."""
    import pandas as pd

    return pd.DataFrame(rows_of(book))


def export_book(book: Book, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write :func:`frame` as CSV (UTF-8) or Parquet, by the suffix, whole or not at all.

    Raises:
        UsageError: another suffix, or Parquet without the package pyarrow.
        BadOutput: the file exists, or cannot be written.
        DiskFull: no room.
    """
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise BadOutput(f"{path}: prompt books are exported as {' or '.join(_SUFFIXES)}; found {path.suffix or 'none'}")
    check_output(path, overwrite=overwrite)
    table: Any = frame(book)
    buffer = io.BytesIO()
    if path.suffix.lower() == ".csv":
        buffer.write(table.to_csv(index=False, lineterminator="\n").encode("utf-8"))
    else:
        if find_spec("pyarrow") is None:  # pandas would name two packages and no remedy
            raise UsageError("Parquet needs pyarrow: pip install 'qwen-audio-toolkit[parquet]', or write .csv")
        table.to_parquet(buffer, index=False, engine="pyarrow")
    with WholeFile(path, overwrite=overwrite) as file:
        file.write(buffer.getvalue())
    return path
