"""What a style commands is found again: in arithmetic sounds, and in the engine's own speech."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from training.pocket.espeak import Phone
from training.pocket.measures import (
    Measures,
    Pause,
    boundaries,
    boundary_pauses,
    measure,
    pearson,
    semitones,
    speech_s,
)

RATE = 24_000
Samples = NDArray[np.float32]


def tone(seconds: float, f0_hz: float = 120.0, level_db: float = -20.0) -> Samples:
    """Harmonics with the given RMS."""
    times = np.arange(round(seconds * RATE)) / RATE
    sound = np.sum([np.cos(2 * np.pi * f0_hz * number * times) / number for number in range(1, 8)], axis=0)
    return np.asarray(sound * 10 ** (level_db / 20) / np.sqrt(np.square(sound).mean()), np.float32)


def silence(seconds: float, noise_db: float | None = None) -> Samples:
    count = round(seconds * RATE)
    if noise_db is None:
        return np.zeros(count, np.float32)
    return np.asarray(np.random.default_rng(0).standard_normal(count) * 10 ** (noise_db / 20), np.float32)


def test_start_end_and_pauses_are_where_they_were_put() -> None:
    wave = np.concatenate((silence(0.3), tone(0.8), silence(0.25), tone(0.5), silence(0.09), tone(0.4), silence(0.2)))
    found = measure(wave)
    assert found.seconds == pytest.approx(2.54)
    assert found.start_s == pytest.approx(0.3, abs=0.015)
    assert found.stop_s == pytest.approx(2.34, abs=0.015)
    assert [pause.length_s for pause in found.pauses] == pytest.approx([0.25, 0.09], abs=0.012)
    assert [pause.share for pause in found.pauses] == pytest.approx([0.8 / 1.7, 1.3 / 1.7], abs=0.02)
    assert speech_s(found, [pause.length_s for pause in found.pauses]) == pytest.approx(1.7, abs=0.04)


def test_a_noise_floor_40_db_below_and_short_closures_are_no_speech_and_no_pauses() -> None:
    floor = -62.0
    wave = np.concatenate(
        (silence(0.2, floor), tone(0.5), silence(0.045, floor), tone(0.5), silence(0.3, floor), tone(0.5))
    )
    found = measure(wave)
    assert found.start_s == pytest.approx(0.2, abs=0.015)
    assert [pause.length_s for pause in found.pauses] == pytest.approx([0.3], abs=0.012)


def test_a_weak_click_does_not_part_a_pause() -> None:
    wave = np.concatenate((tone(0.5), silence(0.2), tone(0.004, level_db=-44.0), silence(0.2), tone(0.5)))
    assert [pause.length_s for pause in measure(wave).pauses] == pytest.approx([0.404], abs=0.015)


@pytest.mark.parametrize("level_db", [-40.0, -23.0, -9.0])
def test_the_level_is_that_of_the_sound_alone(level_db: float) -> None:
    wave = np.concatenate((silence(0.5), tone(0.7, level_db=level_db), silence(0.9), tone(0.5, level_db=level_db)))
    assert measure(wave).level_db == pytest.approx(level_db, abs=0.3)


def test_pitch_spread_and_voice_come_from_the_tracker() -> None:
    found = measure(np.concatenate((tone(1.0, 100.0), tone(1.0, 200.0))))
    assert 95 < found.f0_hz < 205
    assert found.spread_st == pytest.approx(6.0, abs=0.5)
    assert found.voiced_share > 0.9
    assert measure(silence(1.0, -20.0)).voiced_share < 0.05


@pytest.mark.parametrize("wave", [silence(0.0), silence(0.001), silence(1.0), np.full(RATE, np.nan, np.float32)])
def test_nothing_to_hear_is_no_error(wave: Samples) -> None:
    found = measure(wave)
    assert found.pauses == ()
    assert math.isnan(found.f0_hz)
    assert found.voiced_share == 0
    assert speech_s(found, []) == pytest.approx(0.01)


def test_boundaries_are_shares_of_the_speech_without_its_silences() -> None:
    phones = [
        Phone("_", 0.0, 0.1), Phone("a", 0.1, 0.5), Phone("_", 0.5, 0.53), Phone("b", 0.53, 0.73),
        Phone("_", 0.73, 1.0), Phone("c", 1.0, 1.2), Phone("_", 1.2, 1.5),
    ]  # fmt: skip
    assert boundaries(phones) == pytest.approx([0.75])
    assert boundaries([]) == []


def found_with(*pauses: Pause) -> Measures:
    return Measures(4.0, 0.0, 3.0 + sum(pause.length_s for pause in pauses), pauses, -20.0, 100.0, 1.0, 0.8)


def test_a_boundary_takes_the_long_silence_near_it_not_a_closure_beside_it() -> None:
    closure, pause = Pause(0.9, 0.07, 0.30), Pause(1.2, 0.30, 0.36)
    assert boundary_pauses(found_with(closure, pause), [0.33]) == [0.30]
    assert boundary_pauses(found_with(closure, pause), [0.36, 0.30]) == [0.30, 0.07]
    assert boundary_pauses(found_with(closure), [0.9]) == [0.0]
    assert boundary_pauses(found_with(), [0.5]) == [0.0]
    assert boundary_pauses(found_with(pause), [0.36, 0.40]) == [0.30, 0.0]


def test_correlation_and_semitones() -> None:
    assert pearson([1, 2, 3], [2, 4, 6]) == pytest.approx(1.0)
    assert pearson([1, 2, 3, 4], [2, 4, 6, math.nan]) == pytest.approx(1.0)
    assert math.isnan(pearson([1, 2], [1, 2]))
    assert math.isnan(pearson([1, 1, 1], [1, 2, 3]))
    assert semitones(220.0, 110.0) == pytest.approx(12.0)
    assert math.isnan(semitones(math.nan, 110.0))


class TestTheEngine:
    """What was commanded is found in the engine's speech by these measures."""

    TEXT = "The weather is nice today, so we walked along the river. Would you like to come?"

    @pytest.fixture(autouse=True)
    def _needs_the_engine(self) -> None:
        pytest.importorskip("espeakng_loader")

    @staticmethod
    def heard(voice: str, **changes: float | bool) -> Measures:
        from training.pocket.speech import render
        from training.pocket.style import PLAIN
        from training.pocket.voices import SPEAKERS

        return measure(render(TestTheEngine.TEXT, "english", SPEAKERS[voice], PLAIN.with_changes(**changes)).wave)

    @pytest.mark.parametrize("voice", ["uncle_fu", "ryan", "ono_anna"])
    def test_pitch(self, voice: str) -> None:
        usual = self.heard(voice).f0_hz
        for shift in (-6.0, 5.0, 11.0):
            assert semitones(self.heard(voice, pitch_st=shift).f0_hz, usual) == pytest.approx(shift, abs=1.2)

    @pytest.mark.parametrize("voice", ["uncle_fu", "ono_anna"])
    def test_spread_whisper_and_level(self, voice: str) -> None:
        usual = self.heard(voice)
        assert self.heard(voice, spread=0.0).spread_st < 0.4 < 0.8 < usual.spread_st
        assert self.heard(voice, whisper=True).voiced_share < 0.05 < 0.5 < usual.voiced_share
        assert self.heard(voice, level_db=-6.0).level_db == pytest.approx(usual.level_db - 6, abs=0.5)

    @pytest.mark.parametrize("rate", [0.65, 1.5])
    def test_rate_and_pauses(self, rate: float) -> None:
        from training.pocket.speech import render
        from training.pocket.style import PLAIN
        from training.pocket.voices import SPEAKERS

        shares = boundaries(render(self.TEXT, "english", SPEAKERS["ryan"], PLAIN).phones)
        assert len(shares) == 2
        usual, changed = self.heard("ryan"), self.heard("ryan", rate=rate, pause_s=0.5)
        lengths = boundary_pauses(changed, shares)
        assert lengths == pytest.approx([0.5, 0.5], abs=0.06)
        usual_s = speech_s(usual, boundary_pauses(usual, shares))
        assert usual_s / speech_s(changed, lengths) == pytest.approx(rate, rel=0.08)
