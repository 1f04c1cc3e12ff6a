"""What tells speech from babble: zero crossings, flatness of the spectrum, syllables and how fast they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics.levels import Levels
from troubleshoot.facts import NA

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "ZCR_RATE_HZ",
    "frame_crossings",
    "is_noise_like",
    "speech_rate_ratio",
    "syllable_times_s",
    "zero_crossing_rates",
]

ZCR_RATE_HZ = 24_000
"""Rate for which zero-crossing rates are given, the codec's: crossings a second divided by it. Chinese speech has 0.05
to 0.09 and the babble after a missed end 0.13 to 0.28 (jamiepine/voicebox#1077); sentences full of s reach 0.15."""
NOISE_ZCR = 0.13
NOISE_FLATNESS = 0.1
"""Flatness of the spectrum between 100 Hz and 11 kHz: white noise has 0.56 (exp(-0.577)), pink noise 0.15, whispered
speech 0.04 and vowels less."""
_TAIL_SHARE = 0.1
_MIN_SOUND_S = 0.2
_MIN_THIRD_SYLLABLES = 4
_MIN_RATE_S = 3.0
_PROMINENCE_DB = 1.5
_LEAST_SMOOTHING_HOPS, _MOST_SMOOTHING_HOPS = 1.4, 3.5
_SMOOTHING_SHARE = 0.08
_CLOSEST_HOPS = 7
_CLOSEST_SHARE = 0.4
_FEW_PEAKS = 4


def zero_crossing_rates(mono: NDArray[np.float32], levels: Levels) -> tuple[float | NA, float | NA]:
    """Rates of the first nine tenths and of the last tenth, over the frames that hold sound."""
    frames = frame_crossings(mono, levels)
    sounding = levels.is_sounding
    cut = round(len(frames) * (1 - _TAIL_SHARE))
    return _rate(frames[:cut], sounding[:cut], levels), _rate(frames[cut:], sounding[cut:], levels)


def frame_crossings(mono: NDArray[np.float32], levels: Levels) -> NDArray[np.int_]:
    """Crossings of zero in each hop; the recording's mean is taken for zero."""
    positive = mono >= mono.mean(dtype=np.float64)
    crossings = np.concatenate(([0], np.cumsum(positive[1:] != positive[:-1])))
    bounds = np.minimum(np.arange(len(levels.frames_db) + 1) * levels.hop, len(mono) - 1)
    counts: NDArray[np.int_] = np.diff(crossings[bounds])
    return counts


def _rate(counts: NDArray[np.int_], sounding: NDArray[np.bool_], levels: Levels) -> float | NA:
    seconds = int(sounding.sum()) * levels.hop / levels.sample_rate
    if seconds < _MIN_SOUND_S:
        return NA("there is hardly any sound")
    return round(int(counts[sounding].sum()) / seconds / ZCR_RATE_HZ, 4)


def is_noise_like(mono: NDArray[np.float32], levels: Levels) -> bool | NA:
    """Whether the sound is noise all through: crossings and flatness high in four fifths of it."""
    loud = levels.is_loud
    seconds = int(loud.sum()) * levels.hop / levels.sample_rate
    if seconds < _MIN_SOUND_S:
        return NA("there is hardly any sound")
    rates = frame_crossings(mono, levels)[loud] * levels.sample_rate / levels.hop / ZCR_RATE_HZ
    flatness = _flatness(mono, levels)
    high = float(np.mean(rates > NOISE_ZCR)), float(np.mean(flatness > NOISE_FLATNESS))
    return min(high) >= 0.8


def _flatness(mono: NDArray[np.float32], levels: Levels) -> NDArray[np.float64]:
    """Geometric over arithmetic mean of the power spectrum, of each stretch of 40 ms that is loud."""
    rate = levels.sample_rate
    length = 4 * levels.hop
    count = len(mono) // length
    if not count:
        return np.zeros(1)
    frames = mono[: count * length].reshape(count, length)
    loud = levels.is_loud[: count * 4].reshape(count, 4).all(axis=1) if len(levels.is_loud) >= count * 4 else None
    if loud is None or not loud.any():
        return np.zeros(1)
    power = np.square(np.abs(np.fft.rfft(frames[loud] * np.hanning(length), axis=1))) + 1e-20
    frequencies = np.fft.rfftfreq(length, 1 / rate)
    band = power[:, (frequencies >= 100) & (frequencies <= min(11_000, 0.45 * rate))]
    flatness: NDArray[np.float64] = np.exp(np.log(band).mean(axis=1)) / band.mean(axis=1)
    return flatness


def syllable_times_s(mono: NDArray[np.float32], levels: Levels) -> NDArray[np.float64]:
    """Times of the syllables' centres: peaks of the smoothed envelope of 300 to 3,000 Hz, where vowels are.

    The method is that of de Jong and Wempe (2009, Behavior Research Methods 41) without their test for voicing: peaks
    stand 1.5 dB out of their surroundings. Smoothing and the least distance follow the pace, which a first round of
    peaks gives, so that neither fast syllables run together nor slow diphthongs count twice. Their shares were set on
    espeak-ng's English and Mandarin of 0.7 to 1.6 times the usual rate.
    """
    from scipy.ndimage import gaussian_filter1d
    from scipy.signal import butter, find_peaks, sosfilt

    rate = levels.sample_rate
    vowels = sosfilt(butter(2, (300, 3_000), "bandpass", fs=rate, output="sos"), mono)
    hops = len(vowels) // levels.hop
    if hops < 10:
        return np.zeros(0)
    power = np.square(vowels[: hops * levels.hop]).reshape(hops, levels.hop).mean(axis=1)

    def peaks(smoothing_hops: float, closest_hops: float) -> NDArray[np.int_]:
        envelope_db = 10 * np.log10(gaussian_filter1d(power, smoothing_hops) + 1e-12)
        floor_db = float(np.percentile(envelope_db, 95)) - 25.0
        places, _ = find_peaks(envelope_db, height=floor_db, prominence=_PROMINENCE_DB, distance=closest_hops)
        return np.asarray(places)

    found = peaks(_LEAST_SMOOTHING_HOPS, _CLOSEST_HOPS)
    if len(found) > _FEW_PEAKS:
        usual_hops = float(np.median(np.diff(found)))
        smoothing_hops = min(max(_SMOOTHING_SHARE * usual_hops, _LEAST_SMOOTHING_HOPS), _MOST_SMOOTHING_HOPS)
        found = peaks(smoothing_hops, max(_CLOSEST_SHARE * usual_hops, _CLOSEST_HOPS))
    times: NDArray[np.float64] = (found + 0.5) * levels.hop / rate
    return times


def speech_rate_ratio(mono: NDArray[np.float32], levels: Levels) -> float | NA:
    """Syllables a second of sound in the last third of the speech over those in its first third.

    Thirds are of the time that holds sound, so that pauses do not count; 1 is an even pace.
    """
    loud = levels.is_loud
    hop_s = levels.hop / levels.sample_rate
    sound_s = np.cumsum(loud) * hop_s
    if sound_s[-1] < _MIN_RATE_S:
        return NA(f"there are less than {_MIN_RATE_S:g} s of sound")
    times = syllable_times_s(mono, levels)
    places = sound_s[np.minimum((times / hop_s).astype(int), len(sound_s) - 1)] / sound_s[-1]
    first, last = int(np.sum(places < 1 / 3)), int(np.sum(places >= 2 / 3))
    if min(first, last) < _MIN_THIRD_SYLLABLES:
        return NA("too few syllables can be told apart")
    return round(last / first, 3)
