"""A worker process as the kernel sees it: started when needed, asked, cancelled, ended, and watched while it lives."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any

from toolkit.errors import UsageError
from toolkit.probe.windows_job import hold, kill_tree, release
from toolkit.widgets.jobs.error_note import ErrorNote, note_of_log
from toolkit.widgets.jobs.folder import JobFolder
from toolkit.widgets.jobs.job import Job
from toolkit.widgets.jobs.mailbox import Mailbox, kernel_loop
from toolkit.widgets.jobs.message import read_message, write_message

__all__ = ["Worker", "join"]

_GRACE_S = 1.0
"""Between asking a task to stop and ending its process; a frame of speech takes a tenth of it on a slow machine."""
_LOG_TAIL_BYTES = 16_384

_named: dict[str, Worker] = {}


class Worker:
    """Runs tasks in a process of its own, one at a time, and keeps it warm between them.

    The process ends when the kernel does, however that happens. ``environment`` is added to the kernel's own.
    """

    def __init__(self, name: str = "work", *, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._environment = dict(environment or {})
        self._lock = threading.RLock()
        self._process: _Process | None = None
        self._job: Job | None = None
        self._again: Job | None = None

    @classmethod
    def named(cls, name: str) -> Worker:
        """The kernel's worker of this name; a cell that is run again gets the same one, with what it keeps."""
        return _named.setdefault(name, cls(name))

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return self._job is not None and not self._job.finished

    @property
    def job(self) -> Job | None:
        """The job that runs or ran last; a view that is shown anew joins it."""
        return self._job

    @property
    def pid(self) -> int | None:
        """The number of the process, None while there is none."""
        process = self._process
        return process.popen.pid if process is not None and process.alive else None

    def run(self, task: str | Callable[..., Any], /, **arguments: Any) -> Job:
        """Begin a task, ``"package.module:function"`` or a function of a module, and return at once.

        Arguments and result consist of dicts, lists, texts, numbers, bytes and numpy arrays. Raises UsageError while
        another job runs, and for a function that another process cannot import.
        """
        name = task if isinstance(task, str) else _name_of(task)
        with self._lock:
            if self.busy:
                raise UsageError(f"{self.name} is still at work; wait for it, or cancel it first")
            job = Job(JobFolder.create(self.name, name, arguments), self)
            self._job = job
            self._send({"kind": "run", "job": str(job.folder.path)})
        return job

    def warm(self) -> None:
        """Start the process ahead of the first job."""
        with self._lock:
            if self._process is None or not self._process.alive:
                self._process = _Process(self._environment, self._deliver)

    def cancel(self, job: Job) -> None:
        """See :meth:`Job.cancel`."""
        with self._lock:
            process = self._process
            if job is not self._job or job.finished or process is None:
                return
            job.state = "cancelling"
            self._send({"kind": "cancel", "job": str(job.folder.path)})
        timer = threading.Timer(_GRACE_S, lambda: None if job.finished else process.kill())
        timer.daemon = True
        timer.start()
        job._tell_all()

    def tell(self, job: Job, name: str, value: object) -> None:
        """See :meth:`Job.tell`."""
        if job is self._job:
            self._send({"kind": "tell", "job": str(job.folder.path), "name": name, "value": value})

    def drain(self) -> None:
        """Deliver what has come, in this thread."""
        process = self._process
        if process is not None:
            process.mailbox.drain()

    def close(self) -> None:
        """End the process and what it keeps, such as a loaded model. The next run starts a new one."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.ended.wait(_GRACE_S)
            process.mailbox.drain()

    def _send(self, message: dict[str, object]) -> None:
        for attempt in (1, 2):
            self.warm()
            process = self._process
            assert process is not None  # noqa: S101 - for the type checker: warm() has set it
            process.job = str(message["job"])
            try:
                process.send(message)
                return
            except OSError:
                # It died between two jobs; what asks for more than a new run finds that out by itself.
                process.job = ""
                process.kill()
                process.ended.wait(_GRACE_S)
                if attempt == 2 or message["kind"] != "run":
                    return

    def _deliver(self, process: _Process, messages: list[dict[str, Any]]) -> None:
        job = self._job
        if job is None:
            return
        mine = str(job.folder.path)
        about = [message for message in messages if message.get("job") == mine]
        if about:
            job._take(about)
        if job.finished or process.job != mine or not any(message["kind"] == "gone" for message in messages):
            return
        if job.state == "waiting" and job.folder.outcome() is None and self._again is not job:
            # The process was dying when it was asked, so that the job has never begun.
            with self._lock:
                self._again = job
                self._send({"kind": "run", "job": mine})
            return
        job._take([{"kind": "outcome", "job": mine, "outcome": process.last_words(job)}])


class _Process:
    """One life of the process, with the two threads that read and await it."""

    def __init__(
        self, environment: Mapping[str, str], deliver: Callable[[_Process, list[dict[str, Any]]], None]
    ) -> None:
        self.ended = threading.Event()
        self.job = ""
        self.mailbox = Mailbox(lambda messages: deliver(self, messages), kernel_loop())
        self._log: IO[bytes] = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed when the process has ended
        self._how = ""
        self._note: ErrorNote | None = None
        self._sending = threading.Lock()
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "toolkit.widgets.jobs.child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(one for one in sys.path if one), **environment},
            start_new_session=sys.platform != "win32", bufsize=0 if sys.platform == "win32" else -1,
        )  # fmt: skip
        self._windows_job = hold(self.popen)
        threading.Thread(target=self._read, name="worker-messages", daemon=True).start()
        threading.Thread(target=self._await_end, name="worker-end", daemon=True).start()
        self.send({"kind": "hello", "path": [one for one in sys.path if one]})

    @property
    def alive(self) -> bool:
        return not self.ended.is_set() and self.popen.returncode is None

    def send(self, message: dict[str, object]) -> None:
        """Write a message of less than 64 KiB, which a pipe takes at once. Raises OSError when nobody reads it."""
        assert self.popen.stdin is not None  # noqa: S101 - for the type checker
        with self._sending:
            if not self.alive:
                raise BrokenPipeError
            write_message(self.popen.stdin, message)  # type: ignore[arg-type]

    def kill(self) -> None:
        if not self.alive:
            return
        if sys.platform == "win32":
            kill_tree(self.popen, self._windows_job)
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)

    def last_words(self, job: Job) -> dict[str, Any]:
        """How a job ended whose process is gone: what it wrote, or that it was cancelled, or that it died."""
        outcome = job.folder.outcome()
        if outcome is not None:
            return outcome
        if job.state == "cancelling":
            return {"state": "cancelled"}
        note = self._note or ErrorNote("WorkerDied", self._how)
        return {"state": "died", "error": note.to_json()}

    def _read(self) -> None:
        stream = self.popen.stdout
        assert stream is not None  # noqa: S101 - for the type checker
        while (message := read_message(stream)) is not None:  # type: ignore[arg-type]
            if message["kind"] == "ended":
                # Read here, so that a long result does not hold up the kernel.
                outcome = JobFolder.at(message["job"]).outcome()
                lost = ErrorNote("WorkerDied", "the job's folder was removed while it ran")
                outcome = outcome or {"state": "failed", "error": lost.to_json()}
                message = {"kind": "outcome", "job": message["job"], "outcome": outcome}
            self.mailbox.put(message)
        stream.close()
        self.ended.wait()
        self.mailbox.put({"kind": "gone"})

    def _await_end(self) -> None:
        if sys.platform != "win32":
            # While the number is not yet free for another process, whatever the worker has started ends with it.
            os.waitid(os.P_PID, self.popen.pid, os.WEXITED | os.WNOWAIT)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.popen.pid, signal.SIGKILL)
        code = self.popen.wait()
        release(self._windows_job)
        self._how = _how(code)
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - _LOG_TAIL_BYTES))
        tail = self._log.read().decode("utf-8", "replace").strip()
        self._log.close()
        if code != -9 and tail:
            self._note = note_of_log("WorkerDied", self._how, tail)
        self.ended.set()
        with self._sending, contextlib.suppress(OSError):  # what nobody reads any more cannot be flushed
            self.popen.stdin.close()  # type: ignore[union-attr]


def join(worker: Worker) -> Job | None:
    """The job that a notebook should show when it is opened again: the one of this kernel, else the last on disk.

    After a restart of the kernel a finished job comes back with its result, and one that was at work is
    ``interrupted``: it ended with the kernel, and its ``arguments`` are there to run it again.
    """
    if worker.job is not None:
        return worker.job
    for folder in JobFolder.all(worker.name):
        outcome = folder.outcome()
        if outcome is None and folder.kernel_lives():
            continue
        job = Job(folder, None)
        if outcome is None:
            job.state = "interrupted"
        else:
            job._end(outcome)
        return job
    return None


def _name_of(task: Callable[..., Any]) -> str:
    module, name = getattr(task, "__module__", None), getattr(task, "__qualname__", "")
    if not module or module == "__main__" or "<" in name or "." in name:
        raise UsageError(
            f"{name or task!r} cannot be run in a worker, since another process cannot import it; put it into a module"
        )
    return f"{module}:{name}"


def _how(code: int) -> str:
    if code >= 0:
        return f"the worker ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    return f"the worker was ended by signal {-code} ({name})"
