"""How numbers are said: every form means the number that was drawn."""

from __future__ import annotations

import random
import re

import pytest

from training.pocket.quantities import STEPS, digits, draw_number, spoken

BOUNDS = {
    "percent": (5, 60),
    "tenths": (10, 60),
    "times": (60, 160),
    "factor": (60, 160),
    "share": (60, 160),
    "semitones": (1, 12),
    "decibels": (1, 12),
    "seconds": (100, 1200),
    "bare_seconds": (100, 1200),
}


def forms(quantity: str, number: float, language: str, *, named: bool = True, count: int = 300) -> set[str]:
    source = random.Random(1)
    return {spoken(quantity, number, language, source, named=named) for _ in range(count)}


@pytest.mark.parametrize("quantity", STEPS)
def test_numbers_stay_within_their_bounds_and_reach_both(quantity: str) -> None:
    source = random.Random(2)
    low, high = BOUNDS[quantity]
    drawn = [draw_number(quantity, low, high, source) for _ in range(5000)]
    assert min(drawn) == low
    assert max(drawn) == high


@pytest.mark.parametrize(
    ("quantity", "number", "language", "some"),
    [
        ("percent", 20.0, "en", {"a fifth", "20%", "twenty percent", "20 per cent"}),
        ("percent", 50.0, "zh", {"一半", "百分之五十", "50%"}),
        ("share", 75.0, "en", {"three quarters", "75%"}),
        ("semitones", 7.0, "en", {"a perfect fifth", "7 semitones", "seven half steps", "7 half tones"}),
        ("semitones", 4.0, "zh", {"大三度", "4个半音", "四个半音", "两个全音"}),
        ("semitones", 1.0, "en", {"a semitone", "one half step", "1 semitone", "a minor second"}),
        ("decibels", 2.0, "zh", {"两分贝", "2分贝", "2dB"}),
        ("seconds", 250.0, "en", {"a quarter of a second", "0.25 seconds", "250 ms"}),
        ("seconds", 1100.0, "en", {"a second and a tenth", "1.1 seconds", "one thousand one hundred milliseconds"}),
        ("times", 150.0, "zh", {"一倍半", "1.5倍"}),
    ],
)
def test_a_number_is_said_in_many_ways(quantity: str, number: float, language: str, some: set[str]) -> None:
    assert some <= forms(quantity, number, language)


def test_a_third_is_never_rounded_in_english_words() -> None:
    assert forms("percent", 100 / 3, "en") == {"a third", "one third"}


def test_half_a_decibel_is_said_in_digits() -> None:
    assert all(re.fullmatch(r"5\.5 ?(?:dB|decibels)", form) for form in forms("decibels", 5.5, "en"))


def test_without_names_a_fifth_is_a_percentage() -> None:
    assert not any("fifth" in form for form in forms("percent", 20.0, "en", named=False))


def test_behind_a_sign_there_are_digits() -> None:
    assert digits("semitones", 1.0) == "1 semitone"
    assert digits("decibels", 2.5) == "2.5 dB"
    assert digits("percent", 20.0) == "20%"
