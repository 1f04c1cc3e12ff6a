"""What every step of the setup has: a heading, a sentence that says what it is for, and its own controls."""

from __future__ import annotations

from typing import ClassVar

from ipywidgets import DOMWidget

from toolkit.widgets.controls import Panel, PlainText
from toolkit.widgets.error_box import ErrorBox
from toolkit.widgets.setup.record import STEPS
from toolkit.widgets.setup.session import Session

__all__ = ["Step"]


class Step(Panel):
    """A step's panel. Subclasses set ``key`` and give their controls with :meth:`show_controls`."""

    key: ClassVar[str] = ""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.texts = session.texts
        self.heading = PlainText(bold=True, role="heading")
        self.intro = PlainText(colour="dim")
        self.error_box = ErrorBox(self.texts)
        super().__init__()
        self.texts.follow(self.heading, f"setup.{self.key}.title", "text", number=STEPS.index(self.key) + 1)
        self.texts.follow(self.intro, f"setup.{self.key}.intro", "text")
        self.follow_language(self.texts, self.write)

    def show_controls(self, *controls: DOMWidget) -> None:
        """Put the step's own controls between its heading and its error box."""
        self.children = (self.heading, self.intro, *controls, self.error_box)

    @property
    def is_done(self) -> bool:
        """Whether this step and all before it have an answer."""
        return self.session.record.is_done(self.key)

    def enter(self) -> None:
        """Called when the step is shown: take over what other steps have left."""

    def leave(self) -> None:
        """Called when another step is shown."""

    def write(self) -> None:
        """Say again what the step says by itself; called when the language changes."""

    def close(self) -> None:
        """Take it off the page."""
        self.leave()
        super().close()
