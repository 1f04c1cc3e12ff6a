"""The sizes that a memory forecast needs: of a model folder by its facts, or of the published checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

__all__ = [
    "CONTEXT_FRAMES",
    "OFFICIAL_CHUNK_FRAMES",
    "PUBLISHED_SHAPES",
    "CodecShape",
    "DecoderShape",
    "ModelShape",
    "shape_from_facts",
]

_ELEMENT_BYTES = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8}
# Live at once in the last block's residual unit, in units of its output: the residual, the padded input of the
# convolution, the unpadded one that the caller still holds, the output, and one for cuDNN's workspace.
_LIVE_OUTPUTS = 5
CONTEXT_FRAMES = 25
"""Left context that the official chunked decode replays before each chunk (qwen-tts 0.1.1)."""
OFFICIAL_CHUNK_FRAMES = 300
"""Chunk of the official decode, frames of 80 ms (qwen-tts 0.1.1)."""


@dataclass(frozen=True)
class DecoderShape:
    """A transformer of the model: what its KV cache is made of."""

    layers: int
    kv_heads: int
    head_dim: int
    hidden: int

    def __post_init__(self) -> None:
        if min(self.layers, self.kv_heads, self.head_dim, self.hidden) < 1:
            raise ValueError(f"every size of a decoder is at least 1: {self}")

    @property
    def kv_elements(self) -> int:
        """Elements of keys and values for one position."""
        return self.layers * 2 * self.kv_heads * self.head_dim


@dataclass(frozen=True)
class CodecShape:
    """The codec's decoder: channels are halved from block to block while the rate is multiplied."""

    decoder_dim: int = 1536
    upsample_rates: tuple[int, ...] = (8, 5, 4, 3)
    upsampling_ratios: tuple[int, ...] = (2, 2)

    def __post_init__(self) -> None:
        if self.decoder_dim < 1 or not self.upsample_rates or min(*self.upsample_rates, *self.upsampling_ratios, 1) < 1:
            raise ValueError(f"the codec's channels and rates are at least 1: {self}")

    @property
    def stages(self) -> tuple[tuple[int, int], ...]:
        """(channels, samples a frame) after decoder.0 and after each block; the published one ends with (96, 1920)."""
        samples, channels = prod(self.upsampling_ratios), self.decoder_dim
        found = [(channels, samples)]
        for rate in self.upsample_rates:
            channels, samples = max(1, channels // 2), samples * rate
            found.append((channels, samples))
        return tuple(found)

    def peak_elements_per_frame(self) -> tuple[int, str]:
        """Most elements alive at once in the decode of one frame, and the formula: the widest block decides."""
        peaks = []
        for (channels_in, samples_in), (channels, samples) in zip(self.stages, self.stages[1:], strict=False):
            count = _LIVE_OUTPUTS * channels * samples + channels_in * samples_in
            formula = f"({_LIVE_OUTPUTS} x {channels} ch x {samples} + {channels_in} ch x {samples_in})"
            peaks.append((count, formula))
        return max(peaks)


@dataclass(frozen=True)
class ModelShape:
    """A model's parts. ``elements`` counts the floating-point weights by component, ``other_bytes`` all the rest."""

    name: str
    size: str
    kind: str
    elements: Mapping[str, int]
    other_bytes: int
    talker: DecoderShape
    predictor: DecoderShape
    codec: CodecShape
    max_new_tokens: int = 8192


_PREDICTOR = DecoderShape(layers=5, kv_heads=8, head_dim=128, hidden=1024)
# Counted from the published tensors: model.safetensors agrees with each sum to within its header.
_CODEC_ELEMENTS = {"codec_decoder": 114_323_137, "codec_encoder": 56_234_304}
_SMALL = {"talker": 453_053_440, "text_embedding": 311_164_928, "code_predictor": 141_570_304}
_LARGE = {"talker": 1_430_385_664, "text_embedding": 311_164_928, "code_predictor": 175_125_760}


def _published(size: str, kind: str, elements: Mapping[str, int], hidden: int) -> ModelShape:
    talker = DecoderShape(layers=28, kv_heads=8, head_dim=128, hidden=hidden)
    name = f"Qwen3-TTS-12Hz-{size}-{kind}"
    return ModelShape(name, size, kind, {**elements, **_CODEC_ELEMENTS}, 0, talker, _PREDICTOR, CodecShape())


PUBLISHED_SHAPES: tuple[ModelShape, ...] = (
    _published("0.6B", "CustomVoice", _SMALL, 1024),
    _published("0.6B", "Base", {**_SMALL, "speaker_encoder": 8_854_336}, 1024),
    _published("1.7B", "CustomVoice", _LARGE, 2048),
    _published("1.7B", "Base", {**_LARGE, "speaker_encoder": 12_001_088}, 2048),
)
"""The four shapes that were published; the 1.7B VoiceDesign has that of the 1.7B CustomVoice."""


def shape_from_facts(facts: Mapping[str, object]) -> ModelShape | None:
    """Shape of the model that the facts tell of: measured on a folder, or the published one of its size and type.

    None when the facts tell of no model.
    """
    measured = _measured(facts)
    if measured is not None:
        return measured
    size, kind = facts.get("model.size"), str(facts.get("model.type") or "")
    wanted = "Base" if kind == "base" else "CustomVoice"
    found = next((shape for shape in PUBLISHED_SHAPES if (shape.size, shape.kind) == (size, wanted)), None)
    if found is not None and kind == "voice-design":
        return replace(found, kind="VoiceDesign", name=f"Qwen3-TTS-12Hz-{size}-VoiceDesign")
    return found


def _measured(facts: Mapping[str, object]) -> ModelShape | None:
    weights = facts.get("model.weight_bytes")
    talker, predictor = _decoder(facts.get("model.talker")), _decoder(facts.get("model.predictor"))
    if not isinstance(weights, dict) or "talker" not in weights or talker is None or predictor is None:
        return None
    elements: dict[str, int] = {}
    other_bytes = 0
    for component, sizes in weights.items():
        for dtype, byte_count in sizes.items() if isinstance(sizes, dict) else ():
            width = _ELEMENT_BYTES.get(dtype)
            if width:
                elements[component] = elements.get(component, 0) + byte_count // width
            else:
                other_bytes += byte_count
    for component, count in _CODEC_ELEMENTS.items():  # a folder whose codec could not be read will have it in the end
        elements.setdefault(component, count)
    most = facts.get("model.max_new_tokens")
    return ModelShape(
        name=str(facts.get("model.name") or "the model"),
        size=str(facts.get("model.size") or "unknown size"),
        kind=str(facts.get("model.type") or "unknown type"),
        elements=elements,
        other_bytes=other_bytes,
        talker=talker,
        predictor=predictor,
        codec=_codec(facts.get("model.codec")),
        max_new_tokens=most if isinstance(most, int) and most > 0 else 8192,
    )


def _decoder(table: object) -> DecoderShape | None:
    names = ("layers", "kv_heads", "head_dim", "hidden")
    if not isinstance(table, dict) or not all(isinstance(table.get(name), int) and table[name] > 0 for name in names):
        return None
    return DecoderShape(**{name: table[name] for name in names})


def _codec(table: object) -> CodecShape:
    if not isinstance(table, dict):
        return CodecShape()
    try:
        rates, ratios = tuple(map(int, table["upsample_rates"])), tuple(map(int, table["upsampling_ratios"]))
        return CodecShape(int(table["decoder_dim"]), rates, ratios)
    except (KeyError, TypeError, ValueError):
        return CodecShape()
