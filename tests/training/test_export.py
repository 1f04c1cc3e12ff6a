"""The finished folder: the released layout, whole or not at all, and not too large."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from talker_samples import codec_state, model_folder, talker_net, vocabulary

from toolkit.synthesis.codec_config import CodecConfig
from toolkit.synthesis.config import ModelConfig
from toolkit.synthesis.demo_tensors import codec_plan, model_plan
from training.pocket import export as module
from training.pocket.bpe import write_tokenizer
from training.pocket.export import export
from training.pocket.shape import POCKET, SMOKE, text_rows


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    write_tokenizer(tmp_path / "tokenizer", vocabulary())
    return tmp_path / "tokenizer"


def test_the_folder_has_the_released_layout(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, talker_net())
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert files == [
        "config.json",
        "generation_config.json",
        "merges.txt",
        "model.safetensors",
        "preprocessor_config.json",
        "speech_tokenizer/config.json",
        "speech_tokenizer/configuration.json",
        "speech_tokenizer/model.safetensors",
        "speech_tokenizer/preprocessor_config.json",
        "tokenizer_config.json",
        "vocab.json",
    ]
    config = ModelConfig.read(folder)
    assert (config.kind, config.instructs, config.dialects) == ("custom_voice", True, {})
    assert config.languages == ("auto", "chinese", "english")
    assert len(config.speakers) == 9
    assert config.generation.max_new_tokens == 512
    assert (config.generation.temperature, config.generation.subtalker_top_k) == (0.9, 50)
    assert config.talker.text_vocab == text_rows(len(vocabulary()))
    codec = CodecConfig.read(folder / "speech_tokenizer")
    assert (codec.decoder.window, codec.decoder.codebook_size) == (72, SMOKE.codebook)
    assert json.loads((folder / "config.json").read_text("utf-8"))["tts_model_size"] == "1b7"


def test_weights_are_stored_in_bf16_and_codebooks_as_their_entries(tmp_path: Path) -> None:
    net = talker_net()
    folder = model_folder(tmp_path, net)
    stored = load_file(folder / "model.safetensors")
    assert {name: value.dtype for name, value in stored.items()} == dict.fromkeys(net.state_dict(), torch.bfloat16)
    assert all(torch.equal(stored[name], value.bfloat16()) for name, value in net.state_dict().items())
    codec, state = load_file(folder / "speech_tokenizer" / "model.safetensors"), codec_state()
    assert set(codec) == {plan.name for plan in codec_plan(SMOKE) if plan.name.startswith("decoder.")}
    book = "decoder.quantizer.rvq_rest.vq.layers.3._codebook."
    entries = state[book + "embedding_sum"] / state[book + "cluster_usage"].clamp(min=1e-5)[:, None]
    assert torch.equal(codec[book + "embedding_sum"], entries.bfloat16())
    assert (codec[book + "cluster_usage"] == 1).all()


def test_the_encoder_goes_to_a_file_of_its_own(tmp_path: Path, tokenizer: Path) -> None:
    state = codec_state()
    encoder = tmp_path / "beside" / "encoder.safetensors"
    lines: list[str] = []
    total = export(
        tmp_path / "model",
        talker_net().state_dict(),
        state,
        tokenizer,
        encoder_file=encoder,
        shape=SMOKE,
        log=lines.append,
    )
    stored = load_file(encoder)
    assert set(stored) == {name for name in state if name.startswith("encoder.")}
    assert all(torch.equal(value, state[name]) for name, value in stored.items())
    assert total == sum(path.stat().st_size for path in (tmp_path / "model").rglob("*") if path.is_file())
    assert lines[-1] == f"{total / 1e6:8.3f} MB  in all"
    assert len(lines) == 12


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("talker.model.norm.weight", None, "the talker: 1 tensors are missing"),
        ("talker.more.weight", torch.zeros(1), "the talker: 0 tensors are missing .*1 unknown"),
        ("talker.model.norm.weight", torch.zeros(3), r"norm.weight is \[3\] instead of \[48\]"),
        ("talker.model.norm.weight", torch.full((48,), torch.nan), "norm.weight is not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path, tokenizer: Path, name: str, value: torch.Tensor | None, message: str
) -> None:
    state = talker_net().state_dict()
    state.pop(name, None)
    if value is not None:
        state[name] = value
    with pytest.raises(ValueError, match=message):
        export(tmp_path / "model", state, codec_state(), tokenizer, shape=SMOKE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tokenizer"]


def test_a_folder_that_is_too_large_does_not_appear(
    tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 300_000)
    with pytest.raises(ValueError, match=r"the folder has 0\.\d MB; it may have 0"):
        export(tmp_path / "model", talker_net().state_dict(), codec_state(), tokenizer, shape=SMOKE, log=lambda _: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tokenizer"]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, tokenizer: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(ValueError, match="is not empty"):
        export(tmp_path / "model", talker_net().state_dict(), codec_state(), tokenizer, shape=SMOKE)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["notes.txt"]


def test_the_pocket_voice_fits_into_the_package() -> None:
    rows = 6400
    plans = [*model_plan("custom_voice", POCKET, rows, 0.0), *codec_plan(POCKET)]
    elements = sum(torch.Size(plan.shape).numel() for plan in plans if not plan.name.startswith("encoder."))
    assert 2 * elements + 500_000 < module.MOST_BYTES
