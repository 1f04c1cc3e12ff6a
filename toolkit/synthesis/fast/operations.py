"""The arithmetic of one step of a batch, as a set of operations: their contract, and plain PyTorch for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as functional
from torch import Tensor

from toolkit.synthesis.fast.philox import uniform
from toolkit.synthesis.layers import Angles, rms_norm, rotate

__all__ = ["ChoiceRules", "Operations", "PlainOperations"]


@dataclass(frozen=True)
class ChoiceRules:
    """How each row chooses. ``seen`` bool ``[rows, vocabulary]`` or None; ``banned`` bool ``[vocabulary]`` or ``[rows,
    vocabulary]`` or None; per row ``penalty`` float32, ``greedy`` bool, ``temperature`` float32, ``top_k`` int32
    (0 = off), ``top_p`` float32 (1 = off)."""

    seen: Tensor | None
    penalty: Tensor
    banned: Tensor | None
    greedy: Tensor
    temperature: Tensor
    top_k: Tensor
    top_p: Tensor


class Operations(Protocol):
    """Statistics, softmax and sums in float32; each result rounded where :mod:`toolkit.synthesis.layers` rounds it."""

    def norm_linear(self, x: Tensor, gain: Tensor, eps: float, weight: Tensor) -> Tensor:
        """``[rows, K]`` normed, times ``weight`` ``[N, K]``, to ``[rows, N]``."""

    def linear_residual(self, x: Tensor, weight: Tensor, residual: Tensor) -> Tensor:
        """``residual`` ``[rows, N]`` plus the product of ``x`` ``[rows, K]`` and ``weight`` ``[N, K]``."""

    def norm_gate_up(self, x: Tensor, gain: Tensor, eps: float, weight: Tensor) -> Tensor:
        """``silu(gate) * up`` of the normed ``x``; ``weight`` ``[2 * inner, K]``, to ``[rows, inner]``."""

    def attend(
        self,
        qkv: Tensor,
        q_gain: Tensor,
        k_gain: Tensor,
        eps: float,
        cos: Tensor,
        sin: Tensor,
        slots: Tensor,
        keys: Tensor,
        values: Tensor,
        heads: int,
    ) -> Tensor:
        """Norm and rotate, write slot ``slots[row]`` (int32) of ``keys`` and ``values`` ``[rows, kv_heads, slots,
        head_dim]``, and attend over the slots ``0 .. slots[row]``; to ``[rows, heads * head_dim]``."""

    def norm(self, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        """``[rows, K]`` normed."""

    def choose(self, logits: Tensor, rules: ChoiceRules, seeds: Tensor, counters: Tensor) -> Tensor:
        """One token per row, int64 ``[rows]``, from float32 ``[rows, vocabulary]``."""

    def frame_input(self, codes: Tensor, table: Tensor, starts: Tensor, text: Tensor) -> Tensor:
        """Sum of the 16 rows of ``table`` for ``codes`` ``[rows, 16]``, plus ``text`` ``[rows, width]``."""


class PlainOperations:
    """Plain PyTorch: static shapes and no wait for the device, so that a CUDA graph can hold it."""

    def norm_linear(self, x: Tensor, gain: Tensor, eps: float, weight: Tensor) -> Tensor:
        """See :class:`Operations`."""
        return functional.linear(rms_norm(x, gain, eps), weight)

    def linear_residual(self, x: Tensor, weight: Tensor, residual: Tensor) -> Tensor:
        """See :class:`Operations`."""
        return residual + functional.linear(x, weight)

    def norm_gate_up(self, x: Tensor, gain: Tensor, eps: float, weight: Tensor) -> Tensor:
        """See :class:`Operations`."""
        gate, up = functional.linear(rms_norm(x, gain, eps), weight).chunk(2, -1)
        return functional.silu(gate) * up

    def attend(
        self,
        qkv: Tensor,
        q_gain: Tensor,
        k_gain: Tensor,
        eps: float,
        cos: Tensor,
        sin: Tensor,
        slots: Tensor,
        keys: Tensor,
        values: Tensor,
        heads: int,
    ) -> Tensor:
        """See :class:`Operations`."""
        rows, groups, room, head_dim = keys.shape
        split = qkv.view(rows, -1, head_dim)
        angles = Angles(cos[slots.long()].unsqueeze(1), sin[slots.long()].unsqueeze(1))
        queries = rotate(rms_norm(split[:, :heads], q_gain, eps), angles)
        place = slots.long().view(rows, 1, 1, 1).expand(rows, groups, 1, head_dim)
        new = rotate(rms_norm(split[:, heads : heads + groups], k_gain, eps), angles)
        keys.scatter_(2, place, new.unsqueeze(2))
        values.scatter_(2, place, split[:, heads + groups :].unsqueeze(2))
        visible = (torch.arange(room, device=slots.device) <= slots[:, None])[:, None, None]
        grouped = queries.reshape(rows, groups, heads // groups, head_dim)
        found = functional.scaled_dot_product_attention(grouped, keys, values, attn_mask=visible)
        return found.reshape(rows, heads * head_dim)

    def norm(self, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        """See :class:`Operations`."""
        return rms_norm(x, gain, eps)

    def choose(self, logits: Tensor, rules: ChoiceRules, seeds: Tensor, counters: Tensor) -> Tensor:
        """See :class:`Operations`."""
        if rules.seen is not None:
            penalty = rules.penalty[:, None]
            logits = torch.where(rules.seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)
        if rules.banned is not None:
            logits = logits.masked_fill(rules.banned, -math.inf)
        likeliest = logits.argmax(-1)
        logits = logits / rules.temperature[:, None]
        descending, order = logits.sort(-1, descending=True)
        kth = descending.gather(-1, (rules.top_k.long() - 1).clamp(0, logits.shape[-1] - 1)[:, None])
        logits = logits.masked_fill((rules.top_k[:, None] > 0) & (logits < kth), -math.inf)
        kept = logits.gather(-1, order)
        likely = torch.softmax(kept, -1)
        dropped = (likely.cumsum(-1) - likely >= rules.top_p[:, None]) & (rules.top_p[:, None] < 1)
        logits = logits.masked_fill(torch.zeros_like(dropped).scatter(-1, order, dropped), -math.inf)
        noise = -(-uniform(seeds, counters, logits.shape[-1]).log()).log()
        return torch.where(rules.greedy, likeliest, (logits + noise).argmax(-1))

    def frame_input(self, codes: Tensor, table: Tensor, starts: Tensor, text: Tensor) -> Tensor:
        """See :class:`Operations`."""
        return functional.embedding(codes + starts, table).sum(-2) + text
