"""Documents as text: never wider than asked, whatever stands in them."""

from __future__ import annotations

import string
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.doctor.document import (
    Block,
    Bullets,
    Code,
    Detail,
    Document,
    Heading,
    Paragraph,
    StatusRow,
    StatusRows,
    Table,
    plain,
    width_of,
)
from toolkit.doctor.text import render_text, wrap

ESC = "\x1b"
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=120)
MIXED = st.text(alphabet=string.ascii_letters + " -/，。显卡没用上声音한국어😀\t\n", max_size=200)
TEXTS = st.one_of(ANY_TEXT, MIXED)
VERDICTS = (
    "ok",
    "warn",
    "fail",
    "crashed",
    "timed-out",
    "not-applicable",
    "not-checked",
    "99%",
    "solved",
    "not-solved",
)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    lines = st.lists(TEXTS, max_size=3).map(tuple)
    kind = draw(st.sampled_from(("heading", "paragraph", "bullets", "rows", "table")))
    if kind == "heading":
        return Heading(draw(TEXTS))
    if kind == "paragraph":
        return Paragraph(draw(TEXTS), dim=draw(st.booleans()))
    if kind == "bullets":
        return Bullets(draw(lines))
    if kind == "rows":
        details = tuple(Detail(draw(st.sampled_from(("why", "needed", ""))), text) for text in draw(lines))
        row = StatusRow(draw(st.sampled_from(VERDICTS)), draw(TEXTS), draw(TEXTS), details)
        return StatusRows((row,), stacked=draw(st.booleans()))
    count = draw(st.integers(1, 4))
    cells = st.lists(TEXTS, min_size=count, max_size=count).map(tuple)
    rows = tuple(draw(st.lists(cells, max_size=3)))
    return Table(draw(cells), rows, right=(0,) if draw(st.booleans()) else ())


DOCUMENTS = st.builds(Document, TEXTS, TEXTS, st.lists(blocks(), max_size=4).map(tuple))


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS, st.sampled_from((60, 80, 100)))
def test_no_line_is_wider_than_asked(document: Document, columns: int) -> None:
    text = render_text(document, columns=columns)
    assert text.endswith("\n")
    assert all(width_of(line) <= columns for line in text.split("\n"))


@settings(max_examples=100, deadline=None)
@given(DOCUMENTS)
def test_colour_adds_nothing_but_colour(document: Document) -> None:
    import re

    styled = render_text(document, styled=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", styled) == render_text(document)


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_plain_text_holds_nothing_that_acts_on_a_terminal(text: str) -> None:
    shown = plain(text)
    assert not any(ord(char) < 32 and char not in "\t\n" for char in shown)
    assert not any(char in shown for char in "\x7f\x9b\u202e\u2066\u200b\u2028\ufeff\u00ad")
    shown.encode("utf-8")
    assert plain(shown) == shown


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.integers(2, 90))
def test_wrapping_loses_no_character_but_white_space(text: str, columns: int) -> None:
    def bare(value: str) -> str:
        return "".join(value.split())

    assert bare("".join(wrap(text, columns))) == bare(plain(text))
    assert all(width_of(line) <= columns for line in wrap(text, columns))


@pytest.mark.parametrize(
    ("text", "width"),
    [("abc", 3), ("显卡", 4), ("，", 2), ("한국", 4), ("é", 1), ("ｱ", 1), ("😀", 2), ("", 0)],
)
def test_east_asian_characters_take_two_columns(text: str, width: int) -> None:
    assert width_of(text) == width


def test_chinese_breaks_anywhere_and_keeps_its_punctuation() -> None:
    assert wrap("生成语音有杂音，断断续续。", 14) == ["生成语音有杂", "音，断断续续。"]
    assert wrap("显卡 RTX 4090 没用上", 9) == ["显卡 RTX", "4090 没用", "上"]


def test_a_word_that_is_too_long_is_cut() -> None:
    assert wrap("a " + "x" * 12, 5) == ["a", "xxxxx", "xxxxx", "xx"]


def test_code_is_never_wrapped() -> None:
    line = "python -m pip install " + "torch " * 30
    text = render_text(
        Document(
            "t", "s", (Code((line,)), StatusRows((StatusRow("fail", "a", "b", (Detail("", f"$ {line}", code=True),)),)))
        )
    )
    assert f"    {line}".rstrip() in text.split("\n")
    assert f"          {'':8}$ {line}".rstrip() in text.split("\n")


def test_the_exact_text_of_every_block() -> None:
    document = Document(
        "Title",
        "subtitle",
        (
            StatusRows(
                (
                    StatusRow("ok", "First", "found"),
                    StatusRow("fail", "Second", "found " * 12, (Detail("why", "because"), Detail("", "- a step " * 9))),
                    StatusRow("not-checked", "A title that is far too long", "below"),
                )
            ),
            StatusRows((StatusRow("97%", "rule-id", "what it is"),), stacked=True),
            Heading("A heading"),
            Paragraph("A paragraph\nin two lines."),
            Bullets(("one", "two " * 25)),
            Code(("$ command",)),
            Table(("name", "count"), (("apples", "3"), ("梨", "12")), right=(1,)),
        ),
    )
    expected = f"""
Title{" " * 67}subtitle

  ok      First                found
  FAIL    Second               found found found found found found found found
                               found found found found
          why     because
                  - a step - a step - a step - a step - a step - a step - a step
                    - a step - a step
  unknown A title that is far too long
          below

  97%     rule-id
          what it is

A heading

A paragraph
in two lines.

- one
- two two two two two two two two two two two two two two two two two two two
  two two two two two two

    $ command

name    count
------  -----
apples      3
梨         12
"""
    assert render_text(document) == expected.lstrip("\n")


@pytest.mark.parametrize(
    "make",
    [
        lambda text: Heading(text),
        lambda text: Paragraph(text),
        lambda text: Bullets((text,)),
        lambda text: Code((text,)),
        lambda text: StatusRows((StatusRow("ok", text, text, (Detail("for", text), Detail("", text, code=True))),)),
        lambda text: Table((text,), ((text,),)),
    ],
)
def test_hostile_text_is_shown_and_does_not_act(make: Callable[[str], Block]) -> None:
    hostile = f"{ESC}[2J{ESC}]0;title\x07 \u202egnp.exe\u2066 \x9b31m\x08\x7f"
    shown = render_text(Document(hostile, hostile, (make(hostile),)))
    assert not any(char in shown for char in f"{ESC}\x07\u202e\u2066\x9b\x08\x7f")
    assert "\\u001b[2J" in shown
    assert "\\u202e" in shown
