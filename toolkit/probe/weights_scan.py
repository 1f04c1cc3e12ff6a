"""Reads weights in pieces: looks for NaN and infinity, and checks a cached file against its hash. Bounded memory."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from toolkit.probe.safetensors_header import Tensor, WeightsFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["BadTensor", "cached_hash_matches", "nonfinite_tensors"]

_CHUNK_BYTES = 16 * 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")
# dtype: (bytes of an element, mask of its exponent, mask of its fraction); IEEE 754 and bfloat16 alike mark
# NaN and infinity by an exponent of ones.
_LAYOUT = {
    "BF16": (2, 0x7F80, 0x007F),
    "F16": (2, 0x7C00, 0x03FF),
    "F32": (4, 0x7F80_0000, 0x007F_FFFF),
    "F64": (8, 0x7FF0_0000_0000_0000, 0x000F_FFFF_FFFF_FFFF),
}


@dataclass(frozen=True)
class BadTensor:
    """A tensor that holds values that are not numbers."""

    name: str
    nan_count: int
    infinite_count: int


def nonfinite_tensors(weights: WeightsFile, limit: int = 50) -> tuple[BadTensor, ...]:
    """Tensors of BF16, F16, F32 or F64 that hold NaN or infinity, at most ``limit`` of them.

    Reads the whole file once, 16 MB at a time. Raises OSError when it cannot be read and
    ValueError when it has no header.
    """
    if weights.header is None:
        raise ValueError(f"{weights.path.name} has no readable header")
    found: list[BadTensor] = []
    with weights.path.open("rb") as file:
        for tensor in weights.header.tensors:
            if tensor.dtype not in _LAYOUT:
                continue
            file.seek(weights.header.data_start + tensor.start)
            nan_count, infinite_count = _count(file, tensor)
            if nan_count or infinite_count:
                found.append(BadTensor(tensor.name, nan_count, infinite_count))
                if len(found) == limit:
                    break
    return tuple(found)


def _count(file: BinaryIO, tensor: Tensor) -> tuple[int, int]:
    import numpy as np

    width, exponent, fraction = _LAYOUT[tensor.dtype]
    nan_count = infinite_count = 0
    for values in _pieces(file, tensor.byte_count, width):
        special = values[(values & np.asarray(exponent, values.dtype)) == exponent]
        nans = int(np.count_nonzero(special & np.asarray(fraction, values.dtype)))
        nan_count += nans
        infinite_count += special.size - nans
    return nan_count, infinite_count


def _pieces(file: BinaryIO, byte_count: int, width: int) -> Iterable[NDArray[np.unsignedinteger]]:
    import numpy as np

    while byte_count > 0:
        raw = file.read(min(byte_count, _CHUNK_BYTES))
        if not raw:
            return  # truncated: the length check has said so already
        byte_count -= len(raw)
        yield np.frombuffer(raw[: len(raw) - len(raw) % width], dtype=f"<u{width}")


def cached_hash_matches(path: Path) -> bool | None:
    """Whether a file of the hub's cache has the SHA-256 that its blob is named by; None when it is not such a file.

    Large files of the hub are links to ``blobs/SHA256``. Raises OSError when the file cannot be read.
    """
    blob = Path(os.path.realpath(path))
    if blob.parent.name != "blobs" or not _SHA256.fullmatch(blob.name):
        return None
    digest = hashlib.sha256()
    with blob.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest() == blob.name
