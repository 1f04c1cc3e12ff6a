"""Hears a file of any length: its faults and how it was said, read window by window, in memory of a few windows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.acoustics.delivery import Delivery, joined_delivery, measure_delivery
from toolkit.acoustics.faults import Fault
from toolkit.acoustics.reading import Recording, open_stream
from toolkit.acoustics.windows import Listener, cut_into_windows
from troubleshoot.facts import NA

__all__ = ["HeardFile", "hear_file"]

_SHORTEST_S = 0.05


@dataclass(frozen=True, eq=False)
class HeardFile:
    """A file's format, faults, and delivery; the latter None where there is too little to measure."""

    duration_s: float
    sample_rate_hz: int
    channels: int
    delivery: Delivery | None
    faults: tuple[Fault, ...]


def hear_file(path: str | Path, chunk_s: float | None = None, reference: Recording | None = None) -> HeardFile:
    """Measure a WAV, FLAC or OGG file of any length and find its faults.

    It is read in windows of 60 s that overlap by 5 s (shorter ones above 24 kHz), and what touches at a joint is one
    fault. ``chunk_s`` is the length of a chunk in seconds, ``reference`` what the voice was cloned from.

    Raises:
        BadAudio: it is no recording that can be measured.
        UsageError: ``chunk_s`` is not a length of a chunk (0.08 to 3600 s).
    """
    with open_stream(path) as stream:
        rate, channels = stream.sample_rate, stream.channel_count
        listener = Listener(rate, chunk_s, reference)
        parts: list[Delivery] = []
        frames = 0
        for window in cut_into_windows(stream.blocks, rate, channels):
            listener.hear(window)
            own = Recording(np.ascontiguousarray(window.samples[window.own_start : window.own_stop]), rate)
            if own.duration_s >= _SHORTEST_S:
                parts.append(measure_delivery(own.finite_mono(), rate))
            frames += own.frame_count
        promised = stream.header_frames
        faults = listener.faults(promised if isinstance(promised, NA) else promised / rate)
    return HeardFile(frames / rate, rate, channels, joined_delivery(parts) if parts else None, faults)
