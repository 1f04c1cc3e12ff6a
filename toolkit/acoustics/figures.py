"""Draws speech one over another: waveform, spectrogram, pitch, energy; faults, pauses and differences are marked."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from toolkit.acoustics.difference_table import difference_rows, size_text
from toolkit.acoustics.levels import frame_levels
from toolkit.acoustics.pictures import HOP_S, WINDOW_S, spectrum_levels_db
from toolkit.acoustics.pitch import PitchTrack, track_pitch
from toolkit.errors import BadOutput, UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from toolkit.acoustics.comparison import Comparison
    from toolkit.acoustics.faults import Fault

__all__ = ["MOST_VIEWS", "View", "drawable", "draw_speech", "picture_bytes", "picture_format"]

Format = Literal["png", "svg"]

MOST_VIEWS = 4
# Okabe and Ito's colours ("Color Universal Design", 2008); in grey print some are alike, so lines differ by dashes too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1.2), (1.2, 1.2), (6, 1.2, 1.2, 1.2))
_FAIL_COLOUR, _WARN_COLOUR = "#000000", "#E69F00"
_PAUSE_COLOUR = "#999999"

_RANGE_DB = 65.0
_ENERGY_RANGE_DB = 60.0
_TOP_HZ = 8_000
_MOST_COLUMNS = 1_600
_MOST_FAULT_ROWS = 6
_MOST_LINES = 12
_USUAL_F0_HZ = (60.0, 400.0)
_F0_TICKS_HZ = (50, 60, 70, 80, 90, 100, 110, 120, 130, 140, 160, 180, 200, 220, 240, 280, 320, 360, 400, 450, 500, 600)
_WIDTH_INCH, _TABLE_INCH, _DPI = 8.0, 6.0, 110
_WAVE, _SPECTRUM, _PITCH, _ENERGY, _FAULT_ROW = 0.8, 1.5, 1.4, 1.0, 0.16


@dataclass(frozen=True, eq=False)
class View:
    """Mono speech to be drawn.

    Attributes:
        title: any text; characters that no font on the machine has are left out (:func:`drawable`).
        samples: float32 ``[n]``, 25 ms or more.
        sample_rate_hz: of the samples.
        pitch: its pitch if that is known already.
        pauses_s: start and stop of each pause in seconds.
        faults: to be marked at their places.
    """

    title: str
    samples: NDArray[np.float32]
    sample_rate_hz: int
    pitch: PitchTrack | None = None
    pauses_s: Sequence[tuple[float, float]] = ()
    faults: Sequence[Fault] = ()

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or self.samples.size < WINDOW_S * self.sample_rate_hz:
            raise UsageError(f"{self.title}: speech is drawn from {WINDOW_S} s of mono or more")

    @property
    def duration_s(self) -> float:
        """Length."""
        return self.samples.size / self.sample_rate_hz


def draw_speech(views: Sequence[View], comparison: Comparison | None = None) -> Figure:
    """One figure: waveform and spectrogram of each clip, one over another, then pitch and energy of all, on one scale.

    With a comparison there are two views, its reference first; pitch and energy of the second are drawn at the
    reference's time, the largest differences are marked, and a table of all differences stands beside.

    Raises:
        UsageError: no clip, more than four, or a comparison of other than two.
    """
    from matplotlib.figure import Figure  # no pyplot: it would ask for a display, and keep every figure

    if not 1 <= len(views) <= MOST_VIEWS:
        raise UsageError(f"one picture holds 1 to {MOST_VIEWS} clips, not {len(views)}")
    if comparison is not None and len(views) != 2:
        raise UsageError(f"a comparison is drawn of two clips, not of {len(views)}")
    heights = [height for view in views for height in (_fault_height(view), _WAVE, _SPECTRUM)] + [_PITCH, _ENERGY]
    heights = [height for height in heights if height]
    width = _WIDTH_INCH + (_TABLE_INCH if comparison is not None else 0)
    height = 1.0 + 1.1 * sum(heights)
    if comparison is not None:
        height = max(height, 1.0 + 0.23 * (len(difference_rows(comparison)) + 1))
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    ratios = (_WIDTH_INCH, _TABLE_INCH) if comparison is not None else (_WIDTH_INCH,)
    grid = figure.add_gridspec(len(heights), len(ratios), height_ratios=heights, width_ratios=ratios)
    panels = [figure.add_subplot(grid[row, 0]) for row in range(len(heights))]
    for axes in panels[1:]:
        axes.sharex(panels[0])
    for axes in panels[:-1]:
        axes.tick_params(labelbottom=False)
    panels[0].set_xlim(0, max(view.duration_s for view in views))
    _draw_views(panels, views)
    _draw_pitch(panels[-2], views, comparison)
    _draw_energy(panels[-1], views, comparison)
    time = "time in s" if comparison is None else "time in s; pitch and energy of both on the time of the first"
    panels[-1].set_xlabel(time, fontsize=8)
    figure.align_ylabels(panels)
    if comparison is not None:
        _draw_table(figure.add_subplot(grid[:, 1]), comparison)
    return figure


def picture_format(path: str | Path) -> Format:
    """The format that a file's name asks for. Raises BadOutput for what is neither .png nor .svg."""
    suffix = Path(path).suffix.lower()
    if suffix == ".png":
        return "png"
    if suffix == ".svg":
        return "svg"
    raise BadOutput(f"a picture is written as .png or .svg, not as {suffix or 'a file without a suffix'}: {path}")


