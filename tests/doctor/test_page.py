"""The page: one file, nothing fetched, nothing run, whatever a log contains."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from test_document_text import DOCUMENTS

from toolkit.doctor.document import (
    Bullets,
    Code,
    Detail,
    Document,
    Heading,
    Paragraph,
    StatusRow,
    StatusRows,
    Table,
)
from toolkit.doctor.page import render_html

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>'\"><svg/onload=alert(1)>&amp;\x1b[31m\u202e\u2066"
    "</td></table><style>*{display:none}</style>javascript:alert(1)"
)
VOID = {"meta", "br"}


class Page(HTMLParser):
    """Tags that are opened and closed in order, attributes by tag, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.shown: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.shown.append(data)


def everywhere(text: str) -> Document:
    row = StatusRow("fail", text, text, (Detail("for", text), Detail("", text, code=True)))
    return Document(
        text,
        text,
        (
            Heading(text),
            Paragraph(text, dim=True),
            Bullets((text,)),
            Code((text, text)),
            StatusRows((row,)),
            StatusRows((row,), stacked=True),
            StatusRows((StatusRow(text, text, text),)),
            Table((text, text), ((text, text),), right=(1,)),
        ),
    )


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS)
def test_every_page_is_well_formed_and_fetches_nothing(document: Document) -> None:
    page = Page(render_html(document))
    assert page.open == []
    assert set(page.tags) <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "ul", "li", "pre", "code", "table", "thead",
        "tbody", "tr", "td", "th", "dl", "dt", "dd", "strong", "br",
    }  # fmt: skip
    assert {name for _, name, _ in page.attributes} <= {"lang", "charset", "http-equiv", "content", "name", "class"}


def test_hostile_text_becomes_text() -> None:
    html = render_html(everywhere(HOSTILE))
    page = Page(html)
    assert page.open == []
    assert "script" not in page.tags
    assert "svg" not in page.tags
    assert "img" not in page.tags
    assert page.tags.count("style") == 1
    assert not any(char in html for char in "\x1b\u202e\u2066")
    assert "<script>alert(1)</script>" in "".join(page.shown)
    assert "\\u202e" in html


def test_a_verdict_from_a_stranger_is_no_class_name() -> None:
    html = render_html(
        Document("t", "s", (StatusRows((StatusRow('x" onclick="y', "a", "b"), StatusRow("99%", "a", "b"))),))
    )
    assert re.findall(r'class="verdict ([^"]*)"', html) == ["share", "share"]


def test_the_page_forbids_scripts_and_fetches() -> None:
    html = render_html(everywhere("text"))
    assert unescape(html).count("default-src 'none'; style-src 'unsafe-inline'") == 1
    assert not re.search(r"https?://|@import|url\(|<link|<script|\bsrc=|\bhref=", html)


def test_the_page_has_light_and_dark_and_narrow_forms() -> None:
    html = render_html(everywhere("text"))
    for needed in ("color-scheme:light dark", "prefers-color-scheme:dark", "max-width:40rem", "width=device-width"):
        assert needed in html


@pytest.mark.parametrize("text", ["生成语音有杂音", "line one\nline two", "a < b && c > d", "half \ud800 a pair"])
def test_text_arrives_as_it_was(text: str) -> None:
    html = render_html(Document("t", "s", (Paragraph(text),)))
    html.encode("utf-8")
    shown = "".join(Page(html.replace("<br>", "\n")).shown)
    assert text.replace("\ud800", "\\ud800") in shown
