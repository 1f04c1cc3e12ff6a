"""Pictures of saved results: what is read from the documents, and that both files are drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from toolkit.bench.document import bench
from toolkit.bench.plan import BenchPlan
from toolkit.bench.plots import BATCHES_FILE, SPEED_FILE, Result, plot, read_results
from toolkit.errors import UsageError

PNG = b"\x89PNG\r\n"


def document(name: str = "NVIDIA H100", *, valid: bool = True, peers: dict[str, Any] | None = None) -> dict[str, Any]:
    run = {
        "dtype": {"value": "bfloat16"}, "warm": {"ms_per_frame": 2.4}, "bandwidth": {"floor_ms_per_frame": 1.5},
        "batches": [{"rows": 8, "x_real_time": 200.0}, {"rows": 1, "x_real_time": 33.0}],
    }  # fmt: skip
    return {
        "schema": 1, "kind": "bench", "valid": valid, "faults": [] if valid else ["the card was slowed down"],
        "config": {"precisions": [{"dtype": "bfloat16", "model": "1b7"}, {"dtype": "float32", "model": "1b7"}]},
        "environment": {"name": name}, "peers": peers or {},
        "runs": [run, run | {"dtype": {"value": "float32"}, "bandwidth": None}, {"precision": "float16"}],
    }  # fmt: skip


def save(folder: Path, name: str, values: object) -> None:
    (folder / name).write_text(json.dumps(values), "utf-8")


def test_each_precision_is_a_result_and_peers_stand_beside_the_first(tmp_path: Path) -> None:
    peers = {
        "faster-qwen3-tts": {"state": "measured", "warm": {"ms_per_frame": 20.3}},
        "qwen-tts": {"state": "not-installed", "reason": "no"},
    }
    save(tmp_path, "b.json", document(peers=peers))
    results, notes = read_results(tmp_path)
    sweep = ((8, 200.0), (1, 33.0))
    assert notes == ()
    assert results == (
        Result("NVIDIA H100\n1b7 bfloat16", {"ours": 2.4, "faster-qwen3-tts": 20.3, "floor": 1.5}, sweep),
        Result("NVIDIA H100\n1b7 float32", {"ours": 2.4}, sweep),
    )


def test_what_is_no_valid_document_is_left_out(tmp_path: Path) -> None:
    save(tmp_path, "a.json", {"kind": "speech"})
    (tmp_path / "b.json").write_text("{", "utf-8")
    save(tmp_path, "c.json", document("Hot card", valid=False))
    with pytest.raises(UsageError, match=r"holds no document .* \(c.json is left out: the card was slowed down\)"):
        plot(tmp_path)
    save(tmp_path, "d.json", document())
    results, notes = read_results(tmp_path)
    assert {result.label.split("\n")[0] for result in results} == {"NVIDIA H100"}
    assert notes == ("c.json is left out: the card was slowed down",)
    with pytest.raises(UsageError, match="there is no such folder"):
        read_results(tmp_path / "none")


def test_both_pictures_are_drawn_and_older_ones_replaced(tmp_path: Path) -> None:
    save(tmp_path, "a.json", document())
    save(tmp_path, "b.json", document("NVIDIA GeForce RTX 4090"))
    (tmp_path / SPEED_FILE).write_text("old")
    files, _ = plot(tmp_path)
    assert files == (tmp_path / SPEED_FILE, tmp_path / BATCHES_FILE)
    for file in files:
        assert file.read_bytes().startswith(PNG)


def test_without_batches_there_is_no_picture_of_them(tmp_path: Path) -> None:
    values = document()
    for run in values["runs"]:
        run.pop("batches", None)
    save(tmp_path, "a.json", values)
    assert [file.name for file in plot(tmp_path)[0]] == [SPEED_FILE]


def test_a_document_of_the_command_itself_can_be_drawn(tmp_path: Path) -> None:
    plan = BenchPlan(size="tiny", device="cpu", quick=True, frames=3, path="fast", against=("faster-qwen3-tts",))
    save(tmp_path, "a.json", bench(plan))
    (result,), _ = read_results(tmp_path)
    assert set(result.ms_per_frame) == {"ours", "floor"}
    assert [rows for rows, _ in result.batches] == [1]
    assert len(plot(tmp_path)[0]) == 2
