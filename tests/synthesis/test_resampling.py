"""References at other rates and with more channels."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from toolkit.errors import BadAudio
from toolkit.synthesis.resampling import mono, resample_to_24k


def tone(rate: int, seconds: float, hertz: float = 440.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate).astype(np.float32)


def test_24_khz_is_left_alone() -> None:
    samples = tone(24_000, 0.1)
    assert resample_to_24k(samples, 24_000) is samples


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_a_tone_stays_the_tone(rate: int) -> None:
    found = resample_to_24k(tone(rate, 0.5), rate)[:12_000]
    assert found.dtype == np.float32
    middle = slice(2_000, 10_000)
    assert np.abs(found[middle] - tone(24_000, 0.5)[middle]).max() < 2e-3


@pytest.mark.parametrize(
    ("samples", "rate", "wanted"),
    [
        (1, 44_100, 1),
        (7, 16_000, 11),
        (100, 44_100, 55),
        (3, 96_000, 1),
        (16_000, 16_000, 24_000),
        (22_050, 44_100, 12_001),
    ],
)
def test_lengths_are_rounded_up(samples: int, rate: int, wanted: int) -> None:
    # The last one is 12000 exactly; librosa rounds a product of floats up, and so the same sample is added here.
    assert resample_to_24k(np.ones(samples, np.float32), rate).shape == (wanted,)


def test_the_quality_is_the_one_of_librosa() -> None:
    samples = np.random.default_rng(0).standard_normal(4_000).astype(np.float32)
    found = resample_to_24k(samples, 16_000)
    np.testing.assert_array_equal(found, soxr.resample(samples, 16_000, 24_000, quality="HQ"))
    assert np.abs(found - soxr.resample(samples, 16_000, 24_000, quality="LQ")).max() > 1e-3


@pytest.mark.parametrize("rate", [0, -16_000, 999, 1_000_000])
def test_a_rate_that_no_recording_has_is_refused(rate: int) -> None:
    with pytest.raises(BadAudio, match=f"the reference's sampling rate is {rate} Hz"):
        resample_to_24k(np.ones(10, np.float32), rate)


def test_channels_are_averaged() -> None:
    stereo = np.stack([np.full(5, 0.5), np.full(5, -0.25)], 1)
    found = mono(stereo)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.full(5, 0.125, np.float32))
    np.testing.assert_array_equal(mono(np.full(5, 0.5)), np.full(5, 0.5, np.float32))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(5, np.int16), "floating-point samples between -1 and 1, found int16"),
        (np.zeros(0, np.float32), r"found shape \(0,\)"),
        (np.zeros((2, 3, 4), np.float32), r"found shape \(2, 3, 4\)"),
        (np.array([0.0, np.nan], np.float32), "not finite"),
    ],
)
def test_what_is_no_recording_is_refused(samples: np.ndarray, message: str) -> None:
    with pytest.raises(BadAudio, match=message):
        mono(samples)
