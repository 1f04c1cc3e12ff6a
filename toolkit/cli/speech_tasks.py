"""What ``qwen-audio speak`` has to do: texts from an argument, a file or a pipe, and their files, checked first."""

from __future__ import annotations

import codecs
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import BadText, UsageError

if TYPE_CHECKING:
    from toolkit.synthesis.text import Unsafe

__all__ = ["Task", "read_text", "tasks_of"]

_MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Task:
    """One text and its file. ``line`` is the number of its line, None when the text is the whole input."""

    text: str
    path: Path
    line: int | None = None


def read_text(text: str | None, file: str | None) -> str:
    """The input: the argument, a file, or standard input ("-", or a pipe when nothing else is given).

    Raises:
        UsageError: both or neither, or a file that cannot be read.
        BadText: not UTF-8 (or UTF-16 with its mark).
    """
    if text is not None and text != "-" and file is not None:
        raise UsageError("give the text, or --file, not both")
    if text is not None and text != "-":
        return text
    if file is None and text is None and sys.stdin.isatty():
        raise UsageError("there is no text; give it as an argument, by --file FILE, or through a pipe")
    if file is None or file == "-":
        return _decoded(sys.stdin.buffer.read(_MAX_BYTES + 1), "standard input")
    try:
        with Path(file).open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from None
    return _decoded(data, file)


def tasks_of(
    text: str,
    output: str,
    *,
    audio_format: str,
    overwrite: bool,
    skip_existing: bool,
    unsafe: Unsafe,
    bounded: bool,
) -> list[Task]:
    """One task, or one a line that is not blank when ``output`` is a folder; everything is checked before any work.

    Raises:
        BadText: a text that cannot be spoken; the message names its line.
        BadOutput: a file that exists, or cannot be written.
    """
    from toolkit.synthesis.audio_file import audio_format as check_format
    from toolkit.synthesis.whole_file import check_output

    folder = Path(output)
    if output == "-":
        _check(text, unsafe, bounded)
        return [Task(text, folder)]
    if not output.endswith(("/", "\\")) and not folder.is_dir():
        check_format(folder)
        _check(text, unsafe, bounded)
        check_output(folder, overwrite=overwrite)
        return [Task(text, folder)]
    suffix = "." + audio_format.lower().lstrip(".")
    check_format(Path("line" + suffix))
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        _check(text, unsafe, bounded)
    digits = max(4, len(str(lines[-1][0])))
    tasks = [Task(line, folder / f"{number:0{digits}}{suffix}", number) for number, line in lines]
    for task in tasks:
        try:
            _check(task.text, unsafe, bounded)
        except BadText as error:
            raise BadText(f"line {task.line}: {error}") from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be made: {error.strerror or error}") from None
    if skip_existing:
        tasks = [task for task in tasks if not task.path.exists()]
    for task in tasks:
        check_output(task.path, overwrite=overwrite)
    return tasks


def _check(text: str, unsafe: Unsafe, bounded: bool) -> None:
    from toolkit.synthesis.limits import check_length
    from toolkit.synthesis.text import clean_text

    cleaned = clean_text(text, unsafe=unsafe)
    if bounded:
        check_length(cleaned)


def _decoded(data: bytes, name: str) -> str:
    if len(data) > _MAX_BYTES:
        raise BadText(f"{name} has more than {_MAX_BYTES >> 20} MB; that is no text to speak")
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        found = encoding.removesuffix("-sig").upper()
        raise BadText(f"{name} is not {found} text (byte {error.start}); save it as UTF-8") from None
