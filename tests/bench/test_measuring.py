"""What is measured on a toy: every figure is there and they agree with each other."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from bench_fakes import FakeReader

import toolkit
from toolkit.bench import ceiling, document, measuring, models
from toolkit.bench.ceiling import bandwidth_shares, copy_bytes_per_s, weight_bytes_per_frame
from toolkit.bench.conditions import Watcher
from toolkit.bench.document import RANDOM_NOTE, bench, exit_code, file_name
from toolkit.bench.machine import card_slug
from toolkit.bench.measuring import Voice, measure_voice, speed
from toolkit.bench.plan import BenchPlan, config_hash
from toolkit.bench.stages import StageClock, kernels_per_frame
from toolkit.errors import EXIT_FAILS, EXIT_WARNINGS, EXIT_WELL, OutOfMemory, UsageError
from toolkit.synthesis.decoding import FrameStream
from toolkit.synthesis.demo_model import make_demo_model
from toolkit.synthesis.drawn_model import drawn_model
from toolkit.synthesis.fast.codec_runner import CodecSession
from toolkit.synthesis.talker import Talker

SPEED = {"total_s", "frames", "audio_s", "ms_per_frame", "x_real_time", "rtf"}


@pytest.fixture(scope="module")
def figures(voice: Voice) -> dict[str, Any]:
    return measure_voice(voice, lambda _: None)


def test_a_frame_is_80_ms() -> None:
    assert speed(2.0, 100, 8.0) == {
        "total_s": 2.0, "frames": 100, "audio_s": 8.0, "ms_per_frame": 20.0, "x_real_time": 4.0, "rtf": 0.25,
    }  # fmt: skip
    assert speed(2.0, 0, 0.0)["ms_per_frame"] is None


def test_every_figure_is_there(figures: dict[str, Any]) -> None:
    assert set(figures["warm"]) == SPEED | {"memory", "timings_s"}
    assert figures["warm"]["frames"] == 6
    assert figures["warm"]["audio_s"] == pytest.approx(0.48)
    assert [stream["chunk_frames"] for stream in figures["streams"]] == [1, 2]
    assert all(0 < stream["first_audio_ms"] < stream["total_s"] * 1000 for stream in figures["streams"])
    assert all(stream["frames"] == 6 for stream in figures["streams"])
    assert [(batch["rows"], batch["frames"]) for batch in figures["batches"]] == [(1, 6), (2, 12)]
    assert figures["repeats"]["outcome"] == "2 in a row"
    assert figures["first_call_s"] > 0
    assert "error" not in figures


def test_the_stages_are_measured_apart_from_the_total(figures: dict[str, Any]) -> None:
    stages = figures["stages"]
    assert stages["frames"] == 6
    parts = [stages[f"{name}_ms_per_frame"] for name in ("talker_step", "predictor")]
    assert all(part > 0 for part in parts)
    assert sum(parts) == pytest.approx(stages["frame_ms_per_frame"], rel=0.01)
    assert stages["prefill_ms"] > 0
    assert stages["codec_ms_per_frame"] > 0


def test_the_stage_clock_counts_what_runs_and_leaves_nothing_behind(voice: Voice) -> None:
    model = voice.speech.model
    before = (FrameStream.__init__, FrameStream.__next__)
    advance = CodecSession.advance
    ticks = iter(range(10_000))
    clock = StageClock(model, now=lambda: float(next(ticks)))
    with clock.attached():
        voice.speak()
    # The choice after the last frame makes none and is not counted.
    assert clock.calls == {"prefill": 1, "frame": 6, "predictor": 6, "codec": 1}
    assert (FrameStream.__init__, FrameStream.__next__) == before
    assert "frame" not in vars(model.talker.predictor)
    assert CodecSession.advance is advance
    # A tick a look: one inside each predictor, three inside each frame.
    assert clock.times().predictor_ms == pytest.approx(1000)
    assert clock.times().frame_ms == pytest.approx(3000)
    assert clock.times().talker_step_ms == pytest.approx(2000)


def test_a_frame_that_is_one_piece_is_not_divided_by_guessing(voice: Voice) -> None:
    clock = StageClock(voice.speech.model)
    clock.calls |= {"frame": 4, "prefill": 1}
    clock.seconds |= {"frame": 0.02, "prefill": 0.01}
    times = clock.times()
    assert (times.frame_ms, times.predictor_ms, times.talker_step_ms, times.codec_ms) == (5.0, None, None, None)
    assert times.notes == (
        "talker step and code predictor run as one: they cannot be told apart from outside",
        "the codec was not asked for sound in pieces",
    )


def test_the_attached_clock_is_taken_off_after_an_error(voice: Voice) -> None:
    before = FrameStream.__next__
    with pytest.raises(RuntimeError, match="planted"), StageClock(voice.speech.model).attached():
        raise RuntimeError("planted")
    assert FrameStream.__next__ is before


def test_kernels_of_a_frame_leave_out_prompt_codec_and_copies() -> None:
    once = ["prompt"] * 50 + ["codec"] * 30 + ["Memcpy DtoH", "Memset (Device)"]
    short, long = once + ["gemm"] * 8 * 300, once + ["gemm"] * 24 * 300 + ["Memcpy HtoD"] * 16
    assert kernels_per_frame(short, long, 16) == 300.0


def test_the_weights_of_a_frame_are_those_of_the_cost_model() -> None:
    # Specification of the family, cost model: 5,258 MB a frame of 1.7B with the small projection taken once; 3,310 MB
    # of 0.6B.
    for size, mb in (("1b7", 5258.0), ("0b6", 3310.0)):
        with drawn_model(size) as found:  # type: ignore[arg-type]
            config = models.find_model(found)
            talker = Talker(toolkit.synthesis.config.ModelConfig.read(config.folder)).to(torch.bfloat16)
        assert weight_bytes_per_frame(talker) / 1e6 == pytest.approx(mb, rel=0.001)


def test_the_copy_counts_reading_and_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([value for number in range(11) for value in (number * 10.0, number * 10.0 + 2.0)])
    monkeypatch.setattr(ceiling.time, "perf_counter", lambda: next(ticks))
    assert copy_bytes_per_s(torch.device("cpu"), 1000) == 1000.0


def test_the_share_of_the_ceiling() -> None:
    run = {"warm": {"ms_per_frame": 10.0}, "weight_bytes_per_frame": 5_000_000}
    assert bandwidth_shares(run, 1e9)["bandwidth"] == {
        "copy_bytes_per_s": 10**9,
        "weight_bytes_per_frame": 5_000_000,
        "floor_ms_per_frame": 5.0,
        "used_bytes_per_s": 500_000_000,
        "share": 0.5,
    }
    assert bandwidth_shares({"weight_bytes_per_frame": 5}, 1e9) == {}


def test_a_call_that_fails_at_once_ends_the_measurement(voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise UsageError("float16 overflowed at frame 0")

    monkeypatch.setattr(voice.speech, "speak", fail)
    found: Any = measure_voice(voice, lambda _: None)
    assert found["repeats"]["outcome"] == "failed at run 1"
    assert found["repeats"]["asked"] == 2
    assert "warm" not in found


def test_a_failure_in_the_middle_keeps_what_was_measured(voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(voice.speech, "speak_many", fail)
    found: Any = measure_voice(voice, lambda _: None)
    assert found["error"] == "RuntimeError: CUDA out of memory"
    assert found["warm"]["frames"] == 6


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    plan = BenchPlan(size="tiny", device="cpu", quick=True, frames=4, precisions=("bf16", "fp32"))
    return bench(plan)


def test_the_document_has_its_names(whole: dict[str, Any]) -> None:
    assert set(whole) == {
        "schema", "kind", "valid", "faults", "notes", "created", "config", "config_sha256", "environment", "conditions",
        "runs", "cold", "peers",
    }  # fmt: skip
    assert (whole["schema"], whole["kind"], whole["valid"], whole["faults"]) == (1, "bench", True, [])
    assert whole["notes"][0] == RANDOM_NOTE
    assert [run["dtype"]["value"] for run in whole["runs"]] == ["bfloat16", "float32"]
    assert all(0 < run["bandwidth"]["share"] < 1 for run in whole["runs"])
    bytes_of = [run["weight_bytes_per_frame"] for run in whole["runs"]]
    assert bytes_of[1] == 2 * bytes_of[0]
    assert whole["environment"]["torch"] == torch.__version__
    assert exit_code(whole) == EXIT_WELL


def test_the_hash_is_that_of_the_settings_alone(whole: dict[str, Any]) -> None:
    assert whole["config_sha256"] == config_hash(whole["config"])
    text = str(whole["config"])
    assert whole["environment"]["name"] not in text
    assert [entry["dtype"] for entry in whole["config"]["precisions"]] == ["bfloat16", "float32"]
    plan = BenchPlan(size="tiny", device="cpu", quick=True, frames=4, precisions=("bf16", "fp32"))
    assert bench(plan)["config_sha256"] == whole["config_sha256"]
    assert bench(replace(plan, frames=5))["config_sha256"] != whole["config_sha256"]


def test_no_figure_is_not_a_number(whole: dict[str, Any]) -> None:
    def check(value: object) -> None:
        if isinstance(value, dict):
            [check(item) for item in value.values()]
        elif isinstance(value, list):
            [check(item) for item in value]
        elif isinstance(value, float):
            assert math.isfinite(value)

    check(whole)


def test_a_card_that_was_slowed_down_makes_it_invalid(reader: FakeReader) -> None:
    reader.samples = [replace(reader.samples[0], throttle_reasons=("power-brake",))]
    plan = BenchPlan(size="tiny", device="cpu", quick=True, frames=2)
    found: Any = bench(plan, watcher=lambda _: Watcher(reader, interval_s=0.05))
    assert found["valid"] is False
    assert found["faults"] == ["the card was slowed down while it was measured (power-brake)"]
    assert exit_code(found) == EXIT_WARNINGS


def test_an_unstable_precision_fails_the_run(whole: dict[str, Any]) -> None:
    spoiled = {**whole, "runs": [{**whole["runs"][0], "repeats": {"stable": False}}]}
    assert exit_code(spoiled) == EXIT_FAILS


def test_one_precision_that_does_not_fit_does_not_end_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    real = document.open_speech

    def opened(plan: BenchPlan, precision: str) -> Any:
        if precision == "float32":
            raise OutOfMemory("the model does not fit")
        return real(plan, precision)

    monkeypatch.setattr(document, "open_speech", opened)
    plan = BenchPlan(size="tiny", device="cpu", quick=True, frames=2, precisions=("fp32", "bf16"))
    found: Any = bench(plan)
    assert found["runs"][0]["error"] == "OutOfMemory: the model does not fit"
    assert found["runs"][0]["repeats"]["outcome"] == "not run"
    assert found["runs"][1]["repeats"]["stable"]
    assert exit_code(found) == EXIT_FAILS
    with pytest.raises(OutOfMemory):
        bench(replace(plan, precisions=("fp32",)))


def test_after_a_lost_card_no_precision_is_blamed_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(voice: Voice, say: Any) -> dict[str, Any]:
        return {"repeats": {"stable": False, "error": "RuntimeError: CUDA error: device-side assert triggered"}}

    monkeypatch.setattr(document, "measure_voice", measured)
    plan = BenchPlan(size="tiny", device="cpu", quick=True, precisions=("fp16", "bf16"))
    parts: list[Any] = []
    found: Any = bench(plan, on_partial=lambda part: parts.append((part["valid"], len(part["runs"]))))
    assert found["runs"][1]["error"] == "not run: float16 left the card unusable for this process"
    assert parts == [(False, 1), (False, 2), (False, 2)]


def test_random_weights_that_do_not_fit_are_refused_before_they_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    class Little:
        available = 10**9

    monkeypatch.setattr(models.psutil, "virtual_memory", Little)
    plan = BenchPlan(size="1b7", device="cpu").settled("cpu")
    with pytest.raises(OutOfMemory, match=r"random weights of 1b7 take 7\.7 GB on the CPU and 1\.0 GB are free"):
        models.open_speech(plan, "auto")


def test_a_model_without_speakers_is_refused(tmp_path: Any) -> None:
    folder = make_demo_model(tmp_path / "demo", "voice_design").folder
    with pytest.raises(UsageError, match="is a voice_design model; the benchmark speaks with built-in speakers"):
        models.open_speech(BenchPlan(model=str(folder), device="cpu").settled("cpu"), "auto")


def test_a_cold_start_is_a_process_of_its_own() -> None:
    plan = BenchPlan(size="tiny", device="cpu", quick=True, frames=2).settled("cpu")
    found: Any = measuring_cold(plan)
    assert found["error"] is None
    parts = [found[name] for name in ("python_s", "import_s", "load_s", "speak_s")]
    assert all(part > 0 for part in parts)
    assert sum(parts) == pytest.approx(found["total_s"], abs=0.01)


def measuring_cold(plan: BenchPlan) -> dict[str, object]:
    from toolkit.bench.cold import measure_cold

    return measure_cold(plan, "auto")


def test_a_cold_start_that_fails_says_why(tmp_path: Any) -> None:
    from toolkit.bench.cold import measure_cold

    found = measure_cold(BenchPlan(model=str(tmp_path / "no"), device="cpu").settled("cpu"), "auto")
    assert found["total_s"] is None
    assert "there is no such folder" in str(found["error"])


def test_results_are_called_after_the_card() -> None:
    assert card_slug("NVIDIA H200") == "nvidia-h200"
    assert card_slug("NVIDIA GeForce RTX 4090 (Laptop)") == "nvidia-geforce-rtx-4090-laptop"
    assert file_name({"environment": {"name": "NVIDIA H200"}}) == "nvidia-h200.json"


def test_the_pocket_voice_is_measured_without_a_card() -> None:
    plan = BenchPlan(device="cpu", quick=True, frames=3, repeats=1).settled("cpu")
    assert plan.size == "pocket"
    steps: list[str] = []
    found: Any = measuring.measure_voice(Voice(models.open_speech(plan, "auto"), plan), steps.append)
    assert found["warm"]["frames"] == 3
    assert found["dtype"]["value"] == "float32"
    assert steps[0] == "first call"
