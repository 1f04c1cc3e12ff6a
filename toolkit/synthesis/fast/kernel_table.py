"""Sizes of the kernels that ship with the toolkit, by compute capability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from toolkit.errors import ToolkitFault
from toolkit.synthesis.fast.kernel_sizes import KernelSizes
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

SHIPPED: Mapping[tuple[int, int], Shipped] = MappingProxyType({
    (8, 0): Shipped(KernelSizes(), False, _DEFAULTS),
    (8, 6): Shipped(KernelSizes(), False, _DEFAULTS),
    (8, 9): Shipped(KernelSizes(), False, _DEFAULTS),
    (9, 0): Shipped(KernelSizes(), True, _DEFAULTS),
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
