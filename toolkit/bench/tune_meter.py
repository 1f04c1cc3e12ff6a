"""Takes the times of kernels on a card: graphs of calls that read more weights than the cache holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Protocol

import torch
from torch import Tensor

from toolkit.bench.clocks import Clock, CudaClock
from toolkit.bench.seated_row import seated_row
from toolkit.bench.tune_calls import Call, Shapes, TaskCalls, Timed
from toolkit.bench.tune_tasks import Sizes, Task, WholeFrame
from toolkit.synthesis.fast.frame import run_frame
from toolkit.synthesis.fast.kernel_sizes import KernelSizes
from toolkit.synthesis.fast.operations import Operations, PlainOperations
from toolkit.synthesis.fast.state import FrameBuffers
from toolkit.synthesis.fast.weights import FrameWeights
from toolkit.synthesis.memory import is_out_of_memory
from toolkit.synthesis.sampling import DecodeSettings
from toolkit.synthesis.talker import Talker

__all__ = ["CardMeter", "Compiler", "differs"]

_LOST_CONTEXT = ("CUDA error", "illegal memory access", "device-side assert")
# Of numbers near 1, and up to 8: sums in another order; and, in bfloat16, terms that fall on the other side of a
# rounding and then cancel. What is computed wrongly is off by 1 and more.
_TOLERANCE = {torch.float32: (1e-4, 1e-4), torch.bfloat16: (2.0**-6, 2.0**-4)}


class Compiler(Protocol):
    """Compiles kernels before they are run, so that running them finds them in Triton's cache."""

    def compile(self, tries: Sequence[tuple[Task, Sizes]], base: KernelSizes) -> None:
        """Compile what these tasks run with these sizes. What does not go well is left to who runs it."""


class CardMeter:
    """A :class:`toolkit.bench.tune_search.Meter` of one model on one device.

    Args:
        talker: loaded for the fast path.
        clock: takes times; CUDA's unless given.
        make: makes operations of sizes; the Triton kernels unless given.
        cache_bytes: of the card's last cache; asked of the card unless given.
        compiler: compiles beforehand; None: each kernel is compiled when it is first run.
    """

    def __init__(
        self,
        talker: Talker,
        chained: bool,
        *,
        clock: Clock | None = None,
        make: Callable[[KernelSizes, bool], Operations] | None = None,
        cache_bytes: int | None = None,
        compiler: Compiler | None = None,
    ) -> None:
        self._talker, self._chained = talker, chained
        self._device = talker.device
        self._clock = clock or CudaClock(talker.device)
        self._make = make or self._kernels
        self._cache_bytes = cache_bytes or _cache_bytes(talker.device)
        self._compiler = compiler
        self._weights = FrameWeights.of(talker)
        self._calls = TaskCalls(Shapes.of(talker.config), talker.device, talker.dtype)
        self._prepared: tuple[str, list[Call], Timed] | None = None

    def prepare(self, tries: Sequence[tuple[Task, Sizes]], base: KernelSizes) -> None:
        """See :class:`toolkit.bench.tune_search.Meter`. The frame as a whole is compiled when it is run."""
        if self._compiler is not None:
            self._compiler.compile([each for each in tries if not isinstance(each[0], WholeFrame)], base)

    def fault(self, task: Task, sizes: Sizes, base: KernelSizes) -> str:
        """See :class:`toolkit.bench.tune_search.Meter`. Kernels that cannot be built or launched are a fault, too.

        Raises:
            RuntimeError: the card is lost for this process, or its memory is full.
        """
        try:
            with torch.inference_mode():
                return self._fault(task, sizes, base)
        except Exception as error:
            if is_out_of_memory(error) or any(part in str(error) for part in _LOST_CONTEXT):
                raise
            return (str(error).strip() or type(error).__name__).split("\n")[0][:160]

    def times_us(self, task: Task, sizes: Sizes, base: KernelSizes) -> Sequence[float]:
        """See :class:`toolkit.bench.tune_search.Meter`; of a product, and of the attention of many rows, of one run on
        average."""
        with torch.inference_mode():
            if isinstance(task, WholeFrame):
                return self._clock.samples_us(self._frame(base, bool(sizes[0]))[1])
            operations, (_, _, timed) = self._operations(task, sizes, base), self._prepare(task)

            def work_through() -> None:
                for _ in range(timed.rounds):
                    for call in timed.calls:
                        call(operations)

            return [time / timed.runs for time in self._clock.samples_us(work_through)]

    def _fault(self, task: Task, sizes: Sizes, base: KernelSizes) -> str:
        if isinstance(task, WholeFrame):
            return self._frame_fault(base, bool(sizes[0]))
        operations, plain = self._operations(task, sizes, base), PlainOperations()
        for call in self._prepare(task)[1]:
            wrong = differs(call(operations), call(plain))
            if wrong:
                return wrong
        return ""

    def _operations(self, task: Task, sizes: Sizes, base: KernelSizes) -> Operations:
        return self._make(*task.placed(sizes, base, self._chained))

    def _kernels(self, sizes: KernelSizes, chained: bool) -> Operations:
        # By name, since the module needs Triton.
        made: Operations = import_module("toolkit.synthesis.fast.triton_operations").TritonOperations(
            self._device, sizes, chained=chained
        )
        return made

    def _prepare(self, task: Task) -> tuple[str, list[Call], Timed]:
        """Name, checks and timed calls of one task, kept until another task comes."""
        if self._prepared is None or self._prepared[0] != task.name:
            self._prepared = None  # gives its weights back before others are made
            self._prepared = task.name, self._calls.checks(task), self._calls.timed(task, self._cache_bytes)
        return self._prepared

    def _frame(self, base: KernelSizes, chained: bool) -> tuple[FrameBuffers, Callable[[], None]]:
        """A frame of one row in the middle of its speech, on buffers of its own."""
        buffers, angles = seated_row(self._talker, DecodeSettings().greedy())
        operations = self._make(base, chained)
        return buffers, lambda: run_frame(operations, self._weights, angles, buffers)

    def _frame_fault(self, base: KernelSizes, chained: bool) -> str:
        """Kernels compute the same whether they overlap or not, bit for bit."""
        found = []
        for way in (chained, False):
            buffers, work = self._frame(base, way)
            for _ in range(2):
                work()
            found.append((buffers.codes.clone(), buffers.last.clone()))
        same = all(torch.equal(*pair) for pair in zip(*found, strict=True))
        return "" if same else "a frame of kernels that overlap is another one"


def differs(found: Tensor, wanted: Tensor) -> str:
    """Empty when two results agree within roundings of their dtype, else how far they are apart."""
    if not bool(torch.isfinite(found).all()):
        return "the result is not finite"
    relative, absolute = _TOLERANCE[wanted.dtype]
    gap = (found.float() - wanted.float()).abs()
    if bool((gap <= absolute + relative * wanted.float().abs()).all()):
        return ""
    return f"the result is off by {float(gap.max()):.3g}"


def _cache_bytes(device: torch.device) -> int:
    known = getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 0)
    return int(known) or 128 * 2**20
