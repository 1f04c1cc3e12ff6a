"""Decoder layers as talker and code predictor use them: RMS norms, rotary positions, SwiGLU, grouped-query attention.

Roundings follow the official bfloat16 model: statistics of norms, angles and the softmax are float32; each result named
in a comment below is rounded to the model's dtype. With float32 weights all of this is float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from toolkit.errors import ToolkitFault
from toolkit.synthesis.config import DecoderShape
from toolkit.synthesis.weights import Slot

__all__ = [
    "Angles",
    "DecoderLayer",
    "DecoderStack",
    "KeyValueCache",
    "Linear",
    "attention",
    "pack_linears",
    "packing_supported",
    "rms_norm",
    "rotate",
    "rotary_table",
    "stack_tensors",
]

_GROWTH = 512


class Linear(nn.Module):
    """A matrix product with an optional bias, built without memory; :meth:`pack` re-lays the weight for a CPU."""

    def __init__(self, outputs: int, inputs: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, device="meta"), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(outputs, device="meta"), requires_grad=False) if bias else None
        self._packed: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """``[..., inputs]`` to ``[..., outputs]``."""
        if self._packed is None:
            return functional.linear(x, self.weight, self.bias)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")
        return product

    def pack(self) -> None:
        """Have oneDNN do the product, with a BF16 weight in the layout that its kernels read; the plain one is freed.

        For a single row oneDNN reads weights faster than PyTorch's own path on most CPUs (docs/parity.md, at its end);
        a float32 weight as fast in its plain layout, so that it stays as it is. The numbers differ in the last bit.
        """
        if self._packed is not None:
            return
        weight = self.weight.detach()
        if weight.dtype == torch.float32:
            self._packed = weight
        else:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, 1)
            self.weight = nn.Parameter(torch.empty_like(weight, device="meta"), requires_grad=False)


def packing_supported(dtype: torch.dtype) -> bool:
    """Whether this build of PyTorch and this processor have oneDNN products of the dtype."""
    built = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not built or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


def pack_linears(module: nn.Module) -> None:
    """Pack every :class:`Linear` that lies on a CPU in a dtype that can be packed; see :meth:`Linear.pack`."""
    for part in module.modules():
        if isinstance(part, Linear) and part.weight.device.type == "cpu" and packing_supported(part.weight.dtype):
            part.pack()


def rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """Root-mean-square norm over the last axis: statistics in float32, rounded to the dtype of ``x``, then the gain."""
    wide = x.float()
    # A sum and a product instead of a mean: the same for widths that are powers of two, and fewer steps on a CPU.
    mean_square = (wide * wide).sum(-1, keepdim=True) * (1.0 / x.shape[-1])
    return gain * (wide * torch.rsqrt(mean_square + eps)).to(x.dtype)


@dataclass(frozen=True)
class Angles:
    """Cosines and sines of positions, ``[..., head_dim]``; the first half of ``sin`` is negated, see :func:`rotate`."""

    cos: Tensor
    sin: Tensor

    def at(self, positions: Tensor) -> Angles:
        """Rows for positions ``[batch, length]``, shaped ``[batch, length, 1, head_dim]`` to apply to heads."""
        return Angles(self.cos[positions].unsqueeze(-2), self.sin[positions].unsqueeze(-2))

    def span(self, start: int, stop: int) -> Angles:
        """Rows for the positions ``start .. stop - 1`` of every batch row, shaped ``[1, length, 1, head_dim]``."""
        return Angles(self.cos[None, start:stop, None], self.sin[None, start:stop, None])


def rotary_table(head_dim: int, theta: float, positions: int, *, dtype: torch.dtype, device: torch.device) -> Angles:
    """Angles of the positions 0 to ``positions - 1``: float32 throughout, rounded to ``dtype`` at the end."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim
    turns = torch.arange(positions, dtype=torch.float32, device=device)[:, None] * (1.0 / theta**exponents)
    cos, sin = turns.cos(), turns.sin()
    return Angles(torch.cat((cos, cos), -1).to(dtype), torch.cat((-sin, sin), -1).to(dtype))


