"""Joins the waveforms of parts without a seam: silence trimmed, loudness matched, pauses set, edges faded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import UsageError

__all__ = [
    "FADE_S",
    "KEPT_SILENCE_S",
    "MAX_GAIN_DB",
    "StreamJoiner",
    "active_level",
    "join_parts",
]

Samples = NDArray[np.float32]

FADE_S = 0.008
"""Length of a fade at an edge. A step in the waveform is heard as a click; 5 to 10 ms of raised cosine hide it and are
too short to be heard as a fade."""

KEPT_SILENCE_S = 0.04
"""Silence that stays before and after the speech of a part: soft beginnings (h, f, s) lie below the threshold."""

MAX_GAIN_DB = 6.0
"""Most by which a part is made louder or softer. A whisper inside a reading is wanted; a jump of a few decibels between
two parts of one sentence is not."""

_BLOCK_S = 0.02
_ACTIVE_DB = -40.0
"""Blocks that are less than this below the loudest one count as speech; pauses lie 40 dB and more below it."""
_SILENT = 1e-4
_PEAK = 0.999


def active_level(samples: Samples, sample_rate: int) -> float:
    """Root mean square of the blocks that hold speech; 0 for silence."""
    energy = _energy(samples, sample_rate)
    loud = energy[_active(energy)]
    return float(np.sqrt(loud.mean())) if loud.size else 0.0


def join_parts(parts: Sequence[Samples], pauses_s: Sequence[float], sample_rate: int) -> Samples:
    """One waveform.

    A single part comes back as it is, sample for sample. With more, each is trimmed to its speech and a little silence,
    brought to the median level of all (by 6 dB at most, and never above full scale), faded at the edges, and followed
    by its pause; the silence that stays at the edges counts as part of the pause.

    Args:
        parts: float32 in [-1, 1], each ``[samples]``; empty ones are passed over.
        pauses_s: silence after each part in seconds; that of the last is not used.
        sample_rate: in Hz.

    Raises:
        UsageError: another number of pauses than of parts.
    """
    if len(parts) != len(pauses_s):
        raise UsageError(f"{len(parts)} parts and {len(pauses_s)} pauses; give one pause after each part")
    spoken = [(part, pause) for part, pause in zip(parts, pauses_s, strict=True) if part.size]
    if not spoken:
        return np.zeros(0, np.float32)
    if len(spoken) == 1:
        return spoken[0][0]
    levels = [active_level(part, sample_rate) for part, _ in spoken]
    audible = [level for level in levels if level > 0]
    target = float(np.median(audible)) if audible else 0.0
    pieces: list[Samples] = []
    for index, ((part, pause_s), level) in enumerate(zip(spoken, levels, strict=True)):
        trimmed, before, after = _trimmed(part, sample_rate)
        pieces.append(_faded(trimmed * _gain(trimmed, level, target), sample_rate))
        if index:
            pieces[-2] = pieces[-2][: max(0, pieces[-2].size - before)]
        if index + 1 < len(spoken):
            pieces.append(np.zeros(max(0, round(pause_s * sample_rate) - after), np.float32))
    return np.concatenate(pieces)


class StreamJoiner:
    """The same while the parts still arrive in pieces: pauses and fades, no loudness, which would need the whole.

    Feed the pieces of a part, then call :meth:`end_part`. The last 8 ms of a part are held back until it is known
    whether it goes on.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._fade = round(FADE_S * sample_rate)
        self._held = np.zeros(0, np.float32)
        self._quiet = 0
        self._owed: int | None = None
        self._fade_in = False

    def feed(self, piece: Samples) -> Samples:
        """What can be played of a piece; may be empty."""
        if self._owed is not None:
            piece = self._open(piece)
        whole = np.concatenate((self._held, piece))
        ready = max(0, whole.size - self._fade)
        self._held = whole[ready:]
        return self._counted(whole[:ready])

    def end_part(self, pause_s: float, *, last: bool) -> Samples:
        """The rest of a part. Unless it is the ``last``, it is faded out and the pause comes before the next."""
        rest, self._held = self._held, np.zeros(0, np.float32)
        if last:
            return rest
        rest = self._counted(rest * _falling(rest.size))
        # Silence that the part ended with has been played already.
        self._owed = max(0, round(pause_s * self._rate) - self._quiet)
        self._quiet, self._fade_in = 0, True
        return rest

    def _open(self, piece: Samples) -> Samples:
        """Before the first sound of a part: its silence takes the place of the pause."""
        loud = np.flatnonzero(np.abs(piece) > _SILENT)
        lead = int(loud[0]) if loud.size else piece.size
        kept = min(lead, round(KEPT_SILENCE_S * self._rate))
        if not loud.size and self._owed is not None and self._owed > 0:
            return np.zeros(0, np.float32)
        owed, self._owed = self._owed or 0, None
        piece = piece[lead - kept :].copy()
        if self._fade_in:
            count = min(self._fade, piece.size)
            piece[:count] *= _falling(count)[::-1]
            self._fade_in = False
        return np.concatenate((np.zeros(max(0, owed - kept), np.float32), piece))

    def _counted(self, samples: Samples) -> Samples:
        loud = np.flatnonzero(np.abs(samples) > _SILENT)
        self._quiet = samples.size - 1 - int(loud[-1]) if loud.size else self._quiet + samples.size
        return samples


def _energy(samples: Samples, sample_rate: int) -> NDArray[np.float64]:
    """Mean square of blocks of 20 ms; the last one may be shorter."""
    size = max(1, round(_BLOCK_S * sample_rate))
    starts = np.arange(0, samples.size, size)
    if not starts.size:
        return np.zeros(0)
    sums = np.add.reduceat(np.square(samples, dtype=np.float64), starts)
    return sums / np.diff(np.append(starts, samples.size))


def _active(energy: NDArray[np.float64]) -> NDArray[np.bool_]:
    if not energy.size or energy.max() <= _SILENT**2:
        return np.zeros(energy.size, np.bool_)
    loud: NDArray[np.bool_] = energy >= energy.max() * 10 ** (_ACTIVE_DB / 10)
    return loud


def _trimmed(samples: Samples, sample_rate: int) -> tuple[Samples, int, int]:
    """The speech with a little silence around, and how many samples of silence stayed before and after."""
    active = np.flatnonzero(_active(_energy(samples, sample_rate)))
    if not active.size:
        return samples[:0], 0, 0
    size, kept = max(1, round(_BLOCK_S * sample_rate)), round(KEPT_SILENCE_S * sample_rate)
    first, last = int(active[0]) * size, min(samples.size, (int(active[-1]) + 1) * size)
    start, stop = max(0, first - kept), min(samples.size, last + kept)
    return samples[start:stop], first - start, stop - last


def _gain(samples: Samples, level: float, target: float) -> np.float32:
    if level <= 0 or target <= 0:
        return np.float32(1.0)
    most = 10 ** (MAX_GAIN_DB / 20)
    gain = min(most, max(1 / most, target / level))
    peak = float(np.abs(samples).max()) if samples.size else 0.0
    return np.float32(min(gain, _PEAK / peak) if gain > 1 and peak > 0 else gain)


def _faded(samples: Samples, sample_rate: int) -> Samples:
    count = min(round(FADE_S * sample_rate), samples.size // 2)
    if count:
        samples = samples.copy()
        samples[:count] *= _falling(count)[::-1]
        samples[-count:] *= _falling(count)
    return samples


def _falling(count: int) -> Samples:
    """Raised cosine from nearly 1 to nearly 0."""
    return (0.5 + 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / max(1, count))).astype(np.float32)
