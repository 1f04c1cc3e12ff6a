"""The recipe from end to end, in its smallest size: every stage runs, leaves its result, and is not done twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from training.pocket import run
from training.pocket.plan import Folder
from training.pocket.run import STAGE_ORDER

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    root = tmp_path_factory.mktemp("pocket") / "run"
    command = [sys.executable, "-m", "training.pocket.run", "--smoke", "--folder", str(root)]
    # One thread each: matrices of this size are multiplied before a second thread is awake.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--device", "cpu", "--workers", "2"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return Folder(root)


def test_every_stage_leaves_its_result(folder: Folder) -> None:
    results = (folder.recogniser, folder.decoder, folder.encoder, folder.codes, folder.model / "model.safetensors")
    assert [path for path in results if not path.is_file()] == []
    log = folder.log.read_text("utf-8")
    assert [name for name in STAGE_ORDER if f"{name}: done" not in log] == []


def test_the_figures_name_every_bound(folder: Folder) -> None:
    figures = json.loads((folder.evaluation / "figures.json").read_text("utf-8"))
    table = (folder.evaluation / "figures.md").read_text("utf-8")
    assert figures["errors"].keys() >= {"espeak", "whole", "steps"}
    for figure in ("English phone error", "Mandarin syllable error", "Mandarin tone error", "stops within"):
        assert figure in table


def test_a_second_run_does_nothing_again(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.root.rglob("*.safetensors")}
    stages = ",".join(name for name in STAGE_ORDER if name != "codec-check")
    arguments = ["--smoke", "--folder", str(folder.root), "--device", "cpu", "--workers", "1"]
    assert run.main([*arguments, "--stages", stages]) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.root.rglob("*.safetensors")} == before
    assert "step" not in capsys.readouterr().out


def test_an_unknown_stage_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run.main(["--stages", "data,tlaker", "--folder", str(tmp_path)]) == 2
    assert "tlaker" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
