"""Stand-ins of the benchmark's tests: a card's sample, and a report of speech."""

from __future__ import annotations

from collections.abc import Iterable

from toolkit.probe.gpu_sample import Sample
from toolkit.synthesis.precision import Choice
from toolkit.synthesis.result import SpeechReport

__all__ = ["SAMPLE", "FakeReader", "report"]

SAMPLE = Sample(
    1.0, "2026-11-24T09:30:00Z", 0, 97.0, 50.0, 6 * 2**30, 24 * 2**30, 2520.0, 10501.0, 320.0, 450.0, 61.0, "P2", ()
)
"""A card at work."""


class FakeReader:
    """Gives the samples of a list, and the last one for ever."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self.samples = list(samples)
        self.closed = False

    def read(self) -> Sample:
        return self.samples.pop(0) if len(self.samples) > 1 else self.samples[0]

    def close(self) -> None:
        self.closed = True


def report(frames: int = 10, notes: tuple[str, ...] = ()) -> SpeechReport:
    """Speech of so many frames."""
    return SpeechReport(
        text="a",
        parts=(),
        seconds=frames * 0.08,
        frames=frames,
        seed=1,
        finish_reason="length",
        model="m",
        device="cpu",
        dtype=Choice("float32", "asked for"),
        codec_dtype=Choice("float32", "asked for"),
        timings_s={"decode": 0.5},
        first_audio_s=0.1,
        peak_bytes=None,
        notes=notes,
    )
