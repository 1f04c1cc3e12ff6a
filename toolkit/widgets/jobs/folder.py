"""The folder of a job on disk: what was asked, who works on it, and how it ended; so that it can be read again."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from toolkit.errors import DiskFull, ToolkitFault
from toolkit.widgets.jobs.message import pack, unpack

__all__ = ["JobFolder", "jobs_root"]

_KEPT = 20
"""Jobs that are kept; older ones are removed when a new one begins."""


def jobs_root() -> Path:
    """Where the folders of jobs lie: ``QWEN_AUDIO_JOBS``, else ``qwen-audio/jobs`` in the user's cache folder."""
    given = os.environ.get("QWEN_AUDIO_JOBS")
    if given:
        return Path(given).expanduser()
    cache = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else os.environ.get("XDG_CACHE_HOME")
    return Path(cache or "~/.cache").expanduser() / "qwen-audio" / "jobs"


@dataclass(frozen=True)
class JobFolder:
    """One job's folder, readable by its owner only since it may hold what the user has written and said."""

    path: Path

    @classmethod
    def create(cls, name: str, task: str, arguments: dict[str, Any]) -> JobFolder:
        """A new folder with what was asked. Raises DiskFull when it cannot be written, UsageError for arguments."""
        packed = pack(arguments)
        root = jobs_root()
        path = root / f"{time.time_ns():020d}-{secrets.token_hex(3)}"
        folder = cls(path)
        try:
            path.mkdir(parents=True, mode=0o700)
            folder._write("arguments.bin", packed)
            owner = {"pid": os.getpid(), "started": psutil.Process().create_time()}
            record = {"schema": 1, "name": name, "task": task, "created_at": time.time(), "kernel": owner}
            folder._write("job.json", json.dumps(record).encode())
        except OSError as error:
            shutil.rmtree(path, ignore_errors=True)
            raise DiskFull(f"the folder of jobs {root} cannot be written: {error.strerror or error}") from None
        _prune(root)
        return folder

    @classmethod
    def all(cls, name: str | None = None) -> Iterator[JobFolder]:
        """The folders there are, newest first; only those of one name when it is given."""
        root = jobs_root()
        if not root.is_dir():
            return
        for path in sorted(root.iterdir(), reverse=True):
            record = cls(path).record()
            if record is not None and name in (None, record["name"]):
                yield cls(path)

    @property
    def id(self) -> str:
        """The job's id, in the order of time."""
        return self.path.name

    def record(self) -> dict[str, Any] | None:
        """Name, task, time and the kernel that asked for it; None when the folder holds no job."""
        try:
            data = json.loads((self.path / "job.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return data if isinstance(data, dict) and data.get("schema") == 1 else None

    @classmethod
    def at(cls, path: str) -> JobFolder:
        """The folder at a path."""
        return cls(Path(path))

    def arguments(self) -> dict[str, Any]:
        """What was asked."""
        value: dict[str, Any] = unpack((self.path / "arguments.bin").read_bytes())
        return value

    def finish(self, outcome: dict[str, Any]) -> None:
        """Write how it ended: whole or not at all. Raises OSError, and UsageError for a result that cannot be sent."""
        self._write("outcome.bin", pack(outcome))

    def outcome(self) -> dict[str, Any] | None:
        """How it ended (``state``, and ``result`` or ``error``); None while it has not."""
        try:
            data = (self.path / "outcome.bin").read_bytes()
        except OSError:
            return None
        try:
            value: dict[str, Any] = unpack(data)
        except ToolkitFault:
            return None
        return value

    def kernel_lives(self) -> bool:
        """Whether the kernel that asked for this job still runs."""
        kernel = (self.record() or {}).get("kernel", {})
        try:
            started = psutil.Process(int(kernel["pid"])).create_time()
        except (psutil.Error, KeyError, ValueError):
            return False
        return abs(started - float(kernel["started"])) < 1.0

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _write(self, name: str, data: bytes) -> None:
        part = self.path / f"{name}.part"
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        part.replace(self.path / name)


def _prune(root: Path) -> None:
    for path in sorted(root.iterdir(), reverse=True)[_KEPT:]:
        folder = JobFolder(path)
        if folder.record() is not None and (folder.outcome() is not None or not folder.kernel_lives()):
            folder.remove()
