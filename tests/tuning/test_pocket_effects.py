"""The tuner on the pocket voice: what is commanded is found and reached, and where nothing is asked nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.tuning.answers import answers_of, check_asked, scaled
from toolkit.tuning.book import Book, Plan, Variant
from toolkit.tuning.effects import parse_effects
from toolkit.tuning.statistics import judge_effect
from toolkit.tuning.trial_measures import TESTED
from toolkit.tuning.trial_voice import ModelVoice, open_voice
from toolkit.tuning.trials import run_plan, take_to_trial

TEXT = "The train was late."
INSTRUCTIONS = {"30% faster": "rate", "4 semitones higher": "pitch", "6 dB softer": "level", "whisper": "voicing"}


def plan_of(*instructions: str, **fields: object) -> Plan:
    variants = [Variant(number=n, origin="given" if text else "none", instruction=text)
                for n, text in enumerate(("", *instructions))]  # fmt: skip
    return Plan(text=TEXT, speaker="serena", language="english", variants=tuple(variants), device="cpu", **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def book() -> Book:
    return run_plan(plan_of(*INSTRUCTIONS))


def test_commanded_effects_are_found_and_reached(book: Book) -> None:
    answers = {answer.variant.instruction: answer for answer in answers_of(book)}
    assert all(answer.found for answer in answers.values())
    for instruction, measure in INSTRUCTIONS.items():
        judgement = answers[instruction].judgement
        assert judgement is not None
        assert measure in judgement.changed, instruction
        verdicts = {check.field: check.verdict for check in answers[instruction].checks}
        assert set(verdicts.values()) == {"reached"}, (instruction, answers[instruction].checks)


def test_other_seeds_are_no_effect(book: Book) -> None:
    usual = book.trials_of(0, "float32")
    plan = plan_of("-", first_seed=900)
    takes = open_voice(plan, "float32").speak("", 0, 8)
    other = [take_to_trial(plan, take, "float32", 0, run) for run, take in enumerate(takes)]
    sides = [{one.name: scaled(side, one) for one in TESTED} for side in (other, usual)]
    assert not judge_effect(sides[0], sides[1]).found
    (check,) = check_asked(parse_effects("20% faster"), other, usual)
    assert check.verdict == "short"


def test_a_run_that_overflows_is_a_result_of_its_own() -> None:
    """The third run of four meets NaN; the others are spoken as ever."""
    import torch

    voice = open_voice(plan_of("whisper", seeds=4, batch=4), "float32")
    decode, rows = voice.speech._pipeline._decode_rows, []

    def poisoned(jobs, seeds, *rest):  # type: ignore[no-untyped-def]
        rows.append(len(jobs))
        if seeds[0] == voice.seed_of(2) or len(jobs) > 1:
            torch.multinomial(torch.full((1, 4), float("nan")), 1)
        return decode(jobs, seeds, *rest)

    voice.speech._pipeline._decode_rows = poisoned
    takes = voice.speak("", 0, 4)
    assert [take.finish for take in takes] == ["eos", "eos", "failed", "eos"]
    assert takes[2].failure == "the probabilities are not finite (NaN)"
    assert rows == [4, 1, 1, 1, 1]
    assert all(take.samples is not None and np.isfinite(take.samples).all() for take in takes if take.finish == "eos")
    assert isinstance(voice, ModelVoice)
