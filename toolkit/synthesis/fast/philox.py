"""Random numbers by position: Philox4x32-10, so that a draw depends on seed, counter and token and on nothing else."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["uniform"]

# Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011): multipliers and Weyl steps.
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_MASK = 0xFFFFFFFF


def uniform(seeds: Tensor, counters: Tensor, tokens: int) -> Tensor:
    """Numbers strictly between 0 and 1, float32 ``[rows, tokens]``, from int64 ``[rows]`` seeds and counters."""
    shape = (seeds.shape[0], tokens)
    a = torch.arange(tokens, device=seeds.device).expand(shape)
    b, c = (counters & _MASK)[:, None].expand(shape), ((counters >> 32) & _MASK)[:, None].expand(shape)
    d = torch.zeros_like(a)
    low, high = (seeds & _MASK)[:, None], ((seeds >> 32) & _MASK)[:, None]
    for _ in range(_ROUNDS):
        # A product of two 32-bit numbers wraps in int64, but its upper half is whole after the mask.
        left, right = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = ((right >> 32) & _MASK) ^ b ^ low, right & _MASK, ((left >> 32) & _MASK) ^ d ^ high, left & _MASK
        low, high = (low + _WEYL[0]) & _MASK, (high + _WEYL[1]) & _MASK
    return ((a >> 8).float() + 0.5) * 2.0**-24
