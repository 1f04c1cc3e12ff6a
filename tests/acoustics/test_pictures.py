"""Pictures of speech: a PNG file of the right size, a spectrogram with its peak where the tone is."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from toolkit.acoustics.pictures import Clip, draw_clips, spectrogram_db
from toolkit.acoustics.pitch import track_pitch
from toolkit.errors import BadOutput, UsageError

RATE = 24_000


def tone(frequency_hz: float, seconds: float = 0.5, rate: int = RATE) -> NDArray[np.float32]:
    return (0.3 * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def test_a_picture_has_a_column_for_each_clip(tmp_path: Path) -> None:
    clips = [Clip("low", tone(120), RATE), Clip("high", tone(300), RATE, track_pitch(tone(300), RATE))]
    widths = []
    for count in (1, 2):
        path = draw_clips(tmp_path / "speech.png", clips[:count])  # the second replaces the first
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        widths.append(struct.unpack(">II", data[16:24]))
    assert widths == [(462, 770), (924, 770)]
    assert [item.name for item in tmp_path.iterdir()] == ["speech.png"]


@pytest.mark.parametrize("frequency_hz", [500.0, 3000.0, 7000.0])
def test_a_tone_lies_where_it_is(frequency_hz: float) -> None:
    levels = spectrogram_db(tone(frequency_hz), RATE)
    middle = levels[:, levels.shape[1] // 2]
    assert int(middle.argmax()) / (len(middle) - 1) * RATE / 2 == pytest.approx(frequency_hz, abs=15)
    assert levels.max() == 0.0
    assert np.median(middle) < -80


def test_silence_can_be_drawn(tmp_path: Path) -> None:
    assert draw_clips(tmp_path / "a.png", [Clip("nothing", np.zeros(RATE, np.float32), RATE)]).stat().st_size > 1000


def test_what_cannot_be_drawn_or_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no clips"):
        draw_clips(tmp_path / "a.png", [])
    with pytest.raises(UsageError, match="short: a clip is drawn from"):
        Clip("short", tone(100, 0.01), RATE)
    with pytest.raises(UsageError, match="mono speech"):
        Clip("stereo", np.zeros((2, RATE), np.float32), RATE)
    with pytest.raises(BadOutput, match=r"cannot write .*a\.png: No such file"):
        draw_clips(tmp_path / "no" / "a.png", [Clip("tone", tone(200), RATE)])


def test_matplotlib_is_loaded_only_to_draw() -> None:
    code = "import sys, toolkit.acoustics.pictures; assert not [n for n in sys.modules if n.startswith('matplotlib')]"
    subprocess.run([sys.executable, "-c", code], check=True)
