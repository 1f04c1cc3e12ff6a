"""Draws speech side by side: waveform, spectrogram and pitch of a few clips in columns, as a PNG file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics.pitch import PitchTrack, track_pitch
from toolkit.errors import BadOutput, UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["HOP_S", "WINDOW_S", "Clip", "draw_clips", "spectrogram_db", "spectrum_levels_db"]

WINDOW_S = 0.025
"""Long enough to part the harmonics of a voice from about 100 Hz on, short enough to keep its syllables apart."""
HOP_S = 0.005
_RANGE_DB = 70.0
_TOP_HZ = 8_000
_PITCH_TOP_HZ = 500
_WIDTH_INCH, _HEIGHT_INCH, _DPI = 4.2, 7.0, 110


@dataclass(frozen=True, eq=False)
class Clip:
    """Mono speech with a title (in characters that Matplotlib's own font has), and its pitch if that is known."""

    title: str
    samples: NDArray[np.float32]
    sample_rate_hz: int
    pitch: PitchTrack | None = None

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or self.samples.size < WINDOW_S * self.sample_rate_hz:
            raise UsageError(f"{self.title}: a clip is drawn from {WINDOW_S} s of mono speech or more")


def draw_clips(path: str | Path, clips: Sequence[Clip]) -> Path:
    """Write a picture of the clips, one column each, all on one scale of time; an older picture is replaced.

    Raises:
        BadOutput: the file cannot be written there.
        UsageError: there are no clips.
    """
    from matplotlib.figure import Figure  # no pyplot: it would ask for a display, and keep every figure

    if not clips:
        raise UsageError("there is nothing to draw: no clips")
    path = Path(path)
    figure = Figure(figsize=(_WIDTH_INCH * len(clips), _HEIGHT_INCH), dpi=_DPI, layout="constrained")
    table = figure.subplots(3, len(clips), sharex=True, sharey="row", squeeze=False)
    for column, clip in enumerate(clips):
        waves, colours, pitches = table[:, column]
        _draw_wave(waves, clip)
        _draw_spectrogram(colours, clip)
        _draw_pitch(pitches, clip)
    for axes, label in zip(table[:, 0], ("amplitude", "frequency in kHz", "pitch in Hz"), strict=True):
        axes.set_ylabel(label)
    longest_s = max(clip.samples.size / clip.sample_rate_hz for clip in clips)
    table[0, 0].set_xlim(0, longest_s)
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise BadOutput(f"cannot write {path}: {error.strerror or error}") from error
    return path


def spectrogram_db(samples: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float64]:
    """Levels in dB below the loudest, ``[frequencies, frames]``; frequencies rise evenly to half the sample rate."""
    levels = spectrum_levels_db(samples, sample_rate_hz, HOP_S)
    return np.asarray(levels - levels.max(), np.float64)


def spectrum_levels_db(samples: NDArray[np.float32], sample_rate_hz: int, hop_s: float) -> NDArray[np.float64]:
    """Levels in dB of a fixed unit, ``[frequencies, frames]``, so that those of two clips can be compared."""
    length, hop = round(WINDOW_S * sample_rate_hz), max(1, round(hop_s * sample_rate_hz))
    frames = np.lib.stride_tricks.sliding_window_view(samples, length)[::hop] * np.hanning(length)
    size = 1 << (2 * length - 1).bit_length()
    power = np.square(np.abs(np.fft.rfft(frames, size, axis=1)))
    return np.asarray(10 * np.log10(np.maximum(power, 1e-12)).T, np.float64)


def _draw_wave(axes: Axes, clip: Clip) -> None:
    axes.plot(np.arange(clip.samples.size) / clip.sample_rate_hz, clip.samples, linewidth=0.4, color="#204a87")
    axes.set_title(clip.title, fontsize=10)


def _draw_spectrogram(axes: Axes, clip: Clip) -> None:
    levels = spectrogram_db(clip.samples, clip.sample_rate_hz)
    stop_s = WINDOW_S + (levels.shape[1] - 1) * HOP_S
    extent = (WINDOW_S / 2, stop_s - WINDOW_S / 2, 0.0, clip.sample_rate_hz / 2000)
    axes.imshow(
        levels, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-_RANGE_DB, vmax=0.0,
        interpolation="nearest",
    )  # fmt: skip
    axes.set_ylim(0, min(_TOP_HZ, clip.sample_rate_hz / 2) / 1000)


def _draw_pitch(axes: Axes, clip: Clip) -> None:
    track = clip.pitch if clip.pitch is not None else track_pitch(clip.samples, clip.sample_rate_hz)
    axes.plot(track.times_s, track.f0_hz, ".", markersize=2.5, color="#a40000")
    axes.set_ylim(50, _PITCH_TOP_HZ)
    axes.set_xlabel("time in s")
    axes.grid(alpha=0.3)
