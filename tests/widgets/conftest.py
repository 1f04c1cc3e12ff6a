"""Workers whose jobs lie in the test's folder, and that end with the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.widgets.jobs import Worker
from toolkit.widgets.languages import Texts


@pytest.fixture(autouse=True)
def jobs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the jobs of this test lie."""
    folder = tmp_path / "jobs"
    monkeypatch.setenv("QWEN_AUDIO_JOBS", str(folder))
    return folder


@pytest.fixture
def worker() -> Iterator[Worker]:
    """A worker that can import ``worker_tasks``."""
    made = Worker("tests")
    yield made
    made.close()


@pytest.fixture
def texts() -> Texts:
    """English texts of this test's own."""
    return Texts("en")
