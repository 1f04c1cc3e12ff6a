"""What the steps share: the texts, the folder, the answers so far, and the workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import BadOutput
from toolkit.widgets.jobs import Worker
from toolkit.widgets.languages import Texts
from toolkit.widgets.setup.card import Card
from toolkit.widgets.setup.record import SetupRecord

__all__ = ["Session"]


class Session:
    """One setup in one folder. Steps read each other's answers here and leave their own with :meth:`finish`."""

    def __init__(self, texts: Texts, folder: Path) -> None:
        self.texts = texts
        self.folder = folder
        self.record = SetupRecord()
        self._listeners: list[Callable[[str], None]] = []

    def open_folder(self, folder: Path) -> None:
        """Go on with what lies in a folder. Raises UsageError when its state is damaged; nothing changes then."""
        if folder.exists() and not folder.is_dir():
            raise BadOutput(f"{folder} is a file; give a folder for config.yaml")
        record = SetupRecord.read(folder)
        self.folder, self.record = folder, record

    def answer(self, step: str) -> Mapping[str, Any]:
        """What a step has left; empty where it is not done."""
        return self.record.answers.get(step, {})

    @property
    def card(self) -> Card:
        """Where speech will run, as the first step has found."""
        return Card.from_json(self.answer("machine")["card"])

    def finish(self, step: str, answer: Mapping[str, Any]) -> None:
        """Leave a step's answer, write the state, and tell who listens. Raises BadOutput, DiskFull."""
        record = self.record.with_answer(step, answer)
        record.write(self.folder)
        self.record = record
        for listener in list(self._listeners):
            listener(step)

    def on_finish(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with a step's key each time it is done."""
        self._listeners.append(listener)

    @staticmethod
    def worker(name: str) -> Worker:
        """The kernel's worker for one kind of work: look, plan, limits, fetch, voice or write."""
        return Worker.named(f"setup-{name}")
