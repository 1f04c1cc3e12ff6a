"""Which way a frame runs, and why, as a function of facts."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Literal, get_args

from toolkit.errors import UsageError
from toolkit.synthesis.precision import NATIVE_BF16, Choice

__all__ = [
    "EAGER",
    "FAST",
    "OLDEST_TRITON",
    "PLAIN",
    "TORCH_GRAPH",
    "TRITON_GRAPH",
    "AskedPath",
    "check_path",
    "choose_backend",
    "choose_path",
    "triton_version",
]

AskedPath = Literal["auto", "fast", "plain"]

FAST, PLAIN = "fast", "plain"
"""Whole frames over static buffers; or one operation after the other, as the official package."""

TRITON_GRAPH, TORCH_GRAPH, EAGER = "triton graph", "torch graph", "eager"
"""Fused kernels in a CUDA graph; PyTorch's own operations in a CUDA graph; PyTorch's own operations, one by one."""

OLDEST_TRITON = (3, 3)
"""Version from which the kernels run."""


def triton_version() -> str | None:
    """Version of Triton that is installed, also under its name on Windows; None where there is none."""
    for name in ("triton", "triton-windows"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def check_path(asked: str) -> None:
    """Raise UsageError unless this is "auto", "fast" or "plain"."""
    if asked not in get_args(AskedPath):
        raise UsageError(f"path must be 'auto', 'fast' or 'plain', not {asked!r}")


def choose_path(
    device: str,
    capability: tuple[int, int] | None,
    triton: str | None,
    *,
    capture_fault: str | None = None,
    kernel_fault: str | None = None,
) -> Choice:
    """The fastest way that these facts allow.

    Args:
        device: "cuda", "cpu", ...
        capability: compute capability of the card, None where there is none.
        triton: version of Triton, None where it is missing.
        capture_fault: what was said when a frame could not be captured.
        kernel_fault: what was said when the fused kernels could not be built.
    """
    if device != "cuda" or capability is None:
        where = "a CPU" if device == "cpu" else device
        return Choice(EAGER, f"{where} has no CUDA graphs")
    if capture_fault is not None:
        told = f"a frame could not be captured as a CUDA graph: {capture_fault}"
        return Choice(EAGER, told, f"{told}. Speech is the same, but slower.")
    told = f"compute capability {capability[0]}.{capability[1]}"
    if triton is None:
        return Choice(TORCH_GRAPH, "Triton is not installed")
    if capability < NATIVE_BF16:
        return Choice(TORCH_GRAPH, f"{told}: the fused kernels need 8.0")
    found = re.match(r"(\d+)\.(\d+)", triton)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_TRITON:
        return Choice(TORCH_GRAPH, f"Triton {triton} is too old for the fused kernels; 3.3 is the oldest that will do")
    if kernel_fault is not None:
        told = f"the fused kernels could not be built: {kernel_fault}"
        return Choice(TORCH_GRAPH, told, f"{told}. Speech is the same, but slower.")
    return Choice(TRITON_GRAPH, f"{told}, Triton {triton}")


def choose_backend(asked: str, device: str, dtype: str) -> Choice:
    """Whether the decode loop takes the fast path, "fast" or "plain".

    Args:
        asked: "auto", "fast" or "plain".
        device: "cuda", "cpu", ...
        dtype: of the talker.

    Raises:
        UsageError: an unknown name, or "fast" with float16.
    """
    check_path(asked)
    if asked == PLAIN:
        return Choice(PLAIN, "asked for")
    if dtype == "float16":
        if asked == FAST:
            raise UsageError("path='fast' takes bfloat16 or float32; only the plain path looks for float16's overflows")
        return Choice(PLAIN, "only it looks for the overflows of float16")
    if asked == FAST:
        return Choice(FAST, "asked for")
    if device == "cuda":
        return Choice(FAST, "the same greedy speech as on the plain path, many times as fast")
    where = "a CPU" if device == "cpu" else device
    return Choice(PLAIN, f"on {where} a seed gives what it gives in the official package")
