"""A job as the kernel knows it: its state, its progress, what it has made so far, and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from toolkit.errors import UsageError
from toolkit.widgets.jobs.error_note import ErrorNote
from toolkit.widgets.jobs.folder import JobFolder

__all__ = ["Change", "Job", "JobFailed", "Partial", "Progress", "State"]

State = Literal["waiting", "running", "cancelling", "done", "cancelled", "failed", "died", "interrupted"]
"""``died``: its process was ended by something else; ``interrupted``: its kernel was, and this is what is left."""

_FINISHED = ("done", "cancelled", "failed", "died", "interrupted")
_KEPT_PARTIALS = 4096


@dataclass(frozen=True)
class Progress:
    """How far a job is: ``fraction`` from 0 to 1 or None, ``text`` a key of the texts or a sentence."""

    fraction: float | None = None
    text: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Partial:
    """A part of the result, made before the rest."""

    name: str
    value: Any


@dataclass(frozen=True)
class Change:
    """What is new: the parts that came, if any, beside the job's state and progress."""

    job: Job
    partials: tuple[Partial, ...] = ()


class JobFailed(UsageError):
    """The result of a job was asked for that has none; ``note`` says why."""

    def __init__(self, note: ErrorNote) -> None:
        super().__init__(note.message)
        self.note = note


class Owner(Protocol):
    """What a job needs of its worker."""

    def cancel(self, job: Job) -> None: ...
    def tell(self, job: Job, name: str, value: object) -> None: ...
    def drain(self) -> None: ...


class Job:
    """One piece of long work. Made by :meth:`Worker.run` or :func:`join`; views listen with :meth:`listen`.

    ``partials`` holds the last 4096 parts, so that a view that comes late can show them.
    """

    def __init__(self, folder: JobFolder, owner: Owner | None, state: State = "waiting") -> None:
        record = folder.record() or {}
        self.folder = folder
        self.name = str(record.get("name", ""))
        self.task = str(record.get("task", ""))
        self.state: State = state
        self.progress = Progress()
        self.partials: deque[Partial] = deque(maxlen=_KEPT_PARTIALS)
        self.error: ErrorNote | None = None
        self.began = time.monotonic()
        self.elapsed_s = 0.0
        self._owner = owner
        self._result: Any = None
        self._listeners: list[Callable[[Change], None]] = []

    @property
    def id(self) -> str:
        """The name of its folder."""
        return self.folder.id

    @property
    def finished(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.state in _FINISHED

    @property
    def arguments(self) -> dict[str, Any]:
        """What it was asked to do, read from its folder; with them it can be run again."""
        return self.folder.arguments()

    @property
    def result(self) -> Any:
        """What the task returned. Raises JobFailed when the job has not ended, or not well."""
        if self.state == "done":
            return self._result
        if self.error is not None:
            raise JobFailed(self.error)
        raise JobFailed(ErrorNote("NoResult", f"the job {self.id} is {self.state} and has no result"))

    def cancel(self) -> None:
        """Ask it to stop; its process is ended when it has not stopped within a second. Returns at once."""
        if self._owner is not None and not self.finished:
            self._owner.cancel(self)

    def tell(self, name: str, value: object) -> None:
        """Tell the running task something, for example that it should pause; it reads it with ``Work.wish``."""
        if self._owner is not None and not self.finished:
            self._owner.tell(self, name, value)

    def listen(self, listener: Callable[[Change], None], *, replay: bool = True) -> Callable[[], None]:
        """Call ``listener`` in the kernel's event loop for everything new, at most eight times a second.

        With ``replay`` it is called now with all there is already. Returns a function that ends it.
        """
        if not self.finished:
            self._listeners.append(listener)
        if replay:
            listener(Change(self, tuple(self.partials)))

        def stop() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return stop

    def wait(self, timeout_s: float | None = None) -> Job:
        """Wait in a cell or a script until it has ended; progress is shown meanwhile. Raises UsageError when too late.

        Interrupting the wait does not stop the job.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.finished:
            if end is not None and time.monotonic() > end:
                raise UsageError(f"the job has not ended within {timeout_s:g} s; it goes on, or stop it with cancel()")
            time.sleep(0.02)
            if self._owner is not None:
                self._owner.drain()
        return self

    def __await__(self) -> Generator[Any, None, Job]:
        """Wait without holding up the kernel: ``await job``."""
        while not self.finished:
            yield from asyncio.sleep(0.05).__await__()
        return self

    def _take(self, messages: list[dict[str, Any]]) -> None:
        """What the worker has sent about this job, in order."""
        parts = []
        for message in messages:
            if self.finished:
                break
            match message["kind"]:
                case "started" if self.state == "waiting":
                    self.state = "running"
                case "progress":
                    self.progress = Progress(message["fraction"], message["text"], message["values"])
                case "partial":
                    parts.append(Partial(message["name"], message["value"]))
                case "outcome":
                    self._end(message["outcome"])
        self.partials.extend(parts)
        self._tell_all(tuple(parts))

    def _end(self, outcome: Mapping[str, Any]) -> None:
        self.elapsed_s = time.monotonic() - self.began
        self._result = outcome.get("result")
        self.error = ErrorNote.from_json(outcome["error"]) if outcome.get("error") else None
        self.state = outcome["state"]

    def _tell_all(self, parts: tuple[Partial, ...] = ()) -> None:
        for listener in list(self._listeners):
            listener(Change(self, parts))
        if self.finished:
            self._listeners.clear()
