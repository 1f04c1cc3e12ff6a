"""``qwen-audio bench``: one JSON document as the last line, a table beside it, and every wrong call in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from running import Run

from toolkit.bench import document as room
from toolkit.bench import tune as tuning
from toolkit.bench.plan import BenchPlan, config_hash
from toolkit.errors import OutOfMemory

TINY = ("bench", "--size", "tiny", "--device", "cpu", "--quick", "--frames", "3")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tiny products gain nothing from a second thread."""
    torch.set_num_threads(1)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """In place of a measurement; what it was asked for is under ``plan``."""
    found: dict[str, Any] = {}

    def bench(plan: BenchPlan, on_step: Any, *, on_partial: Any) -> dict[str, object]:
        found["plan"] = plan
        if "cut off" in found:
            on_partial({"valid": False, "environment": {"name": "NVIDIA H200"}, "runs": ["the first"]})
            raise OutOfMemory("the second")
        on_step("a step")
        repeats = {"stable": True, "outcome": "2 in a row", "error": None}
        return {
            "schema": 1, "kind": "bench", "valid": found.get("valid", True), "faults": [], "notes": [], "cold": None,
            "config": {"weights": "random", "frames": 3, "precisions": [{"model": "m"}]}, "config_sha256": "0" * 64,
            "environment": {"name": "NVIDIA H200", "torch": "2"}, "peers": {},
            "runs": [{"precision": "auto", "error": found.get("error"), "repeats": repeats}],
        }  # fmt: skip

    monkeypatch.setattr(room, "bench", bench)
    return found


def test_the_last_line_is_the_document_and_the_table_stands_beside_it(run: Run) -> None:
    ran = run(*TINY, "--precision", "bf16,fp32", "--batch", "1,2", "--chunk", "1,2")
    assert ran.code == 0
    assert ran.out.count("\n") == 1
    document = json.loads(ran.out.splitlines()[-1])
    assert (document["schema"], document["kind"]) == (1, "bench")
    assert document["config_sha256"] == config_hash(document["config"])
    assert [run["precision"] for run in document["runs"]] == ["bfloat16", "float32"]
    for told in (
        "ms a frame (80 ms)", "talker step", "predictor", "codec", "first audio, pieces of 2", "batch 2", "2 in a row",
        "share of the memory's bandwidth", "peak resident", "random weights: they cost",
    ):  # fmt: skip
        assert told in ran.err, told


def test_the_fast_path_is_measured_when_it_is_asked_for(run: Run) -> None:
    ran = run(*TINY, "--path", "fast", "--json")
    assert ran.code == 0
    assert ran.json["runs"][0]["path"]["value"] == "eager"
    assert ran.json["runs"][0]["kernel_sizes"] is None
    assert ran.json["config"]["precisions"][0]["path"] == "eager"
    assert "path" not in ran.json["config"]


def test_with_json_nothing_else_is_said(run: Run) -> None:
    ran = run(*TINY, "--json", "--against", "faster-qwen3-tts")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["peers"]["faster-qwen3-tts"]["state"] == "not-installed"


def test_the_options_arrive(run: Run, measured: dict[str, Any], tmp_path: Path) -> None:
    ran = run(
        "bench", "--size", "1B7", "--precision", "bf16,fp16", "--frames", 100, "--batch", "1,8,32", "--chunk", "1,8",
        "--repeat", 50, "--text", "你好。", "--device", "cuda:1", "--against", "qwen-tts", "--peer-python", "p/python",
        "--peer-python", "qwen-tts=o/python",
        "--seed", 7, "--path", "plain",
    )  # fmt: skip
    assert ran.code == 0
    assert measured["plan"] == BenchPlan(
        size="1b7", precisions=("bfloat16", "float16"), frames=100, batches=(1, 8, 32), chunks=(1, 8), repeats=50,
        text="你好。", device="cuda:1", against=("qwen-tts",), peer_python=("p/python", "qwen-tts=o/python"),
        seed=7, path="plain",
    )  # fmt: skip
    assert "a step\n" in ran.err


def test_a_folder_gets_a_file_named_after_the_card(run: Run, measured: dict[str, Any], tmp_path: Path) -> None:
    ran = run("bench", "--out", f"{tmp_path}/")
    assert ran.code == 0
    path = tmp_path / "nvidia-h200.json"
    assert json.loads(path.read_text("utf-8")) == ran.json
    assert f"wrote {path}" in ran.err
    assert run("bench", "--out", tmp_path / "mine.json").code == 0
    assert (tmp_path / "mine.json").exists()


def test_a_run_that_is_cut_off_leaves_what_it_had(run: Run, measured: dict[str, Any], tmp_path: Path) -> None:
    measured["cut off"] = True
    assert run("bench", "--out", tmp_path / "cut.json").code != 0
    assert json.loads((tmp_path / "cut.json").read_text("utf-8"))["runs"] == ["the first"]


