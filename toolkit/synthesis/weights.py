"""Reads one safetensors file: the header first, then each tensor straight into its place, device and dtype.

The format is 8 bytes of little-endian header length, a JSON table of that length, and the data without hole or overlap.
Modules are built on the meta device; a parameter is allocated when its first tensor arrives and is filled from the
file, so that the weights exist once in memory, plus one buffer of :data:`STAGING_BYTES`. The file is read, not mapped:
mapped pages would count as memory of the process, and a file that shrinks while it is mapped kills the process.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor, nn

from toolkit.errors import BadModelFolder, ToolkitFault

__all__ = ["STAGING_BYTES", "ModuleFiller", "SafetensorsFile", "Slot", "TensorEntry"]

STAGING_BYTES = 16 * 2**20
"""Size of the buffer through which a tensor passes when it changes its dtype or device."""

_MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors library itself
_FLOATS = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
_SHOWN_NAMES = 4


@dataclass(frozen=True)
class TensorEntry:
    """One row of the header; ``start`` is the offset of its data from the beginning of the file, in bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    byte_count: int

    @property
    def element_count(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Slot:
    """Where a tensor of a file goes: a parameter or buffer of a module, from its row ``first_row`` on.

    Several tensors can share one parameter (queries, keys and values in one matrix), each with rows of its own.
    """

    parameter: str
    first_row: int = 0


class SafetensorsFile:
    """A safetensors file whose header has been read and checked against the format and the length of the file.

    Raises:
        BadModelFolder: missing, unreadable, cut off, or not a safetensors file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tensors: Mapping[str, TensorEntry] = _read_header(path)

    def check_shapes(self, expected: Mapping[str, tuple[int, ...]], *, elsewhere: Collection[str] = ()) -> None:
        """Compare names and shapes with what a network needs, before anything is allocated.

        Args:
            expected: shape of every tensor that the network reads.
            elsewhere: prefixes of names that another network reads from the same file.

        Raises:
            BadModelFolder: one error that names all kinds of disagreement: missing, of another shape, unknown, or
                stored in a format that holds no plain floating-point numbers.
        """
        prefixes = tuple(elsewhere)
        missing = [name for name in expected if name not in self.tensors]
        unknown = [name for name in self.tensors if name not in expected and not name.startswith(prefixes)]
        wrong = [
            f"{name} is {list(self.tensors[name].shape)} instead of {list(shape)}"
            for name, shape in expected.items()
            if name in self.tensors and self.tensors[name].shape != shape
        ]
        packed = [
            f"{name} is {self.tensors[name].dtype}"
            for name in expected
            if name in self.tensors and self.tensors[name].dtype not in _FLOATS
        ]
        problems = [
            f"{len(found)} {what} ({_some(found)})"
            for found, what in (
                (missing, "tensors are missing"),
                (wrong, "tensors have another shape"),
                (unknown, "tensors are unknown"),
                (packed, "tensors are not BF16, F16 or F32"),
            )
            if found
        ]
        if problems:
            raise BadModelFolder(f"{self.path}: does not fit the network: {'; '.join(problems)}")

    def load_into(
        self,
        module: nn.Module,
        mapping: Mapping[str, Slot | str],
        device: torch.device | str,
        dtype: torch.dtype | None,
    ) -> None:
        """Fill parameters and buffers of a module that was built on the meta device.

        Args:
            module: receives new tensors in place of the named meta tensors; parameters get no gradient.
            mapping: tensor of the file -> its place; a string is the place from the first row on.
            device: where the tensors go.
            dtype: what they are converted to; None keeps what the file has.

        Raises:
            BadModelFolder: NaN or infinite values, a number too large for ``dtype``, or a file that shrank meanwhile.
            ToolkitFault: the mapping leaves rows of a parameter empty.
        """
        filler = ModuleFiller(self.path, module, torch.device(device), dtype)
        slots = {name: slot if isinstance(slot, Slot) else Slot(slot) for name, slot in mapping.items()}
        try:
            with self.path.open("rb") as file:
                for name in sorted(slots, key=lambda item: self.tensors[item].start):
                    filler.fill(file, self.tensors[name], slots[name])
        except OSError as error:
            raise BadModelFolder(f"{self.path}: cannot be read: {error.strerror or error}") from error
        filler.check_complete()


class ModuleFiller:
    """Allocates destinations of a module as they are needed and copies tensors of a file into their rows."""

    def __init__(self, path: Path, module: nn.Module, device: torch.device, dtype: torch.dtype | None) -> None:
        self._path = path
        self._module = module
        self._device = device
        self._dtype = dtype
        self._rows: dict[str, int] = {}
        self._staging: bytearray | None = None

    def rows(self, entry: TensorEntry, slot: Slot) -> Tensor:
        """The part of a parameter that a tensor fills, of the tensor's shape, on the device and in the dtype asked for.

        Raises:
            ToolkitFault: it is no part of that parameter.
        """
        whole = self._destination(slot.parameter, _FLOATS[entry.dtype])
        rows = entry.shape[0] if entry.shape else 1
        part = whole[slot.first_row : slot.first_row + rows] if entry.shape else whole
        if part.shape != entry.shape:
            raise ToolkitFault(f"{entry.name} {list(entry.shape)} is not part of {slot.parameter} {list(whole.shape)}")
        self._rows[slot.parameter] += rows
        return part

    def fill(self, file: BinaryIO, entry: TensorEntry, slot: Slot) -> None:
        """Copy one tensor of the file into its rows."""
        stored = _FLOATS[entry.dtype]
        flat = self.rows(entry, slot).view(-1)
        if flat.device.type == "cpu" and flat.dtype == stored:
            file.seek(entry.start)
            _read_exactly(file, flat.view(torch.uint8).numpy().data, self._path)
            self._check_finite(flat, entry)
            return
        done = 0
        for chunk in self._chunks(file, entry, stored):
            target = flat[done : done + chunk.numel()]
            target.copy_(chunk)
            self._check_finite(target, entry)
            done += chunk.numel()

    def check_complete(self) -> None:
        """Raise :class:`ToolkitFault` when rows of a parameter were left empty."""
        for name, rows in self._rows.items():
            owner, attribute = _owner(self._module, name)
            wanted = (*getattr(owner, attribute).shape, 1)[0]
            if rows != wanted:
                raise ToolkitFault(f"{name}: {rows} of {wanted} rows were filled")

    def _destination(self, name: str, stored: torch.dtype) -> Tensor:
        owner, attribute = _owner(self._module, name)
        found: Tensor = getattr(owner, attribute)
        if name not in self._rows:
            fresh = torch.empty(found.shape, dtype=self._dtype or stored, device=self._device)
            if attribute in owner._parameters:
                owner._parameters[attribute] = nn.Parameter(fresh, requires_grad=False)
            else:
                owner._buffers[attribute] = fresh
            self._rows[name] = 0
            found = fresh
        return found.detach()

    def _chunks(self, file: BinaryIO, entry: TensorEntry, stored: torch.dtype) -> Iterator[Tensor]:
        if self._staging is None:
            self._staging = bytearray(STAGING_BYTES)
        file.seek(entry.start)
        left = entry.byte_count
        while left:
            take = min(left, STAGING_BYTES)
            _read_exactly(file, memoryview(self._staging)[:take], self._path)
            yield torch.frombuffer(self._staging, dtype=stored, count=take // stored.itemsize)
            left -= take

    def _check_finite(self, values: Tensor, entry: TensorEntry) -> None:
        # A sum is finite only if every term is. Unlike isfinite it needs no temporary, as long as it is asked for in
        # the dtype of the values; it may overflow, hence the second look.
        if not math.isfinite(values.sum().item()) and not bool(torch.isfinite(values).all()):
            raise BadModelFolder(
                f"{self._path}: {entry.name} holds NaN, infinity, or a value too large for {str(values.dtype)[6:]}; "
                "the file is damaged or the dtype too narrow"
            )


def _owner(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, attribute = name.rpartition(".")
    owner = module.get_submodule(path)
    if attribute not in owner._parameters and attribute not in owner._buffers:
        raise ToolkitFault(f"{type(module).__name__} has no parameter or buffer {name}")
    return owner, attribute


def _read_exactly(file: BinaryIO, target: memoryview, path: Path) -> None:
    done = 0
    while done < len(target):
        count = file.readinto(target[done:])  # type: ignore[attr-defined]  # BinaryIO of open(..., "rb") always has it
        if not count:
            raise BadModelFolder(f"{path}: became shorter while it was read")
        done += count


def _read_header(path: Path) -> dict[str, TensorEntry]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length > _MAX_HEADER_BYTES or (start + file.read(1))[8:] != b"{":
                raise BadModelFolder(f"{path}: is not a safetensors file ({_kind_of(start, size)})")
            text = b"{" + file.read(length - 1)
    except FileNotFoundError:
        raise BadModelFolder(f"{path.parent}: {path.name} is missing; the folder is not a complete model") from None
    except OSError as error:
        raise BadModelFolder(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(text) < length:
        raise BadModelFolder(f"{path}: is cut off inside its header ({size} bytes); download it again")
    try:
        table = json.loads(text.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BadModelFolder(f"{path}: has a damaged header ({error})") from error
    entries = [_entry(path, name, row, 8 + length) for name, row in table.items() if name != "__metadata__"]
    _check_extent(path, entries, 8 + length, size)
    return {entry.name: entry for entry in entries}


def _entry(path: Path, name: str, row: object, data_start: int) -> TensorEntry:
    if isinstance(row, dict):
        dtype, shape, span = row.get("dtype"), _counts(row.get("shape")), _counts(row.get("data_offsets"))
        if isinstance(dtype, str) and shape is not None and span is not None and len(span) == 2 and span[0] <= span[1]:
            entry = TensorEntry(name, dtype, shape, data_start + span[0], span[1] - span[0])
            if dtype not in _FLOATS or entry.element_count * _FLOATS[dtype].itemsize == entry.byte_count:
                return entry
    raise BadModelFolder(f"{path}: has a damaged header (the entry of {name[:80]!r} makes no sense)")


def _counts(value: object) -> tuple[int, ...] | None:
    if isinstance(value, list) and all(type(item) is int and item >= 0 for item in value):
        return tuple(value)
    return None


def _check_extent(path: Path, entries: Iterable[TensorEntry], data_start: int, size: int) -> None:
    end = data_start
    for entry in sorted(entries, key=lambda item: (item.start, item.byte_count)):
        if entry.start != end:
            raise BadModelFolder(f"{path}: has a damaged header ({entry.name[:80]!r} leaves a hole or overlaps)")
        end += entry.byte_count
    if size != end:
        what = "is cut off" if size < end else "is too long"
        raise BadModelFolder(f"{path}: {what}: it has {size} bytes and must have {end}; download it again")


def _kind_of(start: bytes, size: int) -> str:
    if size == 0:
        return "it is empty"
    if start.startswith(b"version "):
        return "it is a Git LFS pointer; fetch the file itself with git lfs pull or download it from the hub"
    if start.lstrip().startswith((b"<!", b"<htm", b"<HTM")):
        return "it is a web page; the download was answered with an error page"
    if start.startswith((b"PK\x03\x04", b"\x80")):
        return "it is a pickle of PyTorch"
    if not any(start):
        return "it begins with zeros; the download was not finished"
    return "its first bytes are no header length"


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
