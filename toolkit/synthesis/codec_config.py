"""What ``speech_tokenizer/config.json`` says about the 12 Hz codec: sizes of its decoder and of its encoder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import BadModelFolder
from toolkit.synthesis.json_fields import Fields, read_json_object

__all__ = [
    "QUANTIZERS",
    "SAMPLES_PER_FRAME",
    "SAMPLE_RATE_HZ",
    "CodecConfig",
    "CodecDecoderConfig",
    "CodecEncoderConfig",
    "CodecStack",
]

QUANTIZERS = 16
"""Codes of one frame. The published encoder has 32 quantizers; the first 16 are used."""

SAMPLE_RATE_HZ = 24000

SAMPLES_PER_FRAME = 1920
"""80 ms at 24 kHz: 12.5 frames a second."""

_FAMILY = "qwen3_tts_tokenizer_12hz"


@dataclass(frozen=True)
class CodecStack:
    """Sizes of a stack of transformer layers; as many key heads as query heads."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    head_dim: int
    norm_eps: float
    rope_theta: float

    def __post_init__(self) -> None:
        if self.head_dim % 2:
            raise BadModelFolder(f"codec: head_dim is {self.head_dim}; rotary positions need an even number")

    @property
    def inner(self) -> int:
        """Width of all heads together."""
        return self.heads * self.head_dim


@dataclass(frozen=True)
class CodecDecoderConfig:
    """Sizes of the decoder. ``window`` counts the frames that a frame attends to, itself included."""

    stack: CodecStack
    window: int
    codebook_size: int
    codebook_dim: int
    latent: int
    channels: int
    rates: tuple[int, ...]
    ratios: tuple[int, ...]

    def __post_init__(self) -> None:
        samples = math.prod(self.rates) * math.prod(self.ratios)
        if samples != SAMPLES_PER_FRAME:
            raise BadModelFolder(f"codec: its decoder makes {samples} samples a frame instead of {SAMPLES_PER_FRAME}")
        if self.codebook_dim % 2 or self.channels % 2 ** len(self.rates):
            raise BadModelFolder("codec: codebook_dim and decoder_dim must halve evenly")

    @property
    def entry_dim(self) -> int:
        """Width of a codebook entry."""
        return self.codebook_dim // 2


@dataclass(frozen=True)
class CodecEncoderConfig:
    """Sizes of the encoder; ``rates`` are its strides from the waveform on. ``quantizers`` counts those in the file."""

    stack: CodecStack
    filters: int
    rates: tuple[int, ...]
    kernel: int
    last_kernel: int
    residual_kernel: int
    codebook_size: int
    entry_dim: int
    quantizers: int

    def __post_init__(self) -> None:
        samples = math.prod(self.rates) * 2
        if samples != SAMPLES_PER_FRAME:
            raise BadModelFolder(f"codec: its encoder reads {samples} samples a frame instead of {SAMPLES_PER_FRAME}")
        if self.quantizers < QUANTIZERS:
            raise BadModelFolder(f"codec: its encoder has {self.quantizers} quantizers; {QUANTIZERS} are needed")
        if self.filters % 2:
            raise BadModelFolder("codec: num_filters must halve evenly")

    @property
    def samples_per_position(self) -> int:
        """Samples behind one position of the encoder's transformer, which runs at twice the frame rate."""
        return math.prod(self.rates)


@dataclass(frozen=True)
class CodecConfig:
    """Both halves of the codec."""

    decoder: CodecDecoderConfig
    encoder: CodecEncoderConfig

    @classmethod
    def read(cls, folder: Path) -> CodecConfig:
        """Read the file.

        Args:
            folder: the ``speech_tokenizer`` folder inside a model folder.

        Raises:
            BadModelFolder: missing or damaged file, another codec, or arithmetic that is not implemented here.
        """
        fields = read_json_object(folder / "config.json")
        fields.where = "speech_tokenizer/config.json"
        family = fields.text("model_type", "")
        if family != _FAMILY:
            raise BadModelFolder(
                f'{fields.where}: model_type is "{family}"; only the 12 Hz tokenizer ({_FAMILY}) can be used'
            )
        for name, value in (
            ("encoder_valid_num_quantizers", QUANTIZERS),
            ("input_sample_rate", SAMPLE_RATE_HZ),
            ("output_sample_rate", SAMPLE_RATE_HZ),
            ("decode_upsample_rate", SAMPLES_PER_FRAME),
            ("encode_downsample_rate", SAMPLES_PER_FRAME),
        ):
            fields.must_be(name, value, default=value)
        return cls(_decoder(fields.part("decoder_config")), _encoder(fields.part("encoder_config")))


def _decoder(fields: Fields) -> CodecDecoderConfig:
    fields.must_be("num_quantizers", QUANTIZERS, default=QUANTIZERS)
    fields.must_be("num_semantic_quantizers", 1, default=1)
    fields.must_be("hidden_act", "silu", default="silu")
    return CodecDecoderConfig(
        stack=_stack(fields, "rms_norm_eps"),
        window=fields.integer("sliding_window", low=2),
        codebook_size=fields.integer("codebook_size", low=1),
        codebook_dim=fields.integer("codebook_dim", low=2),
        latent=fields.integer("latent_dim", low=1),
        channels=fields.integer("decoder_dim", low=2),
        rates=fields.integers("upsample_rates", low=2),
        ratios=fields.integers("upsampling_ratios", low=2),
    )


def _encoder(fields: Fields) -> CodecEncoderConfig:
    for name, value in (
        ("sampling_rate", SAMPLE_RATE_HZ),
        ("audio_channels", 1),
        ("num_residual_layers", 1),
        ("compress", 2),
        ("num_semantic_quantizers", 1),
    ):
        fields.must_be(name, value, default=value)
    fields.must_be("hidden_act", "gelu", default="gelu")
    fields.must_be("pad_mode", "constant", default="constant")
    fields.must_be("use_causal_conv", True, default=True)
    fields.must_be("use_conv_shortcut", False, default=False)
    return CodecEncoderConfig(
        stack=_stack(fields, "norm_eps"),
        filters=fields.integer("num_filters", low=2),
        rates=tuple(reversed(fields.integers("upsampling_ratios", low=2))),
        kernel=fields.integer("kernel_size", 7, low=1),
        last_kernel=fields.integer("last_kernel_size", 3, low=1),
        residual_kernel=fields.integer("residual_kernel_size", 3, low=1),
        codebook_size=fields.integer("codebook_size", low=1),
        entry_dim=fields.integer("codebook_dim", 256, low=1),
        quantizers=fields.integer("num_quantizers", low=1, high=1000),
    )


def _stack(fields: Fields, eps: str) -> CodecStack:
    fields.must_be("attention_bias", False, default=False)
    heads = fields.integer("num_attention_heads", low=1)
    fields.must_be("num_key_value_heads", heads, default=heads)
    hidden = fields.integer("hidden_size", low=1)
    return CodecStack(
        layers=fields.integer("num_hidden_layers", low=1, high=1000),
        hidden=hidden,
        intermediate=fields.integer("intermediate_size", low=1),
        heads=heads,
        head_dim=fields.integer("head_dim", hidden // heads, low=2),
        norm_eps=fields.number(eps, 1e-5),
        rope_theta=fields.number("rope_theta", 10000.0, low=1.0),
    )
