"""The same call again and again: the first failure is found and named, times and memory are added up."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from bench_fakes import report

from toolkit.bench.memory_gauge import MemoryGauge
from toolkit.bench.repeats import repeat
from toolkit.errors import OutOfMemory, UsageError
from toolkit.synthesis.result import SpeechReport


class FakeGauge(MemoryGauge):
    """A card whose memory grows by 10 bytes a call."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.count = 0

    def begin(self) -> None:
        self.count += 1

    def peak(self) -> dict[str, int]:
        return {"peak_allocated_bytes": 100 + (5 if self.count == 2 else 0)}

    def held(self) -> dict[str, int]:
        return {"allocated_bytes": 50 + 10 * self.count}


def failing_at(run: int, error: Exception) -> Callable[[], SpeechReport]:
    counter = iter(range(1, 1000))

    def speak() -> SpeechReport:
        if next(counter) == run:
            raise error
        return report()

    return speak


def clock(*lengths: float) -> Callable[[], float]:
    def ticks() -> Iterator[float]:
        now = 0.0
        for length in lengths:
            yield now
            now += length
            yield now

    return ticks().__next__


@pytest.mark.parametrize("run", [1, 3, 5])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OutOfMemory("out of memory,\nalso after halving"), "OutOfMemory: out of memory, also after halving"),
        (UsageError("float16 overflowed at frame 3"), "UsageError: float16 overflowed at frame 3"),
        (RuntimeError("CUDA error: an illegal memory access"), "RuntimeError: CUDA error: an illegal memory access"),
        (MemoryError(), "MemoryError: MemoryError"),
    ],
)
def test_a_planted_failure_is_found_at_its_run(run: int, error: Exception, told: str) -> None:
    found = repeat(failing_at(run, error), 5, FakeGauge())
    assert (found.stable, found.failed_at, found.error) == (False, run, told)
    assert len(found.calls) == run - 1
    assert found.outcome == f"failed at run {run}"
    assert found.to_json()["done"] == run - 1


def test_a_mistake_of_ours_is_not_taken_for_instability() -> None:
    with pytest.raises(KeyError):
        repeat(failing_at(2, KeyError("x")), 5, FakeGauge())


def test_all_passed() -> None:
    told: list[int] = []
    found = repeat(report, 3, FakeGauge(), on_call=told.append, now=clock(1.0, 2.0, 6.0))
    assert told == [1, 2, 3]
    assert (found.stable, found.failed_at, found.outcome) == (True, None, "3 in a row")
    document = found.to_json()
    assert (document["mean_s"], document["median_s"], document["least_s"], document["most_s"]) == (3.0, 2.0, 1.0, 6.0)
    assert document["memory"] == {"peak_allocated_bytes": 105}
    assert document["growth_bytes"] == {"allocated_bytes": 20}


def test_a_run_that_had_to_be_halved_is_noted_once() -> None:
    notes = ("Memory ran out once; from now on it is 64 frames at most.", "another")
    found = repeat(lambda: report(notes=notes), 2, FakeGauge())
    assert found.notes == notes[:1]


def test_a_process_tells_its_resident_memory() -> None:
    gauge = MemoryGauge(torch.device("cpu"))
    gauge.begin()
    held, peak = gauge.held()["resident_bytes"], gauge.peak()["peak_resident_bytes"]
    assert 10**7 < held <= peak
