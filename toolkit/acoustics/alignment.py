"""Lays one reading of a text along another: mel cepstra without their level, and the cheapest banded time warp."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor, log
from typing import TYPE_CHECKING

import numpy as np

from toolkit.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HOP_S", "TOP_HZ", "Spectra", "Warp", "align", "cepstral_distances_db", "mel_cepstra", "spectra_of"]

HOP_S = 0.010
"""Frames are centred on 5 ms, 15 ms, ... as those of the pitch are, so that their numbers agree."""
TOP_HZ = 8_000.0
_WINDOW_S = 0.032
_BANDS = 26
_ORDER = 13
"""Cepstra 1 to 13: the shape of the mouth, without the level (0) and without most of the harmonics."""
_LOWEST_HZ = 80.0
_FLOOR_DB = 60.0
"""What lies so far below a clip's loud bands counts as nothing, whatever the clip's level."""
_BLOCK_FRAMES = 4096

_LEVEL_WEIGHT = 0.3
_QUIET_DB = 40.0
_SILENCE_DB = -160.0
"""Less than the dither of 24 bits."""
_STRAY_DB = 0.3
"""Cost of a step that is no diagonal: keeps the path straight where nothing tells."""
_BAND_S, _BAND_SHARE, _WIDEST_BAND_S = 1.5, 0.15, 10.0
"""How far the path may leave the straight line: seconds, or a share of the longer clip if that is more, up to 10 s."""
_DB_OF_CEPSTRUM = 10 / log(10) * 2**0.5
_EDGE = 3


@dataclass(frozen=True, eq=False)
class Spectra:
    """What a clip is aligned by.

    Attributes:
        cepstra: float64 ``[frames, 13]``, see :func:`mel_cepstra`.
        levels_db: float64 ``[frames]``, power of the bands in dB below the clip's loud frames, 0 to -40.
        loud_db: level of these loud frames (the 95th percentile), in dB of an arbitrary but fixed unit.
        top_hz: end of the bands.
    """

    cepstra: NDArray[np.float64]
    levels_db: NDArray[np.float64]
    loud_db: float = 0.0
    top_hz: float = TOP_HZ


@dataclass(frozen=True, eq=False)
class Warp:
    """Where each moment of a reference lies in another clip.

    Attributes:
        frames: float64 ``[frames of the reference]``: fractional frame of the other clip, never falling.
    """

    frames: NDArray[np.float64]

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Seconds in the reference, ``[frames]``."""
        return np.asarray((np.arange(len(self.frames)) + 0.5) * HOP_S, np.float64)

    @property
    def other_times_s(self) -> NDArray[np.float64]:
        """Seconds in the other clip, ``[frames]``."""
        return (self.frames + 0.5) * HOP_S

    def nearest(self, count: int) -> NDArray[np.intp]:
        """Whole frames of the other clip, below ``count``."""
        return np.asarray(np.clip(np.rint(self.frames), 0, count - 1), np.intp)


def spectra_of(samples: NDArray[np.float32], sample_rate_hz: int, top_hz: float = TOP_HZ) -> Spectra:
    """What mono speech is aligned by, every 10 ms, up to ``top_hz`` (both clips' spectra must end at the same).

    Raises:
        UsageError: ``top_hz`` lies above half the sample rate.
    """
    if top_hz > sample_rate_hz / 2:
        raise UsageError(f"a clip of {sample_rate_hz} Hz has no spectrum up to {top_hz:g} Hz")
    bands = _mel_powers(np.nan_to_num(samples, posinf=0.0, neginf=0.0), sample_rate_hz, top_hz)
    total_db = 10 * np.log10(bands.sum(axis=1) + 1e-20)
    lowest = float(np.percentile(bands.max(axis=1), 95)) * 10 ** (-_FLOOR_DB / 10)
    cepstra = mel_cepstra(np.maximum(bands, max(lowest, 1e-20)))
    loud_db = float(np.percentile(total_db, 95))
    levels_db = np.clip(total_db - loud_db, -_QUIET_DB, 0.0)
    if loud_db < _SILENCE_DB:
        levels_db[:] = -_QUIET_DB
    return Spectra(cepstra, levels_db, loud_db, top_hz)


