"""Probes `machine` (system, memory, disk; asked from our own interpreter) and `python` (the interpreter looked at)."""

from __future__ import annotations

from pathlib import Path

from toolkit.probe.child import ScriptResult, na_tree, run_script
from toolkit.probe.contract import ProbeReport, Target
from toolkit.probe.interpreter import resolve_interpreter
from troubleshoot.facts import NA

__all__ = ["MACHINE_DEADLINE_S", "PYTHON_DEADLINE_S", "probe_machine", "probe_python"]

MACHINE_DEADLINE_S = 20.0
PYTHON_DEADLINE_S = 20.0

_PYTHON_FACTS = {
    "python.version": "version",
    "python.bits": "bits",
    "python.executable": "executable",
    "python.implementation": "implementation",
    "python.prefix": "prefix",
    "python.environment": "environment",
    "python.user_site": "user_site_used",
    "python.path_variable": "path_variable",
    "python.markers": "markers",
}
_NVCC_NOTE = "for information only: PyTorch wheels carry their own CUDA runtime and never use nvcc"


def probe_machine(target: Target) -> ProbeReport:
    """Facts ``os.*``, ``wsl.*``, ``cpu.*``, ``memory.*``, ``disk.*``, ``shm.*``, ``nvcc.*``; sizes in GiB (2**30)."""
    result = run_script(
        "machine",
        target,
        deadline_s=target.deadline_s("machine", MACHINE_DEADLINE_S),
        arguments={"disk": str(_disk_folder(target))},
        interpreter=resolve_interpreter(None),
        follow_gpu_index=False,
    )
    return result.report("machine", _machine_facts(result, _disk_folder(target)))


def _disk_folder(target: Target) -> Path:
    """The folder whose drive is asked: the model's, else the service's, else where the toolkit was started."""
    for given in (target.model, target.service):
        if given is not None:
            # The model may not have been downloaded yet; the drive is that of the nearest folder which exists.
            places = (given.absolute(), *given.absolute().parents)
            return next((place for place in places if place.exists()), Path.cwd())
    return target.cwd or Path.cwd()


def _machine_facts(result: ScriptResult, disk: Path) -> dict[str, object]:
    values = {name: na_tree(value) for name, value in result.values.items()}
    missing = NA(result.report("machine", {}).reason or "the machine probe did not report it")

    def part(name: str) -> dict[str, object]:
        inner = values.get(name)
        return inner if isinstance(inner, dict) else {}

    facts: dict[str, object] = {}
    for prefix, names in (
        ("os", ("family", "name", "kernel", "machine")),
        ("cpu", ("model", "cores", "usable_cores")),
        ("memory", ("total_gb", "available_gb", "swap_gb", "limit_gb")),
    ):
        inner = part(prefix)
        facts.update({f"{prefix}.{name}": inner.get(name, missing) for name in names if name in inner or not inner})
    facts.update(_wsl_facts(part("wsl"), missing))
    facts["os.container"] = missing if "container" not in values else values["container"] is not None
    if values.get("container") is not None:
        facts["os.container_kind"] = values["container"]
    facts["disk.free_gb"] = values.get("disk", missing)
    facts["disk.folder"] = str(disk)
    facts["shm.free_gb"] = values.get("shm", missing)
    facts["nvcc.version"] = values.get("nvcc", missing)
    facts["nvcc.note"] = _NVCC_NOTE
    facts["sox.binary"] = missing if "sox" not in values else values["sox"] is not None
    facts["ffmpeg.binary"] = missing if "ffmpeg" not in values else values["ffmpeg"] is not None
    facts["gpu.adapters"] = values.get("adapters", missing)
    return facts


def _wsl_facts(wsl: dict[str, object], missing: NA) -> dict[str, object]:
    if not wsl:
        return {"os.wsl": missing, "wsl.libcuda": missing, "wsl.libcuda_shadowed": missing}
    outside = NA("not running under WSL")
    if not wsl["wsl"]:
        return {
            "os.wsl": False,
            "wsl.libcuda": outside,
            "wsl.libcuda_shadowed": outside,
            "driver.libcuda": wsl["libcuda"],
        }
    facts = {"os.wsl": True, "wsl.version": wsl["wsl_version"], "wsl.libcuda": wsl["libcuda"]}
    facts["wsl.libcuda_shadowed"] = wsl["libcuda_shadowed"]
    if "libcuda_in_cache" in wsl:
        facts["wsl.libcuda_in_cache"] = wsl["libcuda_in_cache"]
    return facts


def probe_python(target: Target) -> ProbeReport:
    """Facts ``python.*`` of the interpreter looked at; ``crashed`` or ``failed`` when it cannot even start."""
    result = run_script("python_facts", target, deadline_s=target.deadline_s("python", PYTHON_DEADLINE_S))
    # 3.6 and older do not know the first statement of our scripts.
    too_old = any("SyntaxError" in line for line in result.outcome.last_lines)
    reason = "this Python is too old to be looked at: the probes need 3.8 or newer" if too_old else ""
    report = result.report("python", {}, reason=reason)
    missing = NA(report.reason or "the interpreter did not report it")
    facts: dict[str, object] = {name: result.values.get(key, missing) for name, key in _PYTHON_FACTS.items()}
    if isinstance(facts["python.executable"], NA):
        facts["python.executable"] = str(target.interpreter.executable)
    return result.report("python", facts, reason=reason)
