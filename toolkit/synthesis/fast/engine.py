"""Runs frames of one batch over its static buffers: prompts in, frames launched ahead, reports out in order."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from toolkit.errors import ToolkitFault
from toolkit.synthesis.fast.admission import LONGEST_RECORDED, MOST_RECORDED, Admission
from toolkit.synthesis.fast.capture import EagerRecorder, GraphRecorder, Recorder, bucket_of, buckets_of
from toolkit.synthesis.fast.compile_ahead import compile_ahead
from toolkit.synthesis.fast.frame import run_frame
from toolkit.synthesis.fast.mailbox import CudaMailbox, HostMailbox, Mailbox, Report
from toolkit.synthesis.fast.operations import Operations, PlainOperations
from toolkit.synthesis.fast.path import EAGER, TRITON_GRAPH, choose_path, triton_version
from toolkit.synthesis.fast.prefill import padded_length
from toolkit.synthesis.fast.state import FrameBuffers, Seat, StateSize
from toolkit.synthesis.fast.weights import FrameWeights
from toolkit.synthesis.layers import rotary_table
from toolkit.synthesis.memory import is_out_of_memory
from toolkit.synthesis.precision import Choice
from toolkit.synthesis.sampling import DecodeSettings
from toolkit.synthesis.talker import Talker

__all__ = ["Engine"]


class Engine:
    """One batch on one device.

    Frames are numbered by ticks from 0 on. :meth:`launch` queues the next one and returns at once; :meth:`read` waits
    for the oldest that has not been read. At most ``ring`` of the size may be under way. After an error in the middle
    of a frame call :meth:`reset`; nobody sits in any row then.

    Args:
        size: of the buffers, which are all the memory that frames ever use besides what the recorder sets aside.
        path: how frames run; kernels that cannot be built and graphs that cannot be captured change it.
    """

    def __init__(
        self,
        talker: Talker,
        weights: FrameWeights,
        operations: Operations,
        size: StateSize,
        path: Choice,
        *,
        recorder: Recorder | None = None,
    ) -> None:
        shape = talker.config.talker.decoder
        self.path = path
        self._talker, self._weights, self._operations = talker, weights, operations
        self.buffers = FrameBuffers.make(talker, size)
        on_card = talker.device.type == "cuda"
        self._mailbox: Mailbox = CudaMailbox(self.buffers) if on_card else HostMailbox(self.buffers)
        # The allocator knows the buffers by the stream that they were made on and would give them away too early.
        weakref.finalize(self, self._mailbox.settle).atexit = False
        self._recorder: Recorder = recorder or (EagerRecorder() if path.value == EAGER else GraphRecorder())
        with torch.inference_mode(False):
            self._angles = rotary_table(
                shape.head_dim, shape.rope_theta, size.slots, dtype=talker.dtype, device=talker.device
            )
        self._admission = Admission(talker, weights.talker, self._angles, self.buffers)
        self._frames: dict[int, Callable[[], None]] = {}
        self._buckets = buckets_of(size.rows)
        self._launched = self._read = 0

    @property
    def size(self) -> StateSize:
        """Sizes of the buffers."""
        return self.buffers.size

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be built or captured, a sentence each."""
        return tuple(told for told in (self.path.warning, self._admission.warning) if told)

    @property
    def under_way(self) -> int:
        """Frames that were launched and have not been read."""
        return self._launched - self._read

    def bucket(self, rows: int) -> int:
        """Rows that a frame of ``rows`` runs with."""
        return next(size for size in self._buckets if size >= rows)

    def prepare(self, rows: int) -> None:
        """Record the frame of a bucket, if that has not been done. Nobody may sit anywhere: the frame is run.

        Raises:
            ToolkitFault: frames are under way.
        """
        bucket = self.bucket(rows)
        if bucket in self._frames:
            return
        if self.under_way:
            raise ToolkitFault(f"a frame cannot be recorded while {self.under_way} are under way")
        with self._queue(after_caller=True):
            work = self._tried_work(bucket)
            try:
                self._frames[bucket] = self._recorder.record(work)
            except RuntimeError as error:
                if is_out_of_memory(error) or isinstance(self._recorder, EagerRecorder):
                    raise
                self._recorder = EagerRecorder()
                self.path = self._path_without(capture_fault=_first_line(error))
                self._frames[bucket] = work
            self.buffers.tick.fill_(self._launched)

    def prepare_all(self) -> None:
        """Record the frames of all buckets; see :meth:`prepare`."""
        for bucket in self._buckets:
            self.prepare(bucket)

    def prepare_prompts(self, rows: int) -> None:
        """Record the reading of ``rows`` prompts side by side at all lengths that are read so, from 32 positions on.

        Without it each is recorded when it is first met, which takes as long as reading that prompt three times. Nobody
        may sit in the rows.
        """
        blank = self.buffers.last.new_zeros((LONGEST_RECORDED, self.buffers.last.shape[1]))
        longest = min(LONGEST_RECORDED, MOST_RECORDED // bucket_of(rows), self.size.slots - 1)
        length = padded_length(1)
        while length <= longest:
            seat = Seat(blank[:length], blank[:1], blank[0], DecodeSettings(), 0, 1)
            self.admit(0, [seat] * rows)
            self.vacate(0, rows)
            length = padded_length(length + 1)

    def admit(self, start: int, seats: Sequence[Seat]) -> None:
        """Read prompts and give them the rows from ``start`` on, which must be free. When reading fails, they stay so.

        Raises:
            UsageError: a prompt that does not fit.
            ToolkitFault: the buffers are too small for the limits of these sequences.
        """
        stop = start + len(seats)
        for seat in seats:
            if not self.size.holds(replace(seat.size, rows=stop)):
                raise ToolkitFault(f"buffers of {self.size} hold no sequence of {seat.size} in the rows below {stop}")
        with self._queue(after_caller=True):
            for seat in seats:
                self._mailbox.hold(seat.rows, seat.trail, seat.pad)
            self._admission.admit(start, seats, self._recorder, self._operations)

    def vacate(self, start: int, stop: int) -> None:
        """Free the rows ``start .. stop - 1``; frames that are under way may still report on them."""
        with self._queue(after_caller=False):
            self.buffers.vacate(start, stop)

    def move(self, source: int, target: int) -> None:
        """Let the sequence of one row go on in another; frames that are under way report on the old one."""
        with self._queue(after_caller=False):
            self.buffers.move(source, target)

    def launch(self, rows: int) -> int:
        """Queue a frame of the rows below ``rows``, whose bucket must be prepared; returns its tick.

        Raises:
            ToolkitFault: the ring is full.
        """
        if self.under_way >= self.size.ring:
            raise ToolkitFault(f"{self.under_way} frames are under way, the ring holds no more")
        tick = self._launched
        with self._queue(after_caller=False):
            self._mailbox.before(tick)
            self._frames[self.bucket(rows)]()
            self._launched += 1
            self._mailbox.post(tick)
        return tick

    def read(self, rows: int) -> tuple[int, Report]:
        """Tick and report of the oldest frame that has not been read.

        Raises:
            ToolkitFault: none is under way.
        """
        if not self.under_way:
            raise ToolkitFault("no frame is under way")
        tick = self._read
        report = self._mailbox.read(tick, rows)
        self._read += 1
        return tick, report

    def device_codes(self, tick: int, rows: int) -> Tensor:
        """Codes of a frame that was just read, as a copy on the device, int64 ``[rows, 16]``."""
        return self._mailbox.device_codes(tick, rows)

    def clear(self) -> None:
        """Free all rows and forget the frames that are under way."""
        self.vacate(0, self.size.rows)
        self._read = self._launched

    def reset(self) -> None:
        """As new, whatever went wrong: what a failed frame left in the caches is gone as well."""
        with self._queue(after_caller=True):
            self.buffers.wipe()
        self._launched = self._read = 0

    def _tried_work(self, bucket: int) -> Callable[[], None]:
        """A frame; with fused kernels, one that has run once: where they cannot be built PyTorch's take their place."""
        work = self._work(bucket)
        if self.path.value != TRITON_GRAPH:
            return work
        try:
            compile_ahead(work, *self._operations.kernels)
            work()
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self._operations = PlainOperations()
            self.path = self._path_without(kernel_fault=_first_line(error))
            work = self._work(bucket)
        return work

    def _work(self, bucket: int) -> Callable[[], None]:
        # Without the engine in it, so that the buffers go when the engine does and not when cycles are looked for.
        parts = self._operations, self._weights, self._angles, self.buffers.first(bucket)

        def work() -> None:
            run_frame(*parts)

        return work

    def _path_without(self, *, capture_fault: str | None = None, kernel_fault: str | None = None) -> Choice:
        device = self._talker.device
        capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
        return choose_path(
            device.type, capability, triton_version(), capture_fault=capture_fault, kernel_fault=kernel_fault
        )

    @contextmanager
    def _queue(self, *, after_caller: bool) -> Iterator[None]:
        with torch.inference_mode(), self._mailbox.queue(after_caller=after_caller):
            yield


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0][:160]
