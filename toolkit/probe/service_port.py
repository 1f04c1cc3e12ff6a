"""Who listens on a port of this machine, and which processes belong to a service folder."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from troubleshoot.facts import NA

if TYPE_CHECKING:
    import psutil

__all__ = ["PortReport", "inspect_port", "service_processes", "shown_command"]

_SECRET = re.compile(r"(token|secret|passw|api[-_]?key|auth)", re.IGNORECASE)
_SERVER = re.compile(r"python|uvicorn|gunicorn|hypercorn|qwen-tts|vllm|gradio|flask|streamlit", re.IGNORECASE)
# Our own probes run in the service's folder too; they are not the service.
_OURS = re.compile(r"toolkit[./\\]probe|probe[/\\]scripts|qwen-audio|qwen_audio_toolkit")
_MAX_COMMAND = 300


@dataclass(frozen=True)
class PortReport:
    """``owner`` is ``self`` (a process of the service folder), ``other`` or ``none``; each field may be NA."""

    listening: bool | NA
    bound_address: str | NA
    owner: str | NA
    process: dict[str, object] | NA


def inspect_port(port: int, folder: Path, *, timeout_s: float = 0.5) -> PortReport:
    """Connect to ``port`` on the loopback addresses and look up its listener. No byte is sent.

    ``timeout_s`` bounds each of the two connections. Without the right to see other users' processes, the fields that
    need it are NA.
    """
    answers = any(_answers(address, port, timeout_s) for address in ("127.0.0.1", "::1"))
    listeners = _listeners(port)
    if isinstance(listeners, NA):
        unseen = listeners if answers else NA("nothing listens")
        return PortReport(answers, unseen, unseen if answers else "none", unseen)
    if not listeners:
        if answers:  # a container or another network namespace holds it
            hidden = NA("a listener answers that the process table does not show (container, WSL or another user)")
            return PortReport(True, hidden, hidden, hidden)
        return PortReport(False, NA("nothing listens"), "none", NA("nothing listens"))
    # Of several sockets the one that more callers reach tells how far the service is open.
    address, pid = max(listeners, key=lambda pair: (pair[0] in _EVERY_ADDRESS, not pair[0].startswith("127.")))
    if pid is None:
        hidden = NA("the listener belongs to another user; only an administrator sees its process")
        return PortReport(True, address, hidden, hidden)
    process = _process(pid)
    if isinstance(process, NA):
        return PortReport(True, address, process, process)
    return PortReport(True, address, "self" if _belongs(process, folder) else "other", _as_fact(process))


_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - recognised here, never bound


def service_processes(folder: Path) -> list[dict[str, object]] | NA:
    """Server processes that were started in the folder or run a file of it; never ourselves or those above us."""
    try:
        import psutil
    except ImportError:
        return NA("psutil is not installed")
    above = {os.getpid(), *(parent.pid for parent in _parents(psutil.Process()))}
    found = [
        _as_fact(process)
        for process in psutil.process_iter()
        if process.pid not in above and _looks_like_server(process) and _belongs(process, folder)
    ]
    return sorted(found, key=lambda fact: str(fact["pid"]))


def shown_command(words: list[str]) -> str:
    """A command line to show: values of options whose name speaks of a secret are replaced by ``***``."""
    shown: list[str] = []
    hide = False
    for word in words:
        name, equals, _ = word.partition("=")
        if hide and not word.startswith("-"):
            shown.append("***")
            hide = False
            continue
        hide = word.startswith("-") and not equals and _SECRET.search(word) is not None
        shown.append(f"{name}=***" if equals and _SECRET.search(name) else word)
    text = " ".join(shown)
    return text if len(text) <= _MAX_COMMAND else text[: _MAX_COMMAND - 3] + "..."


def _answers(address: str, port: int, timeout_s: float) -> bool:
    try:
        with socket.create_connection((address, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def _listeners(port: int) -> list[tuple[str, int | None]] | NA:
    try:
        import psutil
    except ImportError:
        return NA("psutil is not installed")
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.AccessDenied, PermissionError):
        return NA("the system shows sockets to an administrator only")
    except (psutil.Error, OSError) as error:
        return NA(f"the system's sockets cannot be listed: {error}")
    return [
        (str(row.laddr.ip), row.pid)
        for row in connections
        if row.status == psutil.CONN_LISTEN and row.laddr and row.laddr.port == port
    ]


def _process(pid: int) -> psutil.Process | NA:
    import psutil

    try:
        process = psutil.Process(pid)
        process.cmdline()
    except psutil.AccessDenied:
        return NA("the listener's process belongs to another user")
    except psutil.Error:
        return NA("the listener's process has ended meanwhile")
    return process


def _parents(process: psutil.Process) -> list[psutil.Process]:
    import psutil

    try:
        return process.parents()
    except psutil.Error:
        return []


def _looks_like_server(process: psutil.Process) -> bool:
    words = _words(process)
    text = " ".join(words[:4])
    return bool(words) and _SERVER.search(text) is not None and _OURS.search(" ".join(words)) is None


def _words(process: psutil.Process) -> list[str]:
    import psutil

    try:
        return process.cmdline()
    except (psutil.Error, OSError):
        return []


def _belongs(process: psutil.Process, folder: Path) -> bool:
    """Whether the process works in the folder or was given a file inside it."""
    import psutil

    root = os.path.realpath(folder)
    try:
        cwd: str | None = process.cwd()
    except (psutil.Error, OSError):
        cwd = None
    places = [cwd] if cwd else []
    places += _files(_words(process), cwd)
    return any(_is_inside(place, root) for place in places)


def _files(words: list[str], cwd: str | None) -> Iterator[str]:
    for word in words[1:]:
        if word.endswith((".py", ".sh", ".bat")) and "\0" not in word:
            yield word if os.path.isabs(word) or not cwd else os.path.join(cwd, word)


def _is_inside(place: str, root: str) -> bool:
    real = os.path.realpath(place)
    return real == root or real.startswith(root.rstrip(os.sep) + os.sep)


def _as_fact(process: psutil.Process) -> dict[str, object]:
    import psutil

    try:
        name: object = process.name()
    except psutil.Error:
        name = NA("the process has ended meanwhile")
    return {"pid": process.pid, "name": name, "command": shown_command(_words(process))}
