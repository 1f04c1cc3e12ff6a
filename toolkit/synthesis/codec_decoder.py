"""The codec's decoder: 16 codes a frame to 1920 samples at 24 kHz, causal, with its whole context carried as a state.

There is one implementation. Decoding undivided is one step from the initial state, decoding in pieces is many, and the
joined result is the same for any schedule. :meth:`CodecDecoder.decode_official` reproduces what the official package
does with more than 300 frames: it starts afresh every 300 frames with 25 of context, which is another waveform.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from toolkit.errors import ToolkitFault, UsageError
from toolkit.synthesis.codec_config import QUANTIZERS, SAMPLES_PER_FRAME, CodecDecoderConfig
from toolkit.synthesis.codec_layers import (
    CausalConv,
    ConvNeXt,
    GatedLayer,
    History,
    HistoryLayout,
    Pointwise,
    SnakeBeta,
    TransposedConv,
    codec_angles,
    codec_turns,
    divided_codebook,
    exact_convolutions,
    file_tensors,
    fill_from_file,
    meta_parameter,
    prepare_all,
    tf32_arithmetic,
    window_mask,
)
from toolkit.synthesis.layers import Linear, rms_norm
from toolkit.synthesis.weights import SafetensorsFile, Slot

__all__ = [
    "AUDIO_CHUNK_FRAMES",
    "OFFICIAL_CHUNK_FRAMES",
    "OFFICIAL_CONTEXT_FRAMES",
    "CodecDecoder",
    "DecoderState",
    "WaveformStages",
    "decoder_tensors",
    "pad_code_rows",
    "reference_samples",
]

AUDIO_CHUNK_FRAMES = 300
"""Frames of a piece unless told otherwise: 24 seconds."""

OFFICIAL_CHUNK_FRAMES = 300
OFFICIAL_CONTEXT_FRAMES = 25

_CPU_WAVEFORM_FRAMES = 8
"""The last stages hold 0.7 MB a tensor and frame; more frames at once fall out of a CPU's cache (docs/parity.md)."""


class WaveformStages(Protocol):
    """Another way to compute the stages from 50 Hz on, and the clamp behind them.

    Attributes:
        places: how many of the history's tensors, the last ones, belong to these stages.
        kernels: names of the modules whose kernels they launch.
    """

    places: int
    kernels: tuple[str, ...]

    def step_in_place(self, x: Tensor, history: Sequence[Tensor]) -> Tensor:
        """Columns ``[batch, time, latent]`` to samples ``[batch, time * 480]``, float32 in [-1, 1]; the ``places``
        tensors of the history are brought up to date where they lie."""


@dataclass(frozen=True)
class DecoderState:
    """What a decoder remembers between pieces; immutable, so that a state can be kept and continued more than once.

    Attributes:
        position: frames of each row so far, int64 ``[batch]`` on the decoder's device.
        history: the last columns that each layer has read, ``[batch, columns, channels]``.
    """

    position: Tensor
    history: tuple[Tensor, ...]

    @property
    def byte_count(self) -> int:
        """Bytes held; they do not grow with the frames decoded."""
        return sum(part.numel() * part.element_size() for part in self.history)

    @property
    def rows(self) -> int:
        """Rows of the batch."""
        return self.position.shape[0]

    def chosen(self, rows: Sequence[int]) -> DecoderState:
        """A copy with these rows in this order; one may come more than once."""
        index = torch.tensor(rows, dtype=torch.int64).to(self.position.device, non_blocking=True)
        return DecoderState(
            self.position.index_select(0, index), tuple(part.index_select(0, index) for part in self.history)
        )

    @classmethod
    def joined(cls, states: Sequence[DecoderState]) -> DecoderState:
        """The rows of several states under one another; they need not be at the same position."""
        return cls(
            torch.cat([state.position for state in states]),
            tuple(torch.cat(parts) for parts in zip(*(state.history for state in states), strict=True)),
        )


