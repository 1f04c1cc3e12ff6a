"""Facts: flat names with values, values that could not be had, and what reporters tell in their own words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from troubleshoot.errors import FactsError
from troubleshoot.gpu_names import architecture_of, card_from_text, compute_capability

__all__ = ["NA", "FactValue", "Facts", "fact_from_json", "fact_to_json", "told_fact", "told_facts"]


@dataclass(frozen=True)
class NA:
    """A value that could not be had, with the reason. It is falsy and prints as ``N/A (reason)``."""

    reason: str

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return f"N/A ({self.reason})"


FactValue = object
Facts = Mapping[str, FactValue]

_NAME = re.compile(r"^[a-z][a-z0-9_]*(\.[a-zA-Z0-9_-]+)+$")
_VERSION = re.compile(r"\d+(?:\.\d+)+(?:[a-z]+\d+)?(?:\.dev\d+)?")
_MAX_TEXT = 2_000
_MODEL_TYPES = (("custom-voice", r"custom ?-?voice"), ("voice-design", r"voice ?-?design"), ("base", r"\bbase\b"))


def fact_to_json(value: FactValue) -> object:
    """JSON form of a fact at any depth; NA, and a number that JSON does not have, becomes ``{"na": reason}``."""
    if isinstance(value, NA):
        return {"na": value.reason}
    if isinstance(value, float) and not math.isfinite(value):
        return {"na": f"the value is {value}"}
    if isinstance(value, Mapping):
        return {str(key): fact_to_json(inner) for key, inner in value.items()}
    return [fact_to_json(inner) for inner in value] if isinstance(value, list | tuple) else value


def fact_from_json(value: object) -> FactValue:
    """Inverse of :func:`fact_to_json`."""
    if isinstance(value, dict) and set(value) == {"na"} and isinstance(value["na"], str):
        return NA(value["na"])
    return value


def told_facts(told: Mapping[str, object]) -> dict[str, FactValue]:
    """Turn what a reporter told (``gpu: RTX 5080 16GB``, ``torch: 2.6.0+cu124``) into facts by their proper names.

    Names that already are proper (``gpu.cc``) pass through; unknown short names become ``told.NAME``.
    Raises :class:`FactsError` for a name or value that cannot be a fact.
    """
    facts: dict[str, FactValue] = {}
    # The explicit short names come last so that `cc` overrides what a card's name implies.
    for name in sorted(told, key=lambda key: (key in ("cc", "vram"), "." in key)):
        facts.update(told_fact(name, told[name]))
    return facts


def told_fact(name: str, value: object) -> dict[str, FactValue]:
    """Facts that one told name and value give; see :func:`told_facts`."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][\w.-]{0,63}", name):
        raise FactsError(f"fact name {name!r} is not usable: give letters, digits, '.', '_', '-', such as gpu.cc")
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        raise FactsError(f"fact {name}: {len(value)} characters, at most {_MAX_TEXT} are taken")
    if _NAME.match(name):
        return {name: _typed(name, value) if isinstance(value, str) else value}
    text = str(value).strip()
    if not text:
        return {}
    reader = _READERS.get(name.lower())
    return reader(text) if reader else {f"told.{name.lower()}": text}


