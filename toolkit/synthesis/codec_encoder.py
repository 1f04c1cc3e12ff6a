"""The codec's encoder: a waveform at 24 kHz to 16 codes a frame, needed to clone a voice together with what it said.

Its transformer attends to everything before: the ``sliding_window`` of 250 in the configuration has no effect in the
official package (transformers 4.57), and codes of references longer than 10 s differ with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from toolkit.errors import BadAudio
from toolkit.synthesis.codec_config import QUANTIZERS, SAMPLES_PER_FRAME, CodecEncoderConfig, CodecStack
from toolkit.synthesis.codec_layers import (
    CausalConv,
    CodecAttention,
    History,
    HistoryLayout,
    Norm,
    Pointwise,
    codec_angles,
    codec_turns,
    divided_codebook,
    exact_convolutions,
    file_tensors,
    fill_from_file,
    meta_parameter,
    prepare_all,
)
from toolkit.synthesis.layers import Angles, Linear
from toolkit.synthesis.weights import SafetensorsFile, Slot

__all__ = ["CodecEncoder", "encoder_tensors"]

_PIECE_POSITIONS = 50
"""Positions for which the convolutions run at once: 2 seconds, about 60 MB at the published sizes."""

_PARTS = (("semantic", 0, 1), ("acoustic", 1, QUANTIZERS - 1))


class CodecEncoder(nn.Module):
    """The encoder. Build it with :meth:`load`."""

    def __init__(self, config: CodecEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.layout = HistoryLayout()
        self.encoder = _Convolutions(self.layout, config)
        self.layers = nn.ModuleList(_PlainLayer(config.stack) for _ in range(config.stack.layers))
        self.downsample = CausalConv(self.layout, config.stack.hidden, config.stack.hidden, 4, stride=2, bias=False)
        self.semantic_proj = Pointwise(config.stack.hidden, config.entry_dim, bias=False)
        self.acoustic_proj = Pointwise(config.stack.hidden, config.entry_dim, bias=False)
        rows = QUANTIZERS * config.codebook_size
        self.codebook = meta_parameter(rows, config.entry_dim)
        self.usage = meta_parameter(rows)

    @classmethod
    def load(
        cls,
        config: CodecEncoderConfig,
        file: SafetensorsFile,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        *,
        pack: bool = True,
    ) -> CodecEncoder:
        """Build the encoder and fill it from ``speech_tokenizer/model.safetensors``.

        Args:
            config: sizes.
            file: the codec's weights; the decoder's part is not read.
            device: where it shall run.
            dtype: of weights and activations. The codes depend on it: the official package uses the model's.
            pack: on a CPU, give large weights to oneDNN in the layout that it reads: the same result up to the order
                of sums, several times as fast for a few frames.

        Raises:
            BadModelFolder: tensors that are missing, unknown, of another shape, or damaged.
        """
        encoder = cls(config)
        table = encoder_tensors(config)
        fill_from_file(encoder, table, file, elsewhere="decoder.", device=device, dtype=dtype)
        encoder.prepare(pack=pack)
        return encoder.eval()

    def prepare(self, *, pack: bool) -> None:
        """Compute what does not depend on the waveform; call once, after loading."""
        self.codebook = nn.Parameter(divided_codebook(self.codebook.detach(), self.usage.detach()), requires_grad=False)
        self.usage = meta_parameter(*self.usage.shape)
        prepare_all(self, pack=pack)

    @exact_convolutions()
    def encode(self, wave: Tensor) -> Tensor:
        """Codes of waveforms of one length.

        Args:
            wave: ``[batch, samples]`` at 24 kHz, at least one sample, in [-1, 1].

        Returns:
            Codes ``[batch, 16, frames]``, int64; ``frames`` is ``samples / 1920``, rounded up.

        Raises:
            BadAudio: no samples, or samples that are not finite.
        """
        if wave.dim() != 2 or not wave.shape[1]:
            raise BadAudio(f"the reference must be [batch, samples] with at least one sample, found {list(wave.shape)}")
        if not bool(torch.isfinite(wave).all()):
            raise BadAudio("the reference holds samples that are not finite")
        x = self._positions(wave.to(self.codebook.device, self.codebook.dtype))
        turns = codec_turns(self.config.stack, x.device)
        angles = codec_angles(turns, torch.arange(x.shape[1], device=x.device), x.dtype)
        for layer in self.layers:
            x = layer(x, angles)
        return self._quantized(self._halved(x))

    def encode_rows(self, waves: Sequence[Tensor]) -> list[Tensor]:
        """Codes ``[frames, 16]`` of several waveforms ``[samples]``, encoded together as the official package does.

        Shorter waveforms are filled with zeros up to the longest and their codes are cut; the last frame of one can
        therefore differ from encoding it alone.

        Raises:
            BadAudio: as :meth:`encode`.
        """
        if not all(wave.numel() for wave in waves):
            raise BadAudio("the reference has no samples")
        codes = self.encode(nn.utils.rnn.pad_sequence(list(waves), batch_first=True)).transpose(1, 2)
        return [row[: -(-wave.shape[0] // SAMPLES_PER_FRAME)] for row, wave in zip(codes, waves, strict=True)]

    def _positions(self, wave: Tensor) -> Tensor:
        """The convolutions, piece by piece: ``[batch, samples]`` to ``[batch, positions, hidden]``."""
        history = History(self.layout.zeros(wave.shape[0], dtype=wave.dtype, device=wave.device))
        pieces = torch.split(wave.unsqueeze(-1), _PIECE_POSITIONS * self.config.samples_per_position, 1)
        return torch.cat([self.encoder(piece, history) for piece in pieces], 1)

    def _halved(self, x: Tensor) -> Tensor:
        """From 25 to 12.5 columns a second. Here, and only here, the edge columns are repeated instead of zeros."""
        if x.shape[1] % 2:
            x = torch.cat((x, x[:, -1:]), 1)
        history = History(self.layout.zeros(x.shape[0], dtype=x.dtype, device=x.device))
        history.tensors[-1] = x[:, :1].expand(-1, self.downsample.columns, -1)
        halved: Tensor = self.downsample(x, history)
        return halved

    def _quantized(self, x: Tensor) -> Tensor:
        """Nearest entries, one codebook after the other: ``[batch, frames, hidden]`` to ``[batch, 16, frames]``.

        Distances are float32 whatever the dtype; a residual is rounded to the dtype after each codebook.
        """
        batch, frames, _ = x.shape
        tables = self.codebook.view(QUANTIZERS, self.config.codebook_size, -1)
        codes = []
        for (_, first, count), project in zip(_PARTS, (self.semantic_proj, self.acoustic_proj), strict=True):
            residual = project(x).reshape(batch * frames, -1)
            for table in tables[first : first + count]:
                nearest = torch.cdist(residual.float()[None], table.float()[None])[0].argmin(-1)
                residual = residual - table[nearest]
                codes.append(nearest.view(batch, frames))
        return torch.stack(codes, 1)


class _Elu(nn.Module):
    """ELU that takes the place in the numbering of the file and needs no history."""

    def forward(self, x: Tensor, history: History) -> Tensor:
        return functional.elu(x)


class _Residual(nn.Module):
    """Two convolutions through half the channels, added to the input; numbered as in the file."""

    def __init__(self, layout: HistoryLayout, width: int, kernel: int) -> None:
        super().__init__()
        half = width // 2
        narrow, wide = CausalConv(layout, width, half, kernel), CausalConv(layout, half, width, 1)
        self.block = nn.ModuleList([_Elu(), narrow, _Elu(), wide])

    def forward(self, x: Tensor, history: History) -> Tensor:
        y = x
        for part in self.block:
            y = part(y, history)
        return x + y


class _Convolutions(nn.Module):
    """From samples to positions; numbered as in the file."""

    def __init__(self, layout: HistoryLayout, config: CodecEncoderConfig) -> None:
        super().__init__()
        width = config.filters
        parts: list[nn.Module] = [CausalConv(layout, 1, width, config.kernel)]
        for rate in config.rates:
            parts += [_Residual(layout, width, config.residual_kernel), _Elu()]
            parts.append(CausalConv(layout, width, 2 * width, 2 * rate, stride=rate))
            width *= 2
        parts += [_Elu(), CausalConv(layout, width, config.stack.hidden, config.last_kernel)]
        self.layers = nn.ModuleList(parts)

    def forward(self, x: Tensor, history: History) -> Tensor:
        for part in self.layers:
            if isinstance(part, CausalConv) and x.shape[1] % part.stride:
                # Only the end of a waveform fills less than a stride; every layer fills up with zeros of its own.
                x = functional.pad(x, (0, 0, 0, part.stride - x.shape[1] % part.stride))
            x = part(x, history)
        return x


class _PlainLayer(nn.Module):
    """A layer of the encoder's transformer: causal attention and a plain MLP, each normed before and scaled after."""

    def __init__(self, shape: CodecStack) -> None:
        super().__init__()
        self.input_norm = Norm(shape.hidden, shape.norm_eps)
        self.attention = CodecAttention(shape)
        self.attention_scale = meta_parameter(shape.hidden)
        self.post_norm = Norm(shape.hidden, shape.norm_eps)
        self.fc1 = Linear(shape.intermediate, shape.hidden)
        self.fc2 = Linear(shape.hidden, shape.intermediate)
        self.mlp_scale = meta_parameter(shape.hidden)

    def forward(self, x: Tensor, angles: Angles) -> Tensor:
        queries, keys, values = self.attention.project(self.input_norm(x), angles)
        x = x + self.attention_scale * self.attention.attend(queries, keys, values, None)
        result: Tensor = x + self.mlp_scale * self.fc2(functional.gelu(self.fc1(self.post_norm(x))))
        return result


