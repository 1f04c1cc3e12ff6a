"""Messages between kernel and worker: JSON with arrays and bytes beside it, the same in a pipe and in a file."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, BinaryIO

import numpy as np

from toolkit.errors import ToolkitFault, UsageError

__all__ = ["pack", "read_message", "unpack", "write_message"]

_SIZES = struct.Struct("<IQ")
"""Bytes of the JSON part, bytes of all that follows it."""
_DTYPES = frozenset("bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64".split())
_MOST_BYTES = 2**34


def pack(value: object) -> bytes:
    """A value of dicts, lists, texts, numbers, bytes, paths and numpy arrays as bytes; nothing in it is ever run.

    Raises UsageError for anything else, with its type.
    """
    blobs: list[bytes] = []
    text = json.dumps({"value": _plain(value, blobs), "sizes": [len(blob) for blob in blobs]}).encode()
    return b"".join([_SIZES.pack(len(text), sum(map(len, blobs))), text, *blobs])


def unpack(data: bytes) -> Any:
    """The value that :func:`pack` was given; tuples come back as lists, paths as texts. Raises ToolkitFault."""
    if len(data) < _SIZES.size:
        raise ToolkitFault(f"a message of {len(data)} bytes is cut off")
    json_bytes, blob_bytes = _SIZES.unpack_from(data)
    if len(data) != _SIZES.size + json_bytes + blob_bytes:
        raise ToolkitFault(f"a message of {len(data)} bytes is cut off")
    head = json.loads(data[_SIZES.size : _SIZES.size + json_bytes])
    blobs, at = [], _SIZES.size + json_bytes
    for size in head["sizes"]:
        blobs.append(data[at : at + size])
        at += size
    return _full(head["value"], blobs)


def write_message(stream: BinaryIO, value: object) -> None:
    """Write one message and flush."""
    stream.write(pack(value))
    stream.flush()


def read_message(stream: BinaryIO) -> Any | None:
    """The next message, or None where the stream ends, be it in the middle of one."""
    head = stream.read(_SIZES.size)
    if len(head) < _SIZES.size:
        return None
    size = sum(_SIZES.unpack(head))
    if size > _MOST_BYTES:
        raise ToolkitFault(f"a message of {size} bytes is none of ours")
    body = stream.read(size)
    return None if len(body) < size else unpack(head + body)


def _plain(value: object, blobs: list[bytes]) -> object:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, np.generic):
        return _plain(value.item(), blobs)
    if isinstance(value, np.ndarray):
        if value.dtype.name not in _DTYPES:
            raise UsageError(f"an array of {value.dtype} cannot be sent to or from a worker; convert it to numbers")
        blobs.append(np.ascontiguousarray(value).tobytes())
        return {"$array": len(blobs) - 1, "dtype": value.dtype.name, "shape": list(value.shape)}
    if isinstance(value, bytes | bytearray | memoryview):
        blobs.append(bytes(value))
        return {"$bytes": len(blobs) - 1}
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        pairs = [(key, _plain(inner, blobs)) for key, inner in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in pairs):
            return dict(pairs)
        return {"$dict": [[_plain(key, blobs), inner] for key, inner in pairs]}
    if isinstance(value, list | tuple):
        return [_plain(inner, blobs) for inner in value]
    raise UsageError(
        f"a {type(value).__name__} cannot be sent to or from a worker; use dicts, lists, texts, numbers and arrays"
    )


def _full(value: Any, blobs: list[bytes]) -> Any:
    if isinstance(value, list):
        return [_full(inner, blobs) for inner in value]
    if not isinstance(value, dict):
        return value
    if "$array" in value:
        # A copy, so that the array can be written to.
        return np.frombuffer(blobs[value["$array"]], value["dtype"]).reshape(value["shape"]).copy()
    if "$bytes" in value:
        return blobs[value["$bytes"]]
    if "$dict" in value:
        return {_full(key, blobs): _full(inner, blobs) for key, inner in value["$dict"]}
    return {key: _full(inner, blobs) for key, inner in value.items()}
