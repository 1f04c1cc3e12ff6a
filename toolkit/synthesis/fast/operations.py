"""The operations that one step of talker and code predictor is made of, and their plain form.

Roundings are those of ``layers.py``: statistics, softmax and sums of products are float32; each result is rounded to
the model's dtype. Nothing here waits for the device, and shapes follow from shapes, so that a CUDA graph can hold it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as functional
from torch import Tensor

from toolkit.synthesis.fast.philox import token_uniforms
from toolkit.synthesis.layers import Angles, rms_norm, rotate
from toolkit.synthesis.sampling import Sampling

__all__ = ["ChoiceRules", "Operations", "PlainOperations"]


@dataclass(frozen=True)
class ChoiceRules:
    """How each row of a batch chooses its token. Everything lies on the device of the logits.

    Attributes:
        penalty: repetition penalty, float32 ``[rows]``; 1 is off.
        greedy: bool ``[rows]``; such a row takes its most likely token, the first of several.
        temperature: float32 ``[rows]``, above 0; 1 is off.
        top_k: int32 ``[rows]``; 0 is off.
        top_p: float32 ``[rows]``, above 0; 1 is off.
        seen: tokens that the penalty is for, bool ``[rows, vocab]``; None means none.
        banned: tokens that are never chosen, bool ``[vocab]`` or ``[rows, vocab]``; None means none.
    """

    penalty: Tensor
    greedy: Tensor
    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    seen: Tensor | None = None
    banned: Tensor | None = None

    @classmethod
    def of(
        cls,
        samplings: Sequence[Sampling],
        device: torch.device | str,
        *,
        penalties: Sequence[float] | None = None,
        seen: Tensor | None = None,
        banned: Tensor | None = None,
    ) -> ChoiceRules:
        """One :class:`Sampling` a row, and one repetition penalty a row where there are any."""
        rows = len(samplings)
        return cls(
            penalty=torch.tensor([1.0] * rows if penalties is None else list(penalties), device=device),
            greedy=torch.tensor([not row.do_sample for row in samplings], device=device),
            temperature=torch.tensor([float(row.temperature) for row in samplings], device=device),
            top_k=torch.tensor([row.top_k for row in samplings], dtype=torch.int32, device=device),
            top_p=torch.tensor([float(row.top_p) for row in samplings], device=device),
            seen=seen,
            banned=banned,
        )


class Operations(Protocol):
    """One step's arithmetic for ``M`` rows. Tensors are contiguous, all of one dtype unless it is named.

    Attributes:
        kernels: names of the modules whose Triton kernels it launches.
    """

    kernels: tuple[str, ...]

    def norm(self, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        """``layers.rms_norm`` of ``[M, K]``."""

    def norm_linear(self, x: Tensor, gain: Tensor, eps: float, weight: Tensor) -> Tensor:
        """Norm of ``[M, K]``, then the product with ``[N, K]``: ``[M, N]``."""

    def linear_residual(self, x: Tensor, weight: Tensor, residual: Tensor) -> Tensor:
        """Product of ``[M, K]`` with ``[N, K]``, rounded, plus ``[M, N]``, rounded."""

    def norm_gate_up(self, x: Tensor, gain: Tensor, eps: float, weight: Tensor) -> Tensor:
        """``silu(gate) * up`` of the normed ``[M, K]``; the first half of ``[2I, K]`` makes the gate: ``[M, I]``."""

    def attend(
        self,
        qkv: Tensor,
        q_gain: Tensor,
        k_gain: Tensor,
        eps: float,
        cos: Tensor,
        sin: Tensor,
        slots: Tensor | int,
        keys: Tensor,
        values: Tensor,
        heads: int,
        out: Tensor | None = None,
    ) -> Tensor:
        """Attention of one new position of each row over all positions of that row so far, itself included.

        Args:
            qkv: ``[M, (heads + 2 * kv_heads) * D]``: queries, keys, values.
            q_gain, k_gain: gains of the norms of queries and keys, ``[D]``.
            cos, sin: angles of positions, ``[P, D]``, as ``layers.rotary_table`` makes them.
            slots: the position of each row, int32 ``[M]``, or of all of them; it is the slot that is written.
            keys, values: ``[M, kv_heads, S, D]``; slot ``slots[m]`` of row ``m`` is written in place, the slots before
                it are read. What lies behind is not looked at, but must be finite.
            out: where the result goes; new memory unless given.

        Returns:
            ``[M, heads * D]``.
        """

    def choose(
        self,
        logits: Tensor,
        rules: ChoiceRules,
        seeds: Tensor,
        counters: Tensor,
        *,
        offset: int = 0,
        out: Tensor | None = None,
    ) -> Tensor:
        """One token a row, int64 ``[M]``, from ``[M, vocab]``, in float32 and in the order of ``sampling.py``.

        Penalty, ban, temperature, top-k (what ties with the last stays), top-p (the token that crosses the bound stays;
        of tokens that tie there the first ones go), then the draw: the token whose logit plus Gumbel noise is largest.
        The noise follows from ``(seed, counter + offset, token)`` alone (``philox.token_uniforms``; both int64
        ``[M]``), so that the rows beside it never change what a row draws. ``out``, also a column of a table, takes the
        tokens instead of new memory.
        """

    def choose_vectors(
        self,
        logits: Tensor,
        rules: ChoiceRules,
        seeds: Tensor,
        counters: Tensor,
        table: Tensor,
        *,
        offset: int = 0,
        out: Tensor | None = None,
    ) -> Tensor:
        """:meth:`choose`, and the rows of ``table`` ``[vocab or more, W]`` that belong to the tokens: ``[M, W]``."""

    def frame_input(self, codes: Tensor, table: Tensor, starts: Tensor, text: Tensor) -> Tensor:
        """Sum of the rows ``starts + codes`` of ``[R, W]``, added up in float32 and rounded once, plus ``text``.

        Args:
            codes: int64 ``[M, 16]``.
            starts: int64 ``[16]``.
            text: ``[M, W]``.
        """


class PlainOperations:
    """Plain PyTorch, on any device."""

    kernels: tuple[str, ...] = ()

    def norm(self, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        """See :class:`Operations`."""
        return rms_norm(x, gain, eps)

    def norm_linear(self, x: Tensor, gain: Tensor, eps: float, weight: Tensor) -> Tensor:
        """See :class:`Operations`."""
        return functional.linear(rms_norm(x, gain, eps), weight)

    def linear_residual(self, x: Tensor, weight: Tensor, residual: Tensor) -> Tensor:
        """See :class:`Operations`."""
        return residual + functional.linear(x, weight)

    def norm_gate_up(self, x: Tensor, gain: Tensor, eps: float, weight: Tensor) -> Tensor:
        """See :class:`Operations`."""
        both = functional.linear(rms_norm(x, gain, eps), weight)
        inner = both.shape[-1] // 2
        return functional.silu(both[:, :inner]) * both[:, inner:]

    def attend(
        self,
        qkv: Tensor,
        q_gain: Tensor,
        k_gain: Tensor,
        eps: float,
        cos: Tensor,
        sin: Tensor,
        slots: Tensor | int,
        keys: Tensor,
        values: Tensor,
        heads: int,
        out: Tensor | None = None,
    ) -> Tensor:
        """See :class:`Operations`; all ``S`` slots are read, behind a mask."""
        rows, kv_heads, limit, head_dim = keys.shape
        if isinstance(slots, int):
            slots = torch.full((rows,), slots, device=qkv.device)
        split = qkv.view(rows, heads + 2 * kv_heads, head_dim)
        here = slots.long()
        angles = Angles(cos[here][:, None], sin[here][:, None])
        queries = rotate(rms_norm(split[:, :heads], q_gain, eps), angles)
        each = torch.arange(rows, device=qkv.device)
        keys[each, :, here] = rotate(rms_norm(split[:, heads : heads + kv_heads], k_gain, eps), angles)
        values[each, :, here] = split[:, heads + kv_heads :]
        visible = torch.arange(limit, device=qkv.device) <= here[:, None]
        grouped = queries.reshape(rows, kv_heads, heads // kv_heads, head_dim)
        found = functional.scaled_dot_product_attention(grouped, keys, values, attn_mask=visible[:, None, None])
        found = found.reshape(rows, heads * head_dim)
        return found if out is None else out.copy_(found)

    def choose(
        self,
        logits: Tensor,
        rules: ChoiceRules,
        seeds: Tensor,
        counters: Tensor,
        *,
        offset: int = 0,
        out: Tensor | None = None,
    ) -> Tensor:
        """See :class:`Operations`."""
        logits = logits.float()
        if rules.seen is not None:
            penalty = rules.penalty[:, None]
            logits = torch.where(rules.seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)
        if rules.banned is not None:
            logits = logits.masked_fill(rules.banned, -math.inf)
        warped = _nucleus(_largest(logits / rules.temperature[:, None], rules.top_k), rules.top_p)
        noise = -torch.log(-torch.log(token_uniforms(seeds, counters + offset, logits.shape[1])))
        chosen = torch.where(rules.greedy, logits.argmax(-1), (warped + noise).argmax(-1))
        return chosen if out is None else out.copy_(chosen)

    def choose_vectors(
        self,
        logits: Tensor,
        rules: ChoiceRules,
        seeds: Tensor,
        counters: Tensor,
        table: Tensor,
        *,
        offset: int = 0,
        out: Tensor | None = None,
    ) -> Tensor:
        """See :class:`Operations`."""
        return functional.embedding(self.choose(logits, rules, seeds, counters, offset=offset, out=out), table)

    def frame_input(self, codes: Tensor, table: Tensor, starts: Tensor, text: Tensor) -> Tensor:
        """See :class:`Operations`."""
        return functional.embedding(codes + starts, table).sum(-2) + text


def _largest(logits: Tensor, top_k: Tensor) -> Tensor:
    """Drop what is smaller than the k-th largest, with a ``k`` for every row."""
    vocab = logits.shape[1]
    last = (top_k.long() - 1).clamp(0, vocab - 1)[:, None]
    smallest = logits.sort(-1, descending=True).values.gather(-1, last)
    return logits.masked_fill((logits < smallest) & (top_k > 0)[:, None], -math.inf)


def _nucleus(logits: Tensor, top_p: Tensor) -> Tensor:
    """``sampling._nucleus`` with a bound for every row; the stable sort settles which of equal tokens go first."""
    ascending, order = logits.sort(dim=-1, stable=True)
    dropped = torch.softmax(ascending, -1).cumsum(-1) <= (1 - top_p)[:, None]
    dropped &= (top_p < 1)[:, None]
    dropped[:, -1] = False
    return logits.masked_fill(torch.zeros_like(dropped).scatter(-1, order, dropped), -math.inf)
