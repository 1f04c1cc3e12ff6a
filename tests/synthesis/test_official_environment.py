"""The script that makes an environment with the official package: what it leaves alone and what it makes anew."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import official_env


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Child processes that would have been started; all of them end well."""
    started: list[list[str]] = []

    def run(words: list[object], **_: object) -> subprocess.CompletedProcess[str]:
        started.append([str(word) for word in words[1:]])
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(official_env.subprocess, "run", run)
    monkeypatch.setattr(official_env.venv, "create", lambda *_, **__: None)
    return started


def test_an_environment_gets_pytorch_first_and_then_the_pinned_package(
    tmp_path: Path, commands: list[list[str]]
) -> None:
    python = official_env.make_environment(tmp_path / "env")
    assert python.is_relative_to(tmp_path / "env")
    installs = [words[4:] for words in commands if words[:2] == ["-m", "pip"]]
    assert installs == [["install", "torch==2.13.0"], ["install", "qwen-tts==0.1.1", "torch==2.13.0"]]


def test_a_finished_environment_is_left_as_it_is(tmp_path: Path, commands: list[list[str]]) -> None:
    official_env.make_environment(tmp_path / "env")
    commands.clear()
    official_env.make_environment(tmp_path / "env")
    assert commands == [["-c", "import qwen_tts"]]


def test_one_that_was_broken_off_is_made_anew(tmp_path: Path, commands: list[list[str]]) -> None:
    folder = tmp_path / "env"
    official_env.make_environment(folder)
    (folder / ".official-environment").write_text("unfinished\n", encoding="utf-8")
    (folder / "left-over").write_text("", encoding="utf-8")
    commands.clear()
    official_env.make_environment(folder)
    assert not (folder / "left-over").exists()
    assert sum(words[:2] == ["-m", "pip"] for words in commands) == 2


def test_another_folder_is_not_touched(tmp_path: Path, commands: list[list[str]]) -> None:
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(FileExistsError, match="not an environment of this script"):
        official_env.make_environment(tmp_path)
    assert commands == []
    assert (tmp_path / "letter.txt").read_text(encoding="utf-8") == "dear"
