"""Layers of the codec, causal and with memory: a sequence may come in pieces, and the pieces join without a seam.

Everything runs on ``[batch, time, channels]``. In that layout a transposed convolution is a causal convolution whose
outputs only have to be read in another order, and no layer has to transpose. A layer that looks back registers the
columns it needs with a :class:`HistoryLayout`; between pieces they live in a :class:`History`. Columns of zeros are the
zero padding in front of a sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from toolkit.synthesis.codec_config import CodecStack
from toolkit.synthesis.layers import Angles, Linear, pack_linears, packing_supported, rms_norm, rotate
from toolkit.synthesis.weights import SafetensorsFile, Slot

__all__ = [
    "CausalConv",
    "CodecAttention",
    "ConvNeXt",
    "GatedLayer",
    "History",
    "HistoryLayout",
    "Norm",
    "Pointwise",
    "SnakeBeta",
    "TransposedConv",
    "codec_angles",
    "codec_turns",
    "divided_codebook",
    "exact_convolutions",
    "file_tensors",
    "fill_from_file",
    "meta_parameter",
    "prepare_all",
    "tf32_arithmetic",
    "window_mask",
]

USAGE_FLOOR = 1e-5
"""A codebook entry that was used less often is divided by this instead of its usage count."""

_PACKED_ELEMENTS = 2**20  # below this oneDNN re-lays a weight at each call in no time, and picks better kernels


class HistoryLayout:
    """Collects, while a network is built, the columns that its layers need from the past."""

    def __init__(self) -> None:
        self.columns: list[tuple[int, int]] = []

    def add(self, count: int, width: int) -> int:
        """Register ``count`` columns of ``width`` numbers; returns the place, by which the layer finds them."""
        self.columns.append((count, width))
        return len(self.columns) - 1

    def zeros(self, batch: int, *, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
        """The past of a sequence that has just begun."""
        return tuple(torch.zeros(batch, count, width, dtype=dtype, device=device) for count, width in self.columns)


class History:
    """The past of one call: what came in, and what the next call will need.

    The tensors given are not changed, unless ``in_place``: then what the next call needs is written into them.
    """

    def __init__(self, past: Sequence[Tensor], *, in_place: bool = False) -> None:
        self.tensors = list(past)
        self._in_place = in_place

    def extend(self, place: int, new: Tensor) -> Tensor:
        """The columns of the past, then ``new``: ``[batch, columns + time, width]``; the last columns are kept."""
        past = self.tensors[place]
        joined = torch.cat((past, new), 1)
        kept = joined[:, joined.shape[1] - past.shape[1] :]
        if self._in_place:
            past.copy_(kept)
        else:
            # A copy, since a view would keep the whole sequence in memory.
            self.tensors[place] = kept.clone()
        return joined


def meta_parameter(*shape: int) -> nn.Parameter:
    """A parameter that has a shape and no memory yet."""
    return nn.Parameter(torch.empty(shape, device="meta"), requires_grad=False)


class Norm(nn.Module):
    """Gain and offset of a layer norm over the channels."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = meta_parameter(width)
        self.bias = meta_parameter(width)
        self._eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], self.weight, self.bias, self._eps)


def file_tensors(network: nn.Module, prefix: str) -> Iterator[tuple[str, tuple[int, ...], Slot]]:
    """Name in the file, shape, and place of every parameter of a network whose parts are named as in the file.

    The file has a level ``conv`` between a convolution and its weight; the classes here that need it say so.
    """
    for path, part in network.named_modules():
        level = getattr(part, "file_level", "")
        for name, parameter in part.named_parameters(recurse=False):
            place = f"{path}.{name}" if path else name
            named = f"{path}.{level}{name}" if path else f"{level}{name}"
            yield prefix + named, tuple(parameter.shape), Slot(place)


def fill_from_file(
    network: nn.Module,
    table: Mapping[str, tuple[tuple[int, ...], Slot | None]],
    file: SafetensorsFile,
    *,
    elsewhere: str,
    device: torch.device | str,
    dtype: torch.dtype,
) -> None:
    """Check and read a network's part of the codec file; ``elsewhere`` is the prefix of the part that is not its own.

    ``table`` gives each tensor's shape and place; one without a place is only checked. Nothing is allocated before all
    of it is checked. Raises BadModelFolder.
    """
    file.check_shapes({name: shape for name, (shape, _) in table.items()}, elsewhere=(elsewhere,))
    places = {name: slot for name, (_, slot) in table.items() if slot is not None}
    file.load_into(network, places, device, dtype)


