"""What several Triton kernels share: rounding, products, and the order of kernels that overlap."""

from __future__ import annotations

import os

import triton
import triton.language as tl

__all__ = ["CAN_OVERLAP", "INTERPRETED", "add_product", "begin", "follow", "rounded", "wide"]

INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET", "0") == "1")
"""Whether the kernels run under Triton's interpreter on a CPU, which cuts bfloat16 off instead of rounding it, and
multiplies its bits where matrices are multiplied."""

CAN_OVERLAP = hasattr(tl.extra.cuda, "gdc_wait")
"""Whether this Triton knows programmatic dependent launch; 3.3 does not."""

# Triton looks up every name of a kernel, also those of a branch that it leaves out.
_wait_for_kernel_before = getattr(tl.extra.cuda, "gdc_wait", tl.debug_barrier)
_let_next_kernel_start = getattr(tl.extra.cuda, "gdc_launch_dependents", tl.debug_barrier)


@triton.jit
def begin(chained: tl.constexpr):
    """Let the next kernel start beside this one, where kernels may do so: it waits for the end of this one by itself.

    All programs of a kernel have begun before the first of the next one does, so that none waits for a place.
    """
    if chained:
        _let_next_kernel_start()


@triton.jit
def follow(chained: tl.constexpr):
    """Wait until the kernel before has ended and its results can be seen, where this one may have started earlier."""
    if chained:
        _wait_for_kernel_before()


@triton.jit
def rounded(x, dtype: tl.constexpr):
    """float32 values rounded to ``dtype``, to even at ties, as float32 again."""
    if INTERPRETED and dtype == tl.bfloat16:
        bits = x.to(tl.uint32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        result = bits.to(tl.float32, bitcast=True)
    else:
        result = x.to(dtype).to(tl.float32)
    return result


@triton.jit
def wide(pointers, mask):
    """Load as float32; zeros where the mask is false."""
    return tl.load(pointers, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def add_product(left, right, total):
    """``total`` plus the matrix product, products and sums in float32."""
    if INTERPRETED:
        total = tl.dot(left.to(tl.float32), right.to(tl.float32), total, input_precision="ieee")
    else:
        total = tl.dot(left, right, total, input_precision="ieee")
    return total
