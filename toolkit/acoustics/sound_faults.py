"""Faults that show in levels and spectra: hum, noise, noise-like stretches, silent and murmuring tails, cut ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics.faults import Fault, Sound, detector, surely
from toolkit.acoustics.levels import Levels, frame_levels
from toolkit.acoustics.speech import zero_crossing_rates

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__: list[str] = []

_MAINS_HZ = (50.0, 60.0)
_HUM_WINDOW_S = 0.25
_STRETCH_S = 0.040
_TAIL_S = 1.0
_BELOW_DB = 18.0
"""What lies so far below the louder speech until the end is tail; the murmur after a missed end lies near 25 dB."""
_MURMUR_ZCR = 0.11


@detector("hum")
def _hum(sound: Sound) -> Iterator[Fault]:
    """A steady line at 50 or 60 Hz: also in the quietest fifth of the clip it stands out from its neighbours."""
    if sound.is_silent or sound.duration_s < 2 * _HUM_WINDOW_S:
        return
    length, hop = round(_HUM_WINDOW_S * sound.rate), round(0.05 * sound.rate)
    frames = np.lib.stride_tricks.sliding_window_view(sound.mono, length)[::hop]
    time = np.arange(length) / sound.rate
    window = np.hanning(length)

    def level_db(frequency_hz: float) -> float:
        wave = (window * np.exp(-2j * np.pi * frequency_hz * time) * 2 / window.sum()).astype(np.complex64)
        return 20 * float(np.log10(max(float(np.percentile(np.abs(frames @ wave), 20)), 1e-9)))

    best: tuple[float, float, float] | None = None
    for mains_hz in _MAINS_HZ:
        line_db = level_db(mains_hz)
        above_db = line_db - max(level_db(mains_hz - 16), level_db(mains_hz + 16))
        if best is None or line_db > best[1]:
            best = above_db, line_db, mains_hz
    if best is not None and best[1] > -70:
        above_db, line_db, mains_hz = best
        says = f"hum of {mains_hz:g} Hz at {line_db:.0f} dBFS: mains, from a recording that was cloned or mixed in"
        yield Fault(
            "hum", 0.0, sound.duration_s, line_db, "dBFS", surely(above_db, 10, 20), "warn", says
        )  # fmt: skip


@detector("noise")
def _noise(sound: Sound) -> Iterator[Fault]:
    """Broadband noise below the speech: the quietest tenth of the clip is loud, even, and flat in its spectrum."""
    levels = sound.levels
    if sound.is_silent or len(levels.frames_db) < 30:
        return
    floor_db = float(np.percentile(levels.frames_db[:-2], 5))
    snr_db = levels.speech_db - floor_db
    flatness, _ = _stretches(sound)
    quiet = _per_stretch(sound, levels.frames_db) < floor_db + 4
    count = min(len(quiet), len(flatness))
    if not quiet[:count].any():
        return
    flat = float(np.median(flatness[:count][quiet[:count]]))
    says = f"steady noise {snr_db:.0f} dB below the speech"
    confidence = min(surely(-snr_db, -34, -28), surely(flat, 0.08, 0.25))
    yield Fault("noise", 0.0, sound.duration_s, snr_db, "dB", confidence, "warn", says)


@detector("noise-like")
def _noise_like(sound: Sound) -> Iterator[Fault]:
    """A loud stretch, far longer than an s lasts, with the spectrum of noise."""
    if sound.is_silent:
        return
    flatness, crossings = _stretches(sound)
    loud = _per_stretch(sound, sound.levels.frames_db)[: len(flatness)] > sound.levels.quiet_db
    noisy = loud & (flatness[: len(loud)] > 0.25) & (crossings[: len(loud)] > 0.13)
    start, stop = _longest(noisy)
    length_s = (stop - start) * _STRETCH_S
    says = f"{length_s:.1f} s sound like noise, not like speech"
    yield Fault(
        "noise-like", start * _STRETCH_S, length_s, length_s, "s", surely(length_s, 0.30, 0.45), "fail", says
    )  # fmt: skip


@detector("tail")
def _tail(sound: Sound) -> Iterator[Fault]:
    """A second or more after the last loud sound: silence, or the murmur of a run that missed its end."""
    levels = sound.levels
    if sound.is_silent:
        says = "the whole clip is silent"
        yield Fault("tail", 0.0, sound.duration_s, sound.duration_s, "s", 1.0, "fail", says)
        return
    first = int(np.flatnonzero(levels.frames_db > levels.speech_db - _BELOW_DB)[-1]) + 2
    start_s = min(first * levels.hop / sound.rate, sound.duration_s)
    tail_s = sound.duration_s - start_s
    if tail_s < 0.5 * _TAIL_S:
        return
    murmur = float(levels.is_sounding[first:].mean())
    if murmur < 0.5:
        says = f"{tail_s:.1f} s of silence at the end"
        yield Fault("tail", start_s, tail_s, tail_s, "s", surely(tail_s, 1.0, 1.5), "warn", says)
        return
    rate, _ = zero_crossing_rates(sound.mono[int(start_s * sound.rate) :], _levels_of(sound, start_s))
    drop_db = levels.speech_db - float(np.median(levels.frames_db[first:]))
    murmurs = isinstance(rate, float) and rate > _MURMUR_ZCR
    says = f"{tail_s:.1f} s of murmur, {drop_db:.0f} dB below the speech, after its end: a run that did not stop"
    confidence = surely(tail_s, 1.0, 1.5) * (1.0 if murmurs else 0.6)
    yield Fault("tail", start_s, tail_s, drop_db, "dB", confidence, "fail", says)


@detector("cut-end")
def _cut_end(sound: Sound) -> Iterator[Fault]:
    """The file is shorter than its header says, or the sound stops at full level instead of fading."""
    recording = sound.recording
    if recording.is_truncated and isinstance(recording.header_duration_s, float):
        missing_s = recording.header_duration_s - sound.duration_s
        says = f"the file ends {missing_s:.2f} s before the length that its header promises"
        yield Fault("cut-end", sound.duration_s, 0.0, missing_s, "s", 1.0, "fail", says)
        return
    last = sound.mono[-max(2, round(0.010 * sound.rate)) :].astype(np.float64)
    level_db = 10 * float(np.log10(max(float(np.var(last)), 1e-12)))
    above_db = level_db - sound.levels.speech_db
    floor_db = float(np.percentile(sound.levels.frames_db, 5))
    if not sound.is_silent and level_db > floor_db + 8:
        says = f"the sound stops at {above_db:+.0f} dB of the speech level, without fading: the end is missing"
        yield Fault("cut-end", sound.duration_s, 0.0, above_db, "dB", surely(above_db, -20, -12), "fail", says)


def _levels_of(sound: Sound, start_s: float) -> Levels:
    """Levels of what comes after ``start_s``."""
    return frame_levels(sound.mono[int(start_s * sound.rate) :], sound.rate)


def _stretches(sound: Sound) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Flatness of the spectrum and rate of zero crossings (at 24 kHz) of each stretch of 40 ms."""
    length = round(_STRETCH_S * sound.rate)
    count = len(sound.mono) // length
    if not count:
        return np.zeros(0), np.zeros(0)
    frames = sound.mono[: count * length].reshape(count, length)
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(length).astype(np.float32), axis=1))) + 1e-20
    frequencies = np.fft.rfftfreq(length, 1 / sound.rate)
    band = power[:, (frequencies >= 100) & (frequencies <= min(11_000, 0.45 * sound.rate))]
    flatness = np.exp(np.log(band).mean(axis=1)) / band.mean(axis=1)
    positive = frames >= frames.mean(axis=1, keepdims=True)
    crossings = (positive[:, 1:] != positive[:, :-1]).sum(axis=1) / length * sound.rate / 24_000
    return np.asarray(flatness, np.float64), np.asarray(crossings, np.float64)


def _per_stretch(sound: Sound, frames_db: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean level of the frames of each stretch of 40 ms."""
    count = len(frames_db) // 4
    return np.asarray(frames_db[: count * 4].reshape(count, 4).mean(axis=1), np.float64)


def _longest(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Bounds of the longest run of True."""
    turns = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False]))))
    if not len(turns):
        return 0, 0
    starts, stops = turns[::2], turns[1::2]
    best = int((stops - starts).argmax())
    return int(starts[best]), int(stops[best])
