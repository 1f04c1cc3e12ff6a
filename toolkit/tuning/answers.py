"""Answers from trials: does a wording do anything, does it do what it asks for, and which wording does it best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from toolkit.tuning.book import Book, Trial, Variant
from toolkit.tuning.effects import Effects, parse_effects
from toolkit.tuning.statistics import Judgement, fewest_pairs, holm, judge_effect
from toolkit.tuning.trial_measures import TESTED, Tested

__all__ = ["Answer", "Check", "answers_of", "check_asked", "scaled"]

Verdict = Literal["reached", "short", "beyond", "opposite", "not measurable"]

WHISPER_BELOW = 0.2
"""Voiced share that tells whispers from voice: whispers have 0.01 at most, the lowest voices 0.3."""
_TOLERANCE = 0.3
"""Share of what was asked that may be missing or too much; a figure of the house."""
_FLOORS = {"rate": math.log(1.05), "pitch_st": 0.5, "spread": 0.25, "level_db": 1.0, "pause_s": 0.1}
"""What may be missing in any case; about what is noticeable."""
_MEASURE = {"rate": "rate", "pitch_st": "pitch", "level_db": "level", "pause_s": "pause", "whisper": "voicing"}
_LEAST_PAIRS = 3


@dataclass(frozen=True)
class Check:
    """One thing that was asked for, against what was measured.

    Attributes:
        field: as in :class:`~toolkit.tuning.effects.Effects`.
        asked: in the unit of that field; for a whisper the voiced share that it stays below.
        measured: the same quantity as it was measured, the mean over the seeds; NaN where it could not be.
        low, high: its 95 % interval (Student's t over the seeds).
        verdict: "reached" within 30 % of the change asked for, or within what is noticeable; "short" of it (also when
            nothing changed), "beyond" it; "opposite" when the interval lies on the other side; "not measurable".
        share: change measured over change asked for: 1 is all of it; NaN where there is none.
        reason: why it is not measurable.
    """

    field: str
    asked: float
    measured: float
    low: float
    high: float
    verdict: Verdict
    share: float
    reason: str = ""

    def told(self) -> str:
        """In words, such as "rate 1.20 asked, 1.21 measured (1.19 to 1.23): reached"."""
        name = {"rate": "rate x", "pitch_st": "pitch st", "spread": "movement x", "level_db": "level dB",
                "pause_s": "pause s", "whisper": "whisper, voiced share below"}[self.field]  # fmt: skip
        if self.verdict == "not measurable":
            return f"{name} {self.asked:.2f} asked: not measurable ({self.reason})"
        return f"{name} {self.asked:.2f} asked, {self.measured:.2f} measured ({self.low:.2f} to {self.high:.2f}): " + (
            self.verdict
        )


@dataclass(frozen=True)
class Answer:
    """What became of one variant at one precision.

    Attributes:
        place: 1 is the best of its precision.
        judgement: against the same seeds without instruction; None where fewer than three runs can be compared.
        joint_p: its joint p value after Holm's correction over the variants of the precision; NaN without one.
        found: whether the variant did anything, by ``joint_p`` at 0.05.
        heard: titles and sizes of measures that changed, by their corrected p values, and noticeably.
        checks: what its own words ask for, against what was measured.
        closeness: mean share, from 0 to 1, of what the user's instruction asks for that was reached; NaN where it asks
            for nothing measurable.
        failed: runs that failed.
        cut: runs that ran into the length cap.
        notes: sentences on what limits the answer.
    """

    variant: Variant
    precision: str
    place: int
    judgement: Judgement | None
    joint_p: float
    found: bool
    heard: tuple[str, ...]
    checks: tuple[Check, ...]
    closeness: float
    failed: int
    cut: int
    notes: tuple[str, ...] = ()

    def told(self) -> str:
        """Whether it did anything, in words."""
        if self.judgement is None:
            return "too few runs to tell"
        if not self.found:
            return f"nothing more than chance (p {self.joint_p:.3f})"
        if not self.heard:
            return f"a change too small to notice (p {self.joint_p:.3f})"
        return f"{', '.join(self.heard)} (p {self.joint_p:.3f})"


def answers_of(book: Book, *, alpha: float = 0.05) -> tuple[Answer, ...]:
    """The answers of a book of the kind "emotion", precision by precision, the best variant first.

    Variants rank by ``closeness``, then by whether they did anything, then by their number.
    """
    goal = _goal(book.plan.instruction)
    answers: list[Answer] = []
    for precision in book.plan.precisions:
        plain = book.trials_of(0, precision)
        rows = [
            _answer(variant, precision, book.trials_of(variant.number, precision), plain, goal, alpha)
            for variant in book.plan.variants[1:]
        ]
        corrected = holm([row.judgement.joint_p if row.judgement else math.nan for row in rows])
        rows = [replace(row, joint_p=p, found=p <= alpha) for row, p in zip(rows, corrected, strict=True)]
        if fewest_pairs(len(rows), alpha) > book.plan.seeds:
            told = (
                f"{book.plan.seeds} seeds cannot be corrected for {len(rows)} variants: no effect, however large, "
                f"passes; {fewest_pairs(len(rows), alpha)} seeds can"
            )
            rows = [replace(row, notes=(*row.notes, told)) for row in rows]
        rows.sort(key=lambda row: (-(row.closeness if row.closeness == row.closeness else 0.0), not row.found,
                                   row.variant.number))  # fmt: skip
        answers += [replace(row, place=place) for place, row in enumerate(rows, 1)]
    return tuple(answers)


def scaled(trials: Sequence[Trial], measure: Tested) -> list[float]:
    """Values of the trials on the scale of a measure; NaN where there is none."""
    found = [trial.values.get(measure.source) for trial in trials]
    return [math.nan if value is None else measure.scale(value) for value in found]


def check_asked(effects: Effects, instructed: Sequence[Trial], plain: Sequence[Trial]) -> tuple[Check, ...]:
    """What an instruction asks for against trials with it and, of the same runs in the same order, without it."""
    columns = {one.name: (np.array(scaled(instructed, one)), np.array(scaled(plain, one))) for one in TESTED}
    checks = [_check(field, float(value), columns) for field, value in effects.named().items()]
    reason = "it is asked for in both directions"
    checks += [
        Check(field, math.nan, math.nan, math.nan, math.nan, "not measurable", math.nan, reason)
        for field in effects.conflicts
    ]
    return tuple(checks)


def _goal(instruction: str) -> Effects:
    return parse_effects(instruction) if instruction.strip() else Effects()


def _answer(
    variant: Variant,
    precision: str,
    trials: Sequence[Trial],
    plain: Sequence[Trial],
    goal: Effects,
    alpha: float,
) -> Answer:
    with_it, without = _paired(trials, plain)
    judgement: Judgement | None = None
    heard: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    if len(with_it) >= _LEAST_PAIRS:
        sides = [{one.name: scaled(side, one) for one in TESTED} for side in (with_it, without)]
        judgement = judge_effect(sides[0], sides[1], alpha=alpha)
        notes, heard = judgement.notes, tuple(_heard(judgement))
    checks = check_asked(_goal(variant.instruction), with_it, without)
    shares = [_near(check) for check in check_asked(goal, with_it, without) if check.share == check.share]
    return Answer(
        variant,
        precision,
        0,
        judgement,
        math.nan,
        False,
        heard,
        checks,
        float(np.mean(shares)) if shares else math.nan,
        sum(trial.finish == "failed" for trial in trials),
        sum(trial.finish == "length" for trial in trials),
        notes,
    )


def _paired(trials: Sequence[Trial], plain: Sequence[Trial]) -> tuple[list[Trial], list[Trial]]:
    """Trials of runs that both sides have and that did not fail."""
    others = {trial.run: trial for trial in plain if trial.finish != "failed"}
    own = [trial for trial in trials if trial.finish != "failed" and trial.run in others]
    return own, [others[trial.run] for trial in own]


def _heard(judgement: Judgement) -> list[str]:
    by_name = {one.name: one for one in TESTED}
    return [
        f"{by_name[test.measure].title} {by_name[test.measure].show(test.mean_change)}"
        for test in judgement.tests
        if test.measure in judgement.changed and abs(test.mean_change) >= by_name[test.measure].noticeable
    ]


def _near(check: Check) -> float:
    """From 0 to 1: what was reached of what was asked for; too much counts as too little does."""
    return min(1.0, max(0.0, 1 - abs(1 - check.share)))


def _check(field: str, asked: float, columns: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Check:
    nothing = Check(field, asked, math.nan, math.nan, math.nan, "not measurable", math.nan)
    instructed, plain = columns["spread" if field == "spread" else _MEASURE[field]]
    usable = np.isfinite(instructed) & np.isfinite(plain)
    if field == "spread":
        usable &= plain > 0
    if int(usable.sum()) < _LEAST_PAIRS:
        reasons = {"pitch_st": "there is no pitch", "spread": "there is no pitch",
                   "pause_s": "the text has no mark inside it"}  # fmt: skip
        return replace(nothing, reason=reasons.get(field, "fewer than three runs could be measured"))
    instructed, plain = instructed[usable], plain[usable]
    if field == "whisper":
        return _whisper(instructed, plain)
    usual = float(plain.mean())
    changes, wanted = instructed - plain, asked
    if field == "spread":
        changes, wanted = instructed / plain - 1, asked - 1
    elif field == "rate":
        wanted = math.log(asked)
    elif field == "pause_s":
        wanted = asked - usual
    mean, low, high = _interval(changes)
    share = mean / wanted if abs(wanted) > 1e-9 else math.nan
    measured, least, most = (_shown(field, change, usual) for change in (mean, low, high))
    return Check(field, asked, measured, least, most, _verdict(field, wanted, mean, low, high), share)


def _shown(field: str, change: float, usual: float) -> float:
    """A change in the unit that was asked in."""
    if field == "rate":
        return math.exp(change)
    return change + {"spread": 1.0, "pause_s": usual}.get(field, 0.0)


def _verdict(field: str, wanted: float, mean: float, low: float, high: float) -> Verdict:
    if abs(mean - wanted) <= max(_TOLERANCE * abs(wanted), _FLOORS[field]):
        # Within what is noticeable of a small wish lies the other side as well.
        return "opposite" if abs(wanted) > _FLOORS[field] and _lies_against(wanted, low, high) else "reached"
    if _lies_against(wanted, low, high):
        return "opposite"
    return "beyond" if mean * math.copysign(1, wanted) > abs(wanted) else "short"


def _lies_against(wanted: float, low: float, high: float) -> bool:
    return high < 0 if wanted > 0 else low > 0


def _whisper(instructed: np.ndarray, plain: np.ndarray) -> Check:
    mean, low, high = _interval(instructed)
    _, less, more = _interval(instructed - plain)
    verdict: Verdict = "reached" if mean < WHISPER_BELOW else "opposite" if less > 0 and more > 0 else "short"
    gap = float(plain.mean()) - WHISPER_BELOW
    share = 1.0 if verdict == "reached" else (float(plain.mean()) - mean) / gap if gap > 0 else math.nan
    return Check("whisper", WHISPER_BELOW, mean, max(0.0, low), high, verdict, share)


def _interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and its 95 % interval."""
    from scipy.stats import t

    mean = float(values.mean())
    half = float(t.ppf(0.975, values.size - 1)) * float(values.std(ddof=1)) / math.sqrt(values.size)
    return mean, mean - half, mean + half
