"""The official package as a peer of the benchmark: random weights of a toy, and the pocket voice from its folder."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.bench.peers import measure_peer
from toolkit.bench.plan import BenchPlan


@pytest.mark.parametrize("size", ["tiny", "pocket"])
def test_the_official_package_makes_the_frames_that_are_asked_for(pytestconfig: pytest.Config, size: str) -> None:
    plan = BenchPlan(
        size=size,
        device="cpu",
        frames=12,
        repeats=1,
        batches=(1, 2),
        against=("qwen-tts",),
        peer_python=(pytestconfig.getoption("official"),),
    ).settled("cpu")
    found: Any = measure_peer(plan, "qwen-tts", "float32", "cpu")
    assert found["state"] == "measured", found
    assert found["warm"]["frames"] == 12
    assert [(row["rows"], row["frames"]) for row in found["batches"]] == [(2, 24)]
    assert found["versions"]["qwen-tts"]
