"""The fast path behind the decode loop's own interface, with one set of static buffers that generations lease."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from toolkit.errors import UsageError
from toolkit.synthesis.decoding import Seed, Step
from toolkit.synthesis.fast.capture import Recorder
from toolkit.synthesis.fast.engine import Engine
from toolkit.synthesis.fast.frame import MOST_ROWS
from toolkit.synthesis.fast.kernel_shelf import Tuning, choose_tuning, tuned_operations, tuning_key
from toolkit.synthesis.fast.operations import Operations, PlainOperations
from toolkit.synthesis.fast.path import TRITON_GRAPH, choose_path, triton_version
from toolkit.synthesis.fast.state import ENDED, FRAME, Seat, StateSize
from toolkit.synthesis.fast.weights import FrameWeights
from toolkit.synthesis.precision import Choice
from toolkit.synthesis.prompt import PromptBatch
from toolkit.synthesis.sampling import DecodeSettings
from toolkit.synthesis.talker import Talker

__all__ = ["FastBackend", "FastState", "row_seeds"]

_SEEDS = 2**63


def row_seeds(seed: Seed, rows: int) -> list[int]:
    """A seed for each row: those given; or ``seed``, ``seed + 1``, ...; or from PyTorch's global generator.

    Raises:
        UsageError: as many seeds as rows were needed.
    """
    if seed is None:
        seed = int(torch.randint(_SEEDS - 1, (1,)))
    if isinstance(seed, int):
        return [(seed + row) % _SEEDS for row in range(rows)]
    if len(seed) != rows:
        raise UsageError(f"{rows} prompts need {rows} seeds, found {len(seed)}")
    return [number % _SEEDS for number in seed]


class _Lease:
    """One generation's use of an engine. ``close`` gives it back, ``drop`` does not: its buffers may hold anything."""

    def __init__(self, engine: Engine, idle: list[Engine]) -> None:
        self.engine: Engine | None = engine
        self._idle = idle

    def close(self) -> None:
        if self.engine is not None:
            # Only one is kept for the next generation; what others would need is made anew.
            self._idle[:] = [self.engine]
            self.engine = None

    def drop(self) -> None:
        self.engine = None


@dataclass(eq=False)
class FastState:
    """What the host knows of a generation of :class:`FastBackend`; the rest lies in the buffers of its engine."""

    lease: _Lease
    rows: int
    alive: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.alive = torch.ones(self.rows, dtype=torch.bool)


