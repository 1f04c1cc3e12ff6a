"""The exception tree; each leaf has one exit code and one HTTP status.

::

    QwenAudioError                    1  500
    ├── UsageError                    2  422   something given cannot be used
    │   ├── FactsError                2  422   a facts file or a told fact
    │   ├── BadAudio                  2  422   not a recording we can measure
    │   ├── BadModelFolder            2  422   not a model folder
    │   └── BadBundle                 2  422   a bundle or report file that is damaged or from the future
    ├── RuleError                     2  422   a rule file (file, line, reason)
    ├── GpuUnavailable                3  503   the command needs an NVIDIA card and its driver
    └── ToolkitFault                  1  500   our own mistake

Exit codes of a finished check are not errors: 0 well, 3 something fails, 4 only warnings.
"""

from __future__ import annotations

from troubleshoot.errors import FactsError, QwenAudioError, RuleError, UsageError

__all__ = [
    "EXIT_FAILS",
    "EXIT_OUR_FAULT",
    "EXIT_USAGE",
    "EXIT_WARNINGS",
    "EXIT_WELL",
    "BadAudio",
    "BadBundle",
    "BadModelFolder",
    "FactsError",
    "GpuUnavailable",
    "QwenAudioError",
    "RuleError",
    "ToolkitFault",
    "UsageError",
]

EXIT_WELL = 0
EXIT_OUR_FAULT = 1
EXIT_USAGE = 2
EXIT_FAILS = 3
EXIT_WARNINGS = 4


class BadAudio(UsageError):
    """The file is not a recording that can be measured; the message names what it is instead."""


class BadModelFolder(UsageError):
    """The path given as a model is not a model folder and not in the local hub cache."""


class BadBundle(UsageError):
    """A bundle or a saved report is damaged, unsafe to unpack, or written by a newer version."""


class GpuUnavailable(QwenAudioError):
    """The command needs an NVIDIA card with a working driver, and there is none."""

    exit_code = EXIT_FAILS
    http_status = 503


class ToolkitFault(QwenAudioError):
    """Something that should not happen did; the message asks for a report."""
