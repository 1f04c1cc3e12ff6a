"""A picture of precisions: a panel a measure, a dot a run, so that differences stand beside the spread of the seeds."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from toolkit.errors import BadOutput
from toolkit.synthesis.whole_file import WholeFile, check_output
from toolkit.tuning.book import Book
from toolkit.tuning.precisions import compare_precisions
from toolkit.tuning.trial_measures import TESTED

__all__ = ["check_plot", "plot_precisions"]

_UNITS = {"text_rate_per_s": "syllables/s", "median_f0_hz": "Hz", "f0_spread_st": "st", "level_dbfs": "dBFS",
          "voiced_share": "share", "boundary_pause_s": "s"}  # fmt: skip
_SHORT = {"bfloat16": "BF16", "float16": "FP16", "float32": "FP32"}
# Okabe and Ito 2008; told apart by the colour-blind, and by shape in print.
_STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"))


def check_plot(path: Path, *, overwrite: bool = False) -> None:
    """Whether a picture can be written there. Raises BadOutput."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise BadOutput(f"{path}: pictures are .png or .svg, found {path.suffix or 'no suffix'}")
    check_output(path, overwrite=overwrite)


def plot_precisions(book: Book, path: Path, *, overwrite: bool = False, variant: int = 0) -> Path:
    """Draw the runs of all precisions; measures beyond the spread between seeds are named so.

    Raises:
        BadOutput: another suffix than .png or .svg, or the file cannot be written.
        DiskFull: no room.
    """
    from matplotlib.figure import Figure

    check_plot(path, overwrite=overwrite)
    beyond = {row.source for one in compare_precisions(book) for row in one.rows if row.verdict == "beyond"}
    figure = Figure(figsize=(9.0, 5.0), dpi=110, layout="constrained")
    for number, measure in enumerate(TESTED):
        axes = figure.add_subplot(2, 3, number + 1)
        for place, precision in enumerate(book.plan.precisions):
            found = [trial.values.get(measure.source) for trial in book.trials_of(variant, precision)]
            values = np.array([np.nan if value is None else value for value in found])
            colour, marker = _STYLES[place % len(_STYLES)]
            shifts = np.linspace(-0.18, 0.18, max(1, len(values)))
            axes.plot(place + shifts, values, marker, color=colour, markersize=5, linestyle="none", alpha=0.8)
            if np.isfinite(values).any():
                axes.hlines(np.nanmean(values), place - 0.3, place + 0.3, color=colour)
        axes.set_xticks(range(len(book.plan.precisions)), [_SHORT[name] for name in book.plan.precisions])
        axes.set_xlim(-0.5, len(book.plan.precisions) - 0.5)
        told = " (beyond the spread)" if measure.source in beyond else ""
        axes.set_title(f"{measure.title}, {_UNITS[measure.source]}{told}", fontsize=9)
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.grid(axis="y", alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lower()[1:])
    with WholeFile(path, overwrite=overwrite) as file:
        file.write(buffer.getvalue())
    return path
