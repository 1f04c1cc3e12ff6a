"""The worker process: runs one task after the other, and ends with all it started when its kernel is gone."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

from toolkit.errors import QwenAudioError, UsageError
from toolkit.widgets.jobs.error_note import note_of
from toolkit.widgets.jobs.folder import JobFolder
from toolkit.widgets.jobs.message import read_message, write_message
from toolkit.widgets.jobs.work import Cancelled, Work

__all__ = ["main"]

_LOOK_S = 0.5


class _Child:
    def __init__(self, commands: BinaryIO, messages: BinaryIO) -> None:
        self._commands = commands
        self._messages = messages
        self._lock = threading.Lock()
        self._tasks: queue.Queue[Work] = queue.Queue()
        self._works: dict[str, Work] = {}
        self._kept: dict[str, Any] = {}

    def run(self) -> None:
        threading.Thread(target=self._listen, name="commands", daemon=True).start()
        threading.Thread(target=_watch_parent, args=(os.getppid(),), name="parent", daemon=True).start()
        while True:
            work = self._tasks.get()
            self._do(work)
            self._works.pop(work.job_id, None)

    def send(self, message: dict[str, object]) -> None:
        with self._lock:
            write_message(self._messages, message)

    def _listen(self) -> None:
        while (command := read_message(self._commands)) is not None:
            work = self._works.get(command.get("job", ""))
            match command["kind"]:
                case "hello":
                    sys.path[:] = [*command["path"], *(one for one in sys.path if one not in command["path"])]
                case "run":
                    work = Work(command["job"], self.send, self._kept)
                    self._works[work.job_id] = work
                    self._tasks.put(work)
                case "cancel" if work is not None:
                    work._ask_to_stop()
                case "tell" if work is not None:
                    work._hear(command["name"], command["value"])
        _end_all()

    def _do(self, work: Work) -> None:
        folder = JobFolder(Path(work.job_id))
        self.send({"kind": "started", "job": work.job_id})
        with contextlib.suppress(OSError):  # where the log is a file, it begins anew, so that it cannot grow for ever
            os.ftruncate(2, 0)
            os.lseek(2, 0, os.SEEK_SET)
        try:
            work.check()
            record = folder.record()
            if record is None:
                raise UsageError(f"the job's folder {folder.path} is gone")
            outcome = {"state": "done", "result": _task_of(record["task"])(work, **folder.arguments())}
            _write(folder, outcome)
        except Cancelled:
            _write(folder, {"state": "cancelled"})
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a task raises is told, and the worker goes on
            # Said in the worker's log as well, where the last words of a process that dies later are looked for.
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            _write(folder, {"state": "failed", "error": note_of(error).to_json()})
        self.send({"kind": "ended", "job": work.job_id})


def _write(folder: JobFolder, outcome: dict[str, Any]) -> None:
    try:
        folder.finish(outcome)
    except OSError as error:
        raise UsageError(f"the result cannot be written to {folder.path}: {error.strerror or error}") from None


def _task_of(name: str) -> Any:
    module, _, attribute = name.partition(":")
    task = getattr(importlib.import_module(module), attribute, None)
    if not callable(task):
        raise UsageError(f"there is no task {name}")
    return task


def _watch_parent(parent: int) -> None:
    # The pipe tells the same sooner, unless another process of the kernel holds its end open.
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    _end_all()


def _end_all() -> None:
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def main() -> None:
    """Take the two pipes away from standard input and output, so that no library writes into them, and work."""
    commands, messages = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    faulthandler.enable()
    try:
        _Child(commands, messages).run()
    except (BrokenPipeError, QwenAudioError, KeyboardInterrupt) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        _end_all()


if __name__ == "__main__":
    main()
