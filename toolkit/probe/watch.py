"""Watches a card while a service runs: samples at a steady beat, a CSV file, a summary with a verdict."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import TYPE_CHECKING

from toolkit.errors import UsageError
from toolkit.probe.gpu_sample import THROTTLING, Reader, Sample, open_reader, sample
from troubleshoot.facts import NA

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "HEALTHY_PERCENT",
    "CsvWriter", "Sample", "UtilizationVerdict", "WatchSummary", "format_line", "sample", "summarise", "to_dataframe",
    "watch", "write_csv",
]  # fmt: skip

HEALTHY_PERCENT = (60.0, 95.0)
"""Utilisation that the tutorial calls healthy when it is steady."""
LOW_PERCENT = 30.0
"""Utilisation below which, when it lasts, the tutorial calls the card not fully used."""
LOW_SPELL_S = 10.0
"""How long it has to stay below; shorter spells lie between two texts."""
STEADY_SHARE = 0.8
IDLE_PERCENT = 5.0
"""Utilisation of a card that only draws a desktop; below it nothing is being spoken."""
_MIN_INTERVAL_S, _MAX_INTERVAL_S = 0.05, 3_600.0
_GIB = 2**30
_COLUMNS = tuple(field.name for field in fields(Sample))


def watch(
    interval_s: float = 1.0,
    duration_s: float | None = None,
    gpu_index: int = 0,
    *,
    reader: Reader | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Sample]:
    """Samples of one card every ``interval_s`` seconds, for ``duration_s`` seconds or until the caller stops.

    ``time_s`` of the samples counts from the first. Beats that were missed (a suspended machine) are left out, not
    caught up. Raises :class:`UsageError` for values out of range and :class:`GpuUnavailable` when neither NVML nor
    nvidia-smi is there, both at the first sample.
    """
    if not _MIN_INTERVAL_S <= interval_s <= _MAX_INTERVAL_S:
        raise UsageError(f"interval {interval_s!r} s: give {_MIN_INTERVAL_S} to {_MAX_INTERVAL_S:g} seconds")
    if duration_s is not None and not 0 < duration_s <= 7 * 86_400:
        raise UsageError(f"duration {duration_s!r} s: give more than 0 and at most seven days")
    source = reader or open_reader(gpu_index)
    start = clock()
    try:
        while True:
            now = clock()
            yield _shifted(source.read(), start)
            beats = int((clock() - start) / interval_s) + 1
            if duration_s is not None and beats * interval_s >= duration_s:
                return
            sleep(max(0.0, start + beats * interval_s - max(now, clock())))
    finally:
        source.close()


def _shifted(taken: Sample, start: float) -> Sample:
    values = {name: getattr(taken, name) for name in _COLUMNS}
    return Sample(**{**values, "time_s": round(max(0.0, taken.time_s - start), 3)})


class CsvWriter:
    """Appends samples to a CSV file, one flushed line each, so that whatever ends the watch loses none.

    The header is written once; a file with another header is refused, a torn last line is closed first. NA is empty.
    """

    def __init__(self, path: Path) -> None:
        header = ",".join(_COLUMNS)
        try:
            is_new, is_torn = _look_at(path, header)
            self._file = path.open("a", encoding="utf-8", newline="")
            if is_torn:
                self._file.write("\n")
            if is_new:
                self._file.write(header + "\n")
            self._file.flush()
        except OSError as error:
            raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from None
        self._rows = csv.writer(self._file, lineterminator="\n")

    def write(self, taken: Sample) -> None:
        """Append one sample. Raises :class:`UsageError` when the disk is full."""
        try:
            self._rows.writerow([_cell(getattr(taken, name)) for name in _COLUMNS])
            self._file.flush()
        except OSError as error:
            raise UsageError(f"{self._file.name}: cannot be written ({error.strerror or error})") from None

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> CsvWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_csv(samples: Iterable[Sample], path: Path) -> int:
    """Append the samples as they come; returns how many. See :class:`CsvWriter`."""
    count = 0
    with CsvWriter(path) as writer:
        for taken in samples:
            writer.write(taken)
            count += 1
    return count


def to_dataframe(samples: Iterable[Sample]) -> pd.DataFrame:
    """The samples as a table, one row each, the fields of :class:`Sample` as columns; NA becomes a missing value."""
    import pandas as pd

    rows = [[_table_value(getattr(taken, name)) for name in _COLUMNS] for taken in samples]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def format_line(taken: Sample) -> str:
    """The sample on one line of at most 80 columns."""
    used, total = (_gib(value) for value in (taken.memory_used_bytes, taken.memory_total_bytes))
    parts = [
        f"{taken.time_s:7.1f} s",
        f"GPU {_shown(taken.utilization_percent):>3} %",
        f"mem {used}/{total} GiB",
        f"{_shown(taken.sm_clock_mhz):>4} MHz",
        f"{_shown(taken.power_w):>3}/{_shown(taken.power_limit_w)} W",
        f"{_shown(taken.temperature_c)} C",
    ]
    reasons = () if isinstance(taken.throttle_reasons, NA) else taken.throttle_reasons
    slowed = [reason for reason in reasons if reason in THROTTLING]
    return "  ".join(parts + slowed)[:80].rstrip()


@dataclass(frozen=True)
class UtilizationVerdict:
    """``value``: steady, low, uneven or idle; with the figures that led to it."""

    value: str
    reason: str


@dataclass(frozen=True)
class WatchSummary:
    """What a watch saw; NA where no sample had the sensor.

    Shares lie between 0 and 1: ``share_working`` and ``throttled_share`` of the watched time, ``share_healthy`` (60 to
    95 %) and ``share_low`` (below 30 %) of the time in which the card worked.
    """

    duration_s: float
    sample_count: int
    utilization_mean_percent: float | NA
    share_working: float | NA
    share_healthy: float | NA
    share_low: float | NA
    longest_low_s: float | NA
    verdict: UtilizationVerdict | NA
    memory_peak_bytes: int | NA
    temperature_max_c: float | NA
    power_mean_w: float | NA
    sm_clock_mean_mhz: float | NA
    throttled_share: float | NA
    throttle_reasons: tuple[str, ...] | NA

    def as_facts(self) -> dict[str, object]:
        """Facts ``gpu.*``: what the gpu probe reads once, here over the whole watch."""
        verdict, reasons = self.verdict, self.throttle_reasons
        known = not isinstance(verdict, NA)
        peak = self.memory_peak_bytes
        return {
            "gpu.utilization_percent": self.utilization_mean_percent,
            "gpu.utilization_healthy_share": self.share_healthy,
            "gpu.low_utilization": _is_low(verdict),
            "gpu.low_spell_s": self.longest_low_s,
            "gpu.utilization_verdict": verdict.value if isinstance(verdict, UtilizationVerdict) else verdict,
            "gpu.utilization_reason": verdict.reason if known else verdict,
            "gpu.temperature_c": self.temperature_max_c,
            "gpu.sm_clock_mhz": self.sm_clock_mean_mhz,
            "gpu.memory_peak_gb": peak if isinstance(peak, NA) else round(peak / _GIB, 2),
            "gpu.throttled": self.throttled_share if isinstance(self.throttled_share, NA) else self.throttled_share > 0,
            "gpu.throttle_reasons": reasons if isinstance(reasons, NA) else ", ".join(reasons),
        }


def summarise(samples: Iterable[Sample], *, low_spell_s: float = LOW_SPELL_S) -> WatchSummary:
    """Sum up a watch. Each sample counts for the time up to the next one (at most three beats, so that a suspended
    machine does not count); ``low_spell_s`` is how long utilisation has to stay between 5 and 30 % to be called low.

    Shares and verdict are of the time in which the card worked (5 % or more): pauses between two texts are no fault.
    Utilisation says how much of the time a kernel ran. A low one during synthesis mostly means that the CPU does not
    launch kernels fast enough; it says nothing about autocast.
    """
    taken = list(samples)
    spans = _spans(taken)
    utilization = _known(taken, spans, "utilization_percent")
    working = [(value, span) for value, span in utilization if value >= IDLE_PERCENT]
    longest_low_s = _longest_low(taken, spans)
    reasons = [(one.throttle_reasons, span) for one, span in zip(taken, spans, strict=True)]
    told = [(set(names), span) for names, span in reasons if not isinstance(names, NA)]
    slowed = sorted({name for names, _ in told for name in names & THROTTLING})
    none = NA("no sample has it")
    used = [int(value) for value, _ in _known(taken, spans, "memory_used_bytes")]
    heat = [value for value, _ in _known(taken, spans, "temperature_c")]
    return WatchSummary(
        duration_s=round(taken[-1].time_s - taken[0].time_s, 3) if taken else 0.0,
        sample_count=len(taken),
        utilization_mean_percent=_mean(utilization),
        share_working=_share(utilization, lambda value: value >= IDLE_PERCENT),
        share_healthy=_share(working, lambda value: HEALTHY_PERCENT[0] <= value <= HEALTHY_PERCENT[1]),
        share_low=_share(working, lambda value: value < LOW_PERCENT),
        longest_low_s=longest_low_s,
        verdict=_verdict(working, longest_low_s, low_spell_s),
        memory_peak_bytes=max(used) if used else none,
        temperature_max_c=max(heat) if heat else none,
        power_mean_w=_mean(_known(taken, spans, "power_w")),
        sm_clock_mean_mhz=_mean(_known(taken, spans, "sm_clock_mhz")),
        throttled_share=_share(told, lambda names: bool(names & THROTTLING)),
        throttle_reasons=tuple(slowed) if told else none,
    )


def _spans(taken: Sequence[Sample]) -> list[float]:
    steps = [max(0.0, after.time_s - before.time_s) for before, after in pairwise(taken)]
    beat = median(steps) if steps else 1.0
    return [min(step, 3 * beat) for step in steps] + [beat] * (1 if taken else 0)


def _known(taken: Sequence[Sample], spans: Sequence[float], name: str) -> list[tuple[float, float]]:
    pairs = [(getattr(one, name), span) for one, span in zip(taken, spans, strict=True)]
    return [(float(value), span) for value, span in pairs if not isinstance(value, NA)]


def _mean(pairs: Sequence[tuple[float, float]]) -> float | NA:
    weight = sum(span for _, span in pairs)
    return round(sum(value * span for value, span in pairs) / weight, 1) if weight > 0 else NA("no sample has it")


def _share(pairs: Sequence[tuple[object, float]], holds: Callable[..., bool]) -> float | NA:
    weight = sum(span for _, span in pairs)
    matching = sum(span for value, span in pairs if holds(value))
    return round(matching / weight, 3) if weight > 0 else NA("no sample has it")


def _longest_low(taken: Sequence[Sample], spans: Sequence[float]) -> float | NA:
    longest = current = 0.0
    seen = False
    for one, span in zip(taken, spans, strict=True):
        value = one.utilization_percent
        if isinstance(value, NA):
            current = 0.0
            continue
        seen = True
        current = current + span if IDLE_PERCENT <= value < LOW_PERCENT else 0.0
        longest = max(longest, current)
    return round(longest, 3) if seen else NA("no sample has it")


def _verdict(
    working: Sequence[tuple[float, float]], longest_low_s: float | NA, low_spell_s: float
) -> UtilizationVerdict | NA:
    if isinstance(longest_low_s, NA):
        return longest_low_s
    busy = _share(working, lambda value: value >= HEALTHY_PERCENT[0])
    mean = _mean(working)
    if not working:
        return UtilizationVerdict("idle", "the card did nothing all the time; watch it while a text is spoken")
    if longest_low_s >= low_spell_s:
        what = f"below {LOW_PERCENT:.0f} % for {longest_low_s:.0f} s on end (mean {mean} %)"
        return UtilizationVerdict("low", f"{what}: the CPU launches kernels too slowly, or another device works")
    if not isinstance(busy, NA) and busy >= STEADY_SHARE:
        return UtilizationVerdict("steady", f"at {HEALTHY_PERCENT[0]:.0f} % or more for {busy:.0%} of the working time")
    what = f"mean {mean} %, longest spell below {LOW_PERCENT:.0f} %: {longest_low_s:.0f} s"
    return UtilizationVerdict("uneven", what)


def _is_low(verdict: UtilizationVerdict | NA) -> bool | NA:
    if isinstance(verdict, NA):
        return verdict
    return NA(verdict.reason) if verdict.value == "idle" else verdict.value == "low"


def _look_at(path: Path, header: str) -> tuple[bool, bool]:
    """Whether the file is new, and whether its last line was torn off."""
    if not path.exists() or path.stat().st_size == 0:
        return True, False
    with path.open("rb") as file:
        first = file.readline(4096).decode("utf-8", "replace").strip()
        if first != header:
            raise UsageError(f"{path}: is not a file of this watch (its first line is {first[:60]!r}); name another")
        file.seek(-1, 2)
        return False, file.read(1) != b"\n"


def _cell(value: object) -> object:
    if isinstance(value, NA):
        return ""
    return " ".join(value) if isinstance(value, tuple) else value


def _table_value(value: object) -> object:
    return None if isinstance(value, NA) else _cell(value)


def _shown(value: float | NA) -> str:
    return "N/A" if isinstance(value, NA) else f"{value:.0f}"


def _gib(value: int | NA) -> str:
    return "N/A" if isinstance(value, NA) else f"{value / _GIB:.1f}"
