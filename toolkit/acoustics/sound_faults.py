"""Faults that show in levels and spectra: hum, noise, noise-like stretches, silent and murmuring tails, cut ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics.faults import Fault, Sound, detector, surely, whole_detector
from toolkit.acoustics.speech import ZCR_RATE_HZ
from troubleshoot.facts import NA

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from toolkit.acoustics.overview import Overview

__all__ = ["CAP_TOLERANCE_S", "FRAME_CAPS", "FRAME_S"]

FRAME_S = 0.080
"""Length of a frame of the codec: 1,920 samples at 24 kHz."""
FRAME_CAPS = (2048, 4096, 8192)
"""Limits of frames in use: the defaults of qwen-tts's wrapper and of its model, and generation_config.json's."""
CAP_TOLERANCE_S = 0.2  # a run that hits the cap of N tokens gives N - 1 frames
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
        below_db = sound.levels.speech_db - line_db
        says = f"hum of {mains_hz:g} Hz at {line_db:.0f} dBFS, {below_db:.0f} dB below the speech: mains, from a source"
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


@whole_detector("tail")
def _tail(overview: Overview) -> Iterator[Fault]:
    """A second or more of silence after the last loud sound, or silence all through."""
    if overview.is_silent:
        says = "the whole clip is silent"
        yield Fault("tail", 0.0, overview.duration_s, overview.duration_s, "s", 1.0, "fail", says)
        return
    _, tail_s, is_sounding = _after_speech(overview)
    if tail_s >= 0.5 * _TAIL_S and not is_sounding:
        says = f"{tail_s:.1f} s of silence at the end"
        start_s = overview.duration_s - tail_s
        yield Fault("tail", start_s, tail_s, tail_s, "s", surely(tail_s, 1.0, 1.5), "warn", says)


@whole_detector("runaway")
def _runaway(overview: Overview) -> Iterator[Fault]:
    """A run that missed its end: murmur after the speech, or a length that is exactly a cap of frames."""
    if overview.is_silent:
        return
    caps = [cap for cap in FRAME_CAPS if abs(overview.duration_s - cap * FRAME_S) <= CAP_TOLERANCE_S]
    at_cap = f", and the length is that of {caps[0]} frames" if caps else ""
    first, tail_s, is_sounding = _after_speech(overview)
    if tail_s >= 0.5 * _TAIL_S and (is_sounding or caps):
        drop_db = overview.levels.speech_db - float(np.median(overview.levels.frames_db[first:]))
        rate = _zero_crossings(overview, first)
        of_babble = f", with {rate:.2f} crossings of zero a sample" if rate else ""
        # Speech has 0.05 to 0.09 crossings a sample, babble 0.13 to 0.28; room tone after speech has fewer.
        confidence = surely(tail_s, 1.0, 1.5) * (1.0 if rate > _MURMUR_ZCR or caps else 0.6)
        says = f"{tail_s:.1f} s after the speech, {drop_db:.0f} dB below it{of_babble}{at_cap}: a run that did not stop"
        yield Fault("runaway", overview.duration_s - tail_s, tail_s, drop_db, "dB", confidence, "fail", says)
    elif caps:
        says = f"the length is that of {caps[0]} frames, a cap in use: the end may be missing, or was never reached"
        yield Fault("runaway", 0.0, overview.duration_s, overview.duration_s, "s", 0.8, "fail", says)


@whole_detector("cut-end")
def _cut_end(overview: Overview) -> Iterator[Fault]:
    """The file is shorter than its header says, or the sound stops at full level instead of fading."""
    duration_s, promised_s = overview.duration_s, overview.promised_s
    if not isinstance(promised_s, NA) and promised_s > duration_s + 0.5 / overview.sample_rate:
        missing_s = promised_s - duration_s
        says = f"the file ends {missing_s:.2f} s before the length that its header promises"
        yield Fault("cut-end", duration_s, 0.0, missing_s, "s", 1.0, "fail", says)
        return
    above_db = overview.last_db - overview.levels.speech_db
    floor_db = float(np.percentile(overview.levels.frames_db, 5))
    if not overview.is_silent and overview.last_db > floor_db + 8:
        says = f"the sound stops at {above_db:+.0f} dB of the speech level, without fading: the end is missing"
        yield Fault("cut-end", duration_s, 0.0, above_db, "dB", surely(above_db, -20, -12), "fail", says)


def _after_speech(overview: Overview) -> tuple[int, float, bool]:
    """First frame after the last loud one, seconds from there to the end, and whether most of them sound."""
    levels = overview.levels
    loud = np.flatnonzero(levels.frames_db > levels.speech_db - _BELOW_DB)
    first = int(loud[-1]) + 2 if len(loud) else 0
    start_s = min(first * levels.hop / overview.sample_rate, overview.duration_s)
    after = levels.is_sounding[first:]
    return first, overview.duration_s - start_s, bool(len(after)) and float(after.mean()) >= 0.5


def _zero_crossings(overview: Overview, first: int) -> float:
    """Crossings of zero a sample of 24 kHz from a frame on; 0 where hardly anything sounds."""
    levels = overview.levels
    sounding = levels.is_sounding[first:]
    if int(sounding.sum()) < 20:
        return 0.0
    return float(overview.crossings[first:][sounding].mean()) * overview.sample_rate / levels.hop / ZCR_RATE_HZ


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
