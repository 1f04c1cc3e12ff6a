"""The pitch tracker on sounds whose pitch is known: pulse trains, glides, noise, silence, level and rate changed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from toolkit.acoustics.pitch import PitchTrack, median_f0_hz, track_pitch, voiced_share
from toolkit.errors import UsageError

RATE = 24_000
Samples = NDArray[np.float32]


def pulses(f0_hz: float | NDArray[np.float64], seconds: float = 1.0, rate: int = RATE) -> Samples:
    """Pulses through two resonances; ``f0_hz`` one number, or one a sample."""
    pitch = np.broadcast_to(np.asarray(f0_hz, np.float64), round(seconds * rate))
    source = np.diff(np.floor(np.cumsum(pitch) / rate), prepend=0.0)
    for centre, width in ((500.0, 90.0), (1500.0, 120.0)):
        radius = np.exp(-np.pi * width / rate)
        source = lfilter([1 - radius], [1, -2 * radius * np.cos(2 * np.pi * centre / rate), radius**2], source)
    return np.asarray(0.3 * source / np.abs(source).max(), np.float32)


def noise(seconds: float = 1.0, seed: int = 0) -> Samples:
    return np.asarray(0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE)), np.float32)


@pytest.mark.parametrize("f0_hz", [62.0, 75.0, 100.0, 147.0, 220.0, 333.0, 400.0, 550.0])
def test_pulse_trains_have_their_pitch_without_octave_errors(f0_hz: float) -> None:
    track = track_pitch(pulses(f0_hz), RATE)
    assert abs(1200 * np.log2(median_f0_hz(track) / f0_hz)) < 15
    assert voiced_share(track) > 0.9
    assert np.abs(np.log2(track.voiced_hz / f0_hz)).max() < 0.1


@pytest.mark.parametrize("f0_hz", [100.0, 200.0])
def test_a_weak_fundamental_does_not_raise_the_octave(f0_hz: float) -> None:
    times = np.arange(RATE) / RATE
    sound = sum(np.cos(2 * np.pi * f0_hz * number * times) for number in (2, 3, 4, 5))
    assert median_f0_hz(track_pitch(np.asarray(0.1 * sound, np.float32), RATE)) == pytest.approx(f0_hz, rel=0.01)


def test_a_glide_is_followed() -> None:
    wanted = 110 * 2 ** np.linspace(0, 1, 2 * RATE)
    track = track_pitch(pulses(wanted, 2.0), RATE)
    there = wanted[np.minimum((track.times_s * RATE).astype(int), len(wanted) - 1)]
    assert np.nanmedian(np.abs(1200 * np.log2(track.f0_hz / there))) < 20
    # A straight glide of one octave has a standard deviation of 12 / sqrt(12) semitones.
    assert track.spread_st() == pytest.approx(12 / np.sqrt(12), rel=0.1)


def test_noise_and_silence_have_no_voice() -> None:
    for seed in range(5):
        assert voiced_share(track_pitch(noise(seed=seed), RATE)) < 0.05
    silent = track_pitch(np.zeros(RATE, np.float32), RATE)
    assert voiced_share(silent) == 0
    assert np.isnan(median_f0_hz(silent))
    assert np.isnan(silent.spread_st())


def test_voice_and_hiss_are_told_apart_in_one_sound() -> None:
    track = track_pitch(np.concatenate((pulses(150.0), 0.3 * noise())), RATE)
    assert track.is_voiced[5:95].mean() > 0.95
    assert track.is_voiced[105:195].mean() < 0.05


def test_noise_under_the_voice_changes_little() -> None:
    sound = pulses(120.0)
    hiss = noise() * np.sqrt(np.square(sound).mean() / np.square(noise()).mean()) * 10 ** (-10 / 20)
    assert median_f0_hz(track_pitch(sound + hiss, RATE)) == pytest.approx(120.0, rel=0.01)


@pytest.mark.parametrize("gain", [0.001, 3.0])
def test_the_level_does_not_matter(gain: float) -> None:
    sound = pulses(140.0)
    first, second = track_pitch(sound, RATE), track_pitch((gain * sound).astype(np.float32), RATE)
    np.testing.assert_allclose(first.f0_hz, second.f0_hz, rtol=1e-3)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 48_000])
def test_other_sample_rates(rate: int) -> None:
    track = track_pitch(pulses(180.0, rate=rate), rate)
    assert median_f0_hz(track) == pytest.approx(180.0, rel=0.01)
    assert track.times_s[-1] == pytest.approx(1.0, abs=0.02)


def test_an_offset_and_broken_samples_do_no_harm() -> None:
    sound = pulses(130.0) + np.float32(0.2)
    sound[::5000] = np.nan
    assert median_f0_hz(track_pitch(sound, RATE)) == pytest.approx(130.0, rel=0.01)


@pytest.mark.parametrize("count", [0, 1, 100, 2000])
def test_short_sounds_give_a_track(count: int) -> None:
    track = track_pitch(pulses(200.0)[:count], RATE)
    assert isinstance(track, PitchTrack)
    assert len(track.times_s) == len(track.f0_hz) == len(track.is_active) >= 1


def test_frames_are_ten_milliseconds() -> None:
    track = track_pitch(pulses(200.0, 1.5), RATE)
    np.testing.assert_allclose(np.diff(track.times_s), 0.01)
    assert len(track.times_s) == 150


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: track_pitch(np.zeros((10, 2), np.float32), RATE), "mono"),
        (lambda: track_pitch(np.zeros(10, np.float32), RATE, 300.0, 200.0), "between 30 and 1000"),
        (lambda: track_pitch(np.zeros(10, np.float32), 2000), "too low"),
    ],
)
def test_what_cannot_be_tracked_is_refused(call: Callable[[], PitchTrack], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        call()
