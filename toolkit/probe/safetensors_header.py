"""Reads the header of a safetensors file without its data, and names what is wrong with a file that is not one.

The format: 8 bytes little-endian length, a JSON table of that length, then the data of the tensors, contiguous, without
holes or overlaps, up to the exact end of the file (safetensors, `safetensors/src/tensor.rs` and its README). Files are
untrusted: nothing is read beyond the header and a few sample blocks, and each fault has a name and a sentence.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from toolkit.probe.file_peek import FilePeek, peek

__all__ = [
    "DTYPE_BITS",
    "MAX_HEADER_BYTES",
    "Header",
    "HeaderError",
    "Problem",
    "Tensor",
    "WeightsFile",
    "inspect_weights_file",
    "parse_header",
]

MAX_HEADER_BYTES = 100_000_000
"""Largest header that safetensors accepts (``MAX_HEADER_SIZE`` in tensor.rs)."""

DTYPE_BITS: Mapping[str, int] = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
    "C64": 64,
}
"""Bits of one element (safetensors ``Dtype``)."""

_MAX_TENSORS = 200_000
_MAX_DIMENSIONS = 32
_SAMPLES = 64
_SAMPLE_BYTES = 4096
# 4 neighbouring samples of 64 that hold nothing but zeros are 5 % of a file; no layer of these models is all zero.
_ZERO_RUN = 4


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file: a stable slug, a sentence for people, and the size the file should have, if known."""

    name: str
    sentence: str
    expected_bytes: int | None = None


