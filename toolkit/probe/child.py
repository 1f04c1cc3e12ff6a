"""Start a probe script in an interpreter and read back what it reported before it ended, however it ended."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.probe.contract import ProbeReport, Target
from toolkit.probe.environment import child_environment
from toolkit.probe.interpreter import Interpreter
from toolkit.probe.runner import ChildOutcome, run_child
from toolkit.probe.scripts.child import MARK
from troubleshoot.facts import NA

__all__ = ["ScriptResult", "na_tree", "run_script", "telling_lines", "why"]

_SCRIPTS = Path(__file__).resolve().parent / "scripts"
_MANY_LINES = 20
_STACK_HEAD = re.compile(r"^(Fatal Python error|Timeout \(|Windows fatal exception|Current thread|Thread 0x)")


@dataclass(frozen=True)
class ScriptResult:
    """Outcome of a script and the values it reported; ``stage`` is what it was doing last."""

    outcome: ChildOutcome
    values: Mapping[str, object] = field(default_factory=dict)
    stage: str = ""

    @property
    def finished(self) -> bool:
        """Whether the script came to its end."""
        return self.outcome.state == "ok" and self.stage == "done"

    def report(
        self, name: str, facts: Mapping[str, object], *, state: str | None = None, reason: str = ""
    ) -> ProbeReport:
        """A report of the probe ``name`` with this outcome and these facts."""
        lines = () if self.finished else telling_lines(self.outcome.last_lines)
        return ProbeReport(
            name=name,
            state=state or (self.outcome.state if self.finished or self.outcome.state != "ok" else "failed"),
            facts=facts,
            elapsed_s=round(self.outcome.elapsed_s, 3),
            signal=self.outcome.signal,
            last_lines=lines,
            reason=reason or ("" if self.finished else why(self)),
        )


def run_script(
    name: str,
    target: Target,
    *,
    deadline_s: float,
    arguments: Mapping[str, object] | None = None,
    interpreter: Interpreter | None = None,
    follow_gpu_index: bool = True,
) -> ScriptResult:
    """Run ``scripts/NAME.py`` in the target's interpreter (or another one) and collect its values.

    ``follow_gpu_index`` hides the other cards when the target names one.
    """
    python = interpreter or target.interpreter
    given: dict[str, object] = {**(arguments or {}), "parent": os.getpid(), "deadline_s": deadline_s}
    if target.service is not None and python == target.interpreter:
        given["first_on_path"] = str(target.service)
    outcome = run_child(
        [str(python.executable), str(_SCRIPTS / "child.py"), name, json.dumps(given)],
        deadline_s=deadline_s,
        env=child_environment(
            python, base=target.environment, gpu_index=target.gpu_index if follow_gpu_index else None
        ),
        cwd=target.service or target.cwd,
    )
    values: dict[str, object] = {}
    for line in outcome.stdout.splitlines():
        if line.startswith(MARK):
            values.update(_parsed(line[len(MARK) :]))
    stage = values.pop("stage", "")
    return ScriptResult(outcome, values, str(stage))


def _parsed(text: str) -> dict[str, object]:
    try:
        values = json.loads(text)
    except ValueError:  # the child was killed in the middle of a line
        return {}
    return values if isinstance(values, dict) else {}


def why(result: ScriptResult) -> str:
    """One sentence on how a child that did not come to its end ended."""
    outcome, during = result.outcome, f" during '{result.stage}'" if result.stage not in ("", "start") else ""
    if outcome.state == "missing":
        return outcome.last_lines[-1] if outcome.last_lines else "it could not be started"
    if outcome.state == "timed-out":
        left = "; it did not die when killed and was left behind" if outcome.abandoned else ""
        return f"no answer within {outcome.elapsed_s:.1f} s{during}; killed{left}"
    if outcome.state == "crashed":
        return f"ended by {outcome.signal}{during} after {outcome.elapsed_s:.1f} s"
    last = f": {outcome.last_lines[-1]}" if outcome.last_lines else ""
    return f"ended with exit code {outcome.exit_code}{during}{last}"


def telling_lines(lines: tuple[str, ...]) -> tuple[str, ...]:
    """The lines worth showing: from the start of a written-down stack where there is one, else the last ones."""
    kept = [line for line in lines if "<frozen " not in line and "probe/scripts" not in line.replace("\\", "/")]
    start = next((number for number, line in enumerate(kept) if _STACK_HEAD.match(line)), None)
    if start is None:
        return tuple(kept[-_MANY_LINES:])
    # Two lines before it: libraries print their last words there.
    return tuple(kept[max(0, start - 2) :][:_MANY_LINES])


def na_tree(value: object) -> object:
    """The value with every ``{"na": reason}`` in it, at any depth, as :class:`NA`."""
    if isinstance(value, dict):
        if set(value) == {"na"}:
            return NA(str(value["na"]))
        return {str(key): na_tree(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [na_tree(inner) for inner in value]
    return value
