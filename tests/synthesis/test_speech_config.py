"""config.yaml: round trip, what is refused and how it is said, and that the service probe reads the same keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import BadOutput, UsageError
from toolkit.probe.service_config import read_service_config
from toolkit.synthesis.speech_config import CONFIG_KEYS, SpeechConfig, config_text, read_config, write_config


def config(**changes: object) -> SpeechConfig:
    return SpeechConfig.model_validate({"schema": 1, **changes})


FULL = config(
    model="1.7B-CustomVoice", device="cuda:1", precision="bfloat16", codec_precision="float32", audio_chunk_size=128,
    max_text_length=80, batch=4, chunk_frames=[2, 4, 12], text_table="cpu", speaker="Ryan", language="中文",
    vram_limit="8GB", enable_cleanup=True, why={"audio_chunk_size": "trial 3 of 40", "batch": "因为: 快"},
)  # fmt: skip


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = write_config(FULL, tmp_path / "config.yaml")
    assert read_config(path) == FULL
    assert set(FULL.settings()) == set(CONFIG_KEYS)
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]
    with pytest.raises(BadOutput, match="exists"):
        write_config(config(), path)
    assert read_config(path) == FULL


def test_the_service_probe_reads_the_same_keys(tmp_path: Path) -> None:
    write_config(FULL, tmp_path / "config.yaml")
    found = read_service_config(tmp_path)
    assert found.values["audio_chunk_size"] == 128
    assert found.values["max_text_length"] == 80
    assert found.findings == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("schema: 1\naudio_chunk_size: 0\n", "audio_chunk_size is '0'; allowed is a whole number of frames from 1"),
        ("schema: 1\naudio_chunk_size: '128'\n", "audio_chunk_size is '128'; allowed is a whole number"),
        ("schema: 1\nprecision: bf16\n", "precision is 'bf16'; allowed is auto, bfloat16, float16 or float32"),
        ("schema: 1\naudio_chunk: 128\n", "the key 'audio_chunk' is unknown (did you mean audio_chunk_size?)"),
        ("audio_chunk_size: 128\n", "the key schema is missing; the first line of a config.yaml is 'schema: 1'"),
        ("schema: 2\n", "schema is '2'; allowed is 1, the only version so far"),
        ("schema: 1\nvram_limit: much\n", "vram_limit must be a size such as '6GB'"),
        ("schema: 1\nchunk_frames: [1, 0]\n", "chunk_frames is '[1, 0]'; allowed is a list of 1 to 32"),
        ("schema: 1\nmax_text_length: 5\n", "max_text_length is '5'; allowed is a whole number of characters from 20"),
        ("schema: 1\nenable_cleanup: maybe\n", "enable_cleanup is 'maybe'; allowed is true or false"),
        ("schema: 1\nwhy: {chunk: because}\n", "why names 'chunk', which is no setting"),
        ("schema: 1\nbatch: 1\nbatch: 2\n", "the key batch stands twice; leave one"),
        ("schema: 1\nmodel: &a pocket\nspeaker: *a\n", "holds an alias"),
        ("- 1\n", "holds no settings"),
        ("", "holds no settings"),
        ("schema: [1\n", "is no YAML"),
        ("a: !!python/object:os.system 1\n", "is no YAML"),
        (f"schema: 1\nmodel: {'x' * 70_000}\n", "is larger than 64 KB"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert told in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_config(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="no UTF-8"):
        read_config(tmp_path / "binary.yaml")


def test_a_short_file_has_the_toolkits_own_values(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("schema: 1\n", encoding="utf-8")
    found = read_config(path)
    assert (found.model, found.audio_chunk_size, found.batch, found.text_embedding_on_cpu) == ("pocket", 300, 1, "auto")
    assert "why" not in config_text(found)
    assert "speaker" not in config_text(found)
