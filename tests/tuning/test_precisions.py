"""Precisions: a planted difference is beyond the spread, none is within it, and failures are results."""

from __future__ import annotations

from pathlib import Path

import pytest
from tone_voice import ToneVoice, plan_of

from toolkit.errors import BadOutput, UsageError
from toolkit.tuning.book import Plan
from toolkit.tuning.precision_plot import plot_precisions
from toolkit.tuning.precisions import compare_precisions
from toolkit.tuning.report import document_of, exit_code, to_json
from toolkit.tuning.takes import Take
from toolkit.tuning.trials import run_plan

PLAN: Plan = plan_of(kind="precision", precisions=("bfloat16", "float16", "float32"))


class HigherInFp16(ToneVoice):
    """Two semitones higher in float16; float32 as bfloat16, but for the seeds."""

    def take(self, instruction: str, run: int) -> Take:
        found = super().take("2 semitones higher" if self.precision == "float16" else "", run)
        if self.precision == "float32":
            return super().take("", run + 100)
        return found


def test_a_planted_difference_is_beyond_the_spread_and_failures_are_counted() -> None:
    book = run_plan(PLAN, open_voice=HigherInFp16)
    fp16, fp32 = compare_precisions(book)
    pitch = next(row for row in fp16.rows if row.measure == "pitch")
    assert fp16.failed_runs == (3, 7)
    assert (pitch.difference, pitch.verdict) == ("+2.0 st", "unsure")  # six pairs cannot be corrected for six measures
    assert any("6 seeds are too few for 6 measures" in note for note in fp16.notes)
    assert pitch.times_spread > 3
    assert "2 of 8 runs failed, the first at run 3 (float16 overflowed at frame 3)" in fp16.told()
    assert not fp32.exceeds
    assert fp32.told() == "no measure differs from bfloat16 by more than its seeds do"
    assert exit_code(book) == 4
    assert len(to_json(book)["comparisons"]) == 2  # type: ignore[arg-type]
    assert document_of(book, "1").title == "QWEN-AUDIO tune precision 1"


def test_without_failures_eight_seeds_tell_it() -> None:
    plan = PLAN.model_copy(update={"precisions": ("bfloat16", "float32")})

    class Higher(ToneVoice):
        def take(self, instruction: str, run: int) -> Take:
            return super().take("2 semitones higher" if self.precision == "float32" else "", run)

    (one,) = compare_precisions(run_plan(plan, open_voice=Higher))
    assert [row.measure for row in one.rows if row.verdict == "beyond"] == ["pitch"]
    assert one.told() == "more than the spread between seeds of bfloat16: pitch +2.0 st"


def test_the_picture(tmp_path: Path) -> None:
    book = run_plan(PLAN, open_voice=HigherInFp16)
    assert plot_precisions(book, tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in plot_precisions(book, tmp_path / "p.svg").read_bytes()
    with pytest.raises(BadOutput, match=r"\.png or \.svg, found \.gif"):
        plot_precisions(book, tmp_path / "p.gif")
    with pytest.raises(BadOutput, match="exists"):
        plot_precisions(book, tmp_path / "p.png")


def test_one_precision_is_nothing_to_compare() -> None:
    with pytest.raises(UsageError, match="comparing takes two"):
        compare_precisions(run_plan(plan_of("whisper", seeds=3), open_voice=ToneVoice))
