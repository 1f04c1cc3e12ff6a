"""The same call again and again: times, memory, and the call at which it failed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from toolkit.bench.memory_gauge import MemoryGauge
from toolkit.errors import QwenAudioError
from toolkit.synthesis.result import SpeechReport

__all__ = ["Call", "Repeats", "repeat"]


@dataclass(frozen=True)
class Call:
    """One call: seconds on the wall, frames (80 ms) and seconds of speech, peak and held memory in bytes, and the
    seconds by stage that its own report gives."""

    total_s: float
    frames: int
    audio_s: float
    peak: Mapping[str, int]
    held: Mapping[str, int]
    timings_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Repeats:
    """What became of ``asked`` calls. ``failed_at`` counts from 1; None when all passed."""

    asked: int
    calls: tuple[Call, ...]
    failed_at: int | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def stable(self) -> bool:
        """Whether all calls passed."""
        return self.failed_at is None

    @property
    def outcome(self) -> str:
        """As the tutorial's table puts it: how often it ran in a row, or the run that failed."""
        return f"{self.asked} in a row" if self.stable else f"failed at run {self.failed_at}"

    @property
    def median_s(self) -> float | None:
        """Middle of the times."""
        return statistics.median(call.total_s for call in self.calls) if self.calls else None

    def peak(self) -> dict[str, int]:
        """Highest of each peak."""
        names = self.calls[0].peak if self.calls else {}
        return {name: max(call.peak[name] for call in self.calls) for name in names}

    def to_json(self) -> dict[str, object]:
        """All of it as JSON values; growth is what was held after the last call less that after the first."""
        times = [call.total_s for call in self.calls]
        first, last = (self.calls[0].held, self.calls[-1].held) if self.calls else ({}, {})
        return {
            "asked": self.asked,
            "done": len(self.calls),
            "stable": self.stable,
            "failed_at": self.failed_at,
            "outcome": self.outcome,
            "error": self.error,
            "mean_s": round(statistics.fmean(times), 5) if times else None,
            "median_s": round(statistics.median(times), 5) if times else None,
            "least_s": round(min(times), 5) if times else None,
            "most_s": round(max(times), 5) if times else None,
            "memory": self.peak(),
            "held_after_first": dict(first),
            "held_after_last": dict(last),
            "growth_bytes": {name: last[name] - first[name] for name in first},
            "notes": list(self.notes),
        }


def repeat(
    speak: Callable[[], SpeechReport],
    count: int,
    gauge: MemoryGauge,
    *,
    on_call: Callable[[int], None] | None = None,
    now: Callable[[], float] = time.perf_counter,
) -> Repeats:
    """Call ``speak`` up to ``count`` times, and stop at the first failure, which is reported and not raised.

    Args:
        speak: one call, which ends when its samples lie on the CPU.
        count: at least 1.
        gauge: of the device's memory.
        on_call: told the number of each call before it begins, from 1.
        now: seconds of a clock.
    """
    calls: list[Call] = []
    notes: list[str] = []
    for number in range(1, count + 1):
        if on_call is not None:
            on_call(number)
        gauge.begin()
        began = now()
        try:
            report = speak()
        except (QwenAudioError, RuntimeError, MemoryError) as error:
            told = " ".join(str(error).split())[:400] or type(error).__name__
            return Repeats(count, tuple(calls), number, f"{type(error).__name__}: {told}", tuple(notes))
        total_s = now() - began
        calls.append(Call(total_s, report.frames, report.seconds, gauge.peak(), gauge.held(), report.timings_s))
        notes += [note for note in report.notes if note.startswith("Memory ran out") and note not in notes]
    return Repeats(count, tuple(calls), notes=tuple(notes))
