"""Probes run side by side, in order where they must, and none can stop another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from toolkit.errors import ToolkitFault, UsageError
from toolkit.probe import collection
from toolkit.probe.collection import run_probes
from toolkit.probe.contract import Probe, ProbeReport, Target
from toolkit.probe.interpreter import resolve_interpreter

TARGET = Target(resolve_interpreter(None))


def probe(name: str, run: Callable[[Target], ProbeReport] | None = None, **more: object) -> Probe:
    def well(target: Target) -> ProbeReport:
        return ProbeReport(name, "ok", {f"{name}.seen": sorted(target.known)})

    plain = Probe(name, name.title(), (f"{name}.",), deadline_s=10.0, slow_after_s=5.0, run=run or well)
    return replace(plain, **more)  # type: ignore[arg-type]


def states(reports: Mapping[str, ProbeReport]) -> dict[str, str]:
    return {name: report.state for name, report in reports.items()}


def test_reports_come_in_the_order_of_the_catalogue() -> None:
    def slow(target: Target) -> ProbeReport:
        time.sleep(0.2)
        return ProbeReport("one", "ok")

    assert list(run_probes([probe("one", slow), probe("two"), probe("three")], TARGET)) == ["one", "two", "three"]


def test_independent_probes_run_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=5)

    def meet(target: Target) -> ProbeReport:
        meeting.wait()
        return ProbeReport("x", "ok")

    names = ("one", "two", "three")
    probes = [probe(name, lambda target, name=name: replace(meet(target), name=name)) for name in names]  # type: ignore[misc]
    assert set(states(run_probes(probes, TARGET)).values()) == {"ok"}


def test_an_exception_is_that_probes_verdict() -> None:
    def wrong(target: Target) -> ProbeReport:
        raise KeyError("cards")

    reports = run_probes([probe("wrong", wrong), probe("right")], TARGET)
    assert states(reports) == {"wrong": "failed", "right": "ok"}
    assert reports["wrong"].reason == "KeyError: 'cards'"
    assert any("wrong" in line for line in reports["wrong"].last_lines)


def test_a_probe_waits_for_those_it_comes_after_and_knows_their_facts() -> None:
    probes = [probe("last", after=("first", "absent"), needs=("second",)), probe("first"), probe("second")]
    assert run_probes(probes, TARGET)["last"].facts["last.seen"] == ["first.seen", "second.seen"]


@pytest.mark.parametrize("state", ["crashed", "timed-out", "failed", "missing"])
def test_a_probe_is_skipped_with_the_reason_when_what_it_needs_did_not_go_well(state: str) -> None:
    def bad(target: Target) -> ProbeReport:
        return ProbeReport("torch", state)

    def never(target: Target) -> ProbeReport:
        raise AssertionError("must not run")

    reports = run_probes([probe("torch", bad), probe("operation", never, needs=("torch",))], TARGET)
    assert reports["operation"].state == "skipped"
    assert reports["operation"].reason == f"not tried, because the probe torch ended {state}"
    assert reports["operation"].facts["operation.state"] == "skipped"


def test_coming_after_a_failed_probe_is_no_reason_to_skip() -> None:
    def bad(target: Target) -> ProbeReport:
        return ProbeReport("gpu", "timed-out")

    assert run_probes([probe("gpu", bad), probe("torch", after=("gpu",))], TARGET)["torch"].state == "ok"


def test_a_slow_probe_is_announced_once_by_name_in_our_thread() -> None:
    told: list[tuple[str, threading.Thread]] = []

    def slow(target: Target) -> ProbeReport:
        time.sleep(0.6)
        return ProbeReport("slow", "ok")

    run_probes(
        [probe("slow", slow, slow_after_s=0.1), probe("quick")],
        TARGET,
        lambda found: told.append((found.name, threading.current_thread())),
    )
    assert told == [("slow", threading.main_thread())]


def test_a_probe_that_outlives_its_own_deadline_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "_GIVE_UP_AFTER_S", 0.2)
    release = threading.Event()

    def stuck(target: Target) -> ProbeReport:
        release.wait(30)
        return ProbeReport("stuck", "ok")

    probes = [probe("stuck", stuck, slow_after_s=0.1), probe("next", after=("stuck",))]
    begun = time.monotonic()
    reports = run_probes(probes, replace(TARGET, deadlines_s={"stuck": 0.2}))
    release.set()
    assert states(reports) == {"stuck": "timed-out", "next": "ok"}
    assert time.monotonic() - begun < 5


def test_control_c_ends_the_children_of_all_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[bool] = []
    monkeypatch.setattr(collection, "kill_live_children", lambda: killed.append(True))

    def interrupt(found: Probe) -> None:
        raise KeyboardInterrupt

    def slow(target: Target) -> ProbeReport:
        time.sleep(0.5)
        return ProbeReport("slow", "ok")

    with pytest.raises(KeyboardInterrupt):
        run_probes([probe("slow", slow, slow_after_s=0.1)], TARGET, interrupt)
    assert killed == [True]


def test_nothing_to_run_is_nothing() -> None:
    assert run_probes([], TARGET) == {}


def test_targets_probes_and_reports_check_themselves() -> None:
    with pytest.raises(UsageError, match="GPU index -1"):
        replace(TARGET, gpu_index=-1)
    with pytest.raises(UsageError, match="deadline of probe torch: 0"):
        replace(TARGET, deadlines_s={"torch": 0})
    with pytest.raises(UsageError, match="there is no such folder"):
        replace(TARGET, service=resolve_interpreter(None).executable / "gone")
    with pytest.raises(ToolkitFault, match="'Bad Name'"):
        probe("Bad Name")
    with pytest.raises(ToolkitFault, match="slow_after_s"):
        probe("x", slow_after_s=11.0)
    with pytest.raises(ToolkitFault, match="'fine'"):
        ProbeReport("x", "fine")
    assert replace(TARGET, deadlines_s={"torch": 3.0}).deadline_s("torch", 60.0) == 3.0