class CodecDecoder(nn.Module):
    """The decoder. Build it with :meth:`load`.

    Attributes:
        config: sizes.
        waveform_frames: frames that the stages from 50 Hz on take at once, of all rows together, None: all of a step.
            It changes speed and memory, not the result.
        tf32: compute float32 weights in TF32 on cards that have it.
    """

    def __init__(self, config: CodecDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.layout = HistoryLayout()
        rows = QUANTIZERS * config.codebook_size
        self.codebook = meta_parameter(rows, config.entry_dim)
        self.usage = meta_parameter(rows)
        self.first_proj = Pointwise(config.entry_dim, config.codebook_dim, bias=False)
        self.rest_proj = Pointwise(config.entry_dim, config.codebook_dim, bias=False)
        self.pre_conv = CausalConv(self.layout, config.codebook_dim, config.latent, 3)
        self.pre_transformer = _Transformer(self.layout, config)
        self.upsample = nn.ModuleList(_Doubling(self.layout, config.latent, ratio) for ratio in config.ratios)
        self.decoder = _Waveform(self.layout, config)
        self.waveform_frames: int | None = None
        self.tf32 = False

    @classmethod
    def load(
        cls,
        config: CodecDecoderConfig,
        file: SafetensorsFile,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        *,
        pack: bool = True,
        tf32: bool = False,
    ) -> CodecDecoder:
        """Build the decoder and fill it from ``speech_tokenizer/model.safetensors``.

        Args:
            config: sizes.
            file: the codec's weights; the encoder's part is not read.
            device: where it shall run.
            dtype: of weights and activations. float32 is right; bfloat16 halves the memory and leaves 8 bits of
                mantissa in the waveform.
            pack: on a CPU, give large weights to oneDNN in the layout that it reads: the same result up to the order
                of sums, several times as fast for a few frames.
            tf32: on a card, let its matrix units round float32 to 10 bits of mantissa.

        Raises:
            BadModelFolder: tensors that are missing, unknown, of another shape, or damaged.
        """
        decoder = cls(config)
        decoder.tf32 = tf32
        table = decoder_tensors(config)
        fill_from_file(decoder, table, file, elsewhere="encoder.", device=device, dtype=dtype)
        decoder.prepare(pack=pack)
        return decoder.eval()

    def prepare(self, *, pack: bool) -> None:
        """Compute what does not depend on the codes; call once, after loading."""
        self.codebook = nn.Parameter(divided_codebook(self.codebook.detach(), self.usage.detach()), requires_grad=False)
        self.usage = meta_parameter(*self.usage.shape)
        prepare_all(self, pack=pack)
        self.waveform_frames = _CPU_WAVEFORM_FRAMES if self.device.type == "cpu" else None

    @property
    def device(self) -> torch.device:
        """Where the decoder runs."""
        return self.codebook.device

    @property
    def dtype(self) -> torch.dtype:
        """In what it computes; the waveform is float32 whatever this is."""
        return self.codebook.dtype

    def initial_state(self, batch: int = 1) -> DecoderState:
        """The state before the first frame."""
        history = self.layout.zeros(batch, dtype=self.dtype, device=self.device)
        return DecoderState(torch.zeros(batch, dtype=torch.int64, device=self.device), history)

    def step(self, codes: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Decode the next frames of a sequence.

        Args:
            codes: ``[batch, 16, frames]`` on the decoder's device, at least one frame, each from 0 to the size of the
                codebook less one. That is not checked, since the check would have to wait for a GPU.
            state: from :meth:`initial_state` or the step before; it stays as it is.

        Returns:
            Samples ``[batch, frames * 1920]``, float32 in [-1, 1], and the state for the next step.
        """
        history = History(state.history)
        wave = self._wave(codes, state.position, history)
        return wave, DecoderState(state.position + codes.shape[-1], tuple(history.tensors))

    def step_in_place(
        self, codes: Tensor, state: DecoderState, samples: Tensor, stages: WaveformStages | None = None
    ) -> None:
        """The same as :meth:`step` on fixed tensors: the state is brought up to date, and the samples are written.

        Args:
            stages: compute the last stages in place of the decoder's own.
        """
        samples.copy_(self._wave(codes, state.position, History(state.history, in_place=True), stages))
        state.position.add_(codes.shape[-1])

    def decode(self, codes: Tensor) -> Tensor:
        """Decode undivided: ``[batch, 16, frames]`` to ``[batch, frames * 1920]``, float32.

        Memory grows with the length, about 3 MB a frame at the published sizes; :meth:`decode_in_chunks` gives the same
        samples in constant memory.

        Raises:
            UsageError: codes of another shape, or outside the codebook.
            ToolkitFault: a waveform that is not finite.
        """
        return self._joined(codes, max(1, codes.shape[-1]))

    def decode_in_chunks(self, codes: Tensor, audio_chunk_size: int = AUDIO_CHUNK_FRAMES) -> Tensor:
        """Decode in pieces of ``audio_chunk_size`` frames; the samples are those of :meth:`decode`.

        Raises:
            UsageError: codes of another shape, or outside the codebook; a chunk size below 1.
            ToolkitFault: a waveform that is not finite.
        """
        return self._joined(codes, audio_chunk_size)

    def pieces(self, codes: Tensor, audio_chunk_size: int = AUDIO_CHUNK_FRAMES) -> Iterator[Tensor]:
        """The pieces of :meth:`decode_in_chunks`, each as soon as it is decoded.

        Raises:
            UsageError: codes of another shape, or outside the codebook; a chunk size below 1.
        """
        if audio_chunk_size < 1:
            raise UsageError(f"audio_chunk_size must be at least 1 frame, found {audio_chunk_size}")
        codes = self._checked_codes(codes)
        return self._pieces(codes, audio_chunk_size)

    def check_range(self, codes: Tensor) -> None:
        """Refuse codes that no codebook has, in any shape; waits for the device that they lie on.

        Raises:
            UsageError: a code below 0 or above the last of a codebook.
        """
        if codes.numel():
            low, high = int(codes.min()), int(codes.max())
            if low < 0 or high >= self.config.codebook_size:
                last = self.config.codebook_size - 1
                raise UsageError(f"codes must lie between 0 and {last}, found {low if low < 0 else high}")

    def decode_official(self, codes: Tensor) -> Tensor:
        """Decode as the official package does: afresh every 300 frames, behind up to 25 frames of context.

        Up to 300 frames this is :meth:`decode`. Beyond, it is another waveform, with seams that the context hides.

        Raises:
            UsageError: codes of another shape, or outside the codebook.
            ToolkitFault: a waveform that is not finite.
        """
        codes = self._checked_codes(codes)
        wave = self._room(codes)
        for start in range(0, codes.shape[-1], OFFICIAL_CHUNK_FRAMES):
            context = min(OFFICIAL_CONTEXT_FRAMES, start)
            part = codes[..., start - context : start + OFFICIAL_CHUNK_FRAMES]
            piece, _ = self.step(part, self.initial_state(codes.shape[0]))
            piece = piece[:, context * SAMPLES_PER_FRAME :]
            wave[:, start * SAMPLES_PER_FRAME :][:, : piece.shape[1]] = piece
        return _finite(wave)

    def _wave(self, codes: Tensor, position: Tensor, history: History, stages: WaveformStages | None = None) -> Tensor:
        with tf32_arithmetic() if self.tf32 else exact_convolutions():
            batch, _, frames = codes.shape
            positions = position[:, None] + torch.arange(frames, device=codes.device)
            x = self.pre_transformer(self.pre_conv(self._entries(codes), history), positions, history)
            for stage in self.upsample:
                x = stage(x, history)
            if stages is not None:
                return stages.step_in_place(x, history.tensors[-stages.places :])
            at_once = frames if self.waveform_frames is None else max(1, self.waveform_frames // batch)
            columns = at_once * x.shape[1] // frames
            wave = torch.cat([self.decoder(part, history) for part in torch.split(x, columns, 1)], 1)
            return wave.float().clamp(-1.0, 1.0)

    def _pieces(self, codes: Tensor, size: int) -> Iterator[Tensor]:
        state = self.initial_state(codes.shape[0])
        for start in range(0, codes.shape[-1], size):
            piece, state = self.step(codes[..., start : start + size], state)
            yield piece

    def _joined(self, codes: Tensor, size: int) -> Tensor:
        wave = self._room(codes)
        done = 0
        for piece in self.pieces(codes, size):
            wave[:, done : done + piece.shape[1]] = piece
            done += piece.shape[1]
        return _finite(wave)

    def _room(self, codes: Tensor) -> Tensor:
        return torch.empty(codes.shape[0], codes.shape[-1] * SAMPLES_PER_FRAME, device=self.device)

    def _checked_codes(self, codes: Tensor) -> Tensor:
        if codes.dim() != 3 or codes.shape[1] != QUANTIZERS or codes.is_floating_point():
            raise UsageError(f"codes must be whole numbers [batch, {QUANTIZERS}, frames], found {list(codes.shape)}")
        self.check_range(codes)
        return codes.to(self.device, torch.int64)

    def _entries(self, codes: Tensor) -> Tensor:
        """Codebook entries of the codes, projected and summed: ``[batch, frames, codebook_dim]``."""
        first_rows = torch.arange(QUANTIZERS, device=codes.device)[:, None] * self.config.codebook_size
        entries = nn.functional.embedding(codes + first_rows, self.codebook)
        summed: Tensor = self.first_proj(entries[:, 0]) + self.rest_proj(entries[:, 1:].sum(1))
        return summed


class _Transformer(nn.Module):
    """The transformer over frames, ``latent`` wide outside."""

    def __init__(self, layout: HistoryLayout, config: CodecDecoderConfig) -> None:
        super().__init__()
        self._config = config
        hidden = config.stack.hidden
        self.input_proj = Linear(hidden, config.latent, bias=True)
        self.layers = nn.ModuleList(GatedLayer(layout, config.stack, config.window) for _ in range(config.stack.layers))
        self.norm = meta_parameter(hidden)
        self.output_proj = Linear(config.latent, hidden, bias=True)
        self._turns: Tensor

    def prepare(self) -> None:
        """Compute what does not depend on the input; call once, after loading."""
        self._turns = codec_turns(self._config.stack, self.norm.device)

    def forward(self, x: Tensor, positions: Tensor, history: History) -> Tensor:
        angles = codec_angles(self._turns, positions, x.dtype)
        mask = window_mask(positions, self._config.window)
        x = self.input_proj(x)
        for layer in self.layers:
            x = layer(x, angles, mask, history)
        found: Tensor = self.output_proj(rms_norm(x, self.norm, self._config.stack.norm_eps))
        return found


class _Doubling(nn.Module):
    """A transposed convolution that multiplies the rate, then a ConvNeXt block; numbered as in the file."""

    def __init__(self, layout: HistoryLayout, width: int, ratio: int) -> None:
        super().__init__()
        self.add_module("0", TransposedConv(layout, width, width, ratio, overlaps=False))
        self.add_module("1", ConvNeXt(layout, width))

    def forward(self, x: Tensor, history: History) -> Tensor:
        for part in self.children():
            x = part(x, history)
        return x


class _ResidualUnit(nn.Module):
    """Two convolutions, each behind a snake, added to the input."""

    def __init__(self, layout: HistoryLayout, width: int, dilation: int) -> None:
        super().__init__()
        self.act1 = SnakeBeta(width)
        self.conv1 = CausalConv(layout, width, width, 7, dilation=dilation)
        self.act2 = SnakeBeta(width)
        self.conv2 = Pointwise(width, width, file_level="conv.")

    def forward(self, x: Tensor, history: History) -> Tensor:
        y = self.conv1(self.act1(x), history)
        z: Tensor = self.conv2(self.act2(y))
        return z.add_(x)


class _Block(nn.Module):
    """One step up in rate: snake, transposed convolution, three residual units; numbered as in the file."""

    def __init__(self, layout: HistoryLayout, width: int, rate: int) -> None:
        super().__init__()
        self.block = nn.ModuleList(
            [
                SnakeBeta(width),
                TransposedConv(layout, width, width // 2, rate, overlaps=True),
                *(_ResidualUnit(layout, width // 2, dilation) for dilation in (1, 3, 9)),
            ]
        )

    def forward(self, x: Tensor, history: History) -> Tensor:
        snake, *rest = self.block
        x = snake(x)
        for part in rest:
            x = part(x, history)
        return x


class _Waveform(nn.ModuleList):
    """From four columns a frame to samples; numbered as in the file."""

    def __init__(self, layout: HistoryLayout, config: CodecDecoderConfig) -> None:
        last = config.channels // 2 ** len(config.rates)
        super().__init__(
            [
                CausalConv(layout, config.latent, config.channels, 7),
                *(_Block(layout, config.channels // 2**index, rate) for index, rate in enumerate(config.rates)),
                SnakeBeta(last),
                CausalConv(layout, last, 1, 7),
            ]
        )

    def forward(self, x: Tensor, history: History) -> Tensor:
        *stages, snake, last = self
        for stage in stages:
            x = stage(x, history)
        wave: Tensor = last(snake(x), history)
        return wave.squeeze(-1)


def decoder_tensors(config: CodecDecoderConfig) -> Mapping[str, tuple[tuple[int, ...], Slot | None]]:
    """Name, shape and place of every tensor of the decoder in the codec's file; None: stored but not needed."""
    own, size, width = "decoder.", config.codebook_size, config.entry_dim
    table: dict[str, tuple[tuple[int, ...], Slot | None]] = {}
    for part, first, count in (("rvq_first", 0, 1), ("rvq_rest", 1, QUANTIZERS - 1)):
        quantizer = f"{own}quantizer.{part}."
        for index in range(count):
            book, row = f"{quantizer}vq.layers.{index}._codebook.", (first + index) * size
            table[book + "embedding_sum"] = (size, width), Slot("codebook", row)
            table[book + "cluster_usage"] = (size,), Slot("usage", row)
        table[quantizer + "input_proj.weight"] = (width, config.codebook_dim, 1), None
        table[quantizer + "output_proj.weight"] = (config.codebook_dim, width, 1), Slot(f"{part[4:]}_proj.weight")
    network = CodecDecoder(config)
    special = {"codebook", "usage", "first_proj", "rest_proj"}
    for name, shape, slot in file_tensors(network, own):
        place = slot.parameter
        if place.split(".")[0] not in special and not place.startswith("pre_transformer.layers."):
            table["decoder.pre_transformer.norm.weight" if place == "pre_transformer.norm" else name] = shape, slot
    for layer in range(config.stack.layers):
        table.update(_layer_tensors(config, f"pre_transformer.layers.{layer}."))
    return table


def _layer_tensors(config: CodecDecoderConfig, place: str) -> Iterator[tuple[str, tuple[tuple[int, ...], Slot]]]:
    stack = config.stack
    wide, inner, mlp = stack.hidden, stack.inner, stack.intermediate
    for name, shape, parameter, row in (
        ("input_layernorm.weight", (wide,), "input_norm", 0),
        ("post_attention_layernorm.weight", (wide,), "post_norm", 0),
        ("self_attn_layer_scale.scale", (wide,), "attention_scale", 0),
        ("mlp_layer_scale.scale", (wide,), "mlp_scale", 0),
        ("self_attn.q_proj.weight", (inner, wide), "attention.qkv.weight", 0),
        ("self_attn.k_proj.weight", (inner, wide), "attention.qkv.weight", inner),
        ("self_attn.v_proj.weight", (inner, wide), "attention.qkv.weight", 2 * inner),
        ("self_attn.o_proj.weight", (wide, inner), "attention.o_proj.weight", 0),
        ("mlp.gate_proj.weight", (mlp, wide), "gate_up.weight", 0),
        ("mlp.up_proj.weight", (mlp, wide), "gate_up.weight", mlp),
        ("mlp.down_proj.weight", (wide, mlp), "down.weight", 0),
    ):
        yield f"decoder.{place}{name}", (shape, Slot(place + parameter, row))


def pad_code_rows(rows: Sequence[Tensor]) -> Tensor:
    """Codes of several results ``[frames, 16]`` as one batch ``[rows, 16, longest]``.

    Shorter rows are filled with code 0, as in the official package; the decoder is causal, so that the samples of a row
    up to its own ``frames * 1920`` do not depend on the filling.
    """
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True).transpose(1, 2)


def reference_samples(reference_frames: int, total_frames: int, samples: int) -> int:
    """Samples to cut from the start of a clone that was decoded behind the codes of its reference.

    The official package computes a float product, which for some lengths comes out one sample below
    ``reference_frames * 1920``, so that one sample of the reference stays; this is the same product.
    """
    return int(reference_frames / max(total_frames, 1) * samples)


def _finite(wave: Tensor) -> Tensor:
    if not bool(torch.isfinite(wave).all()):
        raise ToolkitFault("the codec made a waveform that is not finite; decode in float32")
    return wave
