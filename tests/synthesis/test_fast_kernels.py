"""Triton kernels: against the plain operations under Triton's interpreter, and through its compiler without a card."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import kernel_checks
import pytest
from kernel_children import Outcome, needs_triton, outcomes

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return outcomes("kernel_checks.py", tmp_path_factory)


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
