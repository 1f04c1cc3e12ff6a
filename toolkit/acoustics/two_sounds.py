"""Faults told by comparing: one channel with the other, and a recording with the reference it was cloned from."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics.faults import Fault, Sound, detector, surely

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from toolkit.acoustics.reading import Recording

__all__: list[str] = []

_HOP_S, _LENGTH_S = 0.010, 0.025
_RATE_HZ = 16_000
_BANDS_HZ = np.geomspace(150.0, 6_000.0, 25)
_LOOK_S = 4.0
"""How much of the start is searched for the reference's end; what leaks is a syllable to a sentence."""
_LEAST_S = 0.20
_LEAD_S = 0.30
"""Longest quiet before a leak."""
_LATEST_S = 0.12
"""How far before the reference's last sound a leak may end."""


@detector("stereo")
def _stereo(sound: Sound) -> Iterator[Fault]:
    """Two channels that are one and the same, one empty, opposite, or the wrong way round.

    Which is left and which is right is not in the sound: swapped channels are told only beside a stereo reference.
    """
    if sound.recording.channel_count != 2 or sound.is_silent:
        return
    left, right = np.nan_to_num(sound.recording.samples, posinf=0.0, neginf=0.0).T.astype(np.float64)
    powers = float(np.mean(left * left)), float(np.mean(right * right))
    if min(powers) < 1e-6 * max(powers):
        side = "right" if powers[1] < powers[0] else "left"
        yield Fault("stereo", 0.0, sound.duration_s, 60.0, "dB", 0.97, "fail", f"the {side} channel is empty")
        return
    likeness = float(np.mean(left * right)) / (powers[0] * powers[1]) ** 0.5
    if np.array_equal(left, right):
        says = "both channels are the same: mono written twice"
        yield Fault("stereo", 0.0, sound.duration_s, 1.0, "correlation", 1.0, "warn", says)
    elif likeness < -0.9:
        says = "the channels are each other's opposite and cancel in mono"
        confidence = surely(-likeness, 0.9, 0.97)
        yield Fault("stereo", 0.0, sound.duration_s, likeness, "correlation", confidence, "fail", says)
    elif sound.reference is not None and sound.reference.channel_count == 2 and sound.start_s == 0:
        yield from _swapped(sound, sound.reference)


def _swapped(sound: Sound, reference: Recording) -> Iterator[Fault]:
    """The louder side, band by band, is the other one than in the reference."""
    here, there = _side_db(sound.recording), _side_db(reference)
    spread = float(np.sqrt(np.mean(here * here) * np.mean(there * there)))
    if spread < 0.25:  # dB: both sides are alike, nothing can be swapped
        return
    likeness = float(np.mean(here * there)) / spread
    says = f"left and right are the other way round than in {reference.name}"
    yield Fault("stereo", 0.0, sound.duration_s, likeness, "correlation", surely(-likeness, 0.6, 0.8), "fail", says)