def encoder_tensors(config: CodecEncoderConfig) -> Mapping[str, tuple[tuple[int, ...], Slot | None]]:
    """Name, shape and place of every tensor of the encoder in the codec's file; None: stored but not needed."""
    own, size, width = "encoder.", config.codebook_size, config.entry_dim
    hidden = config.stack.hidden
    table: dict[str, tuple[tuple[int, ...], Slot | None]] = {}
    for part, first, used in _PARTS:
        quantizer = f"{own}quantizer.{part}_residual_vector_quantizer."
        table[quantizer + "input_proj.weight"] = (width, hidden, 1), Slot(f"{part}_proj.weight")
        table[quantizer + "output_proj.weight"] = (hidden, width, 1), None
        for index in range(used if part == "semantic" else config.quantizers - 1):
            book, row = f"{quantizer}layers.{index}.codebook.", (first + index) * size
            table[book + "embed_sum"] = (size, width), Slot("codebook", row) if index < used else None
            table[book + "cluster_usage"] = (size,), Slot("usage", row) if index < used else None
            table[book + "initialized"] = (1,), None
    for name, shape, slot in file_tensors(CodecEncoder(config), own):
        if slot.parameter.split(".")[0] in ("encoder", "downsample"):
            table[name] = shape, slot
    for layer in range(config.stack.layers):
        table.update(_layer_tensors(config.stack, layer))
    return table


