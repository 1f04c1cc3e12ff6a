"""Tracks the pitch of speech: the lag at which a short stretch repeats itself, and the smoothest path through these."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, isfinite, log2
from typing import TYPE_CHECKING

import numpy as np

from toolkit.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PitchTrack", "band_limited", "median_f0_hz", "track_pitch", "voiced_share"]

HOP_S = 0.010
_ANALYSIS_HZ = 12_000
"""Rate at which lags are compared: fine enough to tell 600 from 610 Hz before the parabola refines it."""
_BAND_HZ = (45.0, 1_800.0)
"""What is compared: the harmonics that carry the pitch, without rumble, hiss and most of the noise of a whisper."""
_WINDOW_S = 0.028
"""Stretch that is compared with a later one: two periods of 72 Hz."""
_CANDIDATES = 6
_QUIET_DB = 35.0
"""Frames so far below the loudest ones hold no voice."""

# Costs of a path, in the unit of the normalised difference (0: repeats exactly, 1: not at all). The shape is that of
# Boersma's path finder (1993); the values were set on synthetic pulse trains and on speech of known pitch.
_UNVOICED = 0.34
_OCTAVE = 0.02
_JUMP = 0.5
_TURN = 0.10

_BLOCK_FRAMES = 4096


@dataclass(frozen=True, eq=False)
class PitchTrack:
    """Pitch every 10 ms.

    Attributes:
        times_s: centres of the frames, float64 ``[frames]``.
        f0_hz: float64 ``[frames]``, NaN where there is no voice.
        is_active: bool ``[frames]``: frames that hold sound, within 35 dB of the loudest.
    """

    times_s: NDArray[np.float64]
    f0_hz: NDArray[np.float64]
    is_active: NDArray[np.bool_]

    @property
    def is_voiced(self) -> NDArray[np.bool_]:
        """Frames with a pitch."""
        return np.isfinite(self.f0_hz)

    @property
    def voiced_hz(self) -> NDArray[np.float64]:
        """The pitches of the voiced frames alone."""
        return self.f0_hz[self.is_voiced]

    def spread_st(self) -> float:
        """Standard deviation of the pitch in semitones, about its mean; NaN without voice.

        The outer 2 % on either side are left out: there the few errors of a tracker lie.
        """
        voiced = self.voiced_hz
        if len(voiced) < 3:
            return float("nan")
        semitones = 12 * np.log2(voiced)
        low, high = np.percentile(semitones, (2, 98))
        return float(semitones[(semitones >= low) & (semitones <= high)].std())


def median_f0_hz(track: PitchTrack) -> float:
    """Median pitch of the voiced frames in Hz; NaN without voice."""
    voiced = track.voiced_hz
    return float(np.median(voiced)) if len(voiced) else float("nan")


def voiced_share(track: PitchTrack) -> float:
    """Share of the frames that hold sound which have a pitch; 0 for a whisper, about 0.7 for ordinary speech."""
    active = int(track.is_active.sum())
    return float((track.is_voiced & track.is_active).sum() / active) if active else 0.0


def track_pitch(
    samples: NDArray[np.float32], sample_rate_hz: int, floor_hz: float = 55.0, ceiling_hz: float = 600.0
) -> PitchTrack:
    """The pitch of mono speech.

    Each frame's lags are judged by the cumulative mean normalised difference of de Cheveigné and Kawahara ("YIN", 2002,
    Journal of the Acoustical Society of America 111), refined by a parabola; among the deepest dips of all frames, and
    silence of the voice, dynamic programming finds the cheapest path (Boersma 1993, Proceedings of the Institute of
    Phonetic Sciences 17), so that single octave errors do not pay.

    Args:
        samples: float ``[n]``; of any level, values that are not numbers count as 0.
        sample_rate_hz: of the samples, at least twice the band that is looked at (3,600 Hz).
        floor_hz, ceiling_hz: between which the pitch lies.

    Raises:
        UsageError: not mono, or bounds that are none.
    """
    if samples.ndim != 1:
        raise UsageError(f"pitch is tracked in mono samples, not in an array of shape {samples.shape}")
    if not (isfinite(floor_hz) and isfinite(ceiling_hz) and 30 <= floor_hz < ceiling_hz <= 1000):
        raise UsageError(f"the pitch must lie between 30 and 1000 Hz, not between {floor_hz} and {ceiling_hz}")
    if sample_rate_hz < 2 * _BAND_HZ[1]:
        raise UsageError(f"a sample rate of {sample_rate_hz} Hz is too low to track a pitch in")
    finite = np.nan_to_num(np.asarray(samples, np.float64), posinf=0.0, neginf=0.0)
    sound = band_limited(finite, sample_rate_hz, _ANALYSIS_HZ, _BAND_HZ)
    hop = round(HOP_S * _ANALYSIS_HZ)
    frames = max(1, len(sound) // hop)
    times = np.asarray((np.arange(frames) + 0.5) * HOP_S, np.float64)
    shortest, longest = floor(_ANALYSIS_HZ / ceiling_hz), ceil(_ANALYSIS_HZ / floor_hz) + 1
    span = round(_WINDOW_S * _ANALYSIS_HZ) + longest
    padded = np.pad(sound, (span // 2, span // 2 + span + hop))
    starts = np.arange(frames) * hop + hop // 2
    active = _is_active(padded, starts + span // 2, hop)
    lags = np.full((frames, _CANDIDATES), np.nan)
    depths = np.full((frames, _CANDIDATES), np.inf)
    wanted = np.flatnonzero(active)
    for begin in range(0, len(wanted), _BLOCK_FRAMES):
        rows = wanted[begin : begin + _BLOCK_FRAMES]
        pieces = padded[starts[rows, None] + np.arange(span)]
        lags[rows], depths[rows] = _dips(_normalised_difference(pieces, longest), shortest, longest)
    pitches = _ANALYSIS_HZ / lags
    pitches[(pitches < floor_hz) | (pitches > ceiling_hz)] = np.nan
    return PitchTrack(times, _cheapest_path(pitches, depths), active)


def band_limited(
    samples: NDArray[np.float64], rate_hz: int, wanted_rate_hz: int, band_hz: tuple[float, float]
) -> NDArray[np.float64]:
    """A band of a sound alone, at another rate (one that has whole samples in 10 ms), by one transform of the whole.

    The band's upper two fifths and what is below its lower end, down to six tenths of that, are slopes.
    """
    count = len(samples)
    if not count:
        return np.zeros(0)
    seconds = max(0.05, count / rate_hz)
    # An even number of 10 ms keeps both rates' lengths whole and their transforms quick.
    whole_s = ceil(seconds / 0.02 + 1) * 0.02
    length, wanted = round(whole_s * rate_hz), round(whole_s * wanted_rate_hz)
    spectrum = np.fft.rfft(samples, length)
    spectrum = spectrum[: wanted // 2 + 1]
    spectrum = np.pad(spectrum, (0, wanted // 2 + 1 - len(spectrum)))
    frequencies = np.arange(len(spectrum)) / whole_s
    low, high = band_hz
    rise = np.clip((frequencies - low * 0.6) / (low * 0.4), 0.0, 1.0)
    fall = np.clip((high - frequencies) / (high * 0.4), 0.0, 1.0)
    sound = np.fft.irfft(spectrum * rise * fall, wanted) * (wanted / length)
    return np.asarray(sound[: round(count / rate_hz * wanted_rate_hz)], np.float64)


def _is_active(padded: NDArray[np.float64], centres: NDArray[np.int_], hop: int) -> NDArray[np.bool_]:
    sums = np.concatenate(([0.0], np.cumsum(np.square(padded))))
    power = (sums[centres + hop] - sums[np.maximum(centres - hop, 0)]) / (2 * hop)
    loudest = float(np.percentile(power, 98)) if len(power) else 0.0
    return np.asarray(power > max(loudest * 10 ** (-_QUIET_DB / 10), 1e-12))


def _normalised_difference(pieces: NDArray[np.float64], longest: int) -> NDArray[np.float64]:
    """YIN's d'(lag) for lags 0 to ``longest``, ``[frames, longest + 1]``, from pieces of window + longest samples."""
    window = pieces.shape[1] - longest
    size = 1 << (pieces.shape[1] + window - 1).bit_length()
    first = np.fft.rfft(pieces[:, :window], size)
    whole = np.fft.rfft(pieces, size)
    products = np.fft.irfft(np.conj(first) * whole, size)[:, : longest + 1]
    sums = np.pad(np.cumsum(np.square(pieces), axis=1), ((0, 0), (1, 0)))
    energies = sums[:, window : window + longest + 1] - sums[:, : longest + 1]
    difference = np.maximum(energies[:, :1] + energies - 2 * products, 0.0)
    means = np.cumsum(difference[:, 1:], axis=1) / np.arange(1, longest + 1)
    quotient: NDArray[np.float64] = np.ones(difference.shape)
    np.divide(difference[:, 1:], means, out=quotient[:, 1:], where=means > 0)
    return quotient


def _dips(
    difference: NDArray[np.float64], shortest: int, longest: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The deepest local minima of each frame: refined lags and depths, ``[frames, candidates]``."""
    shortest = max(2, shortest)
    middle = difference[:, shortest:longest]
    before, after = difference[:, shortest - 1 : longest - 1], difference[:, shortest + 1 : longest + 1]
    is_dip = (middle <= before) & (middle < after)
    depth = np.where(is_dip, middle, np.inf)
    count = min(_CANDIDATES, depth.shape[1])
    places = np.argpartition(depth, count - 1, axis=1)[:, :count]
    rows = np.arange(len(depth))[:, None]
    left, centre, right = before[rows, places], middle[rows, places], after[rows, places]
    bend = left - 2 * centre + right
    shift = np.where(bend > 0, 0.5 * (left - right) / np.where(bend > 0, bend, 1.0), 0.0)
    lags = np.full((len(depth), _CANDIDATES), np.nan)
    depths = np.full((len(depth), _CANDIDATES), np.inf)
    found = np.isfinite(depth[rows, places])
    lags[:, :count] = np.where(found, places + shortest + shift, np.nan)
    depths[:, :count] = np.where(found, np.maximum(centre - 0.25 * (left - right) * shift, 0.0), np.inf)
    return lags, depths


def _cheapest_path(pitches: NDArray[np.float64], depths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Dynamic programming over the candidates of each frame and the state without voice (the last column)."""
    frames, count = pitches.shape
    octaves = np.log2(np.where(np.isfinite(pitches), pitches, 1.0))
    costs = np.full((frames, count + 1), _UNVOICED)
    costs[:, :count] = np.where(np.isfinite(pitches), depths + _OCTAVE * (log2(1000.0) - octaves), np.inf)
    came_from = np.zeros((frames, count + 1), np.intp)
    total = costs[0]
    for frame in range(1, frames):
        steps = np.full((count + 1, count + 1), _TURN)
        steps[:count, :count] = _JUMP * np.abs(octaves[frame][:, None] - octaves[frame - 1][None, :])
        steps[count, count] = 0.0
        ways = steps + total[None, :]
        came_from[frame] = ways.argmin(axis=1)
        total = ways.min(axis=1) + costs[frame]
    path = np.full(frames, np.nan)
    state = int(total.argmin())
    for frame in range(frames - 1, -1, -1):
        if state < count:
            path[frame] = pitches[frame, state]
        state = int(came_from[frame, state])
    return path