def prepare_all(network: nn.Module, *, pack: bool) -> None:
    """Call ``prepare()`` of every part of a network after its weights were loaded.

    ``pack`` gives large weights on a CPU to oneDNN in the layout that its kernels read; see :meth:`Linear.pack`.
    Otherwise a convolution re-lays its weight at every call, which for a few columns takes far longer than the
    convolution itself (figures in docs/parity.md).
    """
    parts = [part for part in network.modules() if part is not network]
    for part in parts:
        prepare = getattr(part, "prepare", None)
        if prepare is not None:
            prepare()
    if pack:
        pack_linears(network)
        for part in parts:
            if isinstance(part, CausalConv | TransposedConv):
                part.taps.pack()


class CausalConv(nn.Module):
    """A convolution that sees the present and the past.

    It takes ``[batch, time, inputs]``, time a multiple of the stride, to ``[batch, time / stride, outputs]``.
    The weight is ``[outputs, inputs / groups, kernel]`` as in the file.
    """

    file_level = "conv."

    def __init__(
        self,
        layout: HistoryLayout,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        dilation: int = 1,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = meta_parameter(outputs, inputs // groups, kernel)
        self.bias = meta_parameter(outputs) if bias else None
        self.stride = stride
        self.columns = (kernel - 1) * dilation + 1 - stride
        self._place = layout.add(self.columns, inputs) if self.columns else None
        self.taps = _Taps((dilation, stride, groups))

    def prepare(self) -> None:
        """Lay the weight out for ``[batch, time, channels]``; call once, after loading."""
        weight, self.weight = self.weight.detach(), meta_parameter(*self.weight.shape)
        self.taps.take(weight.transpose(1, 2).contiguous())

    def forward(self, x: Tensor, history: History) -> Tensor:
        joined = x if self._place is None else history.extend(self._place, x)
        return self.taps(joined, self.bias)


class TransposedConv(nn.Module):
    """A transposed convolution that makes ``stride`` columns of one; its kernel is ``stride`` or twice that.

    Block ``t`` of the output is the first half of the kernel on column ``t`` plus the second half on column ``t - 1``.
    That is a causal convolution with ``stride * outputs`` outputs. The weight is ``[inputs, outputs, kernel]``.
    """

    file_level = "conv."

    def __init__(self, layout: HistoryLayout, inputs: int, outputs: int, stride: int, *, overlaps: bool) -> None:
        super().__init__()
        self.weight = meta_parameter(inputs, outputs, 2 * stride if overlaps else stride)
        self.bias = meta_parameter(outputs)
        self._outputs, self._stride = outputs, stride
        self._place = layout.add(1, inputs) if overlaps else None
        self.taps = _Taps((1, 1, 1))

    def prepare(self) -> None:
        """Turn the weight into that of the causal convolution; call once, after loading."""
        inputs, outputs, kernel = self.weight.shape
        weight, self.weight = self.weight.detach(), meta_parameter(*self.weight.shape)
        halves = weight.view(inputs, outputs, kernel // self._stride, self._stride).permute(3, 1, 2, 0)
        del weight
        self.taps.take(halves.flip(2).reshape(self._stride * outputs, -1, inputs))
        self.bias = nn.Parameter(self.bias.detach().repeat(self._stride), requires_grad=False)

    def forward(self, x: Tensor, history: History) -> Tensor:
        joined = x if self._place is None else history.extend(self._place, x)
        return self.taps(joined, self.bias).reshape(x.shape[0], x.shape[1] * self._stride, self._outputs)


class _Taps:
    """A convolution without padding over ``[batch, time, channels]``, as a 2-D one of height 1, channels last."""

    def __init__(self, geometry: tuple[int, int, int]) -> None:
        self._dilation, self._stride, self._groups = geometry
        self._weight: Tensor
        self._packed: Tensor | None = None

    def take(self, weight: Tensor) -> None:
        """Take a contiguous weight ``[outputs, kernel, inputs / groups]`` over."""
        self._weight = weight.transpose(1, 2).unsqueeze(2)

    @property
    def by_output(self) -> Tensor:
        """The weight ``[outputs, kernel, inputs / groups]``; on the meta device where oneDNN has it."""
        return self._weight.squeeze(2).transpose(1, 2)

    @property
    def dilation(self) -> int:
        """Columns from one tap to the next."""
        return self._dilation

    def pack(self) -> None:
        """Give the weight to oneDNN, if it is large, lies on a CPU, and has a dtype that can be packed."""
        weight = self._weight
        if weight.device.type != "cpu" or weight.numel() < _PACKED_ELEMENTS or not packing_supported(weight.dtype):
            return
        if hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
            self._packed = torch._C._nn.mkldnn_reorder_conv2d_weight(
                weight.to_mkldnn(), [0, 0], [1, self._stride], [1, self._dilation], self._groups
            )
            self._weight = torch.empty_like(weight, device="meta")

    def __call__(self, x: Tensor, bias: Tensor | None) -> Tensor:
        image = x.transpose(1, 2).unsqueeze(2)
        stride, dilation = (1, self._stride), (1, self._dilation)
        if self._packed is not None:
            found: Tensor = torch.ops.mkldnn._convolution_pointwise(
                image, self._packed, bias, (0, 0), stride, dilation, self._groups, "none", [], ""
            )
        else:
            found = functional.conv2d(image, self._weight, bias, stride, 0, dilation, self._groups)
        return found.squeeze(2).transpose(1, 2).contiguous()


class Pointwise(nn.Module):
    """A convolution of kernel 1; the weight is ``[outputs, inputs, 1]``."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True, file_level: str = "") -> None:
        super().__init__()
        self.file_level = file_level
        self.weight = meta_parameter(outputs, inputs, 1)
        self.bias = meta_parameter(outputs) if bias else None

    def prepare(self) -> None:
        """Drop the axis of length 1; call once, after loading."""
        self.weight = nn.Parameter(self.weight.detach().squeeze(-1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


class SnakeBeta(nn.Module):
    """``x + sin(x * exp(alpha)) ** 2 / (exp(beta) + 1e-9)``, alpha and beta one a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = meta_parameter(channels)
        self.beta = meta_parameter(channels)
        self._frequency: Tensor
        self._strength: Tensor

    def prepare(self) -> None:
        """Compute what does not depend on the input; call once, after loading."""
        self._frequency = self.alpha.detach().exp()
        self._strength = 1.0 / (self.beta.detach().exp() + 1e-9)

    def forward(self, x: Tensor) -> Tensor:
        waves = (x * self._frequency).sin_().square_()
        return torch.addcmul(x, waves, self._strength)


class ConvNeXt(nn.Module):
    """Depthwise convolution, layer norm, two dense layers with GELU between, scaled and added to the input."""

    def __init__(self, layout: HistoryLayout, width: int) -> None:
        super().__init__()
        self.dwconv = CausalConv(layout, width, width, 7, groups=width)
        self.norm = Norm(width, 1e-6)
        self.pwconv1 = Linear(4 * width, width, bias=True)
        self.pwconv2 = Linear(width, 4 * width, bias=True)
        self.gamma = meta_parameter(width)

    def forward(self, x: Tensor, history: History) -> Tensor:
        y = self.norm(self.dwconv(x, history))
        result: Tensor = x + self.gamma * self.pwconv2(functional.gelu(self.pwconv1(y)))
        return result


class CodecAttention(nn.Module):
    """Attention with rotary positions and as many key heads as query heads, without biases and without norms."""

    def __init__(self, shape: CodecStack) -> None:
        super().__init__()
        self._heads = shape.heads
        self.qkv = Linear(3 * shape.inner, shape.hidden)
        self.o_proj = Linear(shape.hidden, shape.inner)

    def project(self, x: Tensor, angles: Angles) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys with their positions, and values: three of ``[batch, time, heads, head_dim]``."""
        batch, time, _ = x.shape
        queries, keys, values = self.qkv(x).view(batch, time, 3, self._heads, -1).unbind(2)
        return rotate(queries, angles), rotate(keys, angles), values

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Look from every query at the keys that the mask shows; without a mask at all that are not later."""
        batch, time = queries.shape[:2]
        q, k, v = (part.transpose(1, 2) for part in (queries, keys, values))
        found = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        attended: Tensor = self.o_proj(found.transpose(1, 2).reshape(batch, time, -1))
        return attended


class GatedLayer(nn.Module):
    """A layer of the decoder's transformer: attention over a window and SwiGLU, each normed before and scaled after."""

    def __init__(self, layout: HistoryLayout, shape: CodecStack, window: int) -> None:
        super().__init__()
        self._eps = shape.norm_eps
        self._keys = layout.add(window - 1, shape.inner)
        self._values = layout.add(window - 1, shape.inner)
        self.input_norm = meta_parameter(shape.hidden)
        self.attention = CodecAttention(shape)
        self.attention_scale = meta_parameter(shape.hidden)
        self.post_norm = meta_parameter(shape.hidden)
        self.gate_up = Linear(2 * shape.intermediate, shape.hidden)
        self.down = Linear(shape.hidden, shape.intermediate)
        self.mlp_scale = meta_parameter(shape.hidden)

    def forward(self, x: Tensor, angles: Angles, mask: Tensor, history: History) -> Tensor:
        queries, keys, values = self.attention.project(rms_norm(x, self.input_norm, self._eps), angles)
        seen = (x.shape[0], -1, *queries.shape[2:])
        keys = history.extend(self._keys, keys.flatten(2)).view(seen)
        values = history.extend(self._values, values.flatten(2)).view(seen)
        x = x + self.attention_scale * self.attention.attend(queries, keys, values, mask)
        gate, up = self.gate_up(rms_norm(x, self.post_norm, self._eps)).chunk(2, -1)
        result: Tensor = x + self.mlp_scale * self.down(functional.silu(gate) * up)
        return result


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Float32 convolutions of cuDNN in float32.

    PyTorch lets them round to TF32 (10 bits of mantissa) by default, which moves the waveform by more than 1e-4 and
    flips reference codes. Serves as a decorator too; does nothing on a CPU.
    """
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = allowed


@contextmanager
def tf32_arithmetic() -> Iterator[None]:
    """Float32 convolutions and products in TF32: inputs rounded to 10 bits of mantissa, sums in float32.

    Work that is captured inside stays so when it is replayed. Does nothing on a CPU.
    """
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products


def codec_turns(stack: CodecStack, device: torch.device) -> Tensor:
    """Turns per position of each pair of a head, float64 ``[head_dim / 2]``; rounded to float32, as in the official
    code."""
    exponents = torch.arange(0, stack.head_dim, 2, dtype=torch.float32, device=device) / stack.head_dim
    turns: Tensor = (1.0 / stack.rope_theta**exponents).double()
    return turns


def codec_angles(turns: Tensor, positions: Tensor, dtype: torch.dtype) -> Angles:
    """Angles of positions ``[time]`` or ``[batch, time]`` for :func:`rotate`: ``[1 or batch, time, 1, head_dim]``.

    Angles are products in float64: at position 30,000 (40 minutes) a float32 angle could be off by 0.001.

    Args:
        turns: from :func:`codec_turns`.
        positions: whole numbers, on the same device.
        dtype: of the result.
    """
    angles = (positions if positions.dim() == 2 else positions[None]).double()[..., None] * turns
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    return Angles(torch.cat((cos, cos), -1)[:, :, None], torch.cat((-sin, sin), -1)[:, :, None])


def window_mask(positions: Tensor, window: int) -> Tensor:
    """What each of the positions sees of the ``window - 1`` columns before them and of themselves.

    Args:
        positions: ``[time]``, or ``[batch, time]`` where rows are at different places.
        window: columns that a position sees, its own included.

    Returns:
        Booleans ``[time, window - 1 + time]`` or ``[batch, 1, time, window - 1 + time]``: True for the last ``window``
        columns up to the position's own, except those before position 0, which do not exist.
    """
    time = positions.shape[-1]
    columns = torch.arange(window - 1 + time, device=positions.device)
    rows = torch.arange(time, device=positions.device)[:, None]
    near = (columns >= rows) & (columns <= rows + window - 1)
    if positions.dim() == 1:
        return near & (columns + positions[0] >= window - 1)
    exists = columns + positions[:, :1] >= window - 1
    return (near & exists[:, None])[:, None]


def divided_codebook(sums: Tensor, usage: Tensor) -> Tensor:
    """Entries of codebooks: sums of what was assigned to them over how often; ``[rows, width]`` and ``[rows]``.

    The division is in the dtype of the operands, which is how the official code rounds in bfloat16.
    """
    return sums / usage.clamp(min=USAGE_FLOOR)[:, None]
