"""Tasks of the worker: which model fits the card, and what memory given limits will take. Nothing is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from toolkit.errors import QwenAudioError
from toolkit.widgets.jobs import Work
from toolkit.widgets.setup.card import Card

if TYPE_CHECKING:
    from toolkit.synthesis.hub import FoundModel

__all__ = ["FIT_SHARE", "forecast", "follow_limits", "suit", "verdict_of"]

_BEAT_S = 0.05

FIT_SHARE = 0.9
"""Of the memory that a forecast may fill; the share that the presets keep to."""


def verdict_of(need_bytes: int, memory_bytes: int) -> str:
    """``fits`` up to nine tenths of the memory, ``tight`` up to all of it, else ``too-big``."""
    if need_bytes <= FIT_SHARE * memory_bytes:
        return "fits"
    return "tight" if need_bytes <= memory_bytes else "too-big"


def suit(work: Work, card: Mapping[str, Any]) -> dict[str, Any]:
    """The models by their forecasts on a card, and the one to take.

    Returns ``models``: name, ``need_bytes``, ``verdict``, ``here`` (on this machine), ``download_bytes``; and
    ``advice``, a name of them: the largest that fits and has speakers of its own, else the pocket voice.
    """
    from toolkit.synthesis.hub import PINNED, downloaded_bytes, find_model
    from toolkit.synthesis.pocket_voice import POCKET, POCKET_TEXT_LENGTH

    where = Card.from_json(card)
    models = []
    names = [POCKET, *(full.split("12Hz-")[1] for full in sorted(PINNED))]
    for place, name in enumerate(names):
        work.progress(place / len(names), "setup.model.weighing", name=name)
        try:
            find_model(name, download=False)
            here = True
        except QwenAudioError:
            here = False
        size = 0 if name == POCKET else downloaded_bytes(name)[1]
        characters = POCKET_TEXT_LENGTH if name == POCKET else 300
        work.check()
        need = forecast(card, name, "auto", 300, characters)["need_bytes"]
        row = {"name": name, "need_bytes": need, "verdict": verdict_of(need, where.memory_bytes)}
        models.append({**row, "here": here, "download_bytes": size})
    fitting = [one["name"] for one in models if one["verdict"] == "fits" and str(one["name"]).endswith("CustomVoice")]
    best = max(fitting, default=POCKET) if where.device == "cuda" else POCKET
    return {"models": models, "advice": best}


def follow_limits(work: Work, card: Mapping[str, Any], model: str, precision: str, batch: int) -> None:
    """Forecast anew whenever the job is told other ``limits`` (audio_chunk_size, max_text_length), until it is stopped.

    Each forecast is a part of the result, with the limits that it is for.
    """
    done: object = None
    while True:
        limits = work.wish("limits")
        if limits is not None and limits != done:
            chunk, characters = limits["audio_chunk_size"], limits["max_text_length"]
            work.partial("forecast", {**limits, **forecast(card, model, precision, chunk, characters, batch)})
            done = limits
        work.pause(_BEAT_S)


def forecast(
    card: Mapping[str, Any], model: str, precision: str, audio_chunk_size: int, max_text_length: int, batch: int = 1
) -> dict[str, Any]:
    """Memory at given limits: ``need_bytes``, and ``lines`` of label and bytes.

    Of a model that is not on this machine the published shape is taken.
    """
    from toolkit.synthesis.forecasting import forecast_speech
    from toolkit.synthesis.loading import LoadOptions
    from toolkit.synthesis.precision import choose_dtype, choose_text_table_device

    where = Card.from_json(card)
    on_card = where.device == "cuda"
    dtype = choose_dtype(precision, where.capability, where.device).value
    table = choose_text_table_device("auto", where.device, where.memory_bytes if on_card else None).value
    options = LoadOptions(
        dtype=dtype,
        text_embedding_on_cpu=table == "cpu",
        audio_chunk_size=audio_chunk_size,
        max_text_length=max_text_length,
    )
    with _shape_of(model) as found:
        plan = forecast_speech(found, options, device=where.device, capability=where.capability, rows=batch)
    return {"need_bytes": plan.total_bytes, "lines": [[line.label, line.byte_count] for line in plan.lines]}


@contextmanager
def _shape_of(model: str) -> Iterator[FoundModel]:
    from toolkit.synthesis.drawn_model import drawn_model
    from toolkit.synthesis.hub import find_model, repository

    try:
        found = find_model(model, download=False)
    except QwenAudioError:
        if Path(model).expanduser().exists():
            raise
        name = repository(model)
        with drawn_model("0b6" if "0.6B" in name else "1b7", kind=_kind_of(name)) as drawn:
            yield drawn
        return
    yield found


def _kind_of(name: str) -> Literal["custom_voice", "voice_design", "base"]:
    if name.endswith("-Base"):
        return "base"
    return "voice_design" if name.endswith("-VoiceDesign") else "custom_voice"
