"""What every probe is given and what it gives back: the target, the probe and its report."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from toolkit.errors import ToolkitFault, UsageError
from toolkit.probe.interpreter import Interpreter

__all__ = ["PROBE_STATES", "Probe", "ProbeReport", "Target"]

PROBE_STATES = ("ok", "failed", "crashed", "timed-out", "missing", "not-applicable", "skipped")
_PROBE_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True)
class Target:
    """What the doctor looks at: an interpreter and, when given, a model folder and a service folder.

    ``gpu_index`` is the card's number as ``nvidia-smi`` counts; ``None`` takes the card that PyTorch calls ``cuda:0``.
    ``deadlines_s`` replaces the deadline of the probes it names. ``environment`` replaces the environment of the
    children (``None``: ours). ``service`` is also put first on ``sys.path`` of the children, as a start script there
    would do. ``known`` holds the facts of the probes that a probe comes after.
    """

    interpreter: Interpreter
    model: Path | None = None
    service: Path | None = None
    cwd: Path | None = None
    gpu_index: int | None = None
    deadlines_s: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, str] | None = None
    known: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.gpu_index is not None and (isinstance(self.gpu_index, bool) or not 0 <= self.gpu_index < 1024):
            raise UsageError(f"GPU index {self.gpu_index!r}: give the number that nvidia-smi shows, 0 or more")
        if self.service is not None and not self.service.is_dir():
            raise UsageError(f"service folder {self.service}: there is no such folder")
        for name, deadline_s in self.deadlines_s.items():
            if not 0 < deadline_s <= 3_600:
                raise UsageError(f"deadline of probe {name}: {deadline_s!r} s, give more than 0 and at most 3600")
        object.__setattr__(self, "deadlines_s", MappingProxyType(dict(self.deadlines_s)))

    def deadline_s(self, probe: str, default_s: float) -> float:
        """Deadline of a probe in seconds: the one asked for, else the probe's own."""
        return self.deadlines_s.get(probe, default_s)


@dataclass(frozen=True)
class ProbeReport:
    """What came of one probe. ``facts`` may hold values even when the probe crashed: those it gave before."""

    name: str
    state: str
    facts: Mapping[str, object] = field(default_factory=dict)
    elapsed_s: float = 0.0
    signal: str | None = None
    last_lines: tuple[str, ...] = ()
    reason: str = ""

    def __post_init__(self) -> None:
        if self.state not in PROBE_STATES:
            raise ToolkitFault(f"probe {self.name}: state {self.state!r} is none of {', '.join(PROBE_STATES)}")
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))


@dataclass(frozen=True)
class Probe:
    """One probe of the catalogue.

    ``provides`` are prefixes of fact names (``gpu.``) or whole names; ``after`` names probes that must have finished
    first; a probe in ``needs`` must have ended ``ok``, else this one is skipped with that as its reason. Those in
    ``completed_by`` give what some of these facts follow from, and run along when only this one is asked for.
    ``run`` must not raise for what it finds; what it raises all the same becomes a report of state ``failed``.
    """

    name: str
    title: str
    provides: tuple[str, ...]
    deadline_s: float
    slow_after_s: float
    run: Callable[[Target], ProbeReport]
    after: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    completed_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _PROBE_NAME.fullmatch(self.name):
            raise ToolkitFault(f"probe name {self.name!r}: lower-case letters, digits and '-' only")
        if not 0 < self.slow_after_s < self.deadline_s:
            raise ToolkitFault(f"probe {self.name}: slow_after_s must lie between 0 and deadline_s")
