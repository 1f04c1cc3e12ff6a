"""Sizes of the kernels that ship with the toolkit, by compute capability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from toolkit.errors import ToolkitFault
from toolkit.synthesis.fast.kernel_sizes import DotSizes, KernelSizes, RowSizes
from toolkit.synthesis.precision import NATIVE_BF16

__all__ = ["CHAINS_FROM", "SHIPPED", "Shipped", "shipped_for"]

CHAINS_FROM = (9, 0)
"""Compute capability from which a kernel may start before the one in front of it has ended."""


@dataclass(frozen=True)
class Shipped:
    """What suits the cards of one capability.

    Attributes:
        sizes: of the kernels.
        chained: whether kernels overlap (programmatic dependent launch).
        origin: where the figures come from, in a few words.
    """

    sizes: KernelSizes
    chained: bool
    origin: str


_DEFAULTS = "defaults, not measured"

_HOPPER = KernelSizes(
    # Both sizes of the family share the code predictor; the 0.6B talker has its products' shapes, too.
    products={
        "4096x2048": RowSizes(4, 1024, 4),
        "2048x2048": RowSizes(2, 2048, 2),
        "6144x2048g": RowSizes(2, 2048, 4),
        "2048x6144": RowSizes(2, 4096, 8),
        "3072x2048": RowSizes(4, 2048, 2),
        "4096x1024": RowSizes(8, 1024, 4),
        "1024x2048": RowSizes(4, 2048, 8),
        "3072x1024g": RowSizes(4, 1024, 4),
        "1024x3072": RowSizes(2, 4096, 2),
        "2048x1024": RowSizes(4, 1024, 1),
        "3072x1024": RowSizes(4, 1024, 1),
    },
    dots={
        "4096x2048": DotSizes(64, 128, 1, 4, 5),
        "2048x2048": DotSizes(64, 256, 4, 4, 3),
        "6144x2048g": DotSizes(64, 128, 1, 4, 3),
        "2048x6144": DotSizes(64, 256, 4, 4, 3),
        "3072x2048": DotSizes(64, 256, 2, 4, 3),
        "4096x1024": DotSizes(64, 128, 1, 4, 5),
        "1024x2048": DotSizes(32, 256, 4, 4, 5),
        "3072x1024g": DotSizes(16, 256, 2, 2, 3),
        "1024x3072": DotSizes(64, 128, 8, 4, 5),
        "2048x1024": DotSizes(32, 256, 2, 4, 5),
        "3072x1024": DotSizes(32, 256, 2, 4, 5),
    },
    dot_rows=3,
    shared_bytes=216 * 1024,  # of 227 KB
    attend_programs=1024,
    short_slots=4,
)

SHIPPED: Mapping[tuple[int, int], Shipped] = MappingProxyType({
    (8, 0): Shipped(KernelSizes(), False, _DEFAULTS),
    (8, 6): Shipped(KernelSizes(), False, _DEFAULTS),
    (8, 9): Shipped(KernelSizes(), False, _DEFAULTS),
    (9, 0): Shipped(_HOPPER, True, "tuned on an H100"),
    (12, 0): Shipped(KernelSizes(), True, _DEFAULTS),
})  # fmt: skip
"""Entries are replaced by what ``qwen-audio bench --tune`` finds on a card of the capability."""


def shipped_for(capability: tuple[int, int]) -> tuple[tuple[int, int], Shipped]:
    """The entry of a capability, else that of the nearest lower one, with the capability that it is of.

    Raises:
        ToolkitFault: below 8.0, where the kernels do not run.
    """
    below = [known for known in SHIPPED if known <= capability]
    if capability < NATIVE_BF16 or not below:
        raise ToolkitFault(f"the fused kernels need compute capability 8.0, not {capability[0]}.{capability[1]}")
    nearest = max(below)
    return nearest, SHIPPED[nearest]
