"""Folders that are no whole model: one clear error each, before the network is built."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from toolkit.errors import BadModelFolder
from toolkit.synthesis.speaker import load

Change = Callable[[Path], None]


def without(name: str) -> Change:
    def change(folder: Path) -> None:
        target = folder / name
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return change


def cut(name: str, keep: int) -> Change:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:keep])  # type: ignore[return-value]


def replaced(name: str, content: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content)  # type: ignore[return-value]


def config(**changes: object) -> Change:
    def change(folder: Path) -> None:
        values: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
        talker = changes.pop("talker_config", {})
        values.update(changes)
        values["talker_config"].update(talker)
        (folder / "config.json").write_text(json.dumps(values), "utf-8")

    return change


def not_a_number(folder: Path) -> None:
    """One value of the codec becomes NaN."""
    path = folder / "speech_tokenizer" / "model.safetensors"
    tensors = {name: values.copy() for name, values in safetensors.numpy.load_file(path).items()}
    tensors["decoder.pre_conv.conv.bias"][3] = np.nan
    safetensors.numpy.save_file(tensors, path)


def other_codec(folder: Path) -> None:
    path = folder / "speech_tokenizer" / "config.json"
    values = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**values, "model_type": "qwen3_tts_tokenizer_25hz"}), "utf-8")


@pytest.fixture
def folder(demo: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy that may be spoiled."""
    return Path(shutil.copytree(demo(), tmp_path / "model"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without("speech_tokenizer"), "the folder speech_tokenizer is missing; without it there is no sound"),
        (without("speech_tokenizer/model.safetensors"), r"model\.safetensors is missing"),
        (without("speech_tokenizer/config.json"), r"config\.json is missing"),
        (without("model.safetensors"), r"model\.safetensors is missing"),
        (without("config.json"), r"config\.json is missing; the folder is not a complete model"),
        (without("generation_config.json"), r"generation_config\.json is missing"),
        (without("vocab.json"), r"vocab\.json is missing"),
        (cut("model.safetensors", 1_000_000), r"is cut off: it has 1000000 bytes and must have"),
        (cut("speech_tokenizer/model.safetensors", 100), "is cut off inside its header"),
        (replaced("model.safetensors", b""), "it is empty"),
        (replaced("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
        (replaced("model.safetensors", b"<!DOCTYPE html><html>"), "it is a web page"),
        (replaced("model.safetensors", safetensors.numpy.save({"a": np.zeros(3, np.float32)})), "tensors are missing"),
        (replaced("config.json", b"{"), "is not JSON"),
        (config(model_type="qwen2"), "not a Qwen3-TTS model"),
        (config(tokenizer_type="qwen3_tts_tokenizer_25hz"), "25 Hz tokenizer are another network"),
        (config(talker_config={"hidden_size": 256}), "tensors have another shape"),
        (not_a_number, "holds NaN, infinity"),
        (other_codec, "only the 12 Hz tokenizer"),
    ],
)
def test_a_spoiled_folder_is_one_clear_error(folder: Path, change: Change, told: str) -> None:
    change(folder)
    with pytest.raises(BadModelFolder, match=told) as caught:
        load(folder, device="cpu")
    assert "\n" not in str(caught.value)
    assert (caught.value.exit_code, caught.value.http_status) == (2, 422)