@dataclass(frozen=True)
class Tensor:
    """One row of the header. ``start`` and ``stop`` are byte offsets from the beginning of the data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def byte_count(self) -> int:
        return self.stop - self.start

    @property
    def element_count(self) -> int:
        return (self.byte_count * 8) // DTYPE_BITS[self.dtype]


@dataclass(frozen=True)
class Header:
    """A checked header: tensors in the order of their data, without hole or overlap."""

    tensors: tuple[Tensor, ...]
    header_bytes: int

    @property
    def data_start(self) -> int:
        return 8 + self.header_bytes

    @property
    def file_bytes(self) -> int:
        """Exact length that the file must have."""
        return self.data_start + (self.tensors[-1].stop if self.tensors else 0)


@dataclass(frozen=True)
class WeightsFile:
    """Result of :func:`inspect_weights_file`: a header, or the problem that kept it from being read, or both."""

    path: Path
    byte_count: int
    header: Header | None
    problem: Problem | None

    @property
    def expected_bytes(self) -> int | None:
        if self.header is not None:
            return self.header.file_bytes
        return self.problem.expected_bytes if self.problem else None


class HeaderError(ValueError):
    """The table of a safetensors file breaks a rule of the format; ``problem`` names which."""

    def __init__(self, name: str, sentence: str) -> None:
        self.problem = Problem(name, sentence)
        super().__init__(sentence)


def inspect_weights_file(path: Path) -> WeightsFile:
    """Check a safetensors file without loading it: its kind, its header, its exact length, and sample blocks for zeros.

    Never raises for what lies in the file or for a file that cannot be read; the problem says so.
    """
    look = peek(path)
    if look.kind == "unreadable" or look.byte_count is None:
        return WeightsFile(path, 0, None, Problem("unreadable", look.sentence))
    if look.kind in _NOT_WEIGHTS:
        return WeightsFile(path, look.byte_count, None, Problem(look.kind, look.sentence, look.expected_bytes))
    try:
        with path.open("rb") as file:
            header, problem = _read(file, look)
    except OSError as error:
        problem = Problem("unreadable", f"cannot be read: {error.strerror or error}")
        return WeightsFile(path, look.byte_count, None, problem)
    return WeightsFile(path, look.byte_count, header, problem)


_NOT_WEIGHTS = frozenset(
    {"empty", "lfs-pointer", "html-page", "json-page", "zero-filled", "zip-archive", "pickle", "gguf", "directory"}
)


def _read(file: BinaryIO, look: FilePeek) -> tuple[Header | None, Problem | None]:
    size = look.byte_count or 0
    if size < 8:
        return None, Problem("too-short", f"has {size} bytes; a safetensors file starts with 8 bytes of header length")
    header_bytes = int.from_bytes(file.read(8), "little")
    if header_bytes > MAX_HEADER_BYTES:
        return None, Problem(
            "header-too-large",
            f"claims a header of {header_bytes} bytes (at most {MAX_HEADER_BYTES}): this is not a safetensors file",
        )
    if 8 + header_bytes > size:
        return None, Problem(
            "header-cut", f"ends inside its header: {size} bytes, the header alone needs {8 + header_bytes}"
        )
    raw = file.read(header_bytes)
    if len(raw) < header_bytes:
        return None, Problem("unreadable", "became shorter while it was read")
    try:
        header = parse_header(raw)
    except HeaderError as fault:
        return None, fault.problem
    if size < header.file_bytes:
        return header, Problem(
            "truncated",
            f"has {size} of {header.file_bytes} bytes ({size / header.file_bytes:.1%}): a copy or download stopped",
            header.file_bytes,
        )
    if size > header.file_bytes:
        return header, Problem(
            "trailing-bytes", f"has {size - header.file_bytes} bytes after its last tensor", header.file_bytes
        )
    return header, _zero_blocks(file, header)


def parse_header(raw: bytes) -> Header:
    """Parse and check the JSON table of a safetensors file.

    ``raw`` are the header's bytes without the 8 bytes of length. Raises :class:`HeaderError`.
    """
    table = _table(raw)
    if len(table) > _MAX_TENSORS:
        raise HeaderError("too-many-tensors", f"lists {len(table)} tensors, at most {_MAX_TENSORS} are read")
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise HeaderError("bad-metadata", "has a __metadata__ entry that is not a table of texts")
    tensors = sorted((_tensor(name, entry) for name, entry in table.items()), key=lambda row: (row.start, row.stop))
    end = 0
    for tensor in tensors:
        if tensor.start > end:
            raise HeaderError("hole", f"leaves {tensor.start - end} bytes unused before tensor {_short(tensor.name)}")
        if tensor.start < end:
            raise HeaderError("overlap", f"lets tensor {_short(tensor.name)} overlap the one before it")
        end = tensor.stop
    return Header(tuple(tensors), len(raw))


def _table(raw: bytes) -> dict[str, object]:
    if not raw.startswith(b"{"):
        raise HeaderError("header-not-json", "does not hold a table where its header should be: not a safetensors file")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise HeaderError("header-not-utf8", "has a header that is not UTF-8 text") from None
    try:
        table = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except HeaderError:
        raise
    except RecursionError:
        raise HeaderError("header-too-deep", "has a header that is nested too deeply") from None
    except ValueError:  # JSONDecodeError, and integers of more digits than Python converts
        raise HeaderError("header-not-json", "has a header that is not valid JSON") from None
    if not isinstance(table, dict):
        raise HeaderError("header-not-json", "has a header that is not a JSON table")
    return table


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise HeaderError("duplicate-tensor", "names a tensor or a key twice in its header")
    return table


def _no_constant(text: str) -> object:
    raise HeaderError("header-not-json", f"has {text} in its header, which JSON does not know")


def _tensor(name: str, entry: object) -> Tensor:
    shown = _short(name)
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise HeaderError("bad-tensor-entry", f"does not give tensor {shown} exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise HeaderError("unknown-dtype", f"gives tensor {shown} the unknown dtype {_short(str(dtype))}")
    if not isinstance(shape, list) or len(shape) > _MAX_DIMENSIONS or not all(_is_size(item) for item in shape):
        raise HeaderError("bad-shape", f"gives tensor {shown} a shape that is not a short list of sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_size(item) for item in offsets):
        raise HeaderError("bad-offsets", f"gives tensor {shown} data_offsets that are not two positions")
    start, stop = offsets
    if stop < start:
        raise HeaderError("bad-offsets", f"lets tensor {shown} end before it begins")
    elements = 1
    for size in shape:
        elements *= size
        if elements >= 1 << 63:
            raise HeaderError("shape-overflow", f"gives tensor {shown} more elements than 64 bits can count")
    bits = elements * DTYPE_BITS[dtype]
    if bits % 8 or bits // 8 != stop - start:
        raise HeaderError(
            "size-mismatch", f"gives tensor {shown} {stop - start} bytes; its shape and dtype {dtype} need {bits / 8:g}"
        )
    return Tensor(name, dtype, tuple(shape), start, stop)


def _is_size(item: object) -> bool:
    return isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 1 << 63


def _short(name: str) -> str:
    return repr(name if len(name) <= 120 else name[:117] + "...")


def _zero_blocks(file: BinaryIO, header: Header) -> Problem | None:
    """Downloads that reserve the file first and then stop leave zeros to its end, or in pieces, at the full length."""
    data_bytes = header.file_bytes - header.data_start
    if data_bytes < 4 * _SAMPLES * _SAMPLE_BYTES:
        return None
    step = (data_bytes - _SAMPLE_BYTES) // (_SAMPLES - 1)
    zeros = []
    for index in range(_SAMPLES):
        file.seek(header.data_start + index * step, os.SEEK_SET)
        zeros.append(not any(file.read(_SAMPLE_BYTES)))
    longest = run = 0
    for zero in zeros:
        run = run + 1 if zero else 0
        longest = max(longest, run)
    if longest < _ZERO_RUN:
        return None
    return Problem(
        "zero-filled",
        f"has its full length, but about {sum(zeros) / _SAMPLES:.0%} of its data are zeros: a download that reserved "
        "the space and did not finish",
        header.file_bytes,
    )
