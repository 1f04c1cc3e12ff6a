"""Error rates on sequences whose errors are known, and syllables as the engine writes them."""

from __future__ import annotations

import random

import pytest

from training.pocket import scoring
from training.pocket.scoring import Errors, Syllable, edit_distance, error_rate, syllables

# What the engine makes of a few syllables (name and tone of the nucleus), as the recogniser writes it.
NI_HAO = "zh:n zh:i T3 zh:X zh:Au T3".split()
QING = "zh:tS;h zh:i T4 zh:N".split()
KONG = "zh:k zh:ong T1".split()
TIAN = "zh:th zh:iE T1 zh:n".split()
WANG = "zh:w zh:A T2 zh:N".split()
ER = "zh:@r T4".split()
NIAO = "zh:n zh:j zh:Au T3".split()
AN = "zh:a T1 zh:n".split()
AI = "zh:ai T4".split()


def plain_distance(first: list[int], second: list[int]) -> int:
    """By the definition, without any cleverness."""
    if not first or not second:
        return len(first) + len(second)
    return min(
        plain_distance(first[1:], second[1:]) + (first[0] != second[0]),
        plain_distance(first[1:], second) + 1,
        plain_distance(first, second[1:]) + 1,
    )


def test_edit_distance_is_the_definition() -> None:
    source = random.Random(0)
    for _ in range(60):
        first = [source.randrange(3) for _ in range(source.randrange(6))]
        second = [source.randrange(3) for _ in range(source.randrange(6))]
        assert edit_distance(first, second) == plain_distance(first, second)


def test_an_alignment_costs_the_edit_distance_and_keeps_both_sides() -> None:
    source = random.Random(1)
    for _ in range(40):
        first = [source.randrange(4) for _ in range(source.randrange(8))]
        second = [source.randrange(4) for _ in range(source.randrange(8))]
        pairs = scoring.align(first, second, lambda one, other: float(one != other))
        assert [one for one, _ in pairs if one is not None] == first
        assert [other for _, other in pairs if other is not None] == second
        assert sum(one != other for one, other in pairs) == edit_distance(first, second)


def test_phone_errors_leave_tones_out() -> None:
    assert scoring.phone_errors(NI_HAO, "zh:n zh:i T1 zh:X zh:Au".split()) == Errors(0, 4)
    assert scoring.phone_errors(["en:h", "en:aI"], ["en:h", "en:eI", "en:z"]) == Errors(2, 2)
    assert scoring.phone_errors([], ["en:a"]) == Errors(1, 0)


@pytest.mark.parametrize(
    ("parts", "count"),
    [
        ([NI_HAO], 2),
        ([QING], 1),
        ([QING, KONG], 2),
        ([TIAN, TIAN, QING], 3),
        ([WANG, ER], 2),
        ([NIAO, WANG], 2),
        ([AN, KONG], 2),
        ([TIAN, WANG], 2),
        ([AI, ER], 2),
        ([QING, AI], 2),
    ],
)
def test_there_is_one_syllable_a_nucleus_and_it_has_the_tone(parts: list[list[str]], count: int) -> None:
    symbols = [symbol for part in parts for symbol in part]
    found = syllables(symbols)
    assert len(found) == count
    assert [syllable.tone for syllable in found] == [int(symbol[1]) for symbol in symbols if symbol[0] == "T"]
    assert [phone for syllable in found for phone in syllable.phones] == [
        symbol for symbol in symbols if symbol[0] != "T"
    ]


def test_nasals_close_a_syllable_unless_something_opens_behind_them() -> None:
    assert syllables(TIAN + KONG)[0].phones == ("zh:th", "zh:iE", "zh:n")
    assert syllables(KONG + NIAO)[1].phones == ("zh:n", "zh:j", "zh:Au")
    assert syllables(QING + AI) == [Syllable(("zh:tS;h", "zh:i", "zh:N"), 4), Syllable(("zh:ai",), 4)]
    # An n before a vowel may be either; the rule takes the commoner reading, on both sides of a comparison.
    assert [syllable.phones for syllable in syllables(AN + AI)] == [("zh:a",), ("zh:n", "zh:ai")]


def test_what_has_no_vowel_still_counts() -> None:
    assert syllables(["zh:s", "zh:s."]) == [Syllable(("zh:s", "zh:s."), 0)]
    assert syllables([]) == []
    assert syllables(["T3", "zh:a", "T1", "T2"]) == [Syllable(("zh:a",), 1)]


def test_syllable_errors_ignore_tones_and_count_a_syllable_once() -> None:
    assert scoring.syllable_errors(NI_HAO, "zh:n zh:i T1 zh:X zh:Au T4".split()) == Errors(0, 2)
    assert scoring.syllable_errors(NI_HAO, "zh:l zh:y T3 zh:X zh:Au T3".split()) == Errors(1, 2)
    assert scoring.syllable_errors(NI_HAO + KONG, NI_HAO) == Errors(1, 3)


def test_tone_errors_count_wrong_missing_and_lost_tones() -> None:
    assert scoring.tone_errors(NI_HAO, NI_HAO) == Errors(0, 2)
    assert scoring.tone_errors(NI_HAO, "zh:n zh:i T2 zh:X zh:Au T3".split()) == Errors(1, 2)
    assert scoring.tone_errors(NI_HAO, "zh:n zh:i zh:X zh:Au T3".split()) == Errors(1, 2)
    assert scoring.tone_errors(NI_HAO, "zh:X zh:Au T3".split()) == Errors(1, 2)
    # A wrong phone is no wrong tone, and a syllable too many takes no tone away.
    assert scoring.tone_errors(NI_HAO, "zh:l zh:i T3 zh:X zh:Au T3".split()) == Errors(0, 2)
    assert scoring.tone_errors(NI_HAO, [*KONG, *NI_HAO]) == Errors(0, 2)
    assert scoring.tone_errors(["en:a"], ["en:a"]) == Errors(0, 0)


def test_the_rate_is_of_the_whole_set_and_lies_in_its_interval() -> None:
    rate = error_rate([Errors(1, 10), Errors(0, 30), *[Errors(2, 20)] * 50])
    assert rate.rate == pytest.approx(101 / 1040)
    assert rate.low <= rate.rate <= rate.high
    assert (rate.errors, rate.length, rate.utterances) == (101, 1040, 52)
    assert error_rate([Errors(1, 10), Errors(0, 30)]) == error_rate([Errors(1, 10), Errors(0, 30)])
    assert error_rate([Errors(0, 5)]).high == 0.0
    assert rate.to_json()["rate"] == 0.0971


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="references"):
        error_rate([Errors(1, 0)])


def test_syllables_of_real_speech_are_as_many_as_its_characters() -> None:
    pytest.importorskip("espeakng_loader")
    from training.pocket.recogniser import symbols_of
    from training.pocket.speech import render
    from training.pocket.style import PLAIN
    from training.pocket.voices import SPEAKERS

    for text in ("你好，今天天气很好，我们去公园散步吧。", "请把窗户关上，外面太冷了。", "他买了二两茶叶。"):
        symbols = symbols_of(render(text, "chinese", SPEAKERS["ryan"], PLAIN).phones, "chinese")
        found = syllables(symbols)
        assert len(found) == sum("\u4e00" <= char <= "\u9fff" for char in text)
        assert all(syllable.tone for syllable in found)
