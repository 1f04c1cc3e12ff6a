"""The exception tree; each leaf has one exit code and one HTTP status.

::

    QwenAudioError                    1  500
    ├── UsageError                    2  422   something given cannot be used
    │   ├── FactsError                2  422   a facts file or a told fact
    │   ├── BadAudio                  2  422   not a recording we can measure
    │   ├── BadModelFolder            2  422   not a model folder
    │   ├── BadBundle                 2  422   a bundle or report file that is damaged or from the future
    │   ├── BadText                   2  422   a text that cannot be spoken
    │   ├── BadVoice                  2  422   a saved voice that is damaged, or of another model
    │   └── BadOutput                 2  422   a place that cannot be written, or already holds a file
    ├── RuleError                     2  422   a rule file (file, line, reason)
    ├── GpuUnavailable                3  503   the command needs an NVIDIA card and its driver
    ├── OutOfMemory                   3  507   it does not fit into memory, forecast or met
    ├── DiskFull                      3  507   the disk cannot take what should be written
    ├── DownloadFailed                3  502   the hub could not be reached or does not have it
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
    "BadOutput",
    "BadText",
    "BadVoice",
    "DiskFull",
    "DownloadFailed",
    "FactsError",
    "GpuUnavailable",
    "OutOfMemory",
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
    """The file is not a recording that can be measured or cloned; the message names what it is instead."""


class BadModelFolder(UsageError):
    """The path given as a model is not a model folder and not in the local hub cache."""


class BadBundle(UsageError):
    """A bundle or a saved report is damaged, unsafe to unpack, or written by a newer version."""


class BadText(UsageError):
    """The text cannot be spoken: empty, without a letter or digit, too long, or with characters of a template."""


class BadVoice(UsageError):
    """A saved voice is damaged, written by a newer version, or belongs to a model of another size."""


class BadOutput(UsageError):
    """The file cannot be written there: it exists, the folder is missing or closed, or the format is unknown."""


class GpuUnavailable(QwenAudioError):
    """The command needs an NVIDIA card with a working driver, and there is none."""

    exit_code = EXIT_FAILS
    http_status = 503


class OutOfMemory(QwenAudioError):
    """The model, or one request, does not fit into the memory of the card or of the machine."""

    exit_code = EXIT_FAILS
    http_status = 507


class DiskFull(QwenAudioError):
    """The disk, or the quota on it, cannot take the file; nothing half-written was left behind."""

    exit_code = EXIT_FAILS
    http_status = 507


class DownloadFailed(QwenAudioError):
    """A model could not be fetched; what has arrived stays in the cache, and the next try goes on from there."""

    exit_code = EXIT_FAILS
    http_status = 502


class ToolkitFault(QwenAudioError):
    """Something that should not happen did; the message asks for a report."""
