"""What the codec's losses see, and that training makes them smaller."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from training.pocket.codec_losses import SpectralLoss
from training.pocket.codec_net import Codec, initialise
from training.pocket.codec_training import CodecSettings, refine_decoder, train_codec
from training.pocket.codes import calibrate_level, encode_corpus, resynthesise
from training.pocket.corpus import Corpus, finished, make_shards
from training.pocket.shape import SMOKE

CPU = torch.device("cpu")
SECONDS = torch.arange(24000) / 24000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("speech")
    list(make_shards(folder, [0], seed=5, count=6))
    return Corpus(folder, finished(folder))


def _voice(f0_hz: float) -> torch.Tensor:
    """Harmonics with the slope of a voice."""
    number = torch.arange(1, 30)[:, None]
    return (0.05 / number * torch.sin(2 * math.pi * number * f0_hz * SECONDS)).sum(0, keepdim=True)


def test_equal_waves_have_no_loss() -> None:
    total, parts = SpectralLoss(3.0, 4.0)(_voice(120.0), _voice(120.0))
    assert total < 0.5
    assert parts["mel"] == 0.0


def test_the_low_band_sees_a_wrong_pitch_of_a_low_voice() -> None:
    """101 Hz instead of 77 Hz: what a codec without this loss was found to do."""
    _, parts = SpectralLoss(3.0, 4.0)(_voice(101.0), _voice(77.0))
    _, near = SpectralLoss(3.0, 4.0)(_voice(77.3), _voice(77.0))
    assert parts["low"] > 3 * near["low"]


def _pulses(f0_hz: float, moment_s: float, length: int = 24000) -> torch.Tensor:
    """A low voice as a row of pulses, each ringing for 4 ms at 2 kHz."""
    wave = torch.zeros(length)
    ring = 0.3 * torch.exp(-SECONDS[:240] / 0.001) * torch.sin(2 * math.pi * 2000 * SECONDS[:240])
    for start in range(round(moment_s * 24000), length - 240, round(24000 / f0_hz)):
        wave[start : start + 240] += ring
    return wave[None]


def test_short_windows_forgive_the_moment_of_a_pulse_and_not_that_there_is_none() -> None:
    """No code says when a pulse comes; a decoder that therefore makes noise in place of pulses must not be better."""
    wanted = _pulses(78.0, 0.0)
    shifted = _pulses(78.0, 0.006)
    torch.manual_seed(0)
    spectrum = torch.fft.rfft(wanted)
    turned = torch.polar(spectrum.abs(), 2 * math.pi * torch.rand(spectrum.shape))
    noise = torch.fft.irfft(turned, 24000)
    loss = SpectralLoss(0.0, 4.0)
    assert loss(shifted, wanted)[0] < 0.5 * loss(noise, wanted)[0]


def test_the_harmonic_band_sees_what_fills_the_gaps_between_harmonics() -> None:
    wanted = _voice(217.0)
    torch.manual_seed(0)
    noisy = wanted + 0.003 * torch.randn(1, 24000)
    parts = SpectralLoss(3.0, 4.0, 4.0)(noisy, wanted)[1]
    assert parts["harmonics"] > 0.3
    assert SpectralLoss(3.0, 4.0)(noisy, wanted)[1]["harmonics"] == 0.0


def test_silence_gives_gradients_of_ordinary_size() -> None:
    found = torch.zeros(1, 24000).add_(1e-4 * torch.randn(24000)).requires_grad_()
    SpectralLoss(3.0, 4.0)(found, torch.zeros(1, 24000))[0].backward()
    speech = _voice(120.0).add(1e-3).requires_grad_()
    SpectralLoss(3.0, 4.0)(speech, _voice(130.0))[0].backward()
    assert found.grad is not None
    assert speech.grad is not None
    assert found.grad.norm() < 100 * speech.grad.norm()


def test_a_clip_with_silence_does_not_drown_the_others_at_the_start() -> None:
    torch.manual_seed(0)
    codec = Codec(SMOKE)
    initialise(codec)
    norms = []
    for wave in (_voice(120.0)[:, :23040], torch.cat((_voice(120.0)[:, :9600], torch.zeros(1, 13440)), 1)):
        codec.zero_grad()
        first, rest = codec.encoder(wave)
        (first.square().mean() + rest.square().mean()).backward()
        norms.append(float(sum(p.grad.square().sum() for p in codec.encoder.parameters() if p.grad is not None)) ** 0.5)
    assert norms[1] < 30 * norms[0]


def test_training_brings_the_wave_nearer(corpus: Corpus) -> None:
    said: list[str] = []
    settings = CodecSettings(batch=2, frames=12, warmup=2, compiled=False)
    codec = train_codec(
        corpus, SMOKE, settings, time_limit_s=60, device=CPU, seed=0, log=said.append, most_steps=25
    )  # fmt: skip
    untrained = Codec(SMOKE)
    initialise(untrained)
    loss = SpectralLoss(3.0, 4.0)
    wanted = torch.from_numpy(corpus.wave(0))[None]

    def distance(model: Codec) -> float:
        found = torch.from_numpy(resynthesise(model, corpus, [0], CPU)[0])[None]
        return float(loss(found, wanted)[0])

    assert distance(codec) < 0.9 * distance(untrained)
    assert any("codec step 25" in line for line in said)


def test_refining_leaves_the_codes_alone(corpus: Corpus) -> None:
    torch.manual_seed(0)
    codec = Codec(SMOKE)
    initialise(codec)
    before = encode_corpus(codec, corpus, CPU)
    weights = {name: value.clone() for name, value in codec.encoder.state_dict().items()}
    settings = CodecSettings(batch=2, frames=6, warmup=1)
    refine_decoder(
        codec, corpus, before, settings, time_limit_s=60, device=CPU, seed=0, log=lambda line: None, most_steps=3
    )  # fmt: skip
    assert all(torch.equal(value, weights[name]) for name, value in codec.encoder.state_dict().items())
    assert np.array_equal(encode_corpus(codec, corpus, CPU), before)


def test_codes_lie_where_their_utterance_lies(corpus: Corpus) -> None:
    codec = Codec(SMOKE)
    codes = encode_corpus(codec, corpus, CPU)
    assert codes.shape == (len(corpus.waves) // 1920, 16)
    item = corpus.utterances[2]
    alone = codec.encode(torch.from_numpy(corpus.wave(2))[None])[0].T.numpy()
    first = item.start // 1920
    assert (codes[first : first + item.frames] == alone).mean() > 0.98


def test_a_run_that_is_cut_off_keeps_what_it_reached(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.pocket.codec_training._KEEP_S", 0.0)
    kept: list[Codec] = []
    settings = CodecSettings(batch=1, frames=4, warmup=1, compiled=False)
    train_codec(
        corpus, SMOKE, settings, time_limit_s=9, device=CPU, seed=0, log=print, most_steps=2, keep=kept.append
    )  # fmt: skip
    assert len(kept) == 2


def test_calibrating_brings_the_level_back_and_leaves_the_codes_alone(corpus: Corpus) -> None:
    torch.manual_seed(0)
    codec = Codec(SMOKE)
    initialise(codec)
    codes = encode_corpus(codec, corpus, CPU)
    members = range(len(corpus.utterances))
    gain_db = calibrate_level(codec, corpus, members, CPU)
    assert gain_db > 1.0  # untrained, it is far too soft
    assert abs(calibrate_level(codec, corpus, members, CPU)) < 0.5
    assert np.array_equal(encode_corpus(codec, corpus, CPU), codes)
