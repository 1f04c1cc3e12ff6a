"""The code predictor: from the talker's hidden state and the first code of a frame to its fifteen other codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from toolkit.synthesis.code_tables import CodeTables
from toolkit.synthesis.config import CODE_GROUPS, ModelConfig
from toolkit.synthesis.layers import Angles, DecoderStack, KeyValueCache, Linear, rotary_table, stack_tensors
from toolkit.synthesis.weights import Slot

__all__ = ["Choose", "CodePredictor"]

Choose = Callable[[Tensor], Tensor]
"""Picks a code from float32 logits, ``[batch, codes]`` to int64 ``[batch]``."""


class CodePredictor(nn.Module):
    """Five layers that start from an empty cache in every frame, with one head per codebook."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self._shape = config.predictor.decoder
        self.stack = DecoderStack(self._shape)
        self.heads = nn.ModuleList(Linear(config.predictor.vocab, self._shape.hidden) for _ in range(CODE_GROUPS - 1))
        wide, narrow = config.talker.decoder.hidden, self._shape.hidden
        self.projection = Linear(narrow, wide, bias=True) if narrow != wide else None
        self.inputs = torch.empty(0)
        self._starts: tuple[int, ...] = ()
        self._angles: tuple[Angles, ...] = ()

    def tensors(self, config: ModelConfig, target: str) -> Iterator[tuple[str, tuple[int, ...], Slot]]:
        """Name in the file, shape and place of every tensor; ``target`` is the prefix of this module."""
        yield from stack_tensors(self._shape, "talker.code_predictor.model.", f"{target}stack.")
        size = (config.predictor.vocab, self._shape.hidden)
        for group in range(CODE_GROUPS - 1):
            yield f"talker.code_predictor.lm_head.{group}.weight", size, Slot(f"{target}heads.{group}.weight")
        if self.projection is not None:
            name, wide = "talker.code_predictor.small_to_mtp_projection", config.talker.decoder.hidden
            yield f"{name}.weight", (self._shape.hidden, wide), Slot(f"{target}projection.weight")
            yield f"{name}.bias", (self._shape.hidden,), Slot(f"{target}projection.bias")

    def prepare(self, tables: CodeTables) -> None:
        """Project the embedding tables once, and lay out the angles; call after loading.

        Projecting all rows beforehand is the same arithmetic as projecting each row when it is used.
        """
        self.stack.prepare()
        self.inputs = self.project(tables.table)
        self._starts = tables.starts
        norm = self.stack.norm
        table = rotary_table(
            self._shape.head_dim, self._shape.rope_theta, CODE_GROUPS + 1, dtype=norm.dtype, device=norm.device
        )
        # The first pass reads two rows, every later one a single row.
        self._angles = (table.span(0, 2), *(table.span(at, at + 1) for at in range(2, CODE_GROUPS)))

    def project(self, rows: Tensor) -> Tensor:
        """Rows of the talker's width as the predictor reads them: the identity where both are equally wide (0.6B)."""
        rows = rows.to(self.stack.norm.dtype)
        if self.projection is None:
            return rows
        projected: Tensor = self.projection(rows)
        return projected

    def frame(self, hidden: Tensor, first: Tensor, choose: Choose) -> Tensor:
        """One frame.

        Args:
            hidden: the talker's normed hidden state, ``[batch, talker width]``.
            first: code of codebook 0, int64 ``[batch]``; for a row that has ended, any id of the talker's vocabulary.
            choose: picks a code from the float32 logits of one codebook; called fifteen times, in order.

        Returns:
            int64 ``[batch, 16]``.
        """
        inputs, starts = self.inputs, self._starts
        cache = self.new_cache(first.shape[0])
        x = torch.stack((self.project(hidden), nn.functional.embedding(first, inputs)), 1)
        codes = [first]
        for group, head in enumerate(self.heads):
            last = self.stack(x, self._angles[group], cache, None)[:, -1]
            code = choose(head(self.stack.normed(last)).float())
            codes.append(code)
            if group + 2 < CODE_GROUPS:
                x = nn.functional.embedding(code + starts[group + 1], inputs)[:, None]
        return torch.stack(codes, 1)

    def new_cache(self, batch: int) -> KeyValueCache:
        """A cache for one frame: sixteen positions."""
        norm = self.stack.norm
        return KeyValueCache(self._shape, batch, CODE_GROUPS, CODE_GROUPS, dtype=norm.dtype, device=norm.device)
