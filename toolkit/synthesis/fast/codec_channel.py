"""Where the codec's work is queued, and how its samples reach the host without waiting for the frames beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Arrival", "CodecChannel", "CudaChannel", "HostArrival", "HostChannel"]


class Arrival(Protocol):
    """Samples on their way to the host."""

    @property
    def ready(self) -> bool:
        """Whether :meth:`read` would return at once."""

    def read(self) -> Tensor:
        """Wait for these samples, and only for these: float32 on the host."""


class CodecChannel(Protocol):
    """An order of work for the codec, and a way out of it. ``beside_caller``: it runs while the caller goes on."""

    beside_caller: bool

    def queue(self) -> AbstractContextManager[None]:
        """Queue what is inside behind the codec's work so far and behind what the caller has queued."""

    def hold(self, *tensors: Tensor) -> None:
        """Tensors of the caller that queued work reads; their memory is not reused before that is done."""

    def send(self, samples: Tensor) -> Arrival:
        """Send samples to the host, which may be overwritten by later work of the queue; call it inside of it."""

    def settle(self) -> None:
        """Wait for all that was queued; before buffers that it uses are given up."""


class HostArrival:
    """Samples that are there."""

    ready = True

    def __init__(self, samples: Tensor) -> None:
        self._samples = samples

    def read(self) -> Tensor:
        """See :class:`Arrival`."""
        return self._samples


class HostChannel:
    """The caller's own order of work: samples are waited for at once, so that no device memory piles up."""

    beside_caller = False

    def queue(self) -> AbstractContextManager[None]:
        """See :class:`CodecChannel`."""
        return nullcontext()

    def hold(self, *tensors: Tensor) -> None:
        """Nothing is read later than now."""

    def send(self, samples: Tensor) -> HostArrival:
        """See :class:`CodecChannel`."""
        return HostArrival(samples.to("cpu", copy=True))

    def settle(self) -> None:
        """Nothing is under way."""


class _PinnedArrival:
    def __init__(self, samples: Tensor, event: torch.cuda.Event) -> None:
        self._samples, self._event = samples, event

    @property
    def ready(self) -> bool:
        return bool(self._event.query())  # type: ignore[no-untyped-call]

    def read(self) -> Tensor:
        self._event.synchronize()
        return self._samples


class CudaChannel:
    """A stream of its own, on which samples are copied into pinned memory right behind the work that made them."""

    beside_caller = True

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    @contextmanager
    def queue(self) -> Iterator[None]:
        """See :class:`CodecChannel`. The caller's stream holds only frames that were read, not those under way."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            yield

    def hold(self, *tensors: Tensor) -> None:
        """See :class:`CodecChannel`."""
        for tensor in tensors:
            tensor.record_stream(self._stream)

    def send(self, samples: Tensor) -> _PinnedArrival:
        """See :class:`CodecChannel`."""
        # The host allocator keeps such blocks, and gives none out again before the copy into it is over.
        host = torch.empty(samples.shape, dtype=samples.dtype, pin_memory=True)
        host.copy_(samples, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(self._stream)
        return _PinnedArrival(host, event)

    def settle(self) -> None:
        """See :class:`CodecChannel`."""
        self._stream.synchronize()
