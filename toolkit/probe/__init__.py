"""Facts about a machine, an interpreter and its packages, gathered in children that cannot hurt the asker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.lazy import lazy_names

if TYPE_CHECKING:
    from toolkit.probe.catalogue import PROBES, collect, probe_named
    from toolkit.probe.contract import Probe, ProbeReport, Target
    from toolkit.probe.facts_file import FactsFile, ProbeEntry
    from toolkit.probe.interpreter import Interpreter, resolve_interpreter
    from toolkit.probe.runner import ChildOutcome, run_child

__all__ = [
    "PROBES",
    "ChildOutcome",
    "FactsFile",
    "Interpreter",
    "Probe",
    "ProbeEntry",
    "ProbeReport",
    "Target",
    "collect",
    "probe_named",
    "resolve_interpreter",
    "run_child",
]

_HOME = {
    "PROBES": "catalogue",
    "ChildOutcome": "runner",
    "FactsFile": "facts_file",
    "Interpreter": "interpreter",
    "Probe": "contract",
    "ProbeEntry": "facts_file",
    "ProbeReport": "contract",
    "Target": "contract",
    "collect": "catalogue",
    "probe_named": "catalogue",
    "resolve_interpreter": "interpreter",
    "run_child": "runner",
}

__getattr__ = lazy_names(__name__, _HOME)
