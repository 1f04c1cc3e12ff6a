"""The page that watches a card while something speaks: two workers, one that watches and one that is the load."""

from __future__ import annotations

from typing import Any

from ipywidgets import Dropdown, FloatSlider, HBox, Image, Layout, Text, VBox

from toolkit.errors import UsageError
from toolkit.widgets.controls import Panel, PlainText, boxed, labelled
from toolkit.widgets.job_view import JobView
from toolkit.widgets.jobs import Change, Job, Worker, join
from toolkit.widgets.languages import Texts, language_switch, shared_texts
from toolkit.widgets.live import tasks
from toolkit.widgets.live.examples import EXAMPLES
from toolkit.widgets.live.readings import JudgementPanel, ReadingsPanel

__all__ = ["LiveGpu", "live_gpu"]


class LiveGpu(Panel):
    """All of it. ``no_card`` is why there is no card to watch, "" where there is one, None before it is known."""

    def __init__(self, watcher: Worker, speaker: Worker, texts: Texts | None = None, *, gpu_index: int = 0) -> None:
        self.texts = texts or shared_texts()
        self.no_card: str | None = None
        self._gpu_index = gpu_index
        self._watcher, self._speaker = watcher, speaker
        self._job: Job | None = None
        self.source = Dropdown(options=[("", f"card:{gpu_index}")])
        labelled(self.source, self.texts, "live.source")
        self.interval = labelled(
            FloatSlider(value=0.5, min=0.25, max=5.0, step=0.25, readout_format=".2f", layout=Layout(width="380px")),
            self.texts,
            "live.interval",
        )
        self.notice = PlainText(colour="warn", role="status")
        self.watch_view = JobView(
            watcher, self._begin_watch, label="live.watch", texts=self.texts, on_change=self._hear, on_end=self._end
        )
        self.model = labelled(Text(value="pocket"), self.texts, "live.model")
        self.text = labelled(Text(value=self.texts.say("live.text.value")), self.texts, "live.text")
        self.load_head = PlainText(bold=True, role="heading")
        self.load_view = JobView(speaker, self._begin_load, label="live.load", texts=self.texts)
        for view in (self.watch_view, self.load_view):
            view.run_button.layout.width = "auto"
            self.texts.follow(view.cancel_button, "live.stop")
        self.text.layout.width = "98%"
        self.picture = Image(format="png", layout=Layout(width="100%", max_width="880px", display="none"))
        self.caption = PlainText(colour="dim")  # ipywidgets' image cannot be drawn with a tooltip, and has no alt
        self.readings = ReadingsPanel(self.texts)
        self.judgement = JudgementPanel(self.texts)
        settings = HBox((self.source, self.interval), layout=Layout(flex_flow="row wrap"))
        load = VBox((self.load_head, self.model, self.text, self.load_view), layout=boxed())
        super().__init__(
            (
                language_switch(self.texts), self.notice, settings, self.watch_view, load, self.caption, self.picture,
                self.readings, self.judgement,
            ),
            layout=Layout(grid_gap="8px", max_width="1000px"),
        )  # fmt: skip
        self.add_class("qwen-audio-live")
        self.source.observe(lambda _: self._write(), "value")
        self.follow_language(self.texts, self._name)
        self._name()

    def look_for_card(self) -> Job:
        """Ask the worker whether there is a card; without one the examples come first."""
        job = self._watcher.run(tasks.find_card, gpu_index=self._gpu_index)
        self.watch_view.run_button.disabled = True  # the worker does one thing at a time
        job.listen(self._hear_card)
        return job

    def watch(self) -> Job | None:
        """What Start watching does."""
        return self.watch_view.run()

    def load(self) -> Job | None:
        """What Speak again and again does."""
        return self.load_view.run()

    def join(self) -> bool:
        """Show the jobs of this kernel, or what is left of the last ones. Returns whether a watch was there."""
        speaking, watching = join(self._speaker), join(self._watcher)
        if speaking is not None:
            self.load_view.show(speaking)
        if watching is None or not watching.task.endswith(f":{tasks.watch_card.__name__}"):
            return False
        self.watch_view.show(watching)
        if watching.state == "done":
            self._end(watching)
        return not watching.finished

    def close(self) -> None:
        """Take it off the page; the jobs go on."""
        for part in (self.watch_view, self.load_view, self.readings, self.judgement):
            part.close()
        super().close()

    def _begin_watch(self) -> Job:
        self.readings.show(None)
        self.judgement.show(None)
        return self._watcher.run(tasks.watch_card, source=self.source.value, interval_s=self.interval.value)

    def _begin_load(self) -> Job:
        model, text = self.model.value.strip(), self.text.value.strip()
        if not model or not text:
            raise UsageError("name a model, such as pocket or 1.7B-CustomVoice, and write a text")
        return self._speaker.run(tasks.speak_again, model=model, text=text)

    def _hear(self, change: Change) -> None:
        for part in change.partials[-8:]:
            seen: dict[str, Any] = part.value
            if part is change.partials[-1]:
                self.readings.show(seen["sample"])
            if "picture" in seen:
                self._draw(seen["picture"])
            if "judgement" in seen:
                self.judgement.show(seen["judgement"])

    def _end(self, job: Job) -> None:
        if job.state == "done":
            self.judgement.show(job.result["judgement"])

    def _hear_card(self, change: Change) -> None:
        if not change.job.finished:
            return
        self.watch_view.run_button.disabled = False
        self.no_card = str(change.job.result["reason"]) if change.job.state == "done" else change.job.state
        if self.no_card and self.source.value.startswith("card:"):
            self.source.value = f"example:{EXAMPLES[0]}"
        self._write()

    def _draw(self, picture: bytes) -> None:
        self.picture.value = picture
        self.picture.layout.display = ""
        self.caption.text = self.texts.say("live.picture")

    def _name(self) -> None:
        say, chosen = self.texts.say, self.source.value
        card = (say("live.source.card", index=self._gpu_index), f"card:{self._gpu_index}")
        self.source.options = [card, *((say(f"live.source.{name}"), f"example:{name}") for name in EXAMPLES)]
        self.source.value = chosen
        self._write()

    def _write(self) -> None:
        say, lines = self.texts.say, []
        if self.no_card:
            lines += [say("live.no_card"), say("live.no_card.why", reason=self.no_card)]
        elif self.source.value and self.source.value.startswith("example:"):
            lines.append(say("live.example"))
        self.notice.text = "\n".join(lines)
        self.load_head.text = say("live.load.head")
        self.caption.text = say("live.picture") if self.picture.value else ""


def live_gpu(texts: Texts | None = None, *, gpu_index: int = 0) -> LiveGpu:
    """The page, with the watch of this notebook where one runs; else it looks for a card."""
    made = LiveGpu(Worker.named("live-watch"), Worker.named("live-load"), texts, gpu_index=gpu_index)
    if not made.join():
        made.look_for_card()
    return made
