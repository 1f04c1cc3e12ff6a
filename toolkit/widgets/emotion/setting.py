"""What is spoken and by whom: model, text, speaker, language, seed, precision, chunk size with its memory forecast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ipywidgets import (
    BoundedIntText,
    Dropdown,
    FloatProgress,
    HBox,
    IntSlider,
    Layout,
    SelectionSlider,
    Text,
    Textarea,
)  # fmt: skip

from toolkit.widgets.controls import COLOURS, Panel, PlainText, labelled
from toolkit.widgets.emotion.errands import Errands
from toolkit.widgets.emotion.limits import CHUNK_SIZES, USUAL_CHUNK
from toolkit.widgets.emotion.tasks import look
from toolkit.widgets.error_box import ErrorBox
from toolkit.widgets.languages import Texts

__all__ = ["Looked", "SettingPanel"]

_TEXT = "Good morning. The train was late again."
_FRAME_S = 0.08


@dataclass(frozen=True)
class Looked:
    """What is known of the model, of :func:`toolkit.widgets.emotion.tasks.look`."""

    model: str
    kind: str = "custom_voice"
    size: str = "pocket"
    speakers: tuple[str, ...] = ()
    languages: tuple[str, ...] = ("auto",)
    device: str = ""
    precision: str = ""
    total_bytes: int = 0
    forecast: tuple[tuple[str, tuple[tuple[tuple[str, int], ...], ...]], ...] = ()

    @classmethod
    def of(cls, told: dict[str, Any]) -> Looked:
        """From the task's result."""
        rows = tuple(
            (precision, tuple(tuple((str(label), int(count)) for label, count in lines) for lines in ladder))
            for precision, ladder in told["forecast"].items()
        )
        lists = {"speakers": tuple(told["speakers"]), "languages": tuple(told["languages"])}
        return cls(**{**told, **lists, "forecast": rows})

    def lines(self, precision: str, chunk: int) -> tuple[tuple[str, int], ...]:
        """Label and bytes of what a model needs; empty before the model was looked at."""
        ladder = dict(self.forecast).get(self.precision if precision == "auto" else precision)
        return ladder[CHUNK_SIZES.index(chunk)] if ladder else ()

    def bytes_of(self, precision: str, chunk: int) -> int:
        """All of it together."""
        return sum(count for _, count in self.lines(precision, chunk))


