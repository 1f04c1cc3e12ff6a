"""Probe `torch`: imports it in the interpreter looked at and tells the build, the copies, CUDA and flash-attn."""

from __future__ import annotations

import re
from collections.abc import Mapping

from toolkit.probe.child import ScriptResult, run_script, telling_lines, why
from toolkit.probe.contract import ProbeReport, Target
from toolkit.probe.torch_build import build_tag, public_version
from troubleshoot.facts import NA

__all__ = ["TORCH_DEADLINE_S", "likely_cause", "probe_torch"]

# A cold import from a hard disk takes half a minute.
TORCH_DEADLINE_S = 60.0
_ERROR_CHARACTERS = 2_000

# What the last lines of a failed import mostly come from.
_CAUSES: tuple[tuple[str, str], ...] = (
    (r"GLIBC(XX)?_\d|version `GLIBC", "the system's C library is older than the one this build needs"),
    (r"numpy\.(core|_core)|_ARRAY_API|NumPy 1\.x|dtype size changed", "an extension was built for another NumPy (ABI)"),
    (
        r"lib(cudart|cublas(Lt)?|cudnn\w*|cufft|curand|cusparse\w*|cusolver|nccl|nvrtc|nvJitLink|nvToolsExt)\b",
        "CUDA libraries of the wheel are missing or of another version",
    ),
    (
        r"WinError (126|127|1114)|DLL_NOT_FOUND|DLL_INIT_FAILED",
        "a DLL that torch needs is missing (often the Visual C++ runtime)",
    ),
    (r"undefined symbol", "parts of two different torch builds are mixed"),
    (r"SIGILL|ILLEGAL_INSTRUCTION", "the processor lacks an instruction that this build uses"),
    (r"SIGKILL", "the system killed it, mostly for want of memory"),
    (r"partially initialized module|circular import", "a file or folder named like a package hides the real one"),
)
_STATES = {"failed": "error", "missing": "error"}


def probe_torch(target: Target) -> ProbeReport:
    """Facts ``torch.*``, ``cudnn.version``, ``flash_attn.*``; what was known before a crash or a hang stays known."""
    result = run_script("torch_facts", target, deadline_s=target.deadline_s("torch", TORCH_DEADLINE_S))
    facts = _facts(result)
    state = None
    if result.finished and facts["torch.state"] in ("error", "missing"):
        state = "failed" if facts["torch.state"] == "error" else "missing"
    elif result.stage == "import flash_attn" and not result.finished:
        state = "ok"  # what is asked of torch was answered; the crash is the fact flash_attn.state
    reason = str(facts.get("torch.error") or "").rsplit("\n", 1)[-1]
    if facts["torch.state"] == "missing":
        reason = "torch is not installed in this interpreter"
    return result.report("torch", facts, state=state, reason=reason if state in ("failed", "missing") else "")


def likely_cause(text: str) -> str | None:
    """The usual cause of an import that failed with this text or signal, or ``None``."""
    return next((cause for pattern, cause in _CAUSES if re.search(pattern, text)), None)


def _facts(result: ScriptResult) -> dict[str, object]:
    values = result.values
    missing = NA(_reason(result))
    facts: dict[str, object] = {"torch.state": _import_state(result), "torch.import_s": values.get("import_s", missing)}
    facts["torch.error"] = _error(result, str(facts["torch.state"]))
    if facts["torch.error"]:
        cause = likely_cause(f"{facts['torch.error']}\n{result.outcome.signal or ''}")
        facts["torch.likely_cause"] = cause or NA("the last lines fit no known cause")
    copies = values.get("copies")
    facts["torch.copies"] = len(copies) if isinstance(copies, list) else missing
    facts["torch.paths"] = copies if isinstance(copies, list) else missing
    facts["torch.user_site"] = values.get("user_site", missing)
    facts.update(_build_facts(values, missing))
    facts.update(_cuda_facts(result, missing))
    facts.update(_flash_attn_facts(result, missing))
    return facts


def _reason(result: ScriptResult) -> str:
    state = result.values.get("import")
    if isinstance(state, dict) and state.get("state") == "missing":
        return "torch is not installed in this interpreter"
    if isinstance(state, dict) and state.get("state") == "error":
        return "import torch failed"
    return why(result) if not result.finished else "torch did not report it"


