"""Takes the times of kernels on a card: CUDA events around graphs that read more weights than the cache holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import Tensor

from toolkit.bench.tune_search import ATTENTION, FRAME, Outcome, Sizes, Task, apply
from toolkit.synthesis.config import CODE_GROUPS, DecoderShape
from toolkit.synthesis.fast.capture import GraphRecorder, Recorder
from toolkit.synthesis.fast.frame import run_frame
from toolkit.synthesis.fast.kernel_sizes import KernelSizes
from toolkit.synthesis.fast.operations import Operations, PlainOperations
from toolkit.synthesis.fast.state import FrameBuffers, Seat, StateSize, seat_numbers
from toolkit.synthesis.fast.weights import FrameWeights
from toolkit.synthesis.layers import Angles, rotary_table
from toolkit.synthesis.memory import is_out_of_memory
from toolkit.synthesis.sampling import DecodeSettings
from toolkit.synthesis.talker import Talker

__all__ = ["CardMeter", "Clock", "CudaClock", "differs"]

_EPS = 1e-6
_SLOTS, _POSITION = 1024, 600
"""Slots of the cache, and a position in the middle of an ordinary text's speech."""

_CACHE_TIMES = 4
_LEAST_CALLS, _MOST_COPIES = 24, 64
_SAMPLES = 15
_WARM_UPS = 3
_LOST_CONTEXT = ("CUDA error", "illegal memory access", "device-side assert")
# Of numbers near 1, and up to 8: sums in another order; and, in bfloat16, terms that fall on the other side of a
# rounding and then cancel. What is computed wrongly is off by 1 and more.
_TOLERANCE = {torch.float32: (1e-4, 1e-4), torch.bfloat16: (2.0**-6, 2.0**-4)}
_Call = Callable[[Operations], Tensor]


class Clock(Protocol):
    """Runs work on the device that the tensors are on."""

    def samples_us(self, work: Callable[[], None]) -> Sequence[float]:
        """Microseconds of some repetitions of the work."""


