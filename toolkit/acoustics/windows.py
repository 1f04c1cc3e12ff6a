"""Hears a recording of any length window by window: detectors ask each window, findings are joined at the seams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics import gap_faults, rate_faults, sample_faults, sound_faults, two_sounds  # noqa: F401 - register
from toolkit.acoustics.clicks import find_breaks
from toolkit.acoustics.faults import DETECTORS, SURE, WHOLE, Fault, Sound
from toolkit.acoustics.levels import HOP_S
from toolkit.acoustics.overview import Overview, Part
from toolkit.acoustics.reading import Recording
from toolkit.acoustics.speech import frame_crossings
from troubleshoot.facts import NA

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Listener", "Window", "cut_into_windows", "windows_of"]

_WINDOW_S, _OVERLAP_S = 60.0, 5.0
_MOST_SAMPLES = 1_500_000
"""Samples of all channels in a window: 60 s of 24 kHz, 7 s of 192 kHz; a detector needs some fifty bytes for each."""
_SHORT_OF_MAX_DB = 15.0
"""How much softer than the loudest speech so far a window may be before it is judged as pause."""
_MOST_PLACES = 100
_BYTES = "half-precision-bytes"
_MOSTLY = ("wrong-rate", _BYTES)
"""Faults of whole files: found in a part of the windows only, they are chance."""


@dataclass(frozen=True, eq=False)
class Window:
    """Samples float32 ``[frames, channels]`` from frame ``start`` on; those from ``own_start`` to ``own_stop`` (counted
    from the window's start) are in no other window's own stretch. ``is_last`` ends the recording."""

    samples: NDArray[np.float32] = field(repr=False)
    start: int
    own_start: int
    own_stop: int
    is_last: bool


def window_frames(sample_rate: int, channels: int) -> tuple[int, int]:
    """Frames of a window and of the overlap of two, whole numbers of hops."""
    hop = max(1, round(HOP_S * sample_rate))
    window = min(_WINDOW_S * sample_rate, _MOST_SAMPLES / channels)
    overlap = min(_OVERLAP_S * sample_rate, window / 3)
    return int(window // hop * hop), int(overlap // (2 * hop) * 2 * hop)


def cut_into_windows(blocks: Iterable[NDArray[np.float32]], sample_rate: int, channels: int) -> Iterator[Window]:
    """Windows of a stream of blocks ``[frames, channels]`` of any lengths; memory holds two windows at most."""
    length, overlap = window_frames(sample_rate, channels)
    held: list[NDArray[np.float32]] = []
    count = start = 0
    for block in blocks:
        held.append(block)
        count += len(block)
        # One frame more than a window has to be there, or this window is the last.
        while count > length:
            joined = np.concatenate(held) if len(held) > 1 else held[0]
            yield Window(joined[:length], start, overlap // 2 if start else 0, length - overlap // 2, False)
            start += length - overlap
            held = [joined[length - overlap :].copy()]
            count = len(held[0])
    if count:
        joined = np.concatenate(held) if len(held) > 1 else held[0]
        yield Window(joined, start, overlap // 2 if start else 0, len(joined), True)


def windows_of(recording: Recording) -> Iterator[Window]:
    """Windows of a recording that is in memory already."""
    return cut_into_windows((recording.samples,), recording.sample_rate, recording.channel_count)


class Listener:
    """Hears windows in order and says at the end what is wrong.

    Raises:
        UsageError: ``chunk_s`` is not a length of a chunk (0.08 to 3600 s).
    """

    def __init__(self, sample_rate: int, chunk_s: float | None = None, reference: Recording | None = None) -> None:
        self._rate = sample_rate
        self._chunk_s = chunk_s
        self._reference = reference
        self._parts: list[Part] = []
        self._found: list[tuple[int, Fault]] = []
        self._sounding = 0
        self._loudest_db: float | None = None

    def hear(self, window: Window) -> None:
        """Ask all detectors of samples about the next window and keep its part of the overview."""
        rate, start_s = self._rate, window.start / self._rate
        sound = Sound(
            Recording(np.ascontiguousarray(window.samples), rate), self._chunk_s,
            reference=self._reference, start_s=start_s, own=slice(window.own_start, window.own_stop),
            speech_db=None if self._loudest_db is None else self._loudest_db - _SHORT_OF_MAX_DB,
        )  # fmt: skip
        number = len(self._parts)
        self._sounding += not sound.is_silent
        for detect in DETECTORS.values():
            for fault in detect(sound):
                if fault.confidence >= SURE:
                    self._found.append((number, replace(fault, place_s=round(fault.place_s + start_s, 6))))
        self._parts.append(_part(sound, window))
        speech_db = sound.levels.speech_db
        self._loudest_db = speech_db if self._loudest_db is None else max(self._loudest_db, speech_db)

    def faults(self, promised_s: float | NA = NA("no header was read")) -> tuple[Fault, ...]:  # noqa: B008 - frozen
        """Faults that count as found, the surest first, at most 100; ``promised_s`` is the length by the header."""
        overview = Overview(
            self._parts, max(1, round(HOP_S * self._rate)), self._rate, self._chunk_s, promised_s
        )  # fmt: skip
        found = _joined(self._found)
        for name in _MOSTLY:
            windows = {number for number, fault in self._found if fault.name == name}
            if len(windows) < 0.5 * self._sounding:
                found = [fault for fault in found if fault.name != name]
        found += [fault for detect in WHOLE.values() for fault in detect(overview) if fault.confidence >= SURE]
        if any(fault.name == _BYTES for fault in found):
            # What is no sound at all has no clicks and no noise; the bytes explain the rest.
            found = [fault for fault in found if fault.name in (_BYTES, "cut-end")]
        found.sort(key=lambda fault: (-fault.confidence, fault.place_s))
        return tuple(found[:_MOST_PLACES])


def _part(sound: Sound, window: Window) -> Part:
    rate, hop = sound.rate, sound.levels.hop
    first = window.own_start // hop
    last = len(sound.levels.frames_db) if window.is_last else window.own_stop // hop
    own = sound.mono[sound.own]
    edges = [edge for gap in sound.gaps for edge in (gap.start, gap.stop)]
    times, heights = (np.zeros(0), np.zeros(0)) if sound.is_silent else find_breaks(sound.mono, rate, edges)
    mine = (times >= window.own_start / rate) & (times < window.own_stop / rate)
    end = sound.mono[-max(2, round(0.010 * rate)) :].astype(np.float64)
    return Part(
        frames_db=sound.levels.frames_db[first:last],
        crossings=frame_crossings(sound.mono, sound.levels)[first:last],
        break_times_s=times[mine] + window.start / rate,
        break_heights=heights[mine],
        frame_count=len(own),
        total=float(own.sum(dtype=np.float64)),
        squares=float(np.sum(np.square(own, dtype=np.float64))),
        peak=sound.peak,
        last_db=10 * float(np.log10(max(float(np.var(end)), 1e-12))),
    )


def _joined(found: list[tuple[int, Fault]]) -> list[Fault]:
    """Findings of neighbouring windows that touch are one."""
    joined: list[Fault] = []
    open_at: dict[str, tuple[int, int]] = {}
    for number, fault in sorted(found, key=lambda pair: (pair[1].name, pair[1].place_s, pair[0])):
        index, window = open_at.get(fault.name, (-1, -1))
        before = joined[index] if index >= 0 else None
        if before is not None and number != window and fault.place_s <= before.place_s + before.length_s + 0.005:
            joined[index] = _union(before, fault)
            open_at[fault.name] = index, number
            continue
        joined.append(fault)
        open_at[fault.name] = len(joined) - 1, number
    return joined


def _union(before: Fault, after: Fault) -> Fault:
    stop_s = max(before.place_s + before.length_s, after.place_s + after.length_s)
    length_s = stop_s - before.place_s
    surer = max(before, after, key=lambda fault: fault.confidence)
    # One and the same place was seen from two windows, unless the second reaches further.
    if length_s <= before.length_s + 0.005:
        return replace(surer, place_s=before.place_s, length_s=length_s)
    size = before.size + after.size if before.unit in ("samples", "count") else surer.size
    size = length_s if before.unit == "s" and before.size == before.length_s else size
    says = surer.says.partition("; on the whole until ")[0] + f"; on the whole until {stop_s:.1f} s"
    return replace(surer, place_s=before.place_s, length_s=length_s, size=size, says=says)
