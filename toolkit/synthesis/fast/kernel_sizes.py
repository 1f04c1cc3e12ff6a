"""Block sizes of the Triton kernels, as plain numbers that a table can hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from toolkit.errors import UsageError

__all__ = ["DotSizes", "KernelSizes", "RowSizes", "power_of_two", "product_key"]

_COUNTS = ("dot_rows", "programs", "attend_programs", "dot_stages", "short_limit", "shared_bytes")
"""Fields that need not be powers of two."""
_TABLES = ("products", "dots")
_LEAST_INPUTS = 32

_PRODUCT_KEY = re.compile(r"[1-9]\d*x[1-9]\d*g?")


class RowSizes(NamedTuple):
    """Outputs and inputs of one program of a product of few rows, and its warps."""

    outputs: int
    inputs: int
    warps: int


class DotSizes(NamedTuple):
    """Outputs of one program of a product on the matrix units, inputs that it reads at a time, parts that all inputs
    are cut into, its warps, and reads under way at a time."""

    outputs: int
    inputs: int
    splits: int
    warps: int
    stages: int


_Sizes = TypeVar("_Sizes", RowSizes, DotSizes)


def product_key(outputs: int, inputs: int, gated: bool) -> str:
    """The name of a product's shape, such as "4096x2048"; a gated one, which reads two weights for each output, ends
    in "g"."""
    return f"{outputs}x{inputs}{'g' if gated else ''}"


def power_of_two(least: int) -> int:
    """The smallest power of two that is not below ``least``."""
    return 1 << max(0, least - 1).bit_length()


@dataclass(frozen=True)
class KernelSizes:
    """How the kernels cut their work. The defaults follow from the sizes of the model and of a large card's memory
    system; they were not tuned on any card.

    Attributes:
        programs: programs that a product or an attention is to have at least, so that every multiprocessor has loads
            under way.
        row_outputs: most outputs of one program of a product of few rows.
        row_inputs: inputs that such a program reads at a time.
        row_warps: warps of such a program.
        dot_rows: from this many rows on, products run on the matrix units. Below, each weight is multiplied with every
            row on the ordinary units, whose time grows with the rows while that of the loads does not.
        dot_outputs, dot_input_bytes, dot_warps, dot_stages: outputs of one program there, bytes of each weight row that
            it reads at a time, its warps, and reads under way at a time.
        dot_splits: most parts that the inputs of such a product are cut into; their sums are added in a fixed order.
        attend_programs: as ``programs``, of an attention.
        attend_slots, attend_warps: slots that an attention program reads at a time, and its warps.
        attend_splits: most parts that the slots of one row are cut into.
        short_slots, short_warps: of an attention to at most ``short_limit`` slots, such as the code predictor's.
        shared_bytes: shared memory that the reads under way of one program may take: 99 KB is all there is on the cards
            of the RTX 30 and 40 series.
        choose_warps: warps of the program that chooses a row's token.
        norm_warps: warps of the program that norms a row.
        frame_columns: columns of one program of the frame input.
        products: sizes of products of few rows by :func:`product_key`, in place of the ``row_`` sizes.
        dots: sizes of products on the matrix units by the same, in place of the ``dot_`` sizes.
    """

    programs: int = 256
    row_outputs: int = 8
    row_inputs: int = 1024
    row_warps: int = 4
    dot_rows: int = 5
    dot_outputs: int = 32
    dot_input_bytes: int = 256
    dot_warps: int = 4
    dot_stages: int = 4
    dot_splits: int = 8
    attend_programs: int = 256
    attend_slots: int = 8
    attend_warps: int = 2
    attend_splits: int = 16
    short_limit: int = 32
    short_slots: int = 8
    short_warps: int = 1
    shared_bytes: int = 96 * 1024
    choose_warps: int = 8
    norm_warps: int = 4
    frame_columns: int = 256
    products: Mapping[str, RowSizes] = field(default_factory=dict, hash=False)
    dots: Mapping[str, DotSizes] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in (entry.name for entry in fields(self) if entry.name not in _TABLES):
            _check_size(name, getattr(self, name), any_number=name in _COUNTS)
        object.__setattr__(self, "products", _checked("products", self.products, RowSizes))
        object.__setattr__(self, "dots", _checked("dots", self.dots, DotSizes))

    def row_block(self, outputs: int) -> int:
        """Outputs of one program of a product of few rows: as many as leave enough programs, a power of two."""
        return _block(outputs, self.programs, self.row_outputs)

    def row_sizes(self, outputs: int, inputs: int, gated: bool, rows: int = 1) -> RowSizes:
        """How a product of few rows is cut: as ``products`` says, else by the ``row_`` sizes, both of one row.

        No program reads more inputs at a time than there are; of more rows it has fewer outputs, since the products of
        all rows share its registers.
        """
        known = self.products.get(product_key(outputs, inputs, gated))
        if known is None:
            known = RowSizes(self.row_block(outputs), self.row_inputs, self.row_warps)
        fewer = max(1, known.outputs // power_of_two(rows))
        return known._replace(outputs=fewer, inputs=min(known.inputs, power_of_two(inputs)))

    def dot_sizes(self, outputs: int, inputs: int, gated: bool, itemsize: int, rows: int = 32) -> DotSizes:
        """How a product on the matrix units is cut: as ``dots`` says, else by the ``dot_`` sizes; both are bfloat16's.
        With longer rows of bytes, or more of them, fewer inputs are read at a time: the shared memory is as it is, and
        Triton takes a read more of it than are under way, since the first one is made before the loop."""
        known = self.dots.get(product_key(outputs, inputs, gated))
        if known is None:
            block = max(16, self.dot_input_bytes // itemsize)
            known = DotSizes(self.dot_outputs, block, 0, self.dot_warps, self.dot_stages)
        block = min(known.inputs, max(16, power_of_two(inputs)))
        columns = max(16, known.outputs) * (2 if gated else 1) + max(16, power_of_two(rows))
        while block > _LEAST_INPUTS and (known.stages + 1) * columns * block * itemsize > self.shared_bytes:
            block //= 2
        splits = known.splits
        if splits == 0:
            splits = _parts(self.programs, -(-outputs // known.outputs), min(self.dot_splits, -(-inputs // block)))
        return known._replace(outputs=max(16, known.outputs), inputs=block, splits=splits)

    def attend(self, groups: int, slots: int) -> tuple[int, int, int]:
        """Slots that one program of an attention reads at a time, its warps, and parts that the slots of a row are cut
        into, for ``groups`` pairs of rows and key heads. A part holds two reads at least."""
        if slots <= self.short_limit:
            return min(self.short_slots, power_of_two(slots)), self.short_warps, 1
        most = min(self.attend_splits, slots // (2 * self.attend_slots))
        parts = _parts(self.attend_programs, groups, most)
        return min(self.attend_slots, power_of_two(slots)), self.attend_warps, parts


def _checked(name: str, given: object, kind: type[_Sizes]) -> Mapping[str, _Sizes]:
    """A table by shapes of products, with each of its sizes looked at."""
    if not isinstance(given, Mapping):
        raise UsageError(f"{name} must be a mapping of shapes to sizes, not {given!r}")
    table = {}
    for key, sizes in given.items():
        if not isinstance(key, str) or _PRODUCT_KEY.fullmatch(key) is None:
            raise UsageError(f"{name}: {key!r} is no shape such as '4096x2048' or '6144x2048g'")
        wanted = kind._fields
        if not isinstance(sizes, tuple | list) or len(sizes) != len(wanted):
            raise UsageError(f"{name}: {key} needs {', '.join(wanted[:-1])} and {wanted[-1]}, not {sizes!r}")
        for what, value in zip(wanted, sizes, strict=True):
            _check_size(f"{name}: {what} of {key}", value, any_number=what == "stages")
        table[key] = kind(*sizes)
    return MappingProxyType(table)


def _check_size(name: str, value: object, *, any_number: bool = False) -> None:
    if type(value) is not int or value < 1:
        raise UsageError(f"{name} must be a whole number above 0, not {value!r}")
    if not any_number and value != power_of_two(value):
        raise UsageError(f"{name} must be a power of two, not {value}")


def _block(items: int, programs: int, most: int) -> int:
    return min(most, power_of_two(max(1, items // programs) + 1) // 2)


def _parts(programs: int, tiles: int, most: int) -> int:
    """As many parts, a power of two not above ``most``, as bring ``tiles`` up to the number of programs."""
    parts = 1
    while parts * 2 <= most and parts * tiles < programs:
        parts *= 2
    return parts