def rotate(x: Tensor, angles: Angles) -> Tensor:
    """Rotary position embedding in the half-split layout; both products and their sum are rounded.

    Negating the sine instead of half of ``x`` gives the same bits.
    """
    swapped = x.roll(x.shape[-1] // 2, -1)
    return x * angles.cos + swapped * angles.sin


def attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Grouped-query attention with scale ``head_dim ** -0.5``.

    Args:
        queries: ``[batch, length, heads, head_dim]``.
        keys, values: ``[batch, kv_heads, slots, head_dim]``; the queries are the last ``length`` slots.
        mask: True where a query may look, ``[batch, 1, length or 1, slots]``; None means all that is not later.

    Returns:
        ``[batch, length, heads * head_dim]``.
    """
    batch, length, heads, head_dim = queries.shape
    if length == 1:
        # The heads that share a key head become the rows of one small product; nothing is repeated in memory.
        grouped = queries.reshape(batch, keys.shape[1], heads // keys.shape[1], head_dim)
        found = functional.scaled_dot_product_attention(grouped, keys, values, attn_mask=mask)
        return found.reshape(batch, 1, heads * head_dim)
    found = functional.scaled_dot_product_attention(
        queries.transpose(1, 2), keys, values, attn_mask=mask, is_causal=mask is None, enable_gqa=True
    )
    return found.transpose(1, 2).reshape(batch, length, heads * head_dim)


class KeyValueCache:
    """Keys and values of all layers, ``[layers, batch, kv_heads, slots, head_dim]``.

    Slots are allocated in steps of 512 up to ``limit``, so that memory follows the length that is really reached.
    """

    def __init__(
        self, shape: DecoderShape, batch: int, first: int, limit: int, *, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.limit = limit
        self.length = 0
        size = (shape.layers, batch, shape.kv_heads, min(limit, first), shape.head_dim)
        self.keys = torch.empty(size, dtype=dtype, device=device)
        self.values = torch.empty(size, dtype=dtype, device=device)

    @property
    def capacity(self) -> int:
        """Slots that are allocated."""
        return self.keys.shape[3]

    def reserve(self, stop: int) -> None:
        """Make room for the slots below ``stop``.

        Raises:
            ToolkitFault: more slots than the limit; a cache never wraps around or drops what it holds.
        """
        if stop > self.limit:
            raise ToolkitFault(f"the key/value cache ends at {self.limit} positions, {stop} were asked for")
        if stop > self.capacity:
            more = min(self.limit, -(-stop // _GROWTH) * _GROWTH)
            self.keys, self.values = (self._grown(table, more) for table in (self.keys, self.values))

    def _grown(self, table: Tensor, slots: int) -> Tensor:
        bigger = table.new_empty((*table.shape[:3], slots, table.shape[4]))
        bigger[:, :, :, : self.length] = table[:, :, :, : self.length]
        return bigger


class DecoderLayer(nn.Module):
    """One layer: attention and SwiGLU, each behind a norm. Projections that read the same input are one matrix."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self._heads, self._kv_heads, self._head_dim = shape.heads, shape.kv_heads, shape.head_dim
        self._eps = shape.rms_eps
        self.input_norm = _gain(shape.hidden)
        self.q_norm = _gain(shape.head_dim)
        self.k_norm = _gain(shape.head_dim)
        self.post_norm = _gain(shape.hidden)
        self.qkv = Linear(shape.qkv_rows, shape.hidden)
        self.out = Linear(shape.hidden, shape.heads * shape.head_dim)
        self.gate_up = Linear(2 * shape.intermediate, shape.hidden)
        self.down = Linear(shape.hidden, shape.intermediate)
        self.qk_norm: Tensor
        self.register_buffer("qk_norm", torch.empty(shape.heads + shape.kv_heads, shape.head_dim, device="meta"), False)

    def prepare(self) -> None:
        """Lay the gains of all query and key heads into one table; call after loading."""
        self.qk_norm = torch.cat((self.q_norm.expand(self._heads, -1), self.k_norm.expand(self._kv_heads, -1)))

    def forward(
        self, x: Tensor, angles: Angles, keys: Tensor, values: Tensor, start: int, mask: Tensor | None
    ) -> Tensor:
        """``[batch, length, hidden]`` to the same; writes the slots from ``start`` on of this layer's cache."""
        batch, length, _ = x.shape
        heads, stop = self._heads, start + length
        roped_heads = heads + self._kv_heads
        qkv = self.qkv(rms_norm(x, self.input_norm, self._eps)).view(batch, length, -1, self._head_dim)
        roped = rotate(rms_norm(qkv[:, :, :roped_heads], self.qk_norm, self._eps), angles)
        keys[:, :, start:stop] = roped[:, :, heads:].transpose(1, 2)
        values[:, :, start:stop] = qkv[:, :, roped_heads:].transpose(1, 2)
        found = attention(roped[:, :, :heads], keys[:, :, :stop], values[:, :, :stop], mask)
        x = x + self.out(found)
        both = self.gate_up(rms_norm(x, self.post_norm, self._eps))
        inner = both.shape[-1] // 2
        result: Tensor = x + self.down(functional.silu(both[..., :inner]) * both[..., inner:])
        return result


class DecoderStack(nn.Module):
    """The layers and the final norm."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.layers = nn.ModuleList(DecoderLayer(shape) for _ in range(shape.layers))
        self.norm = _gain(shape.hidden)
        self._layers: tuple[DecoderLayer, ...] = ()

    def prepare(self) -> None:
        """Call after loading."""
        self._layers = tuple(layer for layer in self.layers if isinstance(layer, DecoderLayer))
        for layer in self._layers:
            layer.prepare()

    def forward(self, x: Tensor, angles: Angles, cache: KeyValueCache, mask: Tensor | None) -> Tensor:
        """Run ``[batch, length, hidden]`` behind what the cache holds; the result is not normed yet."""
        start = cache.length
        cache.reserve(start + x.shape[1])
        for index, layer in enumerate(self._layers):
            x = layer(x, angles, cache.keys[index], cache.values[index], start, mask)
        cache.length = start + x.shape[1]
        return x

    def normed(self, x: Tensor) -> Tensor:
        """The final norm."""
        return rms_norm(x, self.norm, self.shape.rms_eps)


def stack_tensors(shape: DecoderShape, source: str, target: str) -> Iterator[tuple[str, tuple[int, ...], Slot]]:
    """Name in the file, shape, and place of every tensor of a stack.

    Args:
        source: prefix of the names in the file, for example ``talker.model.``.
        target: prefix of the :class:`DecoderStack` inside the module that is loaded, for example ``stack.``.
    """
    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    wide, inner = shape.hidden, shape.intermediate
    per_layer: Mapping[str, tuple[tuple[int, ...], str, int]] = {
        "input_layernorm.weight": ((wide,), "input_norm", 0),
        "post_attention_layernorm.weight": ((wide,), "post_norm", 0),
        "self_attn.q_norm.weight": ((shape.head_dim,), "q_norm", 0),
        "self_attn.k_norm.weight": ((shape.head_dim,), "k_norm", 0),
        "self_attn.q_proj.weight": ((query, wide), "qkv.weight", 0),
        "self_attn.k_proj.weight": ((key, wide), "qkv.weight", query),
        "self_attn.v_proj.weight": ((key, wide), "qkv.weight", query + key),
        "self_attn.o_proj.weight": ((wide, query), "out.weight", 0),
        "mlp.gate_proj.weight": ((inner, wide), "gate_up.weight", 0),
        "mlp.up_proj.weight": ((inner, wide), "gate_up.weight", inner),
        "mlp.down_proj.weight": ((wide, inner), "down.weight", 0),
    }
    for layer in range(shape.layers):
        for name, (size, place, row) in per_layer.items():
            yield f"{source}layers.{layer}.{name}", size, Slot(f"{target}layers.{layer}.{place}", row)
    yield f"{source}norm.weight", (wide,), Slot(f"{target}norm")


def _gain(width: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(width, device="meta"), requires_grad=False)
