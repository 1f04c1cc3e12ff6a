"""How a command is run and how it ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["FACTS", "LOG", "ROOT", "Ran", "Run", "command_line", "spawn"]

ROOT = Path(__file__).parents[2]
FACTS = ROOT / "tests" / "doctor" / "facts"
LOG = """\
INFO:     Uvicorn running on http://127.0.0.1:5000 (Press CTRL+C to quit)
Traceback (most recent call last):
  File "/home/ann/tts/app.py", line 12, in speak
    wav = model.generate(text)
AssertionError: Torch not compiled with CUDA enabled
"""


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON value and nothing else."""
        return json.loads(self.out)

    @property
    def line(self) -> str:
        """Standard error, which must be one line."""
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1, self.err
        return self.err.rstrip("\n")


Run = Callable[..., Ran]


def spawn(*arguments: object, stdin: bytes = b"", timeout_s: float = 60.0, **environment: str) -> Ran:
    """Runs ``qwen-audio`` as a process of its own."""
    done = subprocess.run(
        command_line(*arguments), input=stdin, capture_output=True, timeout=timeout_s, check=False, cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
    )  # fmt: skip
    return Ran(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8"))


def command_line(*arguments: object) -> Sequence[str]:
    """The words of a command."""
    return [sys.executable, "-m", "toolkit.cli", *map(str, arguments)]
