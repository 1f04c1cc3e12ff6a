"""Demo checkpoints: the bytes of the goldens, the published layout, and nothing half-written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_set import GoldenSet
from safetensors import safe_open

from toolkit.errors import UsageError
from toolkit.synthesis import demo_model
from toolkit.synthesis.codec_config import CodecConfig
from toolkit.synthesis.config import ModelConfig
from toolkit.synthesis.demo_model import make_demo_model
from toolkit.synthesis.demo_shapes import ADDED_TOKENS, Kind, Size, model_json, model_shape
from toolkit.synthesis.demo_tensors import CodebookSum, Normal, Ones, TensorPlan, Uniform, Usage, codec_plan, model_plan

Checkpoints = Callable[[str], Path]
ASSETS = Path(demo_model.__file__).parent / "assets"


def test_every_golden_checkpoint_is_rebuilt_bit_for_bit(goldens: GoldenSet, checkpoint: Checkpoints) -> None:
    assert len(goldens.checkpoints) == 11
    for name in goldens.checkpoints:
        assert (checkpoint(name) / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("kind", "size", "tensors", "file_bytes"),
    [
        ("voice_design", "1b7", 404, 3_833_402_552),
        ("custom_voice", "1b7", 404, 3_833_402_552),
        ("base", "1b7", 480, 3_857_413_744),
        ("base", "0b6", 478, 1_829_344_272),
        ("custom_voice", "0b6", 402, None),
    ],
)
def test_real_models_have_the_published_tensors(kind: Kind, size: Size, tensors: int, file_bytes: int | None) -> None:
    plans = list(model_plan(kind, model_shape("real", size), 151936, 0.0))
    assert len({plan.name for plan in plans}) == len(plans) == tensors
    if file_bytes is not None:
        header = file_bytes - sum(math.prod(plan.shape) for plan in plans) * 2
        assert 90 * tensors < header < 140 * tensors


def test_the_real_codec_has_the_published_tensors() -> None:
    plans = list(codec_plan(model_shape("real", "1b7")))
    assert len(plans) == 496
    assert 0 < 682_293_092 - sum(math.prod(plan.shape) for plan in plans) * 4 < 100_000


@pytest.mark.parametrize("kind", ["custom_voice", "voice_design", "base"])
@pytest.mark.parametrize("size", ["1b7", "0b6"])
def test_a_demo_model_is_a_model_folder(tmp_path: Path, kind: Kind, size: Size) -> None:
    made = make_demo_model(tmp_path / "deep" / "model", kind, size, seed=3)
    assert made.folder == tmp_path / "deep" / "model"
    config = ModelConfig.read(made.folder)
    assert (config.kind, config.size, config.codebook_size) == (kind, size, 256)
    assert ("vivian" in config.speakers) is (kind == "custom_voice")
    assert CodecConfig.read(made.folder / "speech_tokenizer").decoder.codebook_size == 256
    assert sorted(path.name for path in made.folder.parent.iterdir()) == ["model"]
    assert sum(path.stat().st_size for path in made.folder.rglob("*") if path.is_file()) < 8_000_000


def test_the_seed_alone_decides_the_bytes(tmp_path: Path) -> None:
    first, again, other = (
        make_demo_model(tmp_path / str(index), seed=seed).sha256 for index, seed in enumerate((1, 1, 2))
    )
    assert first == again
    assert not set(first.values()) & set(other.values())


def test_values_are_read_back_by_the_safetensors_library(tmp_path: Path) -> None:
    made = make_demo_model(tmp_path / "model")
    with safe_open(made.folder / "model.safetensors", "pt") as file:
        head = file.get_tensor("talker.codec_head.weight")
        assert head.dtype == torch.bfloat16
        assert file.metadata() == {"format": "pt"}
    with safe_open(made.folder / "speech_tokenizer" / "model.safetensors", "pt") as file:
        usage = file.get_tensor("decoder.quantizer.rvq_first.vq.layers.0._codebook.cluster_usage")
        assert usage.dtype == torch.float32
        assert 0 < int((usage < 1e-5).sum()) < 20


def test_the_end_of_speech_row_is_scaled(tmp_path: Path) -> None:
    def row(scale: float | None, name: str) -> torch.Tensor:
        made = make_demo_model(tmp_path / name, eos_scale=scale)
        with safe_open(made.folder / "model.safetensors", "pt") as file:
            return file.get_tensor("talker.codec_head.weight")[ModelConfig.read(made.folder).talker.codec_eos].float()

    usual, none = row(None, "a"), row(0.0, "b")
    assert not none.any()
    assert (row(2.7, "c") / usual).median() == pytest.approx(2.0, rel=0.02)


def test_the_full_vocabulary_has_the_published_ids(checkpoint: Checkpoints) -> None:
    folder = checkpoint("cv_1b7_fullvocab")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert {name: config[name] for name in config if name.endswith("_token_id") and name != "assistant_token_id"} == {
        "im_start_token_id": 151644,
        "im_end_token_id": 151645,
        "tts_pad_token_id": 151671,
        "tts_bos_token_id": 151672,
        "tts_eos_token_id": 151673,
    }
    assert config["talker_config"]["text_vocab_size"] == 151936
    assert len(json.loads((folder / "vocab.json").read_text("utf-8"))) == 151643
    assert len(ADDED_TOKENS) == 33


def test_real_ids_are_the_published_ones() -> None:
    config = model_json("custom_voice", "0b6", "real", base_vocab=151643, text_vocab=151936, assistant_id=77091)
    talker = config["talker_config"]
    assert isinstance(talker, dict)
    assert (talker["codec_eos_token_id"], talker["codec_language_id"]["chinese"], talker["spk_id"]["eric"]) == (
        2150,
        2055,
        2875,
    )
    assert talker["spk_is_dialect"] == dict.fromkeys(talker["spk_id"], False) | {
        "eric": "sichuan_dialect",
        "dylan": "beijing_dialect",
    }


def test_only_custom_voice_knows_dialects(tmp_path: Path) -> None:
    config = ModelConfig.read(make_demo_model(tmp_path / "model", "base").folder)
    assert len(config.language_ids) == 10
    assert not config.dialects


def test_the_tokenizer_files_are_small() -> None:
    assert sum(path.stat().st_size for path in ASSETS.iterdir()) < 100_000


PLANS = [
    TensorPlan("w", (60, 1000, 3), Normal(0.25)),
    TensorPlan("centred", (50, 4000), Normal(2.0, centred=True)),
    TensorPlan("head", (40, 5000), Normal(1.0, scaled_row=(33, 0.0))),
    TensorPlan("gain", (9000,), Uniform(0.6, 1.4)),
    TensorPlan("u", (7000,), Usage()),
    TensorPlan("sums", (7000, 3), CodebookSum(0.5, "u")),
    TensorPlan("one", (1,), Ones()),
]


@pytest.mark.parametrize("source", [demo_model._BlockValues, demo_model._PortableValues])
def test_values_have_the_spread_that_was_planned(
    source: Callable[[int], demo_model._BlockValues], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_model, "_BLOCK_ELEMENTS", 10_000)
    values = source(11)
    found = {plan.name: np.concatenate(list(values.blocks(plan))) for plan in PLANS}
    assert {name: array.shape for name, array in found.items()} == {plan.name: plan.shape for plan in PLANS}
    assert all(array.dtype == np.float32 for array in found.values())
    assert found["w"].std() == pytest.approx(0.25, rel=0.02)
    assert np.abs(found["centred"].mean(1)).max() < 1e-5
    assert found["centred"].std() == pytest.approx(2.0, rel=0.02)
    assert [row for row in range(40) if not found["head"][row].any()] == [33]
    assert 0.6 <= found["gain"].min() < 0.61 < 1.39 < found["gain"].max() <= 1.4
    assert (found["sums"] / np.maximum(found["u"], 1e-5)[:, None]).std() == pytest.approx(0.5, rel=0.03)
    assert found["one"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "custom"}, "kind must be one of custom_voice, voice_design, base, found 'custom'"),
        ({"size": "7b"}, "size must be one of 1b7, 0b6"),
        ({"scale": "huge"}, "scale must be one of tiny, small, real"),
        ({"eos_scale": math.nan}, "eos_scale must be a finite number"),
    ],
)
def test_unknown_words_are_refused(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_demo_model(tmp_path / "model", **arguments)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(UsageError, match="exists and is not an empty folder"):
        make_demo_model(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert (make_demo_model(tmp_path / "model").folder / "config.json").is_file()


def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(demo_model, "_encode", full)
    with pytest.raises(UsageError, match="cannot be written: No space left on device"):
        make_demo_model(tmp_path / "model")
    assert not list(tmp_path.iterdir())
