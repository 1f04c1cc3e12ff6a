"""Facts about a machine, an interpreter and its packages, gathered in children that cannot hurt the asker."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

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


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
