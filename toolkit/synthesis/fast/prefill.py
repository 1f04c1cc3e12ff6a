"""Reads prompts into the static cache: one batched pass, right-padded to few lengths."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from toolkit.errors import UsageError
from toolkit.synthesis.fast.state import FrameBuffers
from toolkit.synthesis.layers import Angles
from toolkit.synthesis.talker import Talker

__all__ = ["padded_length", "read_prompts"]

_SHORTEST = 32
_STEP = 512


def padded_length(length: int) -> int:
    """Positions that a prompt of ``length`` is padded to: powers of two from 32 to 512, then multiples of 512."""
    if length > _STEP:
        return -(-length // _STEP) * _STEP
    return max(_SHORTEST, 1 << (length - 1).bit_length())


def read_prompts(talker: Talker, angles: Angles, buffers: FrameBuffers, start: int, prompts: Sequence[Tensor]) -> None:
    """Read prompts into the rows from ``start`` on: slot ``p`` of a row gets position ``p``, ``last`` the last output.

    What the padding writes lies behind the prompt, where each frame writes its slot before anybody reads it.

    Args:
        angles: of the talker's positions, as many as the cache has slots.
        prompts: vectors ``[positions, hidden]`` each, of any lengths.

    Raises:
        UsageError: a prompt that is empty or longer than the slots.
    """
    slots = buffers.keys.shape[3]
    lengths = [prompt.shape[0] for prompt in prompts]
    if not 0 < min(lengths) <= max(lengths) <= slots:
        raise UsageError(f"prompts must have 1 to {slots} positions, found {lengths}")
    length, stop = min(slots, padded_length(max(lengths))), start + len(prompts)
    x = buffers.last.new_zeros((len(prompts), length, buffers.last.shape[1]))
    for row, prompt in enumerate(prompts):
        x[row, : lengths[row]] = prompt
    here = angles.span(0, length)
    for layer, keys, values in zip(talker.stack.layers, buffers.keys, buffers.values, strict=True):
        # Causal without a mask: the padding comes last, so that no position of a prompt may see it.
        x = layer(x, here, keys[start:stop], values[start:stop], 0, None)
    for row, count in enumerate(lengths):
        buffers.last[start + row].copy_(x[row, count - 1])
