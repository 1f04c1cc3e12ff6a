"""Faults of a clip: damaged speech is found, clean speech is left alone, places and sizes are right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from damage import DAMAGES, RATE, clip, damaged_faults
from damage import wave_faults as faults
from numpy.typing import NDArray

from toolkit.acoustics.faults import DETECTORS, WHOLE, detector, find_faults, surely, whole_detector
from toolkit.acoustics.reading import read_wav
from toolkit.errors import UsageError

FIRST_CLEAN, CLEAN = 70_000, 120
FIRST_DAMAGED, DAMAGED = 72_000, 20
LEAST = {"dropout anywhere": 0.85}
"""Measured over more clips it is 0.92: a hole in a soft sound may begin and end near zero as a pause does."""
FEW = {"runaway to the cap": 1}
"""Long to hear; benchmarks/faults.py hears more."""
MOST_FALSE, LEAST_FOUND = 0.05, 0.95
"""Of clean clips benchmarks/faults.py finds 0 of 500. The engine keeps a state from one rendering to
the next, so that after other tests the clips of a number differ, and 4 of 150 had a fault
once: what the suite asks is coarser than the 2 % aimed at."""
SOUNDS = Path(__file__).parents[2] / "docs" / "samples"
SAMPLES = ("english-plain", "english-30-percent-slower", "chinese-plain", "chinese-five-semitones-up")


def tone(frequency_hz: float) -> NDArray[np.float32]:
    return (0.3 * np.sin(2 * np.pi * frequency_hz * np.arange(RATE // 2) / RATE)).astype(np.float32)


def test_clean_speech_has_no_faults() -> None:
    found = {
        number: [fault.name for fault in faults(clip(number))] for number in range(FIRST_CLEAN, FIRST_CLEAN + CLEAN)
    }
    false = {number: names for number, names in found.items() if names}
    assert len(false) <= MOST_FALSE * CLEAN, false


@pytest.mark.parametrize("name", SAMPLES)
def test_the_pocket_voice_has_no_faults(name: str) -> None:
    assert find_faults(read_wav(SOUNDS / f"pocket_{name}.flac")) == ()


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found(name: str) -> None:
    wanted, damage = DAMAGES[name]
    missed = []
    count = FEW.get(name, DAMAGED)
    for number in range(FIRST_DAMAGED, FIRST_DAMAGED + count):
        found = damaged_faults(damage(clip(number).copy(), np.random.default_rng(number)))
        if wanted not in {fault.name for fault in found}:
            missed.append(number)
    assert len(missed) <= round((1 - LEAST.get(name, LEAST_FOUND)) * count), missed


def test_places_and_sizes_are_those_of_the_damage() -> None:
    wave = clip(4).copy()
    loud = int(np.argmax(np.abs(wave)))
    wave[loud - 240 : loud + 240] = 0.0
    (gap,) = faults(wave)
    assert (gap.name, gap.weight, gap.unit) == ("dropout", "fail", "s")
    assert gap.place_s == pytest.approx((loud - 240) / RATE, abs=0.001)
    assert gap.size == gap.length_s == pytest.approx(0.020, abs=0.001)
    (tail,) = faults(np.concatenate((clip(4), np.zeros(3 * RATE, np.float32))))
    assert tail.length_s == pytest.approx(3.0, abs=0.4)
    assert tail.place_s + tail.length_s == pytest.approx(len(clip(4)) / RATE + 3.0, abs=0.001)
    (offset,) = faults(clip(4) + np.float32(0.05))
    assert offset.size == pytest.approx(0.05, abs=0.002)


def test_a_seam_is_known_by_the_chunk() -> None:
    wave = clip(4).copy()
    quiet = np.convolve(np.abs(wave), np.ones(1200), "same")
    frames = np.arange(4, len(wave) // 1920 - 2)
    frame = int(frames[np.argmin(quiet[frames * 1920])])
    wave[frame * 1920 : frame * 1920 + 12] += 0.3 * np.exp(-np.arange(12) / 3).astype(np.float32)
    (seam,) = faults(wave, chunk_s=frame * 0.08)
    assert (seam.name, seam.weight) == ("click", "fail")
    assert seam.place_s == pytest.approx(frame * 0.08, abs=0.002)
    assert "at the seams of chunks" in seam.says


def test_what_is_no_speech_is_told_and_not_crashed_on() -> None:
    assert [fault.name for fault in faults(np.zeros(RATE, np.float32))] == ["tail"]
    assert [fault.name for fault in faults(np.full(RATE, np.nan, np.float32))] == ["not-finite", "tail"]
    assert "cut-end" in {fault.name for fault in faults(np.pad(tone(200), (RATE // 2, 0)))}
    for count in (1, 2, 3, 50, 2000):
        faults(np.full(count, 0.3, np.float32))


def test_confidence_grows_with_the_size() -> None:
    assert surely(1.0, 1.0, 2.0) == 0.5
    assert surely(2.0, 1.0, 2.0) == pytest.approx(0.95)
    assert surely(0.0, 1.0, 2.0) == 0.0
    assert 0.95 < surely(9.0, 1.0, 2.0) <= 1.0


def test_a_detector_bears_one_name_and_its_faults_bear_it_too() -> None:
    faults(tone(200))
    with pytest.raises(UsageError, match="two detectors are called hum"):
        detector("hum")(DETECTORS["hum"])
    with pytest.raises(UsageError, match="two detectors are called hum"):
        whole_detector("hum")(WHOLE["tail"])
    assert {wanted for wanted, _ in DAMAGES.values()} == {*DETECTORS, *WHOLE}


@pytest.mark.parametrize("chunk_s", [0.0, -1.0, float("nan"), 1e6])
def test_a_chunk_has_a_length(chunk_s: float) -> None:
    with pytest.raises(UsageError, match="a chunk lasts between"):
        faults(tone(200), chunk_s)
