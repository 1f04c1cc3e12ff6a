"""Measures of a voice on sounds made by arithmetic whose every answer is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from math import isnan

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from toolkit.acoustics.voice import TITLES, UNITS, VALUE_NAMES, Voice, measure_voice
from toolkit.errors import UsageError

RATE = 24_000
Samples = NDArray[np.float32]
Speak = Callable[..., Samples]


def pulses(pitch_hz: NDArray[np.float64], rate: int = RATE) -> NDArray[np.float64]:
    """A pulse of limited band at every whole turn of the phase, at its exact time: harmonics up to 0.4 of the rate."""
    turns = np.cumsum(pitch_hz) / rate
    most = int(0.4 * rate / pitch_hz.max())
    sound: NDArray[np.float64] = sum(np.cos(2 * np.pi * number * turns) for number in range(1, most))  # type: ignore[assignment]
    return 0.3 * sound / np.abs(sound).max()


def steady(hz: float, seconds: float = 1.0) -> NDArray[np.float64]:
    return np.full(round(seconds * RATE), hz)


def measured(sound: NDArray[np.float64], rate: int = RATE) -> Voice:
    return measure_voice(np.asarray(sound, np.float32), rate)


def tilted(db_per_octave: float, seed: int = 0) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(4 * RATE))
    frequencies = np.maximum(np.fft.rfftfreq(4 * RATE, 1 / RATE), 150.0)
    sound = np.fft.irfft(spectrum * (frequencies / 1000) ** (db_per_octave / 20 / np.log10(2)))
    return 0.2 * sound / np.abs(sound).max()


def test_every_measure_has_a_title_and_a_unit_and_the_values_are_in_order() -> None:
    found = measured(pulses(steady(150.0)))
    assert tuple(found.values()) == VALUE_NAMES == tuple(TITLES) == tuple(UNITS)
    assert tuple(field.name for field in fields(Voice))[: len(VALUE_NAMES)] == VALUE_NAMES
    assert all(isinstance(value, float) for value in found.values().values())
    assert len(found.levels.times_s) == len(found.levels.frames_db)


@pytest.mark.parametrize("st_per_s", [-6.0, -2.0, 3.0])
def test_a_sweep_has_its_slope_its_range_and_its_end(st_per_s: float) -> None:
    times = np.arange(2 * RATE) / RATE
    found = measured(pulses(180 * 2 ** (st_per_s * times / 12)))
    assert found.f0_slope_st_per_s == pytest.approx(st_per_s, rel=0.03)
    assert found.f0_range_st == pytest.approx(0.9 * 2 * abs(st_per_s), rel=0.05)
    # The last 50 ms lie 0.175 s behind the middle of the 0.3 s before them.
    assert found.final_movement_st == pytest.approx(0.175 * st_per_s, abs=0.1)


def test_the_slope_is_that_within_phrases_not_between_them() -> None:
    times = np.arange(RATE) / RATE
    first, second = (pulses(start * 2 ** (-4 * times / 12)) for start in (150, 190))
    found = measured(np.concatenate((first, np.zeros(RATE // 2), second)))
    assert found.f0_slope_st_per_s == pytest.approx(-4.0, rel=0.05)
    assert found.pause_count == 1


def test_a_vibrato_has_its_depth_and_no_slope() -> None:
    times = np.arange(3 * RATE) / RATE
    found = measured(pulses(220 * 2 ** (np.sin(2 * np.pi * 5 * times) / 12)))
    # A sine of 1 semitone lies between -0.988 and +0.988 for nine tenths of the time.
    assert found.f0_range_st == pytest.approx(1.976, rel=0.06)
    assert abs(found.f0_slope_st_per_s) < 0.1
    assert found.median_f0_hz == pytest.approx(220, rel=0.01)


@pytest.mark.parametrize("movement_st", [4.0, -5.0])
def test_a_question_rises_and_a_statement_falls(movement_st: float) -> None:
    pitch = np.concatenate((steady(140.0), 140 * 2 ** (movement_st / 12 * np.linspace(0, 1, RATE // 10))))
    pitch = np.concatenate((pitch, steady(float(pitch[-1]), 0.06)))
    assert measured(pulses(pitch)).final_movement_st == pytest.approx(movement_st, abs=0.4)


@pytest.mark.parametrize("hnr_db", [5.0, 10.0, 20.0, 30.0])
@pytest.mark.parametrize("f0_hz", [90.0, 160.3, 310.0])
def test_pulses_in_noise_have_their_ratio(hnr_db: float, f0_hz: float) -> None:
    """Both are flat up to the band's end, so that the ratio in the band is that of their densities."""
    sound = pulses(steady(f0_hz, 1.5))
    rng = np.random.default_rng(int(f0_hz))
    noise = rng.standard_normal(len(sound)) * np.sqrt(np.square(sound).mean() * (0.5 / 0.4)) * 10 ** (-hnr_db / 20)
    assert measured(sound + noise).hnr_db == pytest.approx(hnr_db, abs=1.0)


