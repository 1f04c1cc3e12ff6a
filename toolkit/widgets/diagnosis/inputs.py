"""Where a person gives what there is: a pasted log, words, dropped files, a path, what is known of the machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ipywidgets import Button, HBox, Layout, Text, Textarea

from toolkit.errors import QwenAudioError
from toolkit.widgets.controls import Panel, PlainText, labelled
from toolkit.widgets.diagnosis.drop_zone import DropZone
from toolkit.widgets.diagnosis.given import Given, kind_of, told_of
from toolkit.widgets.error_box import ErrorBox
from toolkit.widgets.languages import Texts

__all__ = ["InputPanel"]


def _wide() -> Layout:
    return Layout(width="98%")


class InputPanel(Panel):
    """Fields and a drop zone; :meth:`given` reads them."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self._files = Given()
        self.log_field = labelled(Textarea(rows=6, layout=_wide()), texts, "diagnosis.log")
        self.words = labelled(Textarea(rows=2, layout=_wide()), texts, "diagnosis.words")
        self.path = labelled(Text(continuous_update=False, layout=_wide()), texts, "diagnosis.path")
        self.told = labelled(Text(layout=_wide()), texts, "diagnosis.told")
        self.spoken = labelled(Text(layout=_wide()), texts, "diagnosis.spoken")
        texts.follow(self.log_field, "diagnosis.log.hint", "placeholder")
        texts.follow(self.words, "diagnosis.words.hint", "placeholder")
        texts.follow(self.path, "diagnosis.path.hint", "placeholder")
        texts.follow(self.told, "diagnosis.told.hint", "placeholder")
        texts.follow(self.spoken, "diagnosis.spoken.hint", "placeholder")
        self.error_box = ErrorBox(texts)
        self.drop = DropZone("diagnosis.drop", self.take, self.error_box.show, texts)
        self.files = PlainText(role="status")
        self.clear_button = labelled(Button(), texts, "diagnosis.clear")
        self.clear_button.on_click(lambda _: self.clear())
        files = HBox((self.files, self.clear_button), layout=Layout(align_items="center", flex_flow="row wrap"))
        super().__init__(
            (self.words, self.log_field, self.drop, files, self.path, self.told, self.spoken, self.error_box),
            layout=Layout(grid_gap="4px"),
        )
        self.follow_language(texts, self._write)
        self._write()

    def given(self) -> Given:
        """What the fields hold and the files that have come. Raises UsageError for what cannot be used."""
        given = replace(
            self._files,
            log_text=self.log_field.value,
            words=self.words.value,
            told=told_of(self.told.value),
            spoken_text=self.spoken.value.strip(),
        )
        path = self.path.value.strip().strip("\"'")
        return given.with_path(Path(path)) if path else given

    def take(self, path: Path) -> None:
        """A file that was dropped or chosen; an error shows in the box."""

        def add() -> None:
            self._files = self._files.with_path(path)

        self.error_box.guard(add)
        self._write()

    def show(self, given: Given) -> None:
        """Fill the fields with what was given before; files that have gone since are left out."""
        self.log_field.value, self.words.value, self.spoken.value = given.log_text, given.words, given.spoken_text
        self.told.value = "; ".join(f"{name}={value}" for name, value in given.told.items())
        self.path.value = given.service
        files = Given()
        for name in (*given.logs, *given.audio, *([given.facts] if given.facts else ())):
            if Path(name).is_file():
                files = files.with_path(Path(name))
        self._files = files
        self._write()

    def clear(self) -> None:
        """Empty everything."""
        self._files = Given()
        self.drop.clear()
        for field in (self.log_field, self.words, self.path, self.told, self.spoken):
            field.value = ""
        self.error_box.clear()
        self._write()

    def _write(self) -> None:
        say = self.texts.say
        names = (*self._files.logs, *self._files.audio, *filter(None, (self._files.facts, self._files.service)))
        lines = [f"• {Path(name).name} ({self._kind(name)})" for name in names]
        self.files.text = "\n".join(lines) or say("diagnosis.no_files")

    def _kind(self, name: str) -> str:
        try:
            return self.texts.say(f"diagnosis.kind.{kind_of(Path(name))}")
        except QwenAudioError:
            return "?"