def mel_cepstra(bands: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cepstra 1 to 13 of mel powers ``[frames, bands]``: ``log(amplitude) = c0 + c1 cos(w) + c2 cos(2 w) + ...``"""
    from scipy.fft import dct

    amplitudes = 0.5 * np.log(bands)
    return np.asarray(dct(amplitudes, type=2, axis=1)[:, 1 : _ORDER + 1] / bands.shape[1], np.float64)


def cepstral_distances_db(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mel-cepstral distance in dB of cepstra ``[frames, order]``, a frame each.

    ``10 / ln 10 * sqrt(2 * sum of squared differences)``, Kubichek 1993 ("Mel-cepstral distance measure for objective
    speech quality assessment", IEEE Pacific Rim Conference): the RMS difference of the two smooth spectra in dB, levels
    apart.
    """
    return np.asarray(_DB_OF_CEPSTRUM * np.sqrt(np.square(first - second).sum(axis=1)), np.float64)


def align(reference: Spectra, other: Spectra) -> Warp:
    """The cheapest way through both clips (dynamic time warping, Sakoe and Chiba 1978, their symmetric steps).

    Quiet ends are laid off first, so that a longer tail does not pull at the speech. The path stays within 1.5 s, or
    15 % of the longer clip up to 10 s, of the straight line.
    """
    first, second = _features(reference), _features(other)
    (start_a, stop_a), (start_b, stop_b) = _sound(reference), _sound(other)
    inner = _path_means(first[start_a:stop_a], second[start_b:stop_b]) + start_b
    before = inner[0] - np.arange(start_a, 0, -1)
    after = inner[-1] + np.arange(1, len(first) - stop_a + 1)
    return Warp(np.clip(np.concatenate((before, inner, after)), 0, len(second) - 1))


def _sound(spectra: Spectra) -> tuple[int, int]:
    loud = np.flatnonzero(spectra.levels_db > -_QUIET_DB + 10)
    return (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(spectra.levels_db))


def _features(spectra: Spectra) -> NDArray[np.float64]:
    columns = (_DB_OF_CEPSTRUM * spectra.cepstra, _LEVEL_WEIGHT * spectra.levels_db[:, None])
    return np.concatenate(columns, axis=1)


def _path_means(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each row of ``first`` the mean row of ``second`` that the cheapest path pairs it with."""
    rows, others = _cheapest_path(first, second)
    return np.asarray(np.bincount(rows, others) / np.bincount(rows), np.float64)


def _cheapest_path(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of rows from both starts to both ends, found a diagonal at a time (all cells of one at once)."""
    count, others = len(first), len(second)
    if count == 1 or others == 1:
        longer = np.arange(max(count, others))
        return (np.minimum(longer, count - 1), np.minimum(longer, others - 1))
    longest = max(count, others) - 1
    # At least a step of the shorter clip: else a diagonal of a very uneven pair could be empty.
    widest = min(_BAND_SHARE, _WIDEST_BAND_S / HOP_S / longest)
    width = max(_BAND_S / HOP_S / longest, widest, 1 / (min(count, others) - 1))
    backwards = second[::-1]
    slope = 1 / (count - 1) + 1 / (others - 1)
    totals = [np.full(count + 2 * _EDGE, np.inf) for _ in range(3)]
    steps: list[tuple[int, NDArray[np.uint8]]] = []
    for diagonal in range(count + others - 1):
        middle = diagonal / (others - 1)
        low = max(ceil((middle - width) / slope - 1e-9), diagonal - others + 1, 0)
        high = min(floor((middle + width) / slope + 1e-9), diagonal, count - 1) + 1
        shift = others - 1 - diagonal
        apart = first[low:high] - backwards[low + shift : high + shift]
        cost = np.sqrt(np.einsum("ij,ij->i", apart, apart))
        now, last, before = (totals[(diagonal - back) % 3] for back in range(3))
        left, right = low + _EDGE, high + _EDGE
        ways = np.stack((before[left - 1 : right - 1] + cost, last[left - 1 : right - 1], last[left:right]))
        ways[1:] += _STRAY_DB
        if diagonal == 0:
            ways[0] = 0.0
        best = ways.argmin(axis=0)
        now[left - _EDGE : left] = np.inf
        now[left:right] = ways[best, np.arange(high - low)] + cost
        now[right : right + _EDGE] = np.inf
        steps.append((low, best.astype(np.uint8)))
    return _walk_back(steps, count - 1, others - 1)


def _walk_back(
    steps: list[tuple[int, NDArray[np.uint8]]], row: int, other: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    rows, others = [row], [other]
    while row or other:
        low, taken = steps[row + other]
        step = int(taken[row - low])
        row -= step != 2
        other -= step != 1
        rows.append(row)
        others.append(other)
    return np.array(rows[::-1], np.intp), np.array(others[::-1], np.intp)


def _mel_powers(samples: NDArray[np.float32], rate_hz: int, top_hz: float) -> NDArray[np.float64]:
    """Powers of the mel bands, float64 ``[frames, bands]``, one frame every 10 ms."""
    length = round(_WINDOW_S * rate_hz)
    size = 1 << (length - 1).bit_length()
    count = max(1, floor(len(samples) / rate_hz / HOP_S + 1e-6))
    centres = np.rint((np.arange(count) + 0.5) * HOP_S * rate_hz).astype(np.intp)
    padded = np.pad(samples, (length // 2, length))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, length)
    window = np.hanning(length) / length
    filters = _mel_filters(rate_hz, size, top_hz)
    blocks = []
    for begin in range(0, count, _BLOCK_FRAMES):
        spectrum = np.fft.rfft(pieces[centres[begin : begin + _BLOCK_FRAMES]] * window, size, axis=1)
        blocks.append(np.square(np.abs(spectrum)) @ filters)
    return np.concatenate(blocks)


@lru_cache(maxsize=8)
def _mel_filters(rate_hz: int, size: int, top_hz: float) -> NDArray[np.float64]:
    """Triangles even on the mel scale ``2595 log10(1 + f / 700)`` (O'Shaughnessy 1987), ``[bins, bands]``."""
    mels = np.linspace(2595 * np.log10(1 + _LOWEST_HZ / 700), 2595 * np.log10(1 + top_hz / 700), _BANDS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    frequencies = np.fft.rfftfreq(size, 1 / rate_hz)[:, None]
    rise = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(np.minimum(rise, fall), 0.0), np.float64)
