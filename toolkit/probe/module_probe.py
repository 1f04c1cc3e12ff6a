"""Run one of our own modules as a probe in a child of our own interpreter, and take the JSON table it prints last."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from toolkit.probe.child import na_tree, telling_lines
from toolkit.probe.contract import ProbeReport, Target
from toolkit.probe.environment import child_environment
from toolkit.probe.interpreter import resolve_interpreter
from toolkit.probe.runner import ChildOutcome, run_child

__all__ = ["run_module_probe"]

_ROOT = Path(__file__).resolve().parents[2]


def run_module_probe(
    name: str,
    module: str,
    arguments: Sequence[str],
    target: Target,
    *,
    deadline_s: float,
    input: bytes | None = None,
) -> ProbeReport:
    """Report of ``python -m MODULE ARGUMENTS``; never raises for what the child does."""
    python = resolve_interpreter(None)
    environment = child_environment(python, base=target.environment)
    # Our own package, also when it is run from a checkout; these children measure no import, so this disturbs nothing.
    inherited = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *([inherited] if inherited else [])])
    outcome = run_child(
        [str(python.executable), "-m", module, *arguments],
        deadline_s=deadline_s,
        env=environment,
        cwd=target.cwd,
        input=input,
    )
    facts = _facts(outcome)
    state = outcome.state if facts is not None or outcome.state != "ok" else "failed"
    reason = "" if state == "ok" else _reason(outcome)
    lines = () if state == "ok" else telling_lines(outcome.last_lines)
    elapsed_s = round(outcome.elapsed_s, 3)
    return ProbeReport(name, state, facts or {}, elapsed_s, outcome.signal, lines, reason)


def _facts(outcome: ChildOutcome) -> Mapping[str, object] | None:
    lines = [line for line in outcome.stdout.splitlines() if line.strip()]
    if not lines:
        return None
    try:
        table = json.loads(lines[-1])
    except ValueError:
        return None
    return {name: na_tree(value) for name, value in table.items()} if isinstance(table, dict) else None


def _reason(outcome: ChildOutcome) -> str:
    if outcome.state == "timed-out":
        return f"no answer within {outcome.elapsed_s:.1f} s; killed"
    if outcome.state == "crashed":
        return f"ended by {outcome.signal} after {outcome.elapsed_s:.1f} s"
    return outcome.last_lines[-1] if outcome.last_lines else f"ended with exit code {outcome.exit_code}, without facts"