class CudaClock:
    """Captures the work as a CUDA graph and replays it between events, on a stream of its own."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def samples_us(self, work: Callable[[], None]) -> Sequence[float]:
        """See :class:`Clock`."""
        recorder: Recorder = GraphRecorder()
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            replay = recorder.record(work)
            for _ in range(_WARM_UPS):
                replay()
            marks: list[tuple[Any, Any]] = []
            for _ in range(_SAMPLES):
                pair = tuple(torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
                pair[0].record()
                replay()
                pair[1].record()
                marks.append((pair[0], pair[1]))
            self._stream.synchronize()
        return [begin.elapsed_time(end) * 1000 for begin, end in marks]


@dataclass(frozen=True)
class _Prepared:
    """Calls of a task that are timed, each on weights or a cache of its own, and those that are compared."""

    name: str
    calls: Sequence[_Call]
    checks: Sequence[_Call]


class CardMeter:
    """A :class:`toolkit.bench.tune_search.Meter` of one model on one device.

    Args:
        talker: loaded for the fast path.
        clock: takes times; CUDA's unless given.
        make: makes operations of sizes; the Triton kernels unless given.
        cache_bytes: of the card's last cache; asked of the card unless given.
    """

    def __init__(
        self,
        talker: Talker,
        chained: bool,
        *,
        clock: Clock | None = None,
        make: Callable[[KernelSizes, bool], Operations] | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        self._talker, self._chained = talker, chained
        self._device, self._dtype = talker.device, talker.dtype
        self._clock = clock or CudaClock(talker.device)
        self._make = make or self._kernels
        self._cache_bytes = cache_bytes or _cache_bytes(talker.device)
        self._weights = FrameWeights.of(talker)
        self._prepared: _Prepared | None = None
        self._generator = torch.Generator().manual_seed(0)

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
        """See :class:`toolkit.bench.tune_search.Meter`; of a product, of one run on average."""
        with torch.inference_mode():
            if task.name == FRAME:
                return self._clock.samples_us(self._frame(base, bool(sizes[0]))[1])
            operations, calls = self._operations(task, sizes, base), self._prepare(task).calls
            repeats = 1 if task.name == ATTENTION else -(-_LEAST_CALLS // len(calls))

            def work_through() -> None:
                for _ in range(repeats):
                    for call in calls:
                        call(operations)

            runs = 1 if task.name == ATTENTION else repeats * len(calls)
            return [time / runs for time in self._clock.samples_us(work_through)]

    def _fault(self, task: Task, sizes: Sizes, base: KernelSizes) -> str:
        if task.name == FRAME:
            return self._frame_fault(base, bool(sizes[0]))
        operations, plain = self._operations(task, sizes, base), PlainOperations()
        for call in self._prepare(task).checks:
            wrong = differs(call(operations), call(plain))
            if wrong:
                return wrong
        return ""

    def _operations(self, task: Task, sizes: Sizes, base: KernelSizes) -> Operations:
        tried = Outcome(task.name, (), sizes, 0.0, 0.0, 0.0, 0)
        return self._make(apply([tried], base, self._chained)[0], self._chained)

    def _kernels(self, sizes: KernelSizes, chained: bool) -> Operations:
        # By name, since the module needs Triton.
        made: Operations = import_module("toolkit.synthesis.fast.triton_operations").TritonOperations(
            self._device, sizes, chained=chained
        )
        return made

    def _prepare(self, task: Task) -> _Prepared:
        """Calls of one task, kept until another task comes."""
        if self._prepared is None or self._prepared.name != task.name:
            self._prepared = None  # gives its weights back before others are made
            if task.name == ATTENTION:
                self._prepared = _Prepared(task.name, self._attention_calls(), self._attention_calls(1))
            else:
                self._prepared = self._product_calls(task)
        return self._prepared

    def _product_calls(self, task: Task) -> _Prepared:
        weight = self._normal(task.outputs * (2 if task.role == "gated" else 1), task.inputs, scale=task.inputs**-0.5)
        copies = min(_MOST_COPIES, -(-_CACHE_TIMES * self._cache_bytes // weight.nbytes) + 1)
        calls = [self._product_call(task, weight if copy == 0 else weight.clone(), 1) for copy in range(copies)]
        # Two rows as well, which the code predictor's first pass has.
        return _Prepared(task.name, calls, [calls[0], self._product_call(task, weight, 2)])

    def _product_call(self, task: Task, weight: Tensor, rows: int) -> _Call:
        x, gain = self._normal(rows, task.inputs), self._normal(task.inputs)
        if task.role == "added":
            residual = self._normal(rows, task.outputs)
            return lambda operations: operations.linear_residual(x, weight, residual)
        if task.role == "gated":
            return lambda operations: operations.norm_gate_up(x, gain, _EPS, weight)
        return lambda operations: operations.norm_linear(x, gain, _EPS, weight)

    def _attention_calls(self, most: int | None = None) -> list[_Call]:
        """The attention of a frame: each layer of the talker once, of the predictor once a code."""
        config = self._talker.config
        stacks = (
            (config.talker.decoder, _SLOTS, [_POSITION]),
            (config.predictor.decoder, CODE_GROUPS, list(range(CODE_GROUPS))),
        )
        found: list[_Call] = []
        for shape, slots, positions in stacks:
            angles = rotary_table(shape.head_dim, shape.rope_theta, slots, dtype=self._dtype, device=self._device)
            for _ in range(shape.layers if most is None else most):
                keys, values = (self._normal(1, shape.kv_heads, slots, shape.head_dim) for _ in range(2))
                found += [self._attention_call(shape, angles, keys, values, position) for position in positions]
        return found

    def _attention_call(
        self, shape: DecoderShape, angles: Angles, keys: Tensor, values: Tensor, position: int
    ) -> _Call:
        qkv, gain = self._normal(1, shape.qkv_rows), self._normal(shape.head_dim)
        slots = torch.tensor([position], dtype=torch.int32, device=self._device)
        given = (qkv, gain, gain, shape.rms_eps, angles.cos, angles.sin, slots, keys, values, shape.heads)
        return lambda operations: operations.attend(*given)

    def _frame(self, base: KernelSizes, chained: bool) -> tuple[FrameBuffers, Callable[[], None]]:
        """A frame of one row in the middle of its speech, on buffers of its own."""
        talker, hidden = self._talker, self._talker.config.talker.decoder.hidden
        buffers = FrameBuffers.make(talker, StateSize(1, _SLOTS))
        shape = talker.config.talker.decoder
        angles = rotary_table(shape.head_dim, shape.rope_theta, _SLOTS, dtype=self._dtype, device=self._device)
        empty = torch.zeros(_POSITION, hidden, dtype=self._dtype, device=self._device)
        settings = DecodeSettings().greedy()
        seats = [Seat(empty, empty[:1], empty[0], settings, 0, _SLOTS - _POSITION)]
        buffers.seat(torch.tensor(seat_numbers(0, seats, 1), device=self._device))
        for place, vectors in zip(*buffers.trails(0, seats), strict=True):
            place.copy_(vectors)
        generator = torch.Generator().manual_seed(1)
        buffers.last.copy_(torch.randn(1, hidden, generator=generator))
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

    def _normal(self, *shape: int, scale: float = 1.0) -> Tensor:
        drawn = torch.randn(*shape, generator=self._generator) * scale
        return drawn.to(device=self._device, dtype=self._dtype)


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
