"""The one question that tells the likeliest two causes apart, its answers as buttons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ipywidgets import Button, Layout

from toolkit.widgets.controls import Panel, PlainText, boxed
from toolkit.widgets.diagnosis.refilling import refill
from toolkit.widgets.languages import Texts

__all__ = ["QuestionPanel"]

_LEAST_RIVAL = 0.15
"""Below this probability of the second cause, with a first that is known, nobody wants to be asked."""


class QuestionPanel(Panel):
    """Hidden while there is nothing to ask; ``on_answer`` hears the question's id and the value of the answer."""

    def __init__(self, texts: Texts, on_answer: Callable[[str, str], object]) -> None:
        self.texts = texts
        self.question: Mapping[str, Any] | None = None
        self.buttons: list[Button] = []
        self._on_answer = on_answer
        super().__init__(layout=boxed("accent"))
        self.follow_language(texts, self._draw)
        self._draw()

    def show(self, page: Mapping[str, Any] | None) -> None:
        """The page of :func:`find_cause`, or nothing."""
        asked = page["saved"]["question"] if page is not None else None
        if page is not None and asked is not None and page["saved"]["known"]:
            probability = {one["rule"]: one["probability"] for one in page["saved"]["findings"]}
            if probability.get(asked["between"][1], 0.0) < _LEAST_RIVAL:
                asked = None
        self.question = asked
        self._draw()

    def answer(self, value: str) -> None:
        """What an answer's button does."""
        if self.question is not None:
            self._on_answer(self.question["id"], value)

    def _draw(self) -> None:
        asked, say = self.question, self.texts.say
        self.layout.display = "none" if asked is None else ""
        self.buttons = []
        if asked is None:
            refill(self, ())
            return
        first, second = asked["between"]
        head = say("diagnosis.question", first=first, second=second, seconds=f"{asked['cost_s']:.0f}")
        ask = asked["ask_zh"] if self.texts.language == "zh" else asked["ask"]
        for answer in asked["answers"]:
            button = Button(description=answer["text"], tooltip=answer["text"], layout=Layout(width="auto"))
            button.on_click(lambda _, value=answer["value"]: self.answer(value))
            self.buttons.append(button)
        refill(self, (PlainText(head, colour="dim"), PlainText(ask, bold=True), *self.buttons))
