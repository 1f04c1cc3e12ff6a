"""Small parts that every notebook uses: text that stays text, labelled controls, and colours of the reader's theme."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any, TypeVar

from ipywidgets import HTML, DOMWidget, Layout, VBox
from traitlets import Unicode

from toolkit.widgets.languages import Texts

__all__ = ["COLOURS", "Panel", "PlainText", "boxed", "close_parts", "labelled"]

W = TypeVar("W", bound=DOMWidget)

COLOURS = {
    "border": "var(--jp-border-color1, #bdbdbd)",
    "error": "var(--jp-error-color1, #d32f2f)",
    "warn": "var(--jp-warn-color1, #f57c00)",
    "ok": "var(--jp-success-color1, #388e3c)",
    "accent": "var(--jp-brand-color1, #1976d2)",
    "text": "var(--jp-ui-font-color1, inherit)",
    "dim": "var(--jp-ui-font-color2, inherit)",
}
"""JupyterLab's own variables, so that light and dark themes both fit; what follows is for front ends without them."""


class PlainText(HTML):  # type: ignore[misc]
    """Text shown as it is: no markup, no formulas, lines kept. Use it for whatever a user, a log or a file says.

    ``colour`` is a name of :data:`COLOURS`; ``mono`` shows it like a terminal; ``role`` tells a screen reader what it
    is (``status``, ``alert``, ``heading``).
    """

    text = Unicode("")

    def __init__(
        self,
        text: str = "",
        *,
        colour: str = "text",
        bold: bool = False,
        mono: bool = False,
        role: str = "",
        **traits: Any,
    ) -> None:
        family = "; font-family: var(--jp-code-font-family, monospace)" if mono else ""
        weight = "; font-weight: 600" if bold else ""
        self._style = f"white-space: pre-wrap; overflow-wrap: anywhere; color: {COLOURS[colour]}{family}{weight}"
        self._role = f' role="{html.escape(role)}"' if role else ""
        super().__init__(**traits)
        self.observe(self._show, "text")
        self.text = text

    def _show(self, change: object) -> None:
        # The classes keep MathJax away: "$5 and $6" is no formula.
        opening = f'<div class="tex2jax_ignore mathjax_ignore"{self._role} style="{self._style}">'
        self.value = f"{opening}{html.escape(self.text)}</div>"


def labelled(widget: W, texts: Texts, key: str, *, tooltip: str | None = None) -> W:
    """Give a control its label, and a tip where there is one, in the language of the texts.

    The label is what a screen reader says; it is wide enough for both languages.
    """
    texts.follow(widget, key)
    if tooltip is not None:
        texts.follow(widget, tooltip, "tooltip")
    if hasattr(getattr(widget, "style", None), "description_width"):
        widget.style.description_width = "initial"
    return widget


def close_parts(widget: DOMWidget) -> None:
    """Close what a control is made of, its style and layout included: ipywidgets keeps all that is not closed."""
    for part in (*getattr(widget, "children", ()), getattr(widget, "style", None), widget.layout):
        if isinstance(part, DOMWidget):
            part.close()
            close_parts(part)
        elif part is not None:
            part.close()


class Panel(VBox):  # type: ignore[misc]
    """Controls that are written anew when the language changes, and that go off the page with all they are made of."""

    _unfollow: Callable[[], object] = staticmethod(lambda: None)

    def follow_language(self, texts: Texts, write: Callable[[], None]) -> None:
        """Call ``write`` after each change of the language, until the panel is closed."""
        self._unfollow = texts.on_switch(write)

    def close(self) -> None:
        """Take it off the page; what runs goes on."""
        self._unfollow()
        close_parts(self)
        super().close()


def boxed(colour: str = "border") -> Layout:
    """The frame of a box in a colour of :data:`COLOURS`."""
    return Layout(border=f"1px solid {COLOURS[colour]}", padding="8px 12px", margin="4px 0", width="auto")
