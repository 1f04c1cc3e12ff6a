"""Logs as bytes: encoding found out, colours stripped, line ends made alike, over-long lines cut, in bounded memory."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["CHUNK_BYTES", "HEAD_BYTES", "MAX_LINE_BYTES", "detect_encoding", "read_chunks"]

CHUNK_BYTES = 1024 * 1024
MAX_LINE_BYTES = 8 * 1024
# The encoding is judged by so much of the log, however small the pieces are in which it arrives.
HEAD_BYTES = 64 * 1024
# Of one endless line so much is kept before colours are stripped; the rest is dropped as it arrives.
_MAX_RAW_LINE_BYTES = 64 * 1024
_CUT = b" [line cut]"
# ECMA-48 control sequences (CSI), control strings such as a window title (OSC, DCS, SOS, PM, APC) and short escapes.
# None reaches over a line end, so that an escape that is never closed cannot swallow the lines after it.
_ANSI = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_TWO_HAN = re.compile("[\u4e00-\u9fff].*[\u4e00-\u9fff]", re.DOTALL)
_CONTROLS = bytes(code for code in (*range(32), 127) if code not in b"\t\n\f")
_BOM = codecs.BOM_UTF8


def detect_encoding(head: bytes) -> str:
    """utf-8, utf-8-sig, utf-16-le, utf-16-be or gb18030 (which contains GBK), from the first bytes of a log.

    Windows PowerShell redirects to UTF-16; a Chinese Windows console writes GBK.
    """
    if head.startswith(_BOM):
        return "utf-8-sig"
    if head.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le"
    if head.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be"
    sample = head[:4096]
    if len(sample) >= 4:
        pairs = len(sample) // 2
        if sample[1::2].count(0) > 0.4 * pairs and sample[::2].count(0) < 0.1 * pairs:
            return "utf-16-le"
        if sample[::2].count(0) > 0.4 * pairs and sample[1::2].count(0) < 0.1 * pairs:
            return "utf-16-be"
    return "gb18030" if _is_rather_gb18030(head) else "utf-8"


def read_chunks(stream: BinaryIO, *, chunk_bytes: int = CHUNK_BYTES, encoding: str | None = None) -> Iterator[bytes]:
    """Yield the log as UTF-8 bytes of whole lines, each chunk ending in a newline.

    Works on pipes, holds two chunks in memory at most, and never fails on broken bytes: what cannot be decoded is
    replaced. The lines do not depend on ``chunk_bytes``. ``encoding`` spares the detection.
    """
    head = _read_head(stream)
    encoding = encoding or detect_encoding(head)
    decoder = None if encoding.startswith("utf-8") else codecs.getincrementaldecoder(encoding)(errors="replace")
    block = head[len(_BOM) :] if encoding == "utf-8-sig" else head
    rest = held = b""
    is_first = True
    while block:
        text = decoder.decode(block).encode("utf-8", "replace") if decoder else block
        if is_first and decoder:
            text = text.removeprefix(_BOM)
        is_first = False
        text, held = _with_line_feeds(held + text)
        cut = text.rfind(b"\n") + 1
        if cut:
            yield _clean(rest + text[:cut])
            rest = b""
        rest = (rest + text[cut:])[:_MAX_RAW_LINE_BYTES]
        block = stream.read(chunk_bytes)
    if decoder:
        rest += decoder.decode(b"", final=True).encode("utf-8", "replace")
    if rest or held:
        yield _clean(rest[:_MAX_RAW_LINE_BYTES] + b"\n")


def _read_head(stream: BinaryIO) -> bytes:
    parts: list[bytes] = []
    missing = HEAD_BYTES
    while missing > 0 and (part := stream.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _is_rather_gb18030(data: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        # A torn character does not make a UTF-8 log a Chinese one: there most of the others are whole.
        text = data.decode("utf-8", "replace")
        torn = text.count("\ufffd")
        whole = len(text) - len(text.encode("ascii", "ignore")) - torn
        if whole > torn:
            return False
        try:
            read_so = codecs.getincrementaldecoder("gb18030")().decode(data)
        except UnicodeDecodeError:
            return False
        return _TWO_HAN.search(read_so) is not None
    return False


def _with_line_feeds(data: bytes) -> tuple[bytes, bytes]:
    # A progress bar rewrites its line with \r; a \r at the very end may be half of \r\n, so it waits for the rest.
    held = b"\r" if data.endswith(b"\r") else b""
    if b"\r" in data:
        data = data[: len(data) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data, held


def _clean(data: bytes) -> bytes:
    data = _cut_long_lines(data, _MAX_RAW_LINE_BYTES, b"")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        data = b"\n".join(_repaired(line) for line in data.split(b"\n"))
    if b"\x1b" in data:
        data = _ANSI.sub(b"", data)
    return _cut_long_lines(data.translate(None, _CONTROLS), MAX_LINE_BYTES, _CUT)


def _repaired(line: bytes) -> bytes:
    # The console of a Chinese Windows writes its own messages in GBK between the UTF-8 lines of a program.
    return line.decode("gb18030" if _is_rather_gb18030(line) else "utf-8", "replace").encode("utf-8")


def _cut_long_lines(data: bytes, limit: int, mark: bytes) -> bytes:
    parts: list[bytes] = []
    start = position = 0
    while position + limit < len(data):
        newline = data.rfind(b"\n", position, position + limit + 1)
        if newline >= 0:
            position = newline + 1
            continue
        end = position + limit
        while data[end] & 0xC0 == 0x80 and end > position + limit - 4:  # not inside a character of UTF-8
            end -= 1
        parts.append(data[start:end] + mark)
        start = data.find(b"\n", position + limit)
        position = start + 1
    return b"".join([*parts, data[start:]])
