"""Peers run in their own interpreter: installed, missing, crashing or silent, each is an answer and never our error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from toolkit.bench.peer_child import PromptReader
from toolkit.bench.peers import PEER_SCRIPT, measure_peer, peer_request
from toolkit.bench.plan import PEERS, TEXT, BenchPlan
from toolkit.bench.table import tables_of
from toolkit.probe.runner import ChildOutcome

FAKE_OFFICIAL = """
import numpy as np

print("a package that greets on standard output")


class Qwen3TTSModel:
    @classmethod
    def from_pretrained(cls, folder, **options):
        if not (options["dtype"].is_floating_point and options["device_map"] == "cpu"):
            raise ValueError("other options")
        return cls()

    def get_supported_speakers(self):
        return {"vivian", "serena"}

    def generate_custom_voice(self, text, language, speaker, max_new_tokens):
        rows = 1 if isinstance(text, str) else len(text)
        assert speaker == ("serena" if rows == 1 else ["serena"] * rows)
        return [np.zeros(1920 * (max_new_tokens - 1), np.float32)] * rows, 24000
"""


@pytest.fixture
def pocket_plan() -> BenchPlan:
    return BenchPlan(
        size="pocket", device="cpu", frames=12, repeats=2, batches=(1, 3), against=PEERS, quick=True
    ).settled("cpu")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a module where the child finds it."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def put(name: str, source: str) -> None:
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")

    return put


def test_a_peer_that_is_not_installed_is_said_to_be(pocket_plan: BenchPlan, install: Any) -> None:
    found = {name: measure_peer(pocket_plan, name, "float32", "cpu") for name in PEERS}
    assert found["qwen-tts"] == {"state": "not-installed", "reason": f"no module qwen_tts in {sys.executable}"}
    assert found["faster-qwen3-tts"]["state"] == "not-installed"
    assert "faster_qwen3_tts" in str(found["faster-qwen3-tts"]["reason"])


def test_an_installed_peer_is_measured(pocket_plan: BenchPlan, install: Callable[[str, str], None]) -> None:
    install("qwen_tts", FAKE_OFFICIAL)
    install("faster_qwen3_tts", "")
    found: Any = {name: measure_peer(pocket_plan, name, "float32", "cpu") for name in PEERS}
    official = found["qwen-tts"]
    assert official["state"] == "measured", official
    assert official["warm"]["frames"] == 12
    assert official["warm"]["audio_s"] == pytest.approx(0.96)
    assert official["warm"]["x_real_time"] > 1
    assert [(row["rows"], row["frames"]) for row in official["batches"]] == [(3, 36)]
    assert official["memory"]["peak_resident_bytes"] > 10**7
    assert official["versions"]["torch"]
    faster = found["faster-qwen3-tts"]
    assert (faster["state"], faster["reason"]) == ("not-here", "it needs a CUDA card")


def test_a_peer_that_raises_is_an_answer(pocket_plan: BenchPlan, install: Callable[[str, str], None]) -> None:
    install("qwen_tts", "raise RuntimeError('broken\\ninstallation')")
    found = measure_peer(pocket_plan, "qwen-tts", "float32", "cpu")
    assert (found["state"], found["reason"]) == ("failed", "RuntimeError: broken installation")


def test_a_peer_that_dies_is_an_answer(pocket_plan: BenchPlan, install: Callable[[str, str], None]) -> None:
    install("qwen_tts", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    found = measure_peer(pocket_plan, "qwen-tts", "float32", "cpu")
    assert found["state"] == "failed"
    assert "SIGKILL" in str(found["reason"])


def test_an_interpreter_that_is_not_there_is_an_answer(tmp_path: Path) -> None:
    plan = BenchPlan(size="tiny", against=("qwen-tts",), peer_python=(str(tmp_path / "python"),)).settled("cpu")
    found = measure_peer(plan, "qwen-tts", "float32", "cpu")
    assert found["state"] == "not-here"
    assert "could not be started" in str(found["reason"])


def test_a_peer_gets_our_shapes_text_and_frames() -> None:
    asked: list[dict[str, Any]] = []
    interpreters: list[str] = []

    def run(words: list[str], **options: Any) -> ChildOutcome:
        assert words[1:] == [str(PEER_SCRIPT)]
        interpreters.append(words[0])
        asked.append(json.loads(options["input"]))
        return ChildOutcome("ok", 0, None, '{"state": "measured"}\n', (), 1.0)

    plan = BenchPlan(size="1b7", against=PEERS, peer_python=("all/python", "qwen-tts=~/python")).settled("cuda")
    for name in PEERS:
        assert measure_peer(plan, name, "bfloat16", "cuda:0", run=run) == {"state": "measured"}
    assert interpreters == ["all/python", str(Path("~/python").expanduser())]
    faster, official = asked
    assert (faster["frames"], official["frames"]) == (333, 60)
    assert (faster["batches"], official["batches"]) == ([], [8, 32])
    for request in asked:
        assert (request["text"], request["dtype"], request["device"]) == (TEXT, "bfloat16", "cuda:0")
        assert (request["folder"], request["threads"]) == (None, None)
        assert request["model_config"]["talker_config"]["num_hidden_layers"] == 28
        assert request["codec_config"]["decoder_config"]["decoder_dim"] == 1536


def test_a_trained_model_goes_to_the_peer_by_its_folder(pocket_plan: BenchPlan) -> None:
    request = peer_request(pocket_plan, "qwen-tts", "float32", "cpu")
    assert Path(str(request["folder"]), "model.safetensors").is_file()
    assert "model_config" not in request
    assert request["threads"] == torch.get_num_threads()


def test_the_stand_in_for_the_text_processor_keeps_the_template() -> None:
    read = PromptReader(im_start=900, im_end=901, assistant=77, vocab=800)
    spoken = "<|im_start|>assistant\nab<|im_end|>\n<|im_start|>assistant\n"
    ids = read(spoken, return_tensors="pt", padding=True)["input_ids"][0].tolist()
    assert ids == [900, 77, 198, 97, 98, 901, 198, 900, 77, 198]
    instruction = "<|im_start|>user\n风<|im_end|>\n"
    ids = read(instruction)["input_ids"][0].tolist()
    assert len(ids) == 3 + 1 + 2
    assert 0 <= ids[3] < 800


def test_the_table_shows_how_many_times_as_long_a_peer_takes() -> None:
    from rich.console import Console

    document = {
        "runs": [
            {"precision": "bfloat16", "warm": {"ms_per_frame": 2.5, "x_real_time": 32.0}, "error": "RuntimeError: y",
             "repeats": {"asked": 50, "outcome": "failed at run 7", "mean_s": 0.78, "error": "OutOfMemory: x",
                         "memory": {"peak_allocated_bytes": 4_800_000_000}}},
        ],
        "config": {"weights": "random", "frames": 333, "precisions": [{"model": "random-1b7"}]},
        "config_sha256": "ab" * 32,
        "environment": {"name": "Card", "torch": "2.11"},
        "cold": None,
        "peers": {
            "qwen-tts": {"state": "measured", "warm": {"ms_per_frame": 108.5, "x_real_time": 0.73}, "streams": []},
            "faster-qwen3-tts": {"state": "not-installed", "reason": "no module"},
        },
        "notes": ["a note"],
        "valid": False,
        "faults": ["the card was slowed down"],
    }  # fmt: skip
    console = Console(width=110, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(tables_of(document))
    text = captured.get()
    for told in (
        "43.40 x as long", "not-installed", "failed at run 7", "OutOfMemory: x", "4.80", "0.780", "a note",
        "INVALID: the card was slowed down", "random-1b7 (random weights) on Card", "settings abababababab",
    ):  # fmt: skip
        assert told in text, text