def test_noise_has_no_harmonics() -> None:
    found = measured(tilted(0.0))
    assert found.voiced_share < 0.05
    assert isnan(found.hnr_db)


@pytest.mark.parametrize("wanted", [-12.0, -6.0, -3.0, 0.0])
def test_tilted_noise_has_its_tilt(wanted: float) -> None:
    assert measured(tilted(wanted)).tilt_db_per_octave == pytest.approx(wanted, abs=0.3)


def test_the_centroid_is_the_mean_of_two_lines_by_power_and_white_noise_is_brighter_than_pink() -> None:
    times = np.arange(RATE) / RATE
    lines = 0.2 * np.sin(2 * np.pi * 500 * times) + 0.1 * np.sin(2 * np.pi * 3000 * times)
    assert measured(lines).centroid_hz == pytest.approx((4 * 500 + 3000) / 5, rel=0.01)
    assert measured(tilted(0.0)).centroid_hz > 2 * measured(tilted(-3.0)).centroid_hz


@pytest.mark.parametrize("rate", [16_000, 24_000, 48_000])
def test_a_reference_tone_has_its_loudness(rate: int) -> None:
    """EBU Tech 3341 asks for -23 LUFS of 1 kHz at -23 dBFS in both channels; one channel has 3.01 less."""
    tone = 10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * np.arange(5 * rate) / rate)
    assert measured(tone, rate).loudness_lufs == pytest.approx(-26.01, abs=0.1)


def test_the_range_of_the_level_is_that_of_its_steps() -> None:
    gains = np.repeat([1.0, 10 ** (-12 / 20)], RATE)
    assert measured(pulses(steady(150.0, 2.0)) * gains).dynamic_range_db == pytest.approx(12.0, abs=0.5)


@pytest.mark.parametrize("noise_dbfs", [-120.0, -70.0, -60.0])
@pytest.mark.parametrize("offset", [0.0, 0.02])
def test_pauses_have_their_edges_in_silence_noise_and_offset(noise_dbfs: float, offset: float) -> None:
    wanted = [(0.8, 1.0), (1.5, 2.1), (3.0, 3.16)]
    sound = pulses(steady(140.0, 4.0))
    for start_s, stop_s in wanted:
        sound[round(start_s * RATE) : round(stop_s * RATE)] = 0.0
    sound[: round(0.3 * RATE)] = 0.0
    sound[round(3.7 * RATE) :] = 0.0
    sound += 10 ** (noise_dbfs / 20) * np.random.default_rng(1).standard_normal(len(sound)) + offset
    found = measured(sound)
    assert len(found.pauses) == found.pause_count == 3
    for pause, (start_s, stop_s) in zip(found.pauses, wanted, strict=True):
        assert pause.start_s == pytest.approx(start_s, abs=0.012)
        assert pause.stop_s == pytest.approx(stop_s, abs=0.012)
    assert found.pause_total_s == pytest.approx(0.96, abs=0.04)
    assert (found.start_s, found.stop_s) == pytest.approx((0.3, 3.7), abs=0.012)
    assert found.sounding_s == pytest.approx(3.4 - 0.96, abs=0.05)


