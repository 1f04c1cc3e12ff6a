"""Names, shapes and distributions of every tensor of a demo checkpoint.

The spreads are chosen so that random weights behave like a network at work: activations neither vanish nor explode,
two voices differ, about 1 % of the waveform is clipped, and no part (gain, bias, layer scale, usage count) is trivial
enough to be left out unnoticed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.synthesis.demo_shapes import (
    CODE_GROUPS,
    DECODER_RATES,
    DECODER_RATIOS,
    ENCODER_RATIOS,
    Kind,
    ModelShape,
    Stack,
)

__all__ = ["CodebookSum", "Draw", "Normal", "Ones", "TensorPlan", "Uniform", "Usage", "codec_plan", "model_plan"]

_GAIN = (0.6, 1.4)
_HEAD_GAIN = (0.9, 1.9)
_LAYER_SCALE = (0.3, 0.9)
_HALF = 1.0 / math.sqrt(2.0)


@dataclass(frozen=True)
class Normal:
    """Bell-shaped around zero. ``centred`` makes each output row sum to zero; ``scaled_row`` is (row, factor)."""

    std: float
    centred: bool = False
    scaled_row: tuple[int, float] | None = None


@dataclass(frozen=True)
class Uniform:
    """Flat from ``low`` to ``high``."""

    low: float
    high: float


@dataclass(frozen=True)
class Usage:
    """Usage counts of codebook entries; some lie below the floor of 1e-5 that a reader has to apply."""


@dataclass(frozen=True)
class CodebookSum:
    """Bell-shaped entries of spread ``std``, each multiplied by its usage count (the tensor named ``usage``)."""

    std: float
    usage: str


@dataclass(frozen=True)
class Ones:
    """All ones."""


Draw = Normal | Uniform | Usage | CodebookSum | Ones


@dataclass(frozen=True)
class TensorPlan:
    """One tensor to be written."""

    name: str
    shape: tuple[int, ...]
    draw: Draw


def model_plan(kind: Kind, shape: ModelShape, text_vocab: int, eos_scale: float) -> Iterator[TensorPlan]:
    """Tensors of the main file. ``eos_scale`` scales the head's end-of-speech row: larger ends earlier, 0 never."""
    talker, predictor = shape.talker, shape.predictor
    yield TensorPlan("talker.model.codec_embedding.weight", (shape.vocab, talker.hidden), Normal(1.0))
    yield TensorPlan("talker.model.text_embedding.weight", (text_vocab, shape.text_hidden), Normal(1.0))
    yield from _decoder_layers("talker.model.", talker)
    text = "talker.text_projection.linear_fc"
    yield from _dense(text + "1", (shape.text_hidden, shape.text_hidden), 1.5, bias=0.1)
    yield from _dense(text + "2", (talker.hidden, shape.text_hidden), 1.8, bias=0.1)
    head = Normal(4.0 / math.sqrt(talker.hidden), scaled_row=(shape.codec_eos, eos_scale))
    yield TensorPlan("talker.codec_head.weight", (shape.vocab, talker.hidden), head)
    own = "talker.code_predictor."
    for group in range(CODE_GROUPS - 1):
        table = f"{own}model.codec_embedding.{group}.weight"
        yield TensorPlan(table, (shape.codebook, talker.hidden), Normal(0.45))
        yield from _dense(f"{own}lm_head.{group}", (shape.codebook, predictor.hidden), 4.0)
    yield from _decoder_layers(own + "model.", predictor)
    if predictor.hidden != talker.hidden:
        yield from _dense(own + "small_to_mtp_projection", (predictor.hidden, talker.hidden), 1.0, bias=0.1)
    if kind == "base":
        yield from _speaker_encoder(shape)


def codec_plan(shape: ModelShape) -> Iterator[TensorPlan]:
    """Tensors of the codec's file, decoder and encoder."""
    yield from _codec_decoder(shape)
    yield from _codec_encoder(shape)


def _dense(
    name: str, shape: tuple[int, ...], gain: float, *, bias: float | None = None, centred: bool = False
) -> Iterator[TensorPlan]:
    """A matrix or convolution whose output has about ``gain`` times the spread of its input."""
    std = gain / math.sqrt(math.prod(shape[1:]))
    yield TensorPlan(name + ".weight", shape, Normal(std, centred=centred))
    if bias is not None:
        yield TensorPlan(name + ".bias", shape[:1], Normal(bias))


def _gain(name: str, width: int, span: tuple[float, float] = _GAIN) -> TensorPlan:
    return TensorPlan(name, (width,), Uniform(*span))


