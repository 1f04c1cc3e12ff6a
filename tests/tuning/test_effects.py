"""What instructions ask for, read back as quantities."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest

from toolkit.errors import UsageError
from toolkit.tuning.effects import fold, parse_effects
from toolkit.tuning.vocabulary import vocabulary
from training.pocket.instructions import DEGREES

UNSEEN = Path(__file__).parents[2] / "training" / "pocket" / "unseen" / "instructions.jsonl"


def test_the_list_of_200_is_read_right() -> None:
    wrong = []
    for line in UNSEEN.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        named = parse_effects(case["instruct"]).named()
        if named != pytest.approx(case["style"], abs=0.01):
            wrong.append((case["instruct"], case["style"], named))
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("+3 semitones", {"pitch_st": 3.0}),
        ("-6 dB", {"level_db": -6.0}),
        ("twice as fast", {"rate": 2.0}),
        ("语速快一倍", {"rate": 2.0}),
        ("语速降低一半", {"rate": 0.5}),
        ("twenty-five percent faster", {"rate": 1.25}),
        ("two point five semitones lower", {"pitch_st": -2.5}),
        ("10% higher pitch", {"pitch_st": 12 * math.log2(1.1)}),
        ("volume down 50%", {"level_db": 20 * math.log10(0.5)}),
        ("音调升高两个八度", {"pitch_st": 24.0}),
        ("语速放慢２０％", {"rate": 0.8}),
        ("don't speak so fast", {"rate": 0.8}),
        ("without pauses", {"pause_s": 0.08}),
        ("angry, but 20% slower", {"rate": 0.8, "pitch_st": 2.0, "spread": 1.4, "level_db": 5.0}),
        ("30% too loud", {"level_db": 20 * math.log10(0.7)}),
        ("a third faster", {"rate": 4 / 3}),
        ("放慢到平时的80%", {"rate": 0.8}),
        ("a perfect fifth lower", {"pitch_st": -7.0}),
        ("大三度，升高", {}),
        ("pause two tenths of a second", {"pause_s": 0.2}),
        ("speed: 1.3", {"rate": 1.3}),
        ("less rapidly", {"rate": 0.8}),
        ("not whispering", {}),
        ("3 semitones", {}),
        ("0% of the speed", {}),
        ("😀 hello", {}),
    ],
)
def test_other_wordings(text: str, named: dict[str, float]) -> None:
    assert parse_effects(text).named() == pytest.approx(named)


def test_both_directions_are_a_conflict_and_no_figure() -> None:
    read = parse_effects("speak slowly, rapid, in a whisper")
    assert (read.rate, read.whisper, read.conflicts) == (None, True, ("rate",))


def test_what_was_said_as_a_number_is_known() -> None:
    assert parse_effects("20% faster and louder").numbered == {"rate"}


@pytest.mark.parametrize("text", ["", " \n", "a" * 2_001])
def test_an_empty_or_endless_instruction_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="the instruction"):
        parse_effects(text)


def test_reading_takes_linear_time() -> None:
    for text in (
        "速度" + "为" * 1_990,
        "speed " + "to " * 600,
        "point " * 300,
        "一" * 2_000,
        "1" * 2_000,
        "非常" * 1_000,
    ):
        begun = time.process_time()
        parse_effects(text)
        assert time.process_time() - begun < 1.0, text[:10]


def test_folding_keeps_every_place() -> None:
    text = "ＡＢ İ ﬁ ½ don’t"
    assert len(fold(text)) == len(text)
    assert fold(text).endswith("don't")


def test_words_without_a_number_are_worth_what_the_pocket_voice_was_trained_on() -> None:
    for effect in vocabulary().effects:
        trained = DEGREES[effect.name]
        assert {degree: effect.figures[degree] for degree in trained if degree in effect.figures} == {
            degree: float(value) for degree, value in trained.items() if degree in effect.figures
        }


def test_every_figure_has_a_source_and_no_word_stands_twice() -> None:
    table = vocabulary()
    sources = {effect.source for effect in table.effects} | {mood.source for mood in table.moods}
    assert sources == {"house default", "by definition", "review"}
    words = [word for effect in table.effects for word in effect.words]
    words += [word for mood in table.moods for word in mood.words]
    words += [word for part in (table.nouns, table.directions, table.vague) for many in part.values() for word in many]
    words += [*table.negations, *table.joins, *table.unsaid]
    assert sorted({word for word in words if words.count(word) > 1}) == []
