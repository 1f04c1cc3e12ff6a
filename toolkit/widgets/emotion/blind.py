"""Blind listening: two clips in an order that nobody knows until both have a score."""

from __future__ import annotations

import secrets
from typing import Any

from ipywidgets import Button, Dropdown, HBox, Layout, Text, ToggleButtons, VBox

from toolkit.errors import UsageError
from toolkit.widgets.controls import Panel, PlainText, boxed, labelled
from toolkit.widgets.emotion.booking import BookPanel
from toolkit.widgets.emotion.clips import ClipView
from toolkit.widgets.emotion.setting import SettingPanel
from toolkit.widgets.emotion.speaking import SpeakPanel
from toolkit.widgets.error_box import ErrorBox
from toolkit.widgets.languages import Texts
from toolkit.widgets.player import Player

__all__ = ["BlindPanel"]

_SCORES = (1, 2, 3, 4, 5)
_BETTER = ("first", "equal", "second")


class BlindPanel(Panel):
    """``begin`` hides which is which, ``reveal`` tells it and keeps the scores in the prompt book.

    ``players``, ``scores`` and ``better`` are those of the two sounds; ``verdict`` says what they were.
    """

    def __init__(self, texts: Texts, speaking: SpeakPanel, setting: SettingPanel, book: BookPanel) -> None:
        self.texts = texts
        self._speaking = speaking
        self._setting = setting
        self._book = book
        self._hidden: tuple[dict[str, Any], dict[str, Any]] | None = None
        width = Layout(width="min(100%, 420px)")
        self.pair = [labelled(Dropdown(options=(), layout=width), texts, "emotion.blind.clip") for _ in range(2)]
        self.begin_button = labelled(Button(button_style="primary"), texts, "emotion.blind.begin")
        self.players = [Player(texts, title=str(number), autoplay=False) for number in (1, 2)]
        scores = [ToggleButtons(options=_SCORES, value=None, style={"button_width": "44px"}) for _ in range(2)]
        names = ("first", "second")
        self.scores = [
            labelled(one, texts, f"emotion.blind.score.{name}") for one, name in zip(scores, names, strict=True)
        ]
        self.better = labelled(ToggleButtons(options=_BETTER, value=None), texts, "emotion.blind.better")
        self.note = labelled(Text(layout=width), texts, "emotion.note")
        self.reveal_button = labelled(Button(button_style="primary", disabled=True), texts, "emotion.blind.reveal")
        self.verdict = PlainText(role="status")
        self.error_box = ErrorBox(texts)
        self.about = PlainText(colour="dim")
        row = Layout(flex_flow="row wrap", align_items="center")
        sounds = [VBox(pair, layout=boxed()) for pair in zip(self.players, self.scores, strict=True)]
        for sound in sounds:
            sound.layout.width, sound.layout.margin = "min(100%, 380px)", "4px 10px 4px 0"
        self._test = VBox((HBox(sounds, layout=row), self.better, HBox((self.note, self.reveal_button), layout=row)),
                          layout=Layout(display="none"))  # fmt: skip
        super().__init__((
            self.about, HBox((*self.pair, self.begin_button), layout=row), self.error_box, self._test, self.verdict,
        ))  # fmt: skip
        self.begin_button.on_click(lambda _: self.error_box.guard(self.begin))
        self.reveal_button.on_click(lambda _: self.error_box.guard(self.reveal))
        for widget in (*self.scores, self.better):
            widget.observe(lambda _: self._judge(), "value")
        speaking.on_clips(self._write)
        self.follow_language(texts, self._write)
        self._write()

    def begin(self) -> None:
        """Play two clips in an order that is drawn. Raises UsageError where there are no two."""
        clips = [self._clip(field.value) for field in self.pair]
        if None in clips or clips[0] is clips[1]:
            raise UsageError("a blind test takes two clips that differ; speak two first, for example with and without")
        if secrets.randbelow(2):
            clips.reverse()
        told = [{"name": one.name, "wording": one.take["instruction"], "text": one.text} for one in clips if one]
        self._hidden = (told[0], told[1])
        for player, clip in zip(self.players, clips, strict=True):
            if clip is not None:
                player.load(clip.player.samples, clip.player.sample_rate)
        for widget in (*self.scores, self.better):
            widget.value = None
        self.verdict.text = ""
        self._test.layout.display = ""

    def reveal(self) -> None:
        """Tell which was which, and keep the scores. Raises UsageError before both have one, or for another book."""
        hidden = self._hidden
        marks = [field.value for field in self.scores]
        if hidden is None or None in marks or self.better.value is None:
            raise UsageError("score both sounds and say which is better first")
        first, second = hidden
        better = {"first": (first["wording"], second["wording"]), "second": (second["wording"], first["wording"])}
        scores = [(first["wording"], int(marks[0])), (second["wording"], int(marks[1]))]
        self._hidden = None
        self.reveal_button.disabled = True
        told = {"first": first["name"], "second": second["name"], "one": marks[0], "two": marks[1]}
        self.verdict.text = self.texts.say("emotion.blind.verdict", **told)
        model = self._setting.arguments()["model"]
        self._book.record(first["text"], model, scores, better.get(self.better.value), self.note.value)
        self.note.value = ""

    def _clip(self, letter: str | None) -> ClipView | None:
        return next((clip for clip in self._speaking.clips if clip.letter == letter), None)

    def _judge(self) -> None:
        given = [field.value for field in (*self.scores, self.better)]
        self.reveal_button.disabled = self._hidden is None or None in given

    def _write(self) -> None:
        say = self.texts.say
        clips = [clip for clip in self._speaking.clips if clip.player.samples.size]
        letters = [clip.letter for clip in clips]
        for at, field in enumerate(self.pair):
            before = field.value
            field.options = [(clip.name, clip.letter) for clip in clips]
            field.value = before if before in letters else (letters[min(at, len(letters) - 1)] if letters else None)
        if len(letters) > 1 and self.pair[0].value == self.pair[1].value:
            self.pair[1].value = next(one for one in letters if one != self.pair[0].value)
        chosen = self.better.value
        self.better.options = [(say(f"emotion.blind.{one}"), one) for one in _BETTER]
        self.better.value = chosen
        self.about.text = say("emotion.blind.about")
