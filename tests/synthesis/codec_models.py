"""Codecs and speaker encoders of a checkpoint, loaded once, and comparisons of waves with the goldens."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from golden_set import GoldenCase, GoldenSet
from torch import Tensor

from toolkit.synthesis.codec_config import SAMPLES_PER_FRAME, CodecConfig
from toolkit.synthesis.codec_decoder import CodecDecoder, reference_samples
from toolkit.synthesis.codec_encoder import CodecEncoder
from toolkit.synthesis.config import ModelConfig
from toolkit.synthesis.resampling import resample_to_24k
from toolkit.synthesis.speaker_encoder import SpeakerEncoder
from toolkit.synthesis.weights import SafetensorsFile

__all__ = [
    "WAVE_TOLERANCE",
    "clone_wave",
    "codec_file",
    "decoder_at",
    "encoder_at",
    "in_steps",
    "random_codes",
    "reference",
    "speaker_at",
    "wave_error",
]

WAVE_TOLERANCE = 4e-5
"""The goldens' strict bound; 1e-4 would let a wrong epsilon of the decoder's norms pass."""


@cache
def codec_file(folder: Path) -> SafetensorsFile:
    return SafetensorsFile(folder / "speech_tokenizer" / "model.safetensors")


@cache
def decoder_at(folder: Path, dtype: torch.dtype = torch.float32, *, pack: bool = True) -> CodecDecoder:
    config = CodecConfig.read(folder / "speech_tokenizer").decoder
    return CodecDecoder.load(config, codec_file(folder), dtype=dtype, pack=pack)


@cache
def encoder_at(folder: Path, dtype: torch.dtype = torch.float32, *, pack: bool = True) -> CodecEncoder:
    config = CodecConfig.read(folder / "speech_tokenizer").encoder
    return CodecEncoder.load(config, codec_file(folder), dtype=dtype, pack=pack)


@cache
def speaker_at(folder: Path, dtype: torch.dtype = torch.float32) -> SpeakerEncoder:
    config = ModelConfig.read(folder).speaker_encoder
    assert config is not None
    return SpeakerEncoder.load(config, SafetensorsFile(folder / "model.safetensors"), dtype=dtype)


def reference(goldens: GoldenSet, name: str, samples: int | None = None) -> Tensor:
    """A reference recording at 24 kHz; ``samples`` of it, counted before resampling."""
    wave, rate = goldens.recording(name)
    return torch.from_numpy(resample_to_24k(wave[:samples], rate).copy())


def random_codes(frames: int, batch: int = 1, size: int = 256) -> Tensor:
    return torch.randint(0, size, (batch, 16, frames), generator=torch.Generator().manual_seed(frames))


def in_steps(decoder: CodecDecoder, codes: Tensor, sizes: Iterable[int]) -> Tensor:
    """The wave of steps of the given sizes; the last one takes what is left."""

    waves = []
    state, start, following = decoder.initial_state(codes.shape[0]), 0, iter(sizes)
    while start < codes.shape[-1]:
        size = next(following)
        wave, state = decoder.step(codes[..., start : start + size], state)
        start += size
        waves.append(wave)
    return torch.cat(waves, 1)


def wave_error(case: GoldenCase, row: int, wave: Tensor) -> float:
    """Largest difference from a stored wave; infinite when the lengths differ."""
    samples, step = (int(number) for number in case.needed(row, "wav_layout"))
    found = wave.numpy()
    if found.shape != (samples,):
        return float("inf")
    error = float(np.abs(found[::step] - case.needed(row, "wav")).max())
    frames = case.array(row, "window_frames")
    if frames is None:
        return error
    parts = [found[start * SAMPLES_PER_FRAME : stop * SAMPLES_PER_FRAME] for start, stop in frames]
    return max(error, float(np.abs(np.concatenate(parts) - case.needed(row, "window_wav")).max()))


def clone_wave(decoder: CodecDecoder, case: GoldenCase, row: int) -> Tensor:
    """The official wave of a row's codes; behind its reference's codes, which are cut off, when it has some."""
    codes = torch.from_numpy(case.needed(row, "codes").astype(np.int64))
    stored = case.array(row, "ref_code")
    if stored is None:
        return decoder.decode_official(codes.T[None])[0]
    both = torch.cat((torch.from_numpy(stored.astype(np.int64)), codes))
    wave = decoder.decode_official(both.T[None])[0]
    return wave[reference_samples(stored.shape[0], both.shape[0], wave.shape[0]) :]
