"""Recordings made by arithmetic: a voice of pulses and resonances, with syllables, hisses and pauses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

RATE = 24_000
Voice = Callable[..., NDArray[np.float32]]
_VOWELS = ((700, 1200, 2600), (300, 2300, 3000), (500, 900, 2500), (400, 1900, 2600))


def resonate(source: NDArray[Any], frequency: float, width: float) -> NDArray[Any]:
    radius = np.exp(-np.pi * width / RATE)
    turned = 2 * np.pi * frequency / RATE
    filtered: NDArray[Any] = lfilter([1.0 - radius], [1.0, -2 * radius * np.cos(turned), radius**2], source)
    return filtered


def syllable(number: int, length: int, rng: np.random.Generator) -> NDArray[Any]:
    """A short hiss, then a vowel whose pulses come 100 to 140 times a second."""
    hiss = int(0.07 * length)
    pitch = 120 + 20 * np.sin(2 * np.pi * np.arange(length - hiss) / RATE * 3 + number)
    closures = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0.0)
    pulses = np.convolve(closures, np.diff(np.hanning(60)), "same") + 5e-4 * rng.standard_normal(len(closures))
    # Each resonance a quarter of the one below: the spectrum of a voice falls by about 12 dB an octave.
    vowel = sum(resonate(pulses, centre, 80) / 4**place for place, centre in enumerate(_VOWELS[number % 4]))
    vowel = vowel / np.max(np.abs(vowel)) * np.sin(np.linspace(0, np.pi, length - hiss)) ** 0.5
    noise = lfilter([1, -0.9], [1], rng.standard_normal(hiss)) * np.hanning(hiss) * 0.03
    return np.concatenate((noise, vowel))


@pytest.fixture
def voice() -> Voice:
    """A function that speaks: ``voice(seconds, syllables_a_second, seed)`` gives float32 samples at 24 kHz."""

    def speak(
        seconds: float = 6.0, syllables: float | Callable[[float], float] = 4.5, seed: int = 0
    ) -> NDArray[np.float32]:
        rng = np.random.default_rng(seed)
        parts, done, number = [np.zeros(int(0.1 * RATE))], 0.0, seed
        while done < seconds - 0.3:
            rate = syllables(done / seconds) if callable(syllables) else syllables
            length = int(RATE / rate * rng.uniform(0.9, 1.1))
            parts.append(0.4 * syllable(number, length, rng))
            if number % 9 == 8:
                parts.append(np.zeros(int(0.15 * RATE)))
            number += 1
            done = sum(map(len, parts)) / RATE
        spoken = np.concatenate(parts)[: int(seconds * RATE)]
        spoken = np.pad(spoken, (0, int(seconds * RATE) - len(spoken)))
        return (spoken + 1e-4 * rng.standard_normal(len(spoken))).astype(np.float32)

    return speak