def _import_state(result: ScriptResult) -> str:
    state = result.values.get("import")
    if isinstance(state, dict):
        return str(state["state"])
    return _STATES.get(result.outcome.state, result.outcome.state)


def _error(result: ScriptResult, state: str) -> str:
    told = result.values.get("import")
    if isinstance(told, dict):
        lines = told.get("error", [])
    else:
        lines = [why(result), *telling_lines(result.outcome.last_lines)] if state != "ok" else []
    return "\n".join(str(line) for line in lines)[-_ERROR_CHARACTERS:] if isinstance(lines, list) else ""


def _build_facts(values: Mapping[str, object], missing: NA) -> dict[str, object]:
    """Version and build; from the text of ``torch/version.py`` when the import did not come through."""
    build, read = values.get("build"), values.get("file_says")
    build, read = build if isinstance(build, dict) else {}, read if isinstance(read, dict) else {}
    version = values.get("version") or read.get("version")
    facts: dict[str, object] = {"torch.version": missing, "torch.build": missing, "torch.cuda": missing}
    if version:
        cuda, hip = build.get("cuda") or read.get("cuda"), build.get("hip") or read.get("hip")
        facts["torch.version"] = public_version(str(version))
        facts["torch.full_version"] = str(version)
        facts["torch.build"] = build_tag(str(version), cuda, hip)
        facts["torch.cuda"] = cuda or NA("this build has no CUDA in it")
        facts["torch.hip"] = hip or NA("this build has no ROCm in it")
    if "error" in build:
        facts["torch.build_error"] = build["error"]
    facts["torch.arch_list"] = build.get("arch_list", missing)
    facts["torch.sdpa_backends"] = build.get("sdpa_enabled", missing)
    cudnn = values.get("cudnn")
    number = cudnn.get("version") if isinstance(cudnn, dict) else None
    facts["cudnn.version"] = _cudnn_version(number) if isinstance(number, int) else _no_cudnn(cudnn, missing)
    return facts


def _cudnn_version(number: int) -> str:
    # cudnn.h: 10000 * major + 100 * minor + patch since version 9, 1000 * major before.
    unit = 10_000 if number >= 90_000 else 1_000
    return f"{number // unit}.{number % unit // 100}.{number % 100}"


def _no_cudnn(told: object, missing: NA) -> NA:
    if isinstance(told, dict):
        return NA(str(told.get("error") or "this build has no cuDNN in it"))
    return missing


def _cuda_facts(result: ScriptResult, missing: NA) -> dict[str, object]:
    cuda = result.values.get("cuda")
    if not isinstance(cuda, dict):
        if result.stage == "cuda" and not result.finished:
            # The import went well; it is the start of CUDA that crashed or hung.
            return {
                "torch.cuda_available": NA(why(result)),
                "torch.cuda_state": _STATES.get(result.outcome.state, result.outcome.state),
                "torch.cuda_message": "\n".join(telling_lines(result.outcome.last_lines)),
            }
        return {"torch.cuda_available": missing, "torch.cuda_state": missing}
    if "error" in cuda:
        return {"torch.cuda_available": False, "torch.cuda_state": "error", "torch.cuda_message": cuda["error"]}
    return {
        "torch.cuda_available": cuda["available"],
        "torch.cuda_state": "ok" if cuda["available"] else "unavailable",
        "torch.cuda_message": cuda["message"],
        "torch.devices": cuda["devices"],
    }


def _flash_attn_facts(result: ScriptResult, missing: NA) -> dict[str, object]:
    told = result.values.get("flash_attn")
    if isinstance(told, dict):
        facts: dict[str, object] = {"flash_attn.state": told["state"]}
        if "error" in told:
            facts["flash_attn.error"] = "\n".join(told["error"])[-_ERROR_CHARACTERS:]
        return facts
    if result.stage == "import flash_attn" and not result.finished:
        state = _STATES.get(result.outcome.state, result.outcome.state)
        return {"flash_attn.state": state, "flash_attn.error": why(result)}
    if "flash_attn_found" in result.values and result.values["flash_attn_found"] is None:
        return {"flash_attn.state": "missing"}
    return {"flash_attn.state": missing}