def picture_bytes(figure: Figure, kind: Format = "png") -> bytes:
    """The figure as a file's bytes; a notebook shows them with ``Image(data)`` or ``SVG(data)``."""
    import matplotlib

    data = io.BytesIO()
    # Text as paths, so that an SVG looks the same where the fonts are others.
    with matplotlib.rc_context({"svg.fonttype": "path"}):
        figure.savefig(data, format=kind, metadata={"Software": None} if kind == "png" else {"Date": None})
    return data.getvalue()


def drawable(text: str) -> str:
    """The text without characters that no font at hand has: each run of them becomes one "…".

    Matplotlib brings DejaVu Sans, which knows no Chinese; one of the usual Chinese, Japanese or Korean fonts is used
    too when the machine has it. So no title ever shows as empty boxes.
    """
    glyphs = _glyphs()
    kept = "".join(char if char in " …" or ord(char) in glyphs else "\0" for char in text)
    while "\0\0" in kept:
        kept = kept.replace("\0\0", "\0")
    return kept.replace("\0", "…")


_WIDE_FONTS = ("CJK", "Source Han", "SimHei", "YaHei", "PingFang", "WenQuanYi", "Hiragino", "Heiti", "Songti")


@cache
def _families() -> tuple[str, ...]:
    from matplotlib.font_manager import fontManager

    names = sorted({font.name for font in fontManager.ttflist})
    wide = [name for key in _WIDE_FONTS for name in names if key in name]
    return ("DejaVu Sans", *wide[:1])


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    paths = [findfont(FontProperties(family=name)) for name in _families()]
    return frozenset(code for path in paths for code in get_font(path).get_charmap())


def _fault_height(view: View) -> float:
    return _FAULT_ROW * (min(len({fault.name for fault in view.faults}), _MOST_FAULT_ROWS) + 0.5) * bool(view.faults)


def _draw_views(panels: Sequence[Axes], views: Sequence[View]) -> None:
    hop_s = max(HOP_S, max(view.duration_s for view in views) / _MOST_COLUMNS)
    spectra = [spectrum_levels_db(_finite(view), view.sample_rate_hz, hop_s) for view in views]
    loudest_db = max(float(levels.max()) for levels in spectra)
    peak = max(1e-3, *(float(np.abs(_finite(view)).max()) for view in views))
    rest = iter(panels)
    for place, (view, levels) in enumerate(zip(views, spectra, strict=True)):
        top = axes = next(rest)
        if view.faults:
            _draw_faults(axes, view)
            axes = next(rest)
        _draw_wave(axes, view, _COLOURS[place], peak)
        _draw_spectrum(next(rest), view, levels - loudest_db, hop_s)
        top.set_title(
            drawable(view.title), fontsize=9, loc="left", color=_COLOURS[place], parse_math=False,
            fontfamily=list(_families()), fontweight="bold",
        )  # fmt: skip


