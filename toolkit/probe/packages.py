"""Probe `packages`: versions, import states, leftovers and conflicts of what a TTS service is made of."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.probe.child import ScriptResult, run_script, telling_lines, why
from toolkit.probe.conflicts import Distribution, find_conflicts
from toolkit.probe.contract import ProbeReport, Target
from troubleshoot.facts import NA

__all__ = ["PACKAGES_DEADLINE_S", "PACKAGE_FACTS", "probe_packages"]

PACKAGES_DEADLINE_S = 30.0

# Fact prefix -> names of distributions that give it, the first installed one counting.
_VERSIONS: Mapping[str, tuple[str, ...]] = {
    "transformers": ("transformers",),
    "accelerate": ("accelerate",),
    "qwen_tts": ("qwen-tts",),
    "flash_attn": ("flash-attn",),
    "soundfile": ("soundfile",),
    "sox": ("sox",),
    "numpy": ("numpy",),
    "gradio": ("gradio",),
    "pydantic": ("pydantic",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "huggingface_hub": ("huggingface-hub",),
    "librosa": ("librosa",),
    "vllm": ("vllm",),
    "vllm_omni": ("vllm-omni",),
    "ctranslate2": ("ctranslate2",),
    "torchaudio": ("torchaudio",),
    "torchvision": ("torchvision",),
    "torchcodec": ("torchcodec",),
    "triton": ("triton", "triton-windows", "pytorch-triton"),
    "faster_qwen3_tts": ("faster-qwen3-tts",),
    "safetensors": ("safetensors",),
    "tokenizers": ("tokenizers",),
    "fastapi": ("fastapi",),
}
# Names of facts that are about one package each; numpy, soundfile, transformers and qwen_tts have some more.
PACKAGE_FACTS = (*(f"{name}.version" for name in _VERSIONS), "flash_attn.file", "flash_attn.metadata")
_AROUND = frozenset({"torch", *(name for names in _VERSIONS.values() for name in names)})
# Pairs that must not be installed together, because both are the same module.
_EITHER_OR = (("onnxruntime", "onnxruntime-gpu"), ("triton", "triton-windows"), ("pynvml", "nvidia-ml-py"))
_FIND = ("sox", "flash_attn", "qwen_tts", "transformers")
_IMPORT = ("numpy", "soundfile")
_STATES = {"failed": "error", "missing": "error"}


def probe_packages(target: Target) -> ProbeReport:
    """Facts ``NAME.version`` (NA when not installed), ``numpy.*``, ``soundfile.*``, ``sox.module``, ``packages.*``."""
    result = run_script(
        "packages",
        target,
        deadline_s=target.deadline_s("packages", PACKAGES_DEADLINE_S),
        arguments={"find": list(_FIND), "import": list(_IMPORT)},
    )
    return result.report("packages", _facts(result, target.known))


def _facts(result: ScriptResult, known: Mapping[str, object]) -> dict[str, object]:
    listed = result.values.get("distributions")
    if not isinstance(listed, dict):
        reason: object = NA(why(result))
        return dict.fromkeys((*(f"{name}.version" for name in _VERSIONS), "packages.conflicts"), reason)
    installed = {
        str(key): Distribution(str(entry["name"]), str(entry["version"]), tuple(entry["requires"]))
        for key, entry in listed.items()
    }
    facts = _version_facts(installed)
    facts.update(_found_facts(result.values.get("found"), installed))
    for name in _IMPORT:
        facts.update(_state_facts(name, result))
    facts["packages.count"] = len(installed)
    facts["packages.leftovers"] = _leftovers(listed)
    facts.update(_conflict_facts(installed, known))
    # The torch probe's script cannot compare versions, so what it needs of the companions is read here.
    facts["packages.torch_companions"] = {
        name: {"version": installed[name].version, "requires": list(installed[name].requires)}
        for name in ("torchaudio", "torchvision", "torchcodec")
        if name in installed
    }
    return facts


def _version_facts(installed: Mapping[str, Distribution]) -> dict[str, object]:
    facts: dict[str, object] = {}
    for fact, names in _VERSIONS.items():
        found = next((installed[name].version for name in names if name in installed), None)
        # The local tag of a companion (+cu128) is part of its build, not of its version.
        facts[f"{fact}.version"] = found.split("+")[0] if found else NA("not installed in this interpreter")
    return facts


def _found_facts(found: object, installed: Mapping[str, Distribution]) -> dict[str, object]:
    if not isinstance(found, dict):
        return {}
    facts: dict[str, object] = {"sox.module": found.get("sox") is not None}
    for name in _FIND[1:]:
        place = found.get(name)
        facts[f"{name}.file"] = place if place else NA("not installed in this interpreter")
        if place:
            # A folder of that name without metadata is a vendored copy or a stub; version checks on it fail.
            facts[f"{name}.metadata"] = name.replace("_", "-") in installed
    return facts


def _state_facts(name: str, result: ScriptResult) -> dict[str, object]:
    states = result.values.get("states")
    told = states.get(name) if isinstance(states, dict) else None
    if isinstance(told, dict):
        facts: dict[str, object] = {f"{name}.state": told["state"]}
        if told["state"] == "error":
            facts[f"{name}.error"] = "\n".join(told["error"])
        if name == "soundfile":
            absent = NA(f"soundfile: {told['state']}")
            facts["soundfile.libsndfile"] = told.get("libsndfile") or absent
        return facts
    if result.stage == f"import {name}" and not result.finished:
        lines = [why(result), *telling_lines(result.outcome.last_lines)]
        state = _STATES.get(result.outcome.state, result.outcome.state)
        return {f"{name}.state": state, f"{name}.error": "\n".join(lines)[:2_000]}
    return {f"{name}.state": NA(why(result) if not result.finished else "not tried")}


def _leftovers(listed: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Packages found in several versions, and pairs of which only one may be there."""
    told = []
    for key, entry in sorted(listed.items()):
        copies = entry.get("copies")
        if isinstance(copies, list) and len(copies) > 1:
            told.append(f"{key}: {' hides '.join(str(copy) for copy in copies)}")
    told += [f"{one} and {other} are both installed" for one, other in _EITHER_OR if one in listed and other in listed]
    return told


def _conflict_facts(installed: Mapping[str, Distribution], known: Mapping[str, object]) -> dict[str, object]:
    markers = known.get("python.markers")
    if not isinstance(markers, dict):
        return {"packages.conflicts": NA("the interpreter's markers are not known")}
    conflicts, unreadable = find_conflicts(installed, markers, around=_AROUND)
    facts: dict[str, object] = {"packages.conflicts": "; ".join(conflicts)}
    if unreadable:
        facts["packages.unreadable"] = unreadable
    return facts
