"""A table whose cells stay text."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from ipywidgets import HTML

from toolkit.widgets.controls import COLOURS

__all__ = ["PlainTable"]


class PlainTable(HTML):  # type: ignore[misc]
    """Rows of text under headings, shown as they are: no markup, no formulas. ``cells`` is what is shown.

    The first column names the rows for a screen reader; ``caption`` stands above.
    """

    def __init__(self, **traits: Any) -> None:
        self.columns: tuple[str, ...] = ()
        self.cells: tuple[tuple[str, ...], ...] = ()
        super().__init__(**traits)

    def show(self, columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> None:
        """Show these rows in place of what was there; without rows nothing is shown."""
        self.columns, self.cells = tuple(columns), tuple(tuple(row) for row in rows)
        self.value = _table(self.columns, self.cells, caption) if self.cells else ""


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    line = f"border-bottom: 1px solid {COLOURS['border']}; padding: 2px 10px 2px 0; text-align: left; "
    line += "vertical-align: top; overflow-wrap: anywhere; white-space: pre-wrap"
    head = "".join(f'<th scope="col" style="{line}; font-weight: 600">{html.escape(name)}</th>' for name in columns)
    body = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row" style="{line}; font-weight: 400">{html.escape(cell)}</th>'
            if at == 0
            else f'<td style="{line}">{html.escape(cell)}</td>'
            for at, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    told = f'<caption style="text-align: left; color: {COLOURS["dim"]}">{html.escape(caption)}</caption>'
    style = f"border-collapse: collapse; color: {COLOURS['text']}; line-height: 1.5"
    return (
        f'<table class="tex2jax_ignore mathjax_ignore" style="{style}">{told if caption else ""}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
