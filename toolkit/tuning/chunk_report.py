"""What a sweep of the chunk tuner says: best, front, importance of each knob, picture, and the settings to keep."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import UsageError
from toolkit.tuning.chunk_knobs import Aim, Space, Tried, objectives

if TYPE_CHECKING:
    from toolkit.synthesis.speech_config import SpeechConfig

__all__ = ["LABELS", "best_of", "config_of", "front_of", "importance_of", "plot_front", "report_json"]

LABELS: Mapping[str, str] = {
    "s_per_s": "seconds of work for a second of speech",
    "start_s": "start without a halt, s",
    "peak_bytes": "peak memory, GB",
}

_PUBLISHED: Mapping[str, str] = {"1b7": "1.7B-CustomVoice", "0b6": "0.6B-CustomVoice", "tiny": "pocket"}
_NEAR = 1.03
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#9a9a9a"
_FEWEST = 8


def front_of(trials: Sequence[Tried]) -> tuple[Tried, ...]:
    """Trials that no other beats in one figure without losing in another, the first of equals; least memory first."""
    count = [trial for trial in trials if trial.values is not None]
    kept = []
    for trial in count:
        beaten = any(
            all(a <= b for a, b in zip(other.values or (), trial.values or (), strict=True))
            and (other.values != trial.values or other.slot < trial.slot)
            for other in count
            if other is not trial
        )
        if not beaten:
            kept.append(trial)
    return tuple(sorted(kept, key=lambda trial: (trial.values or (0.0,))[-1]))


def best_of(trials: Sequence[Tried], aim: Aim) -> Tried | None:
    """The fastest; of those within 3 % of it, which no user hears, the one with the least memory. With both aims each
    figure counts as a multiple of the least one. None: no trial counts."""
    count = [trial for trial in trials if trial.values is not None]
    if not count:
        return None
    speeds = [(trial.values or ())[: len(objectives(aim)) - 1] for trial in count]
    least = [max(min(column), 1e-9) for column in zip(*speeds, strict=True)]
    costs = [sum(value / low for value, low in zip(row, least, strict=True)) for row in speeds]
    near = min(costs) * _NEAR
    chosen = [trial for trial, cost in zip(count, costs, strict=True) if cost <= near]
    return min(chosen, key=lambda trial: ((trial.values or (0.0,))[-1], trial.slot))


def importance_of(trials: Sequence[Tried], space: Space, aim: Aim) -> dict[str, dict[str, float]]:
    """By objective, the share of its variance that the values of each knob explain by themselves (epsilon squared: eta
    squared less what chance explains), largest first. Knobs that went together share the same variance, so that the
    shares do not add up to one. Empty with fewer than eight trials that count.

    Not the library's own: its functional ANOVA needs a further package, and its other measure gave a knob that explains
    all of the time 0.39.
    """
    knobs = [name for name, values in space.values.items() if len(values) > 1]
    count = [trial for trial in trials if trial.values is not None]
    if len(count) < _FEWEST:
        return {}
    found: dict[str, dict[str, float]] = {}
    for index, name in enumerate(objectives(aim)):
        figures = [(trial.values or ())[index] for trial in count]
        if max(figures) == min(figures):
            continue
        shares = {knob: _explained([getattr(trial.settings, knob) for trial in count], figures) for knob in knobs}
        found[name] = dict(sorted(shares.items(), key=lambda each: -each[1]))
    return found


def _explained(groups: Sequence[object], figures: Sequence[float]) -> float:
    """Epsilon squared of a grouping, at least 0."""
    members: dict[object, list[float]] = {}
    for group, figure in zip(groups, figures, strict=True):
        members.setdefault(group, []).append(figure)
    mean = statistics.fmean(figures)
    whole = sum((figure - mean) ** 2 for figure in figures)
    inside = sum((figure - statistics.fmean(own)) ** 2 for own in members.values() for figure in own)
    left = len(figures) - len(members)
    if left < 1:
        return 0.0
    return round(max(0.0, 1 - (inside / left) / (whole / (len(figures) - 1))), 4)


def config_of(
    best: Tried, space: Space, *, model: str, device: str, speaker: str | None, origin: str, limit: str | None
) -> SpeechConfig:
    """The settings to keep, each with where it comes from.

    Args:
        model: as the sweep was given it; random weights stand for the published model of their shape.
        origin: which trial it was, and what it measured.
        limit: that of a card.
    """
    from toolkit.synthesis.speech_config import SpeechConfig

    chosen = best.settings
    card = device.startswith("cuda")
    values: dict[str, object] = {
        "schema": 1,
        "model": _PUBLISHED.get(model, model),
        "device": device,
        "precision": chosen.precision,
        "audio_chunk_size": chosen.audio_chunk_size,
        "max_text_length": chosen.max_text_length,
        "batch": chosen.batch,
        "chunk_frames": list(chosen.schedule),
        "text_table": chosen.text_table if card else "auto",
        "speaker": speaker,
        "vram_limit": limit,
    }
    why = {
        knob: f"trial {best.slot}; compared were {', '.join(map(str, tried))}"
        if len(tried) > 1
        else "the only value tried"
        for knob, tried in space.values.items()
    }
    why["model"] = origin
    if model in _PUBLISHED:
        why["model"] += f"; with random weights of the shape {model} in place of this model"
    if limit is not None:
        why["vram_limit"] = "the trials were held to it"
    return SpeechConfig.model_validate({**values, "why": why})


def report_json(trials: Sequence[Tried], space: Space, aim: Aim) -> dict[str, object]:
    """Everything as JSON values."""
    best = best_of(trials, aim)
    return {
        "aim": aim,
        "objectives": list(objectives(aim)),
        "trials": [
            {
                "trial": trial.slot,
                "settings": asdict(trial.settings),
                "values": None if trial.values is None else dict(zip(objectives(aim), trial.values, strict=True)),
                "fault": trial.fault,
                "by_forecast": trial.forecast,
                "details": {} if trial.measured is None else dict(trial.measured.details),
            }
            for trial in trials
        ],
        "best": None if best is None else best.slot,
        "front": [trial.slot for trial in front_of(trials)],
        "importance": importance_of(trials, space, aim),
    }


def plot_front(trials: Sequence[Tried], aim: Aim, path: Path, *, limit_bytes: int | None, title: str) -> Path:
    """Memory against each of the other figures, with the front, the best and the limit; PNG, SVG or PDF by the suffix.

    Raises:
        UsageError: another suffix, or no trial to show.
        BadOutput: it cannot be written there.
    """
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from toolkit.synthesis.whole_file import WholeFile

    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in ("png", "svg", "pdf"):
        raise UsageError(f"{path}: a picture ends in .png, .svg or .pdf")
    count = [trial for trial in trials if trial.values is not None]
    best, front = best_of(trials, aim), front_of(trials)
    if best is None:
        raise UsageError("no trial passed, so there is nothing to draw")
    names = objectives(aim)[:-1]
    figure = Figure(figsize=(5.6 * len(names) + 0.6, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    for index, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), index + 1)

        def points(chosen: Sequence[Tried], index: int = index) -> tuple[list[float], list[float]]:
            return [(t.values or ())[-1] / 1e9 for t in chosen], [(t.values or ())[index] for t in chosen]

        axes.plot(*points(count), "o", color=_GREY, markersize=5, label=f"{len(count)} trials that passed")
        style = "-s" if len(names) == 1 else "s"  # a line through a front of three figures would go to and fro
        axes.plot(*points(front), style, color=_BLUE, markersize=6, label="none is better in all figures")
        axes.plot(*points([best]), "*", color=_ORANGE, markersize=16, label=f"taken: trial {best.slot}")
        if limit_bytes is not None:
            axes.axvline(limit_bytes / 1e9, color="black", linestyle="--", linewidth=1, label="limit")
        axes.set_xlabel(LABELS["peak_bytes"])
        axes.set_ylabel(LABELS[name])
        axes.grid(alpha=0.3)
        axes.set_ylim(bottom=0)
        if index == 0:
            axes.legend(fontsize=8, loc="best")
    figure.suptitle(title, fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix, dpi=130)
    with WholeFile(path, overwrite=True) as file:
        file.write(buffer.getvalue())
    return path
