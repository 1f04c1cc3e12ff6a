"""Probe `gpu`: the cards and the driver by NVML, else by nvidia-smi, else by what PyTorch said."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.probe.child import ScriptResult, na_tree, run_script, why
from toolkit.probe.contract import ProbeReport, Target
from toolkit.probe.environment import child_environment
from toolkit.probe.interpreter import resolve_interpreter
from toolkit.probe.nvidia_smi import SmiAnswer, ask_nvidia_smi
from troubleshoot.facts import NA
from troubleshoot.gpu_names import architecture_of, compute_capability

__all__ = ["GPU_DEADLINE_S", "card_facts", "choose_card", "complete_gpu_facts", "probe_gpu"]

# A driver without persistence mode starts up at the first question, which takes seconds a card.
GPU_DEADLINE_S = 20.0
_GIB = 2.0**30
# The driver slowed the card down; idle clocks and limits that somebody set are not that.
_THROTTLING = ("power-cap", "hardware-slowdown", "thermal", "hardware-thermal", "power-brake")
_PLAIN = ("utilization_percent", "temperature_c", "sm_clock_mhz", "sm_clock_max_mhz", "memory_clock_mhz")
_ALSO_PLAIN = ("pstate", "persistence", "mig", "display", "driver_model", "pcie", "processes", "throttle_reasons")
# Names that every facts file has, whatever was found.
_ALWAYS = (
    *("name", "cc", "architecture", "memory_gb", "free_gb", "other_gb", "throttled", "throttle_reasons"),
    *("utilization_percent", "temperature_c", "sm_clock_mhz", "display", "mig", "pstate"),
)
_SHOWN = ("index", "name", "cc", "memory_bytes", "free_bytes")


@dataclass(frozen=True)
class _Cards:
    source: str
    cards: tuple[Mapping[str, object], ...]
    driver: object
    cuda: object
    nvml: str
    smi: str
    problem: str


def probe_gpu(target: Target) -> ProbeReport:
    """Facts ``gpu.*`` and ``driver.*`` of the chosen card; sizes in GiB (2**30 bytes), power in W, clocks in MHz."""
    deadline_s = target.deadline_s("gpu", GPU_DEADLINE_S)
    # Half the time for each way of asking: a dead NVML must leave some for nothing else but the report of it.
    result = run_script(
        "gpu_nvml", target, deadline_s=deadline_s / 2, interpreter=resolve_interpreter(None), follow_gpu_index=False
    )
    found = _by_nvml(result)
    if found.source != "nvml":
        found = _by_nvidia_smi(target, result, found, deadline_s / 2)
    state = "ok" if found.cards or found.nvml not in ("crashed", "timed-out") else found.nvml
    if not found.cards and found.smi in ("crashed", "timed-out"):
        state = found.smi
    facts = _facts(found, target)
    if state == "ok" and result.outcome.state in ("crashed", "timed-out"):
        facts["gpu.problem"] = f"NVML: {why(result)}"
    return result.report("gpu", facts, state=state, reason=found.problem)


def _by_nvml(result: ScriptResult) -> _Cards:
    values = {name: na_tree(value) for name, value in result.values.items()}
    nvml = str(values.get("nvml", result.outcome.state if result.outcome.state != "ok" else "error"))
    if result.outcome.state in ("crashed", "timed-out"):
        nvml = result.outcome.state
    told = values.get("error")
    problem = "" if nvml == "ok" else f"NVML: {told[-1]}" if isinstance(told, list) and told else f"NVML: {nvml}"
    if not result.finished and nvml != "ok":
        problem = f"NVML: {why(result)}"
    listed = values.get("cards")
    cards = tuple(card for card in listed if isinstance(card, dict)) if isinstance(listed, list) else ()
    whole = tuple(card for card in cards if "name" in card)
    lost = "; ".join(f"card {card['index']}: {card['error']}" for card in cards if "error" in card)
    if nvml == "ok" and not whole:
        problem = lost or f"NVML lists no card ({values.get('count')})"
    cuda = values.get("cuda", NA(problem))
    return _Cards(
        source="nvml" if whole else "none",
        cards=whole,
        driver=values.get("driver", NA(problem or "NVML did not say")),
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}" if isinstance(cuda, int) else cuda,
        nvml=nvml,
        smi="not-asked",
        problem=problem or lost,
    )


def _by_nvidia_smi(target: Target, result: ScriptResult, found: _Cards, deadline_s: float) -> _Cards:
    if found.nvml == "timed-out":
        # It asks the same library, and a second hang would double the wait.
        return _Cards("none", (), found.driver, found.cuda, found.nvml, "not-asked", found.problem)
    environment = child_environment(resolve_interpreter(None), base=target.environment)
    answer: SmiAnswer = ask_nvidia_smi(environment, deadline_s=deadline_s)
    problem = "; ".join(part for part in (found.problem, _smi_problem(answer)) if part)
    driver = found.driver if isinstance(answer.driver, NA) else answer.driver
    cuda = found.cuda if isinstance(answer.cuda, NA) else answer.cuda
    source = "nvidia-smi" if answer.cards else "none"
    return _Cards(source, answer.cards, driver, cuda, found.nvml, answer.state, problem)


def _smi_problem(answer: SmiAnswer) -> str:
    return f"nvidia-smi: {answer.problem}" if answer.problem else ""


def _facts(found: _Cards, target: Target) -> dict[str, object]:
    index = target.gpu_index or 0
    facts: dict[str, object] = {
        "gpu.source": found.source,
        "gpu.nvml": found.nvml,
        "gpu.nvidia_smi": found.smi,
        "gpu.count": len(found.cards),
        "gpu.list": [_shown(card) for card in found.cards],
        "driver.version": found.driver,
        "driver.cuda": found.cuda,
        "driver.fake": _is_fake(found.cuda, found.cards),
    }
    if found.problem:
        facts["gpu.problem"] = found.problem
    if found.cards:
        facts["gpu.vendor"] = "nvidia"
        if index < len(found.cards):
            facts.update(card_facts(found.cards[index], found.source))
        else:
            facts["gpu.problem"] = f"there is no card {index}: {len(found.cards)} found"
        facts["gpu.cards"] = list(found.cards)  # taken out again by complete_gpu_facts()
    return facts


def _is_fake(cuda: object, cards: Sequence[Mapping[str, object]]) -> object:
    """True when a layer such as ZLUDA poses as the driver: its version is the largest number, or its cards say so."""
    if isinstance(cuda, NA) and not cards:
        return NA("no driver answered")
    major = int(str(cuda).split(".")[0]) if re.match(r"\d+\.", str(cuda)) else 0
    return major > 100 or any("ZLUDA" in str(card.get("name")) for card in cards)


def _shown(card: Mapping[str, object]) -> dict[str, object]:
    shown = {name: card.get(name, NA("not reported")) for name in _SHOWN}
    shown["memory_gb"], shown["free_gb"] = _gib(shown.pop("memory_bytes")), _gib(shown.pop("free_bytes"))
    return shown


def card_facts(card: Mapping[str, object], source: str) -> dict[str, object]:
    """Facts ``gpu.*`` of one card in the keys of the NVML script; ``source`` says who gave it."""
    missing = NA(f"{source} does not tell it")

    def value(name: str) -> object:
        return card.get(name, missing)

    facts: dict[str, object] = {"gpu.index": value("index"), "gpu.name": value("name")}
    facts.update(_capability(card, source))
    for fact, key in (("memory_gb", "memory_bytes"), ("used_gb", "used_bytes"), ("free_gb", "free_bytes")):
        facts[f"gpu.{fact}"] = _gib(value(key))
    # No child of ours holds memory on the card while this is asked, so everything in use is somebody else's.
    facts["gpu.other_gb"] = facts["gpu.used_gb"]
    for name in (*_PLAIN, *_ALSO_PLAIN):
        facts[f"gpu.{name}"] = value(name)
    for name in ("power_draw", "power_limit", "power_default"):
        milliwatts = value(f"{name}_mw")
        facts[f"gpu.{name}_w"] = round(milliwatts / 1000, 1) if isinstance(milliwatts, (int, float)) else milliwatts
    processes = facts["gpu.processes"]
    if isinstance(processes, list):
        facts["gpu.processes"] = [_process(process) for process in processes]
    reasons = facts["gpu.throttle_reasons"]
    facts["gpu.throttled"] = bool(set(reasons) & set(_THROTTLING)) if isinstance(reasons, list) else reasons
    facts["gpu.throttle_reasons"] = ", ".join(reasons) if isinstance(reasons, list) else reasons
    return facts


def _process(process: Mapping[str, object]) -> dict[str, object]:
    kept = {name: value for name, value in process.items() if name != "used_bytes"}
    return {**kept, "used_gb": _gib(process.get("used_bytes", NA("not reported")))}


def _capability(card: Mapping[str, object], source: str) -> dict[str, object]:
    cc, name = card.get("cc", NA(f"{source} does not tell it")), card.get("name")
    if isinstance(cc, NA) and isinstance(name, str):
        by_name = compute_capability(name)
        if by_name is not None:
            # NVIDIA's table of names: the last resort, for drivers from before nvidia-smi knew compute_cap.
            cc, source = by_name, "name table"
    if not isinstance(cc, str):
        return {"gpu.cc": cc, "gpu.architecture": cc, "gpu.cc_source": "none"}
    return {"gpu.cc": cc, "gpu.architecture": architecture_of(float(cc)), "gpu.cc_source": source}


def _gib(value: object) -> object:
    return round(value / _GIB, 2) if isinstance(value, (int, float)) else value


def choose_card(cards: Sequence[Mapping[str, object]], devices: Sequence[Mapping[str, object]]) -> int:
    """Position in ``cards`` of the card that PyTorch calls ``cuda:0``; 0 when that cannot be told.

    CUDA orders cards by speed and hides some (CUDA_VISIBLE_DEVICES), NVML orders them by PCI address and hides none.
    """
    if not devices:
        return 0
    wanted = _uuid(devices[0])
    by_uuid = [place for place, card in enumerate(cards) if wanted and _uuid(card) == wanted]
    by_name = [place for place, card in enumerate(cards) if card.get("name") == devices[0].get("name")]
    return next(iter((*by_uuid, *by_name)), 0)


def _uuid(card: Mapping[str, object]) -> str:
    return str(card.get("uuid") or "").removeprefix("GPU-")  # PyTorch leaves the prefix out


def complete_gpu_facts(
    facts: Mapping[str, object], devices: Sequence[Mapping[str, object]], *, gpu_index: int | None, hip: bool
) -> dict[str, object]:
    """Facts of the gpu probe completed by ``devices``, the cards that PyTorch saw, and by the display adapters.

    With several cards and none asked for, the scalar facts become those of PyTorch's first card.
    """
    completed = {name: value for name, value in facts.items() if name != "gpu.cards"}
    cards = facts.get("gpu.cards")
    if isinstance(cards, list) and cards:
        if gpu_index is None and len(cards) > 1:
            completed.update(card_facts(cards[choose_card(cards, devices)], str(facts["gpu.source"])))
        return completed
    if devices:
        card = {**devices[0], "index": 0}
        completed.update(card_facts(card, "torch"))
        shown = [_shown({**device, "index": number}) for number, device in enumerate(devices)]
        vendor = "amd" if hip else "nvidia"
        completed.update({"gpu.source": "torch", "gpu.count": len(devices), "gpu.list": shown, "gpu.vendor": vendor})
        if hip:
            # An AMD card's "capability" is its gfx number, not NVIDIA's compute capability.
            reason = NA("compute capability is NVIDIA's; this is an AMD card")
            completed.update({"gpu.cc": reason, "gpu.architecture": reason, "gpu.cc_source": "none"})
        return completed
    adapters = facts.get("gpu.adapters")
    if "gpu.vendor" not in completed:
        completed["gpu.vendor"] = _vendor(adapters)
    reason = NA(f"no card was found (NVML: {facts.get('gpu.nvml')}, nvidia-smi: {facts.get('gpu.nvidia_smi')})")
    for name in _ALWAYS:
        completed.setdefault(f"gpu.{name}", reason)
    return completed


def _vendor(adapters: object) -> object:
    if not isinstance(adapters, list):
        return NA("the display adapters could not be listed")
    # A laptop has two: what matters is the one that could compute.
    return next((vendor for vendor in ("nvidia", "amd", "apple", "intel") if vendor in adapters), "none")
