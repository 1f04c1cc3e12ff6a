"""The speaker encoder and its spectrogram: the official vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from codec_models import reference, speaker_at
from golden_set import GoldenSet

from toolkit.errors import BadAudio, BadModelFolder
from toolkit.synthesis.config import ModelConfig, SpeakerEncoderConfig
from toolkit.synthesis.demo_shapes import model_shape
from toolkit.synthesis.demo_tensors import model_plan
from toolkit.synthesis.mel import MIN_MEL_SAMPLES, log_mel, mel_filters
from toolkit.synthesis.speaker_encoder import PREFIX, SpeakerEncoder, speaker_encoder_tensors
from toolkit.synthesis.weights import SafetensorsFile

Checkpoints = Callable[[str], Path]
TINY = "base_1b7_a"
SPEAKER_TOLERANCE = 1e-5  # a tenth of what the goldens ask for


def test_references_give_the_official_vectors(goldens: GoldenSet, checkpoint: Checkpoints) -> None:
    compared = 0
    for name in goldens.checkpoints:
        for case in goldens.cases(name):
            if case.method != "voice_clone":
                continue
            for row in range(case.batch):
                found = speaker_at(checkpoint(name)).embed(reference(goldens, case.reference(row))[None])[0]
                assert np.abs(found.numpy() - case.needed(row, "spk_embedding")).max() < SPEAKER_TOLERANCE
                compared += 1
    assert compared > 30


def test_a_batch_is_its_rows(goldens: GoldenSet, checkpoint: Checkpoints) -> None:
    encoder = speaker_at(checkpoint(TINY))
    waves = torch.stack([reference(goldens, name)[:20_000] for name in ("ref_a", "ref_b", "ref_c")])
    alone = torch.cat([encoder.embed(wave[None]) for wave in waves])
    assert (encoder.embed(waves) - alone).abs().max() < SPEAKER_TOLERANCE
    assert alone.std(0).mean() > 0.1


def test_a_bfloat16_vector_points_where_the_float32_one_does(goldens: GoldenSet, checkpoint: Checkpoints) -> None:
    wave = reference(goldens, "ref_a")[None]
    exact = speaker_at(checkpoint(TINY)).embed(wave)
    rough = speaker_at(checkpoint(TINY), torch.bfloat16).embed(wave)
    assert rough.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(exact, rough.float())[0] > 0.99


def test_the_vector_has_the_width_of_the_talker(checkpoint: Checkpoints) -> None:
    for name in (TINY, "base_0b6_a"):
        encoder = speaker_at(checkpoint(name))
        assert encoder.config.dimension == ModelConfig.read(checkpoint(name)).talker.decoder.hidden


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (72, "the reference is 3 ms long, too short to hear a voice"),
        (MIN_MEL_SAMPLES - 1, "the reference is 16 ms long, too short to hear a voice"),
        (MIN_MEL_SAMPLES, "the reference is 16 ms long; at least 53 ms are needed"),
        (5 * 256 - 1, "the reference is 53 ms long; at least 53 ms are needed"),
    ],
)
def test_a_reference_can_be_too_short(checkpoint: Checkpoints, samples: int, message: str) -> None:
    with pytest.raises(BadAudio, match=message):
        speaker_at(checkpoint(TINY)).embed(torch.zeros(1, samples))


def test_the_shortest_reference_that_can_be_computed(checkpoint: Checkpoints) -> None:
    assert speaker_at(checkpoint(TINY)).embed(torch.zeros(1, 5 * 256)).isfinite().all()


def test_a_reference_of_numbers_that_are_none_is_refused(checkpoint: Checkpoints) -> None:
    with pytest.raises(BadAudio, match="not finite"):
        speaker_at(checkpoint(TINY)).embed(torch.full((1, 5000), float("inf")))


@pytest.mark.parametrize(("size", "count"), [("1b7", 76), ("0b6", 76)])
def test_the_encoder_knows_every_published_tensor(size: str, count: int) -> None:
    shape = model_shape("real", size)  # type: ignore[arg-type]
    planned = {plan.name: plan.shape for plan in model_plan("base", shape, 151936, 0.0)}
    found = speaker_encoder_tensors(SpeakerEncoderConfig(dimension=shape.talker.hidden))
    assert found == {name: item for name, item in planned.items() if name.startswith(PREFIX)}
    assert len(found) == count


def test_blocks_of_different_widths_are_refused() -> None:
    with pytest.raises(BadModelFolder, match="one width four times"):
        SpeakerEncoder(SpeakerEncoderConfig(dimension=8, channels=(16, 16, 32, 16, 64)))


def test_weights_are_read_in_the_dtype_asked_for(checkpoint: Checkpoints) -> None:
    config = ModelConfig.read(checkpoint(TINY)).speaker_encoder
    assert config is not None
    encoder = SpeakerEncoder.load(config, SafetensorsFile(checkpoint(TINY) / "model.safetensors"), dtype=torch.bfloat16)
    assert {item.dtype for item in encoder.parameters()} == {torch.bfloat16}


def test_filters_cover_the_whole_range_and_hold_equal_areas() -> None:
    filters = mel_filters(128)
    assert filters.shape == (128, 513)
    assert filters.dtype == np.float32
    assert (filters >= 0).all()
    step = 12000 / 512
    # A triangle of width w has height 2 / w, so that its area is 1; wide ones are sampled finely enough to show it.
    np.testing.assert_allclose(filters[100:].sum(1) * step, 1.0, rtol=0.02)
    peaks = filters.argmax(1) * step
    assert (np.diff(peaks) >= 0).all()
    assert peaks[-1] > 11_500


def test_a_tone_is_loudest_in_the_band_around_it() -> None:
    time = torch.arange(24_000) / 24_000
    mel = log_mel(torch.sin(2 * torch.pi * 1000.0 * time)[None])[0]
    assert mel.shape == (128, 24_000 // 256)
    assert mel.dtype == torch.float32
    peak = int(mel.mean(1).argmax())
    assert abs(int(mel_filters(128)[peak].argmax()) * 12000 / 512 - 1000.0) < 40.0


def test_silence_is_the_floor_and_the_number_of_frames_is_rounded_down() -> None:
    # Silence measures the square root of 1e-9, which lies above the floor in wide bands and below it in narrow ones.
    mel = log_mel(torch.zeros(1, 1023))
    assert mel.shape == (1, 128, 3)
    assert float(mel.min()) >= np.log(np.float32(1e-5)) - 1e-6
    assert not torch.isnan(mel).any()
