"""What an error box says: kind, message, the rule that explains it, and what to do; made where the error happened."""

from __future__ import annotations

import platform
import re
import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from toolkit.errors import QwenAudioError, UsageError

__all__ = ["ErrorNote", "note_of", "note_of_log"]


@dataclass(frozen=True)
class ErrorNote:
    """An error as plain values.

    ``kind`` is the name of its class, ``rule`` the id of the rule that explains it or "", ``steps`` and ``commands``
    that rule's first fix.
    """

    kind: str
    message: str
    rule: str = ""
    title: str = ""
    title_zh: str = ""
    steps: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The rule's id; without a rule, the kind as a slug: BadAudio is ``bad-audio``."""
        return self.rule or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", self.kind).lower()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ErrorNote:
        """Back from :meth:`to_json`."""
        return cls(**{**data, "steps": tuple(data["steps"]), "commands": tuple(data["commands"])})


def note_of(error: BaseException, *, look_up: bool = True) -> ErrorNote:
    """Explain an error: one of ours by itself, any other by the rule that its traceback leads to.

    Looking up the rule takes about a second, once in a process; without ``look_up`` it is left out.
    """
    kind = type(error).__name__
    if isinstance(error, UsageError):
        return ErrorNote(kind, str(error))
    log = "".join(traceback.format_exception(error)) if look_up else ""
    if isinstance(error, QwenAudioError):
        return note_of_log(kind, str(error), log)
    return note_of_log("ToolkitFault", f"{kind}: {error}" if str(error) else kind, log)


def note_of_log(kind: str, message: str, log: str) -> ErrorNote:
    """Explain what a log says. The rule is left out when none is sure enough."""
    if not log.strip():
        return ErrorNote(kind, message)
    from toolkit.doctor import diagnose

    diagnosis = diagnose(log_text=log).diagnosis
    if not diagnosis.known:
        return ErrorNote(kind, message)
    rule = diagnosis.findings[0].rule
    fix = rule.fixes[0]
    commands = fix.commands.for_os(_system(), wsl="microsoft" in platform.release().lower())
    return ErrorNote(kind, message, rule.id, rule.title, rule.title_zh, (fix.title, *fix.steps), tuple(commands))


def _system() -> str:
    return {"win32": "windows", "darwin": "macos"}.get(sys.platform, "linux")
