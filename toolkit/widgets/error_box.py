"""An error as a box: what happened, the rule that explains it, and what to do; never a traceback, never markup."""

from __future__ import annotations

from collections.abc import Callable

from toolkit.widgets.controls import Panel, PlainText, boxed
from toolkit.widgets.jobs import ErrorNote, JobFailed, note_of
from toolkit.widgets.languages import Texts, shared_texts

__all__ = ["ErrorBox"]


class ErrorBox(Panel):
    """Hidden until :meth:`show` is given an error; :meth:`clear` hides it again."""

    def __init__(self, texts: Texts | None = None) -> None:
        self.texts = texts or shared_texts()
        self.note: ErrorNote | None = None
        self.title = PlainText(colour="error", bold=True, role="alert")
        self.rule = PlainText(colour="dim")
        self.message = PlainText()
        self.fix = PlainText()
        self.commands = PlainText(mono=True)
        super().__init__((self.title, self.rule, self.message, self.fix, self.commands), layout=boxed("error"))
        self.add_class("qwen-audio-error")
        self.follow_language(self.texts, self._write)
        self._write()

    def show(self, error: BaseException | ErrorNote) -> None:
        """Show an error, ours or any other."""
        if isinstance(error, JobFailed):
            error = error.note
        self.note = error if isinstance(error, ErrorNote) else note_of(error, look_up=False)  # in a click
        self._write()

    def clear(self) -> None:
        """Hide the box."""
        self.note = None
        self._write()

    def guard(self, action: Callable[[], object]) -> bool:
        """Run what a click asks for; an error shows here instead of as a traceback. Returns whether it went well."""
        self.clear()
        try:
            action()
        except Exception as error:  # noqa: BLE001 - a click is the last stop: what comes here is shown with its fix
            self.show(error)
            return False
        return True

    def _write(self) -> None:
        note = self.note
        self.layout.display = "none" if note is None else ""
        if note is None:
            self.title.text = self.rule.text = self.message.text = self.fix.text = self.commands.text = ""
            return
        say = self.texts.say
        own = note.kind if self.texts.has(f"error.{note.kind}.title") else "QwenAudioError"
        title = note.title_zh if self.texts.language == "zh" else note.title
        self.title.text = title if note.rule else say(f"error.{own}.title")
        self.rule.text = say("error.rule", id=note.id)
        self.message.text = note.message
        steps = note.steps or (say(f"error.{own}.fix"),)
        self.fix.text = "\n".join([say("error.fix"), *(f"• {step}" for step in steps)])
        self.commands.text = "\n".join(note.commands)
