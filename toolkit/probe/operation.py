"""Probe `operation`: real BF16 work on the card, checked against float32, and whether BF16 is native or emulated."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.probe.child import ScriptResult, run_script, telling_lines, why
from toolkit.probe.contract import ProbeReport, Target
from troubleshoot.facts import NA

__all__ = ["OPERATION_DEADLINE_S", "bf16_verdict", "probe_operation", "unknown_facts"]

OPERATION_DEADLINE_S = 60.0
_CHECKS = ("matmul", "sdpa", "conv1d")
_DTYPES = ("bf16", "fp16", "fp32")
# CUDA C++ Programming Guide, "Compute Capabilities": __nv_bfloat16 in tensor cores begins with 8.0.
_NATIVE_FROM = (8, 0)
# Native BF16 takes as long as FP16; a product that takes this much longer does not run on the same units.
_SLOWER = 2.0


def probe_operation(target: Target) -> ProbeReport:
    """Facts ``operation.*``; not applicable where the torch probe, in ``target.known``, saw no CUDA device."""
    known = target.known
    available = known.get("torch.cuda_available")
    if available is not True:
        reason = _not_applicable(known)
        facts: dict[str, object] = {"operation.state": "not-applicable", "operation.reason": reason}
        return ProbeReport("operation", "not-applicable", {**facts, **unknown_facts(NA(reason))}, reason=reason)
    result = run_script("operation", target, deadline_s=target.deadline_s("operation", OPERATION_DEADLINE_S))
    facts = _facts(result)
    state = "failed" if result.finished and facts["operation.state"] == "failed" else None
    return result.report("operation", facts, state=state, reason=str(facts["operation.error"] or "") if state else "")


def _not_applicable(known: Mapping[str, object]) -> str:
    if known.get("torch.build") == "cpu":
        return "this PyTorch was built without CUDA"
    told = known.get("torch.cuda_message")
    first = str(told).strip().splitlines()[0][:200] if told else ""
    return "PyTorch sees no CUDA device" + (f": {first}" if first else "")


def unknown_facts(reason: object) -> dict[str, object]:
    """The facts of this probe, each with the reason why it is not known."""
    names = ("bf16_works", "bf16_native", "error", *(f"{dtype}_ms" for dtype in _DTYPES))
    return {f"operation.{name}": reason for name in names}


def _facts(result: ScriptResult) -> dict[str, object]:
    values = result.values
    checks = {name: told for name in _CHECKS if isinstance(told := values.get(name), dict)}
    failed = [name for name, told in checks.items() if not told.get("ok")]
    complete = len(checks) == len(_CHECKS)
    facts = unknown_facts(NA(why(result) if not result.finished else "not reached, an earlier step failed"))
    facts["operation.error"] = _error(result, checks, failed)
    facts["operation.bf16_works"] = complete and not failed
    facts["operation.checks"] = checks
    facts["operation.device"] = values.get("device", NA("CUDA did not start"))
    facts["operation.bf16_reported"] = values.get("bf16_reported", NA("CUDA did not start"))
    facts["operation.sdpa_backends"] = _back_ends(values.get("sdpa_backends"))
    times = values.get("times_ms")
    for dtype in _DTYPES:
        told = times.get(dtype) if isinstance(times, dict) else None
        if isinstance(told, (int, float)):
            facts[f"operation.{dtype}_ms"] = told
        elif isinstance(told, dict):
            facts[f"operation.{dtype}_ms"] = NA(str(told.get("error")))
    if "cc" in values:
        verdict, reason = bf16_verdict(
            str(values["cc"]), facts["operation.bf16_ms"], facts["operation.fp16_ms"], hip=bool(values.get("hip"))
        )
        facts["operation.bf16_native"] = NA(reason) if verdict == "unknown" else verdict == "native"
        facts["operation.bf16_verdict"] = verdict
        facts["operation.bf16_reason"] = reason
    ended = "failed" if facts["operation.error"] and result.finished else result.outcome.state
    facts["operation.state"] = ended
    return facts


def _error(result: ScriptResult, checks: Mapping[str, Mapping[str, object]], failed: list[str]) -> str:
    if failed:
        return str(checks[failed[0]].get("error", f"{failed[0]} failed"))
    told = result.values.get("error") or result.values.get("import")
    if isinstance(told, dict):
        lines = told.get("error")
        return str(lines[-1]) if isinstance(lines, list) and lines else f"torch: {told.get('state')}"
    if told:
        return str(told)
    if result.finished:
        return ""
    return "\n".join([why(result), *telling_lines(result.outcome.last_lines)])[:2_000]


def _back_ends(told: object) -> object:
    if isinstance(told, dict):
        return told
    return NA("this torch is older than 2.3 and cannot be asked for one back end" if told is None else "not reached")


def bf16_verdict(capability: str, bf16_ms: object, fp16_ms: object, *, hip: bool = False) -> tuple[str, str]:
    """``native``, ``emulated`` or ``unknown`` for a card, and the sentence that says why.

    The capability decides; the times are its witness. ``torch.cuda.is_bf16_supported()`` is not asked: it is true on a
    T4, which only emulates BF16.
    """
    if hip:
        return "unknown", "compute capability is NVIDIA's; this is an AMD card"
    measured = ""
    if isinstance(bf16_ms, (int, float)) and isinstance(fp16_ms, (int, float)) and fp16_ms > 0:
        measured = f"; a product takes {bf16_ms:.2f} ms in BF16 and {fp16_ms:.2f} ms in FP16"
    native = tuple(int(part) for part in capability.split(".")) >= _NATIVE_FROM
    if native:
        slow = bool(measured) and float(str(bf16_ms)) > _SLOWER * float(str(fp16_ms))
        doubt = ", which is unusual for a card with native BF16" if slow else ""
        return "native", f"compute capability {capability} is 8.0 or higher{measured}{doubt}"
    return "emulated", f"compute capability {capability} is below 8.0{measured}"
