"""``qwen-audio speak --config``: values of the file, the command line over them, and wrong files in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import Run

from toolkit.synthesis import speaker

TEXT = "今天天气很好。"


class Stop(Exception):
    """Ends a command where it would load a model."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What ``load`` is called with."""
    found: dict[str, object] = {}

    def load(model: str, **options: object) -> object:
        found.update(options, model=model)
        raise Stop

    monkeypatch.setattr(speaker, "load", load)
    return found


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text("schema: 1\n" + text, encoding="utf-8")
    return path


def test_the_file_is_used_and_the_command_line_wins(run: Run, asked: dict[str, object], tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "audio_chunk_size: 64\nmax_text_length: 40\nprecision: bfloat16\ntext_table: cpu\nenable_cleanup: true\n",
    )
    out = tmp_path / "a.wav"
    run("speak", TEXT, "-o", out, "--config", path)
    assert (asked["audio_chunk_size"], asked["max_text_length"], asked["dtype"]) == (64, 40, "bfloat16")
    assert (asked["text_embedding_on_cpu"], asked["enable_cleanup"], asked["model"]) == (True, True, "pocket")
    run("speak", TEXT, "-o", out, "--config", path, "--audio-chunk-size", 300, "--no-enable-cleanup", "--dtype", "auto")
    assert (asked["audio_chunk_size"], asked["enable_cleanup"], asked["dtype"]) == (300, False, "auto")
    run("speak", TEXT, "-o", out)
    assert (asked["audio_chunk_size"], asked["dtype"], asked["text_embedding_on_cpu"]) == (300, "auto", "auto")


def test_a_speech_with_a_file(run: Run, tmp_path: Path) -> None:
    path = written(tmp_path, "speaker: serena\nbatch: 2\nmax_text_length: 20\nchunk_frames: [3]\n")
    out = tmp_path / "a.wav"
    text = "今天天气很好，我们去公园。明天也许会下雨，我们在家。"
    done = run("speak", text, "-o", out, "--config", path, "--json", "--seed", 1)
    assert done.code == 0
    assert len(done.json["files"][0]["parts"]) == 2
    done = run("speak", TEXT, "-o", tmp_path / "b.wav", "--config", path, "--stream")
    assert done.code == 0


def test_a_wrong_file_is_one_line(run: Run, tmp_path: Path) -> None:
    path = written(tmp_path, "chunk: 5\n")
    done = run("speak", TEXT, "-o", tmp_path / "a.wav", "--config", path)
    assert done.code == 2
    assert "the key 'chunk' is unknown" in done.line
    assert not (tmp_path / "a.wav").exists()
    assert run("speak", TEXT, "-o", tmp_path / "a.wav", "--config", tmp_path / "none.yaml").code == 2


def test_a_speaker_of_the_file_belongs_to_its_model(run: Run, asked: dict[str, object], tmp_path: Path) -> None:
    path = written(tmp_path, "model: 1.7B-CustomVoice\nspeaker: nobody\n")
    run("speak", TEXT, "-o", tmp_path / "a.wav", "--config", path, "--model", "pocket")
    assert asked["model"] == "pocket"  # with him, the names would have been refused before
