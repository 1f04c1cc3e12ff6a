"""The document as a table for people; on standard error, since standard output belongs to the JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["tables_of"]

_STAGES = (
    ("prefill", "prefill_ms", "ms"),
    ("talker step", "talker_step_ms_per_frame", "ms a frame"),
    ("predictor", "predictor_ms_per_frame", "ms a frame"),
    ("codec", "codec_ms_per_frame", "ms a frame"),
)


def tables_of(document: Mapping[str, Any]) -> RenderableType:
    """Everything that was measured; ``-`` where a figure could not be had."""
    parts: list[RenderableType] = [_heading(document), _main(document["runs"]), _stability(document["runs"])]
    if document["cold"] is not None:
        parts.append(_cold(document["cold"]))
    if document["peers"]:
        parts.append(_peers(document))
    fallbacks = [told for run in document["runs"] for told in run.get("fallbacks") or ()]
    parts += [Text(note) for note in (*fallbacks, *document["notes"])]
    if not document["valid"]:
        parts.append(Text(f"INVALID: {'; '.join(document['faults'])}", style="bold"))
    return Group(*parts)


def _heading(document: Mapping[str, Any]) -> Text:
    config, machine = document["config"], document["environment"]
    name = config["precisions"][0]["model"] if config["precisions"] else config["model"] or config["size"]
    return Text(
        f"{name} ({config['weights']} weights) on {machine['name']}, torch {machine['torch']}, "
        f"{config['frames']} frames, settings {document['config_sha256'][:12]}"
    )


def _main(runs: Sequence[Mapping[str, Any]]) -> Table:
    """One column a precision."""
    table = Table("", *(run["precision"] for run in runs), title="warm, batch 1 unless said", title_justify="left")

    def row(label: str, *keys: object, digits: int = 2, scale: float = 1.0) -> None:
        cells = [_number(_found(run, keys), digits, scale) for run in runs]
        if any(cell != "-" for cell in cells):
            table.add_row(label, *cells)

    row("ms a frame (80 ms), codec included", "warm", "ms_per_frame")
    row("x real time", "warm", "x_real_time")
    row("RTF", "warm", "rtf", digits=4)
    for label, key, unit in _STAGES:
        row(f"  {label}, {unit}", "stages", key, digits=3)
    for index, stream in enumerate(_first(runs, "streams")):
        row(f"first audio, pieces of {stream['chunk_frames']}, ms", "streams", index, "first_audio_ms", digits=1)
    for index, batch in enumerate(_first(runs, "batches")):
        row(f"batch {batch['rows']}, x real time in all", "batches", index, "x_real_time")
        row(f"batch {batch['rows']}, ms a step", "batches", index, "ms_per_step")
    texts = [run["text"] for run in runs if "text" in run]
    if texts:
        told = f"text of {texts[0]['characters']} characters, {texts[0]['parts']} parts side by side, s"
        row(told, "text", "total_s", digits=3)
    for key in ("peak_allocated_bytes", "peak_reserved_bytes", "peak_resident_bytes"):
        row(f"{key.removesuffix('_bytes').replace('_', ' ')}, GB", "warm", "memory", key, scale=1e-9)
    row("share of the memory's bandwidth, %", "bandwidth", "share", digits=1, scale=100.0)
    row("copy in that memory, GB/s", "bandwidth", "copy_bytes_per_s", digits=0, scale=1e-9)
    row("kernels a frame", "kernels", "per_frame", digits=0)
    return table


def _stability(runs: Sequence[Mapping[str, Any]]) -> Table:
    """The tutorial's own table: mean time, peak memory, and how long it ran."""
    title = "the same call again and again"
    table = Table("precision", "mean, s", "peak, GB", "stable", title=title, title_justify="left")
    for run in runs:
        repeats = run["repeats"]
        memory = repeats.get("memory") or {}
        peak = memory.get("peak_allocated_bytes", memory.get("peak_resident_bytes"))
        table.add_row(run["precision"], _number(repeats.get("mean_s"), 3), _number(peak, 2, 1e-9), repeats["outcome"])
        told = repeats["error"] or run.get("error")
        if told:
            table.add_row("", "", "", told)
    return table


def _cold(cold: Mapping[str, Any]) -> Table:
    table = Table("cold start, s", "total", "python", "import", "load", "speak", title_justify="left")
    for label, key in (("compiled kernels at hand", "cached"), ("none at hand", "not_cached")):
        found = cold[key]
        if found is not None:
            names = ("total_s", "python_s", "import_s", "load_s", "speak_s")
            table.add_row(label, *(_number(found.get(name), 2) for name in names))
            if found.get("error"):
                table.add_row(str(found["error"]))
    return table


def _peers(document: Mapping[str, Any]) -> Table:
    """Ratios are of milliseconds a frame: how many times as long a peer takes as our first precision."""
    table = Table("peer", "ms a frame", "x real time", "first audio, ms", "takes", title_justify="left")
    runs = document["runs"]
    ours = _found(runs[0], ("warm", "ms_per_frame")) if runs else None
    for name, peer in document["peers"].items():
        if peer["state"] != "measured":
            table.add_row(name, peer["state"], "", "", peer["reason"])
            continue
        theirs = _found(peer, ("warm", "ms_per_frame"))
        ratio = f"{theirs / ours:.2f} x as long" if theirs and ours else "-"
        first = _number(_found(peer, ("streams", 0, "first_audio_ms")), 1)
        table.add_row(name, _number(theirs, 2), _number(_found(peer, ("warm", "x_real_time")), 2), first, ratio)
    return table


def _first(runs: Sequence[Mapping[str, Any]], key: str) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = next((run[key] for run in runs if run.get(key)), ())
    return found


def _found(values: Any, keys: Sequence[object]) -> Any:
    for key in keys:
        if isinstance(values, Mapping):
            values = values.get(key)
        elif isinstance(values, Sequence) and isinstance(key, int) and key < len(values):
            values = values[key]
        else:
            return None
    return values


def _number(value: object, digits: int, scale: float = 1.0) -> str:
    return f"{value * scale:,.{digits}f}" if isinstance(value, int | float) else "-"
