"""Step 4, precision: what the card computes in, with the reason, and a warning where it is likely to disappoint."""

from __future__ import annotations

from typing import ClassVar

from ipywidgets import Button, Layout, RadioButtons

from toolkit.synthesis.precision import Choice, choose_codec_dtype, choose_dtype
from toolkit.widgets.controls import PlainText, labelled
from toolkit.widgets.setup.session import Session
from toolkit.widgets.setup.step import Step

__all__ = ["PrecisionStep"]

_ASKED = ("auto", "bfloat16", "float32", "float16")


class PrecisionStep(Step):
    """Done when a precision was taken."""

    key: ClassVar[str] = "precision"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.asked = labelled(RadioButtons(layout=Layout(width="auto")), self.texts, "setup.precision.which")
        self.reason = PlainText(role="status")
        self.meaning = PlainText()
        self.warning = PlainText(colour="warn")
        self.codec = PlainText(colour="dim")
        self.take_button = labelled(Button(button_style="primary"), self.texts, "setup.take")
        self.asked.observe(lambda _: self._tell(), "value")
        self.take_button.on_click(lambda _: self.take())
        self.show_controls(self.asked, self.reason, self.meaning, self.warning, self.codec, self.take_button)

    @property
    def choice(self) -> Choice:
        """What is asked for, settled for the card."""
        card = self.session.card
        return choose_dtype(str(self.asked.value or "auto"), card.capability, card.device)

    def enter(self) -> None:
        """Show what was taken, or what fits the card."""
        self.write()
        self.asked.value = self.session.answer(self.key).get("precision", "auto")

    def write(self) -> None:
        """Write the options and the reason in the language of the texts."""
        asked = self.asked.value
        self.asked.options = [(self.texts.say(f"setup.precision.is.{name}"), name) for name in _ASKED]
        self.asked.value = asked or "auto"
        self._tell()

    def take(self) -> None:
        """Take what is chosen."""
        choice = self.choice
        answer = {"precision": self.asked.value, "value": choice.value, "reason": choice.reason}
        self.error_box.guard(lambda: self.session.finish(self.key, answer))

    def _tell(self) -> None:
        if not self.session.answer("machine"):
            return
        card, choice, say = self.session.card, self.choice, self.texts.say
        self.reason.text = say("setup.precision.chosen", value=choice.value, reason=choice.reason)
        self.meaning.text = say(f"setup.precision.means.{choice.value}")
        self.warning.text = choice.warning
        codec = choose_codec_dtype("auto", card.capability, card.device)
        self.codec.text = say("setup.precision.codec", value=codec.value, reason=codec.reason)
