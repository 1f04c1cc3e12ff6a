"""A model folder is told apart from everything that is mistaken for one."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from toolkit.errors import BadModelFolder
from toolkit.probe.model_folder import component_of, inspect_model
from toolkit.probe.model_location import locate_model
from troubleshoot.facts import NA

LAYER = (
    "input_layernorm",
    "post_attention_layernorm",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "self_attn.q_norm",
    "self_attn.k_norm",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)


def write_weights(path: Path, arrays: dict[str, np.ndarray], dtype: str) -> None:
    table: dict[str, object] = {}
    position = 0
    for name, array in arrays.items():
        table[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [position, position + array.nbytes]}
        position += array.nbytes
    raw = json.dumps(table).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + b"".join(array.tobytes() for array in arrays.values()))


def decoder(hidden: int, layers: int) -> dict[str, object]:
    return {
        "num_hidden_layers": layers, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4,
        "hidden_size": hidden, "num_code_groups": 3,
    }  # fmt: skip


def main_arrays(hidden: int, layers: int, kind: str) -> dict[str, np.ndarray]:
    names = ["talker.model.text_embedding", "talker.model.codec_embedding", "talker.model.norm"]
    names += [f"talker.model.layers.{layer}.{part}" for layer in range(layers) for part in LAYER]
    names += [f"talker.code_predictor.model.layers.0.{part}" for part in LAYER]
    names += [f"talker.code_predictor.model.codec_embedding.{group}" for group in (0, 1)]
    names += [f"talker.code_predictor.lm_head.{group}" for group in (0, 1)]
    names += ["talker.code_predictor.small_to_mtp_projection"] if hidden != 8 else []
    names += ["speaker_encoder.fc"] if kind == "base" else []
    arrays = {f"{name}.weight": np.full((4,), 0x3F80, "<u2") for name in names}
    arrays["talker.codec_head.weight"] = np.full((5, hidden), 0x3F80, "<u2")
    return arrays


def make_model(folder: Path, kind: str = "custom_voice", size: str = "1b7", hidden: int = 16) -> Path:
    codec = folder / "speech_tokenizer"
    codec.mkdir(parents=True)
    talker = {**decoder(hidden, 2), "text_vocab_size": 100, "max_position_embeddings": 32768}
    talker["code_predictor_config"] = decoder(8, 1)
    config = {"model_type": "qwen3_tts", "tts_model_type": kind, "tts_model_size": size, "talker_config": talker}
    rates = {"decoder_dim": 64, "latent_dim": 32, "upsample_rates": [8, 5, 4, 3], "upsampling_ratios": [2, 2]}
    for name, table in {
        "config.json": config,
        "generation_config.json": {"max_new_tokens": 8192},
        "vocab.json": {"a": 0, "b": 1, "ab": 2},
        "tokenizer_config.json": {},
        "preprocessor_config.json": {},
        "speech_tokenizer/config.json": {"decoder_config": rates},
        "speech_tokenizer/preprocessor_config.json": {},
        "speech_tokenizer/configuration.json": {},
    }.items():
        (folder / name).write_text(json.dumps(table))
    (folder / "merges.txt").write_text("#version: 0.2\na b\n")
    write_weights(folder / "model.safetensors", main_arrays(hidden, 2, kind), "BF16")
    arrays = {"decoder.x": np.ones(3, "<f4"), "encoder.y": np.ones((2, 2), "<f4")}
    write_weights(codec / "model.safetensors", arrays, "F32")
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "Qwen3-TTS-12Hz-1.7B-CustomVoice")


def verdicts(facts: dict[str, object]) -> dict[str, str]:
    files = facts["model.files"]
    assert isinstance(files, list)
    return {row["name"]: row["verdict"] for row in files if row["verdict"] != "ok"}


def test_a_whole_folder_is_complete(model: Path) -> None:
    facts = inspect_model(model)
    assert facts["model.state"] == "complete"
    assert facts["model.problem"] == "none"
    assert facts["model.problem_text"] == ""
    assert (facts["model.size"], facts["model.type"], facts["model.dtype"]) == ("1.7B", "custom-voice", "bfloat16")
    assert facts["model.name"] == "Qwen3-TTS-12Hz-1.7B-CustomVoice"
    assert facts["model.speech_tokenizer"] is True
    assert facts["model.missing_files"] == ""
    assert facts["model.warnings"] == []
    assert facts["model.max_new_tokens"] == 8192
    assert facts["model.talker"] == {
        "layers": 2, "heads": 2, "kv_heads": 1, "head_dim": 4, "hidden": 16, "code_groups": 3
    }  # fmt: skip
    weights = facts["model.weight_bytes"]
    assert isinstance(weights, dict)
    assert weights["codec_decoder"] == {"F32": 12}
    assert weights["codec_encoder"] == {"F32": 16}
    assert weights["text_embedding"] == {"BF16": 8}


@pytest.mark.parametrize(
    ("kind", "size", "hidden", "expected"),
    [("base", "0b6", 8, ("0.6B", "base")), ("voice_design", "1b7", 16, ("1.7B", "voice-design"))],
)
def test_type_and_size_come_from_the_config(
    tmp_path: Path, kind: str, size: str, hidden: int, expected: tuple[str, str]
) -> None:
    facts = inspect_model(make_model(tmp_path / "m", kind, size, hidden))
    assert (facts["model.size"], facts["model.type"]) == expected
    assert facts["model.state"] == "complete"


@pytest.mark.parametrize(
    ("content", "problem", "verdict"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 682293092\n", "lfs-pointer", "lfs-pointer"),
        (b"<html>not found</html>", "html-page", "html-page"),
        (b'{"error":"rate limited"}', "html-page", "json-page"),
        (bytes(9000), "zero-filled", "zero-filled"),
        (b"PK\x03\x04abcdefgh", "pickle", "zip-archive"),
        (b"", "truncated", "empty"),
        (b"\x10\0\0\0\0\0\0\0[]              ", "header-not-json", "header-not-json"),
    ],
)
def test_the_codec_that_is_something_else_is_named(model: Path, content: bytes, problem: str, verdict: str) -> None:
    (model / "speech_tokenizer" / "model.safetensors").write_bytes(content)
    facts = inspect_model(model)
    assert facts["model.state"] == "incomplete"
    assert facts["model.problem"] == problem
    assert facts["model.speech_tokenizer"] is False
    assert verdicts(facts) == {"speech_tokenizer/model.safetensors": verdict}
    assert str(facts["model.problem_text"]).startswith("1 of 9 files are not right: speech_tokenizer/model.")


def test_a_cut_weight_file_tells_both_sizes(model: Path) -> None:
    path = model / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    facts = inspect_model(model)
    assert facts["model.problem"] == "truncated"
    files = facts["model.files"]
    assert isinstance(files, list)
    row = next(row for row in files if row["name"] == "model.safetensors")
    assert (row["bytes"], row["expected_bytes"]) == (len(whole) - 5, len(whole))


def test_missing_files_are_listed(model: Path) -> None:
    for name in ("vocab.json", "speech_tokenizer/config.json", "preprocessor_config.json"):
        (model / name).unlink()
    facts = inspect_model(model)
    assert facts["model.problem"] == "missing-files"
    assert facts["model.missing_files"] == "vocab.json, speech_tokenizer/config.json"
    assert facts["model.warnings"] == ["preprocessor_config.json is missing (synthesis does not read it)"]


def test_a_fast_tokenizer_stands_for_vocabulary_and_merges(model: Path) -> None:
    (model / "vocab.json").unlink()
    (model / "merges.txt").unlink()
    (model / "tokenizer.json").write_text("{}")
    assert inspect_model(model)["model.state"] == "complete"


def test_damaged_small_files_are_named(model: Path) -> None:
    (model / "vocab.json").write_text('{"a": 0, "b"')
    (model / "merges.txt").write_text("<html>no</html>")
    (model / "generation_config.json").write_text("[" * 100_000)
    assert verdicts(inspect_model(model)) == {
        "vocab.json": "not-json",
        "merges.txt": "html-page",
        "generation_config.json": "not-json",
    }


def test_weights_that_do_not_fit_the_config_are_told(model: Path) -> None:
    arrays = main_arrays(8, 1, "custom_voice")
    write_weights(model / "model.safetensors", arrays, "BF16")
    facts = inspect_model(model)
    assert facts["model.problem"] == "missing-tensors"
    assert "talker.model.layers.1.input_layernorm.weight" in str(facts["model.problem_text"])


def test_shards_are_checked_through_the_index(model: Path) -> None:
    arrays = main_arrays(16, 2, "custom_voice")
    names = list(arrays)
    halves = {"a.safetensors": names[:10], "b.safetensors": names[10:]}
    for file, half in halves.items():
        write_weights(model / file, {name: arrays[name] for name in half}, "BF16")
    (model / "model.safetensors").unlink()
    places = {name: file for file, half in halves.items() for name in half}
    index = model / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    assert inspect_model(model)["model.state"] == "complete"
    index.write_text(json.dumps({"weight_map": {**places, "talker.extra": "b.safetensors"}}))
    assert verdicts(inspect_model(model)) == {"b.safetensors": "missing-tensors"}
    (model / "b.safetensors").unlink()
    assert inspect_model(model)["model.missing_files"] == "b.safetensors"


@pytest.mark.parametrize("name", ["../b.safetensors", "/etc/passwd", "a\0b", "C:x", "..", ""])
def test_an_index_that_leaves_the_folder_is_refused(model: Path, name: str) -> None:
    (model / "model.safetensors").unlink()
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": name}}))
    assert verdicts(inspect_model(model)) == {"model.safetensors.index.json": "bad-index"}


def test_pickles_are_warned_about_and_never_a_substitute(model: Path) -> None:
    (model / "voice.pt").write_bytes(b"PK\x03\x04")
    facts = inspect_model(model)
    assert facts["model.state"] == "complete"
    assert facts["model.pickle_files"] == ["voice.pt"]
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    assert inspect_model(model)["model.problem"] == "pickle"


def test_only_what_clones_needs_the_encoder_of_the_codec(model: Path, tmp_path: Path) -> None:
    base = make_model(tmp_path / "base", kind="base")
    for folder in (model, base):
        write_weights(folder / "speech_tokenizer" / "model.safetensors", {"decoder.x": np.ones(3, "<f4")}, "F32")
    assert inspect_model(model)["model.state"] == "complete"
    assert verdicts(inspect_model(base)) == {"speech_tokenizer/model.safetensors": "missing-tensors"}
    write_weights(model / "speech_tokenizer" / "model.safetensors", {"encoder.x": np.ones(3, "<f4")}, "F32")
    assert verdicts(inspect_model(model)) == {"speech_tokenizer/model.safetensors": "missing-tensors"}


def test_values_are_scanned_on_request(model: Path) -> None:
    arrays = main_arrays(16, 2, "custom_voice")
    arrays["talker.codec_head.weight"][1, 2:4] = 0x7FC0
    arrays["talker.model.norm.weight"][0] = 0xFF80
    write_weights(model / "model.safetensors", arrays, "BF16")
    assert isinstance(inspect_model(model)["model.nonfinite_tensors"], NA)
    assert inspect_model(model, scan_values=True)["model.nonfinite_tensors"] == [
        {"file": "model.safetensors", "tensor": "talker.model.norm.weight", "nan": 0, "infinite": 1},
        {"file": "model.safetensors", "tensor": "talker.codec_head.weight", "nan": 2, "infinite": 0},
    ]


@pytest.mark.parametrize(("dtype", "numpy_dtype"), [("F16", "<f2"), ("F32", "<f4"), ("F64", "<f8")])
def test_the_scan_knows_every_float_format(model: Path, dtype: str, numpy_dtype: str) -> None:
    values = np.array([1.0, np.nan, -np.inf, np.finfo(numpy_dtype).max, 0.0], numpy_dtype)
    arrays = {"decoder.x": values, "encoder.y": values[:1]}
    write_weights(model / "speech_tokenizer" / "model.safetensors", arrays, dtype)
    assert inspect_model(model, scan_values=True)["model.nonfinite_tensors"] == [
        {"file": "speech_tokenizer/model.safetensors", "tensor": "decoder.x", "nan": 1, "infinite": 1}
    ]


def in_hub_cache(root: Path, revision: str = "0c0e3051f131929182e2c023b9537f8b1c68adfe") -> Path:
    repo = root / "hub" / "models--Qwen--Qwen3-TTS-12Hz-1.7B-CustomVoice"
    make_model(repo / "snapshots" / revision)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(revision)
    return repo


def test_a_repository_id_is_found_in_the_hub_cache(tmp_path: Path) -> None:
    repo = in_hub_cache(tmp_path)
    for environ in ({"HF_HOME": str(tmp_path)}, {"HF_HUB_CACHE": str(tmp_path / "hub")}):
        facts = inspect_model("Qwen/Qwen3-TTS-12Hz-1.7B-CustomVoice", environ=environ)
        assert facts["model.state"] == "complete"
        assert facts["model.source"] == "hub-cache"
        assert facts["model.name"] == "Qwen/Qwen3-TTS-12Hz-1.7B-CustomVoice"
        assert facts["model.revision"] == "0c0e3051f131929182e2c023b9537f8b1c68adfe"
    for path in (repo, next((repo / "snapshots").iterdir())):
        assert inspect_model(path)["model.name"] == "Qwen/Qwen3-TTS-12Hz-1.7B-CustomVoice"


def test_a_cache_without_a_usable_ref_takes_its_newest_snapshot(tmp_path: Path) -> None:
    repo = in_hub_cache(tmp_path)
    (repo / "refs" / "main").write_text("../../etc")
    location = locate_model(repo)
    assert location.folder.parent.name == "snapshots"
    assert "refs/main names no snapshot" in location.notes[0]


def test_modelscope_names_are_understood(tmp_path: Path) -> None:
    make_model(tmp_path / "hub" / "models" / "Qwen" / "Qwen3-TTS-12Hz-1___7B-Base", "base")
    environ = {"MODELSCOPE_CACHE": str(tmp_path), "HF_HOME": str(tmp_path / "none")}
    location = locate_model("Qwen/Qwen3-TTS-12Hz-1.7B-Base", environ)
    assert (location.source, location.name) == ("modelscope-cache", "Qwen/Qwen3-TTS-12Hz-1.7B-Base")


def test_a_blob_that_is_gone_or_changed_is_told(tmp_path: Path) -> None:
    snapshot = next((in_hub_cache(tmp_path) / "snapshots").iterdir())
    blobs = snapshot.parent.parent / "blobs"
    blobs.mkdir()
    blob = blobs / ("0" * 64)
    (snapshot / "model.safetensors").rename(blob)
    (snapshot / "model.safetensors").symlink_to(blob)
    assert inspect_model(snapshot)["model.state"] == "complete"
    assert verdicts(inspect_model(snapshot, check_hashes=True)) == {"model.safetensors": "wrong-hash"}
    blob.unlink()
    assert verdicts(inspect_model(snapshot)) == {"model.safetensors": "dangling-link"}


@pytest.mark.parametrize("given", ["Qwen/Absent", "/no/such/folder", "", "a\0b", "~nobody-here/x"])
def test_what_is_not_there_is_missing_and_not_an_accident(tmp_path: Path, given: str) -> None:
    facts = inspect_model(given, environ={"HF_HOME": str(tmp_path)})
    assert facts["model.state"] == "missing"
    assert facts["model.problem_text"]
    with pytest.raises(BadModelFolder):
        locate_model(given, {"HF_HOME": str(tmp_path)})


def test_an_empty_folder_or_one_level_too_high_is_told(tmp_path: Path) -> None:
    make_model(tmp_path / "outer" / "inner")
    facts = inspect_model(tmp_path / "outer")
    assert facts["model.state"] == "missing"
    assert facts["model.warnings"] == ["config.json lies one folder deeper, in inner: give that folder"]


def test_links_that_loop_and_odd_names_do_no_harm(model: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / "model.safetensors").symlink_to("model.safetensors")
    (model / "loop").symlink_to(model)
    (model / "\udcff.bin").write_bytes(b"x")
    facts = inspect_model(model)
    assert verdicts(facts) == {"model.safetensors": "unreadable"}


def test_pipes_and_deep_values_do_not_stop_it(model: Path) -> None:
    (model / "generation_config.json").unlink()
    os.mkfifo(model / "generation_config.json")
    config = json.loads((model / "config.json").read_text())
    deep = "[" * 900 + "]" * 900
    text = json.dumps({**config, "tts_model_type": "DEEP", "talker_config": 7}).replace('"DEEP"', deep)
    (model / "config.json").write_text(text)
    facts = inspect_model(model)
    assert verdicts(facts) == {"generation_config.json": "unreadable"}
    assert isinstance(facts["model.type"], NA)
    assert isinstance(facts["model.talker"], NA)


def test_components_follow_the_published_prefixes() -> None:
    assert component_of("model.safetensors", "talker.model.text_embedding.weight") == "text_embedding"
    assert component_of("model.safetensors", "talker.code_predictor.lm_head.0.weight") == "code_predictor"
    assert component_of("model.safetensors", "talker.codec_head.weight") == "talker"
    assert component_of("speech_tokenizer/model.safetensors", "encoder.x") == "codec_encoder"
    assert component_of("model.safetensors", "vision.x") == "other"


def test_the_child_prints_one_json_object(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["model_child", str(model)])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("toolkit.probe.model_child", run_name="__main__")
    facts = json.loads(capsys.readouterr().out)
    assert facts["model.state"] == "complete"
    assert facts["model.nonfinite_tensors"] == {"na": "the values were not scanned"}
