"""The colour of a voice: harmonics against noise, tilt of the spectrum, brightness, loudness and range of level."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, nan
from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics.levels import Levels
from toolkit.acoustics.pitch import PitchTrack, band_limited

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LongTermSpectrum", "dynamic_range_db", "harmonics_to_noise_db", "long_term_spectrum", "loudness_lufs"]

_HNR_RATE_HZ = 16_000
_HNR_BAND_HZ = (60.0, 7_500.0)
_HNR_WINDOW_S = 0.030
_HNR_MOST_DB = 60.0
_SEEK = 3
_REACH = 10
_FINE = 16

_SPECTRUM_S = 0.040
_SPECTRUM_HOPS = 2
_CENTROID_HZ = (50.0, 10_000.0)
_TILT_HZ = (200.0, 5_000.0)
_THIRDS = 3
_BLOCK_FRAMES = 4096


def dynamic_range_db(levels: Levels) -> float:
    """Decibels between the 5th and the 95th percentile of the frames that are not quiet; NaN in silence."""
    loud_db = levels.frames_db[levels.is_loud]
    if not len(loud_db):
        return nan
    low, high = np.percentile(loud_db, (5, 95))
    return float(high - low)


def loudness_lufs(mono: NDArray[np.float32], sample_rate_hz: int) -> float:
    """Integrated loudness after ITU-R BS.1770-4 in LUFS; NaN where no block of 0.4 s is above its gate of -70 LUFS."""
    import pyloudnorm

    if len(mono) < 0.4 * sample_rate_hz:
        return nan
    loudness = float(pyloudnorm.Meter(sample_rate_hz).integrated_loudness(np.asarray(mono, np.float64)))
    return loudness if isfinite(loudness) else nan


@dataclass(frozen=True, eq=False)
class LongTermSpectrum:
    """Power at each frequency, float64 ``[bins]`` each, averaged over the sound that is not quiet."""

    frequencies_hz: NDArray[np.float64]
    power: NDArray[np.float64]

    def tilt_db_per_octave(self) -> float:
        """Slope over octaves of the power density, in thirds of octaves from 200 Hz to 5 kHz: 0 for white noise.

        Ordinary speech falls by 6 to 12 dB an octave, a whisper by less. NaN for silence.
        """
        low, high = _TILT_HZ
        top = min(high, float(self.frequencies_hz[-1]) * 0.9)
        count = int(np.floor(_THIRDS * np.log2(top / low)))
        edges = low * 2 ** (np.arange(count + 1) / _THIRDS)
        places = np.searchsorted(self.frequencies_hz, edges)
        sums = np.concatenate(([0.0], np.cumsum(self.power)))
        density = (sums[places[1:]] - sums[places[:-1]]) / np.maximum(np.diff(places), 1)
        if count < 3 or not density.max() > 0:
            return nan
        octaves = np.arange(count) / _THIRDS
        levels_db = 10 * np.log10(np.maximum(density, density.max() * 1e-12))
        return float(np.polyfit(octaves, levels_db, 1)[0])

    def centroid_hz(self) -> float:
        """Mean frequency between 50 Hz and 10 kHz, weighted by power; NaN for silence."""
        chosen = (self.frequencies_hz >= _CENTROID_HZ[0]) & (self.frequencies_hz <= _CENTROID_HZ[1])
        power = self.power[chosen]
        return float(np.sum(power * self.frequencies_hz[chosen]) / power.sum()) if power.sum() > 0 else nan


def long_term_spectrum(mono: NDArray[np.float32], levels: Levels) -> LongTermSpectrum:
    """The spectrum of 40 ms (Hann) about every second frame that is not quiet, averaged."""
    length = round(_SPECTRUM_S * levels.sample_rate)
    frequencies = np.asarray(np.fft.rfftfreq(length, 1 / levels.sample_rate), np.float64)
    power = np.zeros(len(frequencies))
    chosen = np.flatnonzero(levels.is_loud)[::_SPECTRUM_HOPS]
    if not len(chosen):
        return LongTermSpectrum(frequencies, power)
    padded = np.pad(mono - mono.mean(dtype=np.float64), (length // 2, length))
    # A frame of the levels lasts two hops, so its centre lies one hop after its start.
    starts = (chosen + 1) * levels.hop
    window = np.hanning(length)
    for begin in range(0, len(starts), _BLOCK_FRAMES):
        pieces = padded[starts[begin : begin + _BLOCK_FRAMES, None] + np.arange(length)]
        power += np.square(np.abs(np.fft.rfft(pieces * window, axis=1))).sum(axis=0)
    return LongTermSpectrum(frequencies, power / len(starts))


def harmonics_to_noise_db(samples: NDArray[np.float32], sample_rate_hz: int, track: PitchTrack) -> float:
    """Median over the voiced frames of the power of what repeats against that of what does not; NaN without voice.

    Two stretches of 30 ms, one period apart, correlate by r; the ratio is r / (1 - r) (Boersma 1993), at most 60 dB.
    Looked at is the band up to 7.5 kHz, of which the upper two fifths are a slope, so that clips of several rates
    compare. A pitch that moves within 30 ms counts as noise, too.
    """
    voiced = np.flatnonzero(track.is_voiced)
    if not len(voiced):
        return nan
    sound = band_limited(np.asarray(samples, np.float64), sample_rate_hz, _HNR_RATE_HZ, _HNR_BAND_HZ)
    lags = np.rint(_HNR_RATE_HZ / track.f0_hz[voiced]).astype(int)
    window = round(_HNR_WINDOW_S * _HNR_RATE_HZ)
    margin = _SEEK + _REACH
    lead, longest = window // 2, int(lags.max()) + margin
    padded = np.pad(sound, (window + longest, window + 2 * longest))
    # Both stretches together lie evenly about the centre of the frame.
    starts = np.rint(track.times_s[voiced] * _HNR_RATE_HZ - lags / 2).astype(int) + window + longest - lead
    ratios = np.concatenate(
        [
            _correlations(padded, starts[begin : begin + _BLOCK_FRAMES], lags[begin : begin + _BLOCK_FRAMES], window)
            for begin in range(0, len(voiced), _BLOCK_FRAMES)
        ]
    )
    ratios = ratios[np.isfinite(ratios)]
    if not len(ratios):
        return nan
    least = 10 ** (-_HNR_MOST_DB / 10)
    repeats = np.clip(ratios, least, 1 - least)
    return float(np.median(10 * np.log10(repeats / (1 - repeats))))


def _correlations(
    padded: NDArray[np.float64], starts: NDArray[np.int_], lags: NDArray[np.int_], window: int
) -> NDArray[np.float64]:
    """Largest normalised correlation of each stretch with those about one lag later; NaN for silence."""
    margin = _SEEK + _REACH
    first = padded[starts[:, None] + np.arange(window)]
    later = padded[(starts + lags - margin)[:, None] + np.arange(window + 2 * margin)]
    size = 1 << (window + 2 * margin - 1).bit_length()
    products = np.fft.irfft(np.conj(np.fft.rfft(first, size)) * np.fft.rfft(later, size), size)[:, : 2 * margin + 1]
    sums = np.pad(np.cumsum(np.square(later), axis=1), ((0, 0), (1, 0)))
    energies = (sums[:, window:] - sums[:, :-window])[:, : 2 * margin + 1]
    scale = np.sqrt(np.square(first).sum(axis=1, keepdims=True) * energies)
    normalised = np.full(products.shape, np.nan)
    np.divide(products, scale, out=normalised, where=scale > 1e-12)
    # The best lag lies between samples: the correlation of a sound of limited band is interpolated by a windowed sinc.
    shifts = np.arange(-_SEEK * _FINE, _SEEK * _FINE + 1) / _FINE
    distances = shifts[:, None] - np.arange(-margin, margin + 1)[None, :]
    taper = np.where(np.abs(distances) < _REACH, np.cos(np.pi * distances / (2 * _REACH)) ** 2, 0.0)
    return np.asarray((normalised @ (np.sinc(distances) * taper).T).max(axis=1))