def _layer_tensors(stack: CodecStack, layer: int) -> Iterator[tuple[str, tuple[tuple[int, ...], Slot]]]:
    wide, inner, mlp = stack.hidden, stack.inner, stack.intermediate
    for name, shape, parameter, row in (
        ("input_layernorm.weight", (wide,), "input_norm.weight", 0),
        ("input_layernorm.bias", (wide,), "input_norm.bias", 0),
        ("post_attention_layernorm.weight", (wide,), "post_norm.weight", 0),
        ("post_attention_layernorm.bias", (wide,), "post_norm.bias", 0),
        ("self_attn_layer_scale.scale", (wide,), "attention_scale", 0),
        ("mlp_layer_scale.scale", (wide,), "mlp_scale", 0),
        ("self_attn.q_proj.weight", (inner, wide), "attention.qkv.weight", 0),
        ("self_attn.k_proj.weight", (inner, wide), "attention.qkv.weight", inner),
        ("self_attn.v_proj.weight", (inner, wide), "attention.qkv.weight", 2 * inner),
        ("self_attn.o_proj.weight", (wide, inner), "attention.o_proj.weight", 0),
        ("mlp.fc1.weight", (mlp, wide), "fc1.weight", 0),
        ("mlp.fc2.weight", (wide, mlp), "fc2.weight", 0),
    ):
        yield f"encoder.encoder_transformer.layers.{layer}.{name}", (shape, Slot(f"layers.{layer}.{parameter}", row))
