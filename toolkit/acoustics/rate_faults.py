"""Speech that runs too fast or too slow: samples made for one rate and labelled with another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics.faults import Fault, Sound, detector, surely
from toolkit.acoustics.rate_weights import NARROW_EDGES_HZ, NARROW_WEIGHTS, WIDE_EDGES_HZ, WIDE_WEIGHTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CODEC_RATE_HZ", "rate_features"]

CODEC_RATE_HZ = 24_000
_FRAME_S = 0.032
_LOUD_DB = 26.0
_LEAST_LOUD_S = 0.6
_LONGEST_S = 30.0
_WIDE_FROM_HZ = 16_000
_UNSURE = {"slow": 0.28, "fast": 0.33, "slow narrow": 0.50, "fast narrow": 0.58}
"""Octaves of the estimate from which it counts: of 600 clean clips one in a hundred reached them."""
_SURE_AFTER = 0.2
_MOST_OCTAVES = 2.2
_USUAL_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 32_000, 44_100, 48_000)


@detector("wrong-rate")
def _wrong_rate(sound: Sound) -> Iterator[Fault]:
    """The spectrum of speech is stretched or squeezed by one factor, pitch and formants together, and so is its pace.

    Resonances of a mouth lie where its size puts them. How far they lie from there is estimated from the mean level and
    the spread of some thirty bands, and how fast they change, by a linear fit (``benchmarks/fit_rate_weights.py``).
    """
    if sound.is_silent:
        return
    mono = sound.mono[: round(_LONGEST_S * sound.rate)]
    is_wide = sound.rate >= _WIDE_FROM_HZ
    features = rate_features(mono, sound.rate, WIDE_EDGES_HZ if is_wide else NARROW_EDGES_HZ)
    if features is None:
        return
    weights = np.array(WIDE_WEIGHTS if is_wide else NARROW_WEIGHTS)
    octaves = float(weights[0] + features @ weights[1:])
    if abs(octaves) > _MOST_OCTAVES:  # no speech at all
        return
    unsure = _UNSURE[("fast" if octaves > 0 else "slow") + ("" if is_wide else " narrow")]
    factor = 2.0**octaves
    way = "fast and high" if octaves > 0 else "slow and low"
    says = f"the voice is about {factor:.2f} times too {way}"
    made_hz = CODEC_RATE_HZ * factor
    nearest_hz = min(_USUAL_HZ, key=lambda rate_hz: abs(np.log2(rate_hz / made_hz)))
    if abs(np.log2(sound.rate / nearest_hz)) < 0.01:
        says += f": samples made for {CODEC_RATE_HZ} Hz are labelled {sound.rate} Hz"
    elif abs(np.log2(sound.rate / made_hz)) < 0.35:
        says += f": the label says {sound.rate} Hz, {CODEC_RATE_HZ} Hz is what the codec makes"
    confidence = surely(abs(octaves), unsure, unsure + _SURE_AFTER)
    yield Fault("wrong-rate", 0.0, sound.duration_s, factor, "times", confidence, "fail", says)


def rate_features(mono: NDArray[np.float32], rate: int, edges_hz: tuple[float, ...]) -> NDArray[np.float64] | None:
    """What the estimate is made of: mean level and spread of each band in dB, change of level and of the spectrum.

    Of frames of 32 ms within 26 dB of the louder ones; None where there are less than 0.6 s of them.
    ``edges_hz`` bound the bands. Returns float64 ``[2 x bands + 2]``.
    """
    length = round(_FRAME_S * rate)
    if len(mono) < 4 * length:
        return None
    frames = np.lib.stride_tricks.sliding_window_view(mono, length)[:: length // 2]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(length).astype(np.float32), axis=1)))
    total = power.sum(axis=1, dtype=np.float64)
    loud = total > np.percentile(total, 95) * 10 ** (-_LOUD_DB / 10)
    if int(loud.sum()) * _FRAME_S / 2 < _LEAST_LOUD_S:
        return None
    edges = np.array(edges_hz)
    sums = np.zeros((int(loud.sum()), power.shape[1] + 1))
    np.cumsum(power[loud], axis=1, out=sums[:, 1:])
    # A bin holds what lies half a bin around it, so a band takes parts of the bins at its ends.
    places = np.clip(edges * length / rate + 0.5, 0, power.shape[1])
    below = np.floor(places).astype(int)
    share = places - below
    at_edges = sums[:, below] * (1 - share) + sums[:, np.minimum(below + 1, power.shape[1])] * share
    bands = np.diff(at_edges, axis=1) / np.diff(edges)
    bands_db = 10 * np.log10(bands + 1e-4 * bands.mean(axis=1, keepdims=True) + 1e-15)
    bands_db -= bands_db.mean(axis=1, keepdims=True)
    steps = np.abs(np.diff(10 * np.log10(total + 1e-12)))[loud[1:] & loud[:-1]]
    change = float(np.abs(np.diff(bands_db, axis=0)).mean())
    rise = float(steps.mean()) if len(steps) else 0.0
    return np.concatenate((bands_db.mean(axis=0), bands_db.std(axis=0), (rise, change)))