class SettingPanel(Panel):
    """The fields, and what follows from them. ``looked`` is what is known of the model; ``on_look`` hears of it."""

    def __init__(self, texts: Texts, errands: Errands, model: str = "pocket") -> None:
        self.texts = texts
        self.looked = Looked(model if model else "pocket")
        self._errands = errands
        self._listeners: list[Callable[[], None]] = []
        self._wanted: dict[str, str] = {}
        self._frame_s: float | None = None
        self._start_s = 0.0
        self._measured: dict[str, Any] | None = None
        wide = Layout(width="min(100%, 720px)")
        self.model = labelled(
            Text(value=model, continuous_update=False, layout=Layout(width="340px")),
            texts, "emotion.model", tooltip="emotion.model.tip",
        )  # fmt: skip
        self.text = labelled(Textarea(value=_TEXT, rows=2, layout=wide), texts, "emotion.text")
        self.speaker = labelled(Dropdown(options=[("", "")], layout=Layout(width="220px")), texts, "emotion.speaker")
        self.language = labelled(Dropdown(options=["auto"], layout=Layout(width="240px")), texts, "emotion.language")
        self.seed = labelled(
            BoundedIntText(value=1, min=0, max=2**31 - 1, layout=Layout(width="170px")),
            texts, "emotion.seed", tooltip="emotion.seed.tip",
        )  # fmt: skip
        self.precision = labelled(
            Dropdown(options=("auto", "bfloat16", "float16", "float32"), layout=Layout(width="190px")),
            texts, "emotion.precision",
        )  # fmt: skip
        self.chunk = labelled(
            SelectionSlider(options=CHUNK_SIZES, value=USUAL_CHUNK, layout=Layout(width="380px")),
            texts, "emotion.chunk", tooltip="emotion.chunk.tip",
        )  # fmt: skip
        self.first = labelled(
            IntSlider(value=1, min=1, max=24, layout=Layout(width="380px")),
            texts, "emotion.first", tooltip="emotion.first.tip",
        )  # fmt: skip
        self.bar = FloatProgress(min=0.0, max=1.0, layout=Layout(width="220px"))
        self.bar.style.bar_color = COLOURS["accent"]
        texts.follow(self.bar, "emotion.forecast", "tooltip")
        self.memory = PlainText(role="status")
        self.latency = PlainText(role="status")
        self.about = PlainText(colour="dim", role="status")
        self.error_box = ErrorBox(texts)
        row = Layout(flex_flow="row wrap", align_items="center")
        super().__init__((
            HBox((self.model, self.about), layout=row), self.error_box, self.text,
            HBox((self.speaker, self.language, self.seed, self.precision), layout=row),
            HBox((self.chunk, self.bar, self.memory), layout=row), HBox((self.first, self.latency), layout=row),
        ))  # fmt: skip
        self.model.observe(lambda _: self.look(), "value")
        for widget in (self.precision, self.chunk, self.first):
            widget.observe(lambda _: self._write(), "value")
        self.follow_language(texts, self._write)
        self._write()
        self.look()

    def on_look(self, listener: Callable[[], None]) -> None:
        """Call this when the model is known."""
        self._listeners.append(listener)

    def look(self) -> None:
        """Look at the model that is named, beside the kernel."""
        self.error_box.clear()
        name = self.model.value.strip() or "pocket"
        self.about.text = self.texts.say("emotion.at.look")
        self._errands.ask("look", look, {"model": name}, self._take, self._fail)

    def choose(self, *, speaker: str | None, language: str, **values: Any) -> None:
        """Set the fields, as a book that was loaded does; what the model does not have waits until it is known."""
        for name, value in values.items():
            getattr(self, name).value = value
        self._wanted = {"speaker": speaker or "", "language": language}
        self._fill()

    def measured(self, told: dict[str, Any]) -> None:
        """Learn from a take how long a frame and the start last."""
        self._measured = told
        if told["frames"]:
            self._frame_s = told["decode_s"] / told["frames"]
            first = int(told.get("first_frames", self.first.value))
            self._start_s = max(0.0, told["first_audio_s"] - first * self._frame_s)
        self._write()

    def first_audio_s(self) -> float | None:
        """When the first sound is to be expected at the present size of the first piece; None before the first take."""
        return None if self._frame_s is None else self._start_s + self.first.value * self._frame_s

    def arguments(self) -> dict[str, Any]:
        """What the worker needs beside the takes."""
        return {
            "model": self.model.value.strip() or "pocket",
            "text": self.text.value,
            "language": self.language.value,
            "speaker": self.speaker.value,
            "chunk_size": int(self.chunk.value),
            "first_frames": int(self.first.value),
        }

    def close(self) -> None:
        """Take it off the page."""
        self._listeners.clear()
        super().close()

    def _take(self, told: dict[str, Any]) -> None:
        self.looked = Looked.of(told)
        self._fill()
        self._write()
        for listener in list(self._listeners):
            listener()

    def _fail(self, error: Any) -> None:
        self.about.text = ""
        self.error_box.show(error)

    def _fill(self) -> None:
        speaker = self._wanted.get("speaker", self.speaker.value)
        language = self._wanted.get("language", self.language.value)
        self.speaker.options = [
            (self.texts.say("emotion.speaker.usual"), ""),
            *((one, one) for one in self.looked.speakers),
        ]
        self.language.options = self.looked.languages
        if speaker in ("", *self.looked.speakers):
            self.speaker.value = speaker
        if language in self.looked.languages:
            self.language.value = language
        if self.looked.forecast:
            self._wanted = {}

    def _write(self) -> None:
        say, looked = self.texts.say, self.looked
        chosen = self.speaker.value
        self.speaker.options = [(say("emotion.speaker.usual"), ""), *self.speaker.options[1:]]
        self.speaker.value = chosen
        if looked.forecast:
            self.about.text = say(
                "emotion.about", kind=looked.kind, size=looked.size, device=looked.device, precision=looked.precision
            )
            self._write_memory()
        expected = self.first_audio_s()
        sound_s = self.first.value * _FRAME_S
        if expected is None:
            self.latency.text = say("emotion.latency.unknown", sound=f"{sound_s:.2f}")
        else:
            self.latency.text = say("emotion.latency", sound=f"{sound_s:.2f}", seconds=f"{expected:.2f}")

    def _write_memory(self) -> None:
        say, looked = self.texts.say, self.looked
        precision, chunk = self.precision.value, int(self.chunk.value)
        need = looked.bytes_of(precision, chunk)
        most = max(looked.bytes_of(one, CHUNK_SIZES[-1]) for one, _ in looked.forecast)
        self.bar.value = need / max(most, 1)
        fits = need <= looked.total_bytes
        self.bar.style.bar_color = COLOURS["accent" if fits else "error"]
        decoding = looked.lines(precision, chunk)[-2 if looked.device != "CPU" else -1][1]
        key = "emotion.memory" if fits else "emotion.memory.full"
        told = say(key, need=_gb(need), total=_gb(looked.total_bytes), decoding=_gb(decoding))
        if self._measured is not None and self._measured["peak_bytes"]:
            told += "; " + say("emotion.memory.measured", peak=_gb(self._measured["peak_bytes"]))
        self.memory.text = told


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
