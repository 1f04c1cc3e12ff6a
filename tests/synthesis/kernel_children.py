"""Runs a file of kernel checks in a child, since Triton picks its interpreter when it is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

__all__ = ["Outcome", "needs_triton", "outcomes"]

Outcome = Callable[[str], dict[str, str]]
"""Kind of check -> name and what went wrong, empty where nothing did."""

_ROOT = Path(__file__).parents[2]

needs_triton = pytest.mark.skipif(sys.platform != "linux", reason="Triton has wheels for Linux only")


def outcomes(script: str, temporary: pytest.TempPathFactory) -> Outcome:
    """What the checks of ``script``, a file beside this one, find; each kind is run once."""

    @cache
    def run(kind: str) -> dict[str, str]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]),
            "TRITON_CACHE_DIR": str(temporary.mktemp("compiled")),
            "TRITON_INTERPRET": "1" if kind == "interpreted" else "0",
        }
        child = subprocess.run(
            [sys.executable, str(Path(__file__).with_name(script)), kind],
            env=environment, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert child.returncode == 0, child.stderr
        found: dict[str, str] = json.loads(child.stdout.splitlines()[-1])
        return found

    return run
