"""The picture of a watch: utilisation, memory, clock and power over the last minute, throttled stretches marked."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from toolkit.probe.watch import HEALTHY_PERCENT, Sample
from troubleshoot.facts import NA

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["WINDOW_S", "draw_watch"]

WINDOW_S = 60.0
"""Seconds that the picture shows."""
_GIB = 2**30
# Okabe and Ito's colours; the grey can be read on white and on black, since the picture has no ground of its own.
_COLOURS = ("#0072B2", "#CC79A7", "#009E73", "#D55E00")
_GREY, _HOT, _WELL = "#808080", "#E69F00", "#009E73"


def draw_watch(samples: Sequence[Sample]) -> bytes:
    """A PNG of 880 by 462 pixels of the last minute of the samples. Needs one or more."""
    from matplotlib.figure import Figure  # no pyplot: it would keep every figure

    last = samples[-1].time_s
    shown = [one for one in samples if one.time_s >= last - WINDOW_S]
    figure = Figure(figsize=(8.0, 4.2), dpi=110, layout="constrained")
    panels = figure.subplots(4, 1, sharex=True, height_ratios=(1.6, 1, 1, 1))
    total = next((one.memory_total_bytes / _GIB for one in shown if not isinstance(one.memory_total_bytes, NA)), None)
    limit = next((one.power_limit_w for one in shown if not isinstance(one.power_limit_w, NA)), None)
    for axes, name, title, scale, top, colour in zip(
        panels,
        ("utilization_percent", "memory_used_bytes", "sm_clock_mhz", "power_w"),
        ("used %", "GiB", "SM MHz", "W"),
        (1.0, 1 / _GIB, 1.0, 1.0),
        (100.0, total, None, limit),
        _COLOURS,
        strict=True,
    ):
        _line(axes, shown, name, scale, colour)
        _dress(axes, title, top)
        for start, stop in _throttled(shown):
            axes.axvspan(start, stop, color=_HOT, alpha=0.35, linewidth=0)
    panels[0].axhspan(*HEALTHY_PERCENT, color=_WELL, alpha=0.12, linewidth=0)
    panels[0].annotate(
        "healthy", (0.005, HEALTHY_PERCENT[0] + 2), xycoords=("axes fraction", "data"), color=_WELL, size=7
    )
    panels[-1].set_xlim(max(0.0, last - WINDOW_S), max(last, WINDOW_S / 3))
    panels[-1].set_xlabel("s", color=_GREY, fontsize=8)
    figure.align_ylabels(panels)
    data = io.BytesIO()
    figure.savefig(data, format="png", transparent=True, metadata={"Software": None})
    return data.getvalue()


def _line(axes: Axes, shown: Sequence[Sample], name: str, scale: float, colour: str) -> None:
    values = [getattr(one, name) for one in shown]
    known = [float("nan") if isinstance(value, NA) else float(value) * scale for value in values]
    axes.plot([one.time_s for one in shown], known, color=colour, linewidth=1.6, marker=".", markersize=4)
    if all(isinstance(value, NA) for value in values):
        axes.annotate("not known", (0.5, 0.5), xycoords="axes fraction", color=_GREY, size=8, ha="center", va="center")


def _dress(axes: Axes, title: str, top: float | None) -> None:
    axes.set_ylabel(title, color=_GREY, fontsize=8)
    axes.tick_params(colors=_GREY, labelsize=7)
    for side in axes.spines.values():
        side.set_color(_GREY)
    axes.grid(color=_GREY, alpha=0.25, linewidth=0.5)
    axes.set_ylim(0, top if top is not None else max(1.0, axes.get_ylim()[1]))


def _throttled(shown: Sequence[Sample]) -> list[tuple[float, float]]:
    """Stretches in which the driver slowed the card down."""
    found: list[tuple[float, float]] = []
    for before, after in zip(shown, (*shown[1:], shown[-1]), strict=True):
        if before.throttled is True:
            if found and found[-1][1] == before.time_s:
                found[-1] = (found[-1][0], after.time_s)
            else:
                found.append((before.time_s, after.time_s))
    return found
