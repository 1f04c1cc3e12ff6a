"""The codec that is trained is the codec that the toolkit runs: names, shapes, codes and waves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from toolkit.synthesis.codec_config import CodecConfig
from toolkit.synthesis.codec_decoder import CodecDecoder
from toolkit.synthesis.codec_encoder import CodecEncoder
from toolkit.synthesis.demo_shapes import codec_json
from toolkit.synthesis.demo_tensors import codec_plan
from toolkit.synthesis.weights import SafetensorsFile
from training.pocket.codec_net import Codec, initialise
from training.pocket.shape import POCKET, SMOKE


@pytest.fixture(scope="module")
def codec() -> Codec:
    torch.manual_seed(3)
    codec = Codec(SMOKE)
    initialise(codec)
    for parameter in codec.parameters():
        if parameter.ndim == 1:
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    for _ in range(3):
        codec.quantize(*codec.encoder(torch.randn(2, 1920 * 6) * 0.2), learn=True)
    return codec.eval()


@pytest.mark.parametrize("shape", [POCKET, SMOKE])
def test_tensors_are_named_and_shaped_as_released(shape: object) -> None:
    planned = {plan.name: plan.shape for plan in codec_plan(shape)}  # type: ignore[arg-type]
    found = {name: tuple(value.shape) for name, value in Codec(shape).file_tensors().items()}  # type: ignore[arg-type]
    assert found == planned


def test_decoding_is_that_of_the_toolkit(codec: Codec, tmp_path: Path) -> None:
    config, file = _written(codec, tmp_path)
    codes = torch.randint(0, SMOKE.codebook, (2, 16, 90))
    assert torch.allclose(CodecDecoder.load(config.decoder, file).decode(codes), codec.decode(codes), atol=1e-5)


def test_encoding_is_that_of_the_toolkit(codec: Codec, tmp_path: Path) -> None:
    config, file = _written(codec, tmp_path)
    wave = torch.randn(1, 1920 * 20) * 0.2
    theirs = CodecEncoder.load(config.encoder, file).encode(wave)
    ours = codec.encode(wave)
    assert theirs.shape == ours.shape
    assert (theirs == ours).float().mean() > 0.99


def test_the_decoder_is_causal(codec: Codec) -> None:
    codes = torch.randint(0, SMOKE.codebook, (1, 16, 12))
    changed = codes.clone()
    changed[..., 8:] = (changed[..., 8:] + 1) % SMOKE.codebook
    assert torch.allclose(codec.decode(codes)[:, : 8 * 1920], codec.decode(changed)[:, : 8 * 1920], atol=1e-6)


def test_entries_move_to_what_is_assigned_to_them() -> None:
    torch.manual_seed(0)
    codec = Codec(SMOKE)
    centres = torch.randn(4, SMOKE.encoder_codebook_dim) * 3
    data = centres[torch.randint(0, 4, (1, 600))].transpose(1, 2) + 0.01 * torch.randn(
        1, SMOKE.encoder_codebook_dim, 600
    )
    first = codec.quantize(data, data, learn=True).commitment
    for _ in range(60):
        codec.quantize(data, data, learn=True)
    assert codec.quantize(data, data, learn=False).commitment < 0.02 * first


def test_what_was_saved_is_loaded(codec: Codec) -> None:
    other = Codec(SMOKE)
    other.load_file_tensors(codec.file_tensors())
    codes = torch.randint(0, SMOKE.codebook, (1, 16, 5))
    assert torch.equal(other.decode(codes), codec.decode(codes))


def _written(codec: Codec, folder: Path) -> tuple[CodecConfig, SafetensorsFile]:
    save_file(codec.file_tensors(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(codec_json(SMOKE)), "utf-8")  # type: ignore[arg-type]
    return CodecConfig.read(folder), SafetensorsFile(folder / "model.safetensors")
