"""Speech damaged on purpose: one function for each fault, ``(samples, rng) -> samples`` at 24 kHz, float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["DAMAGES", "RATE"]

RATE = 24_000
Wave = NDArray[np.float32]
Damage = Callable[[Wave, np.random.Generator], Wave]


def _loud_place(wave: Wave, rng: np.random.Generator, room: int) -> int:
    """A sample with speech right before, at and right after it, ``room`` samples before the end."""
    power = np.convolve(np.square(wave), np.ones(240) / 240, "same")
    loud = power > 0.3 * np.percentile(power, 90)
    steady = np.flatnonzero(np.convolve(loud, np.ones(960), "same") >= 959.5)
    usable = steady[(steady > 4800) & (steady < len(wave) - room)]
    return int(rng.choice(usable))


def _rms(wave: Wave) -> float:
    blocks = np.square(wave[: len(wave) // 480 * 480].reshape(-1, 480)).mean(axis=1)
    return float(np.sqrt(blocks[blocks > blocks.max() * 1e-3].mean()))


def _as_int16(wave: Wave) -> NDArray[np.int16]:
    return np.round(wave * 32767).astype(np.int16)


def not_finite(wave: Wave, rng: np.random.Generator) -> Wave:
    place = int(rng.integers(len(wave) - 100))
    wave[place : place + 50] = rng.choice([np.nan, np.inf, -np.inf])
    return wave


def clipping(wave: Wave, rng: np.random.Generator) -> Wave:
    return np.asarray(np.clip(wave / np.abs(wave).max() * rng.uniform(1.5, 4), -1, 1).astype(np.float32), np.float32)


def wrap_round(wave: Wave, rng: np.random.Generator) -> Wave:
    scaled = np.round(wave / np.abs(wave).max() * rng.uniform(1.2, 1.8) * 32767).astype(np.int64)
    return np.asarray(((scaled + 32768) % 65536 - 32768).astype(np.float32) / 32768, np.float32)


def dc_offset(wave: Wave, rng: np.random.Generator) -> Wave:
    return np.asarray(wave + np.float32(rng.uniform(0.03, 0.1) * rng.choice([-1, 1])), np.float32)


def dropout(wave: Wave, rng: np.random.Generator) -> Wave:
    place = _loud_place(wave, rng, 4800)
    wave[place - 200 : place + 200] = 0.0
    return wave


def stutter(wave: Wave, rng: np.random.Generator) -> Wave:
    place, length = _loud_place(wave, rng, 4800), int(rng.uniform(0.05, 0.15) * RATE)
    return np.concatenate((wave[:place], wave[place - length : place], wave[place:]))


def seam_clicks(wave: Wave, rng: np.random.Generator) -> Wave:
    chunk = 1920 * int(rng.integers(3, 6))
    wave = np.tile(wave, -(-5 * chunk // len(wave)))
    for seam in range(chunk, len(wave) - 100, chunk):
        decay = np.exp(-np.arange(20) / 4)
        wave[seam : seam + 20] += (0.25 * decay * rng.choice([-1, 1])).astype(np.float32)
    return np.clip(wave, -0.99, 0.99)


def hum(wave: Wave, rng: np.random.Generator) -> Wave:
    time, mains = np.arange(len(wave)) / RATE, rng.choice([50, 60])
    tone = np.sin(2 * np.pi * mains * time) + 0.5 * np.sin(4 * np.pi * mains * time + 1)
    return np.asarray((wave + _rms(wave) * 10 ** (-rng.uniform(15, 28) / 20) * tone).astype(np.float32), np.float32)


def noise(wave: Wave, rng: np.random.Generator) -> Wave:
    level = _rms(wave) * 10 ** (-rng.uniform(10, 24) / 20)
    return np.asarray((wave + level * rng.standard_normal(len(wave))).astype(np.float32), np.float32)


def noise_like(wave: Wave, rng: np.random.Generator) -> Wave:
    length = int(rng.uniform(0.6, 0.9) * RATE)
    place = int(rng.integers(0, max(1, len(wave) - length)))
    stretch = wave[place : place + length]
    stretch[:] = 0.7 * _rms(wave) * rng.standard_normal(len(stretch))
    return wave


def silent_tail(wave: Wave, rng: np.random.Generator) -> Wave:
    return np.concatenate((wave, np.zeros(int(rng.uniform(1.6, 6) * RATE), np.float32)))


def runaway(wave: Wave, rng: np.random.Generator) -> Wave:
    count = int(rng.uniform(2, 5) * RATE)
    babble = np.convolve(rng.standard_normal(count + 2), [1, 0.9, 0.4], "valid")
    babble *= _rms(wave) * 10 ** (-rng.uniform(24, 28) / 20) / babble.std()
    babble *= 1 + 0.3 * np.sin(2 * np.pi * 4 * np.arange(count) / RATE)
    return np.concatenate((wave, babble.astype(np.float32)))


def cut_end(wave: Wave, rng: np.random.Generator) -> Wave:
    return wave[: _loud_place(wave, rng, 0)]


def bf16_bytes(wave: Wave, rng: np.random.Generator) -> Wave:
    words = (np.ascontiguousarray(wave).view(np.uint32) >> 16).astype(np.uint16)
    return np.asarray(words.view(np.int16).astype(np.float32) / 32768, np.float32)


def fp16_bytes(wave: Wave, rng: np.random.Generator) -> Wave:
    return np.asarray(wave.astype(np.float16).view(np.int16).astype(np.float32) / 32768, np.float32)


def mono_twice(wave: Wave, rng: np.random.Generator) -> Wave:
    return np.stack((wave, wave), axis=1)


def one_channel_empty(wave: Wave, rng: np.random.Generator) -> Wave:
    pair = [wave, np.zeros_like(wave)]
    return np.stack(pair if rng.random() < 0.5 else pair[::-1], axis=1)


def opposite_channels(wave: Wave, rng: np.random.Generator) -> Wave:
    return np.asarray(np.stack((wave, -0.9 * wave), axis=1).astype(np.float32), np.float32)


DAMAGES: dict[str, tuple[str, Damage]] = {
    "NaN or infinite": ("not-finite", not_finite),
    "clipping": ("clipping", clipping),
    "int16 wrap-round": ("wrap-round", wrap_round),
    "offset": ("dc-offset", dc_offset),
    "dropout": ("dropout", dropout),
    "stutter": ("stutter", stutter),
    "clicks at seams": ("click", seam_clicks),
    "hum": ("hum", hum),
    "broadband noise": ("noise", noise),
    "noise-like stretch": ("noise-like", noise_like),
    "silent tail": ("tail", silent_tail),
    "runaway": ("tail", runaway),
    "cut end": ("cut-end", cut_end),
    "BF16 bytes": ("half-precision-bytes", bf16_bytes),
    "FP16 bytes": ("half-precision-bytes", fp16_bytes),
    "mono written twice": ("stereo", mono_twice),
    "one channel empty": ("stereo", one_channel_empty),
    "opposite channels": ("stereo", opposite_channels),
}
"""By what was done: the detector that must find it, and the function that does it."""
