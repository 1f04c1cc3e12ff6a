"""The seven steps on one page: a bar of buttons that unlock one another, the step itself, and the folder it goes to."""

from __future__ import annotations

from pathlib import Path

from ipywidgets import Button, HBox, Layout, Text, VBox

from toolkit.widgets.controls import Panel, PlainText, boxed, labelled
from toolkit.widgets.error_box import ErrorBox
from toolkit.widgets.languages import Texts, language_switch, shared_texts
from toolkit.widgets.setup.limits_step import LimitsStep
from toolkit.widgets.setup.machine_step import MachineStep
from toolkit.widgets.setup.model_step import ModelStep
from toolkit.widgets.setup.place_step import PlaceStep
from toolkit.widgets.setup.precision_step import PrecisionStep
from toolkit.widgets.setup.record import STEPS, state_file
from toolkit.widgets.setup.sentence_step import SentenceStep
from toolkit.widgets.setup.session import Session
from toolkit.widgets.setup.step import Step
from toolkit.widgets.setup.writing_step import WritingStep

__all__ = ["GuidedSetup", "guided_setup"]

_STEPS: tuple[type[Step], ...] = (
    MachineStep,
    PlaceStep,
    ModelStep,
    PrecisionStep,
    LimitsStep,
    SentenceStep,
    WritingStep,
)


def guided_setup(folder: str | Path = "my-voice", *, texts: Texts | None = None) -> GuidedSetup:
    """The setup, going on with what lies in ``folder``, where config.yaml and the state are kept.

    Opening it writes nothing and starts nothing.
    """
    return GuidedSetup(folder, texts=texts)


class GuidedSetup(Panel):
    """``steps`` are the panels by key, ``current`` is the key of the one shown; ``go_to`` is what the bar does."""

    def __init__(self, folder: str | Path = "my-voice", *, texts: Texts | None = None) -> None:
        self.texts = texts or shared_texts()
        self.session = Session(self.texts, Path(folder).expanduser())
        self.error_box = ErrorBox(self.texts)
        self.steps: dict[str, Step] = {kind.key: kind(self.session) for kind in _STEPS}
        self.current = ""
        self.folder = labelled(Text(str(folder), layout=Layout(width="28em")), self.texts, "setup.folder")
        self.open_button = labelled(Button(layout=Layout(width="auto")), self.texts, "setup.open")
        self.resumed = PlainText(colour="dim", role="status")
        self.buttons = {key: Button(layout=Layout(width="auto")) for key in STEPS}
        self.back_button = labelled(Button(), self.texts, "setup.back")
        self.next_button = labelled(Button(button_style="primary"), self.texts, "setup.next")
        self.panel = VBox(layout=boxed())
        super().__init__(
            (
                HBox((language_switch(self.texts),)),
                HBox((self.folder, self.open_button), layout=Layout(flex_flow="row wrap", align_items="center")),
                self.resumed,
                HBox([*self.buttons.values()], layout=Layout(flex_flow="row wrap")),
                self.error_box,
                self.panel,
                HBox((self.back_button, self.next_button)),
            )
        )
        self.add_class("qwen-audio-setup")
        for key, button in self.buttons.items():
            button.on_click(lambda _, key=key: self.go_to(key))
        self.open_button.on_click(lambda _: self.open_folder(str(self.folder.value)))
        self.back_button.on_click(lambda _: self._move(-1))
        self.next_button.on_click(lambda _: self._move(1))
        self.session.on_finish(lambda _: self._write())
        self.follow_language(self.texts, self._write)
        self.open_folder(folder)

    def open_folder(self, folder: str | Path) -> None:
        """Go on with what lies in a folder; where nothing does, begin there."""
        place = Path(folder).expanduser()
        if self.error_box.guard(lambda: self.session.open_folder(place)) or not self.current:
            self.go_to(self.session.record.next_step)

    def go_to(self, key: str) -> None:
        """Show a step; one that is locked is not shown."""
        if not self.session.record.is_open(key):
            return
        if self.current:
            self.steps[self.current].leave()
        self.current = key
        step = self.steps[key]
        self.panel.children = (step,)
        self._write()
        self.error_box.guard(step.enter)

    def close(self) -> None:
        """Take it off the page; files stay."""
        for step in self.steps.values():
            step.close()
        super().close()

    def _move(self, by: int) -> None:
        place = STEPS.index(self.current) + by
        if 0 <= place < len(STEPS):
            self.go_to(STEPS[place])

    def _write(self) -> None:
        record, say = self.session.record, self.texts.say
        for number, (key, button) in enumerate(self.buttons.items(), 1):
            mark = "✓" if record.is_done(key) else str(number)
            button.description = f"{mark} {say(f'setup.{key}.title', number=number).split(' ', 1)[-1]}"
            button.disabled = not record.is_open(key)
            button.button_style = "info" if key == self.current else ""
            button.tooltip = say("setup.locked") if button.disabled else ""
        self.back_button.disabled = self.current == STEPS[0]
        self.next_button.disabled = self.current == STEPS[-1] or not record.is_done(self.current)
        done = sum(record.is_done(key) for key in STEPS)
        path = state_file(self.session.folder)
        self.resumed.text = say("setup.state", done=done, count=len(STEPS), path=str(path)) if done else ""
