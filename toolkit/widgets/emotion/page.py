"""The page of the emotion notebook: its panels, and the two workers beside it."""

from __future__ import annotations

from ipywidgets import HBox, Layout, Tab

from toolkit.widgets.controls import Panel, PlainText
from toolkit.widgets.emotion.blind import BlindPanel
from toolkit.widgets.emotion.booking import BookPanel
from toolkit.widgets.emotion.comparing import ComparePanel
from toolkit.widgets.emotion.effect import EffectPanel
from toolkit.widgets.emotion.errands import Errands
from toolkit.widgets.emotion.fixes import Model
from toolkit.widgets.emotion.setting import SettingPanel
from toolkit.widgets.emotion.speaking import SpeakPanel
from toolkit.widgets.emotion.wording import WordingPanel
from toolkit.widgets.jobs import Worker, join
from toolkit.widgets.languages import Texts, language_switch, shared_texts

__all__ = ["EmotionTuning", "emotion_tuning"]

_TABS = ("compare", "test", "blind", "book")
_shown: list[EmotionTuning] = []


class EmotionTuning(Panel):
    """All of it: ``setting``, ``wording``, ``speaking``, and the tabs ``comparing``, ``effect``, ``blind``, ``book``.

    ``worker`` speaks, ``errands`` looks, draws and exports; neither ever holds up the notebook.
    """

    def __init__(self, model: str = "pocket", texts: Texts | None = None) -> None:
        self.texts = texts or shared_texts()
        self.worker = Worker.named("emotion")
        self.errands = Errands(Worker.named("emotion-errands"))
        self.setting = SettingPanel(self.texts, self.errands, model)
        self.wording = WordingPanel(self.texts)
        self.speaking = SpeakPanel(self.texts, self.worker, self.setting, self.wording)
        self.comparing = ComparePanel(self.texts, self.errands, self.speaking)
        self.book = BookPanel(self.texts, self.errands, self.setting, self.wording)
        self.effect = EffectPanel(self.texts, self.worker, self.setting, self.wording, self.book)
        self.blind = BlindPanel(self.texts, self.speaking, self.setting, self.book)
        self.switch = language_switch(self.texts)
        self.tabs = Tab((self.comparing, self.effect, self.blind, self.book))
        self._headings = [PlainText(bold=True, role="heading") for _ in range(3)]
        super().__init__((
            HBox((self.switch,)), self._headings[0], self.setting, self._headings[1], self.wording,
            self._headings[2], self.speaking, self.tabs,
        ), layout=Layout(max_width="1100px"))  # fmt: skip
        self.setting.on_look(self._take_model)
        self.setting.language.observe(lambda _: self._take_model(), "value")
        self.follow_language(self.texts, self._write)
        self._write()
        self.worker.warm()
        self.join()

    def join(self) -> None:
        """Show the last run again, whichever it was."""
        job = join(self.worker)
        if job is not None:
            view = self.effect.view if job.task.endswith(":try_effect") else self.speaking.view
            view.show(job)

    def close(self) -> None:
        """Take it off the page; what runs goes on, and another page joins it."""
        self.errands.close()
        for part in (*self.tabs.children, self.setting, self.wording, self.speaking):
            part.close()
        super().close()

    def _take_model(self) -> None:
        looked = self.setting.looked
        self.wording.for_model(Model(looked.kind, looked.size, self.setting.language.value or "auto"))

    def _write(self) -> None:
        for heading, name in zip(self._headings, ("what", "how", "hear"), strict=True):
            heading.text = self.texts.say(f"emotion.heading.{name}")
        for at, name in enumerate(_TABS):
            self.tabs.set_title(at, self.texts.say(f"emotion.tab.{name}"))


def emotion_tuning(model: str = "pocket") -> EmotionTuning:
    """Show the page; a cell that is run again shows it anew and joins what runs.

    ``model`` is a folder, a repository or its end, such as "1.7B-CustomVoice", or "pocket". Nothing is downloaded.
    """
    while _shown:
        _shown.pop().close()
    page = EmotionTuning(model)
    _shown.append(page)
    return page
