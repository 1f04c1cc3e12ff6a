"""Philox4x32-10 and the uniforms made of it: random numbers that follow from a seed and a counter alone.

Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011; constants as in Random123.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["PHILOX_KEYS", "PHILOX_MULTIPLIERS", "PHILOX_ROUNDS", "philox", "token_uniforms", "uniforms"]

PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
PHILOX_KEYS = (0x9E3779B9, 0xBB67AE85)
"""What is added to the two key words from round to round: fractional parts of the golden ratio and of the root of 3."""
PHILOX_ROUNDS = 10

_WORD = 0xFFFFFFFF
_WORDS_PER_BLOCK = 4


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]) -> Tensor:
    """One block of four words for every counter.

    Args:
        counter: four words, int64 tensors of values below 2**32, of shapes that broadcast.
        key: two words, likewise.

    Returns:
        int64 of the common shape and a last axis of four, values below 2**32.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(PHILOX_ROUNDS):
        # A product wraps around in int64, but its bits are those of the unsigned one, and the mask takes the sign off.
        even, odd = c0 * PHILOX_MULTIPLIERS[0], c2 * PHILOX_MULTIPLIERS[1]
        c0, c2 = ((odd >> 32) & _WORD) ^ c1 ^ k0, ((even >> 32) & _WORD) ^ c3 ^ k1
        c1, c3 = odd & _WORD, even & _WORD
        k0, k1 = (k0 + PHILOX_KEYS[0]) & _WORD, (k1 + PHILOX_KEYS[1]) & _WORD
    # Ten rounds have mixed every word into every other: all four have the common shape.
    return torch.stack((c0, c1, c2, c3), -1)


def uniforms(words: Tensor) -> Tensor:
    """Words as float32 strictly between 0 and 1: the middles of 2**23 equal steps, each of them exact in float32."""
    return ((words >> 9).float() + 0.5) * 2.0**-23


def token_uniforms(seeds: Tensor, counters: Tensor, vocab: int) -> Tensor:
    """One uniform for each seed, counter and token.

    Token ``t`` takes word ``t % 4`` of the block at ``(t // 4, counter low, counter high, 0)`` under the key
    ``(seed low, seed high)``.

    Args:
        seeds, counters: int64 ``[rows]``.

    Returns:
        float32 ``[rows, vocab]``.
    """
    blocks = torch.arange(-(-vocab // _WORDS_PER_BLOCK), device=seeds.device)
    seeds, counters = seeds[:, None], counters[:, None]
    zero = torch.zeros_like(counters)
    counter = (blocks[None], counters & _WORD, (counters >> 32) & _WORD, zero)
    words = philox(counter, (seeds & _WORD, (seeds >> 32) & _WORD))
    return uniforms(words.flatten(1)[:, :vocab])
