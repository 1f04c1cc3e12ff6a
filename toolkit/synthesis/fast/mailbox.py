"""How results of frames get from the device to the host while the device is already at the next ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from toolkit.synthesis.fast.state import FrameBuffers

__all__ = ["CudaMailbox", "HostMailbox", "Mailbox", "Report"]

_SOONER = -1
"""Priority of a CUDA stream whose kernels start before those of the ordinary 0 where both wait for room."""


@dataclass(frozen=True)
class Report:
    """What one frame did, on the host: ``status`` of each row (see :mod:`toolkit.synthesis.fast.state`) and ``codes``
    int64 ``[rows, 16]``, a copy; rows without a frame hold anything."""

    status: tuple[int, ...]
    codes: Tensor


class Mailbox(Protocol):
    """Where the work of a batch is queued, and how its results come out. A tick is the number of a frame."""

    def queue(self, *, after_caller: bool) -> AbstractContextManager[None]:
        """Queue what is inside behind the batch's work so far; ``after_caller``: also behind the caller's."""

    def hold(self, *tensors: Tensor) -> None:
        """Tensors of the caller that queued work reads; their memory is not reused before that is done."""

    def settle(self) -> None:
        """Wait for all that was queued; before the buffers are given up."""

    def before(self, tick: int) -> None:
        """Call before the frame is queued: its place in the ring must have been read."""

    def post(self, tick: int) -> None:
        """Call when the frame is queued."""

    def read(self, tick: int, rows: int) -> Report:
        """Wait for a frame that was posted, and only for that."""

    def device_codes(self, tick: int, rows: int) -> Tensor:
        """Its codes as a copy on the device, int64 ``[rows, 16]``, in the caller's order of work."""


class HostMailbox:
    """For a device that works when it is told to: all results are there at once."""

    def __init__(self, buffers: FrameBuffers) -> None:
        self._codes, self._status = buffers.codes, buffers.status

    def queue(self, *, after_caller: bool) -> AbstractContextManager[None]:
        """See :class:`Mailbox`."""
        return nullcontext()

    def hold(self, *tensors: Tensor) -> None:
        """Nothing is read later than now."""

    def settle(self) -> None:
        """Nothing is under way."""

    def before(self, tick: int) -> None:
        """Nothing to wait for."""

    def post(self, tick: int) -> None:
        """Nothing to send."""

    def read(self, tick: int, rows: int) -> Report:
        """See :class:`Mailbox`."""
        place = tick % self._status.shape[0]
        return Report(tuple(self._status[place, :rows].tolist()), self._codes[place, :rows].clone())

    def device_codes(self, tick: int, rows: int) -> Tensor:
        """See :class:`Mailbox`."""
        return self._codes[tick % self._status.shape[0], :rows].clone()


class CudaMailbox:
    """Frames run on a stream of their own; a second stream copies each result into pinned memory behind them."""

    def __init__(self, buffers: FrameBuffers) -> None:
        self._codes, self._status = buffers.codes, buffers.status
        device, ring = self._codes.device, self._status.shape[0]
        # First come the frames: the codec beside them has until its next piece, and they wait for one another.
        self._frames, self._copies = _stream(device, _SOONER), _stream(device, _SOONER)
        self._host_codes = torch.zeros(self._codes.shape, dtype=torch.int64, pin_memory=True)
        self._host_status = torch.zeros(self._status.shape, dtype=torch.int8, pin_memory=True)
        self._made = [_event() for _ in range(ring)]
        self._arrived = [_event() for _ in range(ring)]
        self._taken = [_event() for _ in range(ring)]

    @contextmanager
    def queue(self, *, after_caller: bool) -> Iterator[None]:
        """See :class:`Mailbox`."""
        if after_caller:
            self._frames.wait_stream(torch.cuda.current_stream(self._codes.device))
        with torch.cuda.stream(self._frames):
            yield

    def hold(self, *tensors: Tensor) -> None:
        """See :class:`Mailbox`."""
        for tensor in tensors:
            tensor.record_stream(self._frames)

    def settle(self) -> None:
        """See :class:`Mailbox`."""
        self._frames.synchronize()
        self._copies.synchronize()

    def before(self, tick: int) -> None:
        """See :class:`Mailbox`."""
        self._frames.wait_event(self._taken[tick % len(self._taken)])

    def post(self, tick: int) -> None:
        """See :class:`Mailbox`."""
        place = tick % len(self._made)
        self._made[place].record(self._frames)
        self._copies.wait_event(self._made[place])
        with torch.cuda.stream(self._copies):
            self._host_status[place].copy_(self._status[place], non_blocking=True)
            self._host_codes[place].copy_(self._codes[place], non_blocking=True)
        self._arrived[place].record(self._copies)

    def read(self, tick: int, rows: int) -> Report:
        """See :class:`Mailbox`."""
        place = tick % len(self._arrived)
        self._arrived[place].synchronize()
        return Report(tuple(self._host_status[place, :rows].tolist()), self._host_codes[place, :rows].clone())

    def device_codes(self, tick: int, rows: int) -> Tensor:
        """See :class:`Mailbox`."""
        place, caller = tick % len(self._made), torch.cuda.current_stream(self._codes.device)
        caller.wait_event(self._made[place])
        codes = self._codes[place, :rows].clone()
        self._taken[place].record(caller)
        return codes


def _stream(device: torch.device, priority: int) -> torch.cuda.Stream:
    return torch.cuda.Stream(device, priority=priority)  # type: ignore[no-untyped-call]


def _event() -> torch.cuda.Event:
    return torch.cuda.Event()  # type: ignore[no-untyped-call]
