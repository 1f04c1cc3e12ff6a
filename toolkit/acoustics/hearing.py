"""Hears a file of any length: its faults and how it was said, read window by window, in memory of a few windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log10, nan
from pathlib import Path

import numpy as np

from toolkit.acoustics.delivery import Delivery, measure_delivery
from toolkit.acoustics.faults import Fault
from toolkit.acoustics.pitch import PitchTrack, median_f0_hz, voiced_share
from toolkit.acoustics.reading import Recording, open_stream
from toolkit.acoustics.windows import Listener, cut_into_windows
from troubleshoot.facts import NA

__all__ = ["HeardFile", "hear_file"]

_SHORTEST_S = 0.05


@dataclass(frozen=True, eq=False)
class HeardFile:
    """A file's format, faults, and those measures of :class:`toolkit.acoustics.voice.Voice` that windows add up to, by
    name; empty where there is too little to measure."""

    duration_s: float
    sample_rate_hz: int
    channels: int
    values: Mapping[str, float]
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
    return HeardFile(frames / rate, rate, channels, _joined(parts) if parts else {}, faults)


def _joined(parts: Sequence[Delivery]) -> dict[str, float]:
    """Measures of windows that follow one another: sums, means by length of sound, one median of the pitch."""
    track = PitchTrack(
        np.arange(sum(len(part.pitch.times_s) for part in parts), dtype=np.float64),  # the times are not asked for
        np.concatenate([part.pitch.f0_hz for part in parts]),
        np.concatenate([part.pitch.is_active for part in parts]),
    )
    sounding_s = sum(part.sounding_s for part in parts)
    syllables = sum(len(part.syllables_s) for part in parts)
    loud = [part for part in parts if part.level_dbfs == part.level_dbfs and part.sounding_s > 0]
    power = sum(part.sounding_s * 10 ** (part.level_dbfs / 10) for part in loud)
    return {
        "sounding_s": sounding_s,
        "syllables_per_s": syllables / sounding_s if syllables and sounding_s > 0 else nan,
        "median_f0_hz": median_f0_hz(track),
        "level_dbfs": 10 * log10(power / sum(part.sounding_s for part in loud)) if power else nan,
        "voiced_share": voiced_share(track) if sounding_s > 0 else nan,
    }
