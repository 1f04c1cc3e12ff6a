"""Attention over sequences that lie side by side: a masked form that runs anywhere, and a faster one for CUDA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["AttentionKind", "Layout", "attend", "choose_attention", "sequence_mask"]

AttentionKind = Literal["auto", "masked", "flash"]

_TOLERANCE = 0.03  # of the largest value; BF16 products of random vectors differ by a third of that


@dataclass(frozen=True)
class Layout:
    """Where sequences begin and end; each position sees its own sequence up to itself.

    Attributes:
        rows, length: positions are ``[rows * length]``; no sequence crosses the end of a row.
        mask: True where a position may look, bool ``[rows or 1, 1, length, length]``; or None, and then:
        bounds: int32 ``[sequences + 1]``, starts of the sequences (empty ones allowed), and the end of the last.
        longest: positions of the longest sequence, or more.
    """

    rows: int
    length: int
    mask: Tensor | None = None
    bounds: Tensor | None = None
    longest: int = 0


def sequence_mask(sequences: Tensor) -> Tensor:
    """Mask of :class:`Layout` from the number of the sequence at each position, ``[rows, length]``."""
    length = sequences.shape[1]
    order = torch.arange(length, device=sequences.device)
    same = sequences[:, :, None] == sequences[:, None, :]
    return (same & (order[:, None] >= order[None, :]))[:, None]


def attend(queries: Tensor, keys: Tensor, values: Tensor, layout: Layout) -> Tensor:
    """Attention with scale ``head_dim ** -0.5``; all three are ``[positions, heads, head_dim]``.

    Heads that share keys come with their copies of them: written together with the rotation they cost nothing, and
    on CUDA only the slowest form of attention shares heads and takes a mask.

    Returns:
        ``[positions, heads * head_dim]``.
    """
    positions, heads, width = queries.shape
    if layout.mask is None:
        # The operator behind nested tensors: it has a gradient and takes sequences of any lengths without padding.
        found: Tensor = torch.ops.aten._flash_attention_forward(
            queries, keys, values, layout.bounds, layout.bounds, layout.longest, layout.longest, 0.0, True, False
        )[0]
        return found.reshape(positions, heads * width)
    shape = (layout.rows, layout.length, heads, width)
    query, key, value = (part.view(shape).transpose(1, 2) for part in (queries, keys, values))
    found = functional.scaled_dot_product_attention(query, key, value, attn_mask=layout.mask)
    return found.transpose(1, 2).reshape(positions, heads * width)


def choose_attention(kind: AttentionKind, device: torch.device) -> tuple[Literal["masked", "flash"], str]:
    """What to use, and why: "auto" is "flash" where it runs and agrees with the masked form, gradients included."""
    if kind != "auto":
        return kind, "asked for"
    if device.type != "cuda":
        return "masked", f"the device is {device.type}"
    try:
        worst = _disagreement(device)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        return "masked", f"flash attention does not run here: {error}"
    if not worst < _TOLERANCE:
        return "masked", f"flash attention is off by {worst:.3f}"
    return "flash", f"it agrees with the masked form within {worst:.4f}"


def _disagreement(device: torch.device) -> float:
    """Largest relative difference between both forms on random vectors."""
    source = torch.Generator(device).manual_seed(0)
    rows, length = 2, 256
    ends = (70, 70, 190, 256, 300, 512)  # one is empty
    bounds = torch.tensor((0, *ends), dtype=torch.int32, device=device)
    sequences = torch.searchsorted(bounds, torch.arange(rows * length, device=device), right=True).view(rows, length)
    layouts = (
        Layout(rows, length, mask=sequence_mask(sequences)),
        Layout(rows, length, bounds=bounds, longest=256),
    )
    inputs = [
        torch.randn(rows * length, 4, 64, generator=source, device=device, dtype=torch.bfloat16).requires_grad_()
        for _ in range(3)
    ]
    weights = torch.randn(rows * length, 256, generator=source, device=device)
    results = []
    for layout in layouts:
        found = attend(inputs[0], inputs[1], inputs[2], layout)
        gradients = torch.autograd.grad((found.float() * weights).sum(), inputs)
        results.append([found.detach(), *gradients])
    return max(
        float((ours.float() - theirs.float()).abs().max() / theirs.float().abs().max())
        for theirs, ours in zip(*results, strict=True)
    )
