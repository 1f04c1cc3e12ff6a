"""The halves of a frame by themselves: together they are the frame, and neither disturbs what it is measured on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from toolkit.bench import frame_parts
from toolkit.bench.clocks import WallClock
from toolkit.bench.frame_parts import FrameParts, measure_parts, parts_of
from toolkit.bench.measuring import Voice, measure_voice
from toolkit.bench.models import open_speech
from toolkit.bench.plan import BenchPlan
from toolkit.bench.seated_row import POSITION, SLOTS, seated_row
from toolkit.bench.stages import StageTimes
from toolkit.synthesis.fast.frame import run_frame
from toolkit.synthesis.fast.operations import PlainOperations
from toolkit.synthesis.fast.path import TORCH_GRAPH, TRITON_GRAPH
from toolkit.synthesis.fast.weights import FrameWeights
from toolkit.synthesis.precision import Choice
from toolkit.synthesis.sampling import DecodeSettings


class Steps(PlainOperations):
    """Notes what is asked for."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("norm", "norm_linear", "linear_residual", "norm_gate_up", "attend", "choose", "choose_vectors",
                    "frame_input"):  # fmt: skip
            self.names.append(name)
        return super().__getattribute__(name)


class Once:
    """Runs work once and says how many of the steps it took, as microseconds."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.parts = steps, list[list[str]]()

    def samples_us(self, work: Callable[[], None]) -> Sequence[float]:
        self.steps.names.clear()
        work()
        self.parts.append(list(self.steps.names))
        return [1000.0 * len(self.steps.names)] * 3


@torch.inference_mode()
def test_the_halves_and_the_first_choice_are_a_frame(voice: Voice) -> None:
    talker, steps = voice.speech.model.talker, Steps()
    once = Once(steps)
    parts = measure_parts(talker, steps, once)
    advance, predict = once.parts
    assert parts == FrameParts(float(len(advance)), float(len(predict)))
    buffers, angles = seated_row(talker, DecodeSettings())
    steps.names.clear()
    run_frame(steps, FrameWeights.of(talker), angles, buffers)
    assert steps.names == ["norm_linear", "choose", "norm", *predict, *advance]


def test_a_seated_row_is_in_the_middle_of_its_speech(voice: Voice) -> None:
    talker = voice.speech.model.talker
    buffers, angles = seated_row(talker, DecodeSettings())
    assert (buffers.lengths.tolist(), buffers.limits.tolist(), buffers.alive.tolist()) == (
        [POSITION], [SLOTS - POSITION], [True],
    )  # fmt: skip
    assert angles.cos.shape[0] == buffers.keys.shape[3] == SLOTS
    assert torch.equal(buffers.last, seated_row(talker, DecodeSettings())[0].last)


def test_the_wall_clock_runs_once_before_it_looks() -> None:
    ticks = iter(range(100))
    calls: list[int] = []
    clock = WallClock(torch.device("cpu"), now=lambda: float(next(ticks)))
    assert clock.samples_us(lambda: calls.append(1)) == [1e6] * 15
    assert len(calls) == 16


@pytest.fixture(scope="module")
def fast() -> Voice:
    plan = BenchPlan(size="tiny", device="cpu", quick=True, frames=4, path="fast").settled("cpu")
    return Voice(open_speech(plan, "float32"), plan)


def test_on_the_fast_path_both_halves_have_a_time(fast: Voice) -> None:
    said: list[str] = []
    stages: Any = measure_voice(fast, said.append)["stages"]
    assert stages["talker_step_ms_per_frame"] > 0
    assert stages["predictor_ms_per_frame"] > 0
    assert stages["notes"][0].startswith("a frame runs as one; the talker's layers and the predictor's fifteen codes")
    assert not any("cannot be told apart" in note for note in stages["notes"])
    assert "the two halves of a frame, each by itself" in said


@pytest.mark.parametrize("way", [TRITON_GRAPH, TORCH_GRAPH])
def test_where_frames_are_graphs_so_are_the_halves(fast: Voice, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    class Kernels:
        @staticmethod
        def TritonOperations(device: torch.device, sizes: object, *, chained: bool) -> PlainOperations:
            made.append((device, sizes, chained))
            return PlainOperations()

    monkeypatch.setitem(sys.modules, "toolkit.synthesis.fast.triton_operations", Kernels)
    monkeypatch.setattr(frame_parts, "CudaClock", lambda device: made.append("graphs") or Once(Steps()))
    monkeypatch.setattr(type(fast.speech), "path", Choice(way, "a card"))
    assert parts_of(fast.speech) == FrameParts(0.0, 0.0)
    kernels = [(torch.device("cpu"), None, False)] if way == TRITON_GRAPH else []
    assert made == [*kernels, "graphs"]


def test_times_that_were_told_apart_keep_the_other_notes() -> None:
    times = StageTimes(4, 1.0, 5.0, None, None, None, ("the codec was not asked for sound in pieces",))
    found = times.apart(FrameParts(2.0, 3.0))
    assert (found.talker_step_ms, found.predictor_ms, found.frame_ms) == (2.0, 3.0, 5.0)
    assert found.notes[1:] == times.notes
