"""The command line run in this process, a failing log, and its saved diagnosis."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from running import LOG, Ran, Run

from toolkit.cli import main as cli_main
from toolkit.cli.output import guarded


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``qwen-audio`` in this process; ``stdin`` are its bytes."""

    def command(*arguments: object, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "argv", ["qwen-audio", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        code = guarded(cli_main._run)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return command


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of a PyTorch without CUDA."""
    path = tmp_path / "service.log"
    path.write_text(LOG, encoding="utf-8")
    return path


@pytest.fixture
def saved(run: Run, log: Path, tmp_path: Path) -> Path:
    """A saved diagnosis of ``log``."""
    path = tmp_path / "saved.json"
    run("diagnose", log, "--save", path)
    return path
