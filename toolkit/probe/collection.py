"""Runs probes side by side, announces the slow ones and joins their reports; no probe can stop another."""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from toolkit.probe.contract import Probe, ProbeReport, Target
from toolkit.probe.runner import kill_live_children

__all__ = ["run_probes"]

# A probe keeps its own deadline; this much later it is given up, because something of ours must be stuck.
_GIVE_UP_AFTER_S = 10.0


class _Run:
    def __init__(self, probes: Sequence[Probe], target: Target, on_slow: Callable[[Probe], None] | None) -> None:
        self._probes = {probe.name: probe for probe in probes}
        self._target = target
        self._on_slow = on_slow
        self._reports: dict[str, ProbeReport] = {}
        self._begun: dict[str, float] = {}
        self._announced: set[str] = set()
        self._done: queue.SimpleQueue[ProbeReport] = queue.SimpleQueue()

    def reports(self) -> dict[str, ProbeReport]:
        while len(self._reports) < len(self._probes):
            self._start_ready()
            if len(self._reports) == len(self._probes):
                break
            try:
                report = self._done.get(timeout=self._until_next_event_s())
            except queue.Empty:
                self._announce_slow()
                self._give_up()
                continue
            # One that was given up may still report; its verdict stands.
            self._reports.setdefault(report.name, report)
        return {name: self._reports[name] for name in self._probes}

    def _start_ready(self) -> None:
        progress = True
        while progress:
            progress = False
            for probe in self._probes.values():
                if probe.name in self._begun or probe.name in self._reports or not self._is_ready(probe):
                    continue
                progress = True
                blocker = next((name for name in probe.needs if self._blocks(name)), None)
                if blocker is not None:
                    self._reports[probe.name] = _skipped(probe, self._reports[blocker])
                else:
                    self._start(probe)

    def _is_ready(self, probe: Probe) -> bool:
        return all(name in self._reports or name not in self._probes for name in (*probe.after, *probe.needs))

    def _blocks(self, name: str) -> bool:
        report = self._reports.get(name)
        return report is not None and report.state != "ok"

    def _start(self, probe: Probe) -> None:
        known: dict[str, object] = {}
        for name in (*probe.after, *probe.needs):
            if name in self._reports:
                known.update(self._reports[name].facts)
        target = replace(self._target, known=known)
        self._begun[probe.name] = time.monotonic()
        # Daemons: a thread that waits for a child which cannot be killed must not keep our process alive.
        threading.Thread(target=self._run, args=(probe, target), name=f"probe-{probe.name}", daemon=True).start()

    def _run(self, probe: Probe, target: Target) -> None:
        begun = time.monotonic()
        try:
            report = probe.run(target)
        except Exception as error:  # noqa: BLE001 - a mistake in one probe is its verdict, not the end of the others
            lines = tuple(line.rstrip() for line in traceback.format_exc().splitlines() if line.strip())[-12:]
            elapsed_s = round(time.monotonic() - begun, 3)
            report = ProbeReport(probe.name, "failed", {}, elapsed_s, None, lines, f"{type(error).__name__}: {error}")
        self._done.put(report)

    def _running(self) -> list[Probe]:
        return [self._probes[name] for name in self._begun if name not in self._reports]

    def _until_next_event_s(self) -> float:
        now = time.monotonic()
        events = [self._last_moment(probe) for probe in self._running()]
        events += [self._begun[p.name] + p.slow_after_s for p in self._running() if p.name not in self._announced]
        return max(0.01, min(events) - now) if events else 1.0

    def _last_moment(self, probe: Probe) -> float:
        return self._begun[probe.name] + self._target.deadline_s(probe.name, probe.deadline_s) + _GIVE_UP_AFTER_S

    def _announce_slow(self) -> None:
        for probe in self._running():
            if probe.name not in self._announced and time.monotonic() >= self._begun[probe.name] + probe.slow_after_s:
                self._announced.add(probe.name)
                if self._on_slow is not None:
                    self._on_slow(probe)

    def _give_up(self) -> None:
        for probe in self._running():
            elapsed_s = time.monotonic() - self._begun[probe.name]
            if time.monotonic() >= self._last_moment(probe):
                reason = f"gave no report within {elapsed_s:.0f} s, past its own deadline"
                self._reports[probe.name] = ProbeReport(probe.name, "timed-out", {}, round(elapsed_s, 3), reason=reason)


def _skipped(probe: Probe, blocker: ProbeReport) -> ProbeReport:
    reason = f"not tried, because the probe {blocker.name} ended {blocker.state}"
    return ProbeReport(
        probe.name, "skipped", {f"{probe.name}.state": "skipped", f"{probe.name}.reason": reason}, reason=reason
    )


def run_probes(
    probes: Sequence[Probe], target: Target, on_slow: Callable[[Probe], None] | None = None
) -> Mapping[str, ProbeReport]:
    """Reports by name, in the order of ``probes``. ``on_slow`` is called in this thread, once for each slow probe.

    A probe starts when those in its ``after`` and ``needs`` have ended (as far as they are run at all) and finds their
    facts in ``target.known``. Ctrl-C kills the children of all probes before it goes on.
    """
    try:
        return _Run(probes, target, on_slow).reports()
    except BaseException:
        kill_live_children()
        raise
