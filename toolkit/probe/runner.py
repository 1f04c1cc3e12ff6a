"""Run one child process under a deadline, and report whatever becomes of it as a value."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from toolkit.errors import ToolkitFault
from toolkit.probe import windows_job

__all__ = ["CHILD_STATES", "ChildOutcome", "kill_live_children", "run_child"]

CHILD_STATES = ("ok", "failed", "crashed", "timed-out", "missing")

_CHUNK_BYTES = 64 * 1024
_KILL_GRACE_S = 2.0  # how long a killed child may take to die before it is abandoned
_DRAIN_GRACE_S = 1.0  # how long a pipe may stay open after its child has ended
_LAST_LINES = 60
_LINE_CHARACTERS = 400

# NTSTATUS values with which Windows ends a process (ntstatus.h); 3 is what the C runtime's abort() returns.
_WINDOWS_CRASHES = {
    0xC0000005: "ACCESS_VIOLATION",
    0xC000001D: "ILLEGAL_INSTRUCTION",
    0xC0000017: "NO_MEMORY",
    0xC00000FD: "STACK_OVERFLOW",
    0xC0000135: "DLL_NOT_FOUND",
    0xC0000139: "ENTRYPOINT_NOT_FOUND",
    0xC0000142: "DLL_INIT_FAILED",
    0xC0000374: "HEAP_CORRUPTION",
    0xC0000409: "STACK_BUFFER_OVERRUN",
    3: "ABORT",
}
# A shell that starts the real program reports its signal N as exit code 128 + N.
_FATAL_SIGNALS = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGKILL", "SIGTRAP", "SIGSYS")

_live: dict[int, subprocess.Popen[bytes]] = {}
_live_lock = threading.Lock()


@dataclass(frozen=True)
class ChildOutcome:
    """How a child process ended.

    ``state``: ``ok`` (exit code 0), ``failed`` (another exit code), ``crashed`` (``signal`` names what ended it),
    ``timed-out`` (killed at its deadline) or ``missing`` (it could not be started; ``last_lines`` says why).
    ``last_lines`` is the end of its standard error. ``abandoned`` is true when it did not die although killed.
    """

    state: str
    exit_code: int | None
    signal: str | None
    stdout: str
    last_lines: tuple[str, ...]
    elapsed_s: float
    abandoned: bool = False
    pid: int | None = None

    def __post_init__(self) -> None:
        if self.state not in CHILD_STATES:
            raise ToolkitFault(f"child state {self.state!r} is none of {', '.join(CHILD_STATES)}")


def run_child(
    argv: Sequence[str],
    *,
    deadline_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    input: bytes | None = None,
    output_limit_bytes: int = 4 * 1024 * 1024,
) -> ChildOutcome:
    """Run ``argv`` (no shell) for at most ``deadline_s`` seconds; never raises for what the child does.

    The child leads a process group of its own, and the whole group is killed at the deadline, on Ctrl-C, and after the
    child has ended (so that nothing it started stays behind). Of each stream the last ``output_limit_bytes`` are kept.
    A child that survives the kill, one stuck in the kernel, is reported as abandoned and no longer waited for.

    When our process dies, Windows ends the child through its job object. Elsewhere that cannot be arranged from outside
    without a fork that is unsafe beside threads, so the probe scripts arrange it themselves in their first lines.
    """
    if not argv or deadline_s <= 0 or output_limit_bytes <= 0:
        given = f"argv {list(argv)!r}, deadline_s {deadline_s!r}, output_limit_bytes {output_limit_bytes!r}"
        raise ToolkitFault(f"run_child: {given}: all three must be given and be more than nothing")
    begun = time.monotonic()
    try:
        process = _start(argv, env, cwd, has_input=input is not None)
    except (OSError, ValueError) as error:
        return ChildOutcome("missing", None, None, "", (_start_error(argv[0], cwd, error),), time.monotonic() - begun)
    job = windows_job.hold(process)
    with _live_lock:
        _live[process.pid] = process
    out, err = _Tail(process.stdout, output_limit_bytes), _Tail(process.stderr, output_limit_bytes)
    timed_out = abandoned = False
    try:
        if input is not None:
            threading.Thread(target=_feed, args=(process.stdin, input), daemon=True).start()
        try:
            process.wait(timeout=max(0.0, begun + deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            timed_out = True
            abandoned = not _end(process, job)
    finally:
        # Also reached by KeyboardInterrupt: no child may outlive the call that started it.
        _kill_group(process, job)
        elapsed_s = time.monotonic() - begun
        with _live_lock:
            _live.pop(process.pid, None)
        drained = out.finish() & err.finish()
        if process.poll() is None:
            abandoned = True
            threading.Thread(target=process.wait, daemon=True).start()  # takes the corpse away should it die later
        windows_job.release(job)
    lines = err.lines() if drained else (*err.lines(), "(a process left behind kept the output open)")
    state, name = ("timed-out", None) if timed_out else _verdict(process.returncode)
    return ChildOutcome(state, process.returncode, name, out.text(), lines, elapsed_s, abandoned, process.pid)


def kill_live_children() -> None:
    """Kill every child that a thread is waiting for; for the main thread, which alone receives Ctrl-C."""
    with _live_lock:
        children = list(_live.values())
    for process in children:
        _kill_group(process, None)


def _start(
    argv: Sequence[str], env: Mapping[str, str] | None, cwd: Path | None, *, has_input: bool
) -> subprocess.Popen[bytes]:
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    return subprocess.Popen(
        list(argv),
        stdin=subprocess.PIPE if has_input else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=None if env is None else dict(env),
        cwd=cwd,
        bufsize=0,
        start_new_session=os.name == "posix",
        creationflags=flags,
    )


def _start_error(program: str, cwd: Path | None, error: OSError | ValueError) -> str:
    if cwd is not None and not cwd.is_dir():
        return f"the folder {cwd} to start it in does not exist"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{program}: could not be started: {reason}"


def _verdict(code: int) -> tuple[str, str | None]:
    if code == 0:
        return "ok", None
    if os.name == "nt":
        name = _WINDOWS_CRASHES.get(code & 0xFFFFFFFF)
        return ("crashed", name) if name else ("failed", None)
    name = _signal_name(-code)
    if name:
        return "crashed", name
    wrapped = _signal_name(code - 128)
    return ("crashed", wrapped) if wrapped in _FATAL_SIGNALS else ("failed", None)


def _signal_name(number: int) -> str | None:
    if number <= 0:
        return None
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}" if number < 65 else None


def _end(process: subprocess.Popen[bytes], job: object) -> bool:
    """Kill the child's group; true when the child is gone within the grace."""
    _kill_group(process, job)
    try:
        process.wait(timeout=_KILL_GRACE_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill_group(process: subprocess.Popen[bytes], job: object) -> None:
    if sys.platform == "win32":
        windows_job.kill_tree(process, job)
        return
    # ProcessLookupError: nobody is left in the group. PermissionError: only a setuid member, not ours to kill.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _feed(stream: IO[bytes] | None, data: bytes) -> None:
    if stream is None:
        return
    with contextlib.suppress(OSError):  # a child that ends without reading its input is not an error
        stream.write(data)
    with contextlib.suppress(OSError):
        stream.close()


class _Tail:
    """Drains a pipe in a thread so that the child never blocks on it, and keeps its last bytes."""

    def __init__(self, stream: IO[bytes] | None, limit_bytes: int) -> None:
        self._stream = stream
        self._limit = limit_bytes
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        if self._stream is None:
            return
        with self._stream, contextlib.suppress(OSError):  # a pipe that breaks has ended
            while chunk := self._stream.read(_CHUNK_BYTES):
                self._keep(chunk)

    def _keep(self, chunk: bytes) -> None:
        with self._lock:
            self._chunks.append(chunk)
            self._held += len(chunk)
            while self._held - len(self._chunks[0]) >= self._limit:
                self._held -= len(self._chunks.popleft())

    def finish(self) -> bool:
        """Wait a moment for the end of the stream; false when another process still holds it open."""
        self._thread.join(_DRAIN_GRACE_S)
        return not self._thread.is_alive()

    def text(self) -> str:
        with self._lock:
            data = b"".join(self._chunks)[-self._limit :]
        return data.decode("utf-8", errors="replace").replace("\r\n", "\n")

    def lines(self) -> tuple[str, ...]:
        lines = [line.rstrip()[:_LINE_CHARACTERS] for line in self.text().splitlines()]
        return tuple(line for line in lines if line)[-_LAST_LINES:]
