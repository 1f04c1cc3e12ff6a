"""Reads how many frames a WAV header promises and how many the file holds, which readers keep to themselves."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

__all__ = ["WavHeader", "read_wav_header"]

# 0xFFFFFFFF is what a stream writes that does not know its length; players also meet 0x7FFFFFFF less a header.
_STREAM_BYTES = 0x7FFF_0000
_MAX_CHUNKS = 1_000


@dataclass(frozen=True)
class WavHeader:
    """Sizes in bytes. ``promised_bytes`` is None when the header gives no length (a stream)."""

    sample_rate: int
    frame_bytes: int
    promised_bytes: int | None
    held_bytes: int

    @property
    def promised_frames(self) -> int | None:
        return None if self.promised_bytes is None else self.promised_bytes // self.frame_bytes

    @property
    def held_frames(self) -> int:
        return self.held_bytes // self.frame_bytes

    @property
    def is_truncated(self) -> bool:
        """Whether whole frames are missing at the end."""
        return self.promised_frames is not None and self.held_frames < self.promised_frames


def read_wav_header(path: Path) -> WavHeader | None:
    """Header of a RIFF, RIFX or RF64 file; None for another kind or a header that leads nowhere. Raises OSError."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        kind = file.read(12)
        if kind[:4] not in (b"RIFF", b"RIFX", b"RF64") or kind[8:12] != b"WAVE":
            return None
        return _follow(file, size, "big" if kind[:4] == b"RIFX" else "little")


def _follow(file: BinaryIO, size: int, order: Literal["big", "little"]) -> WavHeader | None:
    rate = frame_bytes = 0
    long_bytes: int | None = None
    for _ in range(_MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return None
        name, length = head[:4], int.from_bytes(head[4:], order)
        start = file.tell()
        if name == b"fmt ":
            body = file.read(16)
            rate, frame_bytes = int.from_bytes(body[4:8], order), int.from_bytes(body[12:14], order)
        elif name == b"ds64":
            long_bytes = int.from_bytes(file.read(16)[8:16], order)
        elif name == b"data":
            return _sizes(rate, frame_bytes, long_bytes if length == 0xFFFF_FFFF else length, length, size - start)
        file.seek(start + length + length % 2)
    return None


def _sizes(rate: int, frame_bytes: int, promised: int | None, length: int, rest: int) -> WavHeader | None:
    if not rate or not frame_bytes:
        return None
    is_stream = promised is None or (promised == length and length >= _STREAM_BYTES and rest < length)
    if is_stream or promised is None:
        return WavHeader(rate, frame_bytes, None, rest)
    return WavHeader(rate, frame_bytes, promised, max(0, min(rest, promised)))
