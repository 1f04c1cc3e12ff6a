"""The cards as NVML sees them, through `pynvml` of nvidia-ml-py; runs in the toolkit's own interpreter, in a child.

Every value that NVML refuses becomes ``{"na": reason}``. Nothing but the standard library and pynvml is used.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing itself would cost the import of typing
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from toolkit.probe.scripts.child import Child

__all__ = ["collect", "read_card"]

# nvml.h, nvmlReturn_t: the ways in which NVML cannot be had at all.
_STATES = {
    4: "no-permission",
    9: "driver-not-loaded",
    12: "library-not-found",
    15: "gpu-lost",
    16: "reset-required",
    18: "version-mismatch",
}
_NOT_SUPPORTED = 3
_FUNCTION_NOT_FOUND = 13
# nvml.h, nvmlClocksEventReasons: bit and name; idle and limits that somebody set are not throttling.
_REASONS = (
    (0x1, "idle"),
    (0x2, "application-clocks"),
    (0x4, "power-cap"),
    (0x8, "hardware-slowdown"),
    (0x10, "sync-boost"),
    (0x20, "thermal"),
    (0x40, "hardware-thermal"),
    (0x80, "power-brake"),
    (0x100, "display-clocks"),
)
_DRIVER_MODELS = {0: "WDDM", 1: "TCC", 2: "MCDM"}
_NOT_AVAILABLE = 0xFFFFFFFFFFFFFFFF  # NVML_VALUE_NOT_AVAILABLE as an unsigned long long


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _ask(call: Callable[[], object]) -> object:
    """Value of an NVML call, or the reason why there is none; never raises for what NVML or an old pynvml answers."""
    try:
        value = call()
    except AttributeError as error:
        return {"na": f"this pynvml does not know it ({error})"}
    except Exception as error:  # fake and old pynvml modules do not share a base class for NVML's errors
        return {"na": f"NVML: {error or type(error).__name__}"}
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _code(error: BaseException) -> int | None:
    value = getattr(error, "value", None)
    return value if isinstance(value, int) else None


def read_card(nvml: ModuleType, index: int) -> dict[str, object]:
    """All values of one card; memory in bytes, power in milliwatts, clocks in MHz."""
    handle = nvml.nvmlDeviceGetHandleByIndex(index)

    def memory(name: str) -> object:
        return _ask(lambda: int(getattr(_memory(nvml, handle), name)))

    def plain(function: str, *arguments: object) -> object:
        return _ask(lambda: getattr(nvml, function)(handle, *arguments))

    def capability() -> str:
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
        return f"{major}.{minor}"

    return {
        "index": index,
        "name": plain("nvmlDeviceGetName"),
        "uuid": plain("nvmlDeviceGetUUID"),
        "bus_id": _ask(lambda: _text(nvml.nvmlDeviceGetPciInfo(handle).busId)),
        "cc": _ask(capability),
        "memory_bytes": memory("total"),
        "used_bytes": memory("used"),
        "free_bytes": memory("free"),
        "utilization_percent": _ask(lambda: int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)),
        "temperature_c": plain("nvmlDeviceGetTemperature", 0),  # NVML_TEMPERATURE_GPU
        "sm_clock_mhz": plain("nvmlDeviceGetClockInfo", 1),  # NVML_CLOCK_SM
        "sm_clock_max_mhz": plain("nvmlDeviceGetMaxClockInfo", 1),
        "memory_clock_mhz": plain("nvmlDeviceGetClockInfo", 2),  # NVML_CLOCK_MEM
        "power_draw_mw": plain("nvmlDeviceGetPowerUsage"),
        "power_limit_mw": plain("nvmlDeviceGetEnforcedPowerLimit"),
        "power_default_mw": plain("nvmlDeviceGetPowerManagementDefaultLimit"),
        "throttle_reasons": _ask(lambda: _reasons(nvml, handle)),
        "pstate": _ask(lambda: f"P{nvml.nvmlDeviceGetPerformanceState(handle)}"),
        "pcie": {
            "generation": plain("nvmlDeviceGetCurrPcieLinkGeneration"),
            "width": plain("nvmlDeviceGetCurrPcieLinkWidth"),
            "generation_max": plain("nvmlDeviceGetMaxPcieLinkGeneration"),
            "width_max": plain("nvmlDeviceGetMaxPcieLinkWidth"),
        },
        "persistence": _ask(lambda: bool(nvml.nvmlDeviceGetPersistenceMode(handle))),
        "mig": _ask(lambda: _mig(nvml, handle)),
        "display": _ask(lambda: bool(nvml.nvmlDeviceGetDisplayActive(handle))),
        "driver_model": _ask(lambda: _driver_model(nvml, handle)),
        "processes": _ask(lambda: _processes(nvml, handle)),
    }


def _memory(nvml: ModuleType, handle: object) -> object:
    version = getattr(nvml, "nvmlMemory_v2", None)
    if version is not None:
        try:
            # The first version counts what the driver reserves for itself as used.
            return nvml.nvmlDeviceGetMemoryInfo(handle, version)
        except Exception as error:
            if _code(error) not in (_NOT_SUPPORTED, _FUNCTION_NOT_FOUND):
                raise
    return nvml.nvmlDeviceGetMemoryInfo(handle)


def _reasons(nvml: ModuleType, handle: object) -> list[str]:
    # Renamed with driver 535; a pynvml older than that knows only the first name.
    query = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
    mask = (query or nvml.nvmlDeviceGetCurrentClocksThrottleReasons)(handle)
    return [name for bit, name in _REASONS if mask & bit]


def _mig(nvml: ModuleType, handle: object) -> bool:
    try:
        return bool(nvml.nvmlDeviceGetMigMode(handle)[0])
    except Exception as error:
        if _code(error) == _NOT_SUPPORTED:
            return False  # a card without MIG is not in MIG mode
        raise


def _driver_model(nvml: ModuleType, handle: object) -> str:
    current = nvml.nvmlDeviceGetDriverModel(handle)
    number = int(current[0] if isinstance(current, (list, tuple)) else current)
    return _DRIVER_MODELS.get(number, str(number))


def _processes(nvml: ModuleType, handle: object) -> list[dict[str, object]]:
    found: dict[int, dict[str, object]] = {}
    for kind, function in (
        ("compute", "nvmlDeviceGetComputeRunningProcesses"),
        ("graphics", "nvmlDeviceGetGraphicsRunningProcesses"),
    ):
        for process in getattr(nvml, function)(handle):
            used = process.usedGpuMemory
            if used is None or used == _NOT_AVAILABLE:
                # Windows' WDDM manages the memory itself and does not tell NVML what each process holds.
                used = {"na": "the driver does not tell it (WDDM)"}
            name = _ask(lambda pid=process.pid: _text(nvml.nvmlSystemGetProcessName(pid)))  # type: ignore[misc]
            found.setdefault(process.pid, {"pid": process.pid, "name": name, "used_bytes": used, "kind": kind})
    return list(found.values())


def collect(child: Child, arguments: dict[str, object]) -> None:
    """Report whether NVML works, the driver, and the cards one after the other."""
    child.stage("import pynvml")
    state = child.try_import("pynvml")
    if state["state"] != "ok":
        child.add({"nvml": "missing" if state["state"] == "missing" else "broken", "error": state.get("error", [])})
        return
    nvml = sys.modules["pynvml"]
    if not callable(getattr(nvml, "nvmlInit", None)):
        child.add({"nvml": "shadowed", "error": [f"{state['file']} is not NVIDIA's pynvml: it has no nvmlInit"]})
        return
    child.stage("nvmlInit")
    try:
        nvml.nvmlInit()
    except Exception as error:  # whatever an NVML that does not start raises is the fact
        child.add({"nvml": _STATES.get(_code(error) or 0, "error"), "error": [f"{type(error).__name__}: {error}"]})
        return
    child.add({"nvml": "ok"})
    child.stage("driver")
    child.add(
        {
            "driver": _ask(lambda: nvml.nvmlSystemGetDriverVersion()),
            "cuda": _ask(lambda: int(nvml.nvmlSystemGetCudaDriverVersion_v2())),
        }
    )
    cards: list[dict[str, object]] = []
    count = _ask(lambda: int(nvml.nvmlDeviceGetCount()))
    child.add({"count": count, "cards": cards})
    for index in range(count if isinstance(count, int) else 0):
        child.stage(f"card {index}")
        try:
            cards.append(read_card(nvml, index))
        except Exception as error:  # one lost card must not hide the others
            reason = f"{type(error).__name__}: {error}"
            cards.append({"index": index, "state": _STATES.get(_code(error) or 0, "error"), "error": reason})
        child.add({"cards": cards})
