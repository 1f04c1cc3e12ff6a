"""Long work beside the notebook: in a process of its own, with progress, Cancel, and an end that is always told."""

from __future__ import annotations

from toolkit.widgets.jobs.error_note import ErrorNote, note_of
from toolkit.widgets.jobs.job import Change, Job, JobFailed, Partial, Progress
from toolkit.widgets.jobs.work import Cancelled, Work
from toolkit.widgets.jobs.worker import Worker, join

__all__ = [
    "Cancelled",
    "Change",
    "ErrorNote",
    "Job",
    "JobFailed",
    "Partial",
    "Progress",
    "Work",
    "Worker",
    "join",
    "note_of",
]
