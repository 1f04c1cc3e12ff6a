"""Syllables of texts: words whose number everybody can count."""

from __future__ import annotations

import pytest

from toolkit.acoustics.syllables import count_syllables


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hello there.", 3),
        ("The little table wanted something unique.", 11),
        ("I asked my careful, lonely friend.", 8),
        ("She catches horses and likes apples.", 9),
        ("radio nation special piano", 3 + 2 + 2 + 3),
        ("It didn't rain, don't worry: it's a rhythm.", 11),
        ("The year 2024, 7 of 110, 0.", 2 + 6 + 2 + 1 + 4 + 2),
        ("Set FP16 on the GPU.", 1 + 2 + 2 + 2 + 3),
        ("SAY THE WORD", 3),
        ("12 percent, or 12%", 1 + 2 + 1 + 1 + 2),
        ("今天天气很好，我们去公园。", 11),
        ("我有3个苹果", 6),
        ("他说 hello", 4),
        ("きょうは", 3),
        ("a café", 3),
        ("", 0),
        ("... !?", 0),
    ],
)
def test_syllables_are_counted(text: str, wanted: int) -> None:
    assert count_syllables(text) == wanted


def test_a_long_text_takes_no_time() -> None:
    assert count_syllables("a" * 100_000) == 1
    assert count_syllables("9" * 50_000) == 50_000
