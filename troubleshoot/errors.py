"""The root of the exception tree and the errors of the rules engine.

The whole tree is drawn in ``toolkit.errors``, which adds the leaves of the upper floors.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["FactsError", "QwenAudioError", "RuleError", "UsageError"]


class QwenAudioError(Exception):
    """Base of every error that this project raises on purpose.

    ``exit_code`` is what the command line returns, ``http_status`` what a server answers.
    """

    exit_code: int = 1
    http_status: int = 500


class UsageError(QwenAudioError):
    """The caller gave something that cannot be used; the message says what was found and what to do."""

    exit_code = 2
    http_status = 422


class FactsError(UsageError):
    """A facts file or a told fact cannot be used."""


class RuleError(QwenAudioError):
    """A rule file, a sample file or a rule folder is not valid. Carries the file, the line and the reason."""

    exit_code = 2
    http_status = 422

    def __init__(self, path: Path | str, line: int | None, reason: str) -> None:
        self.path = str(path)
        self.line = line
        self.reason = reason
        place = f"{path}:{line}" if line else str(path)
        super().__init__(f"{place}: {reason}")