def _decoder_layers(prefix: str, stack: Stack) -> Iterator[TensorPlan]:
    for index in range(stack.layers):
        layer = f"{prefix}layers.{index}."
        attention, mlp = layer + "self_attn.", layer + "mlp."
        kv = stack.kv_heads * stack.head_dim
        yield from _dense(attention + "q_proj", (stack.inner, stack.hidden), 1.0)
        yield from _dense(attention + "k_proj", (kv, stack.hidden), 1.0)
        yield from _dense(attention + "v_proj", (kv, stack.hidden), 1.2)
        yield from _dense(attention + "o_proj", (stack.hidden, stack.inner), 2.0 * _HALF)
        yield _gain(attention + "q_norm.weight", stack.head_dim, _HEAD_GAIN)
        yield _gain(attention + "k_norm.weight", stack.head_dim, _HEAD_GAIN)
        yield from _dense(mlp + "gate_proj", (stack.intermediate, stack.hidden), 1.6)
        yield from _dense(mlp + "up_proj", (stack.intermediate, stack.hidden), 1.4)
        yield from _dense(mlp + "down_proj", (stack.hidden, stack.intermediate), 1.6 * _HALF)
        yield _gain(layer + "input_layernorm.weight", stack.hidden)
        yield _gain(layer + "post_attention_layernorm.weight", stack.hidden)
    yield _gain(prefix + "norm.weight", stack.hidden)


