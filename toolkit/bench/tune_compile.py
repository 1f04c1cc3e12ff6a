"""Compiles the kernels of candidates beforehand, in one process a core: one kernel takes about a second.

The processes run the tuner's calls on tensors without memory, with kernels that are compiled and not launched, and with
the card described instead of opened, so that they take nothing of it. What they compile lies in Triton's cache, where
the tuner finds it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import psutil
import torch

from toolkit.bench.tune_calls import Shapes, TaskCalls
from toolkit.bench.tune_tasks import Sizes, Task
from toolkit.synthesis.fast.compile_ahead import FRAME_KERNELS, compiled_only
from toolkit.synthesis.fast.kernel_shelf import load_sizes, sizes_json
from toolkit.synthesis.fast.kernel_sizes import KernelSizes

__all__ = ["DescribedCard", "PoolCompiler", "Recipe", "compile_kernels", "worker_count"]

_WORKER_BYTES = 2**30
"""What a process with PyTorch and Triton takes at most."""
_MOST_WORKERS = 32


@dataclass(frozen=True)
class Recipe:
    """What kernels are compiled for, besides their sizes.

    Attributes:
        shapes: of the model.
        dtype: of weights and activations.
        chained: whether kernels overlap.
        target: the card as Triton names it.
    """

    shapes: Shapes
    dtype: torch.dtype
    chained: bool
    target: Any

    @classmethod
    def of_card(cls, shapes: Shapes, dtype: torch.dtype, chained: bool) -> Recipe:
        """For the card that is in use."""
        return cls(shapes, dtype, chained, import_module("triton").runtime.driver.active.get_current_target())


class PoolCompiler:
    """A :class:`toolkit.bench.tune_meter.Compiler` in processes of their own. Where they cannot be had, or die, nothing
    is compiled beforehand. Close it in the end.

    Args:
        workers: processes; below two there is nothing to gain, and none is started.
        say: told in a few words how many kernels are compiled, and why not.
        make: makes the executor of so many workers; processes that are started afresh unless given.
    """

    def __init__(
        self,
        recipe: Recipe,
        workers: int,
        say: Callable[[str], None] = lambda _: None,
        make: Callable[[Recipe, int], Executor] | None = None,
    ) -> None:
        self._recipe, self._workers, self._say = recipe, workers, say
        self._make = make or _processes
        self._executor: Executor | None = None
        self._given: set[tuple[str, Sizes]] = set()
        self._works = workers > 1

    def compile(self, tries: Sequence[tuple[Task, Sizes]], base: KernelSizes) -> None:
        """See :class:`toolkit.bench.tune_meter.Compiler`; nothing is given to the processes twice."""
        new = [(task, sizes) for task, sizes in tries if (task.name, sizes) not in self._given]
        if not self._works or not new:
            return
        self._given |= {(task.name, sizes) for task, sizes in new}
        self._say(f"compiling for {len(new)} candidates in {self._workers} processes")
        values = sizes_json(base)
        try:
            if self._executor is None:
                self._executor = self._make(self._recipe, self._workers)
            jobs = [self._executor.submit(_fault, self._recipe, *each, values) for each in new]
            for job in wait(jobs).done:
                job.result()
        except (OSError, BrokenProcessPool) as error:
            self._works = False
            self._say(f"compiling one after the other from now on: {' '.join(str(error).split())[:160]}")

    def close(self) -> None:
        """Begin nothing more; what is being compiled ends by itself."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)


def worker_count() -> int:
    """One a core that this process may use, as far as memory reaches."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _MOST_WORKERS, int(psutil.virtual_memory().available) // _WORKER_BYTES))


def compile_kernels(
    recipe: Recipe, task: Task, sizes: Sizes, base: Mapping[str, object], kernels: ModuleType | None = None
) -> None:
    """Compile all that one task runs with some sizes, in a process of its own: no kernel can be launched meanwhile.

    Args:
        base: all other sizes, from :func:`toolkit.synthesis.fast.kernel_shelf.sizes_json`.
        kernels: the module of the operations.

    Raises:
        Exception: whatever a compiler says of sizes that do not suit.
    """
    module = import_module(FRAME_KERNELS) if kernels is None else kernels
    nowhere = torch.device("meta")
    placed, chained = task.placed(sizes, load_sizes(dict(base)), recipe.chained)
    with torch.inference_mode(), compiled_only(module):
        operations = module.TritonOperations(nowhere, placed, chained=chained)
        for call in TaskCalls(recipe.shapes, nowhere, recipe.dtype).checks(task):
            call(operations)


def _fault(recipe: Recipe, task: Task, sizes: Sizes, base: Mapping[str, object]) -> str:
    """Empty when all went well. Told in words, since not every error of a compiler finds its way between processes."""
    try:
        compile_kernels(recipe, task, sizes, base)
    except Exception as error:  # noqa: BLE001 - of any kind; who runs these sizes meets it again and says so
        return str(error) or type(error).__name__
    return ""


class DescribedCard:
    """In place of Triton's driver: it knows what to compile for, and opens no card."""

    def __init__(self, target: object) -> None:
        self._target = target

    def get_current_target(self) -> object:
        return self._target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def _processes(recipe: Recipe, workers: int) -> Executor:
    # Afresh, since a process that is forked must not touch CUDA, nor the locks of other threads.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(recipe.target,))


def _begin(target: object) -> None:
    """Once a process. Ctrl-C goes to all of them, and is the tuner's affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    import_module("triton").runtime.driver.set_active(DescribedCard(target))
