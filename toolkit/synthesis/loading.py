"""Puts a model together from its folder: checks first, then weights, each choice kept with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch

from toolkit.errors import BadModelFolder, GpuUnavailable, OutOfMemory, UsageError
from toolkit.synthesis.codec_config import CodecConfig, CodecDecoderConfig
from toolkit.synthesis.codec_decoder import CodecDecoder
from toolkit.synthesis.codec_encoder import CodecEncoder
from toolkit.synthesis.config import ModelConfig
from toolkit.synthesis.fast.codec_steps import longest_step
from toolkit.synthesis.fast.footprint import codec_footprint, footprint
from toolkit.synthesis.fast.path import FAST, AskedPath, choose_backend, choose_path, triton_version
from toolkit.synthesis.fast.state import StateSize
from toolkit.synthesis.hub import FoundModel
from toolkit.synthesis.limits import longest_part_frames
from toolkit.synthesis.memory import (
    DeviceMemory,
    MemoryLine,
    MemoryPlan,
    Workload,
    check_fits,
    device_memory,
    is_out_of_memory,
    parse_limit,
    plan_memory,
)
from toolkit.synthesis.precision import (
    Choice,
    choose_codec_dtype,
    choose_dtype,
    choose_predictor_dtype,
    choose_text_table_device,
)
from toolkit.synthesis.prompt import PromptBuilder
from toolkit.synthesis.speaker_encoder import SpeakerEncoder
from toolkit.synthesis.talker import Talker, load_talker
from toolkit.synthesis.tokenizer import TextTokenizer, WordRule
from toolkit.synthesis.weights import SafetensorsFile

__all__ = ["LoadedModel", "LoadOptions", "choose_device", "describe_model", "load_model"]

_TEMPLATE_POSITIONS = 64  # role, tags, marks, and an instruction of ordinary length


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded; see :func:`toolkit.synthesis.speaker.load` for what each means."""

    device: str = "auto"
    dtype: str = "auto"
    codec_dtype: str = "auto"
    text_embedding_on_cpu: bool | Literal["auto"] = "auto"
    audio_chunk_size: int = 300
    max_text_length: int = 300
    vram_limit: str | float | int | None = None
    word_rule: WordRule | Literal["official"] = "official"
    path: AskedPath = "auto"

    def __post_init__(self) -> None:
        size = self.audio_chunk_size
        if type(size) is not int or not 1 <= size <= 8192:
            raise UsageError(f"audio_chunk_size must be a whole number of frames from 1 to 8192, not {size!r}")
        if self.word_rule not in ("official", "qwen", "mistral"):
            raise UsageError(f"word_rule must be 'official', 'qwen' or 'mistral', not {self.word_rule!r}")


@dataclass(eq=False)
class LoadedModel:
    """A model in memory, with what was decided about it.

    The encoders of a base model are loaded when a voice is first cloned. They are float32 whatever the rest is: the
    codes of a reference depend on it, and they run once a voice.
    """

    name: str
    folder: Path
    config: ModelConfig
    codec_config: CodecConfig
    talker: Talker
    prompts: PromptBuilder
    decoder: CodecDecoder
    device: torch.device
    dtype: Choice
    codec_dtype: Choice
    text_table: Choice
    plan: MemoryPlan
    memory: DeviceMemory
    path: Choice
    notes: tuple[str, ...] = field(default=())

    @cached_property
    def speaker_encoder(self) -> SpeakerEncoder:
        """Of base models."""
        if self.config.speaker_encoder is None:
            raise BadModelFolder(f"{self.name} has no speaker encoder; only base models have one")
        file = SafetensorsFile(self.folder / "model.safetensors")
        return SpeakerEncoder.load(self.config.speaker_encoder, file, self.device)

    @cached_property
    def codec_encoder(self) -> CodecEncoder:
        """From a waveform to codes."""
        file = SafetensorsFile(self.folder / "speech_tokenizer" / "model.safetensors")
        return CodecEncoder.load(self.codec_config.encoder, file, self.device)


def choose_device(asked: str) -> torch.device:
    """The device that "auto" or a name of PyTorch's means: the first CUDA card, else the CPU.

    Raises:
        GpuUnavailable: a card was asked for and PyTorch sees none.
        UsageError: no device of PyTorch's.
    """
    if asked == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
    except (RuntimeError, TypeError):
        raise UsageError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:1' and the like, not {asked!r}") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device {asked!r} is not supported; take 'cuda' or 'cpu'")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise GpuUnavailable("PyTorch sees no CUDA card; `qwen-audio doctor` says why. Or take device='cpu'.")
        device = torch.device("cuda", device.index or 0)
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise UsageError(f"device {asked!r}: there are {torch.cuda.device_count()} cards, counted from 0")
    return device


