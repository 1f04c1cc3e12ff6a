"""The encoder of the pocket voice's codec, kept beside the tests: recordings become codes that sound like them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from toolkit.acoustics.delivery import measure_delivery
from toolkit.acoustics.pitch import track_pitch
from toolkit.synthesis.codec_config import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, CodecConfig
from toolkit.synthesis.codec_decoder import CodecDecoder
from toolkit.synthesis.codec_encoder import CodecEncoder
from toolkit.synthesis.pocket_voice import FOLDER
from toolkit.synthesis.speaker import load
from toolkit.synthesis.weights import SafetensorsFile

ENCODER = Path(__file__).parent / "pocket_encoder.safetensors"
TEXT = "The train to the coast leaves at nine."


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> tuple[CodecEncoder, CodecDecoder]:
    """Both halves, from one file as a published codec has them."""
    folder = tmp_path_factory.mktemp("codec")
    tensors = {**load_file(FOLDER / "speech_tokenizer" / "model.safetensors"), **load_file(ENCODER)}
    save_file({name: value.float() for name, value in tensors.items()}, folder / "model.safetensors")
    shutil.copy(FOLDER / "speech_tokenizer" / "config.json", folder)
    assert json.loads((folder / "config.json").read_text())["encoder_config"]
    config = CodecConfig.read(folder)
    file = SafetensorsFile(folder / "model.safetensors")
    return CodecEncoder.load(config.encoder, file), CodecDecoder.load(config.decoder, file)


def test_it_is_no_part_of_the_package() -> None:
    stored = load_file(FOLDER / "speech_tokenizer" / "model.safetensors")
    assert not [name for name in stored if name.startswith("encoder.")]
    assert all(name.startswith("encoder.") for name in load_file(ENCODER))
    assert ENCODER.stat().st_size < 4_000_000


@pytest.mark.parametrize("speaker", ["serena", "ryan"])
def test_speech_comes_back_from_its_codes(codec: tuple[CodecEncoder, CodecDecoder], speaker: str) -> None:
    encoder, decoder = codec
    spoken = load("pocket", device="cpu", dtype="float32").speak(TEXT, speaker=speaker, seed=3)
    wave = np.asarray(spoken.samples, np.float32)
    codes = encoder.encode_rows([torch.from_numpy(wave)])[0]
    assert codes.shape == (-(-len(wave) // SAMPLES_PER_FRAME), 16)
    again = torch.cat(list(decoder.pieces(codes.T[None], 300)), 1)[0].numpy()[: len(wave)]
    before, after = (measure_delivery(sound, SAMPLE_RATE_HZ) for sound in (wave, again))
    assert abs(after.level_dbfs - before.level_dbfs) < 6  # what was decoded once is no longer what it was trained on
    assert after.sounding_s == pytest.approx(before.sounding_s, rel=0.1)
    pitches = [track_pitch(sound, SAMPLE_RATE_HZ).f0_hz for sound in (wave, again)]
    both = np.isfinite(pitches[0]) & np.isfinite(pitches[1])
    cents = np.abs(1200 * np.log2(pitches[1][both] / pitches[0][both]))
    assert both.sum() > 50
    assert np.median(cents) < 100
    # Chance would find the same first codes once in 256 frames.
    same = float((codes[:, 0] == torch.from_numpy(spoken.codes[:, 0].astype(np.int64))).float().mean())
    assert same > 0.3
