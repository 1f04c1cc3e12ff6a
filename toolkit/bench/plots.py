"""Pictures of saved results: milliseconds a frame by card beside peers and floor, and batches against real time."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import UsageError
from toolkit.synthesis.whole_file import WholeFile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BATCHES_FILE", "SPEED_FILE", "Result", "plot", "read_results"]

SPEED_FILE, BATCHES_FILE = "speed.png", "batches.png"

_REAL_TIME_MS = 80.0
"""Milliseconds of speech in a frame."""

_WIDTH_INCH, _DPI = 8.0, 110
_BAR_INCH, _FRAME_INCH = 0.26, 1.4
_MOST_BYTES = 8 * 2**20
_COLOURS = ("#1b6ca8", "#d1842f", "#7a5195", "#58a066")
_FLOOR_COLOUR = "#9a9a9a"


@dataclass(frozen=True)
class Result:
    """One precision of one saved document.

    Attributes:
        label: card, model and dtype.
        ms_per_frame: name to milliseconds a frame: "ours", the peers that were measured, and "floor" (weights of a
            frame at the bandwidth of a copy on the same card).
        batches: rows and the times real time of all together.
    """

    label: str
    ms_per_frame: Mapping[str, float]
    batches: tuple[tuple[int, float], ...]


def read_results(folder: Path) -> tuple[tuple[Result, ...], tuple[str, ...]]:
    """The valid benchmark documents of a folder, in the order of their files, and sentences on what was left out.

    Raises:
        UsageError: no such folder, or none of its documents can be drawn.
    """
    if not folder.is_dir():
        raise UsageError(f"--plot {folder}: there is no such folder")
    results: list[Result] = []
    notes: list[str] = []
    for path in sorted(folder.glob("*.json")):
        document = _document(path)
        if document is None:
            continue
        if not document["valid"]:
            notes.append(f"{path.name} is left out: {'; '.join(map(str, document['faults']))}")
            continue
        results += _results(document)
    if not results:
        told = f" ({'; '.join(notes)})" if notes else ""
        raise UsageError(f"--plot {folder}: it holds no document of `qwen-audio bench --out`{told}")
    return tuple(results), tuple(notes)


def plot(folder: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Draw the documents of a folder into it; older pictures are replaced.

    Returns:
        The pictures, of speed and, where batches were measured, of those; and sentences on what was left out.

    Raises:
        UsageError: see :func:`read_results`.
        BadOutput: a picture cannot be written.
    """
    results, notes = read_results(folder)
    made = [_write(folder / SPEED_FILE, _speed(results))]
    if any(result.batches for result in results):
        made.append(_write(folder / BATCHES_FILE, _batches(results)))
    return tuple(made), notes


def _document(path: Path) -> dict[str, Any] | None:
    """A benchmark's document; None for any other file."""
    if path.stat().st_size > _MOST_BYTES:
        return None
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    is_bench = isinstance(found, dict) and found.get("kind") == "bench" and found.get("schema") == 1
    return found if is_bench else None


def _results(document: Mapping[str, Any]) -> list[Result]:
    found = []
    named = {entry["dtype"]: entry["model"] for entry in document["config"]["precisions"]}
    peers = {
        name: float(peer["warm"]["ms_per_frame"])
        for name, peer in document["peers"].items()
        if peer["state"] == "measured" and peer["warm"]["ms_per_frame"]
    }
    for run in document["runs"]:
        warm = run.get("warm")
        if not warm or not warm["ms_per_frame"]:
            continue
        dtype = str(run["dtype"]["value"])
        times = {"ours": float(warm["ms_per_frame"]), **peers}
        if run.get("bandwidth"):
            times["floor"] = float(run["bandwidth"]["floor_ms_per_frame"])
        batches = tuple((int(batch["rows"]), float(batch["x_real_time"])) for batch in run.get("batches") or ())
        found.append(Result(f"{document['environment']['name']}\n{named.get(dtype, '')} {dtype}", times, batches))
        # The peers were measured once, in the first precision.
        peers = {}
    return found


def _speed(results: Sequence[Result]) -> Figure:
    """A logarithmic scale has no 0: bars begin at half of the least time, and only their ends say something."""
    from matplotlib.figure import Figure  # no pyplot: it would ask for a display, and keep every figure

    bars = sum(len(result.ms_per_frame) + 1 for result in results)
    figure = Figure(figsize=(_WIDTH_INCH, _FRAME_INCH + _BAR_INCH * bars), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    names = list(dict.fromkeys(name for result in results for name in result.ms_per_frame if name != "floor"))
    colours = {name: _COLOURS[place % len(_COLOURS)] for place, name in enumerate(names)} | {"floor": _FLOOR_COLOUR}
    least = min(min(result.ms_per_frame.values()) for result in results) / 2
    ticks: list[float] = []
    place = 0
    for result in results:
        first = place
        for name, time_ms in result.ms_per_frame.items():
            axes.barh(place, time_ms - least, left=least, color=colours[name], height=0.8)
            axes.text(time_ms, place, f" {name} {time_ms:.3g}", va="center", fontsize=8)
            place += 1
        ticks.append((first + place - 1) / 2)
        place += 1
    axes.set_yticks(ticks, [result.label for result in results], fontsize=8)
    axes.set_xscale("log")
    most = max(max(result.ms_per_frame.values()) for result in results)
    axes.set_xlim(least, max(most, _REAL_TIME_MS) * 4)
    axes.axvline(_REAL_TIME_MS, color="black", linewidth=0.8, linestyle=":")
    axes.invert_yaxis()
    axes.set_xlabel("ms a frame of 80 ms (dotted: real time); less is better")
    return figure


def _batches(results: Sequence[Result]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_INCH, 4.5), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    rows: set[int] = set()
    for place, result in enumerate(result for result in results if result.batches):
        counts, speeds = zip(*sorted(result.batches), strict=True)
        label = result.label.replace("\n", ", ")
        axes.plot(counts, speeds, marker="o", color=_COLOURS[place % len(_COLOURS)], label=label)
        rows.update(counts)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sorted(rows), [str(count) for count in sorted(rows)])
    axes.axhline(1.0, color="black", linewidth=0.8, linestyle=":")
    axes.set_xlabel("texts side by side")
    axes.set_ylabel("x real time of all together (dotted: real time)")
    axes.legend(fontsize=8)
    return figure


def _write(path: Path, figure: Figure) -> Path:
    data = io.BytesIO()
    figure.savefig(data, format="png", metadata={"Software": None})
    with WholeFile(path, overwrite=True) as file:
        file.write(data.getvalue())
    return path
