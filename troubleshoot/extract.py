"""Facts that a log or a sentence states by the way: the card, versions, dtype, operating system."""

from __future__ import annotations

import re
from collections.abc import Iterable

from troubleshoot.facts import FactValue, told_fact
from troubleshoot.gpu_names import architecture_of, card_from_text

__all__ = ["facts_from_log", "facts_from_words"]

_CAPABILITY = re.compile(r"CUDA capability sm_(\d{1,2})(\d)\b")
_CARD_OF_WARNING = re.compile(r"(NVIDIA [\w ()-]+?|[\w ()-]{3,60}?) with CUDA capability sm_")
_ARCHITECTURES = re.compile(r"supports CUDA capabilit[a-z]+ ((?:(?:sm|compute)_\d+a?[ ,]*)+)", re.IGNORECASE)
_DRIVER_FOUND = re.compile(r"found version (\d{4,5})\b")
_CAPACITY = re.compile(r"total capacity of ([\d.]+) (GiB|MiB)")
_FREE = re.compile(r"of which ([\d.]+) (GiB|MiB) is free")
_OTHERS = re.compile(r"Process \d+ has ([\d.]+) (GiB|MiB) memory in use")
_TORCH = re.compile(
    r"(?:py)?torch(?:\.__version__)?\W{0,4}(?:version)?\W{0,4}(\d+\.\d+(?:\.\d+)?(?:\.dev\d+)?(?:\+[\w.]+)?)",
    re.IGNORECASE,
)
_PACKAGE = re.compile(
    r"\b(transformers|accelerate|numpy|gradio|pydantic|librosa|qwen[-_]tts|torchaudio|torchcodec|triton|vllm|huggingface[-_]hub)"
    r"(?: version)?[ :=<>~-]{1,4}v?(\d+\.\d+(?:\.\d+)?(?:\.?(?:rc|dev|a|b)\d+)?)",
    re.IGNORECASE,
)
_WINDOWS_PATH = re.compile(r"\b[A-Za-z]:\\|\\Lib\\site-packages|site-packages\\|\.dll\b|python_embeded|WinError")
_POSIX_PATH = re.compile(r'"?/(?:home|root|usr|opt|app|workspace)/|/site-packages/|\.so(?:\.\d+)*\b')
_MAC = re.compile(r"/Users/\w|/opt/homebrew|\bMPS\b|\bmacOS\b|\bMetal\b|Apple Silicon", re.IGNORECASE)
_AMD = re.compile(r"\bMIOpen\b|\bHIP error\b|\bROCm\b|\bgfx\d{3,4}\b", re.IGNORECASE)
_DTYPE = re.compile(r"\b(bfloat16|bf16|float16|fp16|f16|half precision|float32|fp32|f32)\b", re.IGNORECASE)
_OTHER_DTYPE = re.compile(
    r"(?:fix|cur|help|fine (?:in|with)|works? (?:in|with)|instead|switch|passing|brings?|without|\bno|\bnot|lacks?"
    r"|supports?)[^.]{0,40}(?:bf16|bfloat16|fp16|float16|f16|fp32|float32|f32)"
    r"|(?:bf16|bfloat16|fp16|float16|f16|fp32|float32|f32)[^.]{0,30}(?:fix|cure|help|works?\b|is fine|brings?|support)",
    re.IGNORECASE,
)
_SIZE_AND_TYPE = re.compile(
    r"\b(?:0\.6|1\.7)B(?:[-_ ](?:base|custom ?voice|voice ?design))?|\b(?:CustomVoice|VoiceDesign)\b", re.IGNORECASE
)
_RUNTIMES = re.compile(
    r"\b(faster-qwen3-tts|vllm-omni|vllm|mlx-audio|mlx|koboldcpp|ComfyUI|voicebox|llama\.cpp|ggml|onnxruntime|faster[-_]whisper|sglang)\b",
    re.IGNORECASE,
)


def facts_from_log(lines: Iterable[str]) -> dict[str, FactValue]:
    """Facts stated by log lines; the first statement of a name is kept."""
    facts: dict[str, FactValue] = {}
    others_gb = 0.0
    for line in lines:
        for name, value in _facts_of_line(line).items():
            facts.setdefault(name, value)
        others_gb += sum(_gigabytes(*found) for found in _OTHERS.findall(line))
    if others_gb and "gpu.other_gb" not in facts:
        facts["gpu.other_gb"] = round(others_gb, 3)
    return facts