def test_a_breath_in_a_pause_does_not_end_it_and_a_closure_is_none() -> None:
    sound = pulses(steady(140.0, 3.0))
    sound[round(1.0 * RATE) : round(1.8 * RATE)] = 0.0
    breath = slice(round(1.35 * RATE), round(1.6 * RATE))
    sound[breath] = 0.0005 * np.random.default_rng(0).standard_normal(round(1.6 * RATE) - round(1.35 * RATE))
    sound[round(2.4 * RATE) : round(2.5 * RATE)] = 0.0
    (pause,) = measured(sound).pauses
    assert (pause.start_s, pause.stop_s) == pytest.approx((1.0, 1.8), abs=0.012)


def test_a_weak_hiss_belongs_to_the_phrase_that_it_ends() -> None:
    sound = pulses(steady(140.0, 2.5))
    sound[round(1.0 * RATE) : round(1.6 * RATE)] = 0.0
    hiss = 0.001 * np.random.default_rng(0).standard_normal(round(0.1 * RATE))
    sound[round(1.0 * RATE) : round(1.1 * RATE)] = lfilter([1, -0.9], [1], hiss)
    (pause,) = measured(sound).pauses
    assert pause.start_s == pytest.approx(1.1, abs=0.012)


@pytest.mark.parametrize("last", [0.2, 0.5])
def test_the_last_syllable_is_drawn_out_and_leaves_a_tail(last: float) -> None:
    lengths = [0.2] * 8 + [last]
    swells = np.concatenate([np.hanning(round(length * RATE)) ** 0.25 + 1e-3 for length in lengths])
    found = measured(np.pad(pulses(steady(130.0, len(swells) / RATE)) * swells, (RATE // 5, RATE // 2)))
    assert found.final_lengthening == pytest.approx(last / 0.2, rel=0.12)
    assert found.tail_s == pytest.approx(last / 2, abs=0.05)
    assert found.syllables_per_s == pytest.approx(9 / (1.6 + last), rel=0.05)


def test_the_text_gives_a_rate_of_its_own(voice: Speak) -> None:
    spoken = voice(4.0)
    found = measure_voice(spoken, RATE, "今天天气很好，我们去公园。")
    assert found.text_rate_per_s == pytest.approx(11 / found.sounding_s)
    assert isnan(measure_voice(spoken, RATE).text_rate_per_s)
    assert isnan(measure_voice(spoken, RATE, "...").text_rate_per_s)


@pytest.mark.parametrize("count", [1200, 3000, RATE])
def test_silence_has_a_duration_and_nothing_else(count: int) -> None:
    values = measure_voice(np.zeros(count, np.float32), RATE).values()
    assert values.pop("duration_s") == count / RATE
    assert values.pop("sounding_s") == 0
    assert [name for name, value in values.items() if not isnan(value)] == []


def test_a_blip_and_broken_samples_are_measured() -> None:
    sound = np.asarray(pulses(steady(200.0)), np.float32)
    sound[[0, 500, 9_000]] = (np.nan, np.inf, -np.inf)
    assert measure_voice(sound, RATE).median_f0_hz == pytest.approx(200, rel=0.01)
    assert measure_voice(sound[:1_200], RATE).duration_s == 0.05


@pytest.mark.parametrize("samples", [np.zeros((2, RATE)), np.zeros(100)])
def test_what_is_no_clip_is_refused(samples: NDArray[np.float64]) -> None:
    with pytest.raises(UsageError, match="mono speech"):
        measured(samples)