def _draw_faults(axes: Axes, view: View) -> None:
    """A row for each name: bars as long as the faults, filled where they fail, hollow where they only warn."""
    names = list(dict.fromkeys(fault.name for fault in view.faults))
    shown = names if len(names) <= _MOST_FAULT_ROWS else names[: _MOST_FAULT_ROWS - 1]
    shortest_s = view.duration_s / 200
    labels = []
    for row, name in enumerate(shown):
        found = [fault for fault in view.faults if fault.name == name]
        labels.append(name + (f" ({len(found)})" if len(found) > 1 else ""))
        for fault in found:
            fails = fault.weight == "fail"
            span = [(fault.place_s, max(fault.length_s, shortest_s))]
            axes.broken_barh(
                span, (row - 0.3, 0.6), facecolors=_FAIL_COLOUR if fails else "white",
                edgecolors=_FAIL_COLOUR if fails else _WARN_COLOUR, linewidth=1.0,
            )  # fmt: skip
    if len(shown) < len(names):
        labels.append(f"and {len(names) - len(shown)} kinds more")
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(length=0)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def _draw_wave(axes: Axes, view: View, colour: str, peak: float) -> None:
    """The least and the largest sample of each column, so that a long clip stays a small picture."""
    samples = _finite(view)
    step = max(1, len(samples) // _MOST_COLUMNS)
    whole = samples[: len(samples) // step * step].reshape(-1, step)
    times = (np.arange(len(whole)) + 0.5) * step / view.sample_rate_hz
    axes.fill_between(times, whole.min(axis=1), whole.max(axis=1), color=colour, linewidth=0.3)
    axes.set_ylim(-1.05 * peak, 1.05 * peak)
    axes.set_ylabel("amplitude", fontsize=8)
    axes.tick_params(labelsize=7)
    _draw_pauses(axes, view)
    _draw_fault_lines(axes, view, _FAIL_COLOUR)


def _draw_pauses(axes: Axes, view: View) -> None:
    for start_s, stop_s in view.pauses_s:
        axes.axvspan(start_s, stop_s, facecolor="none", edgecolor=_PAUSE_COLOUR, hatch="////", linewidth=0, alpha=0.7)


def _draw_fault_lines(axes: Axes, view: View, colour: str) -> None:
    if len(view.faults) <= _MOST_LINES:
        for fault in view.faults:
            axes.axvline(fault.place_s, color=colour, linewidth=0.7, linestyle=":")


def _draw_spectrum(axes: Axes, view: View, levels_db: NDArray[np.float64], hop_s: float) -> None:
    top_hz = min(_TOP_HZ, view.sample_rate_hz / 2)
    rows = max(2, round((len(levels_db) - 1) * top_hz / (view.sample_rate_hz / 2)) + 1)
    half_s = round(hop_s * view.sample_rate_hz) / view.sample_rate_hz / 2
    middle_s = WINDOW_S / 2
    stop_s = middle_s + (levels_db.shape[1] - 1) * 2 * half_s + half_s
    axes.imshow(
        levels_db[:rows], origin="lower", aspect="auto", extent=(middle_s - half_s, stop_s, 0.0, top_hz / 1000),
        cmap="Greys", vmin=-_RANGE_DB, vmax=0.0, interpolation="nearest",
    )  # fmt: skip
    axes.set_ylim(0, _TOP_HZ / 1000)
    axes.set_ylabel("kHz", fontsize=8)
    axes.tick_params(labelsize=7)
    _draw_fault_lines(axes, view, _FAIL_COLOUR)


def _draw_pitch(axes: Axes, views: Sequence[View], comparison: Comparison | None) -> None:
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    lowest, highest = _USUAL_F0_HZ
    heard = []
    for place, view in enumerate(views):
        track = view.pitch if view.pitch is not None else track_pitch(_finite(view), view.sample_rate_hz)
        times_s, f0_hz = track.times_s, track.f0_hz
        heard.append(track.voiced_hz)
        if comparison is not None and place == 1:
            times_s, f0_hz = comparison.warp.times_s, f0_hz[comparison.warp.nearest(len(f0_hz))]
        _line(axes, times_s, f0_hz, place, drawable(view.title))
    voiced = np.concatenate(heard)
    if len(voiced):
        lowest, highest = float(np.percentile(voiced, 0.5)) / 1.15, float(np.percentile(voiced, 99.5)) * 1.15
    axes.set_yscale("log")
    axes.set_ylim(lowest, highest)
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    ticks = [tick for tick in _F0_TICKS_HZ if lowest <= tick <= highest]
    ticks = ticks[:: 1 + len(ticks) // 9]
    axes.set_yticks(ticks, [str(tick) for tick in ticks], fontsize=7)
    axes.set_yticks([], minor=True)
    axes.set_ylabel("pitch in Hz", fontsize=8)
    axes.grid(alpha=0.3)
    if len(views) == 1:
        _draw_pauses(axes, views[0])
    else:
        legend = axes.legend(
            loc="lower right", bbox_to_anchor=(1.0, 0.98), frameon=False, ncols=len(views), columnspacing=1.2,
            prop={"family": list(_families()), "size": 7},
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)
    if comparison is not None:
        _mark(axes, comparison, "f0_step_st", "step")


def _draw_energy(axes: Axes, views: Sequence[View], comparison: Comparison | None) -> None:
    loudest_db = -200.0
    for place, view in enumerate(views):
        levels = frame_levels(_finite(view), view.sample_rate_hz)
        hop_s = levels.hop / view.sample_rate_hz
        times_s = np.asarray((np.arange(len(levels.frames_db)) + 1.0) * hop_s, np.float64)
        energy_db = levels.frames_db
        loudest_db = max(loudest_db, float(energy_db.max()))
        if comparison is not None and place == 1:
            energy_db = np.asarray(np.interp(comparison.warp.other_times_s, times_s, energy_db), np.float64)
            times_s = comparison.warp.times_s
        _line(axes, times_s, energy_db, place, "")
    loudest_db = max(loudest_db, -90.0)
    axes.set_ylim(loudest_db - _ENERGY_RANGE_DB, loudest_db + 6)
    axes.set_ylabel("level in dBFS", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    if len(views) == 1:
        _draw_pauses(axes, views[0])
    if comparison is not None:
        _mark(axes, comparison, "energy_largest_db", "change")
        _mark(axes, comparison, "stretch_largest", "stretch", 0.06)


def _line(axes: Axes, times_s: NDArray[np.float64], values: NDArray[np.float64], place: int, label: str) -> None:
    # An underscore at the start would hide the name from the legend.
    (line,) = axes.plot(times_s, values, color=_COLOURS[place], linewidth=1.3, label=f" {label}")
    if _DASHES[place]:
        line.set_dashes(_DASHES[place])


def _mark(axes: Axes, comparison: Comparison, name: str, word: str, height: float = 0.9) -> None:
    """A line at the place of the largest difference, with its size, at ``height`` of the panel."""
    one = comparison[name]
    if not isfinite(one.place_s):
        return
    axes.axvline(one.place_s, color="black", linewidth=0.8, linestyle="-.")
    axes.annotate(
        f" {word} {size_text(one)} ", (one.place_s, height), xycoords=axes.get_xaxis_transform(), fontsize=7,
        ha="left" if one.place_s < axes.get_xlim()[1] * 0.7 else "right", va="center",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
    )  # fmt: skip


_CELLS = ((0.0, "left"), (0.60, "right"), (0.72, "right"), (0.86, "right"), (1.0, "right"))


def _draw_table(axes: Axes, comparison: Comparison) -> None:
    """All differences; what goes beyond the spread of seeds is bold and starred."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    rows = [("measure", "first", "second", "difference", "by spread" if comparison.seeds else "", "")]
    for title, first, second, size, multiple, verdict in difference_rows(comparison):
        rows.append((title, first, second, size.split(" at ")[0], multiple if comparison.seeds else "", verdict))
    axes.set_ylim(len(rows) + 0.5, -0.5)
    for row, cells in enumerate(rows):
        beyond = cells[5] == "beyond"
        for (place, side), text in zip(_CELLS, cells[:5], strict=True):
            shown = f"{text} *" if beyond and place == 0 else text
            axes.text(
                place, row, shown, fontsize=7, ha=side, va="center", fontweight="bold" if beyond or not row else None
            )
    if comparison.seeds:
        axes.text(0, len(rows), f"* beyond the spread of {comparison.seeds} seeds", fontsize=7, va="center")


def _finite(view: View) -> NDArray[np.float32]:
    return np.asarray(np.nan_to_num(view.samples, posinf=0.0, neginf=0.0), np.float32)
