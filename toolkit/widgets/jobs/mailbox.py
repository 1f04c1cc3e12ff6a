"""Brings messages from a reading thread to the kernel's event loop, a few times a second and in order."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["Mailbox", "kernel_loop"]

_INTERVAL_S = 0.125
"""Eight deliveries a second: smooth to the eye, and far below what makes a browser stutter."""


def kernel_loop() -> asyncio.AbstractEventLoop | None:
    """The loop of the notebook kernel's main thread, or the running one, or None in a plain script."""
    # A button's callback may run in a subshell's thread, whose loop ends with the browser's tab.
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    loop = getattr(getattr(getattr(shell, "kernel", None), "io_loop", None), "asyncio_loop", None)
    if isinstance(loop, asyncio.AbstractEventLoop):
        return loop
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Mailbox:
    """Messages on their way. Without a loop they are delivered in the thread that puts them in."""

    def __init__(self, deliver: Callable[[list[Any]], None], loop: asyncio.AbstractEventLoop | None) -> None:
        self._deliver = deliver
        self._loop = loop
        self._waiting: deque[Any] = deque()
        self._lock = threading.Lock()
        self._delivering = threading.RLock()
        self._scheduled = False
        self._last = 0.0

    def put(self, message: dict[str, Any]) -> None:
        """Add a message; a progress takes the place of one that still waits."""
        with self._lock:
            if self._waiting and message["kind"] == self._waiting[-1]["kind"] == "progress":
                self._waiting.pop()
            self._waiting.append(message)
            if self._scheduled:
                return
            self._scheduled = True
        if self._loop is None:
            self.drain()
            return
        # A loop that was closed has no view any more; whoever waits for the job drains by himself.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._in_loop)

    def drain(self) -> None:
        """Deliver all that waits, now and in this thread."""
        with self._delivering:
            with self._lock:
                messages = list(self._waiting)
                self._waiting.clear()
                self._scheduled = False
                self._last = time.monotonic()
            if messages:
                self._deliver(messages)

    def _in_loop(self) -> None:
        wait_s = self._last + _INTERVAL_S - time.monotonic()
        if wait_s > 0 and self._loop is not None:
            self._loop.call_later(wait_s, self.drain)
        else:
            self.drain()
