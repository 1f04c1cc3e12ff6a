"""A bar on standard error that shows how far speech is."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from toolkit.synthesis.speaking import Progress as Spoken

__all__ = ["ProgressBar"]


class ProgressBar:
    """In a ``with`` block, to be called with each step.

    How long the speech will be is not known beforehand: the bar fills up to what ordinary speech of the text takes.
    """

    def __init__(self, title: str) -> None:
        told = TextColumn("{task.fields[told]}")
        columns = (TextColumn("{task.description}"), BarColumn(), told, TimeElapsedColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(title, total=None, told="")

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, step: Spoken) -> None:
        total = max(step.expected_frames, step.frames)
        parts = f", part {step.part} of {step.parts}" if step.parts > 1 else ""
        self._bar.update(self._task, total=total, completed=step.frames, told=f"{step.frames * 0.08:.1f} s{parts}")
