"""Kernels compiled beforehand: the calls of a task with their own sizes, and never an error of the tuning."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.reduction import ForkingPickler
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from toolkit.bench import tune_compile
from toolkit.bench.measuring import Voice
from toolkit.bench.tune_calls import Shapes, TaskCalls
from toolkit.bench.tune_compile import PoolCompiler, Recipe, compile_kernels, worker_count
from toolkit.bench.tune_tasks import Choosing, DotProduct, RowProduct, ShortAttention, WholeFrame, tasks_of
from toolkit.synthesis.fast.kernel_shelf import sizes_json
from toolkit.synthesis.fast.kernel_sizes import KernelSizes

BASE = KernelSizes()


class Kernel:
    """Keeps what it is compiled for; it must never be launched."""

    def __init__(self) -> None:
        self.compiled: list[tuple[Any, ...]] = []

    def warmup(self, *types: object, grid: tuple[int, ...], **options: object) -> None:
        self.compiled.append((types, grid, options))

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        raise AssertionError("launched")


def fake_kernels() -> tuple[ModuleType, Kernel]:
    """A module whose products launch one kernel for as many programs as their sizes say."""
    module, kernel = ModuleType("kernels"), Kernel()
    vars(module)["multiply"] = kernel

    class TritonOperations:
        def __init__(self, device: torch.device, sizes: KernelSizes, *, chained: bool) -> None:
            assert device.type == "meta"
            self.sizes, self.chained = sizes, chained

        def norm_linear(self, x: Tensor, gain: Tensor, eps: float, weight: Tensor) -> Tensor:
            outputs, inputs = weight.shape
            block, _, warps = self.sizes.row_sizes(outputs, inputs, False)
            vars(module)["multiply"][(outputs // block,)](x, eps, x.shape[0], self.chained, num_warps=warps)
            return x

    vars(module)["TritonOperations"] = TritonOperations
    return module, kernel


@pytest.fixture
def recipe(voice: Voice) -> Recipe:
    return Recipe(Shapes.of(voice.speech.model.config), torch.bfloat16, True, "a card")


def test_what_a_task_runs_is_compiled_for_its_types_and_sizes_and_not_launched(recipe: Recipe) -> None:
    module, kernel = fake_kernels()
    task = RowProduct("64x32", 64, 32, "normed")
    compile_kernels(recipe, task, (4, 32, 2), sizes_json(BASE), module)
    assert kernel.compiled == [((torch.bfloat16, 1e-6, rows, True), (16,), {"num_warps": 2}) for rows in (1, 2)]
    assert vars(module)["multiply"] is kernel
    with pytest.raises(AttributeError):
        compile_kernels(recipe, ShortAttention(), (4, 1), sizes_json(BASE), module)
    assert vars(module)["multiply"] is kernel


def test_every_task_can_be_sent_to_a_process_and_its_calls_made_without_memory(recipe: Recipe, voice: Voice) -> None:
    calls = TaskCalls(recipe.shapes, torch.device("meta"), torch.bfloat16)
    for task in tasks_of(voice.speech.model.config)[:-1]:
        assert calls.checks(task)
        assert ForkingPickler.dumps((recipe, task, task.default(BASE, True), sizes_json(BASE)))


class Inline(Executor):
    """Does nothing with what it is given but remember it."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.given: list[tuple[Any, ...]] = []
        self.closed, self._error = False, error

    def submit(self, work: Any, /, *given: Any, **named: Any) -> Future[Any]:
        self.given.append(given)
        future: Future[Any] = Future()
        if self._error is None:
            future.set_result("these sizes do not suit")
        else:
            future.set_exception(self._error)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.closed = not wait and cancel_futures


def test_candidates_are_given_to_the_processes_once(recipe: Recipe) -> None:
    executor, said, made = Inline(), list[str](), list[int]()
    compiler = PoolCompiler(recipe, 3, said.append, lambda _, workers: made.append(workers) or executor)
    dot = DotProduct("64x32 of 32 rows", 64, 32, "normed")
    compiler.compile([(Choosing(), (4,)), (dot, (16, 32, 1, 4, 3))], BASE)
    compiler.compile([(Choosing(), (4,)), (Choosing(), (16,))], BASE)
    compiler.compile([(Choosing(), (16,))], BASE)
    assert [(task.name, sizes) for _, task, sizes, _ in executor.given] == [
        ("choice", (4,)), ("64x32 of 32 rows", (16, 32, 1, 4, 3)), ("choice", (16,)),
    ]  # fmt: skip
    assert made == [3]
    assert said == ["compiling for 2 candidates in 3 processes", "compiling for 1 candidates in 3 processes"]
    compiler.close()
    assert executor.closed


def test_one_core_compiles_as_it_goes(recipe: Recipe) -> None:
    def never(_: Recipe, workers: int) -> Executor:
        raise AssertionError("no processes for one core")

    compiler = PoolCompiler(recipe, 1, make=never)
    compiler.compile([(Choosing(), (4,))], BASE)
    compiler.close()


@pytest.mark.parametrize("where", ["start", "middle"])
def test_processes_that_cannot_be_had_are_done_without(recipe: Recipe, where: str) -> None:
    executor, said, made = Inline(BrokenProcessPool("a process died")), list[str](), list[int]()

    def make(_: Recipe, workers: int) -> Executor:
        made.append(workers)
        if where == "start":
            raise OSError("too many processes")
        return executor

    compiler = PoolCompiler(recipe, 2, said.append, make)
    for warps in (4, 8):
        compiler.compile([(Choosing(), (warps,))], BASE)
    told = "too many processes" if where == "start" else "a process died"
    assert said[1:] == [f"compiling one after the other from now on: {told}"]
    assert made == [2]
    compiler.close()


def test_a_fault_comes_back_in_words(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    module, _ = fake_kernels()
    monkeypatch.setattr(tune_compile, "import_module", lambda name: module)
    values = sizes_json(BASE)
    assert tune_compile._fault(recipe, RowProduct("64x32", 64, 32, "normed"), (4, 32, 2), values) == ""
    assert "has no attribute 'choose'" in tune_compile._fault(recipe, Choosing(), (4,), values)
    assert tune_compile._fault(recipe, WholeFrame(), (1,), values) == "frame has no calls of its own"


def test_processes_are_as_many_as_cores_and_memory_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        available = 3 * 2**30

    monkeypatch.setattr(tune_compile.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(tune_compile.psutil, "virtual_memory", Memory)
    assert worker_count() == 3
    Memory.available = 2**40
    assert worker_count() == 16
    Memory.available = 1
    assert worker_count() == 1