def _side_db(recording: Recording) -> NDArray[np.float64]:
    """How much louder left is than right in each band, in dB."""
    length = 2048
    samples = np.nan_to_num(recording.samples, posinf=0.0, neginf=0.0)
    samples = np.pad(samples, ((0, max(0, length - len(samples))), (0, 0)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, length, axis=0)[:: length // 2]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(length).astype(np.float32), axis=2))).mean(axis=0)
    places = np.searchsorted(np.fft.rfftfreq(length, 1 / recording.sample_rate), _BANDS_HZ)
    bands = [power[:, a : max(b, a + 1)].sum(axis=1) for a, b in pairwise(places)]
    both = 10 * np.log10(np.maximum(np.array(bands), 1e-12))
    return np.asarray(both[:, 0] - both[:, 1], np.float64)


@detector("leaked-reference")
def _leaked_reference(sound: Sound) -> Iterator[Fault]:
    """The recording begins with the end of the reference, or with the codec's echo of it."""
    if sound.reference is None or sound.is_silent or sound.start_s > 0:
        return
    here = _spectra(sound.mono[: round(_LOOK_S * sound.rate)], sound.rate)
    there = _spectra(sound.reference.finite_mono(), sound.reference.sample_rate)
    if min(len(here), len(there)) < round(_LEAST_S / _HOP_S):
        return
    score, likeness, lead, count = _best_match(here, there)
    length_s = count * _HOP_S
    says = f"the first {length_s:.2f} s are the end of the reference {sound.reference.name} (likeness {likeness:.2f})"
    yield Fault("leaked-reference", lead * _HOP_S, length_s, length_s, "s", surely(score, 0.6, 0.7), "fail", says)


def _best_match(here: NDArray[np.float32], there: NDArray[np.float32]) -> tuple[float, float, int, int]:
    """Score, likeness, first frame and frames of the stretch near the start of one that is like the end of the other.

    A stretch begins up to 0.3 s after the first sound here and ends up to 0.12 s before the last sound there.
    """
    least = round(_LEAST_S / _HOP_S)
    leads, lates = np.arange(0, round(_LEAD_S / _HOP_S), 2), np.arange(0, round(_LATEST_S / _HOP_S), 2)
    best = (0.0, 0.0, 0, 0)
    for offset in range(max(0, len(there) - len(here)), len(there) - least + 1):
        count = len(there) - offset
        one, other = here[:count].astype(np.float64), there[offset:].astype(np.float64)
        sums = np.zeros((5, count + 1, one.shape[1]))
        np.cumsum((one, other, one * one, other * other, one * other), axis=1, out=sums[:, 1:])
        first, last = np.minimum(leads[:, None], count), np.maximum(count - lates, 0)[None, :]
        lengths = last - first
        a, b, aa, bb, ab = sums[:, last] - sums[:, first]
        size = np.maximum(lengths, 1)[..., None]
        own, others = (aa - a * a / size).sum(axis=-1), (bb - b * b / size).sum(axis=-1)
        likeness = (ab - a * b / size).sum(axis=-1) / np.sqrt(np.maximum(own * others, 1e-6))
        # A short match is chance more often than a long one.
        score = np.where(lengths >= least, likeness - 0.12 * np.sqrt(least / np.maximum(lengths, 1)), -1.0)
        row, column = np.unravel_index(int(score.argmax()), score.shape)
        if score[row, column] > best[0]:
            best = float(score[row, column]), float(likeness[row, column]), int(leads[row]), int(lengths[row, column])
    return best


def _spectra(mono: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Shape and level of spectra in dB from the first to the last sound, float32 ``[frames, bands + 1]``."""
    from scipy.signal import resample_poly

    if rate != _RATE_HZ:
        shared = gcd(rate, _RATE_HZ)
        mono = resample_poly(mono, _RATE_HZ // shared, rate // shared).astype(np.float32)
    length, hop = round(_LENGTH_S * _RATE_HZ), round(_HOP_S * _RATE_HZ)
    if len(mono) < 2 * length:
        return np.zeros((0, len(_BANDS_HZ)), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(mono, length)[::hop]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(length).astype(np.float32), 512, axis=1)))
    places = np.searchsorted(np.fft.rfftfreq(512, 1 / _RATE_HZ), _BANDS_HZ)
    bands = [power[:, a : max(b, a + 1)].mean(axis=1) for a, b in pairwise(places)]
    found = 10 * np.log10(np.maximum(np.array(bands).T, 1e-12))
    top = float(found.max())
    found = np.maximum(found, top - 60.0)
    sounding = np.flatnonzero(found.max(axis=1) > top - 40.0)
    found = found[sounding[0] : sounding[-1] + 1]
    # The shape of a spectrum says more than its level, which may differ from recording to recording.
    mean = found.mean(axis=1, keepdims=True)
    return np.asarray(np.concatenate((found - mean, mean), axis=1), np.float32)
