"""Step 5, limits: the preset for the card, sliders, and a forecast of memory that moves with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ipywidgets import Button, Checkbox, FloatProgress, HBox, IntSlider, Layout

from toolkit.errors import UsageError
from toolkit.synthesis.pocket_voice import POCKET_TEXT_LENGTH
from toolkit.tuning.presets import preset_for
from toolkit.widgets.controls import COLOURS, PlainText, labelled
from toolkit.widgets.jobs import Change, Job
from toolkit.widgets.setup.planning import follow_limits, verdict_of
from toolkit.widgets.setup.session import Session
from toolkit.widgets.setup.step import Step

__all__ = ["LimitsStep"]

_COLOURS = {"fits": "ok", "tight": "warn", "too-big": "error"}
_CHUNK_FRAMES = 300
_CHARACTERS = 300


class LimitsStep(Step):
    """Done when limits were taken. ``forecast`` is the last one that came, with the limits that it is for."""

    key: ClassVar[str] = "limits"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.forecast: Mapping[str, Any] | None = None
        self._job: Job | None = None
        self._asked: dict[str, int] | None = None
        self._preset: dict[str, Any] = {}
        wide = {"width": "36em"}
        self.preset = PlainText()
        self.preset_button = labelled(Button(layout=Layout(width="auto")), self.texts, "setup.limits.preset")
        self.chunk = labelled(
            IntSlider(value=_CHUNK_FRAMES, min=12, max=1200, step=12, layout=wide),
            self.texts,
            "setup.limits.chunk",
            tooltip="setup.limits.chunk_tip",
        )
        self.characters = labelled(
            IntSlider(value=_CHARACTERS, min=20, max=1000, step=10, layout=wide),
            self.texts,
            "setup.limits.characters",
            tooltip="setup.limits.characters_tip",
        )
        self.cleanup = labelled(
            Checkbox(indent=False, layout=Layout(width="auto")),
            self.texts,
            "setup.limits.cleanup",
            tooltip="setup.limits.cleanup_tip",
        )
        self.bar = labelled(FloatProgress(min=0.0, max=1.0, layout=wide), self.texts, "setup.limits.bar")
        self.told = PlainText(role="status")
        self.lines = PlainText(mono=True, colour="dim")
        self.take_button = labelled(Button(button_style="primary"), self.texts, "setup.take")
        for slider in (self.chunk, self.characters):
            slider.observe(lambda _: self._ask(), "value")
        self.preset_button.on_click(lambda _: self.use_preset())
        self.take_button.on_click(lambda _: self.take())
        self.show_controls(
            self.preset,
            HBox((self.preset_button,)),
            self.chunk,
            self.characters,
            self.cleanup,
            self.bar,
            self.told,
            self.lines,
            self.take_button,
        )

    def enter(self) -> None:
        """Show what was taken, or the preset, and begin to forecast."""
        self._preset = self._preset_of()
        answer = self.session.answer(self.key)
        pocket = self._model["model"] == "pocket"
        self.characters.max = POCKET_TEXT_LENGTH if pocket else 1000
        if answer:
            self.chunk.value, self.characters.value = answer["audio_chunk_size"], answer["max_text_length"]
            self.cleanup.value = answer["enable_cleanup"]
        else:
            self.use_preset()
        self.write()
        self.error_box.guard(self._begin)

    def leave(self) -> None:
        """Stop to forecast."""
        if self._job is not None:
            self._job.cancel()
        self._job = self._asked = None

    def use_preset(self) -> None:
        """Put the sliders where the preset has them."""
        self.chunk.value = self._preset["audio_chunk_size"]
        self.characters.value = self._preset["max_text_length"]
        self.cleanup.value = False

    def take(self) -> None:
        """Take the limits as they stand."""
        answer = {
            "audio_chunk_size": self.chunk.value,
            "max_text_length": self.characters.value,
            "enable_cleanup": self.cleanup.value,
            "batch": self._preset["batch"],
            "text_table": self._preset["text_table"],
            "preset": self._preset["told"],
            "need_bytes": self.forecast["need_bytes"] if self.forecast is not None and self._is_current else None,
        }
        self.error_box.guard(lambda: self.session.finish(self.key, answer))

    def write(self) -> None:
        """Say the preset and the forecast in the language of the texts."""
        if not self._preset:
            return
        say = self.texts.say
        told = self._preset["told"] or say(f"setup.limits.why.{self._preset['why']}")
        self.preset.text = say("setup.limits.from", told=told)
        if self.forecast is None:
            self.told.text = say("setup.limits.waiting")
            return
        memory, need = self.session.card.memory_bytes, self.forecast["need_bytes"]
        verdict = verdict_of(need, memory)
        self.bar.max, self.bar.value = memory / 1e9, min(need, memory) / 1e9
        self.bar.style.bar_color = COLOURS[_COLOURS[verdict]]
        self.told.text = say(f"setup.fit.{verdict}", need=f"{need / 1e9:.2f}", memory=f"{memory / 1e9:.1f}")
        self.lines.text = "\n".join(f"{count / 1e6:>9,.0f} MB  {label}" for label, count in self.forecast["lines"])

    @property
    def _model(self) -> Mapping[str, Any]:
        return self.session.answer("model")

    @property
    def _limits(self) -> dict[str, int]:
        return {"audio_chunk_size": self.chunk.value, "max_text_length": self.characters.value}

    @property
    def _is_current(self) -> bool:
        return self.forecast is not None and all(self.forecast[key] == value for key, value in self._limits.items())

    def _preset_of(self) -> dict[str, Any]:
        card, own = self.session.card, {"batch": 1, "text_table": "auto", "told": ""}
        if self._model["model"] == "pocket":
            limits = {"audio_chunk_size": _CHUNK_FRAMES, "max_text_length": POCKET_TEXT_LENGTH}
            return {**own, **limits, "why": "pocket"}
        own |= {"audio_chunk_size": _CHUNK_FRAMES, "max_text_length": _CHARACTERS}
        if card.device != "cuda" or self.session.answer("precision")["value"] != "bfloat16":
            return {**own, "why": "plain"}
        try:
            found = preset_for(card.memory_bytes, "0b6" if self._model["size"] == "0.6B" else "1b7")
        except UsageError:
            return {**own, "audio_chunk_size": 120, "text_table": "cpu", "why": "small"}
        values = {key: getattr(found, key) for key in ("audio_chunk_size", "max_text_length", "batch", "text_table")}
        return {**values, "told": f"{found.source.kind}, {found.card_gb} GB: {found.source.told}", "why": ""}

    def _begin(self) -> None:
        worker = self.session.worker("limits")
        if worker.job is not None:
            worker.job.cancel()
            if worker.busy:  # it stops within a twentieth of a second, and then this one begins
                worker.job.listen(self._start_after, replay=False)
                return
        self._start()

    def _start_after(self, change: Change) -> None:
        if change.job.finished:
            self._start()

    def _start(self) -> None:
        job = self.session.worker("limits").run(
            follow_limits,
            card=self.session.card.to_json(),
            model=self._model["model"],
            precision=self.session.answer("precision")["precision"],
            batch=self._preset["batch"],
        )
        self._job = job
        job.listen(self._hear, replay=False)
        self._asked = None
        self._ask()

    def _ask(self) -> None:
        if self._job is not None and self._asked != self._limits:
            self._asked = self._limits
            self._job.tell("limits", self._limits)

    def _hear(self, change: Change) -> None:
        for part in change.partials:
            self.forecast = part.value
        if change.job.error is not None:
            self.error_box.show(change.job.error)
        if change.partials:
            self.write()
