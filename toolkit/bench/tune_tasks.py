"""What the search for kernel sizes looks for: products, attention, the choice of a token, and the frame as a whole."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from toolkit.synthesis.config import CODE_GROUPS, DecoderShape, ModelConfig
from toolkit.synthesis.fast.kernel_sizes import DotSizes, KernelSizes, RowSizes, power_of_two, product_key

__all__ = [
    "MANY_ROWS",
    "Attention",
    "Choosing",
    "DotProduct",
    "ManyAttention",
    "Product",
    "Role",
    "RowProduct",
    "ShortAttention",
    "Sizes",
    "Task",
    "WholeFrame",
    "tasks_of",
]

Sizes = tuple[int, ...]
"""What they are depends on the task; each says so."""

Role = Literal["normed", "added", "gated"]
"""How a product is used: normed first, added to a residual, or normed and gated."""

MANY_ROWS = 32
"""Rows of a large batch, for which products on the matrix units and the parts of an attention are tuned."""

_THREAD_NUMBERS = (4, 128)
"""Weights that a thread of a candidate may hold at a time: below, a load is narrower than 16 bytes; above, registers
spill."""
_LEAST_PROGRAMS = 32
_MOST_STAGED_BYTES = 200_000
"""Of all reads that one program has under way: a multiprocessor of the largest cards shares 227 KiB."""
_PREDICTOR_PASSES = CODE_GROUPS - 1


@dataclass(frozen=True)
class Task(ABC):
    """One thing whose sizes are looked for."""

    name: str

    @abstractmethod
    def default(self, base: KernelSizes, chained: bool) -> Sizes:
        """The sizes that it has without a search."""

    @abstractmethod
    def first_candidates(self, default: Sizes, can_chain: bool) -> tuple[Sizes, ...]:
        """What is tried besides the default."""

    def later_candidates(self, sizes: Sizes) -> tuple[Sizes, ...]:
        """What is tried of the default and of the fastest: the same at other numbers of warps, for example."""
        return ()

    @abstractmethod
    def placed(self, sizes: Sizes, base: KernelSizes, chained: bool) -> tuple[KernelSizes, bool]:
        """All sizes with these among them, and whether kernels overlap."""


@dataclass(frozen=True)
class Product(Task):
    """A product of one shape.

    Attributes:
        outputs, inputs: the shape.
        role: how it is used.
        per_frame: how often a frame runs it.
    """

    outputs: int
    inputs: int
    role: Role
    per_frame: int = 1

    @property
    def gated(self) -> bool:
        """Whether each output reads two weights."""
        return self.role == "gated"

    @property
    def key(self) -> str:
        """The shape's name among the sizes."""
        return product_key(self.outputs, self.inputs, self.gated)