def _typed(name: str, text: str) -> FactValue:
    lowered = text.strip().lower()
    is_version = name.rsplit(".", 1)[-1] in ("version", "cc", "cuda", "build", "arch_min", "arch_max")
    if not is_version and re.fullmatch(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", lowered):
        return float(lowered) if "." in lowered or "e" in lowered else int(lowered)
    if lowered in ("true", "yes"):
        return True
    if lowered in ("false", "no"):
        return False
    return text.strip()


def _version_reader(fact: str) -> Callable[[str], dict[str, FactValue]]:
    def read(text: str) -> dict[str, FactValue]:
        if re.search(r"\bpins?\b|claimed|involved", text):  # what a package asks for is not what is installed
            return {"told." + fact.split(".")[0]: text}
        found = _VERSION.search(text) or re.match(r"\d+(?=\.x|$)", text)
        return {fact: found.group(0)} if found else {"told." + fact.split(".")[0]: text}

    return read


def _read_os(text: str) -> dict[str, FactValue]:
    facts: dict[str, FactValue] = {"os.name": text}
    lowered = text.lower()
    if "wsl" in lowered:
        facts.update({"os.family": "linux", "os.wsl": True})
    elif "windows" in lowered and "linux" not in lowered and "fedora" not in lowered and "ubuntu" not in lowered:
        facts.update({"os.family": "windows", "os.wsl": False})
    elif re.search(r"macos|mac os|os x|darwin", lowered) and not re.search(r"ubuntu|linux|windows", lowered):
        facts.update({"os.family": "macos", "os.wsl": False, "gpu.vendor": "apple"})
    elif re.search(r"linux|ubuntu|debian|fedora|arch|centos|mint|ec2|raspberry", lowered) and "windows" not in lowered:
        facts.update({"os.family": "linux", "os.wsl": False})
    if re.search(r"docker|container|podman|kubernetes|\bk8s\b", lowered):
        facts["os.container"] = True
    return facts


def _read_gpu(text: str) -> dict[str, FactValue]:
    if text.lower() in ("none", "no", "cpu"):
        return {"gpu.vendor": "none"}
    card = card_from_text(text, is_name=True)
    facts: dict[str, FactValue] = {"gpu.name": text}
    if card.vendor:
        facts["gpu.vendor"] = card.vendor
    # "RTX 2060, T4 and A100" tells of several machines: only what they have in common is a fact.
    parts = [compute_capability(part) for part in re.split(r"[,/+&]| and ", text)]
    kinds = {architecture_of(float(part)) for part in parts if part}
    if card.capability and len(kinds) <= 1:
        facts["gpu.cc"] = card.capability
        facts["gpu.architecture"] = architecture_of(float(card.capability))
    if card.memory_gb:
        facts["gpu.memory_gb"] = card.memory_gb
    return facts


def _read_capability(text: str) -> dict[str, FactValue]:
    found = re.search(r"(\d{1,2})\.(\d)|sm_?(\d{1,2})(\d)", text)
    if not found:
        return {"told.cc": text}
    capability = f"{found.group(1) or found.group(3)}.{found.group(2) or found.group(4)}"
    return {"gpu.cc": capability, "gpu.architecture": architecture_of(float(capability))}


def _read_memory(text: str) -> dict[str, FactValue]:
    found = re.search(r"(\d+(?:\.\d+)?)\s*(g|m)", text.lower())
    if not found:
        return {"told.vram": text}
    size = float(found.group(1))
    return {"gpu.memory_gb": size if found.group(2) == "g" else size / 1024}


def _read_torch(text: str) -> dict[str, FactValue]:
    facts: dict[str, FactValue] = {"told.torch": text}
    found = _VERSION.search(text)
    if found:
        facts["torch.version"] = found.group(0)
    build = re.search(r"\+?\b(cpu|cu\d{2,3}|rocm[\d.]*)\b", text.lower())
    if build:
        facts["torch.build"] = build.group(1)
        cuda = re.fullmatch(r"cu(\d{2})(\d)", build.group(1))
        if cuda:
            facts["torch.cuda"] = f"{cuda.group(1)}.{cuda.group(2)}"
    return facts


def _read_driver(text: str) -> dict[str, FactValue]:
    cuda = re.search(r"cuda\s*(\d+\.\d+)", text.lower())
    if cuda:
        return {"driver.cuda": cuda.group(1)}
    found = re.search(r"\d{3}(?:\.\d+)+|\d{3}", text)
    return {"driver.version": found.group(0)} if found else {"told.driver": text}


def _read_model(text: str) -> dict[str, FactValue]:
    facts: dict[str, FactValue] = {"model.name": text}
    size = re.search(r"\b(0\.6|1\.7) ?b\b", text.lower())
    if size:
        facts["model.size"] = f"{size.group(1)}B"
    kinds = {
        kind
        for kind, pattern in _MODEL_TYPES
        if re.search(pattern, text.lower()) and "as base" not in text.lower()
    }
    if len(kinds) == 1:
        facts["model.type"] = kinds.pop()
    return facts


def _read_dtype(text: str) -> dict[str, FactValue]:
    lowered = text.lower()
    for dtype, pattern in (
        ("bfloat16", r"bf16|bfloat16"),
        ("float16", r"\b(fp16|float16|f16|half)\b"),
        ("float32", r"\b(fp32|float32|f32|float)\b"),
    ):
        if re.search(pattern, lowered):
            return {"run.dtype": dtype}
    return {"told.dtype": text}


def _read_attention(text: str) -> dict[str, FactValue]:
    lowered = text.lower().replace("-", "_")
    if "no_flash" in lowered:
        return {"run.attention": "eager"}
    for attention in ("flash", "sdpa", "eager"):
        if attention in lowered:
            return {"run.attention": "flash_attention_2" if attention == "flash" else attention}
    return {"told.attn": text}


def _read_device(text: str) -> dict[str, FactValue]:
    found = re.findall(r"\b(cpu|cuda|mps|xpu|vulkan|rocm|gpu)\b", text.lower())
    facts: dict[str, FactValue] = {"told.device": text}
    return {**facts, "run.device": found[0]} if len(set(found)) == 1 else facts


def _read_runtime(text: str) -> dict[str, FactValue]:
    return {"run.runtime": text}


_READERS: dict[str, Callable[[str], dict[str, FactValue]]] = {
    "os": _read_os, "gpu": _read_gpu, "cc": _read_capability, "vram": _read_memory, "torch": _read_torch,
    "driver": _read_driver, "model": _read_model, "dtype": _read_dtype, "attn": _read_attention,
    "attention": _read_attention, "device": _read_device, "runtime": _read_runtime,
    "app": lambda text: {"run.app": text},
    "tts": lambda text: {"run.app": text},
    "rocm": lambda text: {"gpu.vendor": "amd", "torch.build": "rocm", "told.rocm": text},
    "vllm": lambda text: {"run.runtime": "vllm", **_version_reader("vllm.version")(text)},
    "vllm_omni": lambda text: {"run.runtime": "vllm-omni", **_version_reader("vllm_omni.version")(text)},
    **{
        name: _version_reader(f"{name}.version")
        for name in (
            "python", "transformers", "accelerate", "qwen_tts", "numpy", "gradio", "pydantic", "onnxruntime",
            "huggingface_hub", "librosa", "ctranslate2", "cudnn", "torchaudio", "torchvision", "torchcodec",
            "triton", "flash_attn", "soundfile", "nvcc",
        )
    },
}
