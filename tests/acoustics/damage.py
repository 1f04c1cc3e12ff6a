"""Speech damaged on purpose: clips of espeak-ng by seed, and one function for each fault, ``(samples, rng)``."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from toolkit.acoustics.faults import Fault, find_faults
from toolkit.acoustics.reading import Recording
from training.pocket.sentences import chinese, english
from training.pocket.speech import render
from training.pocket.style import Style
from training.pocket.voices import OTHER_VOICES, SPEAKERS

__all__ = ["DAMAGES", "RATE", "Damaged", "clip", "damaged_faults", "wave_faults"]

RATE = 24_000
Wave = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Damaged:
    """What a damage makes besides another wave: another rate, a reference to compare with, a longer promise."""

    wave: Wave
    rate: int = RATE
    reference: Wave | None = None
    promised_frames: int | None = None


Damage = Callable[[Wave, np.random.Generator], "Wave | Damaged"]


@lru_cache(maxsize=700)
def clip(number: int) -> Wave:
    """Speech of espeak-ng, 1.5 s and longer: 39 voices, two languages, any rate, pitch, level, a tenth whispered."""
    source = random.Random(number)
    voices = [*SPEAKERS.values(), *OTHER_VOICES.values()]
    style = Style(
        rate=source.uniform(0.7, 1.5), pitch_st=source.uniform(-5, 9), spread=source.uniform(0.3, 1.8),
        level_db=source.uniform(-10, 5), whisper=number % 10 == 9,
    )  # fmt: skip
    words = english.sentence(source) if number % 2 else chinese.sentence(source)
    wave = render(words, "english" if number % 2 else "chinese", voices[number % len(voices)], style).wave
    if len(wave) < 1.5 * RATE:
        return clip(number + 1000)
    return wave if number % 4 < 2 else (np.round(wave * 32767) / 32768).astype(np.float32)


def wave_faults(wave: Wave, chunk_s: float | None = None) -> tuple[Fault, ...]:
    """Faults of samples ``[frames]`` or ``[frames, channels]`` at 24 kHz."""
    return find_faults(_recording(wave, RATE), chunk_s)


def damaged_faults(made: Wave | Damaged) -> tuple[Fault, ...]:
    """Faults of what a damage made."""
    damaged = made if isinstance(made, Damaged) else Damaged(made)
    recording = _recording(damaged.wave, damaged.rate)
    if damaged.promised_frames is not None:
        recording = Recording(recording.samples, damaged.rate, "damaged", damaged.promised_frames)
    reference = None if damaged.reference is None else _recording(damaged.reference, RATE)
    return find_faults(recording, reference=reference)


def _recording(wave: Wave, rate: int) -> Recording:
    return Recording(np.ascontiguousarray(wave if wave.ndim == 2 else wave[:, None], np.float32), rate)


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


def dropout_anywhere(wave: Wave, rng: np.random.Generator) -> Wave:
    """Zeros of 20 to 120 ms anywhere where something sounds, soft or loud."""
    blocks = np.sqrt(np.square(wave[: len(wave) // 240 * 240].reshape(-1, 240)).mean(axis=1))
    sounding = np.flatnonzero(blocks > 10 ** (-45 / 20) * np.percentile(blocks, 95))
    length = int(rng.uniform(0.02, 0.12) * RATE)
    usable = [
        place
        for place in (sounding * 240 + 120).tolist()
        if 2400 < place < len(wave) - length - 2400 and blocks[(place + length) // 240] > blocks.max() / 100
    ]
    place = int(rng.choice(usable))
    wave[place : place + length] = 0.0
    return wave


def held_sample(wave: Wave, rng: np.random.Generator) -> Wave:
    """A player that ran dry holds its last sample."""
    place = _loud_place(wave, rng, 4800)
    loud = place + int(np.argmax(np.abs(wave[place : place + 240])))
    wave[loud : loud + int(rng.uniform(0.005, 0.06) * RATE)] = 0.9 * wave[loud]
    return wave


def stutter_twice(wave: Wave, rng: np.random.Generator) -> Wave:
    place, length = _loud_place(wave, rng, 4800), int(rng.uniform(0.1, 0.4) * RATE)
    length = min(length, place)
    piece = wave[place - length : place]
    return np.concatenate((wave[:place], piece, piece, wave[place:]))


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


def runaway_to_the_cap(wave: Wave, rng: np.random.Generator) -> Wave:
    """2,047 frames: what a run gives that never ended."""
    babble = np.convolve(rng.standard_normal(2047 * 1920 - len(wave) + 2), [1, 0.9, 0.4], "valid")
    babble *= _rms(wave) * 10 ** (-rng.uniform(24, 28) / 20) / babble.std()
    return np.concatenate((wave, babble.astype(np.float32)))


def header_promises_more(wave: Wave, rng: np.random.Generator) -> Damaged:
    return Damaged(wave, promised_frames=len(wave) + int(rng.uniform(0.05, 3) * RATE))


def labelled(rate: int) -> Damage:
    """A damage that writes another rate over the same samples."""

    def damage(wave: Wave, rng: np.random.Generator) -> Damaged:
        return Damaged(wave, rate)

    return damage


def _other_clip(rng: np.random.Generator) -> Wave:
    return clip(int(rng.integers(60_000, 60_200)))


def _end_of(reference: Wave, rng: np.random.Generator) -> Wave:
    """The last quarter of a second to second of sound; a clip fades for 0.12 s and more after it."""
    last = int(np.flatnonzero(np.abs(reference) > 0.02 * np.abs(reference).max())[-1])
    return reference[max(0, last - int(rng.uniform(0.3, 1.2) * RATE)) : last]


def leaked_reference(wave: Wave, rng: np.random.Generator) -> Damaged:
    reference = _other_clip(rng)
    return Damaged(np.concatenate((_end_of(reference, rng), wave)), reference=reference)


def leaked_echo(wave: Wave, rng: np.random.Generator) -> Damaged:
    """As a codec gives it back: other samples, other level, some dB off in each band, noise 20 dB below."""
    reference = _other_clip(rng)
    leak = _end_of(reference, rng)
    spectrum = np.fft.rfft(leak)
    knots = np.interp(np.arange(len(spectrum)), np.linspace(0, len(spectrum), 12), rng.normal(0, 2, 12))
    turns = np.interp(np.arange(len(spectrum)), np.linspace(0, len(spectrum), 40), rng.uniform(-1, 1, 40))
    echo = np.fft.irfft(spectrum * 10 ** (knots / 20) * np.exp(1j * turns), len(leak))
    echo += 0.1 * echo.std() * rng.standard_normal(len(echo))
    leaked = (rng.uniform(0.5, 1.2) * echo).astype(np.float32)
    return Damaged(np.concatenate((leaked, wave)), reference=reference)


def _room(wave: Wave, louder_left: bool) -> Wave:
    """Two microphones: one nearer and brighter than the other."""
    far = np.convolve(wave, [0.0] * 9 + [0.5, 0.25], "full")[: len(wave)].astype(np.float32)
    return np.stack((wave, far) if louder_left else (far, wave), axis=1)


def swapped_channels(wave: Wave, rng: np.random.Generator) -> Damaged:
    left = bool(rng.random() < 0.5)
    return Damaged(_room(wave, left), reference=_room(_other_clip(rng), not left))


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
    "dropout in a loud sound": ("dropout", dropout),
    "dropout anywhere": ("dropout", dropout_anywhere),
    "held sample": ("dropout", held_sample),
    "stutter": ("stutter", stutter),
    "stutter, three times": ("stutter", stutter_twice),
    "clicks at seams": ("click", seam_clicks),
    "hum": ("hum", hum),
    "broadband noise": ("noise", noise),
    "noise-like stretch": ("noise-like", noise_like),
    "silent tail": ("tail", silent_tail),
    "runaway": ("runaway", runaway),
    "runaway to the cap": ("runaway", runaway_to_the_cap),
    "cut end": ("cut-end", cut_end),
    "header promises more": ("cut-end", header_promises_more),
    "labelled 48 kHz": ("wrong-rate", labelled(48_000)),
    "labelled 44.1 kHz": ("wrong-rate", labelled(44_100)),
    "labelled 16 kHz": ("wrong-rate", labelled(16_000)),
    "labelled 8 kHz": ("wrong-rate", labelled(8_000)),
    "leaked reference": ("leaked-reference", leaked_reference),
    "leaked reference, by a codec": ("leaked-reference", leaked_echo),
    "swapped channels": ("stereo", swapped_channels),
    "BF16 bytes": ("half-precision-bytes", bf16_bytes),
    "FP16 bytes": ("half-precision-bytes", fp16_bytes),
    "mono written twice": ("stereo", mono_twice),
    "one channel empty": ("stereo", one_channel_empty),
    "opposite channels": ("stereo", opposite_channels),
}
"""By what was done: the detector that must find it, and the function that does it."""
