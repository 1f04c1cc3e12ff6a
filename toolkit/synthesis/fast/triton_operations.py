"""The operations of a step as Triton kernels: five launches a layer, one for a choice."""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from toolkit.errors import ToolkitFault, UsageError
from toolkit.synthesis.fast.attention_kernels import attend_slots
from toolkit.synthesis.fast.kernel_arithmetic import CAN_OVERLAP
from toolkit.synthesis.fast.kernel_sizes import KernelSizes, power_of_two
from toolkit.synthesis.fast.linear_kernels import dot_products, norm_rows, row_products, sum_frames
from toolkit.synthesis.fast.operations import ChoiceRules
from toolkit.synthesis.fast.sampling_kernels import choose_tokens

__all__ = ["MOST_ROWS", "MOST_TOKENS", "TritonOperations"]

MOST_ROWS = 64
"""Rows of the largest product that is one tile high."""

MOST_TOKENS = 4096
"""Logits of one row that one program holds."""

_MOST_TILES = 8192

_KEPT_PER_WARP = 64 * 32
"""Products of one warp that stay in registers until all inputs have been read: 64 a thread, of 255 that it may have."""


class TritonOperations:
    """See :class:`toolkit.synthesis.fast.operations.Operations`, for up to 64 rows on one device and one stream.

    Programs that share a sum count their arrivals in memory of this object, so that two streams need two objects.
    """

    kernels: tuple[str, ...] = (__name__,)

    def __init__(self, device: torch.device | str, sizes: KernelSizes | None = None, *, chained: bool = False) -> None:
        """Start with the block sizes of a card.

        Args:
            chained: launch each kernel while the one before still runs (programmatic dependent launch, compute
                capability 9.0 and later); the products of few rows then load weights before they wait for it.

        Raises:
            UsageError: ``chained`` with a Triton that does not know of it.
        """
        if chained and not CAN_OVERLAP:
            raise UsageError(f"Triton {triton.__version__} cannot overlap kernels; 3.4 and later can")
        self._sizes = sizes or KernelSizes()
        self._chained = chained
        # Part of no allocation that a captured graph makes: it must keep its place as long as the graph lives.
        self._arrived = torch.zeros(_MOST_TILES, dtype=torch.int32, device=device)

    def norm(self, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        """See ``Operations``."""
        _check_whole(x, gain)
        rows, inputs = x.shape
        out = torch.empty_like(x)
        norm_rows[(rows,)](
            x, gain, out, eps, inputs, power_of_two(inputs), self._chained, **self._options(self._sizes.norm_warps)
        )
        return out

    def norm_linear(self, x: Tensor, gain: Tensor, eps: float, weight: Tensor) -> Tensor:
        """See ``Operations``."""
        return self._product(x, weight, weight.shape[0], gain=gain, eps=eps)

    def linear_residual(self, x: Tensor, weight: Tensor, residual: Tensor) -> Tensor:
        """See ``Operations``."""
        return self._product(x, weight, weight.shape[0], residual=residual)

    def norm_gate_up(self, x: Tensor, gain: Tensor, eps: float, weight: Tensor) -> Tensor:
        """See ``Operations``."""
        return self._product(x, weight, weight.shape[0] // 2, gain=gain, eps=eps, gated=True)

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
        """See ``Operations``."""
        given = [each for each in (slots, out) if isinstance(each, Tensor)]
        _check_whole(qkv, q_gain, k_gain, cos, sin, keys[0, 0], values[0, 0], *given)
        if keys.stride() != values.stride():
            raise ToolkitFault(f"keys and values must be laid out alike: strides {keys.stride()}, {values.stride()}")
        rows, kv_heads, limit, head_dim = keys.shape
        groups = rows * kv_heads
        self._check_tiles(groups)
        sizes = self._sizes
        block_slots, warps, splits = sizes.attend(groups, limit)
        padded_group, padded_dim = power_of_two(heads // kv_heads), power_of_two(head_dim)
        if out is None:
            out = qkv.new_empty(rows, heads * head_dim)
        room = groups * splits * padded_group if splits > 1 else 0
        attend_slots[(rows, kv_heads, splits)](
            qkv,
            q_gain,
            k_gain,
            cos,
            sin,
            slots if isinstance(slots, Tensor) else self._arrived,
            keys,
            values,
            out,
            out.new_empty(room * padded_dim, dtype=torch.float32),
            out.new_empty(room * 2, dtype=torch.float32),
            self._arrived,
            eps,
            head_dim**-0.5,
            slots if isinstance(slots, int) else 0,
            keys.stride(0),
            keys.stride(1),
            heads,
            kv_heads,
            head_dim,
            padded_dim,
            padded_group,
            block_slots,
            splits,
            isinstance(slots, int),
            self._chained,
            **self._options(warps),
        )
        return out

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
        """See ``Operations``."""
        out = torch.empty_like(counters) if out is None else out
        self._choose(logits, rules, seeds, counters, offset, out, None, None)
        return out

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
        """See ``Operations``."""
        out = torch.empty_like(counters) if out is None else out
        vectors = table.new_empty(logits.shape[0], table.shape[1])
        self._choose(logits, rules, seeds, counters, offset, out, table, vectors)
        return vectors

    def _choose(
        self,
        logits: Tensor,
        rules: ChoiceRules,
        seeds: Tensor,
        counters: Tensor,
        offset: int,
        out: Tensor,
        table: Tensor | None,
        vectors: Tensor | None,
    ) -> None:
        rows, vocab = logits.shape
        if vocab > MOST_TOKENS:
            raise ToolkitFault(f"a row of {vocab} logits is too long for one program; {MOST_TOKENS} fit")
        given = (rules.penalty, rules.greedy, rules.temperature, rules.top_k, rules.top_p, seeds, counters)
        _check_whole(logits, *given, *(extra for extra in (rules.seen, rules.banned, table) if extra is not None))
        width = 0 if table is None else table.shape[1]
        greedy = rules.greedy.view(torch.uint8)
        seen, banned = rules.seen, rules.banned
        choose_tokens[(rows,)](
            logits,
            greedy if seen is None else seen.view(torch.uint8),
            greedy if banned is None else banned.view(torch.uint8),
            rules.penalty,
            greedy,
            rules.temperature,
            rules.top_k,
            rules.top_p,
            seeds,
            counters,
            out,
            logits if table is None else table,
            logits if vectors is None else vectors,
            offset,
            out.stride(0),
            vocab if banned is not None and banned.dim() == 2 else 0,
            vocab,
            max(4, power_of_two(vocab)),
            seen is not None,
            banned is not None,
            width,
            max(1, power_of_two(width)),
            self._chained,
            **self._options(self._sizes.choose_warps),
        )

    def frame_input(self, codes: Tensor, table: Tensor, starts: Tensor, text: Tensor) -> Tensor:
        """See ``Operations``."""
        _check_whole(codes, table, starts, text)
        (rows, groups), width = codes.shape, table.shape[1]
        block = min(self._sizes.frame_columns, power_of_two(width))
        out = torch.empty_like(text)
        sum_frames[(rows, -(-width // block))](
            codes,
            table,
            starts,
            text,
            out,
            width,
            groups,
            power_of_two(groups),
            block,
            self._chained,
            **self._options(self._sizes.norm_warps),
        )
        return out

    def _product(
        self,
        x: Tensor,
        weight: Tensor,
        outputs: int,
        *,
        gain: Tensor | None = None,
        eps: float = 0.0,
        gated: bool = False,
        residual: Tensor | None = None,
    ) -> Tensor:
        rows, inputs = x.shape
        if rows > MOST_ROWS:
            raise ToolkitFault(f"a product takes up to {MOST_ROWS} rows, found {rows}")
        _check_whole(x, weight, *(extra for extra in (gain, residual) if extra is not None))
        out = x.new_empty(rows, outputs)
        added = out if residual is None else residual
        if rows < self._sizes.dot_rows:
            padded_rows = power_of_two(rows)
            sizes = self._sizes.row_sizes(outputs, inputs, gated, padded_rows)
            tile = padded_rows * sizes.outputs * sizes.inputs
            row_products[(-(-outputs // sizes.outputs),)](
                x,
                weight if gain is None else gain,
                weight,
                added,
                out,
                rows,
                eps,
                outputs,
                inputs,
                padded_rows,
                sizes.outputs,
                sizes.inputs,
                gain is not None,
                gated,
                residual is not None,
                rows == 1 or tile <= _KEPT_PER_WARP * sizes.warps,
                self._chained,
                **self._options(sizes.warps),
            )
            return out
        if gain is not None:
            # Once for all: each program would read and norm all rows, which is more than its share of the weights.
            x = self.norm(x, gain, eps)
        self._dot_product(x, weight, added, out, gated, residual is not None)
        return out

    def _dot_product(self, x: Tensor, weight: Tensor, residual: Tensor, out: Tensor, gated: bool, added: bool) -> None:
        (rows, inputs), outputs = x.shape, out.shape[1]
        sizes = self._sizes.dot_sizes(outputs, inputs, gated, x.element_size(), rows)
        padded_rows = max(16, power_of_two(rows))
        tiles = -(-outputs // sizes.outputs)
        self._check_tiles(tiles)
        room = tiles * sizes.splits * (2 if gated else 1) * sizes.outputs * padded_rows if sizes.splits > 1 else 0
        dot_products[(tiles, sizes.splits)](
            x,
            weight,
            residual,
            out,
            out.new_empty(room, dtype=torch.float32),
            self._arrived,
            rows,
            outputs,
            inputs,
            padded_rows,
            sizes.outputs,
            sizes.inputs,
            sizes.splits,
            gated,
            added,
            self._chained,
            **self._options(sizes.warps),
            num_stages=sizes.stages,
        )

    def _options(self, warps: int) -> dict[str, Any]:
        # The name is unknown to Triton before 3.4, so that it is not even said where it is off.
        return {"num_warps": warps, "launch_pdl": True} if self._chained else {"num_warps": warps}

    def _check_tiles(self, tiles: int) -> None:
        if tiles > _MOST_TILES:
            raise ToolkitFault(f"programs of one launch share {tiles} sums; there are counters for {_MOST_TILES}")


def _check_whole(*tensors: Tensor) -> None:
    for tensor in tensors:
        if not tensor.is_contiguous():
            raise ToolkitFault(f"a kernel reads contiguous tensors; found shape {tuple(tensor.shape)}, strides "
                               f"{tensor.stride()}")  # fmt: skip
