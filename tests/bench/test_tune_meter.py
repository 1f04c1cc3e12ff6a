"""The meter of the tuner on a CPU, with plain operations in place of kernels and a clock that only counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from toolkit.bench.measuring import Voice
from toolkit.bench.tune_meter import CardMeter, differs
from toolkit.bench.tune_search import search
from toolkit.bench.tune_tasks import (
    Attention,
    Choosing,
    DotProduct,
    ManyAttention,
    Product,
    RowProduct,
    ShortAttention,
    Sizes,
    Task,
    WholeFrame,
    tasks_of,
)
from toolkit.synthesis.fast.kernel_sizes import KernelSizes
from toolkit.synthesis.fast.operations import PlainOperations

BASE = KernelSizes()


class Counted(PlainOperations):
    """Counts products, attentions and choices, and may be wrong in one of them."""

    def __init__(self, wrong: str = "", error: Exception | None = None) -> None:
        self.calls: list[str] = []
        self.weights: set[int] = set()
        self.rows: list[int] = []
        self._wrong, self._error = wrong, error

    def norm_linear(self, x: Tensor, gain: Tensor, eps: float, weight: Tensor) -> Tensor:
        self.weights.add(weight.data_ptr())
        self.rows.append(x.shape[0])
        return self._done("norm_linear", super().norm_linear(x, gain, eps, weight))

    def linear_residual(self, x: Tensor, weight: Tensor, residual: Tensor) -> Tensor:
        return self._done("linear_residual", super().linear_residual(x, weight, residual))

    def norm_gate_up(self, x: Tensor, gain: Tensor, eps: float, weight: Tensor) -> Tensor:
        return self._done("norm_gate_up", super().norm_gate_up(x, gain, eps, weight))

    def attend(self, *given: Any) -> Tensor:
        return self._done("attend", super().attend(*given))

    def choose(self, *given: Any, **named: Any) -> Tensor:
        return self._done("choose", super().choose(*given, **named))

    def _done(self, name: str, result: Tensor) -> Tensor:
        if self._error is not None:
            raise self._error
        self.calls.append(name)
        return result + 1 if name == self._wrong else result


class CountingClock:
    """Runs the work once and says that it took as many microseconds as it made calls."""

    def __init__(self, operations: Counted) -> None:
        self.operations = operations

    def samples_us(self, work: Callable[[], None]) -> Sequence[float]:
        self.operations.calls.clear()
        work()
        return [float(len(self.operations.calls))] * 3


def meter_of(voice: Voice, operations: Counted, cache_bytes: int = 1) -> CardMeter:
    return CardMeter(
        voice.speech.model.talker, False, clock=CountingClock(operations),
        make=lambda sizes, chained: operations, cache_bytes=cache_bytes,
    )  # fmt: skip


def product(voice: Voice, role: str, kind: type[Product] = RowProduct) -> Product:
    tasks = tasks_of(voice.speech.model.config, 4)
    return next(task for task in tasks if isinstance(task, kind) and task.role == role)


@pytest.mark.parametrize(
    ("role", "call"), [("normed", "norm_linear"), ("added", "linear_residual"), ("gated", "norm_gate_up")]
)
def test_a_product_is_timed_as_it_is_used_and_compared_at_one_and_two_rows(voice: Voice, role: str, call: str) -> None:
    operations = Counted()
    meter, task = meter_of(voice, operations), product(voice, role)
    sizes = task.default(BASE, False)
    assert meter.fault(task, sizes, BASE) == ""
    assert operations.calls == [call] * 2
    assert meter.times_us(task, sizes, BASE) == [1.0] * 3
    assert set(operations.calls) == {call}
    assert meter_of(voice, Counted(wrong=call)).fault(task, sizes, BASE).startswith("the result is off by 1")


def test_weights_that_are_read_in_turn_are_more_than_the_cache_holds(voice: Voice) -> None:
    operations, task = Counted(), product(voice, "normed")
    weight_bytes = task.outputs * task.inputs * 4
    meter = meter_of(voice, operations, cache_bytes=2 * weight_bytes)
    meter.times_us(task, task.default(BASE, False), BASE)
    assert len(operations.weights) * weight_bytes > 4 * 2 * weight_bytes


@pytest.mark.parametrize("role", ["normed", "added", "gated"])
def test_a_product_of_many_rows_is_timed_at_32_and_compared_at_17_as_well(voice: Voice, role: str) -> None:
    operations = Counted()
    meter, task = meter_of(voice, operations), product(voice, role, DotProduct)
    sizes = task.default(BASE, False)
    assert meter.fault(task, sizes, BASE) == ""
    assert meter.times_us(task, sizes, BASE) == [1.0] * 3
    if role == "normed":
        assert (operations.rows[:2], set(operations.rows[2:])) == ([32, 17], {32})


@pytest.mark.parametrize(
    ("task", "call"), [(Attention(), "attend"), (ShortAttention(), "attend"), (Choosing(), "choose")]
)
def test_attention_and_choice_are_those_of_a_whole_frame(voice: Voice, task: Task, call: str) -> None:
    operations = Counted()
    meter, config = meter_of(voice, operations), voice.speech.model.config
    assert meter.fault(task, task.default(BASE, False), BASE) == ""
    counts = {
        "attention": config.talker.decoder.layers, "short attention": 16 * config.predictor.decoder.layers, "choice": 16
    }  # fmt: skip
    assert meter.times_us(task, task.default(BASE, False), BASE) == [float(counts[task.name])] * 3
    assert set(operations.calls) == {call}
    assert "off by " in meter_of(voice, Counted(wrong=call)).fault(task, task.default(BASE, False), BASE)


def test_attention_of_many_rows_reads_more_than_the_cache_holds(voice: Voice) -> None:
    task, operations = ManyAttention(), Counted()
    shape = voice.speech.model.config.talker.decoder
    read = 2 * 32 * shape.kv_heads * 600 * shape.head_dim * 4
    for cache_bytes in (1, read // 4, 100 * read):
        meter = meter_of(voice, operations, cache_bytes)
        assert meter.fault(task, (1024,), BASE) == ""
        assert meter.times_us(task, (1024,), BASE) == [1.0] * 3
        assert len(operations.calls) >= 8


def test_a_frame_of_overlapping_kernels_must_be_the_same_bit_for_bit(voice: Voice) -> None:
    task = WholeFrame()
    operations = Counted()
    assert meter_of(voice, operations).fault(task, (1,), BASE) == ""
    assert meter_of(voice, operations).times_us(task, (1,), BASE)[0] > 10
    uneven = CardMeter(
        voice.speech.model.talker, False, clock=CountingClock(operations), cache_bytes=1,
        make=lambda sizes, chained: Counted(wrong="linear_residual" if chained else ""),
    )  # fmt: skip
    assert uneven.fault(task, (1,), BASE) == "a frame of kernels that overlap is another one"


def test_kernels_that_cannot_be_built_are_a_fault_and_a_lost_card_is_an_error(voice: Voice) -> None:
    task = product(voice, "normed")
    sizes = task.default(BASE, False)
    told = "out of resource: shared memory\nmore"
    assert meter_of(voice, Counted(error=ValueError(told))).fault(task, sizes, BASE) == "out of resource: shared memory"
    for told in ("CUDA error: an illegal memory access was encountered", "CUDA out of memory"):
        with pytest.raises(RuntimeError):
            meter_of(voice, Counted(error=RuntimeError(told))).fault(task, sizes, BASE)


def test_all_but_the_frame_is_compiled_beforehand(voice: Voice) -> None:
    asked: list[tuple[str, Sizes]] = []

    class Compiler:
        def compile(self, tries: Sequence[tuple[Task, Sizes]], base: KernelSizes) -> None:
            assert base == BASE
            asked.extend((task.name, sizes) for task, sizes in tries)

    operations = Counted()
    meter = CardMeter(
        voice.speech.model.talker, False, clock=CountingClock(operations), cache_bytes=1, compiler=Compiler(),
        make=lambda sizes, chained: operations,
    )  # fmt: skip
    meter.prepare([(Choosing(), (4,)), (WholeFrame(), (1,)), (Attention(), (8, 1, 4))], BASE)
    assert asked == [("choice", (4,)), ("attention", (8, 1, 4))]


def test_search_and_meter_go_together(voice: Voice) -> None:
    tasks = tasks_of(voice.speech.model.config, 4)
    outcomes = search(tasks, meter_of(voice, Counted()), BASE, False, True)
    assert [outcome.name for outcome in outcomes] == [task.name for task in tasks]
    assert not any(outcome.changed or outcome.refused for outcome in outcomes)


def test_results_differ_by_more_than_roundings_or_are_not_finite() -> None:
    wanted = torch.tensor([1.0, -3.0], dtype=torch.bfloat16)
    assert differs(wanted.clone(), wanted) == ""
    assert differs(wanted * (1 + 2**-7), wanted) == ""
    assert differs(wanted + 0.25, wanted) == "the result is off by 0.25"
    assert differs(wanted * float("nan"), wanted) == "the result is not finite"
    exact = torch.tensor([1.0])
    assert differs(exact + 1e-3, exact) == "the result is off by 0.001"
