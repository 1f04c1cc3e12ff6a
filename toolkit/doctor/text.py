"""Documents as terminal text: 80 columns, readable without colour and when piped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from toolkit.doctor.document import (
    Block,
    Bullets,
    Code,
    Document,
    Heading,
    Paragraph,
    StatusRow,
    StatusRows,
    Table,
    plain,
    width_of,
)

__all__ = ["COLUMNS", "render_text", "wrap"]

COLUMNS = 80
_LABELS = {
    "fail": "FAIL", "crashed": "CRASH", "timed-out": "TIMEOUT", "not-applicable": "n/a", "not-checked": "unknown",
    "not-solved": "STILL",
}  # fmt: skip
_STYLES = {
    "ok": "32", "solved": "32", "warn": "33", "unclear": "33", "fail": "31;1", "not-solved": "31;1", "crashed": "31;1",
    "timed-out": "31;1",
}  # fmt: skip
_VERDICT_COLUMNS = 8
_TITLE_COLUMNS = 21
_LABEL_COLUMNS = 8
_LEAST_CELL_COLUMNS = 8
# Chinese, Japanese and Korean may break anywhere, so each of their characters is a unit; else words and spaces are.
_WIDE = r"\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef"
# Closing punctuation stays with what it closes.
_UNIT = re.compile(rf"[{_WIDE}][，。、；：？！）】》」』]*|[^\s{_WIDE}]+|\s+")


def render_text(document: Document, *, columns: int = COLUMNS, styled: bool = False) -> str:
    """Render with a final newline; no line but those of code is wider than ``columns`` (at least 40).

    ``styled`` adds ANSI colours; the text itself stays the same.
    """
    title, subtitle = _one_line(document.title), _one_line(document.subtitle)
    gap = columns - width_of(title) - width_of(subtitle)
    if gap >= 2:
        lines = [title + " " * gap + subtitle]
    else:
        lines = [*wrap(title, columns), *wrap(subtitle, columns)]
    for block in document.blocks:
        lines.append("")
        lines.extend(_block(block, columns, styled))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def wrap(text: str, columns: int) -> list[str]:
    """Wrap to a width in terminal columns; a newline in the text starts a new line."""
    lines: list[str] = []
    for paragraph in _safe(text).split("\n"):
        line = ""
        for unit in _UNIT.findall(paragraph):
            if line.strip() and width_of(line) + width_of(unit) > columns:
                lines.append(line.rstrip())
                line = "" if unit.isspace() else unit
            else:
                line += unit
            while width_of(line) > columns and line.strip():
                head = _head(line, columns)
                lines.append(head)
                line = line[len(head) :]
        lines.append(line.rstrip())
    return lines


def _head(text: str, columns: int) -> str:
    """As many characters of the start as fit, at least one."""
    taken = 1
    width = width_of(text[0])
    while taken < len(text) and (width := width + width_of(text[taken])) <= columns:
        taken += 1
    return text[:taken]


def _safe(text: str) -> str:
    return plain(text).replace("\t", "    ")


def _one_line(text: str) -> str:
    return _safe(text).replace("\n", " ")


def _block(block: Block, columns: int, styled: bool) -> Iterator[str]:
    match block:
        case Heading(text):
            for line in wrap(_one_line(text), columns):
                yield _style(line, "1", styled)
        case Paragraph(text, dim):
            for line in wrap(text, columns):
                yield _style(line, "2", styled and dim)
        case Bullets(items):
            for item in items:
                yield from _hanging("", f"- {item}", columns)
        case Code(lines):
            yield from (f"    {_one_line(line)}" for line in lines)
        case StatusRows(rows, stacked):
            for row in rows:
                yield from _status(row, columns, styled, stacked)
        case Table():
            yield from _table(block, columns)


def _status(row: StatusRow, columns: int, styled: bool, stacked: bool) -> Iterator[str]:
    label = _LABELS.get(row.verdict, row.verdict)
    title = _one_line(row.title)
    left = " " * (_VERDICT_COLUMNS + 2)
    shown = "  " + _style(label, _STYLES.get(row.verdict, "2"), styled) + " " * max(1, _VERDICT_COLUMNS - len(label))
    if stacked or width_of(title) >= _TITLE_COLUMNS:
        head = wrap(title, columns - len(left))
        yield shown + head[0]
        yield from (left + line for line in (*head[1:], *wrap(row.text, columns - len(left))))
    else:
        body = wrap(row.text, columns - len(left) - _TITLE_COLUMNS)
        yield f"{shown}{title}{' ' * (_TITLE_COLUMNS - width_of(title))}{body[0]}"
        yield from (left + " " * _TITLE_COLUMNS + line for line in body[1:])
    for detail in row.details:
        first = f"{left}{detail.label:<{_LABEL_COLUMNS}}"
        if detail.code:
            yield first + _one_line(detail.text)
        else:
            yield from _hanging(first, detail.text, columns)


def _hanging(first: str, text: str, columns: int) -> Iterator[str]:
    if text.startswith("- "):
        first, text = first + "- ", text[2:]
    indent = " " * len(first)
    for index, line in enumerate(wrap(text, columns - len(first))):
        yield (first if index == 0 else indent) + line


def _table(table: Table, columns: int) -> Iterator[str]:
    rows = [table.columns, *table.rows]
    widths = _column_widths(
        [max(width_of(_one_line(row[place])) for row in rows) for place in range(len(rows[0]))], columns
    )
    yield from _table_row(table.columns, widths, table.right)
    yield "  ".join("-" * width for width in widths)
    for row in table.rows:
        yield from _table_row(row, widths, table.right)


def _column_widths(wanted: list[int], columns: int) -> list[int]:
    """The last column gives way first, then whichever is widest; all cells wrap."""
    widths = list(wanted)
    room = columns - 2 * (len(widths) - 1)
    widths[-1] = min(widths[-1], max(2 * _LEAST_CELL_COLUMNS, room - sum(widths[:-1])))
    while sum(widths) > room and max(widths) > _LEAST_CELL_COLUMNS:
        widths[widths.index(max(widths))] -= 1
    return widths


def _table_row(cells: Iterable[str], widths: list[int], right: tuple[int, ...]) -> Iterator[str]:
    wrapped = [wrap(_one_line(cell), width) for cell, width in zip(cells, widths, strict=True)]
    for number in range(max(len(lines) for lines in wrapped)):
        parts = [lines[number] if number < len(lines) else "" for lines in wrapped]
        yield "  ".join(
            _pad(part, width, place in right) for place, (part, width) in enumerate(zip(parts, widths, strict=True))
        )


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * max(0, width - width_of(text))
    return space + text if right else text + space


def _style(text: str, code: str, styled: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if styled and text else text
