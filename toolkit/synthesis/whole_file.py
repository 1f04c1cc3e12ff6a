"""Files that appear whole or not at all: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path
from types import TracebackType

from toolkit.errors import BadOutput, DiskFull, QwenAudioError

__all__ = ["WholeFile", "check_output", "output_error"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def check_output(path: Path, *, overwrite: bool = False) -> None:
    """Find out before any work whether a file can be written there.

    Raises:
        BadOutput: a folder, an existing file without ``overwrite``, a folder that is missing or may not be written.
    """
    parent = path.parent
    if path.is_dir():
        raise BadOutput(f"cannot write {path}: it is a folder; name a file in it")
    if not overwrite and os.path.lexists(path):
        raise BadOutput(f"{path} exists; choose another name, or allow it to be overwritten")
    if not parent.is_dir():
        raise BadOutput(f"cannot write {path}: there is no folder {parent}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise BadOutput(f"cannot write {path}: no permission to write in {parent}")


def output_error(path: Path, error: OSError) -> QwenAudioError:
    """What went wrong with a file, as one sentence."""
    if error.errno in _FULL:
        return DiskFull(f"cannot write {path}: no room on the disk ({error.strerror}); nothing was left behind")
    return BadOutput(f"cannot write {path}: {error.strerror or error}")


class WholeFile:
    """A file under a temporary name in the folder of ``path``, renamed at the end of the ``with`` block.

    When the block is left by an exception, also by Ctrl-C, the temporary file goes and what was there before stays.

    Raises:
        BadOutput: it cannot be written there, or it appeared meanwhile and ``overwrite`` is false.
        DiskFull: the disk or the quota is full.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self._overwrite = overwrite
        check_output(self.path, overwrite=overwrite)
        self.temporary = self.path.parent / f".qwen-audio-{secrets.token_hex(6)}.part"

    def __enter__(self) -> WholeFile:
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)
        try:
            # Not tempfile: its files can be read by their owner only, whatever the user's umask says.
            self.file = os.fdopen(os.open(self.temporary, flags, 0o666), "w+b", buffering=0)
        except OSError as error:
            raise output_error(self.path, error) from None
        return self

    def write(self, data: bytes) -> None:
        """Append bytes."""
        try:
            view = memoryview(data)
            while view:
                view = view[self.file.write(view) :]
        except OSError as error:
            raise output_error(self.path, error) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            with self.file:
                if kind is None:
                    os.fsync(self.file.fileno())
            if kind is None:
                self.check()
                self._rename()
        except OSError as problem:
            if kind is None:
                raise output_error(self.path, problem) from None
        finally:
            self.temporary.unlink(missing_ok=True)

    def check(self) -> None:
        """Look at the finished file before it gets its name; raises what is wrong with it."""

    def _rename(self) -> None:
        if self._overwrite or os.name == "nt":  # a rename on Windows never replaces a file
            (self.temporary.replace if self._overwrite else self.temporary.rename)(self.path)
            return
        try:
            os.link(self.temporary, self.path)  # unlike a rename, fails when the name is taken
        except FileExistsError:
            raise BadOutput(f"{self.path} appeared while it was written; choose another name") from None
        except OSError:  # a file system without hard links
            check_output(self.path)
            self.temporary.rename(self.path)
