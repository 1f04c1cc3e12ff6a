"""Figures of speech: panels on one scale, marks where faults and pauses are, titles without boxes, PNG and SVG."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from toolkit.acoustics import figures
from toolkit.acoustics.faults import Fault
from toolkit.acoustics.figures import View, draw_speech, drawable, picture_bytes, picture_format
from toolkit.errors import BadOutput, UsageError

RATE = 24_000


def tone(frequency_hz: float, seconds: float = 0.5, peak: float = 0.3) -> NDArray[np.float32]:
    return (peak * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def fault(name: str, place_s: float, weight: str = "fail", length_s: float = 0.0) -> Fault:
    return Fault(name, place_s, length_s, 1.0, "count", 0.9, weight, "says")  # type: ignore[arg-type]


def labels(figure: Figure) -> list[str]:
    return [axes.get_ylabel() for axes in figure.axes]


def test_each_clip_has_its_panels_and_all_share_their_scales() -> None:
    figure = draw_speech([View("low", tone(120), RATE), View("high", tone(300, 1.0, 0.6), RATE)])
    assert labels(figure) == ["amplitude", "kHz", "amplitude", "kHz", "pitch in Hz", "level in dBFS"]
    assert {axes.get_xlim() for axes in figure.axes} == {(0.0, 1.0)}
    first, second = figure.axes[0], figure.axes[2]
    assert first.get_ylim() == second.get_ylim() == pytest.approx((-0.63, 0.63), rel=1e-3)
    assert [first.get_title(loc="left"), second.get_title(loc="left")] == ["low", "high"]
    louder, softer = (figure.axes[place].images[0].get_array() for place in (3, 1))
    assert louder.max() == 0.0
    assert softer.max() == pytest.approx(-6.02, abs=0.2)


def test_lines_differ_by_colour_and_by_style() -> None:
    clips = [View(str(place), tone(100 + 40 * place), RATE) for place in range(4)]
    lines = draw_speech(clips).axes[-2].get_lines()
    assert len({line.get_color() for line in lines}) == 4
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == 4  # type: ignore[attr-defined]


def test_faults_and_pauses_are_marked_where_they_are() -> None:
    faults = [fault("click", 0.1), fault("click", 0.2), fault("tail", 0.3, "warn", 0.2)]
    figure = draw_speech([View("a", tone(200), RATE, pauses_s=[(0.05, 0.15)], faults=faults)])
    marks, wave = figure.axes[:2]
    assert [text.get_text() for text in marks.get_yticklabels()] == ["click (2)", "tail"]
    bars = [collection.get_paths()[0].get_extents() for collection in marks.collections]
    assert [round(bar.x0, 3) for bar in bars] == [0.1, 0.2, 0.3]
    assert bars[2].width == pytest.approx(0.2)
    assert bars[0].width > 0  # a moment is drawn wide enough to be seen
    assert tuple(marks.collections[2].get_facecolor()[0][:3]) == (1.0, 1.0, 1.0)
    assert [(patch.get_x(), patch.get_width()) for patch in wave.patches] == [(0.05, pytest.approx(0.1))]
    assert [line.get_xdata()[0] for line in wave.get_lines()] == [0.1, 0.2, 0.3]


def test_many_kinds_of_faults_are_counted() -> None:
    figure = draw_speech([View("a", tone(200), RATE, faults=[fault(f"kind-{n}", 0.1) for n in range(9)])])
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()][-1] == "and 4 kinds more"


def test_a_title_never_becomes_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_glyphs", lambda: frozenset(map(ord, "abcé._$")))
    assert drawable("a中文_b.c") == "a…_b.c"
    assert drawable("中 文é\n") == "… …é…"
    assert drawable("") == ""


def test_the_fonts_at_hand_know_what_is_kept() -> None:
    assert drawable("plain é") == "plain é"
    assert drawable("\U0010fffe") == "…"


@pytest.mark.filterwarnings("error")
def test_odd_titles_are_drawn_as_they_are() -> None:
    clips = [View("a$\\bad{$中文", tone(120), RATE), View("_b\n", tone(160), RATE)]
    figure = draw_speech(clips)
    assert picture_bytes(figure).startswith(b"\x89PNG")
    assert [text.get_text() for text in figure.axes[-2].get_legend().get_texts()][1] == " _b…"


def test_png_and_svg_are_whole_files() -> None:
    figure = draw_speech([View("low", tone(120), RATE)])
    png, svg = picture_bytes(figure), picture_bytes(figure, "svg")
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24])[0] == 880
    assert png == picture_bytes(draw_speech([View("low", tone(120), RATE)]))
    assert svg.rstrip().endswith(b"</svg>")
    assert b"<text" not in svg  # glyphs are paths: no font is needed to show it


def test_a_long_clip_stays_a_small_picture() -> None:
    rng = np.random.default_rng(0)
    long = (0.1 * rng.standard_normal(90 * RATE)).astype(np.float32)
    figure = draw_speech([View("long", long, RATE)])
    assert figure.axes[1].images[0].get_array().shape[1] <= 1700
    assert len(picture_bytes(figure)) < 500_000


def test_silence_and_samples_that_are_no_numbers_can_be_drawn() -> None:
    broken = tone(200)
    broken[10:20] = np.nan
    assert picture_bytes(draw_speech([View("a", np.zeros(RATE, np.float32), RATE), View("b", broken, RATE)]))


@pytest.mark.parametrize("name", ["a.jpg", "a", "png"])
def test_other_formats_are_refused(name: str) -> None:
    with pytest.raises(BadOutput, match=r"a picture is written as \.png or \.svg, not as"):
        picture_format(name)
    assert (picture_format("A.PNG"), picture_format(Path("b.svg"))) == ("png", "svg")


def test_what_cannot_be_drawn_is_one_sentence() -> None:
    clip = View("a", tone(200), RATE)
    with pytest.raises(UsageError, match="1 to 4 clips, not 0"):
        draw_speech([])
    with pytest.raises(UsageError, match="1 to 4 clips, not 5"):
        draw_speech([clip] * 5)
    with pytest.raises(UsageError, match="short: speech is drawn from"):
        View("short", tone(200, 0.01), RATE)


def test_matplotlib_is_loaded_only_to_draw() -> None:
    code = "import sys, toolkit.acoustics.figures; assert not [n for n in sys.modules if n.startswith('matplotlib')]"
    subprocess.run([sys.executable, "-c", code], check=True)
