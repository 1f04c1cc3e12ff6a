"""``qwen-audio tune chunks``: from trials in children to a config.yaml that speak takes; wrong input in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import Run

from toolkit.synthesis.speech_config import read_config


def test_trials_become_a_config(run: Run, tmp_path: Path) -> None:
    out, study, plot = tmp_path / "config.yaml", tmp_path / "s.sqlite3", tmp_path / "a.png"
    words = ("tune", "chunks", "--model", "tiny", "--device", "cpu", "--runs", 1, "--text", "今天天气很好。")
    files = ("--study", study, "--out", out)
    # 200 MB hold the toy, and no Python: it passes the forecast and fails when it is measured.
    small = run(*words, "--trials", 1, "--vram-limit", "200MB", "--study", tmp_path / "small.sqlite3", "--out", out)
    assert small.code == 3
    assert "took 0." in small.err
    assert not out.exists()
    done = run(*words, *files, "--trials", 1, "--plot", plot, "--json")
    assert done.code == 0, done.err
    assert done.json["best"] == 0
    assert done.json["trials"][0]["values"]["peak_bytes"] > 10**8
    assert "trial 0 of 1 on CPU, 1 runs in a row" in read_config(out).why["model"]
    assert plot.stat().st_size > 5000
    assert run(*words, *files, "--trials", 1).code == 2  # it exists
    again = run(*words, *files, "--trials", 1, "--overwrite")
    assert again.code == 0
    assert "1 trials: 1 passed" in again.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--aim", "fast"), "aim must be one of time, first-audio, both, not 'fast'"),
        (("--trials", 0), "trials must be a whole number"),
        (("--runs", 0), "runs must be a whole number"),
        (("--precision", "bf8"), "precision takes bf16, fp16, fp32"),
        (("--text", " "), "the text is empty"),
        (("--plot", "a.txt"), "a picture ends in .png"),
        (("--timeout-s", 0), "deadline_s must be"),
    ],
)
def test_wrong_input_is_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[object, ...], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("tune", "chunks", *words)
    assert done.code == 2
    assert told in done.line
    assert list(tmp_path.iterdir()) == []


def test_presets_are_shown_with_their_source(run: Run) -> None:
    lines = run("tune", "chunks", "--presets").out.splitlines()
    assert len(lines) == 12
    assert all("forecast: " in line or "measured: " in line for line in lines)
    assert len(run("tune", "chunks", "--presets", "--json").json["presets"]) == 12
