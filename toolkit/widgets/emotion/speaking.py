"""Speak: takes that sound while they are made, and the clips side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ipywidgets import Box, Dropdown, HBox, Layout

from toolkit.errors import UsageError
from toolkit.widgets.controls import Panel, labelled
from toolkit.widgets.emotion.clips import ClipView
from toolkit.widgets.emotion.limits import MOST_CLIPS
from toolkit.widgets.emotion.setting import SettingPanel
from toolkit.widgets.emotion.tasks import speak
from toolkit.widgets.emotion.wording import WordingPanel
from toolkit.widgets.job_view import JobView
from toolkit.widgets.jobs import Change, Job, Worker
from toolkit.widgets.languages import Texts

__all__ = ["MODES", "SpeakPanel"]

MODES = ("one", "plain", "variants", "seeds", "precisions")
"""What Speak speaks: the instruction; that and none; the wordings that are ticked; three seeds; two precisions."""
_LETTERS = "ABCD"
_SEEDS = 3


class SpeakPanel(Panel):
    """``clips`` are at most four, the oldest go first; ``view`` holds Speak, Cancel and the error box."""

    def __init__(self, texts: Texts, worker: Worker, setting: SettingPanel, wording: WordingPanel) -> None:
        self.texts = texts
        self.clips: list[ClipView] = []
        self._setting = setting
        self._wording = wording
        self._listeners: list[Callable[[], None]] = []
        self._coming: dict[int, ClipView] = {}
        self._job: Job | None = None
        self._asked: dict[str, Any] = {}
        self.mode = labelled(Dropdown(options=MODES, layout=Layout(width="420px")), texts, "emotion.mode")
        self.view = JobView(
            worker, lambda: worker.run(speak, **self._arguments()), label="emotion.speak", texts=texts,
            on_change=self._hear, on_end=self._end,
        )  # fmt: skip
        self._row = Box((), layout=Layout(flex_flow="row wrap", align_items="stretch"))
        super().__init__((HBox((self.mode,)), self.view, self._row))
        self.follow_language(texts, self._write)
        self._write()

    def on_clips(self, listener: Callable[[], None]) -> None:
        """Call this when a run has ended or a clip was taken away."""
        self._listeners.append(listener)

    def takes(self) -> list[dict[str, Any]]:
        """What Speak is going to speak, at most four. Raises UsageError where nothing is chosen."""
        setting, instruction = self._setting, self._wording.instruction.value.strip()
        usual = {"instruction": instruction, "precision": setting.precision.value, "seed": int(setting.seed.value)}
        mode = self.mode.value
        if mode == "plain":
            return [{**usual, "instruction": ""}, usual]
        if mode == "variants":
            chosen = self._wording.chosen()
            if not chosen:
                raise UsageError("no wording is ticked; tick one, or speak the instruction alone")
            return [{**usual, "instruction": one.instruction} for one in chosen[:MOST_CLIPS]]
        if mode == "seeds":
            return [{**usual, "seed": usual["seed"] + more} for more in range(_SEEDS)]
        if mode == "precisions":
            return [{**usual, "precision": one} for one in ("float32", "bfloat16")]
        return [usual]

    def drop(self, clip: ClipView) -> None:
        """Take a clip away."""
        if clip in self.clips:
            self.clips.remove(clip)
            self._lay_out()
            clip.close()
            self._tell()

    def close(self) -> None:
        """Take it off the page; what runs goes on."""
        self._listeners.clear()
        super().close()

    def _arguments(self) -> dict[str, Any]:
        arguments = self._setting.arguments()
        if not arguments["text"].strip():
            raise UsageError("there is no text to speak; write a sentence into the field above")
        return {**arguments, "takes": self.takes()}

    def _hear(self, change: Change) -> None:
        if change.job is not self._job:
            self._job = change.job
            self._coming = {}
            self._asked = change.job.arguments if change.partials or change.job.state == "done" else {}
        for part in change.partials:
            value = part.value
            if part.name == "begin":
                self._open(int(value["number"]), int(value["rate"]), autoplay=not change.job.finished)
            elif part.name == "piece" and value["number"] in self._coming:
                live = value["number"] == 0 and not change.job.finished
                self._coming[value["number"]].feed(value["samples"], change.job.began if live else None)
            elif part.name == "end":
                self._finish(dict(value))

    def _open(self, number: int, rate: int, *, autoplay: bool) -> None:
        self._asked = self._asked or (self._job.arguments if self._job else {})
        while len(self.clips) >= MOST_CLIPS:
            oldest = self.clips.pop(0)
            self._row.children = tuple(self.clips)
            oldest.close()
        letter = next(one for one in _LETTERS if one not in {clip.letter for clip in self.clips})
        clip = ClipView(self.texts, letter, self._asked["text"], self._asked["takes"][number], self.drop)
        self.clips.append(clip)
        self._coming[number] = clip
        self._lay_out()
        # The first one sounds; those after it would cut it off, since one player sounds at a time.
        clip.begin(rate, autoplay=autoplay and number == 0)

    def _finish(self, told: dict[str, Any]) -> None:
        clip = self._coming.pop(told["number"], None)
        if clip is not None:
            clip.finish(told)
            self._setting.measured({**told, "first_frames": self._asked["first_frames"]})

    def _end(self, job: Job) -> None:
        if job.state == "done" and not job.partials:  # found on disk after a restart of the kernel
            for made in job.result:
                self._open(int(made["number"]), int(made["rate"]), autoplay=False)
                self._coming[made["number"]].player.feed(made["samples"])
                self._finish({name: value for name, value in made.items() if name != "samples"})
        for clip in list(self._coming.values()):
            clip.finish(None)
            if not clip.player.samples.size:
                self.drop(clip)
        self._coming = {}
        self._tell()

    def _lay_out(self) -> None:
        self._row.children = tuple(self.clips)

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener()

    def _write(self) -> None:
        chosen = self.mode.value
        self.mode.options = [(self.texts.say(f"emotion.mode.{mode}"), mode) for mode in MODES]
        self.mode.value = chosen
