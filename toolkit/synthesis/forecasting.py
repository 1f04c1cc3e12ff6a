"""What a model will need at given settings, from its headers alone: nothing is loaded, and no card is touched."""

from __future__ import annotations

import torch

from toolkit.synthesis.codec_config import CodecConfig
from toolkit.synthesis.config import ModelConfig
from toolkit.synthesis.fast.codec_steps import longest_step
from toolkit.synthesis.fast.footprint import codec_footprint, footprint
from toolkit.synthesis.fast.path import FAST, choose_backend
from toolkit.synthesis.fast.state import StateSize
from toolkit.synthesis.hub import FoundModel
from toolkit.synthesis.limits import longest_part_frames
from toolkit.synthesis.loading import LoadOptions
from toolkit.synthesis.memory import MemoryPlan, Workload, plan_memory
from toolkit.synthesis.precision import choose_codec_dtype, choose_predictor_dtype

__all__ = ["forecast_speech"]

_TEMPLATE_POSITIONS = 64  # as in toolkit.synthesis.loading


def forecast_speech(
    found: FoundModel, options: LoadOptions, *, device: str, capability: tuple[int, int] | None, rows: int = 1
) -> MemoryPlan:
    """Memory for parts of the longest text, ``rows`` of them side by side.

    Args:
        found: the model, or one of random weights.
        options: a settled ``dtype`` and placement of the text table; ``device`` of it is not looked at.
        device: "cuda" or "cpu".
        capability: compute capability of the card.
        rows: parts side by side. They share ``audio_chunk_size``.

    Raises:
        BadModelFolder: a file is missing or damaged.
        UsageError: an option that is none.
    """
    config = ModelConfig.read(found.folder)
    codec_config = CodecConfig.read(found.folder / "speech_tokenizer").decoder
    fast = choose_backend(options.path, device, options.dtype).value == FAST
    codec = choose_codec_dtype(options.codec_dtype, capability, device).value
    dtype, codec_dtype = _named(options.dtype), _named(codec)
    text = options.max_text_length
    positions = _TEMPLATE_POSITIONS + text + longest_part_frames(text)
    chunk = options.audio_chunk_size
    static = None
    if fast:
        size = StateSize(rows, positions, _TEMPLATE_POSITIONS + text).rounded()
        predictor = _named(choose_predictor_dtype(options.dtype).value)
        static = footprint(config, size, dtype, predictor, on_card=device == "cuda")
        if device == "cuda":
            static = (*static, *codec_footprint(codec_config, rows, chunk, codec_dtype))
            chunk = longest_step(rows, chunk) * rows
    return plan_memory(
        found.weights("model.safetensors").tensors,
        found.weights("speech_tokenizer/model.safetensors").tensors,
        config,
        codec_config,
        dtype=dtype,
        codec_dtype=codec_dtype,
        text_table_on_device=device == "cpu" or options.text_embedding_on_cpu is False,
        positions=positions,
        workload=Workload(min(chunk, longest_part_frames(text) * rows), rows),
        on_card=device == "cuda",
        static=static,
    )


def _named(name: str) -> torch.dtype:
    found = getattr(torch, "float32" if name == "tf32" else name)
    assert isinstance(found, torch.dtype)  # noqa: S101 - for the type checker; names come from choices
    return found
