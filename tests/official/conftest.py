"""The official package's answers to a plan of cases, made once a run by its own interpreter.

Nothing here is collected unless ``--official`` names that interpreter, so the ordinary suite does not know these tests.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "synthesis"))

from case_plan import make_plan  # noqa: E402
from golden_set import GoldenSet  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("official package")
    group.addoption("--official", metavar="PYTHON", help="interpreter of an environment of scripts/official_env.py")
    group.addoption("--official-seed", type=int, default=1, help="draws other cases, checkpoints and recordings")
    group.addoption("--official-cases", type=int, default=6, help="calls for each kind and size of model")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.getoption("official", default=None) is None else None


@pytest.fixture(scope="session")
def official(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> GoldenSet:
    """Cases drawn from the seed, with what the official package made of them."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("official") / "plan"
    plan = make_plan(folder, pytestconfig.getoption("official_seed"), pytestconfig.getoption("official_cases"))
    command = [pytestconfig.getoption("official"), str(HERE / "official_runner.py"), str(plan)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return GoldenSet(folder)
