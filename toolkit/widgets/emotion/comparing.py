"""The clips over one another on one scale, and the table of their measures."""

from __future__ import annotations

from typing import Any

from ipywidgets import Button, Checkbox, HBox, Image, Layout

from toolkit.widgets.controls import Panel, PlainText, labelled
from toolkit.widgets.emotion.errands import Errands
from toolkit.widgets.emotion.speaking import SpeakPanel
from toolkit.widgets.emotion.table import PlainTable
from toolkit.widgets.emotion.tasks import draw
from toolkit.widgets.error_box import ErrorBox
from toolkit.widgets.languages import Texts

__all__ = ["ComparePanel"]


class ComparePanel(Panel):
    """``image`` is the picture, ``table`` the measures; made beside the kernel whenever the clips have changed."""

    def __init__(self, texts: Texts, errands: Errands, speaking: SpeakPanel) -> None:
        self.texts = texts
        self.rows: list[dict[str, Any]] = []
        self._errands = errands
        self._speaking = speaking
        self._letters: list[str] = []
        self.always = labelled(Checkbox(value=True, indent=False), texts, "emotion.draw.always")
        self.draw_button = labelled(Button(), texts, "emotion.draw")
        self.status = PlainText(colour="dim", role="status")
        self.error_box = ErrorBox(texts)
        self.image = Image(format="png", layout=Layout(max_width="100%", width="880px", display="none"))
        self.told = PlainText(colour="dim")  # a tooltip would keep the front end from showing the picture
        self.table = PlainTable()
        row = Layout(flex_flow="row wrap", align_items="center")
        top = HBox((self.draw_button, self.always, self.status), layout=row)
        super().__init__((top, self.error_box, self.told, self.image, self.table))
        self.draw_button.on_click(lambda _: self.draw())
        speaking.on_clips(lambda: self.draw() if self.always.value else None)
        self.follow_language(texts, self._write)
        self._write()

    def draw(self) -> None:
        """What Compare does: draw and measure the clips that are there."""
        clips = [clip for clip in self._speaking.clips if clip.player.samples.size]
        self.error_box.clear()
        if not clips:
            self._show({"png": b"", "rows": [], "drawn": []}, [])
            return
        letters = [clip.letter for clip in clips]
        self.status.text = self.texts.say("emotion.at.draw")
        arguments = {"clips": [clip.as_argument() for clip in clips]}
        self._errands.ask("draw", draw, arguments, lambda made: self._show(made, letters), self._fail)

    def _show(self, made: dict[str, Any], letters: list[str]) -> None:
        self.image.value = made["png"]
        self.image.layout.display = "" if made["png"] else "none"
        self.rows = made["rows"]
        self._letters = [letters[at] for at in made["drawn"]]
        self._write()

    def _fail(self, error: Any) -> None:
        self.status.text = ""
        self.error_box.show(error)

    def _write(self) -> None:
        say, letters = self.texts.say, self._letters
        self.status.text = "" if letters else say("emotion.draw.none")
        self.told.text = say("emotion.picture") if letters else ""
        columns = [say("emotion.column.measure"), *letters, *(f"{one} − {letters[0]}" for one in letters[1:])]
        rows = [
            (say(f"emotion.measure.{row['name']}"), *row["values"], *row["differences"]) for row in self.rows
        ]  # fmt: skip
        caption = say("emotion.compared", first=letters[0]) if len(letters) > 1 else ""
        self.table.show(columns, rows, caption)
