"""Records a frame once and replays it: as a CUDA graph, or by calling it again where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

__all__ = ["BUCKETS", "EagerRecorder", "GraphRecorder", "Recorder", "bucket_of", "buckets_of"]

BUCKETS = (1, 2, 4, 8, 16, 32, 64)
"""Batch sizes that a frame is recorded for; a batch in between runs in the next larger one."""

_WARM_UPS = 1


def bucket_of(rows: int) -> int:
    """Rows that a batch of ``rows`` runs with, at most 64."""
    return next(size for size in BUCKETS if size >= rows)


def buckets_of(rows: int) -> tuple[int, ...]:
    """All buckets of up to ``rows`` rows, with ``rows`` itself as the last one."""
    return (*(size for size in BUCKETS if size < rows), rows)


class Recorder(Protocol):
    """Turns work on fixed tensors into something that can be repeated."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return what repeats ``work``, which may be run a few times before: nobody may mind that."""


class EagerRecorder:
    """Runs the work anew each time."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """See :class:`Recorder`."""
        return work


class GraphRecorder:
    """One CUDA graph each; all share a pool of memory, since they run one after the other.

    Call it inside of the stream that replays.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """See :class:`Recorder`. Libraries set themselves up in the run before the capture.

        Raises:
            RuntimeError: the work cannot be captured.
        """
        for _ in range(_WARM_UPS):
            work()
        stream = torch.cuda.current_stream()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Thread-local, so that another thread that allocates meanwhile does not spoil the capture.
        with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
            work()
        return graph.replay
