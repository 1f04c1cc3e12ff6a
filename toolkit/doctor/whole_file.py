"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from toolkit.errors import UsageError

__all__ = ["write_whole"]


def write_whole(path: Path, data: bytes, *, overwrite: bool = True) -> None:
    """Write beside ``path`` and rename, so that a crash, Ctrl-C or a full disk leaves what was there before.

    The file can be read by its owner only. Raises UsageError when it exists and ``overwrite`` is false, or when it
    cannot be written.
    """
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder")
    if not overwrite and path.exists():
        raise UsageError(f"{path} exists; choose another name, or add --overwrite")
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
        temporary = None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
