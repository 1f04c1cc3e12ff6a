"""The search for kernel sizes: what is tried, what wins, and what an interrupted search has found already.

How a time is taken is behind :class:`Meter`; nothing here knows of a card.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal, Protocol

from toolkit.errors import UsageError
from toolkit.synthesis.config import CODE_GROUPS, DecoderShape, ModelConfig
from toolkit.synthesis.fast.kernel_sizes import KernelSizes, RowSizes, power_of_two, product_key

__all__ = ["ATTENTION", "FRAME", "Meter", "Outcome", "Sizes", "Task", "apply", "search", "tasks_of"]

Sizes = tuple[int, ...]
"""Of a product: outputs, inputs, warps; of attention: slots, warps, most splits; of a frame: 1 if kernels overlap."""

ATTENTION, FRAME = "attention", "frame"

_LEAST_GAIN = 0.01
"""Share of the default's time that a winner has to save whatever the noise: clocks drift by as much."""

_NOISES = 3.0
"""Noises of both together that the gain has to exceed."""

_FINALISTS = 2
_ROUNDS = 3
_THREAD_NUMBERS = (4, 128)
"""Weights that a thread of a candidate may hold at a time: below, a load is narrower than 16 bytes; above, registers
spill."""
_LEAST_PROGRAMS = 32
_PREDICTOR_PASSES = CODE_GROUPS - 1


@dataclass(frozen=True)
class Task:
    """One thing whose sizes are looked for.

    Attributes:
        name: of a product its key; :data:`ATTENTION`; :data:`FRAME`.
        outputs, inputs: of a product, else 0.
        role: how a product is used: normed first, added to a residual, or normed and gated.
        per_frame: how often a frame of one row runs it.
    """

    name: str
    outputs: int = 0
    inputs: int = 0
    role: Literal["normed", "added", "gated", "other"] = "other"
    per_frame: int = 1

    def default(self, base: KernelSizes, chained: bool) -> Sizes:
        """The sizes that it has without a search."""
        if self.name == FRAME:
            return (int(chained),)
        if self.name == ATTENTION:
            return base.attend_slots, base.attend_warps, base.attend_splits
        return tuple(base.row_sizes(self.outputs, self.inputs, self.role == "gated"))

    def first_candidates(self, default: Sizes, can_chain: bool) -> tuple[Sizes, ...]:
        """What is tried besides the default, at the default's number of warps."""
        if self.name == FRAME:
            return ((1 - default[0],),) if can_chain else ()
        if self.name == ATTENTION:
            tried = [(slots, default[1], splits) for slots in (8, 16, 32, 64) for splits in (8, 16, 32, 64)]
        else:
            most = power_of_two(self.inputs)
            tried = [
                (outputs, inputs, default[2])
                for outputs in (1, 2, 4, 8, 16)
                for inputs in (256, 512, 1024, 2048, 4096)
                if inputs <= most and self._sound((outputs, inputs, default[2]))
            ]
        return tuple(sizes for sizes in tried if sizes != default)

    def other_warps(self, sizes: Sizes) -> tuple[Sizes, ...]:
        """The same sizes at other numbers of warps."""
        if self.name == FRAME:
            return ()
        place = 1 if self.name == ATTENTION else 2
        found = [(*sizes[:place], warps, *sizes[place + 1 :]) for warps in (1, 2, 4, 8) if warps != sizes[place]]
        return tuple(each for each in found if self.name == ATTENTION or self._sound(each))

    def _sound(self, sizes: Sizes) -> bool:
        outputs, inputs, warps = sizes
        held = outputs * inputs * (2 if self.role == "gated" else 1) / (32 * warps)
        programs = -(-self.outputs // outputs)
        enough = programs >= min(_LEAST_PROGRAMS, self.outputs)
        return _THREAD_NUMBERS[0] <= held <= _THREAD_NUMBERS[1] and enough


class Meter(Protocol):
    """Takes times on one card."""

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


def tasks_of(config: ModelConfig) -> tuple[Task, ...]:
    """The products of a frame of one row, each shape once, then attention, then the frame as a whole."""
    talker, predictor = config.talker.decoder, config.predictor.decoder
    found: dict[str, Task] = {}
    for task in (
        *_products(talker, 1),
        _product(config.talker.vocab, talker.hidden, "normed", 1),
        *_products(predictor, _PREDICTOR_PASSES),
        _product(config.predictor.vocab, predictor.hidden, "normed", _PREDICTOR_PASSES),
    ):
        known = found.get(task.name)
        found[task.name] = task if known is None else replace(known, per_frame=known.per_frame + task.per_frame)
    return (*found.values(), Task(ATTENTION), Task(FRAME))


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
    found: list[Outcome] = []
    for task in tasks:
        outcome = (done or {}).get(task.name)
        if outcome is None:
            on_task(task)
            sizes, _ = apply(found, base, chained)
            outcome = _search_one(task, meter, sizes, task.default(base, chained), can_chain)
            on_outcome(outcome)
        found.append(outcome)
    return tuple(found)


def apply(outcomes: Sequence[Outcome], base: KernelSizes, chained: bool) -> tuple[KernelSizes, bool]:
    """The sizes with what was found, and whether kernels overlap."""
    products = dict(base.products)
    for outcome in outcomes:
        if not outcome.changed:
            continue
        if outcome.name == FRAME:
            chained = bool(outcome.sizes[0])
        elif outcome.name == ATTENTION:
            slots, warps, splits = outcome.sizes
            base = replace(base, attend_slots=slots, attend_warps=warps, attend_splits=splits)
        else:
            products[outcome.name] = RowSizes(*outcome.sizes)
    return replace(base, products=products), chained


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
    try_all(task.other_warps(default))
    for sizes in sorted(times, key=lambda each: times[each])[:_FINALISTS]:
        try_all(task.other_warps(sizes))
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


def _products(shape: DecoderShape, passes: int) -> tuple[Task, ...]:
    runs, attended = shape.layers * passes, shape.heads * shape.head_dim
    return (
        _product(shape.qkv_rows, shape.hidden, "normed", runs),
        _product(shape.hidden, attended, "added", runs),
        _product(shape.intermediate, shape.hidden, "gated", runs),
        _product(shape.hidden, shape.intermediate, "added", runs),
    )


def _product(outputs: int, inputs: int, role: Literal["normed", "added", "gated"], per_frame: int) -> Task:
    return Task(product_key(outputs, inputs, role == "gated"), outputs, inputs, role, per_frame)


def _spelt(sizes: Sizes) -> str:
    return "x".join(map(str, sizes))
