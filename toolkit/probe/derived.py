"""Facts that follow from those of several probes: the card, the build against it, the companions of PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.probe.gpu import complete_gpu_facts
from toolkit.probe.operation import unknown_facts
from toolkit.probe.torch_build import architectures, companion_mismatches, driver_covers, driver_runs
from troubleshoot.facts import NA

__all__ = ["derived_facts"]

_INTERNAL = ("gpu.cards", "torch.devices", "packages.torch_companions", "python.markers")


def derived_facts(facts: Mapping[str, object], *, gpu_index: int | None) -> dict[str, object]:
    """All facts of the probes, completed; what only served to complete others is left out."""
    completed = dict(facts)
    devices = facts.get("torch.devices")
    if any(name.startswith("gpu.") for name in facts):
        completed.update(
            complete_gpu_facts(
                completed,
                devices if isinstance(devices, list) else [],
                gpu_index=gpu_index,
                hip=isinstance(facts.get("torch.hip"), str),
            )
        )
    if facts.get("operation.state") == "skipped":
        completed = {**unknown_facts(NA(str(facts.get("operation.reason")))), **completed}
    if "torch.state" in facts:
        completed.update(_architecture_facts(completed))
        completed.update(_driver_facts(completed))
    if "torch.state" in facts and "packages.torch_companions" in facts:
        completed.update(_companion_facts(completed))
    return {name: value for name, value in completed.items() if name not in _INTERNAL}


def _architecture_facts(facts: Mapping[str, object]) -> dict[str, object]:
    listed, capability = facts.get("torch.arch_list"), facts.get("gpu.cc")
    if not isinstance(listed, list):
        reason = listed if isinstance(listed, NA) else NA("torch did not report it")
        return {"torch.arch_min": reason, "torch.arch_max": reason, "torch.arch_has_card": reason}
    found = architectures([str(name) for name in listed], capability if isinstance(capability, str) else None)
    none = NA("this build has no CUDA code in it")
    unknown = none if found.lowest is None else NA("the card's compute capability is not known")
    return {
        "torch.arch_min": found.lowest or none,
        "torch.arch_max": found.highest or none,
        "torch.arch_has_card": unknown if found.has_card is None else found.has_card,
    }


def _driver_facts(facts: Mapping[str, object]) -> dict[str, object]:
    wheel, driver = facts.get("torch.cuda"), facts.get("driver.cuda")
    if not isinstance(wheel, str) or not isinstance(driver, str):
        missing = wheel if not isinstance(wheel, str) else driver
        reason = missing if isinstance(missing, NA) else NA("the CUDA of the wheel or of the driver is not known")
        return {"torch.driver_fits": reason, "torch.driver_covers": reason}
    return {"torch.driver_fits": driver_runs(wheel, driver), "torch.driver_covers": driver_covers(wheel, driver)}


def _companion_facts(facts: Mapping[str, object]) -> dict[str, object]:
    companions, torch = facts["packages.torch_companions"], facts.get("torch.full_version")
    if not isinstance(companions, dict) or not isinstance(torch, str):
        reason = NA("the version of torch is not known")
        return {"torch.companions_match": reason, "torch.companions_problem": reason}
    if not companions:
        reason = NA("neither torchaudio, torchvision nor torchcodec is installed")
        return {"torch.companions_match": reason, "torch.companions_problem": ""}
    told = companion_mismatches(
        torch,
        {name: str(entry["version"]) for name, entry in companions.items()},
        {name: [str(line) for line in entry["requires"]] for name, entry in companions.items()},
    )
    return {"torch.companions_match": not told, "torch.companions_problem": "; ".join(told)}
