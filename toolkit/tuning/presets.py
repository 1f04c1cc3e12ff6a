"""Settings for cards of 6 to 24 GB (``presets.yaml``), each with the measurement or the forecast that it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from toolkit.errors import UsageError

__all__ = [
    "CARD_SIZES_GB",
    "PRESETS_FILE",
    "Preset",
    "Source",
    "by_forecast",
    "from_measurements",
    "preset_for",
    "presets",
    "presets_text",
]

CARD_SIZES_GB = (6, 8, 10, 12, 16, 24)
PRESETS_FILE = Path(__file__).with_name("presets.yaml")

ModelSize = Literal["1b7", "0b6"]
_SIZES: tuple[ModelSize, ...] = ("1b7", "0b6")
_PUBLISHED = {"1b7": "1.7B-CustomVoice", "0b6": "0.6B-CustomVoice"}
_SMALL_GB = 10
_SHARE = 0.9
"""Of a card that a forecast may fill: a desktop and the allocator's rounding take the rest."""
_NEAR = 1.03
_FORECAST_BATCHES = (8, 4, 2, 1)
_AMPERE = (8, 6)
_CHUNK_FRAMES, _CHARACTERS = 300, 300


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Source(_Strict):
    """Where a preset comes from. ``need_bytes`` is with CUDA itself; ``compared`` are the names of what else was tried
    at that size, with what became of it."""

    kind: Literal["measured", "forecast"]
    need_bytes: int
    told: str
    compared: dict[str, str] = {}


class Preset(_Strict):
    """Settings for a card of ``card_gb`` (10**9 bytes) and more, up to the next preset."""

    card_gb: int
    size: ModelSize
    precision: Literal["bfloat16"]
    audio_chunk_size: int
    max_text_length: int
    batch: int
    text_table: Literal["card", "cpu"]
    source: Source

    def settings(self) -> dict[str, object]:
        """As the keys of a config.yaml, with the reasons."""
        own = ("precision", "audio_chunk_size", "max_text_length", "batch", "text_table")
        told = f"preset for {self.card_gb} GB, {self.source.kind}: {self.source.told}"
        model = _PUBLISHED[self.size]
        return {
            "schema": 1,
            "model": model,
            **{key: getattr(self, key) for key in own},
            "why": dict.fromkeys(own, told),
        }


class _File(_Strict):
    schema_version: Literal[1]
    presets: list[Preset]


@cache
def presets() -> tuple[Preset, ...]:
    """All presets, by model and size of the card."""
    data = yaml.safe_load(PRESETS_FILE.read_text(encoding="utf-8"))
    return tuple(_File(schema_version=data["schema"], presets=data["presets"]).presets)


def preset_for(memory_bytes: int, size: str = "1b7") -> Preset:
    """The preset for a card: that of the largest size that it has. What is sold as 8 GB reports 2 to 6 % less or more,
    so that much is forgiven.

    Raises:
        UsageError: a card below the smallest size, or an unknown model size.
    """
    if size not in _SIZES:
        raise UsageError(f"size must be one of {', '.join(_SIZES)}, not {size!r}")
    own = [each for each in presets() if each.size == size and each.card_gb * 1e9 * 0.94 <= memory_bytes]
    if not own:
        raise UsageError(
            f"no preset for {memory_bytes / 1e9:.1f} GB: the smallest is for {min(CARD_SIZES_GB)} GB; run tune chunks"
        )
    return max(own, key=lambda each: each.card_gb)


def by_forecast(size: ModelSize, card_gb: int) -> Preset:
    """The most parts side by side whose forecast fills at most nine tenths of the card."""
    table: Literal["card", "cpu"] = "cpu" if card_gb < _SMALL_GB else "card"
    needs = dict(_needs(size, table))
    batch = next((batch for batch, need in needs.items() if need <= _SHARE * card_gb * 1e9), 1)
    parts = f"{batch} parts of {_CHARACTERS} characters side by side"
    told = f"{needs[batch] / 1e9:.1f} GB of {card_gb} GB with {parts}; not measured"
    compared = {f"batch {other}": f"{need / 1e9:.1f} GB" for other, need in needs.items() if other != batch}
    return Preset(
        card_gb=card_gb,
        size=size,
        precision="bfloat16",
        audio_chunk_size=_CHUNK_FRAMES,
        max_text_length=_CHARACTERS,
        batch=batch,
        text_table=table,
        source=Source(kind="forecast", need_bytes=needs[batch], told=told, compared=compared),
    )


