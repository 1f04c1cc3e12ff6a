"""Triton kernels: against the plain operations under Triton's interpreter, and through its compiler without a card."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import kernel_checks
import pytest

ROOT = Path(__file__).parents[2]
Outcome = Callable[[str], dict[str, str]]


@pytest.fixture(scope="session")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Kind of check -> name and what went wrong, found by a child: Triton picks the interpreter when it is imported."""

    @cache
    def run(kind: str) -> dict[str, str]:
        cache_dir = tmp_path_factory.mktemp("compiled")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "TRITON_CACHE_DIR": str(cache_dir),
            "TRITON_INTERPRET": "1" if kind == "interpreted" else "0",
        }
        child = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("kernel_checks.py")), kind],
            env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert child.returncode == 0, child.stderr
        found: dict[str, str] = json.loads(child.stdout.splitlines()[-1])
        return found

    return run


needs_triton = pytest.mark.skipif(sys.platform != "linux", reason="Triton has wheels for Linux only")


@needs_triton
@pytest.mark.parametrize("name", kernel_checks.INTERPRETED)
def test_under_the_interpreter(name: str, outcome: Outcome) -> None:
    assert outcome("interpreted")[name] == ""


@needs_triton
@pytest.mark.parametrize("name", kernel_checks.COMPILED)
def test_through_the_compiler(name: str, outcome: Outcome) -> None:
    assert outcome("compiled")[name] == ""


def test_the_toolkit_needs_no_triton_unless_kernels_are_asked_for() -> None:
    """What the plain path imports works where Triton cannot be imported at all."""
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import toolkit.synthesis.fast.operations, toolkit.synthesis.fast.kernel_sizes\n"
        "try:\n    import toolkit.synthesis.fast.triton_operations\nexcept ImportError as error:\n    print(error.name)"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert child.stdout.split() == ["triton"]
