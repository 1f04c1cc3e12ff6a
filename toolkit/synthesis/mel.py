"""The logarithmic mel spectrogram that the speaker encoder reads: windows of 1024 samples every 256, at 24 kHz."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor

from toolkit.errors import BadAudio
from toolkit.synthesis.codec_config import SAMPLE_RATE_HZ

__all__ = ["HOP_SAMPLES", "MIN_MEL_SAMPLES", "WINDOW_SAMPLES", "log_mel", "mel_filters"]

WINDOW_SAMPLES = 1024
HOP_SAMPLES = 256
_EDGE_SAMPLES = (WINDOW_SAMPLES - HOP_SAMPLES) // 2

MIN_MEL_SAMPLES = _EDGE_SAMPLES + 1
"""Both ends are mirrored by 384 samples, for which there must be more than those."""

# The Slaney scale (Auditory Toolbox, 1998): linear with 15 mels to 1000 Hz, then 27 mels to each factor of 6.4.
_LINEAR_HZ_PER_MEL = 200.0 / 3.0
_LOG_FROM_HZ = 1000.0
_LOG_FROM_MEL = _LOG_FROM_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0


def log_mel(wave: Tensor, bands: int = 128) -> Tensor:
    """Natural logarithms of mel magnitudes, computed in float32 on the CPU.

    Args:
        wave: ``[batch, samples]`` at 24 kHz.
        bands: mel bands from 0 to 12000 Hz.

    Returns:
        ``[batch, bands, samples // 256]``; nothing is below ``log(1e-5)``.

    Raises:
        BadAudio: fewer than :data:`MIN_MEL_SAMPLES` samples.
    """
    if wave.shape[-1] < MIN_MEL_SAMPLES:
        shown = f"{wave.shape[-1] / SAMPLE_RATE_HZ * 1000:.0f} ms"
        raise BadAudio(
            f"the reference is {shown} long, too short to hear a voice in it; give 3 to 10 seconds of speech"
        )
    mirrored = functional.pad(wave.float().cpu(), (_EDGE_SAMPLES, _EDGE_SAMPLES), mode="reflect")
    window = torch.hann_window(WINDOW_SAMPLES)
    waves = torch.stft(mirrored, WINDOW_SAMPLES, HOP_SAMPLES, window=window, center=False, return_complex=True)
    magnitudes = torch.sqrt(waves.real.square() + waves.imag.square() + 1e-9)
    mel = torch.from_numpy(mel_filters(bands)) @ magnitudes
    return mel.clamp(min=1e-5).log()


@functools.lru_cache(maxsize=4)
def mel_filters(bands: int) -> NDArray[np.float32]:
    """Triangular filters of equal area on the Slaney scale, ``[bands, 513]``: librosa's default mel basis."""
    top = _LOG_FROM_MEL + math.log(SAMPLE_RATE_HZ / 2 / _LOG_FROM_HZ) / _LOG_STEP
    corners = _hz(np.linspace(0.0, top, bands + 2))
    bins = np.linspace(0.0, SAMPLE_RATE_HZ / 2, WINDOW_SAMPLES // 2 + 1)
    widths = np.diff(corners)
    distances = bins - corners[:, None]
    rising = distances[:-2] / widths[:-1, None]
    falling = -distances[2:] / widths[1:, None]
    triangles = np.clip(np.minimum(rising, falling), 0.0, None)
    return (triangles * (2.0 / (corners[2:] - corners[:-2]))[:, None]).astype(np.float32)


def _hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = mels * _LINEAR_HZ_PER_MEL
    logarithmic = _LOG_FROM_HZ * np.exp(_LOG_STEP * (mels - _LOG_FROM_MEL))
    return np.where(mels < _LOG_FROM_MEL, linear, logarithmic)
