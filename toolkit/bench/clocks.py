"""Takes the time of work that is repeated: CUDA events around a graph, or the wall around calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from toolkit.synthesis.fast.capture import EagerRecorder, GraphRecorder, Recorder

__all__ = ["Clock", "CudaClock", "WallClock"]

_SAMPLES = 15
_WARM_UPS = 3


class Clock(Protocol):
    """Runs work on the device that the tensors are on."""

    def samples_us(self, work: Callable[[], None]) -> Sequence[float]:
        """Microseconds of some repetitions of the work."""


class CudaClock:
    """Captures the work as a CUDA graph and replays it between events, on a stream of its own."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def samples_us(self, work: Callable[[], None]) -> Sequence[float]:
        """See :class:`Clock`."""
        recorder: Recorder = GraphRecorder()
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            replay = recorder.record(work)
            for _ in range(_WARM_UPS):
                replay()
            marks: list[tuple[Any, Any]] = []
            for _ in range(_SAMPLES):
                pair = tuple(torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
                pair[0].record()
                replay()
                pair[1].record()
                marks.append((pair[0], pair[1]))
            self._stream.synchronize()
        return [begin.elapsed_time(end) * 1000 for begin, end in marks]


class WallClock:
    """Runs the work anew each time, and waits for the device before and after."""

    def __init__(self, device: torch.device, now: Callable[[], float] = time.perf_counter) -> None:
        self._device, self._now = device, now

    def samples_us(self, work: Callable[[], None]) -> Sequence[float]:
        """See :class:`Clock`."""
        repeat = EagerRecorder().record(work)
        repeat()
        found = []
        for _ in range(_SAMPLES):
            self._wait()
            began = self._now()
            repeat()
            self._wait()
            found.append((self._now() - began) * 1e6)
        return found

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