@dataclass(frozen=True)
class RowProduct(Product):
    """Of one row: outputs, inputs, warps."""

    def default(self, base: KernelSizes, chained: bool) -> Sizes:
        """See :class:`Task`."""
        return tuple(base.row_sizes(self.outputs, self.inputs, self.gated))

    def first_candidates(self, default: Sizes, can_chain: bool) -> tuple[Sizes, ...]:
        """At the default's number of warps."""
        tried = product((1, 2, 4, 8, 16), (256, 512, 1024, 2048, 4096), (default[2],))
        return _others(filter(self._sound, tried), default)

    def later_candidates(self, sizes: Sizes) -> tuple[Sizes, ...]:
        """Other numbers of warps."""
        return _others(filter(self._sound, ((*sizes[:2], warps) for warps in (1, 2, 4, 8))), sizes)

    def placed(self, sizes: Sizes, base: KernelSizes, chained: bool) -> tuple[KernelSizes, bool]:
        """See :class:`Task`."""
        return replace(base, products={**base.products, self.key: RowSizes(*sizes)}), chained

    def _sound(self, sizes: Sizes) -> bool:
        outputs, inputs, warps = sizes
        held = outputs * inputs * (2 if self.gated else 1) / (32 * warps)
        enough = -(-self.outputs // outputs) >= min(_LEAST_PROGRAMS, self.outputs)
        fits = inputs <= power_of_two(self.inputs)
        return fits and enough and _THREAD_NUMBERS[0] <= held <= _THREAD_NUMBERS[1]


@dataclass(frozen=True)
class DotProduct(Product):
    """Of many rows, on the matrix units: outputs, inputs, splits, warps, stages.

    ``item_bytes`` are those of a weight.
    """

    item_bytes: int = 2

    def default(self, base: KernelSizes, chained: bool) -> Sizes:
        """See :class:`Task`."""
        return tuple(base.dot_sizes(self.outputs, self.inputs, self.gated, self.item_bytes))

    def first_candidates(self, default: Sizes, can_chain: bool) -> tuple[Sizes, ...]:
        """At the default's numbers of warps and stages."""
        tried = product((16, 32, 64), (128, 256), (1, 2, 4, 8), (default[3],), (default[4],))
        return _others(filter(self._sound, tried), default)

    def later_candidates(self, sizes: Sizes) -> tuple[Sizes, ...]:
        """Other numbers of warps and stages."""
        tried = ((*sizes[:3], warps, stages) for warps, stages in product((2, 4), (3, 5)))
        return _others(filter(self._sound, tried), sizes)

    def placed(self, sizes: Sizes, base: KernelSizes, chained: bool) -> tuple[KernelSizes, bool]:
        """See :class:`Task`."""
        return replace(base, dots={**base.dots, self.key: DotSizes(*sizes)}), chained

    def _sound(self, sizes: Sizes) -> bool:
        outputs, inputs, splits, _, stages = sizes
        tile_bytes = ((2 if self.gated else 1) * outputs + MANY_ROWS) * inputs * self.item_bytes
        fits = inputs <= max(16, power_of_two(self.inputs)) and outputs <= max(16, power_of_two(self.outputs))
        return fits and splits <= -(-self.inputs // inputs) and tile_bytes * stages < _MOST_STAGED_BYTES


@dataclass(frozen=True)
class Attention(Task):
    """The talker's, of one row: slots, warps, most splits."""

    name: str = "attention"

    def default(self, base: KernelSizes, chained: bool) -> Sizes:
        """See :class:`Task`."""
        return base.attend_slots, base.attend_warps, base.attend_splits

    def first_candidates(self, default: Sizes, can_chain: bool) -> tuple[Sizes, ...]:
        """At the default's number of warps."""
        return _others(product((8, 16, 32, 64), (default[1],), (8, 16, 32, 64)), default)

    def later_candidates(self, sizes: Sizes) -> tuple[Sizes, ...]:
        """Other numbers of warps."""
        return _others(((sizes[0], warps, sizes[2]) for warps in (1, 2, 4, 8)), sizes)

    def placed(self, sizes: Sizes, base: KernelSizes, chained: bool) -> tuple[KernelSizes, bool]:
        """See :class:`Task`."""
        slots, warps, splits = sizes
        return replace(base, attend_slots=slots, attend_warps=warps, attend_splits=splits), chained


@dataclass(frozen=True)
class ManyAttention(Task):
    """The talker's, of many rows: programs that it is to have at least, from which its splits follow."""

    name: str = f"attention of {MANY_ROWS} rows"

    def default(self, base: KernelSizes, chained: bool) -> Sizes:
        """See :class:`Task`."""
        return (base.attend_programs,)

    def first_candidates(self, default: Sizes, can_chain: bool) -> tuple[Sizes, ...]:
        """See :class:`Task`."""
        return _others(((256,), (1024,), (4096,)), default)

    def placed(self, sizes: Sizes, base: KernelSizes, chained: bool) -> tuple[KernelSizes, bool]:
        """See :class:`Task`."""
        return replace(base, attend_programs=sizes[0]), chained


@dataclass(frozen=True)
class ShortAttention(Task):
    """The code predictor's, to at most sixteen slots: slots, warps."""

    name: str = "short attention"

    def default(self, base: KernelSizes, chained: bool) -> Sizes:
        """See :class:`Task`."""
        return base.short_slots, base.short_warps

    def first_candidates(self, default: Sizes, can_chain: bool) -> tuple[Sizes, ...]:
        """See :class:`Task`."""
        return _others(product((4, 8, 16), (1, 2, 4)), default)

    def placed(self, sizes: Sizes, base: KernelSizes, chained: bool) -> tuple[KernelSizes, bool]:
        """See :class:`Task`."""
        return replace(base, short_slots=sizes[0], short_warps=sizes[1]), chained


@dataclass(frozen=True)
class Choosing(Task):
    """The choice of a frame's sixteen tokens: warps."""

    name: str = "choice"

    def default(self, base: KernelSizes, chained: bool) -> Sizes:
        """See :class:`Task`."""
        return (base.choose_warps,)

    def first_candidates(self, default: Sizes, can_chain: bool) -> tuple[Sizes, ...]:
        """See :class:`Task`."""
        return _others(((4,), (8,), (16,)), default)

    def placed(self, sizes: Sizes, base: KernelSizes, chained: bool) -> tuple[KernelSizes, bool]:
        """See :class:`Task`."""
        return replace(base, choose_warps=sizes[0]), chained


@dataclass(frozen=True)
class WholeFrame(Task):
    """A frame of one row: 1 if kernels overlap, else 0."""

    name: str = "frame"

    def default(self, base: KernelSizes, chained: bool) -> Sizes:
        """See :class:`Task`."""
        return (int(chained),)

    def first_candidates(self, default: Sizes, can_chain: bool) -> tuple[Sizes, ...]:
        """See :class:`Task`."""
        return ((1 - default[0],),) if can_chain else ()

    def placed(self, sizes: Sizes, base: KernelSizes, chained: bool) -> tuple[KernelSizes, bool]:
        """See :class:`Task`."""
        return base, bool(sizes[0])


def tasks_of(config: ModelConfig, item_bytes: int = 2) -> tuple[Task, ...]:
    """All that is looked for, in this order: the products of a frame of one row, each shape once; the same of many
    rows; attention; the choice; the frame as a whole.

    Args:
        item_bytes: of a weight.
    """
    talker, predictor = config.talker.decoder, config.predictor.decoder
    found: dict[str, RowProduct] = {}
    for task in (
        *_products(talker, 1),
        _product(config.talker.vocab, talker.hidden, "normed", 1),
        *_products(predictor, _PREDICTOR_PASSES),
        _product(config.predictor.vocab, predictor.hidden, "normed", _PREDICTOR_PASSES),
    ):
        known = found.get(task.name)
        found[task.name] = task if known is None else replace(known, per_frame=known.per_frame + task.per_frame)
    many = [
        DotProduct(f"{key} of {MANY_ROWS} rows", task.outputs, task.inputs, task.role, task.per_frame, item_bytes)
        for key, task in found.items()
    ]
    return (*found.values(), *many, Attention(), ManyAttention(), ShortAttention(), Choosing(), WholeFrame())


def _products(shape: DecoderShape, passes: int) -> tuple[RowProduct, ...]:
    runs, attended = shape.layers * passes, shape.heads * shape.head_dim
    return (
        _product(shape.qkv_rows, shape.hidden, "normed", runs),
        _product(shape.hidden, attended, "added", runs),
        _product(shape.intermediate, shape.hidden, "gated", runs),
        _product(shape.hidden, shape.intermediate, "added", runs),
    )


def _product(outputs: int, inputs: int, role: Role, per_frame: int) -> RowProduct:
    return RowProduct(product_key(outputs, inputs, role == "gated"), outputs, inputs, role, per_frame)


def _others(tried: Iterable[Sizes], sizes: Sizes) -> tuple[Sizes, ...]:
    return tuple(each for each in tried if each != sizes)
