"""Small things from the host to the device, in one copy each that nobody waits for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["host_integers", "moved"]


def host_integers(numbers: Sequence[int] | Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Numbers as int64 on the host, from where a copy to ``device`` needs no waiting: pinned where that is a card."""
    # Pinned memory comes from PyTorch's own cache, which gives it away again only after the copies from it are done.
    return torch.tensor(numbers, dtype=torch.int64, pin_memory=device.type == "cuda")


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on another device, or itself; from the host to a card behind the work that is queued there.

    The copy keeps the dtype: with another one PyTorch would convert on the host first, into memory that is not pinned,
    and wait.
    """
    if tensor.device == device:
        return tensor
    if tensor.device.type == "cpu" and device.type == "cuda":
        pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
        return pinned.to(device, non_blocking=True)
    return tensor.to(device)
