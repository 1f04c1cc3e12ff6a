"""Small work beside the notebook that comes by itself: the newest wish of each kind, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.widgets.jobs import Change, ErrorNote, Job, Worker, note_of

__all__ = ["Errands"]


@dataclass(frozen=True)
class _Errand:
    task: str | Callable[..., Any]
    arguments: Mapping[str, Any]
    on_result: Callable[[Any], None]
    on_error: Callable[[ErrorNote], None]


class Errands:
    """A worker's errands. A wish that waits is replaced by a newer one of the same kind, so that they never pile up."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._waiting: dict[str, _Errand] = {}
        self._stop: Callable[[], None] = lambda: None
        self._closed = False
        self._own: Job | None = None

    @property
    def busy(self) -> bool:
        """Whether something is under way or waits."""
        return bool(self._waiting) or self._worker.busy

    def ask(
        self,
        kind: str,
        task: str | Callable[..., Any],
        arguments: Mapping[str, Any],
        on_result: Callable[[Any], None],
        on_error: Callable[[ErrorNote], None],
    ) -> None:
        """Do this as soon as the worker is free; what comes of it is told in the kernel's loop. Never blocks."""
        self._waiting[kind] = _Errand(task, arguments, on_result, on_error)
        self._next()

    def wait(self, timeout_s: float = 60.0) -> None:
        """Wait in a cell or a test until all errands are done."""
        while (job := self._worker.job) is not None:
            job.wait(timeout_s)
            self._worker.drain()  # where another thread delivers, it is let finish
            if not self.busy:
                return

    def close(self) -> None:
        """Tell nobody any more."""
        self._closed = True
        self._waiting.clear()
        self._stop()

    def _next(self) -> None:
        if self._closed:
            return
        if self._worker.busy:
            job = self._worker.job
            if job is not None and job is not self._own:  # of a page that was shown before
                self._stop()
                self._stop = job.listen(self._when_free, replay=False)
            return
        if not self._waiting:
            return
        kind = next(iter(self._waiting))
        errand = self._waiting.pop(kind)
        try:
            job = self._worker.run(errand.task, **errand.arguments)
        except Exception as error:  # noqa: BLE001 - it comes by itself: whatever goes wrong is shown with its fix
            errand.on_error(note_of(error, look_up=False))
            return
        self._own = job
        self._stop = job.listen(lambda change: self._hear(errand, change), replay=False)

    def _when_free(self, change: Change) -> None:
        if change.job.finished:
            self._next()

    def _hear(self, errand: _Errand, change: Change) -> None:
        job: Job = change.job
        if not job.finished:
            return
        if job.state == "done":
            errand.on_result(job.result)
        elif job.error is not None:
            errand.on_error(job.error)
        self._next()
