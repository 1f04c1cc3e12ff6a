"""What is wrong with one clip: a registry of small detectors, each with place, size and confidence of what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from toolkit.acoustics.gaps import Gap, find_gaps
from toolkit.acoustics.levels import Levels, frame_levels
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from toolkit.acoustics.overview import Overview
    from toolkit.acoustics.reading import Recording

__all__ = [
    "DETECTORS", "Detector", "Fault", "SURE", "Sound", "WHOLE", "WholeDetector", "detector", "find_faults", "surely",
    "whole_detector",
]  # fmt: skip

SURE = 0.5
"""Confidence from which a fault counts as found."""


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
    """A recording, or one window of a long one, and what several detectors ask of it, each made once.

    Attributes:
        start_s: where the window begins in the whole recording; places of faults are counted from the window's start.
        own: samples from and up to which belong to this window alone; detectors that count look at no others.
        chunk_s: length of a chunk when it is known: ``audio_chunk_size`` frames of 80 ms.
        reference: the recording that a voice was cloned from, when it is known.
        speech_db: level of the louder speech of windows before; a window of pauses is not judged by its own level.
    """

    def __init__(
        self,
        recording: Recording,
        chunk_s: float | None = None,
        *,
        reference: Recording | None = None,
        start_s: float = 0.0,
        own: slice = slice(None),
        speech_db: float | None = None,
    ) -> None:
        if chunk_s is not None and not 0.08 <= chunk_s <= 3600:
            raise UsageError(f"a chunk lasts between 0.08 and 3600 s, not {chunk_s}")
        self.recording = recording
        self.rate = recording.sample_rate
        self.chunk_s = chunk_s
        self.reference = reference
        self.start_s = start_s
        self.own = own
        self.earlier_speech_db = speech_db

    @cached_property
    def mono(self) -> NDArray[np.float32]:
        """Mean of the channels, float32 ``[frames]``, 0 for what is no number."""
        return self.recording.finite_mono()

    @property
    def own_samples(self) -> NDArray[np.float32]:
        """Samples of the stretch that is this window's alone, float32 ``[frames, channels]``."""
        return self.recording.samples[self.own]

    @property
    def own_start_s(self) -> float:
        """Where that stretch begins in the window."""
        return (self.own.start or 0) / self.rate

    @cached_property
    def peak(self) -> float:
        """Largest magnitude of any channel."""
        return float(np.max(np.abs(np.nan_to_num(self.recording.samples, posinf=0.0, neginf=0.0)), initial=0.0))

    @cached_property
    def levels(self) -> Levels:
        """Levels of frames of 20 ms every 10 ms."""
        levels = frame_levels(self.mono, self.rate)
        if self.earlier_speech_db is None or self.earlier_speech_db < levels.speech_db:
            return levels
        return replace(levels, speech_db=self.earlier_speech_db)

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
WholeDetector = Callable[["Overview"], Iterable[Fault]]
DETECTORS: dict[str, Detector] = {}
"""Detectors that look at samples, by name, in the order in which they are asked; a long recording window by window."""
WHOLE: dict[str, WholeDetector] = {}
"""Detectors that need the whole recording and look at its overview."""


def detector(name: str) -> Callable[[Detector], Detector]:
    """Register a detector of samples under a name, which its faults bear too."""

    def register(function: Detector) -> Detector:
        if name in DETECTORS or name in WHOLE:
            raise UsageError(f"two detectors are called {name}")
        DETECTORS[name] = function
        return function

    return register


def whole_detector(name: str) -> Callable[[WholeDetector], WholeDetector]:
    """Register a detector of whole recordings under a name, which its faults bear too."""

    def register(function: WholeDetector) -> WholeDetector:
        if name in DETECTORS or name in WHOLE:
            raise UsageError(f"two detectors are called {name}")
        WHOLE[name] = function
        return function

    return register


def find_faults(
    recording: Recording, chunk_s: float | None = None, reference: Recording | None = None
) -> tuple[Fault, ...]:
    """Faults of a recording that count as found, the surest first, at most 100.

    ``reference`` is what the voice was cloned from; only with it are a leaked prefix and swapped channels told.

    Raises:
        UsageError: ``chunk_s`` is not a length of a chunk (0.08 to 3600 s).
    """
    from toolkit.acoustics.windows import Listener, windows_of

    listener = Listener(recording.sample_rate, chunk_s, reference)
    for window in windows_of(recording):
        listener.hear(window)
    return listener.faults(recording.header_duration_s)


def surely(value: float, unsure: float, sure: float) -> float:
    """Confidence that grows from 0.5 at ``unsure`` to 0.95 at ``sure`` and on towards 1, on the scale of ``value``."""
    share = (value - unsure) / (sure - unsure)
    return float(np.clip(1 - 0.5 * 0.1**share, 0.0, 1.0))