def test_figures_of_a_slowed_card_end_in_4_and_failures_in_3(run: Run, measured: dict[str, Any]) -> None:
    measured["valid"] = False
    assert run("bench").code == 4
    measured["error"] = "OutOfMemory: x"
    assert run("bench").code == 3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--size", "3b"], "--size must be one of 1b7, 0b6, tiny, pocket"),
        (["--size", "1b7", "--model", "x"], "give --model (a checkpoint) or --size"),
        (["--precision", "int8"], "--precision must be of auto, bf16, fp16, fp32"),
        (["--precision", "bf16,,fp32"], "--precision has an empty place"),
        (["--path", "quick"], "--path must be one of auto, fast, plain, not 'quick'"),
        (["--path", "fast", "--precision", "fp32,fp16"], "--path fast takes bf16 and fp32"),
        (["--frames", "0"], "--frames must be whole numbers from 1 to 8191"),
        (["--batch", "0"], "--batch must be whole numbers from 1 to 256"),
        (["--batch", "many"], "--batch takes whole numbers between commas, such as 1,8,32, not 'many'"),
        (["--chunk", "0"], "--chunk must be whole numbers from 1 to 300"),
        (["--repeat", "0"], "--repeat must be whole numbers from 1 to 1000"),
        (["--against", "vllm-omni"], "--against knows faster-qwen3-tts and qwen-tts, not 'vllm-omni'"),
        (["--peer-python", "x"], "it goes with --against"),
        (["--text", ""], "--text is empty"),
        (["--text", "...", "--size", "tiny", "--device", "cpu"], "neither a letter nor a digit"),
        (["--device", "tpu"], "device must be 'auto', 'cpu', 'cuda'"),
        (["--out", "no/such/folder/x.json"], "there is no folder no/such/folder"),
        (["--model", "no/such/model.bin", "--device", "cpu"], "there is no such folder"),
        (["--seed", "-1", "--size", "tiny", "--device", "cpu"], "seed must be a whole number"),
    ],
)
def test_nonsense_is_one_line(run: Run, options: list[str], told: str) -> None:
    ran = run("bench", *options, "--json")
    assert ran.code == 2
    assert told in ran.line
    assert ran.out == ""


def test_a_card_that_is_not_there_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ran = run("bench", "--device", "cuda")
    assert ran.code == 3
    assert "PyTorch sees no CUDA card" in ran.line


def test_tuning_prints_a_table_and_the_document(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    task = {"name": "4096x2048", "default": [8, 1024, 4], "sizes": [4, 512, 8], "default_us": 10.5, "best_us": 8.25,
            "noise_us": 0.01, "tried": 24, "refused": ["1x256x1: x"]}  # fmt: skip

    def tune(plan: BenchPlan, on_step: Any) -> dict[str, object]:
        asked["plan"] = plan
        on_step("4096x2048")
        key = {"card": "NVIDIA H200", "capability": "9.0", "triton": "3.4", "torch": "2.8"}
        return {"schema": 1, "kind": "tune", "key": key, "file": "h200.json", "tasks": [task], "chained": True}

    monkeypatch.setattr(tuning, "tune", tune)
    ran = run("bench", "--tune", "--size", "0b6", "--precision", "bf16")
    assert (ran.code, ran.json["kind"]) == (0, "tune")
    assert asked["plan"] == BenchPlan(size="0b6", precisions=("bfloat16",))
    for told in ("NVIDIA H200, compute capability 9.0", "8 x 1024 x 4", "4 x 512 x 8", "8.250", "kept in h200.json"):
        assert told in ran.err, told
    assert run("bench", "--tune", "--json").err == ""


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--device", "cpu"], 3, "--tune measures kernels on an NVIDIA card, and PyTorch sees none"),
        ([], 3, "--tune measures kernels on an NVIDIA card, and PyTorch sees none"),
        (["--precision", "bf16,fp32"], 2, "--tune takes one precision"),
        (["--path", "plain"], 2, "leave --path plain out"),
        (["--quick"], 2, "leave --out, --against and --quick out"),
    ],
)
def test_tuning_without_a_card_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: list[str], code: int, told: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ran = run("bench", "--tune", *options)
    assert (ran.code, told in ran.line, ran.out) == (code, True, "")


def test_a_card_without_fused_kernels_has_nothing_to_tune(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    ran = run("bench", "--tune")
    assert ran.code == 3
    assert "--tune has nothing to tune here: compute capability 7.5: the fused kernels need 8.0" in ran.line


def test_saved_results_are_drawn(run: Run, tmp_path: Path) -> None:
    assert run(*TINY, "--json", "--out", f"{tmp_path}/").code == 0
    ran = run("bench", "--plot", tmp_path, "--json")
    assert (ran.code, ran.json["kind"]) == (0, "bench-plot")
    assert ran.json["files"] == [str(tmp_path / "speed.png"), str(tmp_path / "batches.png")]
    assert run("bench", "--plot", tmp_path).out == "".join(f"wrote {file}\n" for file in ran.json["files"])
    ran = run("bench", "--plot", tmp_path / "none")
    assert (ran.code, "there is no such folder" in ran.line) == (2, True)
    assert run("bench", "--plot", tmp_path, "--tune").code == 2


def test_the_help_says_what_the_defaults_are(run: Run) -> None:
    told = " ".join(run("bench", "--help").out.split()).replace("- ", "-")
    assert "1b7 on a card, pocket on a CPU" in told
    assert "faster-qwen3-tts, qwen-tts" in told
