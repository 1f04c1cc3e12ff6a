"""The codec's stages from 50 Hz on as Triton kernels: 24 launches from columns to samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import triton
from torch import Tensor

from toolkit.errors import ToolkitFault, UsageError
from toolkit.synthesis.codec_decoder import CodecDecoder
from toolkit.synthesis.codec_layers import CausalConv, Pointwise, SnakeBeta, TransposedConv
from toolkit.synthesis.fast.codec_kernels import convolve, last_convolution, residual_unit
from toolkit.synthesis.fast.codec_sizes import CodecSizes, Tile
from toolkit.synthesis.fast.kernel_arithmetic import CAN_OVERLAP

__all__ = ["CodecBlocks", "Products", "card_sizes"]

Products = Literal["ieee", "tf32", "bf16"]
"""How matrices are multiplied; sums and snakes are float32 in each.

"ieee": in float32. "tf32": float32 rounded to 10 bits of mantissa, on matrix units. "bf16": bfloat16.
"""

_MOST_TILES = 8192
_ROOMY_BYTES = 160 * 1024
_ROOMY_STAGE_BYTES = 128 * 1024  # the rest is for what a kernel keeps besides

_MOST_FRAMES = 8192  # places inside a tensor are 32 bits wide


@dataclass(frozen=True)
class _Snake:
    """``frequency`` and ``strength`` of :class:`SnakeBeta`, float32, one an output of the convolution before it."""

    frequency: Tensor
    strength: Tensor

    @classmethod
    def of(cls, snake: SnakeBeta, repeats: int = 1) -> _Snake:
        frequency, strength = snake.alpha.detach().float().exp(), 1.0 / (snake.beta.detach().float().exp() + 1e-9)
        return cls(frequency.repeat(repeats), strength.repeat(repeats))


@dataclass(frozen=True)
class _Conv:
    """A convolution and the snake behind it. ``weight`` is ``[outputs, taps, inputs]``."""

    weight: Tensor
    bias: Tensor
    dilation: int
    snake: _Snake

    @property
    def outputs(self) -> int:
        return self.weight.shape[0]

    @property
    def taps(self) -> int:
        return self.weight.shape[1]

    @property
    def inputs(self) -> int:
        return self.weight.shape[2]

    @property
    def columns(self) -> int:
        """Columns of the past that it reads."""
        return (self.taps - 1) * self.dilation


@dataclass(frozen=True)
class _Block:
    """``rate`` columns of one, then residual units of two convolutions each."""

    rate: int
    head: _Conv
    units: tuple[tuple[_Conv, _Conv], ...]


class CodecBlocks:
    """What ``CodecDecoder.decoder`` does, and the clamp behind it, as kernels on one device and one stream.

    The past that it reads and writes is the last :attr:`places` tensors of a decoder's history, in :attr:`dtype`; they
    mean what they mean to the decoder, so that one can go on where the other left off.

    Attributes:
        places: how many tensors of a history these stages have.
        dtype: of the history and of what convolutions read: float32, or bfloat16 for products in bfloat16.
        kernels: names of the modules that launch them.
    """

    kernels: tuple[str, ...] = (__name__,)

    def __init__(
        self,
        decoder: CodecDecoder,
        products: Products = "tf32",
        *,
        residuals: torch.dtype = torch.float32,
        sizes: CodecSizes | None = None,
        rows_at_once: int = 128,
        chained: bool = False,
    ) -> None:
        """Take the weights of the decoder where they lie; with "tf32" they are rounded there, as a product would do.

        Args:
            decoder: loaded without packing; in float32 for "ieee" and "tf32".
            products: see :data:`Products`.
            residuals: what is added to a residual unit's result is kept in this dtype.
            sizes: block sizes; None: those of :func:`card_sizes`.
            rows_at_once: frames of all sequences together that are taken through all stages at once. Memory grows with
                it, by 3 MB each in float32 at the published sizes; the result does not depend on it.
            chained: launch each kernel while the one before still runs; compute capability 9.0 and later.

        Raises:
            UsageError: products that there are not, or ``chained`` with a Triton that does not know of it.
            ToolkitFault: a decoder in another dtype or whose weights were packed.
        """
        if products not in get_args(Products):
            raise UsageError(f"products must be one of {', '.join(get_args(Products))}, not {products!r}")
        if not 1 <= rows_at_once <= _MOST_FRAMES:
            raise UsageError(f"rows_at_once must be from 1 to {_MOST_FRAMES}, not {rows_at_once}")
        if chained and not CAN_OVERLAP:
            raise UsageError(f"Triton {triton.__version__} cannot overlap kernels; 3.4 and later can")
        if products != "bf16" and decoder.dtype != torch.float32:
            raise ToolkitFault(f"products in {products} need a decoder in float32, found {decoder.dtype}")
        self.dtype = torch.bfloat16 if products == "bf16" else torch.float32
        self._products = products
        self._tf32 = products == "tf32"
        self._residuals = residuals
        self._sizes = sizes or card_sizes(decoder.device)
        self._rows_at_once = rows_at_once
        self._chained = chained
        stages: list[Any] = list(decoder.decoder)
        first, *blocks, snake, last = stages
        snakes = [each.block[0] for each in blocks] + [snake]
        self._first = self._conv(first, _Snake.of(snakes[0]))
        self._blocks = [self._block(each.block, after) for each, after in zip(blocks, snakes[1:], strict=True)]
        self._last = self._conv(last, _Snake.of(snake))
        self._columns = [(conv.columns, conv.inputs) for conv in self._convs() if conv.columns]
        self.places = len(self._columns)
        if decoder.layout.columns[-self.places :] != self._columns:
            raise ToolkitFault("the decoder's history is laid out otherwise than its kernels read it")
        self._last_weight = self._last.weight[0].contiguous()
        self._per_frame = math.prod(decoder.config.ratios)
        # Part of no allocation that a captured graph makes: it must keep its place as long as the graph lives.
        self._arrived = torch.zeros(_MOST_TILES, dtype=torch.int32, device=decoder.device)

    def zeros(self, batch: int) -> tuple[Tensor, ...]:
        """The past of sequences that have just begun: :attr:`places` tensors ``[batch, columns, channels]``."""
        return tuple(
            torch.zeros(batch, count, width, dtype=self.dtype, device=self._arrived.device)
            for count, width in self._columns
        )

    def step(self, x: Tensor, history: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Take the next columns to samples.

        Args:
            x: ``[batch, time, latent]``, four columns a frame, of any floating dtype.
            history: :attr:`places` tensors, of :meth:`zeros` or the step before; they stay as they are.

        Returns:
            Samples ``[batch, time * 480]``, float32 in [-1, 1], and the history for the next step, in memory of its
            own.

        Raises:
            ToolkitFault: a history of another shape or dtype.
        """
        self._check(x, history)
        batch, time, _ = x.shape
        at_once = max(1, self._rows_at_once * self._per_frame // batch)
        if time <= at_once:
            return self._piece(x, history)
        pieces = []
        for part in torch.split(x, at_once, 1):
            piece, history = self._piece(part, history)
            pieces.append(piece)
        return torch.cat(pieces, 1), tuple(history)

    def step_in_place(self, x: Tensor, history: Sequence[Tensor]) -> Tensor:
        """As :meth:`step`; the history given is brought up to date where it lies."""
        samples, new = self.step(x, history)
        torch._foreach_copy_(list(history), list(new))
        return samples

    def _piece(self, x: Tensor, history: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        past, kept = iter(history), tuple(torch.empty_like(part) for part in history)
        new = iter(kept)
        active = x.to(self.dtype).contiguous()
        active = self._convolve(active, self._first, past, new)
        for block in self._blocks:
            batch, time, _ = active.shape
            width = block.head.outputs // block.rate
            stream = active.new_empty(batch, time * block.rate, width, dtype=self._residuals)
            active = self._convolve(active, block.head, past, new, out=stream).view(stream.shape)
            for index, unit in enumerate(block.units):
                active = self._unit(active, unit, past, new, stream, stored=index + 1 < len(block.units))
        return self._samples(active, past, new), kept

    def _unit(
        self,
        x: Tensor,
        unit: tuple[_Conv, _Conv],
        past: Iterator[Tensor],
        new: Iterator[Tensor],
        stream: Tensor,
        *,
        stored: bool,
    ) -> Tensor:
        """A residual unit; its result is written over ``stream``, if it is still needed."""
        first, second = unit
        batch, time, width = x.shape
        rows = batch * time
        tile = self._sizes.unit(rows, width, first.taps, x.element_size())
        if tile is None:
            middle = self._convolve(x, first, past, new)
            return self._convolve(middle, second, past, new, residual=stream, out=stream if stored else None)
        active = torch.empty_like(x)
        before = next(past)
        residual_unit[(-(-rows // tile.rows) + self._keepers(before),)](
            x,
            before,
            next(new),
            first.weight,
            first.bias,
            first.snake.frequency,
            first.snake.strength,
            second.weight,
            second.bias,
            stream,
            second.snake.frequency,
            second.snake.strength,
            stream,
            active,
            rows,
            time,
            first.dilation,
            int(stored),
            width,
            first.taps,
            tile.rows,
            tile.outputs,
            tile.rest,
            tile.inputs,
            self._sizes.keep_rows,
            self._tf32,
            self._chained,
            **self._options(tile),
        )
        return active

    def _convolve(
        self,
        x: Tensor,
        conv: _Conv,
        past: Iterator[Tensor],
        new: Iterator[Tensor],
        *,
        residual: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """What comes out of the snake behind a convolution; what goes in is written to ``out``."""
        batch, time, inputs = x.shape
        rows, outputs = batch * time, conv.outputs
        tile = self._sizes.tile(rows, outputs, inputs, conv.taps, x.element_size())
        tiles = -(-rows // tile.rows) * -(-outputs // tile.outputs)
        if tile.splits > 1 and tiles > _MOST_TILES:
            raise ToolkitFault(f"programs of one launch share {tiles} sums; there are counters for {_MOST_TILES}")
        active = x.new_empty(batch, time, outputs)
        before, kept = (next(past), next(new)) if conv.columns else (x, x)
        keepers = self._keepers(before) if conv.columns else 0
        room = tiles * tile.splits * tile.rows * tile.outputs if tile.splits > 1 else 0
        convolve[(tiles + keepers, tile.splits)](
            x,
            before,
            kept,
            conv.weight,
            conv.bias,
            active if residual is None else residual,
            conv.snake.frequency,
            conv.snake.strength,
            active if out is None else out,
            active,
            x.new_empty(room, dtype=torch.float32),
            self._arrived,
            rows,
            time,
            conv.dilation,
            tile.splits,
            int(out is not None),
            inputs,
            outputs,
            conv.taps,
            tile.rows,
            tile.outputs,
            tile.inputs,
            self._sizes.keep_rows,
            tile.splits > 1,
            residual is not None,
            self._tf32,
            self._chained,
            **self._options(tile),
        )
        return active

    def _samples(self, x: Tensor, past: Iterator[Tensor], new: Iterator[Tensor]) -> Tensor:
        batch, time, inputs = x.shape
        sizes, before, rows = self._sizes, next(past), batch * time
        block = sizes.last_rows
        while block > 8 and -(-rows // block) < sizes.multiprocessors:
            block //= 2
        samples = x.new_empty(batch, time, dtype=torch.float32)
        tile = Tile(block, 1, 0, sizes.last_inputs, 1, 1, sizes.last_warps)
        last_convolution[(-(-rows // block) + self._keepers(before),)](
            x,
            before,
            next(new),
            self._last_weight,
            self._last.bias,
            samples,
            rows,
            time,
            inputs,
            self._last.taps,
            block,
            tile.inputs,
            sizes.keep_rows,
            self._chained,
            **self._options(tile),
        )
        return samples

    def _keepers(self, past: Tensor) -> int:
        """Programs that write the past of the next call."""
        return -(-past.shape[0] * past.shape[1] // self._sizes.keep_rows)

    def _options(self, tile: Tile) -> dict[str, Any]:
        # The name is unknown to Triton before 3.4, so that it is not even said where it is off.
        chained = {"launch_pdl": True} if self._chained else {}
        return {"num_warps": tile.warps, "num_stages": tile.stages, **chained}

    def _check(self, x: Tensor, history: Sequence[Tensor]) -> None:
        batch = x.shape[0]
        wanted = [(batch, count, width) for count, width in self._columns]
        if [tuple(part.shape) for part in history] != wanted:
            raise ToolkitFault(f"a history of {self.places} tensors is needed for {batch} rows, as zeros() gives it")
        for part in history:
            if part.dtype != self.dtype or not part.is_contiguous():
                raise ToolkitFault(f"a history must be contiguous and {self.dtype}, found {part.dtype}")

    def _convs(self) -> Iterator[_Conv]:
        yield self._first
        for block in self._blocks:
            yield block.head
            for unit in block.units:
                yield from unit
        yield self._last

    def _block(self, parts: Sequence[Any], after: SnakeBeta) -> _Block:
        """``after`` is the snake of what follows the block."""
        _, head, *units = parts
        following = [unit.act1 for unit in units[1:]] + [after]
        outputs = head.taps.by_output.shape[0]
        rate = outputs // units[0].act1.alpha.shape[0]
        return _Block(
            rate,
            self._conv(head, _Snake.of(units[0].act1, rate)),
            tuple(
                (self._conv(unit.conv1, _Snake.of(unit.act2)), self._conv(unit.conv2, _Snake.of(snake)))
                for unit, snake in zip(units, following, strict=True)
            ),
        )

    def _conv(self, layer: CausalConv | TransposedConv | Pointwise, snake: _Snake) -> _Conv:
        if isinstance(layer, Pointwise):
            weight, dilation = layer.weight.detach()[:, None], 1
        else:
            weight, dilation = layer.taps.by_output, layer.taps.dilation
        if weight.is_meta:
            raise ToolkitFault("the codec's weights were packed for a CPU; load it with pack=False")
        weight = weight.contiguous()
        if self._tf32:
            # In place: a second copy of all convolutions would be 0.2 GB of the card.
            _round_to_tf32(weight)
        if layer.bias is None:
            raise ToolkitFault("a convolution of the codec has no bias; its kernels add one")
        return _Conv(weight.to(self.dtype), layer.bias.detach().float(), dilation, snake)


def card_sizes(device: torch.device) -> CodecSizes:
    """The default block sizes for a card: its multiprocessors, and more reads under way where it has the room, as an
    A100 (163 KB) and an H100 (227 KB) do."""
    if device.type != "cuda":
        return CodecSizes()
    card = torch.cuda.get_device_properties(device)
    roomy = getattr(card, "shared_memory_per_block_optin", 0) >= _ROOMY_BYTES
    shared_bytes = _ROOMY_STAGE_BYTES if roomy else CodecSizes.shared_bytes
    return CodecSizes(multiprocessors=card.multi_processor_count, shared_bytes=shared_bytes)


@torch.inference_mode()
def _round_to_tf32(x: Tensor) -> None:
    """Round float32 to 10 bits of mantissa, where matrix units would cut off; rounded twice it stays as it is."""
    x.view(torch.int32).add_(0x1000).bitwise_and_(-0x2000)
