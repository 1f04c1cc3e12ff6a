"""A card that is slowed down makes the figures invalid; what is not known is said, not guessed."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from bench_fakes import SAMPLE, FakeReader

from toolkit.bench import conditions
from toolkit.bench.conditions import Conditions, Watcher, nvml_index, open_watcher
from toolkit.errors import GpuUnavailable
from troubleshoot.facts import NA

HOT = replace(SAMPLE, throttle_reasons=("thermal", "idle"), sm_clock_mhz=1200.0)
SILENT = replace(SAMPLE, throttle_reasons=NA("this driver does not know"))


@pytest.mark.parametrize("place", ["before", "during", "after"])
def test_slowed_down_at_any_moment_is_invalid(place: str) -> None:
    seen: dict[str, Any] = {"before": SAMPLE, "during": (SAMPLE,), "after": SAMPLE}
    seen[place] = (SAMPLE, HOT) if place == "during" else HOT
    found = Conditions(**seen)
    assert found.throttled is True
    assert found.faults == ("the card was slowed down while it was measured (thermal)",)


def test_idle_clocks_are_no_fault() -> None:
    idle = replace(SAMPLE, throttle_reasons=("idle", "application-clocks"))
    assert Conditions(before=idle, during=(SAMPLE,), after=idle).faults == ()


def test_what_the_card_does_not_tell_is_not_known() -> None:
    found = Conditions(before=SILENT, during=(SILENT,), after=SILENT)
    assert (found.throttled, found.faults) == (None, ())
    assert found.notes == ("the card does not tell whether it was slowed down",)


def test_a_missing_driver_is_noted() -> None:
    assert Conditions(missing="NVML does not start").notes == (
        "clocks and throttling are not known: NVML does not start",
    )


def test_a_busy_processor_is_noted() -> None:
    busy = Conditions(load_before=(3.1, 2.0, 1.0), cores=4)
    assert busy.notes == (
        "other programs kept the processor busy (load average 3.1 on 4 cores before the measurement)",
    )
    assert Conditions(load_before=(1.9, 2.0, 1.0), cores=4).notes == ()


def test_the_watcher_samples_before_during_and_after() -> None:
    reader = FakeReader([SAMPLE, HOT, SAMPLE])
    with Watcher(reader, interval_s=0.01) as watcher:
        time.sleep(0.2)
    found = watcher.conditions
    assert found.before == SAMPLE
    assert found.during[0] == HOT
    assert len(found.during) >= 3
    assert found.after == SAMPLE
    assert reader.closed
    document: Any = found.to_json()
    assert document["throttled"] is True
    assert document["during"]["sm_clock_mhz"] == [1200.0, 2520.0, 2520.0]
    assert document["before"]["throttle_reasons"] == []
    assert len(document["load_average"]["after"]) == 3


def test_an_error_inside_still_lets_go_of_the_card(reader: FakeReader) -> None:
    with pytest.raises(RuntimeError, match="planted"), Watcher(reader, interval_s=0.01):
        raise RuntimeError("planted")
    assert reader.closed


def test_without_a_driver_there_is_a_watcher_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> Any:
        raise GpuUnavailable("no driver")

    monkeypatch.setattr(conditions, "open_reader", refuse)
    with open_watcher(0) as watcher:
        pass
    assert watcher.conditions.missing == "no driver"
    assert watcher.conditions.to_json()["throttled"] is None


class FakeNvml:
    """Two cards, listed the other way round than CUDA does."""

    class NVMLError(Exception):
        """As pynvml has one."""

    closed = False

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str | bytes:
        return ["GPU-aaaa", b"GPU-BBBB"][handle]

    def nvmlShutdown(self) -> None:
        self.closed = True


def test_the_card_is_found_by_its_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    monkeypatch.setattr(conditions, "open_nvml", lambda: nvml)
    assert nvml_index("bbbb", 0) == 1
    assert nvml.closed
    assert nvml_index("aaaa", 1) == 0
    assert nvml_index("cccc", 1) == 1
