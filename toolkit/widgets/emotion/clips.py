"""A clip on the page: its player, what is told of it, and a button that takes it away."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ipywidgets import Button, Layout

from toolkit.widgets.controls import Panel, PlainText, boxed, labelled
from toolkit.widgets.languages import Texts
from toolkit.widgets.player import Player

__all__ = ["ClipView"]

_WIDTH = "min(100%, 395px)"


class ClipView(Panel):
    """One take while it comes and afterwards.

    ``take`` says what was asked for (``instruction``, ``precision``, ``seed``), ``told`` how it went, None before its
    end. ``from_click_s`` counts from the click to the first piece, the loading of the model with it.
    """

    def __init__(
        self, texts: Texts, letter: str, text: str, take: Mapping[str, Any], on_remove: Callable[[ClipView], None]
    ) -> None:
        self.texts = texts
        self.letter = letter
        self.text = text
        self.take = dict(take)
        self.told: dict[str, Any] | None = None
        self.from_click_s: float | None = None
        self.player = Player(texts, title=letter)
        self.title = PlainText(bold=True)
        self.facts = PlainText(colour="dim", role="status")
        self.remove = labelled(Button(layout=Layout(width="auto")), texts, "emotion.remove")
        super().__init__((self.title, self.player, self.facts, self.remove), layout=boxed())
        self.layout.width = _WIDTH
        self.layout.margin = "4px 10px 4px 0"
        self.remove.on_click(lambda _: on_remove(self))
        self.follow_language(texts, self._write)
        self._write()

    @property
    def wording(self) -> str:
        """The instruction, or that there is none."""
        return str(self.take["instruction"]) or self.texts.say("emotion.plain")

    @property
    def name(self) -> str:
        """Letter, instruction, precision and seed on one line."""
        words = " ".join(self.wording.split())
        words = words if len(words) <= 60 else words[:59] + "…"
        precision = self.told["precision"] if self.told else self.take["precision"]
        return self.texts.say(
            "emotion.clip.name", letter=self.letter, words=words, precision=precision, seed=self.take["seed"]
        )

    def begin(self, rate: int, *, autoplay: bool) -> None:
        """The first piece is to come; it sounds by itself when ``autoplay`` says so."""
        self.player.autoplay = autoplay
        self.player.begin(rate)

    def feed(self, samples: Any, began: float | None = None) -> None:
        """A piece; ``began`` is the moment of the click on the monotonic clock, None where that counts nothing."""
        if began is not None and self.from_click_s is None:
            self.from_click_s = time.monotonic() - began
        self.player.feed(samples)
        self._write()

    def finish(self, told: dict[str, Any] | None) -> None:
        """All pieces are there, or all that will come (``told`` is None then)."""
        self.told = told
        self.player.finish()
        self._write()

    def as_argument(self) -> dict[str, Any]:
        """What the worker draws."""
        return {"title": self.name, "text": self.text, "rate": self.player.sample_rate, "samples": self.player.samples}

    def _write(self) -> None:
        say, told = self.texts.say, self.told
        self.title.text = self.name
        seconds = f"{self.player.samples.size / self.player.sample_rate:.2f}"
        if told is None:
            self.facts.text = say("emotion.clip.coming", seconds=seconds)
            return
        click = self.from_click_s
        self.facts.text = (
            (say("emotion.clip.cut") + " " if told["finish"] == "length" else "")
            + say("emotion.clip.facts", seconds=seconds, first=f"{told['first_audio_s']:.2f}")
            + ("" if click is None else say("emotion.clip.click", click=f"{click:.2f}"))
            + say("emotion.clip.speed", times=f"{told['x_real_time']:.2f}")
        )
