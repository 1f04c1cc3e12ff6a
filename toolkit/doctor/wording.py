"""How values, fixes and commands are put into words for the machine they are meant for."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from toolkit.doctor.document import Detail
from troubleshoot.facts import NA, FactValue
from troubleshoot.rule import Commands, Fix, Rule

__all__ = ["FIX_LABELS", "command_details", "commands_for", "fix_details", "percent", "shown"]

FIX_LABELS = {
    "safe": "safe",
    "changes-output": "changes the output",
    "needs-reinstall": "needs a reinstall",
    "needs-hardware": "needs other hardware",
}


def shown(value: FactValue) -> str:
    """A fact's value in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, NA) or value is None:
        return str(value) if value is not None else "not known"
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, list):
        return ", ".join(shown(item) for item in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(item)}" for name, item in value.items())
    return str(value)


def percent(probability: float) -> str:
    """A probability in words that never claim certainty."""
    return ">99%" if probability >= 0.995 else "<1%" if probability < 0.005 else f"{probability:.0%}"


def commands_for(commands: Commands, facts: Mapping[str, FactValue]) -> list[str]:
    """Commands for the system of ``facts``, with the interpreter that was looked at in place of ``python``.

    People install into the wrong Python more often than anything else, so the command names the right one.
    """
    family = facts.get("os.family")
    lines = commands.for_os(str(family) if family else None, wsl=facts.get("os.wsl") is True)
    python = facts.get("python.executable")
    if not isinstance(python, str) or not python:
        return lines
    quoted = (
        f'& "{python}"'
        if family == "windows" and " " in python
        else python
        if family == "windows"
        else shlex.quote(python)
    )
    return [quoted + line[len("python") :] if line.startswith("python ") else line for line in lines]


def fix_details(rule: Rule, facts: Mapping[str, FactValue], *, fixes: int = 1) -> list[Detail]:
    """The best fixes of a rule as details of a row."""
    details: list[Detail] = []
    for fix in rule.fixes[:fixes]:
        details.append(Detail("fix", _title(fix)))
        details.extend(Detail("", f"- {step}") for step in fix.steps)
        details.extend(command_details(fix.commands, facts))
    return details


def command_details(commands: Commands, facts: Mapping[str, FactValue]) -> list[Detail]:
    """Commands as lines to copy, after the prompt of the system that they are for."""
    prompt = ">" if facts.get("os.family") == "windows" else "$"
    return [Detail("", f"{prompt} {line}", code=True) for line in commands_for(commands, facts)]


def _title(fix: Fix) -> str:
    return f"{fix.title} ({FIX_LABELS[fix.label]})"
