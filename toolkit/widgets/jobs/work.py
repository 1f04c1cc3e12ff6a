"""What a task in the worker is given: progress, partial results, being asked to stop, and what it keeps for later."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["Cancelled", "Work"]

T = TypeVar("T")


class Cancelled(Exception):
    """The user has asked this job to stop."""


class Work:
    """The first argument of every task: ``def task(work, **arguments) -> value``.

    ``kept`` outlives the job: a model loaded in one run is there in the next, as long as the worker lives.
    """

    def __init__(self, job_id: str, send: Callable[[dict[str, object]], None], kept: dict[str, Any]) -> None:
        self.job_id = job_id
        self.kept = kept
        self._send = send
        self._stop = threading.Event()
        self._wishes: dict[str, Any] = {}

    @property
    def cancelled(self) -> bool:
        """Whether the user has asked to stop; a task that ends within a second keeps its worker warm."""
        return self._stop.is_set()

    def check(self) -> None:
        """Raise Cancelled when the user has asked to stop."""
        if self._stop.is_set():
            raise Cancelled

    def pause(self, seconds: float) -> None:
        """Sleep, but wake up and raise Cancelled when the user asks to stop."""
        if self._stop.wait(seconds):
            raise Cancelled

    def progress(self, fraction: float | None, text: str = "", **values: object) -> None:
        """Say how far it is, from 0 to 1, or None when that is not known.

        ``text`` is a key of the texts, filled with ``values``, or a sentence. May be called as often as one likes: the
        kernel hears at most eight a second. Raises Cancelled when the user has asked to stop.
        """
        self.check()
        share = None if fraction is None else min(max(float(fraction), 0.0), 1.0)
        self._send({"kind": "progress", "job": self.job_id, "fraction": share, "text": text, "values": values})

    def partial(self, name: str, value: object) -> None:
        """Hand over a part of the result at once, such as a piece of sound. Raises Cancelled when asked to stop."""
        self.check()
        self._send({"kind": "partial", "job": self.job_id, "name": name, "value": value})

    def wish(self, name: str, default: Any = None) -> Any:
        """What the user last told this running job under this name (``Job.tell``), for example that it should pause."""
        return self._wishes.get(name, default)

    def keep(self, name: str, make: Callable[[], T]) -> T:
        """The value kept under this name, made when it is not there yet."""
        if name not in self.kept:
            self.kept[name] = make()
        value: T = self.kept[name]
        return value

    def _ask_to_stop(self) -> None:
        self._stop.set()

    def _hear(self, name: str, value: Any) -> None:
        self._wishes[name] = value
