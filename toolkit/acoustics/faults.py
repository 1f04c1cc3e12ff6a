"""What is wrong with one clip: a registry of small detectors, each with place, size and confidence of what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from toolkit.acoustics.gaps import Gap, find_gaps
from toolkit.acoustics.levels import Levels, frame_levels
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from toolkit.acoustics.reading import Recording

__all__ = ["DETECTORS", "Detector", "Fault", "SURE", "Sound", "detector", "find_faults", "surely"]

SURE = 0.5
"""Confidence from which a fault counts as found."""
_MOST_PLACES = 100
_BYTES = "half-precision-bytes"


@dataclass(frozen=True)
class Fault:
    """One fault at one place.

    Attributes:
        name: of the detector, such as ``clipping``.
        place_s: where it begins, in seconds.
        length_s: how long it lasts; 0 for a single moment.
        size: how much, in ``unit``.
        unit: of ``size``: dB, samples, share of full scale, s, Hz, count.
        confidence: 0 to 1; from :data:`SURE` on it is a finding.
        weight: ``fail`` is heard by everybody, ``warn`` is a blemish or a matter of taste.
        says: one sentence for a reader.
    """

    name: str
    place_s: float
    length_s: float
    size: float
    unit: str
    confidence: float
    weight: Literal["fail", "warn"]
    says: str

    def to_json(self) -> dict[str, object]:
        """All fields by their names."""
        return asdict(self)


class Sound:
    """A recording and what several detectors ask of it, each made once.

    ``chunk_s`` is the length of a chunk when it is known: ``audio_chunk_size`` frames of 80 ms.
    """

    def __init__(self, recording: Recording, chunk_s: float | None = None) -> None:
        if chunk_s is not None and not 0.08 <= chunk_s <= 3600:
            raise UsageError(f"a chunk lasts between 0.08 and 3600 s, not {chunk_s}")
        self.recording = recording
        self.rate = recording.sample_rate
        self.chunk_s = chunk_s

    @cached_property
    def mono(self) -> NDArray[np.float32]:
        """Mean of the channels, float32 ``[frames]``, 0 for what is no number."""
        return self.recording.finite_mono()

    @cached_property
    def peak(self) -> float:
        """Largest magnitude of any channel."""
        return float(np.max(np.abs(np.nan_to_num(self.recording.samples, posinf=0.0, neginf=0.0)), initial=0.0))

    @cached_property
    def levels(self) -> Levels:
        """Levels of frames of 20 ms every 10 ms."""
        return frame_levels(self.mono, self.rate)

    @cached_property
    def gaps(self) -> tuple[Gap, ...]:
        """Runs of zeros cut into speech."""
        return find_gaps(self.mono, self.levels)

    @property
    def duration_s(self) -> float:
        """Length."""
        return self.recording.duration_s

    @cached_property
    def is_silent(self) -> bool:
        """Nothing above a ten-thousandth of full scale."""
        return self.peak < 1e-4


Detector = Callable[[Sound], Iterable[Fault]]
DETECTORS: dict[str, Detector] = {}
"""All detectors by name, in the order in which they are asked."""


def detector(name: str) -> Callable[[Detector], Detector]:
    """Register a detector under a name, which its faults bear too."""

    def register(function: Detector) -> Detector:
        if name in DETECTORS:
            raise UsageError(f"two detectors are called {name}")
        DETECTORS[name] = function
        return function

    return register


def find_faults(recording: Recording, chunk_s: float | None = None) -> tuple[Fault, ...]:
    """Faults of a recording that count as found, the surest first, at most 100.

    Raises:
        UsageError: ``chunk_s`` is not a length of a chunk (0.08 to 3600 s).
    """
    from toolkit.acoustics import sample_faults, sound_faults  # noqa: F401 - they register their detectors

    sound = Sound(recording, chunk_s)
    found = [fault for detect in DETECTORS.values() for fault in detect(sound) if fault.confidence >= SURE]
    if any(fault.name == _BYTES for fault in found):
        # What is no sound at all has no clicks and no noise; the bytes explain the rest.
        found = [fault for fault in found if fault.name in (_BYTES, "cut-end")]
    found.sort(key=lambda fault: (-fault.confidence, fault.place_s))
    return tuple(found[:_MOST_PLACES])


def surely(value: float, unsure: float, sure: float) -> float:
    """Confidence that grows from 0.5 at ``unsure`` to 0.95 at ``sure`` and on towards 1, on the scale of ``value``."""
    share = (value - unsure) / (sure - unsure)
    return float(np.clip(1 - 0.5 * 0.1**share, 0.0, 1.0))