def facts_from_words(words: str) -> dict[str, FactValue]:
    """Facts that a person states in a sentence: "RTX 2060", "1.7B CustomVoice", "bf16", "on Windows"."""
    facts = _card_facts(words)
    for found in _SIZE_AND_TYPE.findall(words):
        facts.update(told_fact("model", found))
    dtypes = {told_fact("dtype", found).get("run.dtype") for found in _DTYPE.findall(words)} - {None}
    # A sentence that names two dtypes compares them; one that says "float32 cures it" or "no bf16" runs in another.
    if len(dtypes) == 1 and not _OTHER_DTYPE.search(words):
        facts["run.dtype"] = dtypes.pop()
    facts.update(_versions(words))
    runtime = _RUNTIMES.search(words)
    if runtime:
        facts["run.runtime"] = runtime.group(1)
    if re.search(r"\bWSL ?2?\b", words):
        facts.update({"os.family": "linux", "os.wsl": True})
    elif re.search(r"\bwindows\b", words, re.IGNORECASE):
        facts["os.family"] = "windows"
    elif re.search(r"\b(mac|macos|macbook|mac studio|imac)\b", words, re.IGNORECASE):
        facts["os.family"] = "macos"
    elif re.search(r"\b(linux|ubuntu|debian|fedora)\b", words, re.IGNORECASE):
        facts["os.family"] = "linux"
    if re.search(r"\b(docker|container|podman)\b", words, re.IGNORECASE):
        facts["os.container"] = True
    return facts


def _facts_of_line(line: str) -> dict[str, FactValue]:
    facts: dict[str, FactValue] = {}
    if found := _CAPABILITY.search(line):
        capability = f"{found.group(1)}.{found.group(2)}"
        facts["gpu.vendor"] = "nvidia"
        facts["gpu.cc"] = capability
        facts["gpu.architecture"] = architecture_of(float(capability))
        if card := _CARD_OF_WARNING.search(line):
            facts["gpu.name"] = card.group(1).strip()
    if found := _ARCHITECTURES.search(line):
        numbers = sorted(int(number) for number in re.findall(r"_(\d+)", found.group(1)))
        facts["torch.arch_min"] = f"{numbers[0] // 10}.{numbers[0] % 10}"
        facts["torch.arch_max"] = f"{numbers[-1] // 10}.{numbers[-1] % 10}"
    if found := _DRIVER_FOUND.search(line):
        number = int(found.group(1))
        facts["driver.cuda"] = f"{number // 1000}.{number % 1000 // 10}"
    if found := _CAPACITY.search(line):
        facts["gpu.memory_gb"] = round(_gigabytes(*found.groups()), 3)
    if found := _FREE.search(line):
        facts["gpu.free_gb"] = round(_gigabytes(*found.groups()), 3)
    facts.update(_versions(line))
    if _WINDOWS_PATH.search(line):
        facts["os.family"] = "windows"
    elif _MAC.search(line):
        facts["os.family"] = "macos"
    elif _POSIX_PATH.search(line):
        facts["os.family"] = "linux"
    if _AMD.search(line):
        facts["gpu.vendor"] = "amd"
    if found := re.search(r"Model device: (cpu|cuda|mps)", line):
        facts["run.device"] = found.group(1)
    for name, value in _card_facts(line).items():
        facts.setdefault(name, value)
    return facts


def _card_facts(text: str) -> dict[str, FactValue]:
    card = card_from_text(text)
    facts: dict[str, FactValue] = {}
    if card.name:
        facts["gpu.name"] = card.name
    if card.vendor:
        facts["gpu.vendor"] = card.vendor
    if card.capability:
        facts["gpu.cc"] = card.capability
        facts["gpu.architecture"] = architecture_of(float(card.capability))
    return facts


def _versions(text: str) -> dict[str, FactValue]:
    facts: dict[str, FactValue] = {}
    if found := _TORCH.search(text):
        facts.update(told_fact("torch", found.group(1)))
        facts.pop("told.torch", None)
    for package, version in _PACKAGE.findall(text):
        facts.setdefault(f"{package.lower().replace('-', '_')}.version", version)
    return facts


def _gigabytes(number: str, unit: str) -> float:
    return float(number) / (1.0 if unit == "GiB" else 1024.0)
