"""Dividing a text: at sentence ends where there are some, within the limit always, and nothing lost."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import BadText, UsageError
from toolkit.synthesis.splitting import DEFAULT_MAX_TEXT_LENGTH, MIN_TEXT_LENGTH, SHORTEST_PART, Part, split_text
from toolkit.synthesis.text import clean_text, spoken_length


def texts(text: str, limit: int = 40) -> list[str]:
    return [part.text for part in split_text(clean_text(text), limit)]


def without_blanks(text: str) -> str:
    return re.sub(r"\s", "", text)


def test_a_short_text_is_one_part_as_it_is() -> None:
    assert split_text("Hello there. How are you?") == (Part("Hello there. How are you?", 0.0),)
    assert split_text("") == ()


def test_sentences_are_put_together_up_to_the_limit() -> None:
    assert texts("One is here. Two is here. Three is here. Four is here.") == [
        "One is here. Two is here. Three is here.",
        "Four is here.",
    ]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (
            "他今天去公园玩了很久！然后他就慢慢地走回家去了，路上买了一点水果和蔬菜，晚上做饭吃，然后睡觉。",
            "他今天去公园玩了很久！",
        ),
        ("今天用 GPU 跑了 YouTube 视频。It took quite a long time to finish.", "今天用 GPU 跑了 YouTube 视频。"),
        ("It is 3.5 km to St. Mary's church. Then we walk on for a while.", "It is 3.5 km to St. Mary's church."),
        ("Mr. J. K. Rowling wrote a book. Then she wrote another one.", "Mr. J. K. Rowling wrote a book."),
        ("See example.com/a.b?c=d for it. Then come back to this page.", "See example.com/a.b?c=d for it."),
        ("Version 1.2.3 is out now. It mends the faults of the last one.", "Version 1.2.3 is out now."),
        ("He waited... and waited. Then he left the house for good.", "He waited... and waited."),
        ("No. 5 is alive, they say. That was a film of the eighties.", "No. 5 is alive, they say."),
        ("He spoke of p. 5, e.g. this. That was all that he had to say.", "He spoke of p. 5, e.g. this."),
        (
            "“先走吧，我们明天再说。”他说完就走了，头也不回，谁也没有再说什么话，也没有人跟上去。",
            "“先走吧，我们明天再说。”",
        ),
        ('He said "Stop. Go home now." Then he left the house for good.', 'He said "Stop. Go home now."'),
        ("Er kommt z. B. morgen an. Dann gehen wir alle zusammen essen.", "Er kommt z. B. morgen an."),
    ],
)
def test_sentence_ends_are_told_from_other_marks(text: str, first: str) -> None:
    assert texts(text)[0] == first


def test_a_quote_is_divided_only_when_nothing_else_is_left() -> None:
    text = 'Then she said "Stop it. Go home." and he went. After that nothing more was heard of him.'
    assert texts(text, 60)[0] == 'Then she said "Stop it. Go home." and he went.'
    assert texts("She said (First thing. Second thing here. Third thing there.)", 45)[0] == (
        "She said (First thing. Second thing here."
    )


def test_quotes_left_open_do_not_swallow_the_rest() -> None:
    text = 'He said "this and left. Nobody came after him. That was the end of it all.'
    assert texts(text, 50) == ['He said "this and left. Nobody came after him.', "That was the end of it all."]


def test_without_sentences_clauses_are_taken_then_spaces_then_anything() -> None:
    assert texts("one two three four, five six seven eight nine ten")[0] == "one two three four,"
    assert texts("one two three four five six seven eight nine eleven")[0] == (
        "one two three four five six seven eight"
    )
    assert texts("a" * 50) == ["a" * 40, "a" * 10]


def test_a_hard_division_keeps_numbers_and_marks_whole() -> None:
    parts = texts("字" * 38 + "12345" + "字" * 20)
    assert parts[0] == "字" * 38
    assert texts("字" * 40 + "，" + "字" * 30)[0] == "字" * 39


def test_no_part_is_too_short_to_speak() -> None:
    text = "今天我们一起去公园里面散步，看到了很多很多好看的花和树木，一共看了三个小时，1次。"
    parts = texts(text, 40)
    assert all(spoken_length(part) >= SHORTEST_PART for part in parts)
    assert parts[-1] != "1次。"
    assert texts("OK.\n\nThen we go on with the rest of this text.", 60) == [
        "OK.\n\nThen we go on with the rest of this text."
    ]


def test_paragraphs_always_divide() -> None:
    assert split_text("The first one.\n\nThe second one.") == (
        Part("The first one.", 0.8),
        Part("The second one.", 0.0),
    )


def test_pauses_follow_the_mark() -> None:
    assert [part.pause_s for part in split_text("One is here, and two. " * 3, 25)] == [0.45, 0.45, 0.0]
    assert split_text("one two three four, five six seven", 20)[0].pause_s == 0.2
    assert split_text("one two three four five six seven", 20)[0].pause_s == 0.0


def test_a_numbered_line_keeps_its_number() -> None:
    assert texts("1. The first of the things.\n2. The second of the things.", 30) == [
        "1. The first of the things.",
        "2. The second of the things.",
    ]


@pytest.mark.parametrize("limit", [MIN_TEXT_LENGTH - 1, 0, -1, 30.0, True, "300"])
def test_a_limit_that_is_none_is_refused(limit: object) -> None:
    with pytest.raises(UsageError, match="max_text_length must be a whole number of at least 20"):
        split_text("hello", limit)  # type: ignore[arg-type]


PIECES = st.sampled_from(
    ["word", "你好", "。", ". ", ", ", "，", " ", "“", "”", '"', "(", ")", "3.5", "\n\n", "\n", "…", "?!", "Mr. ", "é",
     "A", "1", "；", "——", "\u0935\u093f", "🎉"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=120).map("".join), st.integers(MIN_TEXT_LENGTH, 80))
@settings(max_examples=300, deadline=None)
def test_nothing_is_lost_and_no_part_is_over_the_limit(text: str, limit: int) -> None:
    try:
        cleaned = clean_text(text)
    except BadText:
        return
    parts = split_text(cleaned, limit)
    assert without_blanks("".join(part.text for part in parts)) == without_blanks(cleaned)
    assert all(0 < len(part.text) <= limit for part in parts)
    assert all(part.text == part.text.strip() for part in parts)
    assert parts[-1].pause_s == 0.0


@given(st.lists(st.sampled_from(["word", "好的", "to", "a"]), min_size=4, max_size=80).map(" ".join))
@settings(max_examples=200, deadline=None)
def test_words_never_make_a_part_that_is_too_short(text: str) -> None:
    parts = split_text(text, 30)
    if spoken_length(text) >= 2 * SHORTEST_PART:
        assert all(spoken_length(part.text) >= SHORTEST_PART for part in parts)


@pytest.mark.parametrize("unit", ["a", "word ", "你好。", "“", "(a", "a. ", "!?", "1,", "\n\na", 'He said "no". '])
def test_a_hundred_thousand_characters_take_bounded_time(unit: str) -> None:
    text = (unit * 100_000)[:100_000] + " and an end"
    began = time.perf_counter()
    parts = split_text(clean_text(text), DEFAULT_MAX_TEXT_LENGTH)
    assert time.perf_counter() - began < 10
    assert max(len(part.text) for part in parts) <= DEFAULT_MAX_TEXT_LENGTH