def load_model(found: FoundModel, options: LoadOptions) -> LoadedModel:
    """Load a model.

    Raises:
        BadModelFolder: a file is missing or damaged, does not fit the configuration, or holds NaN.
        OutOfMemory: it would not fit below ``vram_limit``, or did not fit.
        GpuUnavailable: a card was asked for and there is none.
        UsageError: an option that is none.
    """
    device = choose_device(options.device)
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    dtype = choose_dtype(options.dtype, capability, device.type)
    path = choose_backend(options.path, device.type, dtype.value)
    config = ModelConfig.read(found.folder)
    if not (found.folder / "speech_tokenizer").is_dir():
        raise BadModelFolder(f"{found.folder}: the folder speech_tokenizer is missing; without it there is no sound")
    codec_config = CodecConfig.read(found.folder / "speech_tokenizer")
    codec_file = found.weights("speech_tokenizer/model.safetensors")
    model_file = found.weights("model.safetensors")
    tokenizer = TextTokenizer(found.folder, config, rule=options.word_rule, from_hub=found.repository is not None)

    memory = device_memory(device)
    limit = parse_limit(options.vram_limit, memory.total_bytes())
    usable = limit or (memory.total_bytes() if device.type == "cuda" else None)
    text_table = choose_text_table_device(options.text_embedding_on_cpu, device.type, usable)

    fast = path.value == FAST

    def plan(codec_dtype: str) -> MemoryPlan:
        return plan_memory(
            model_file.tensors,
            codec_file.tensors,
            config,
            codec_config.decoder,
            dtype=_torch_dtype(dtype.value),
            codec_dtype=_torch_dtype(codec_dtype),
            text_table_on_device=text_table.value == device.type,
            positions=_positions(options.max_text_length),
            workload=_workload(options, device.type, fast=fast),
            on_card=device.type == "cuda",
            static=_static_lines(config, codec_config.decoder, options, dtype.value, codec_dtype, device.type)
            if fast
            else None,
        )

    codec_dtype = choose_codec_dtype(
        options.codec_dtype, capability, device.type, need_bytes=plan("float32").total_bytes, memory_bytes=usable
    )
    planned = plan(codec_dtype.value)
    check_fits(planned, limit)
    notes = [found.note, dtype.warning, codec_dtype.warning]
    if limit is not None and not memory.cap(limit):
        notes.append("vram_limit was compared with the forecast; only a CUDA card's memory can be capped.")

    try:
        decoder = CodecDecoder.load(
            codec_config.decoder,
            codec_file,
            device,
            _torch_dtype(codec_dtype.value),
            tf32=codec_dtype.value == "tf32",
        )
        talker = load_talker(
            found.folder,
            config,
            device=device,
            dtype=_torch_dtype(dtype.value),
            predictor_dtype=_torch_dtype(choose_predictor_dtype(dtype.value).value),
            text_table_device="cpu" if text_table.value == "cpu" else device,
            pack=not fast,
            file=model_file,
        )
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"the model does not fit into the memory that is free; forecast: {planned}") from error
    return LoadedModel(
        name=found.name,
        folder=found.folder,
        config=config,
        codec_config=codec_config,
        talker=talker,
        prompts=PromptBuilder(talker, tokenizer),
        decoder=decoder,
        device=device,
        dtype=dtype,
        codec_dtype=codec_dtype,
        text_table=text_table,
        plan=planned,
        memory=memory,
        path=path,
        notes=tuple(note for note in notes if note),
    )


def describe_model(found: FoundModel) -> dict[str, object]:
    """What a model is, as JSON values, from its JSON files and headers; ``memory_bytes`` by dtype are forecasts,
    ``path`` is how its frames would run on this machine.

    Raises:
        BadModelFolder: a file is missing or damaged.
    """
    config = ModelConfig.read(found.folder)
    codec = CodecConfig.read(found.folder / "speech_tokenizer")
    model_file = SafetensorsFile(found.folder / "model.safetensors")
    codec_file = SafetensorsFile(found.folder / "speech_tokenizer" / "model.safetensors")
    characters = LoadOptions().max_text_length
    device = choose_device("auto")
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    way = choose_backend("auto", device.type, choose_dtype("auto", capability, device.type).value)
    fast = way.value == FAST
    if fast:
        way = choose_path(device.type, capability, triton_version())
    memory = {
        name: plan_memory(
            model_file.tensors,
            codec_file.tensors,
            config,
            codec.decoder,
            dtype=_torch_dtype(name),
            codec_dtype=torch.float32,
            text_table_on_device=True,
            positions=_positions(characters),
            workload=_workload(LoadOptions(), "cuda", fast=fast),
            on_card=True,
            static=_static_lines(config, codec.decoder, LoadOptions(), name, "float32", "cuda") if fast else None,
        ).total_bytes
        for name in ("bfloat16", "float32")
    }
    return {
        "name": found.name,
        "folder": str(found.folder),
        "revision": found.revision,
        "kind": config.kind,
        "size": {"0b6": "0.6B", "1b7": "1.7B"}[config.size],
        "speakers": list(config.speakers),
        "languages": list(config.languages),
        "takes_instruct": config.instructs,
        "parameters": sum(entry.element_count for entry in model_file.tensors.values()),
        "memory_bytes": memory,
        "path": str(way),
    }


def _positions(max_text_length: int) -> int:
    """Prompt and speech of the longest part."""
    return _TEMPLATE_POSITIONS + max_text_length + longest_part_frames(max_text_length)


def _workload(options: LoadOptions, device: str, *, fast: bool) -> Workload:
    """What is decoded at once of one text: on the fast path a step, since a card records the codec in short ones."""
    if fast and device == "cuda":
        return Workload(longest_step(1, options.audio_chunk_size))
    return Workload(options.audio_chunk_size)


def _static_lines(
    config: ModelConfig, codec: CodecDecoderConfig, options: LoadOptions, dtype: str, codec_dtype: str, device: str
) -> tuple[MemoryLine, ...]:
    """What the fast path sets aside for one part of the longest text."""
    text = options.max_text_length
    frames = footprint(
        config,
        StateSize(1, _positions(text), _TEMPLATE_POSITIONS + text).rounded(),
        _torch_dtype(dtype),
        _torch_dtype(choose_predictor_dtype(dtype).value),
        on_card=device == "cuda",
    )
    if device != "cuda":
        return frames
    return (*frames, *codec_footprint(codec, 1, options.audio_chunk_size, _torch_dtype(codec_dtype)))


def _torch_dtype(name: str) -> torch.dtype:
    found = getattr(torch, "float32" if name == "tf32" else name)
    assert isinstance(found, torch.dtype)  # noqa: S101 - for the type checker; names come from Choice
    return found
