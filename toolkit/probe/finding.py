"""One thing found at one place of a file; several readers of a service folder give lists of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Finding", "read_bounded", "relative_name"]

MAX_TEXT_BYTES = 256 * 1024


@dataclass(frozen=True)
class Finding:
    """``what`` is a short sentence about ``file`` (relative to the service folder), ``line`` counts from 1."""

    file: str
    line: int
    what: str

    def as_fact(self) -> dict[str, object]:
        return {"file": self.file, "line": self.line, "what": self.what}


def read_bounded(path: Path, limit_bytes: int = MAX_TEXT_BYTES) -> str | None:
    """Text of a small file in UTF-8, UTF-16 with its mark, or Latin-1; None when it is larger or cannot be read."""
    try:
        with path.open("rb") as file:
            raw = file.read(limit_bytes + 1)
    except (OSError, ValueError):
        return None
    if len(raw) > limit_bytes:
        return None
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def relative_name(path: Path, folder: Path) -> str:
    """``path`` as written from ``folder``, with forward slashes."""
    return path.relative_to(folder).as_posix()
