"""Measures of delivery on voices made by arithmetic whose pace, pitch and level are known."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan

import numpy as np
import pytest
from numpy.typing import NDArray

from toolkit.acoustics.delivery import measure_delivery
from toolkit.errors import UsageError

RATE = 24_000
Voice = Callable[..., NDArray[np.float32]]


@pytest.mark.parametrize("syllables", [2.5, 4.0, 5.5])
def test_the_pace_is_told_from_the_sound(voice: Voice, syllables: float) -> None:
    found = measure_delivery(voice(6.0, syllables), RATE)
    assert found.syllables_per_s == pytest.approx(syllables, rel=0.2)
    assert found.duration_s == pytest.approx(6.0, abs=1e-3)


def test_pauses_do_not_count_as_sound(voice: Voice) -> None:
    spoken = voice(3.0)
    found, slow = (measure_delivery(clip, RATE) for clip in (spoken, np.concatenate((spoken, spoken * 0, spoken))))
    assert slow.duration_s == pytest.approx(9.0, abs=1e-3)
    assert slow.sounding_s == pytest.approx(2 * found.sounding_s, rel=0.05)
    assert slow.syllables_per_s == pytest.approx(found.syllables_per_s, rel=0.1)


def test_the_pitch_is_the_voices_and_moves_with_it(voice: Voice) -> None:
    spoken = voice(4.0)
    found = measure_delivery(spoken, RATE)
    higher = measure_delivery(spoken[::2].copy(), RATE)  # played at twice the rate: an octave up
    assert 100 < found.median_f0_hz < 140
    assert higher.median_f0_hz == pytest.approx(2 * found.median_f0_hz, rel=0.1)
    assert found.voiced_share > 0.6
    assert 0.3 < found.spread_st < 3.0
    assert len(found.pitch.times_s) == 400


def test_the_level_follows_the_gain(voice: Voice) -> None:
    spoken = voice(3.0)
    loud, soft = (measure_delivery(spoken * gain, RATE).level_dbfs for gain in (1.0, 0.5))
    assert loud - soft == pytest.approx(6.02, abs=0.1)


def test_a_sine_has_its_level() -> None:
    sine = (0.5 * np.sin(2 * np.pi * 200 * np.arange(2 * RATE) / RATE)).astype(np.float32)
    found = measure_delivery(sine, RATE)
    assert found.level_dbfs == pytest.approx(-9.03, abs=0.1)
    assert found.sounding_s == pytest.approx(2.0, abs=0.03)
    assert found.median_f0_hz == pytest.approx(200, rel=0.01)


def test_silence_has_no_pace_no_pitch_and_no_level() -> None:
    found = measure_delivery(np.zeros(RATE, np.float32), RATE)
    assert (found.duration_s, found.sounding_s, found.voiced_share) == (1.0, 0.0, 0.0)
    assert all(map(isnan, (found.syllables_per_s, found.median_f0_hz, found.spread_st, found.level_dbfs)))


def test_samples_that_are_no_numbers_do_not_spoil_it(voice: Voice) -> None:
    spoken = voice(2.0)
    spoken[100:110] = np.nan
    spoken[200] = np.inf
    assert np.isfinite(measure_delivery(spoken, RATE).level_dbfs)


@pytest.mark.parametrize("samples", [np.zeros((2, RATE)), np.zeros(100), np.zeros(0)])
def test_what_is_no_mono_speech_is_refused(samples: NDArray[np.float32]) -> None:
    with pytest.raises(UsageError, match=r"at least 0\.05 s of mono speech"):
        measure_delivery(samples.astype(np.float32), RATE)
