"""A toy model, one settled plan, and samples of a card that a test can bend."""

from __future__ import annotations

import pytest
import torch
from bench_fakes import SAMPLE, FakeReader

from toolkit.bench.measuring import Voice
from toolkit.bench.models import open_speech
from toolkit.bench.plan import BenchPlan


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tiny products gain nothing from a second thread."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def plan() -> BenchPlan:
    """The toy on the CPU, as little as possible of everything."""
    return BenchPlan(size="tiny", device="cpu", quick=True, frames=6, chunks=(1, 2), batches=(1, 2)).settled("cpu")


@pytest.fixture(scope="session")
def voice(plan: BenchPlan) -> Voice:
    """The toy, loaded."""
    return Voice(open_speech(plan, "float32"), plan)


@pytest.fixture
def reader() -> FakeReader:
    """A card at work whose clocks are as they should be."""
    return FakeReader([SAMPLE])
