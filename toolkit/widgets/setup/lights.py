"""The doctor's rows as lights: verdict, what was found, and on request the reason, the fix and a second look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ipywidgets import Button, HBox, Layout, ToggleButton, VBox

from toolkit.widgets.controls import Panel, PlainText, boxed, close_parts, labelled
from toolkit.widgets.languages import Texts

__all__ = ["Lights"]

_COLOURS = {"ok": "ok", "warn": "warn", "fail": "error", "crashed": "error", "timed-out": "error"}
_QUIET = ("not-applicable", "not-checked")


class Lights(Panel):
    """Rows of a report; those that do not apply stay folded away until they are asked for.

    ``on_again`` is given the id of the row whose "check again" was pressed.
    """

    def __init__(self, texts: Texts, on_again: Callable[[str], object]) -> None:
        self.texts = texts
        self._on_again = on_again
        self._report: Mapping[str, Any] | None = None
        self.tier = PlainText(bold=True)
        self.rows = VBox()
        self.others = labelled(ToggleButton(), texts, "setup.lights.others")
        self.other_rows = VBox(layout=Layout(display="none"))
        super().__init__((self.tier, self.rows, self.others, self.other_rows), layout=Layout(display="none"))
        self.others.observe(self._fold, "value")
        self.follow_language(texts, self._write)

    def show(self, report: Mapping[str, Any]) -> None:
        """Show a report of :func:`toolkit.widgets.setup.looking.look`."""
        self._report = report
        self._write()

    def _fold(self, change: object) -> None:
        self.other_rows.layout.display = "" if self.others.value else "none"

    def _write(self) -> None:
        report = self._report
        if report is None:
            return
        self.layout.display = ""
        self.tier.text = report["tier"]
        shown = [row for row in report["rows"] if row["verdict"] not in _QUIET]
        quiet = [row for row in report["rows"] if row["verdict"] in _QUIET]
        old = (*self.rows.children, *self.other_rows.children)
        self.rows.children = [*(self._row(row) for row in shown), *(self._row(row, False) for row in report["also"])]
        self.other_rows.children = [self._row(row) for row in quiet]
        self.others.layout.display = "" if quiet else "none"
        for light in old:
            close_parts(light)
            light.close()

    def _row(self, row: Mapping[str, Any], can_repeat: bool = True) -> VBox:
        say, verdict = self.texts.say, row["verdict"]
        colour = _COLOURS.get(verdict, "dim")
        light = PlainText(f"● {say(f'setup.verdict.{verdict}')}", colour=colour, bold=True, layout=_wide("9em"))
        details = VBox(
            [PlainText(_detail(say, *detail), mono=detail[2]) for detail in row["details"]],
            layout=Layout(padding="0 0 0 9em", display="none"),
        )
        parts = [
            light,
            PlainText(row["title"], bold=True, layout=_wide("12em")),
            PlainText(row["found"], layout=Layout(flex="1 1 18em")),
        ]
        if row["details"]:
            more = ToggleButton(
                description=say("setup.lights.why"), value=colour in ("warn", "error"), layout=Layout(width="auto")
            )
            more.tooltip = say("setup.lights.why_tip", title=row["title"])
            unfold = partial(_unfold, details, more)
            more.observe(unfold, "value")
            unfold(None)
            parts.append(more)
        if can_repeat:
            again = Button(description=say("setup.lights.again"), layout=Layout(width="auto"))
            again.tooltip = say("setup.lights.again_tip", title=row["title"])
            again.on_click(lambda _: self._on_again(row["id"]))
            parts.append(again)
        line = HBox(parts, layout=Layout(flex_flow="row wrap", align_items="center"))
        return VBox((line, details), layout=boxed(colour if colour in ("warn", "error") else "border"))


def _unfold(details: VBox, more: ToggleButton, change: object) -> None:
    details.layout.display = "" if more.value else "none"


def _detail(say: Callable[..., str], label: str, text: str, code: bool) -> str:
    return f"{say(f'setup.detail.{label}')}: {text}" if label else text


def _wide(width: str) -> Layout:
    return Layout(flex=f"0 0 {width}")
