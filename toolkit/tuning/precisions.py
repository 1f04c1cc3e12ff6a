"""Whether a precision changes the voice: its measures against another's, beside the spread between seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from toolkit.errors import UsageError
from toolkit.tuning.answers import scaled
from toolkit.tuning.book import Book, Trial
from toolkit.tuning.statistics import Judgement, judge_effect
from toolkit.tuning.trial_measures import TESTED

__all__ = ["Comparison", "MeasureRow", "compare_precisions"]

Verdict = Literal["beyond", "unsure", "within", "not measurable"]
_LEAST_PAIRS = 3


@dataclass(frozen=True)
class MeasureRow:
    """One measure at a precision against the reference.

    Attributes:
        measure: its title.
        reference, value: means over the runs that both have, in the unit of the measure's source.
        difference: in words, on the scale of the measure.
        times_spread: size of the mean difference over the standard deviation between seeds of the reference; infinite
            where the seeds do not differ and the precisions do.
        adjusted_p: of the paired test over the seeds, after Holm's correction over the measures.
        verdict: "within" the spread where ``times_spread`` is at most 1; "beyond" it where ``adjusted_p`` is at most
            0.05 as well, else "unsure": more seeds would tell.
    """

    measure: str
    source: str
    reference: float
    value: float
    difference: str
    times_spread: float
    adjusted_p: float
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """A precision against the reference: a row a measure, and the runs that failed.

    Attributes:
        failed_runs: numbers (from 1) of the runs that failed at this precision.
        first_failure: what the first of them says; "" when none failed.
        joint_p: p value of "nothing differs"; NaN with fewer than three runs to compare.
        notes: sentences on what limits the comparison.
    """

    precision: str
    reference: str
    runs: int
    rows: tuple[MeasureRow, ...]
    joint_p: float
    failed_runs: tuple[int, ...]
    first_failure: str
    notes: tuple[str, ...] = ()

    @property
    def exceeds(self) -> bool:
        """Whether any measure differs by more than the spread between seeds."""
        return any(row.verdict == "beyond" for row in self.rows)

    def told(self) -> str:
        """The verdict as a sentence."""
        failed = ""
        if self.failed_runs:
            failed = (
                f"{len(self.failed_runs)} of {self.runs} runs failed, the first at run {self.failed_runs[0]} "
                f"({self.first_failure}); "
            )
        if not self.rows:
            return f"{failed}too few runs are left to compare with {self.reference}"
        if not self.exceeds:
            unsure = [row.measure for row in self.rows if row.verdict == "unsure"]
            told = f"; more runs are needed to be sure of {', '.join(unsure)}" if unsure else ""
            surely = "surely " if unsure else ""
            return f"{failed}no measure {surely}differs from {self.reference} by more than its seeds do{told}"
        far = [f"{row.measure} {row.difference}" for row in self.rows if row.verdict == "beyond"]
        return f"{failed}more than the spread between seeds of {self.reference}: {', '.join(far)}"


def compare_precisions(book: Book, *, variant: int = 0, alpha: float = 0.05) -> tuple[Comparison, ...]:
    """Each further precision of a book against its first.

    Raises:
        UsageError: a book of one precision.
    """
    reference, *others = book.plan.precisions
    if not others:
        raise UsageError(f"the book has one precision ({reference}); comparing takes two")
    usual = book.trials_of(variant, reference)
    return tuple(_comparison(book.trials_of(variant, name), usual, name, reference, alpha) for name in others)


def _comparison(
    trials: Sequence[Trial], usual: Sequence[Trial], precision: str, reference: str, alpha: float
) -> Comparison:
    failed = [trial for trial in trials if trial.finish == "failed"]
    by_run = {trial.run: trial for trial in usual if trial.finish != "failed"}
    own = [trial for trial in trials if trial.finish != "failed" and trial.run in by_run]
    pairs = [by_run[trial.run] for trial in own]
    rows: tuple[MeasureRow, ...] = ()
    joint_p = math.nan
    notes: tuple[str, ...] = ()
    if len(own) >= _LEAST_PAIRS:
        rows, judgement = _rows(own, pairs, list(by_run.values()), alpha)
        joint_p, notes = judgement.joint_p, judgement.notes
    return Comparison(
        precision,
        reference,
        len(trials),
        rows,
        joint_p,
        tuple(trial.run + 1 for trial in failed),
        failed[0].failure if failed else "",
        notes,
    )


def _rows(
    own: Sequence[Trial], pairs: Sequence[Trial], usual: Sequence[Trial], alpha: float
) -> tuple[tuple[MeasureRow, ...], Judgement]:
    sides = [{one.name: scaled(side, one) for one in TESTED} for side in (own, pairs)]
    judgement = judge_effect(sides[0], sides[1], alpha=alpha)
    rows = []
    for one, test in zip(TESTED, judgement.tests, strict=True):
        spread = np.array(scaled(usual, one))
        spread = spread[np.isfinite(spread)]
        if test.pairs < _LEAST_PAIRS or spread.size < _LEAST_PAIRS:
            rows.append(MeasureRow(one.title, one.source, math.nan, math.nan, "", math.nan, math.nan, "not measurable"))
            continue
        times = _times(abs(test.mean_change), float(spread.std(ddof=1)))
        before, after = (_mean([trial.values.get(one.source) for trial in side]) for side in (pairs, own))
        verdict: Verdict = "within" if times <= 1 else "beyond" if test.adjusted_p <= alpha else "unsure"
        rows.append(
            MeasureRow(
                one.title, one.source, before, after, one.show(test.mean_change), times, test.adjusted_p, verdict
            )
        )
    return tuple(rows), judgement


def _times(size: float, spread: float) -> float:
    if spread > 0:
        return size / spread
    return math.inf if size > 0 else 0.0


def _mean(values: Sequence[float | None]) -> float:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else math.nan
