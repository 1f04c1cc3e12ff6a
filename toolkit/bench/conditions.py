"""The circumstances of a measurement: clocks, power and throttling before, during and after it, and the load."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from types import TracebackType

import psutil

from toolkit.errors import GpuUnavailable
from toolkit.probe.gpu_sample import THROTTLING, NvmlReader, Reader, Sample, open_nvml, open_reader
from troubleshoot.facts import NA

__all__ = ["Conditions", "Watcher", "nvml_index", "open_watcher"]

_NVML_INTERVAL_S, _SMI_INTERVAL_S = 0.25, 2.0
_SENSORS = ("sm_clock_mhz", "memory_clock_mhz", "power_w", "temperature_c", "utilization_percent", "memory_used_bytes")
_BUSY_SHARE = 0.5


@dataclass(frozen=True)
class Conditions:
    """What was seen. ``before``, ``during`` and ``after`` are samples of a card; without one they are empty, and
    ``missing`` says why. Load averages are those of one, five and fifteen minutes."""

    before: Sample | None = None
    during: tuple[Sample, ...] = ()
    after: Sample | None = None
    missing: str = ""
    load_before: tuple[float, ...] = ()
    load_after: tuple[float, ...] = ()
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)

    @property
    def throttled(self) -> bool | None:
        """Whether the driver slowed the card down in any sample; None where nothing was seen."""
        told = [sample.throttled for sample in self._samples() if not isinstance(sample.throttled, NA)]
        return any(told) if told else None

    @property
    def throttle_reasons(self) -> tuple[str, ...]:
        """Why, in alphabetical order."""
        found: set[str] = set()
        for sample in self._samples():
            if not isinstance(sample.throttle_reasons, NA):
                found |= THROTTLING & set(sample.throttle_reasons)
        return tuple(sorted(found))

    @property
    def faults(self) -> tuple[str, ...]:
        """Sentences that make the measurement invalid."""
        if not self.throttled:
            return ()
        return (f"the card was slowed down while it was measured ({', '.join(self.throttle_reasons)})",)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a reader of the figures should know."""
        found = []
        if self.load_before and self.load_before[0] > _BUSY_SHARE * self.cores:
            found.append(
                f"other programs kept the processor busy (load average {self.load_before[0]:.1f} on {self.cores} "
                "cores before the measurement)"
            )
        if self.missing:
            found.append(f"clocks and throttling are not known: {self.missing}")
        elif self._samples() and self.throttled is None:
            found.append("the card does not tell whether it was slowed down")
        return tuple(found)

    def to_json(self) -> dict[str, object]:
        """All of it as JSON values; a sensor that was never read is null."""
        return {
            "before": _sensors((self.before,)),
            "during": {"samples": len(self.during), **_spans(self.during)},
            "after": _sensors((self.after,)),
            "throttled": self.throttled,
            "throttle_reasons": list(self.throttle_reasons),
            "missing": self.missing or None,
            "load_average": {
                "before": [round(value, 2) for value in self.load_before],
                "after": [round(value, 2) for value in self.load_after],
            },
            "cores": self.cores,
        }

    def _samples(self) -> list[Sample]:
        return [sample for sample in (self.before, *self.during, self.after) if sample is not None]


class Watcher:
    """In a ``with`` block: samples a card from a thread while the block runs; ``conditions`` is there after it."""

    def __init__(self, reader: Reader | None, missing: str = "", interval_s: float | None = None) -> None:
        self._reader = reader
        self._missing = missing
        default_s = _NVML_INTERVAL_S if isinstance(reader, NvmlReader) else _SMI_INTERVAL_S
        self._interval_s = default_s if interval_s is None else interval_s
        self._over = threading.Event()
        self._during: list[Sample] = []
        self._thread: threading.Thread | None = None
        self._before: Sample | None = None
        self._load: tuple[float, ...] = ()
        self.conditions = Conditions(missing=missing)

    def __enter__(self) -> Watcher:
        self._load = psutil.getloadavg()
        if self._reader is not None:
            self._before = self._reader.read()
            self._thread = threading.Thread(target=self._watch, args=(self._reader,), daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        after = None
        if self._reader is not None and self._thread is not None:
            self._thread.join()
            after = self._reader.read()
            self._reader.close()
        self.conditions = Conditions(
            self._before, tuple(self._during), after, self._missing, self._load, psutil.getloadavg()
        )

    def _watch(self, reader: Reader) -> None:
        while not self._over.wait(self._interval_s):
            self._during.append(reader.read())


def open_watcher(gpu_index: int | None) -> Watcher:
    """A watcher of a card by NVML's number, or of the load alone (None)."""
    if gpu_index is None:
        return Watcher(None)
    try:
        return Watcher(open_reader(gpu_index))
    except GpuUnavailable as error:
        return Watcher(None, str(error))


def nvml_index(uuid: str, ordinal: int) -> int:
    """NVML's number of the card that PyTorch calls ``ordinal``: found by its UUID, since CUDA_VISIBLE_DEVICES and the
    order of CUDA's own list shift PyTorch's numbers. Where NVML cannot be asked it is ``ordinal`` itself."""
    try:
        nvml = open_nvml()
    except GpuUnavailable:
        return ordinal
    try:
        for index in range(int(nvml.nvmlDeviceGetCount())):
            told = nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(index))
            name = told.decode() if isinstance(told, bytes) else str(told)
            if name.removeprefix("GPU-").lower() == uuid.removeprefix("GPU-").lower():
                return index
    except nvml.NVMLError:
        return ordinal
    finally:
        nvml.nvmlShutdown()
    return ordinal


def _sensors(samples: Sequence[Sample | None]) -> Mapping[str, object] | None:
    found = [sample for sample in samples if sample is not None]
    if not found:
        return None
    taken = found[0]
    reasons = taken.throttle_reasons
    return {
        "utc": taken.utc,
        **{name: _plain(getattr(taken, name)) for name in _SENSORS},
        "pstate": _plain(taken.pstate),
        "throttle_reasons": None if isinstance(reasons, NA) else list(reasons),
    }


def _spans(samples: Sequence[Sample]) -> Mapping[str, object]:
    """Least, middle and most of each sensor."""
    spans: dict[str, object] = {}
    for name in _SENSORS:
        values = [value for value in (getattr(sample, name) for sample in samples) if not isinstance(value, NA)]
        spans[name] = [min(values), median(values), max(values)] if values else None
    return spans


def _plain(value: object) -> object:
    return None if isinstance(value, NA) else value
