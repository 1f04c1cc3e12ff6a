"""The cure of a cause: its steps, commands to copy, and a change of the service's settings with diff and backup."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ipywidgets import Button, DOMWidget, HBox, Layout, VBox

from toolkit.widgets.controls import Panel, PlainText, boxed, labelled
from toolkit.widgets.diagnosis.config_change import ConfigChange, change_for
from toolkit.widgets.diagnosis.copy_button import CopyButton
from toolkit.widgets.diagnosis.findings import title_of
from toolkit.widgets.diagnosis.refilling import refill
from toolkit.widgets.error_box import ErrorBox
from toolkit.widgets.languages import Texts

__all__ = ["FixPanel"]


class FixPanel(Panel):
    """All cures of one finding. ``on_applied`` is called when a file was changed or put back."""

    def __init__(self, texts: Texts, on_applied: Callable[[], None]) -> None:
        self.texts = texts
        self.change: ConfigChange | None = None
        self.applied: ConfigChange | None = None
        self._page: Mapping[str, Any] | None = None
        self._place = 0
        self._asking = False
        self._told = ""
        self._on_applied = on_applied
        self.box = VBox()
        self.error_box = ErrorBox(texts)
        self.apply_button = labelled(Button(button_style="warning"), texts, "diagnosis.apply")
        self.confirm_button = labelled(Button(button_style="danger"), texts, "diagnosis.apply.yes")
        self.keep_button = labelled(Button(), texts, "diagnosis.apply.no")
        self.undo_button = labelled(Button(), texts, "diagnosis.undo")
        self.apply_button.on_click(lambda _: self._ask(True))
        self.keep_button.on_click(lambda _: self._ask(False))
        self.confirm_button.on_click(lambda _: self.apply())
        self.undo_button.on_click(lambda _: self.undo())
        for button in (self.apply_button, self.confirm_button, self.keep_button, self.undo_button):
            button.layout.width = "auto"
        self.diff = PlainText(mono=True)
        self.warning = PlainText(colour="warn", role="alert")
        self.status = PlainText(colour="ok", role="status")
        buttons = HBox((self.apply_button, self.confirm_button, self.keep_button, self.undo_button))
        self.change_head = PlainText(bold=True)
        self.change_box = VBox((self.change_head, self.diff, self.warning, buttons, self.status), layout=boxed("warn"))
        super().__init__((self.box, self.change_box, self.error_box), layout=Layout(grid_gap="4px"))
        self.follow_language(texts, self._draw)
        self._draw()

    def show(self, page: Mapping[str, Any] | None, place: int = 0, service: str = "") -> None:
        """The cure of one finding of a page of :func:`find_cause`; ``service`` is the folder it may change."""
        self._page, self._place, self._asking, self._told = page, place, False, ""
        self.change = self.applied = None
        self.error_box.clear()
        if page is not None and service:
            rule = page["saved"]["findings"][place]["rule"]

            def look() -> None:
                self.change = change_for(rule, service)

            self.error_box.guard(look)
        self._draw()

    @property
    def commands(self) -> list[str]:
        """What the copy buttons copy, one text each."""
        return [one.text for one in _copies(self.box)]

    def apply(self) -> bool:
        """Write the change, after it was confirmed. Returns whether it went well."""
        change = self.change
        if change is None:
            return False

        def write() -> None:
            backup = change.apply()
            self.applied, self.change = change, None
            self._told = self.texts.say("diagnosis.applied", file=change.path.name, backup=backup.name)

        self._asking = False
        done = self.error_box.guard(write)
        self._draw()
        if done:
            self._on_applied()
        return done

    def undo(self) -> bool:
        """Put back what was there before."""
        change = self.applied
        if change is None:
            return False

        def write() -> None:
            change.undo()
            self.applied, self.change = None, change
            self._told = self.texts.say("diagnosis.undone", file=change.path.name)

        done = self.error_box.guard(write)
        self._draw()
        if done:
            self._on_applied()
        return done

    def _ask(self, asking: bool) -> None:
        self._asking = asking
        self._draw()

    def _draw(self) -> None:
        self._draw_change()
        page, say = self._page, self.texts.say
        if page is None:
            refill(self.box, ())
            return
        finding, shown = page["saved"]["findings"][self._place], page["shown"][self._place]
        title = title_of(page, self._place, self.texts.language)
        parts: list[DOMWidget] = [PlainText(say("diagnosis.fix_of", title=title), bold=True, role="heading")]
        for fix, commands in zip(finding["fixes"], shown["commands"], strict=True):
            parts.append(self._fix(fix, commands))
        verify = [PlainText(say("diagnosis.verify"), bold=True), PlainText(finding["verify"]["text"])]
        parts.append(VBox((*verify, *self._code(shown["verify_commands"]))))
        if finding["wrong_advice"]:
            lines = [f'• "{one["claim"]}" {one["truth"]}' for one in finding["wrong_advice"]]
            parts.append(PlainText("\n".join([say("diagnosis.wrong_advice"), *lines]), colour="dim"))
        refill(self.box, parts)

    def _fix(self, fix: Mapping[str, Any], commands: list[str]) -> VBox:
        label = self.texts.say(f"diagnosis.label.{fix['label']}")
        steps = "\n".join(f"• {step}" for step in fix["steps"])
        parts: list[DOMWidget] = [PlainText(f"{fix['title']} ({label})", bold=True)]
        if steps:
            parts.append(PlainText(steps))
        if commands:
            parts += self._code(commands)
        else:
            parts.append(CopyButton("\n".join((fix["title"], steps)), self.texts))
        return VBox(parts, layout=boxed())

    def _code(self, commands: list[str]) -> list[DOMWidget]:
        text = "\n".join(commands)
        return [PlainText(text, mono=True), CopyButton(text, self.texts)] if text else []

    def _draw_change(self) -> None:
        change = self.change or self.applied
        self.change_box.layout.display = "none" if change is None else ""
        if change is None:
            return
        say = self.texts.say
        self.change_head.text = say("diagnosis.change", file=change.path.name, keys=", ".join(change.keys))
        self.diff.text = change.diff
        asking = self._asking and self.change is not None
        lines = [say("diagnosis.confirm", file=str(change.path))] if asking else []
        if asking and change.opens:
            lines.append(say("diagnosis.opens"))
        self.warning.text = "\n".join(lines)
        self.status.text = self._told
        for button, is_shown in (
            (self.apply_button, self.change is not None and not asking),
            (self.confirm_button, asking),
            (self.keep_button, asking),
            (self.undo_button, self.applied is not None),
        ):
            button.layout.display = "" if is_shown else "none"


def _copies(box: DOMWidget) -> list[CopyButton]:
    found: list[CopyButton] = []
    for child in getattr(box, "children", ()):
        found += [child] if isinstance(child, CopyButton) else _copies(child)
    return found
