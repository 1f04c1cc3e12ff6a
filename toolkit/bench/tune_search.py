"""The search for kernel sizes: what is tried, what wins, and what an interrupted search has found already.

How a time is taken is behind :class:`Meter`; nothing here knows of a card.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from toolkit.bench.tune_tasks import Sizes, Task
from toolkit.errors import UsageError
from toolkit.synthesis.fast.kernel_sizes import KernelSizes

__all__ = ["Meter", "Outcome", "apply", "search"]

_LEAST_GAIN = 0.01
"""Share of the default's time that a winner has to save whatever the noise: clocks drift by as much."""

_NOISES = 3.0
"""Noises of both together that the gain has to exceed."""

_FINALISTS = 2
_ROUNDS = 3


class Meter(Protocol):
    """Takes times on one card."""

    def prepare(self, tries: Sequence[tuple[Task, Sizes]], base: KernelSizes) -> None:
        """Make ready what is going to be tried, so that nothing has to be compiled piece by piece."""

    def fault(self, task: Task, sizes: Sizes, base: KernelSizes) -> str:
        """Run once and compare with the plain twin: empty when both agree, else what is wrong in a few words."""

    def times_us(self, task: Task, sizes: Sizes, base: KernelSizes) -> Sequence[float]:
        """Microseconds of some runs."""


@dataclass(frozen=True)
class Outcome:
    """What came of a task: the sizes to take (the default's where nothing beat it by more than the noise)."""

    name: str
    default: Sizes
    sizes: Sizes
    default_us: float
    best_us: float
    noise_us: float
    tried: int
    refused: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether other sizes than the default's won."""
        return self.sizes != self.default

    def to_json(self) -> dict[str, object]:
        """As JSON values; :meth:`from_json` makes it again."""
        return {
            "name": self.name,
            "default": list(self.default),
            "sizes": list(self.sizes),
            "default_us": round(self.default_us, 4),
            "best_us": round(self.best_us, 4),
            "noise_us": round(self.noise_us, 4),
            "tried": self.tried,
            "refused": list(self.refused),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> Outcome:
        """See :meth:`to_json`. Raises UsageError for values that are none."""
        refused = values.get("refused")
        if not isinstance(refused, list):
            raise UsageError(f"refused must be a list, not {refused!r}")
        return cls(
            name=str(values.get("name")),
            default=_read_sizes(values, "default"),
            sizes=_read_sizes(values, "sizes"),
            default_us=_read_number(values, "default_us"),
            best_us=_read_number(values, "best_us"),
            noise_us=_read_number(values, "noise_us"),
            tried=int(_read_number(values, "tried")),
            refused=tuple(map(str, refused)),
        )


def search(
    tasks: Sequence[Task],
    meter: Meter,
    base: KernelSizes,
    chained: bool,
    can_chain: bool,
    *,
    done: Mapping[str, Outcome] | None = None,
    on_task: Callable[[Task], None] = lambda _: None,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
) -> tuple[Outcome, ...]:
    """Search each task in turn. The frame as a whole is measured with all sizes that were found before it.

    Args:
        base, chained: what runs without a search.
        can_chain: whether kernels of this card and Triton can overlap.
        done: outcomes by name that an interrupted search left; those are not searched again.
        on_outcome: told each new outcome, so that it can be kept.

    Raises:
        UsageError: the default sizes of a task do not agree with its plain twin; nothing can be compared with them.
    """
    known, found = done or {}, list[Outcome]()
    tries: list[tuple[Task, Sizes]] = []
    for task in tasks:
        if task.name not in known:
            default = task.default(base, chained)
            tries += [(task, sizes) for sizes in (default, *task.first_candidates(default, can_chain))]
    # All at once, since their compilers run side by side.
    meter.prepare(tries, base)
    for task in tasks:
        outcome = known.get(task.name)
        if outcome is None:
            on_task(task)
            sizes, _ = apply(tasks, found, base, chained)
            outcome = _search_one(task, meter, sizes, task.default(base, chained), can_chain)
            on_outcome(outcome)
        found.append(outcome)
    return tuple(found)


def apply(
    tasks: Sequence[Task], outcomes: Sequence[Outcome], base: KernelSizes, chained: bool
) -> tuple[KernelSizes, bool]:
    """The sizes with what was found of these tasks, and whether kernels overlap."""
    by_name = {task.name: task for task in tasks}
    for outcome in outcomes:
        if outcome.changed and outcome.name in by_name:
            base, chained = by_name[outcome.name].placed(outcome.sizes, base, chained)
    return base, chained


def _search_one(task: Task, meter: Meter, base: KernelSizes, default: Sizes, can_chain: bool) -> Outcome:
    fault = meter.fault(task, default, base)
    if fault:
        raise UsageError(f"{task.name}: the default sizes {_spelt(default)} fail on this card: {fault}")
    times: dict[Sizes, float] = {}
    refused: list[str] = []

    def try_all(candidates: Sequence[Sizes]) -> None:
        for sizes in candidates:
            wrong = "" if sizes in times else meter.fault(task, sizes, base)
            if wrong:
                refused.append(f"{_spelt(sizes)}: {wrong}")
            elif sizes not in times:
                times[sizes] = median(meter.times_us(task, sizes, base))

    try_all(task.first_candidates(default, can_chain))
    finalists = (default, *sorted(times, key=lambda each: times[each])[:_FINALISTS])
    later = [other for sizes in finalists for other in task.later_candidates(sizes) if other not in times]
    if later:
        meter.prepare([(task, sizes) for sizes in dict.fromkeys(later)], base)
        try_all(list(dict.fromkeys(later)))
    best = min(times, key=lambda each: times[each], default=None)
    # The best of many is partly the luckiest: it is measured anew, in turns with the default.
    rivals = (default,) if best is None else (default, best)
    series: dict[Sizes, list[float]] = {sizes: [] for sizes in rivals}
    for _ in range(_ROUNDS):
        for sizes in rivals:
            series[sizes].extend(meter.times_us(task, sizes, base))
    default_us = median(series[default])
    best_us = default_us if best is None else median(series[best])
    noise_us = sum(_noise(series[sizes]) for sizes in rivals)
    wins = best is not None and default_us - best_us > max(_NOISES * noise_us, _LEAST_GAIN * default_us)
    return Outcome(
        task.name,
        default,
        best if wins and best is not None else default,
        default_us,
        best_us if wins else default_us,
        noise_us,
        len(times) + 1,
        tuple(refused),
    )


def _noise(times: Sequence[float]) -> float:
    """How far a median may be off: the median distance from it, over the root of the number of times."""
    middle = median(times)
    return float(median(abs(time - middle) for time in times) / math.sqrt(len(times)))


def _read_sizes(values: Mapping[str, object], name: str) -> Sizes:
    found = values.get(name)
    if not isinstance(found, list) or not all(type(number) is int for number in found):
        raise UsageError(f"{name} must be a list of whole numbers, not {found!r}")
    return tuple(found)


def _read_number(values: Mapping[str, object], name: str) -> float:
    found = values.get(name)
    if not isinstance(found, int | float) or isinstance(found, bool):
        raise UsageError(f"{name} must be a number, not {found!r}")
    return float(found)


def _spelt(sizes: Sizes) -> str:
    return "x".join(map(str, sizes))
