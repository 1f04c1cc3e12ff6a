"""The forecast of the fast path's buffers, against the buffers themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from codec_models import decoder_at

from toolkit.errors import OutOfMemory
from toolkit.synthesis import loading
from toolkit.synthesis.codec_config import CodecConfig
from toolkit.synthesis.drawn_model import drawn_model
from toolkit.synthesis.fast.backend import FastBackend
from toolkit.synthesis.fast.capture import EagerRecorder
from toolkit.synthesis.fast.codec_channel import HostChannel
from toolkit.synthesis.fast.codec_runner import GRAPH, CodecRunner
from toolkit.synthesis.fast.codec_steps import STEP_FRAMES
from toolkit.synthesis.fast.footprint import GRAPH_POOL_BYTES, codec_footprint, footprint
from toolkit.synthesis.fast.state import FrameBuffers, Seat, StateSize
from toolkit.synthesis.layers import rotary_table
from toolkit.synthesis.loading import LoadOptions
from toolkit.synthesis.memory import MemoryLine, Workload
from toolkit.synthesis.precision import Choice
from toolkit.synthesis.sampling import DecodeSettings
from toolkit.synthesis.speaker import load as load_speech


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [StateSize(1, 256, 64), StateSize(8, 512, 128, 4)])
def test_it_counts_the_buffers_to_the_byte(load: Callable[..., Any], dtype: torch.dtype, size: StateSize) -> None:
    talker = load("cv_1b7_small", dtype=dtype).talker
    buffers = FrameBuffers.make(talker, size)
    shape = talker.config.talker.decoder
    angles = rotary_table(shape.head_dim, shape.rope_theta, size.slots, dtype=dtype, device=torch.device("cpu"))
    held = sum(tensor.nbytes for tensor in (*buffers.tensors(), angles.cos, angles.sin))
    lines = footprint(talker.config, size, dtype, talker.predictor.stack.norm.dtype, on_card=False)
    assert sum(line.byte_count for line in lines) == held
    assert lines[0] == MemoryLine(f"cache of {size.rows} x {size.slots} positions", 2 * buffers.keys.nbytes)
    on_card = footprint(talker.config, size, dtype, talker.predictor.stack.norm.dtype, on_card=True)
    assert on_card == (*lines, MemoryLine("graphs", GRAPH_POOL_BYTES))


@pytest.mark.parametrize(("rows", "chunk", "longest"), [(1, 300, 24), (3, 50, 12), (1, 5, 4)])
def test_it_counts_what_recorded_steps_of_the_codec_hold(
    checkpoint: Callable[[str], Path], rows: int, chunk: int, longest: int
) -> None:
    decoder = decoder_at(checkpoint("base_1b7_a"))
    runner = CodecRunner(decoder, Choice(GRAPH, "a test"), channel=HostChannel(), recorder=EagerRecorder)
    runner.prepare(rows, [size for size in STEP_FRAMES if size <= longest])
    steps = runner._steps
    assert steps is not None
    held = [*steps._steps.values()]
    found = steps.state.position.nbytes + sum(part.nbytes for part in steps.state.history)
    found += sum(step.codes.nbytes + step.samples.nbytes for step in held)
    (line,) = codec_footprint(decoder.config, rows, chunk, torch.float32)
    assert line.byte_count == found
    assert max(step.codes.shape[2] for step in held) == longest


def test_the_codec_of_the_published_size_holds_5_mb_a_row_and_a_step_takes_less_than_a_whole_text() -> None:
    with drawn_model("1b7") as found:
        config = CodecConfig.read(found.folder / "speech_tokenizer").decoder
    one, two = (codec_footprint(config, rows, 10_000, torch.float32)[0].byte_count for rows in (1, 2))
    samples = sum(STEP_FRAMES) * (1920 * 4 + 16 * 8)
    assert 4e6 < one - samples < 6e6
    assert two == 2 * one
    assert loading._workload(LoadOptions(), "cuda", fast=True) == Workload(24)
    for device, fast in (("cuda", False), ("cpu", True)):
        assert loading._workload(LoadOptions(), device, fast=fast) == Workload(300)


def test_the_published_shapes_take_114688_bytes_a_position_and_row(load: Callable[..., Any]) -> None:
    config = load("cv_1b7_small").config
    shape = replace(config.talker.decoder, layers=28, heads=16, kv_heads=8, head_dim=128)
    config = replace(config, talker=replace(config.talker, decoder=shape))
    lines = footprint(config, StateSize(32, 4096), torch.bfloat16, torch.bfloat16, on_card=True)
    assert lines[0].byte_count == 32 * 4096 * 114_688


def test_buffers_are_made_in_the_size_that_is_forecast(load: Callable[..., Any]) -> None:
    assert StateSize(3, 257, 1).rounded() == StateSize(4, 512, 64)
    assert StateSize(4, 512, 64).rounded() == StateSize(4, 512, 64)
    model = load("cv_1b7_small")
    backend = FastBackend(model.talker)
    hidden = model.config.talker.decoder.hidden
    seat = Seat(torch.zeros(20, hidden), torch.zeros(3, hidden), torch.zeros(hidden), DecodeSettings(), 0, 300)
    assert backend._engine([seat]).size == seat.size.rounded()


def test_a_plan_of_the_fast_path_has_its_buffers_in_place_of_the_growing_cache(demo: Callable[..., Path]) -> None:
    plain = load_speech(demo(), device="cpu", dtype="float32").model.plan
    fast = load_speech(demo(), device="cpu", dtype="float32", path="fast").model.plan
    labels = [[line.label for line in plan.lines] for plan in (plain, fast)]
    assert [label for label in labels[0] if "cache" in label] != [label for label in labels[1] if "cache" in label]
    assert set(labels[1]) - set(labels[0]) == {label for label in labels[1] if "cache of 1 x" in label} | {
        "other buffers of frames"
    }
    with pytest.raises(OutOfMemory, match="cache of 1 x"):
        load_speech(demo(), device="cpu", dtype="float32", path="fast", vram_limit="2MB")
