"""Tells by the first bytes what a file is that should hold model weights: a pointer, an error page, zeros, a pickle."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FilePeek", "peek"]

_PEEK_BYTES = 4096
_LFS_SIZE = re.compile(rb"^size (\d{1,18})\s*$", re.MULTILINE)
_HTML = re.compile(rb"\s*(?:<!--|<!doctype|<html|<head|<body|<\?xml|<error)", re.IGNORECASE)
_JSON_TEXT = re.compile(rb'\s*[{\[]\s*"')


@dataclass(frozen=True)
class FilePeek:
    """What the first bytes say. ``kind`` is ``binary`` when nothing speaks against a safetensors file.

    ``sentence`` completes "FILE ..."; ``expected_bytes`` is the size of the real file when a pointer names it.
    """

    kind: str
    sentence: str
    byte_count: int | None
    expected_bytes: int | None = None


def peek(path: Path) -> FilePeek:
    """Look at the first 4 kB of a file, following links. Never raises for what it finds."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return FilePeek("directory", "is a folder, not a file", 0)
        if not stat.S_ISREG(status.st_mode):
            return FilePeek("unreadable", "is not a regular file", None)
        with path.open("rb") as file:
            head = file.read(_PEEK_BYTES)
    except ValueError:
        return FilePeek("unreadable", "has a name that no file can have", None)
    except OSError as error:
        return FilePeek("unreadable", f"cannot be read: {error.strerror or error}", None)
    return _kind(head, status.st_size)


def _kind(head: bytes, size: int) -> FilePeek:
    if size == 0:
        return FilePeek("empty", "is empty", 0)
    if head.startswith(b"version https://git-lfs"):
        named = _LFS_SIZE.search(head)
        expected = int(named.group(1)) if named else None
        promise = f" of {expected} bytes" if expected else ""
        return FilePeek(
            "lfs-pointer",
            f"is a Git LFS pointer of {size} bytes, not the file{promise}: run `git lfs pull` or download it again",
            size,
            expected,
        )
    if _HTML.match(head):
        return FilePeek("html-page", "is a web page that a server sent instead of the file: download it again", size)
    # A safetensors file starts with its header's length, whose upper bytes are 0; text has none.
    if _JSON_TEXT.match(head) and b"\0" not in head[:8]:
        return FilePeek("json-page", "is a JSON answer that a server sent instead of the file: download it again", size)
    if not any(head):
        return FilePeek("zero-filled", "starts with zeros: its space was reserved, but never filled", size)
    if head.startswith(b"PK\x03\x04"):
        return FilePeek("zip-archive", "is a zip archive (the format of torch.save), not a safetensors file", size)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and not _may_be_safetensors(head):
        return FilePeek("pickle", "is a Python pickle, not a safetensors file; do not load it from a stranger", size)
    if head.startswith(b"GGUF"):
        return FilePeek("gguf", "is a GGUF file; Qwen3-TTS in PyTorch needs the safetensors files", size)
    return FilePeek("binary", "is binary data", size)


def _may_be_safetensors(head: bytes) -> bool:
    """A header of 640 bytes starts with the same two bytes as a pickle; its table then starts at the ninth."""
    return head[4:8] == b"\0\0\0\0" and head[8:9] == b"{"