def _speaker_encoder(shape: ModelShape) -> Iterator[TensorPlan]:
    # Log-mel input and ReLU features share a large offset, which would drown the differences between two voices;
    # rows that sum to zero take it out.
    width, pooled = shape.speaker_channels, shape.speaker_pooled
    own = "speaker_encoder."
    yield from _dense(own + "blocks.0.conv", (width, 128, 5), 0.6, bias=0.05, centred=True)
    for index in (1, 2, 3):
        block = f"{own}blocks.{index}."
        yield from _dense(block + "tdnn1.conv", (width, width, 1), 1.2, bias=0.05, centred=True)
        for part in range(7):
            name = f"{block}res2net_block.blocks.{part}.conv"
            yield from _dense(name, (width // 8, width // 8, 3), 1.2, bias=0.05)
        yield from _dense(block + "tdnn2.conv", (width, width, 1), 1.2, bias=0.05, centred=True)
        yield from _dense(block + "se_block.conv1", (shape.speaker_squeeze, width, 1), 1.2, bias=0.05)
        yield from _dense(block + "se_block.conv2", (width, shape.speaker_squeeze, 1), 1.2, bias=0.05)
    yield from _dense(own + "mfa.conv", (pooled, pooled, 1), 1.2, bias=0.05, centred=True)
    yield from _dense(own + "asp.tdnn.conv", (shape.speaker_attention, 3 * pooled, 1), 1.0, bias=0.05, centred=True)
    yield from _dense(own + "asp.conv", (pooled, shape.speaker_attention, 1), 1.5, bias=0.05)
    yield from _dense(own + "fc", (shape.talker.hidden, 2 * pooled, 1), 4.0, bias=0.05, centred=True)


def _codec_layers(prefix: str, stack: Stack, *, gated: bool) -> Iterator[TensorPlan]:
    """Transformer layers of the codec: gated MLP and RMS norms (decoder), or plain MLP and layer norms (encoder)."""
    for index in range(stack.layers):
        layer = f"{prefix}layers.{index}."
        for name in ("q_proj", "k_proj", "v_proj"):
            yield from _dense(f"{layer}self_attn.{name}", (stack.inner, stack.hidden), 1.3)
        yield from _dense(layer + "self_attn.o_proj", (stack.hidden, stack.inner), 1.3)
        for name in ("gate_proj", "up_proj") if gated else ("fc1",):
            yield from _dense(f"{layer}mlp.{name}", (stack.intermediate, stack.hidden), 1.4)
        yield from _dense(layer + ("mlp.down_proj" if gated else "mlp.fc2"), (stack.hidden, stack.intermediate), 1.4)
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield _gain(f"{layer}{name}.weight", stack.hidden)
            if not gated:
                yield TensorPlan(f"{layer}{name}.bias", (stack.hidden,), Normal(0.1))
        yield _gain(layer + "self_attn_layer_scale.scale", stack.hidden, _LAYER_SCALE)
        yield _gain(layer + "mlp_layer_scale.scale", stack.hidden, _LAYER_SCALE)


def _codebook(prefix: str, sums: str, shape: tuple[int, int], std: float) -> Iterator[TensorPlan]:
    usage = prefix + "cluster_usage"
    yield TensorPlan(usage, shape[:1], Usage())
    yield TensorPlan(prefix + sums, shape, CodebookSum(std, usage))


def _codec_decoder(shape: ModelShape) -> Iterator[TensorPlan]:
    own = "decoder."
    width, latent = shape.decoder_codebook_dim, shape.decoder_latent
    for part, count, std in (("rvq_first", 1, 1.0), ("rvq_rest", CODE_GROUPS - 1, 0.6)):
        quantizer = f"{own}quantizer.{part}."
        yield from _dense(quantizer + "input_proj", (width // 2, width, 1), 1.0)
        yield from _dense(quantizer + "output_proj", (width, width // 2, 1), 1.0)
        for index in range(count):
            book = f"{quantizer}vq.layers.{index}._codebook."
            yield from _codebook(book, "embedding_sum", (shape.codebook, width // 2), 0.9**index * std)
    yield from _dense(own + "pre_conv.conv", (latent, width, 3), 1.0, bias=0.05)
    transformer = own + "pre_transformer."
    yield from _codec_layers(transformer, shape.decoder, gated=True)
    yield _gain(transformer + "norm.weight", shape.decoder.hidden)
    yield from _dense(transformer + "input_proj", (shape.decoder.hidden, latent), 1.0, bias=0.05)
    yield from _dense(transformer + "output_proj", (latent, shape.decoder.hidden), 1.0, bias=0.05)
    for index, ratio in enumerate(DECODER_RATIOS):
        stage = f"{own}upsample.{index}."
        spread = 1.0 / math.sqrt(latent)
        yield from _transposed(stage + "0.conv", (latent, latent, ratio), spread, bias=0.05)
        yield from _dense(stage + "1.dwconv.conv", (latent, 1, 7), 1.0, bias=0.05)
        yield _gain(stage + "1.norm.weight", latent)
        yield TensorPlan(stage + "1.norm.bias", (latent,), Normal(0.1))
        yield from _dense(stage + "1.pwconv1", (4 * latent, latent), 1.0, bias=0.05)
        yield from _dense(stage + "1.pwconv2", (latent, 4 * latent), 1.0, bias=0.05)
        yield _gain(stage + "1.gamma", latent, (0.1, 0.6))
    yield from _waveform_stages(own + "decoder.", shape)


def _waveform_stages(prefix: str, shape: ModelShape) -> Iterator[TensorPlan]:
    width = shape.decoder_channels
    yield from _dense(prefix + "0.conv", (width, shape.decoder_latent, 7), 1.0, bias=0.05)
    for index, rate in enumerate(DECODER_RATES, 1):
        block = f"{prefix}{index}.block."
        half = width // 2
        yield from _snake(block + "0", width)
        yield from _transposed(block + "1.conv", (width, half, 2 * rate), 0.62 / math.sqrt(width), bias=0.02)
        for unit in range(2, 5):
            yield from _snake(f"{block}{unit}.act1", half)
            yield from _dense(f"{block}{unit}.conv1.conv", (half, half, 7), 0.6, bias=0.02)
            yield from _snake(f"{block}{unit}.act2", half)
            yield from _dense(f"{block}{unit}.conv2.conv", (half, half, 1), 0.5, bias=0.02)
        width = half
    last = len(DECODER_RATES) + 1
    yield from _snake(f"{prefix}{last}", width)
    yield from _dense(f"{prefix}{last + 1}.conv", (1, width, 7), 0.2, bias=0.01)


def _transposed(name: str, shape: tuple[int, int, int], std: float, *, bias: float) -> Iterator[TensorPlan]:
    yield TensorPlan(name + ".weight", shape, Normal(std))
    yield TensorPlan(name + ".bias", (shape[1],), Normal(bias))


def _snake(name: str, width: int) -> Iterator[TensorPlan]:
    yield TensorPlan(name + ".alpha", (width,), Normal(0.3))
    yield TensorPlan(name + ".beta", (width,), Normal(0.3))


def _codec_encoder(shape: ModelShape) -> Iterator[TensorPlan]:
    own = "encoder."
    stack, width = shape.encoder, shape.encoder_filters
    stages = own + "encoder.layers."
    yield from _dense(stages + "0.conv", (width, 1, 7), 3.0, bias=0.05)
    position = 1
    for rate in reversed(ENCODER_RATIOS):
        yield from _dense(f"{stages}{position}.block.1.conv", (width // 2, width, 3), 1.0, bias=0.05)
        yield from _dense(f"{stages}{position}.block.3.conv", (width, width // 2, 1), 1.0, bias=0.05)
        yield from _dense(f"{stages}{position + 2}.conv", (2 * width, width, 2 * rate), 1.6, bias=0.05)
        width, position = 2 * width, position + 3
    yield from _dense(f"{stages}{position + 1}.conv", (stack.hidden, width, 3), 1.6, bias=0.05)
    yield from _codec_layers(own + "encoder_transformer.", stack, gated=False)
    yield from _dense(own + "downsample.conv", (stack.hidden, stack.hidden, 4), 1.0)
    for part, count in (("semantic", 1), ("acoustic", shape.encoder_quantizers - 1)):
        quantizer = f"{own}quantizer.{part}_residual_vector_quantizer."
        yield from _dense(quantizer + "input_proj", (shape.encoder_codebook_dim, stack.hidden, 1), 1.0)
        yield from _dense(quantizer + "output_proj", (stack.hidden, shape.encoder_codebook_dim, 1), 1.0)
        for index in range(count):
            book = f"{quantizer}layers.{index}.codebook."
            yield TensorPlan(book + "initialized", (1,), Ones())
            yield from _codebook(book, "embed_sum", (shape.codebook, shape.encoder_codebook_dim), 0.9**index)
