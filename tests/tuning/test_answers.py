"""Answers: what was planted is found with its size and its verdict, and what was not is not."""

from __future__ import annotations

import math

import pytest
from tone_voice import ToneVoice, plan_of

from toolkit.tuning.answers import answers_of, check_asked
from toolkit.tuning.book import Book, Trial, Variant
from toolkit.tuning.effects import parse_effects
from toolkit.tuning.report import document_of, exit_code, to_json
from toolkit.tuning.trial_measures import clause_boundaries, measure_clip
from toolkit.tuning.trials import run_plan
from toolkit.tuning.variants import variants_of


def trials(shift: dict[str, float], spread: float = 0.01, count: int = 8, failed: int = 0) -> list[Trial]:
    usual = {"text_rate_per_s": 4.0, "median_f0_hz": 150.0, "f0_spread_st": 2.0, "level_dbfs": -20.0,
             "voiced_share": 0.8, "boundary_pause_s": 0.3}  # fmt: skip
    rows = []
    for run in range(count):
        wobble = spread * (run - count / 2) / count
        values = {name: value * (1 + wobble) * shift.get(name, 1.0) for name, value in usual.items()}
        finish = "failed" if run < failed else "eos"
        told = {name: None if math.isnan(value) else value for name, value in values.items()}
        rows.append(Trial(variant=1, precision="float32", run=run, seed=run, finish=finish, seconds=1.0,
                          values={} if run < failed else told))  # type: ignore[arg-type]  # fmt: skip
    return rows


@pytest.mark.parametrize(
    ("asked", "shift", "verdict", "measured"),
    [
        ("20% faster", {"text_rate_per_s": 1.2}, "reached", 1.2),
        ("50% faster", {"text_rate_per_s": 1.2}, "short", 1.2),
        ("50% faster", {}, "short", 1.0),
        ("20% faster", {"text_rate_per_s": 1.6}, "beyond", 1.6),
        ("20% faster", {"text_rate_per_s": 0.8}, "opposite", 0.8),
        ("12 semitones higher", {"median_f0_hz": 2.0}, "reached", 12.0),
        ("an octave higher", {"median_f0_hz": 2.0}, "reached", 12.0),
        ("12 semitones higher", {"median_f0_hz": 2 ** (4 / 12)}, "short", 4.0),
        ("3 semitones lower", {"median_f0_hz": 2 ** (4 / 12)}, "opposite", 4.0),
        ("6 dB softer", {"level_dbfs": 1.3}, "reached", -6.0),
        ("6 dB louder", {"level_dbfs": 1.3}, "opposite", -6.0),
        ("whisper", {"voiced_share": 0.01}, "reached", 0.008),
        ("whisper", {"voiced_share": 0.6}, "short", 0.48),
        ("whisper", {"voiced_share": 1.2}, "opposite", 0.96),
        ("pause 0.9 seconds between sentences", {"boundary_pause_s": 3.0}, "reached", 0.9),
        ("pause 0.9 seconds between sentences", {"boundary_pause_s": 0.2}, "opposite", 0.06),
        ("monotone", {"f0_spread_st": 0.1}, "reached", 0.1),
        ("12 semitones higher", {"median_f0_hz": math.nan}, "not measurable", math.nan),
    ],
)
def test_asked_against_measured(asked: str, shift: dict[str, float], verdict: str, measured: float) -> None:
    (check,) = check_asked(parse_effects(asked), trials(shift), trials({}))
    assert check.verdict == verdict, check
    assert check.measured == pytest.approx(measured, abs=0.02, nan_ok=True)
    if verdict != "not measurable":
        assert check.low - 1e-9 <= check.measured <= check.high + 1e-9
        assert verdict in check.told()
    else:
        assert "there is no pitch" in check.told()


def test_a_contradiction_cannot_be_measured() -> None:
    (check,) = check_asked(parse_effects("slow, rapid"), trials({}), trials({}))
    assert (check.field, check.verdict, check.reason) == (
        "rate",
        "not measurable",
        "it is asked for in both directions",
    )


def test_the_best_wording_comes_first_and_an_idle_one_is_called_so() -> None:
    book = run_plan(plan_of("25% faster", "speak", "10% slower"), open_voice=ToneVoice)
    first, *rest = answers_of(book)
    assert (first.variant.number, first.place, first.found) == (1, 1, True)
    assert [check.verdict for check in first.checks] == ["reached"]
    assert first.heard[0].startswith("rate +2")
    assert first.closeness > 0.9
    idle = next(answer for answer in rest if answer.variant.number == 2)
    assert (idle.found, idle.joint_p, idle.heard) == (False, 1.0, ())
    assert "nothing more than chance" in idle.told()
    assert idle.closeness == 0.0
    assert exit_code(book) == 0
    told = to_json(book)
    assert [row["place"] for row in told["answers"]] == [1, 2, 3]  # type: ignore[attr-defined]
    assert document_of(book, "1").title == "QWEN-AUDIO tune emotion 1"
    assert [line.variant for line in book.results] == [answer.variant.number for answer in answers_of(book)]


def test_failed_runs_are_left_out_and_counted() -> None:
    plan = plan_of("25% faster")
    without = [trial.model_copy(update={"variant": 0}) for trial in trials({})]
    book = Book(plan=plan, trials=(*without, *trials({"text_rate_per_s": 1.25}, failed=2)))
    (answer,) = answers_of(book)
    assert answer.failed == 2
    assert answer.judgement is not None
    assert answer.judgement.pairs == 6
    book = Book(plan=plan, trials=(*without, *trials({}, failed=6)))
    (answer,) = answers_of(book)
    assert (answer.judgement, answer.told()) == (None, "too few runs to tell")
    assert exit_code(book) == 4


def test_too_many_variants_for_the_seeds_are_told() -> None:
    book = run_plan(plan_of("10% faster", "20% faster", "30% faster", seeds=4), open_voice=ToneVoice)
    assert any("4 seeds cannot be corrected for 3 variants" in note for note in answers_of(book)[0].notes)


def test_variants_are_labelled_and_come_once() -> None:
    found = variants_of("very fast, 3 semitones higher", further=["whisper", "Whisper."])
    assert [(variant.number, variant.origin) for variant in found] == [
        (0, "none"), (1, "yours"), (2, "linted"), (3, "mixed"), (4, "parts"), (5, "given"),
    ]  # fmt: skip
    assert found[2].instruction == "50% faster, 3 semitones higher"
    assert found[4].instruction == "50% faster. 3 semitones higher."
    plain = variants_of("20% slower")
    assert [variant.origin for variant in plain] == ["none", "yours", "mixed"]
    assert isinstance(plain[0], Variant)


@pytest.mark.parametrize(
    ("text", "boundaries"),
    [("One two. Three?", 1), ("今天，很好。", 1), ("no mark", 0), ("1.5 and so on", 0), ("!", 0), ("a... b, c", 2)],
)
def test_marks_inside_a_text(text: str, boundaries: int) -> None:
    assert clause_boundaries(text) == boundaries


def test_what_is_no_sound_has_no_measures() -> None:
    import numpy as np

    assert measure_clip(np.zeros(10, np.float32), 24_000, "a") == {}
    assert measure_clip(np.full(24_000, np.nan, np.float32), 24_000, "a") == {}
    silent = measure_clip(np.zeros(24_000, np.float32), 24_000, "one. two")
    assert silent["duration_s"] == 1.0
    assert silent["median_f0_hz"] is None
    assert silent["boundary_pause_s"] is None