@cache
def _needs(size: ModelSize, table: Literal["card", "cpu"]) -> tuple[tuple[int, int], ...]:
    """Batches and the bytes that they need, largest first."""
    from toolkit.synthesis.drawn_model import drawn_model
    from toolkit.synthesis.forecasting import forecast_speech
    from toolkit.synthesis.loading import LoadOptions

    options = LoadOptions(
        dtype="bfloat16",
        text_embedding_on_cpu=table == "cpu",
        audio_chunk_size=_CHUNK_FRAMES,
        max_text_length=_CHARACTERS,
    )
    with drawn_model(size) as found:
        return tuple(
            (rows, forecast_speech(found, options, device="cuda", capability=_AMPERE, rows=rows).total_bytes)
            for rows in _FORECAST_BATCHES
        )


def from_measurements(document: Mapping[str, Any], size: ModelSize, card_gb: int) -> Preset | None:
    """The fastest of the BF16 cells that were stable under that cap; of those within 3 % the one with the least memory.
    None: there is no such cell.

    Args:
        document: what ``benchmarks/presets.py`` wrote.
    """
    compared: dict[str, str] = {}
    stable: list[tuple[float, int, dict[str, Any], dict[str, Any]]] = []
    for key, cell in document["cells"].items():
        own, precision, name, cap = key.split("/")
        if own != size or int(cap) != card_gb:
            continue
        need = cell.get("need_bytes")
        figure = f", {need / 1e9:.2f} GB" if need else ""
        compared[f"{name} {precision}"] = f"{cell['outcome']}{figure}"
        if precision == "bfloat16" and cell["outcome"] == "stable" and need and need <= card_gb * 1e9:
            candidate = document["candidates"][name]
            stable.append((cell["runs"]["median_s"] / candidate["batch"], need, candidate, cell))
    if not stable:
        return None
    least = min(each[0] for each in stable)
    _, need, candidate, cell = min((each for each in stable if each[0] <= least * _NEAR), key=lambda each: each[1])
    return Preset(
        card_gb=card_gb,
        size=size,
        precision="bfloat16",
        audio_chunk_size=candidate["audio_chunk_size"],
        max_text_length=candidate["max_text_length"],
        batch=candidate["batch"],
        text_table="cpu" if str(cell["text_table"]).startswith("cpu") else "card",
        source=Source(
            kind="measured",
            need_bytes=need,
            told=f"{need / 1e9:.2f} GB, {cell['runs']['done']} runs in a row under a cap of {card_gb} GB on "
            f"{document['device']}, {document['measured']}; {document['emulated']}",
            compared=compared,
        ),
    )


def presets_text(document: Mapping[str, Any] | None) -> str:
    """The file: measured where the document has a stable cell, by forecast elsewhere.

    Raises:
        UsageError: not a document of ``benchmarks/presets.py``, or one that was made without a card.
    """
    if document is not None and (document.get("kind") != "presets" or document.get("memory_bytes") is None):
        raise UsageError("that is no result of benchmarks/presets.py on a card; presets do not come from a CPU")
    rows = []
    for size in _SIZES:
        for card_gb in CARD_SIZES_GB:
            found = None if document is None else from_measurements(document, size, card_gb)
            rows.append((found or by_forecast(size, card_gb)).model_dump())
    head = (
        "# Settings by size of the card, in BF16. Written by benchmarks/presets.py --write-presets; not by hand.\n"
        "# source.kind: measured under a cap of that size, or forecast only.\n"
    )
    return head + yaml.safe_dump({"schema": 1, "presets": rows}, sort_keys=False, allow_unicode=True, width=110)
