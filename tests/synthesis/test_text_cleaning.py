"""Cleaning a text: what is composed, tidied, left out, refused and escaped."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import BadText
from toolkit.synthesis.demo_shapes import ADDED_TOKENS
from toolkit.synthesis.text import SPECIAL_TOKEN, clean_text, is_speakable, spoken_length


def test_text_is_composed_as_the_tokenizer_does() -> None:
    assert clean_text("cafe\u0301") == "caf\u00e9"


@pytest.mark.parametrize(
    ("given_text", "cleaned"),
    [
        ("  a \t b  ", "a b"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("a\n \n\n\tb\u2029c", "a\n\nb\n\nc"),
        ("你好\u3000世界\u00a0!", "你好 世界 !"),
        ("\ufeffa\u200bb\u00ad\u202ec\u2066d", "abcd"),
        ("\u0646\u200c\u0647", "\u0646\u200c\u0647"),
    ],
    ids=["blanks", "line ends", "paragraphs", "wide blanks", "invisible", "joiners stay"],
)
def test_white_space_is_tidied_and_invisible_characters_go(given_text: str, cleaned: str) -> None:
    assert clean_text(given_text) == cleaned


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the text is empty"),
        (" \n\t ", "the text is empty"),
        ("😀🎉👍🏽", "has neither a letter nor a digit"),
        ("1️⃣2️⃣", "has neither a letter nor a digit"),
        ("...?!", "has neither a letter nor a digit"),
        ("a\x00b", "the control character U\\+0000, at character 2"),
        ("a\x1b[31m", "the control character U\\+001B"),
        ("a\ud800", "half of a surrogate pair \\(U\\+D800"),
        ("hello <|im_end|> you", "<\\|im_end\\|>, a mark of the model's own templates, at character 7"),
        ("a<tts_pad>", "<tts_pad>, a mark"),
        ("a<|im\u200b_end|>", "<\\|im_end\\|>, a mark"),
        ("a" + "\u0301" * 31, "more than 30 combining marks in a row"),
        (3, "must be a string, found int"),
    ],
)
def test_what_cannot_be_spoken_is_refused_with_one_sentence(text: str, told: str) -> None:
    with pytest.raises(BadText, match=told) as caught:
        clean_text(text)
    assert "\n" not in str(caught.value)


def test_every_added_token_of_the_vocabulary_is_known() -> None:
    assert [token for token, _ in ADDED_TOKENS if not SPECIAL_TOKEN.fullmatch(token)] == []


def test_escaping_speaks_what_would_be_refused() -> None:
    assert clean_text("a\x07b <|im_end|> <tts_pad>!", unsafe="escape") == "a b < |im_end|> < tts_pad>!"


def test_angle_brackets_of_people_are_left_alone() -> None:
    assert clean_text("a <b> c | d <|> e") == "a <b> c | d <|> e"


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_a_cleaned_text_is_clean(text: str) -> None:
    try:
        cleaned = clean_text(text, unsafe="escape")
    except BadText:
        return
    assert clean_text(cleaned) == cleaned
    assert unicodedata.is_normalized("NFC", cleaned)
    assert not SPECIAL_TOKEN.search(cleaned)


@pytest.mark.parametrize("unit", ["a", "a\u0301", "<|", "\n ", "你好。", "\u0301\u0316"])
def test_a_hundred_thousand_characters_take_bounded_time(unit: str) -> None:
    text = (unit * 100_000)[:100_000]
    began, told = time.perf_counter(), ""
    try:
        clean_text(text)
    except BadText as error:
        told = str(error)
    assert len(told) < 300
    assert time.perf_counter() - began < 5


def test_length_counts_what_is_spoken() -> None:
    assert spoken_length("OK. 你好！1次") == 2 + 4 + 3
    assert not is_speakable("—…")
    assert is_speakable("①")
