"""One reading of a card's sensors: through NVML, or through nvidia-smi where NVML cannot be had."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from types import ModuleType
from typing import Protocol

from toolkit.errors import GpuUnavailable, UsageError
from toolkit.probe.nvidia_smi import find_nvidia_smi
from toolkit.probe.runner import run_child
from troubleshoot.facts import NA

__all__ = ["THROTTLING", "NvmlReader", "Reader", "Sample", "SmiReader", "open_nvml", "open_reader", "sample"]

_MIB = 2**20
# nvml.h, nvmlClocksEventReasons: the names that the gpu probe uses too.
_REASONS = (
    (0x1, "idle"), (0x2, "application-clocks"), (0x4, "power-cap"), (0x8, "hardware-slowdown"), (0x10, "sync-boost"),
    (0x20, "thermal"), (0x40, "hardware-thermal"), (0x80, "power-brake"), (0x100, "display-clocks"),
)  # fmt: skip
THROTTLING = frozenset({"power-cap", "hardware-slowdown", "thermal", "hardware-thermal", "power-brake"})
"""Reasons that mean that the card was slowed down; idling and limits that somebody set are not among them."""

_SMI_FIELDS = (
    "utilization.gpu", "utilization.memory", "memory.used", "memory.total", "clocks.sm", "clocks.mem", "power.draw",
    "power.limit", "temperature.gpu", "pstate", "clocks_throttle_reasons.active",
)  # fmt: skip
_UNKNOWN_FIELD = re.compile(r'Field "([^"]+)" is not a valid field')
_SMI_DEADLINE_S = 10.0


@dataclass(frozen=True)
class Sample:
    """Sensors at one moment. ``time_s`` is a monotonic clock's; a sensor that the card does not have is NA.

    ``utilization_percent`` is the share of the last period in which a kernel ran, not how full the card was.
    """

    time_s: float
    utc: str
    gpu_index: int
    utilization_percent: float | NA
    memory_busy_percent: float | NA
    memory_used_bytes: int | NA
    memory_total_bytes: int | NA
    sm_clock_mhz: float | NA
    memory_clock_mhz: float | NA
    power_w: float | NA
    power_limit_w: float | NA
    temperature_c: float | NA
    pstate: str | NA
    throttle_reasons: tuple[str, ...] | NA

    @property
    def throttled(self) -> bool | NA:
        """Whether the driver slowed the card down (:data:`THROTTLING`)."""
        reasons = self.throttle_reasons
        return reasons if isinstance(reasons, NA) else bool(THROTTLING & set(reasons))


class Reader(Protocol):
    """Gives samples of one card until it is closed."""

    def read(self) -> Sample:
        """Take one sample; sensors that fail are NA."""

    def close(self) -> None:
        """Let go of the driver."""


class NvmlReader:
    """Reads through NVML; ``nvml`` is the pynvml module, initialised, or an object with its functions."""

    def __init__(self, nvml: ModuleType, gpu_index: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._nvml = nvml
        self._gpu_index = gpu_index
        self._clock = clock

    def read(self) -> Sample:
        return sample(self._nvml, self._gpu_index, clock=self._clock)

    def close(self) -> None:
        _ask(self._nvml.nvmlShutdown, self._nvml)


def open_nvml() -> ModuleType:
    """The pynvml module with NVML initialised. Raises :class:`GpuUnavailable` that says what is missing."""
    try:
        import pynvml
    except ImportError:
        raise GpuUnavailable("NVML cannot be asked: install it with `python -m pip install nvidia-ml-py`") from None
    try:
        pynvml.nvmlInit()
    except AttributeError:
        raise GpuUnavailable("the module named pynvml is not nvidia-ml-py; reinstall nvidia-ml-py") from None
    except pynvml.NVMLError as error:
        raise GpuUnavailable(f"NVML does not start: {error}") from None
    module: ModuleType = pynvml
    return module


def sample(nvml: ModuleType, gpu_index: int = 0, *, clock: Callable[[], float] = time.monotonic) -> Sample:
    """Read one card once. A sensor that fails is NA; a card that is not there raises :class:`UsageError`."""
    try:
        count = int(nvml.nvmlDeviceGetCount())
        handle = nvml.nvmlDeviceGetHandleByIndex(gpu_index) if 0 <= gpu_index < count else None
    except _nvml_errors(nvml) as error:
        return _nothing(clock(), gpu_index, NA(f"NVML: {error}"))
    if handle is None:
        raise UsageError(f"there is no card {gpu_index}: NVML lists {count}, counted from 0")

    def value(name: str, *arguments: object, part: str | None = None, scale: float = 1.0) -> float | NA:
        found = _ask(lambda: _number(getattr(nvml, name)(handle, *arguments), part), nvml)
        return found if isinstance(found, NA) else float(str(found)) * scale

    used, total = (value("nvmlDeviceGetMemoryInfo", part=part) for part in ("used", "total"))
    pstate = value("nvmlDeviceGetPerformanceState")
    return Sample(
        time_s=clock(),
        utc=_utc(),
        gpu_index=gpu_index,
        utilization_percent=value("nvmlDeviceGetUtilizationRates", part="gpu"),
        memory_busy_percent=value("nvmlDeviceGetUtilizationRates", part="memory"),
        memory_used_bytes=used if isinstance(used, NA) else int(used),
        memory_total_bytes=total if isinstance(total, NA) else int(total),
        sm_clock_mhz=value("nvmlDeviceGetClockInfo", 1),  # NVML_CLOCK_SM
        memory_clock_mhz=value("nvmlDeviceGetClockInfo", 2),  # NVML_CLOCK_MEM
        power_w=value("nvmlDeviceGetPowerUsage", scale=0.001),
        power_limit_w=value("nvmlDeviceGetEnforcedPowerLimit", scale=0.001),
        temperature_c=value("nvmlDeviceGetTemperature", 0),  # NVML_TEMPERATURE_GPU
        pstate=pstate if isinstance(pstate, NA) else f"P{pstate:.0f}",
        throttle_reasons=_reasons(nvml, handle),
    )


class SmiReader:
    """Reads through nvidia-smi, one call a sample; about 50 ms each, so slower than NVML."""

    def __init__(self, program: str, gpu_index: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._program = program
        self._gpu_index = gpu_index
        self._clock = clock
        self._fields = list(_SMI_FIELDS)

    def read(self) -> Sample:
        while True:
            query = f"--query-gpu={','.join(self._fields)}"
            command = [self._program, "-i", str(self._gpu_index), query, "--format=csv,noheader,nounits"]
            outcome = run_child(command, deadline_s=_SMI_DEADLINE_S, env=dict(os.environ))
            text = outcome.stdout + "\n".join(outcome.last_lines)
            unknown = _UNKNOWN_FIELD.search(text)
            if not unknown or unknown.group(1) not in self._fields:
                break
            # A driver from before a field refuses the whole query; the rest is still worth having.
            self._fields.remove(unknown.group(1))
        if outcome.state != "ok":
            told = next((line.strip() for line in text.splitlines() if line.strip()), outcome.state)
            if "No devices were found" in text:
                raise UsageError(f"there is no card {self._gpu_index}: nvidia-smi does not list it")
            return _nothing(self._clock(), self._gpu_index, NA(f"nvidia-smi: {told[:200]}"))
        cells = [cell.strip() for cell in outcome.stdout.strip().splitlines()[0].split(",")]
        return _from_cells(dict(zip(self._fields, cells, strict=False)), self._clock(), self._gpu_index)

    def close(self) -> None:
        """Nothing is held between calls."""


def open_reader(gpu_index: int = 0) -> Reader:
    """A reader through NVML, else through nvidia-smi. Raises :class:`GpuUnavailable` with both reasons."""
    if isinstance(gpu_index, bool) or gpu_index < 0:
        raise UsageError(f"GPU index {gpu_index!r}: give the number that nvidia-smi shows, 0 or more")
    try:
        return NvmlReader(open_nvml(), gpu_index)
    except GpuUnavailable as error:
        program = find_nvidia_smi(os.environ)
        if program is None:
            raise GpuUnavailable(f"{error}; nvidia-smi is not here either. Is an NVIDIA driver installed?") from None
        return SmiReader(program, gpu_index)


def _from_cells(cells: dict[str, str], time_s: float, gpu_index: int) -> Sample:
    def number(field: str, scale: float = 1.0) -> float | NA:
        text = cells.get(field, "")
        try:
            return float(text) * scale
        except ValueError:
            return NA(f"nvidia-smi: {text.strip('[]') or 'this driver does not know the field'}")

    used, total = number("memory.used", _MIB), number("memory.total", _MIB)
    pstate, mask = cells.get("pstate", ""), cells.get("clocks_throttle_reasons.active", "")
    is_mask = re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", mask)
    return Sample(
        time_s=time_s,
        utc=_utc(),
        gpu_index=gpu_index,
        utilization_percent=number("utilization.gpu"),
        memory_busy_percent=number("utilization.memory"),
        memory_used_bytes=used if isinstance(used, NA) else int(used),
        memory_total_bytes=total if isinstance(total, NA) else int(total),
        sm_clock_mhz=number("clocks.sm"),
        memory_clock_mhz=number("clocks.mem"),
        power_w=number("power.draw"),
        power_limit_w=number("power.limit"),
        temperature_c=number("temperature.gpu"),
        pstate=pstate if re.fullmatch(r"P\d+", pstate) else NA(f"nvidia-smi: {pstate.strip('[]') or 'not told'}"),
        throttle_reasons=_named(int(mask, 16)) if is_mask else NA(f"nvidia-smi: {mask.strip('[]') or 'not told'}"),
    )


def _nothing(time_s: float, gpu_index: int, reason: NA) -> Sample:
    return Sample(time_s, _utc(), gpu_index, *([reason] * 11))


def _reasons(nvml: ModuleType, handle: object) -> tuple[str, ...] | NA:
    # Renamed with driver 535; a pynvml older than that knows only the first name.
    query = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
    query = query or getattr(nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", None)
    if query is None:
        return NA("this pynvml does not know throttle reasons")
    mask = _ask(lambda: int(query(handle)), nvml)
    return mask if isinstance(mask, NA) else _named(int(str(mask)))


def _named(mask: int) -> tuple[str, ...]:
    return tuple(name for bit, name in _REASONS if mask & bit)


def _number(value: object, part: str | None) -> float:
    return float(str(getattr(value, part) if part else value))


def _ask(call: Callable[[], object], nvml: ModuleType) -> object | NA:
    try:
        return call()
    except AttributeError as error:
        return NA(f"this pynvml does not know it ({error})")
    except _nvml_errors(nvml) as error:
        return NA(f"NVML: {error}")


def _nvml_errors(nvml: ModuleType) -> tuple[type[BaseException], ...]:
    known = getattr(nvml, "NVMLError", None)
    return (known, ValueError, OSError) if isinstance(known, type) else (RuntimeError, ValueError, OSError)


def _utc() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