class FastBackend:
    """A :class:`toolkit.synthesis.decoding.Backend` that runs whole frames, as CUDA graphs where there are any.

    Draws are Philox's, by seed, frame and codebook, so that what a row says does not depend on the rows beside it; they
    are not those of the plain path. Greedy codes are. One generation after the other uses the same buffers; a second
    one that begins before the first is over gets buffers of its own. A generation that is given up, by an error or
    because nobody asks for more of it, leaves its buffers to the next.

    Args:
        talker: loaded with ``pack=False`` where that would re-lay its weights.
        operations: makes the arithmetic for one set of buffers; by the path unless given.
        path: how frames run; from the facts of this machine unless given.
        tuning: sizes of the fused kernels; the best that are known for the card unless given.
        ahead: frames that are launched before the oldest is waited for; 0 where there is no device of its own pace.
        recorder: repeats frames; by the path unless given.

    Raises:
        UsageError: weights that were re-laid, or in float16, whose overflows only the plain path looks for.
    """

    draws_by_row = True
    most_rows = MOST_ROWS

    def __init__(
        self,
        talker: Talker,
        operations: Callable[[], Operations] | None = None,
        *,
        path: Choice | None = None,
        tuning: Tuning | None = None,
        ahead: int | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        if talker.dtype == torch.float16:
            raise UsageError("the fast path runs bfloat16 and float32; float16 overflows, which the plain path reports")
        on_card = talker.device.type == "cuda"
        self._talker = talker
        self._weights = FrameWeights.of(talker)
        capability = torch.cuda.get_device_capability(talker.device) if on_card else None
        triton = triton_version()
        self._path = path or choose_path(talker.device.type, capability, triton)
        self._operations = operations
        if tuning is None and operations is None and on_card and triton and self._path.value == TRITON_GRAPH:
            tuning = choose_tuning(tuning_key(talker.config, talker.dtype, talker.device, triton))
        self._tuning = tuning
        if tuning is not None and self._path.value == TRITON_GRAPH:
            self._path = replace(self._path, reason=f"{self._path.reason}; {_told(tuning)}")
        self._ahead = (2 if on_card else 0) if ahead is None else ahead
        self._recorder = recorder
        self._idle: list[Engine] = []
        self._warnings: list[str] = []

    @property
    def path(self) -> Choice:
        """How frames run, and why; with fused kernels also where their sizes come from."""
        return self._path

    @property
    def tuning(self) -> Tuning | None:
        """Sizes of the fused kernels; None where frames run without them."""
        return self._tuning if self._path.value == TRITON_GRAPH else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be built or captured so far, a sentence each."""
        return tuple(self._warnings)

    def release(self) -> None:
        """Let go of the buffers that no generation uses."""
        self._idle.clear()

    def prefill(self, batch: PromptBatch, settings: DecodeSettings, seed: Seed) -> FastState:
        """Read the prompts. A seed for each row, or one for the first, from which the others count on.

        Raises:
            UsageError: more than 64 prompts, or not as many seeds.
        """
        if batch.size > MOST_ROWS:
            raise UsageError(f"the fast path takes up to {MOST_ROWS} prompts side by side, found {batch.size}")
        limit = settings.max_new_tokens - 1
        seeds = row_seeds(seed, batch.size)
        seats = [
            Seat(prompt.rows, prompt.trail, prompt.pad, settings, row_seed, limit)
            for prompt, row_seed in zip(batch.prompts, seeds, strict=True)
        ]
        engine = self._engine(seats)
        engine.prepare(batch.size)
        engine.admit(0, seats)
        self._path = engine.path
        # Another engine, for a longer text, meets the same fault again.
        self._warnings += [told for told in engine.warnings if told not in self._warnings]
        lease = _Lease(engine, self._idle)
        state = FastState(lease, batch.size)
        weakref.finalize(state, lease.close).atexit = False
        if self._ahead:
            # Now, not at the first step: until then the caller has other things to do, and the device would wait.
            self._launch(state, engine)
        return state

    def step(self, state: FastState, last: bool) -> Step:
        """One frame; see :class:`toolkit.synthesis.decoding.Backend`. It was launched ``ahead`` steps ago."""
        engine = state.lease.engine
        if engine is None:
            return Step(None, state.alive)
        self._launch(state, engine)
        try:
            tick, report = engine.read(state.rows)
            if ENDED in report.status:
                state.alive = state.alive & torch.tensor([status != ENDED for status in report.status])
            over = last or FRAME not in report.status
            codes = None if over else engine.device_codes(tick, state.rows)
        except BaseException:
            state.lease.drop()
            raise
        if over:
            state.lease.close()
        return Step(codes, state.alive)

    def _launch(self, state: FastState, engine: Engine) -> None:
        try:
            while engine.under_way <= self._ahead:
                engine.launch(state.rows)
        except BaseException:
            state.lease.drop()
            raise

    def _engine(self, seats: Sequence[Seat]) -> Engine:
        """The idle engine if it is large enough, else a new one; in both nobody sits."""
        idle = self._idle.pop() if self._idle else None
        sizes = [seat.size for seat in seats]
        slots, trail = max(size.slots for size in sizes), max(size.trail for size in sizes)
        need = StateSize(len(seats), slots, trail).rounded()
        if idle is not None and idle.size.holds(need):
            idle.clear()
            return idle
        if idle is not None:
            # As large as both, so that generations that take turns do not rebuild each other's buffers.
            old = idle.size
            need = StateSize(max(need.rows, old.rows), max(need.slots, old.slots), max(need.trail, old.trail))
        del idle
        return Engine(self._talker, self._weights, self._make_operations(), need, self._path, recorder=self._recorder)

    def _make_operations(self) -> Operations:
        if self._operations is not None:
            return self._operations()
        if self._path.value != TRITON_GRAPH:
            return PlainOperations()
        # An object for each engine, since each has a stream of its own.
        try:
            return tuned_operations(self._talker.device, self._tuning)
        except ImportError as error:
            capability = torch.cuda.get_device_capability(self._talker.device)
            self._path = choose_path("cuda", capability, triton_version(), kernel_fault=str(error))
            return PlainOperations()


def _told(tuning: Tuning) -> str:
    overlapping = ", overlapping" if tuning.chained else ""
    return f"kernel sizes: {tuning.source.value} ({tuning.source.reason}){overlapping}"
