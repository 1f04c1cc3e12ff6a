"""A journal of finished trials: a line each, with a checksum, on the disk before the next begins."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from pydantic import ValidationError

from toolkit.errors import UsageError
from toolkit.synthesis.whole_file import output_error
from toolkit.tuning.book import Machine, Plan, Trial

__all__ = ["Journal"]

_SUM_CHARACTERS = 16


class Journal:
    """Finished trials of one plan, in a ``with`` block; :attr:`trials` are those that were there, by their key.

    A torn last line, as a kill leaves it, is cut off. Only one process writes a journal at a time.

    Args:
        path: None keeps everything in memory.
        afresh: what is there of another plan, or damaged, is thrown away.

    Raises:
        UsageError: of another plan or machine, damaged in the middle, or in use.
        BadOutput: the file cannot be written there.
        DiskFull: no room.
    """

    def __init__(self, path: Path | None, plan: Plan, *, afresh: bool = False) -> None:
        self.path = path
        self.trials: dict[tuple[str, int, int], Trial] = {}
        self.machine: Machine | None = None
        self._afresh = afresh
        self._plan = hashlib.sha256(plan.model_dump_json().encode("utf-8")).hexdigest()
        self._file: BinaryIO | None = None

    def __enter__(self) -> Journal:
        if self.path is None:
            return self
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)  # positions have to be those of the bytes
        try:
            self._file = os.fdopen(os.open(self.path, flags, 0o666), "r+b")
        except OSError as error:
            raise output_error(self.path, error) from None
        try:
            self._lock(self._file)
            try:
                self._read(self._file)
            except UsageError:
                if not self._afresh:
                    raise
                self.trials, self.machine = {}, None
                self._cut(self._file, 0)
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def begin(self, machine: Machine) -> None:
        """Write down where the trials are spoken. Raises UsageError where those that are there come from elsewhere."""
        if self.machine is None:
            self._write([json.dumps({"machine": machine.model_dump()})])
            self.machine = machine
        elif machine != self.machine:
            there = f"{self.machine.card}, torch {self.machine.torch}, toolkit {self.machine.toolkit}"
            raise UsageError(
                f"the trials of {self.path} come from {there} ({self.machine.device}); go on there, or delete the file"
            )

    def append(self, trials: list[Trial]) -> None:
        """Write trials down; they are on the disk when this returns. Those that are there already stay as they are."""
        new = [trial for trial in trials if trial.key not in self.trials]
        self._write([trial.model_dump_json() for trial in new])
        self.trials.update((trial.key, trial) for trial in new)

    def remove(self) -> None:
        """Delete the journal, once a book holds its trials."""
        if self._file is not None and self.path is not None:
            self._file.close()
            self.path.unlink(missing_ok=True)

    def _lock(self, file: BinaryIO) -> None:
        try:
            if os.name == "nt":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"{self.path} is in use: another run writes this book; wait for it or stop it") from None

    def _read(self, file: BinaryIO) -> None:
        file.seek(0)
        lines = file.read().split(b"\n")
        whole = 0
        for number, line in enumerate(lines[:-1], 1):
            text = _checked(line)
            if text is None:
                if number < len(lines) - 1:
                    raise UsageError(f"{self.path}: line {number} is damaged; delete the file to start afresh")
                break  # a torn line that happens to end in a line feed
            self._take(number, text)
            whole += len(line) + 1
        self._cut(file, whole)

    def _cut(self, file: BinaryIO, whole: int) -> None:
        file.seek(whole)
        file.truncate()
        if whole == 0:
            self._write([json.dumps({"plan": self._plan})])

    def _take(self, number: int, text: str) -> None:
        if number == 1:
            if json.loads(text) != {"plan": self._plan}:
                raise UsageError(f"{self.path} belongs to another plan; choose another book, or give --overwrite")
            return
        try:
            if text.startswith('{"machine"'):
                self.machine = Machine.model_validate(json.loads(text)["machine"])
                return
            trial = Trial.model_validate_json(text)
        except ValidationError as error:
            raise UsageError(f"{self.path}: line {number} is no trial: {error.errors()[0]['msg']}") from None
        self.trials[trial.key] = trial

    def _write(self, texts: list[str]) -> None:
        if self._file is None or self.path is None:
            return
        try:
            self._file.write(b"".join(_sealed(text) for text in texts))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise output_error(self.path, error) from None


def _sealed(text: str) -> bytes:
    return f"{_sum(text)} {text}\n".encode()


def _checked(line: bytes) -> str | None:
    """The text of a line whose checksum fits, else None."""
    told, _, data = line.partition(b" ")
    text = data.decode("utf-8", "replace")
    return text if told == _sum(text).encode() else None


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:_SUM_CHARACTERS]
