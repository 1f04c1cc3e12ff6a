"""Each measure finds the fault that it is for, in recordings that are otherwise sound."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from toolkit.acoustics import MEASURES, Recording, measure, measure_file
from toolkit.acoustics.clicks import find_clicks
from toolkit.acoustics.prediction import prediction_residual
from toolkit.errors import BadAudio
from troubleshoot.facts import NA

RATE = 24_000
Samples = NDArray[np.float32]
Voice = Callable[..., Samples]
FORMAT = Path(__file__).resolve().parents[2] / "docs" / "rule-format.md"


def measured(samples: Samples, text: str | None = None) -> dict[str, object]:
    return measure(Recording(np.ascontiguousarray(samples.reshape(len(samples), -1), np.float32), RATE), text)


def number(facts: dict[str, object], name: str) -> float:
    value = facts[name]
    assert isinstance(value, (int, float)), f"{name} is {value}"
    return float(value)


def test_the_names_are_those_of_the_rule_format() -> None:
    section = FORMAT.read_text(encoding="utf-8").split("## Names of audio measures")[1].split("\n## ")[0]
    assert sorted(MEASURES) == sorted(set(re.findall(r"audio\.\w+", section)))


def test_clean_speech_has_no_fault(voice: Voice) -> None:
    facts = measured(voice())
    assert tuple(facts) == MEASURES
    expected = {
        "audio.duration_s": 6.0, "audio.sample_rate": RATE, "audio.channels": 1, "audio.nonfinite_fraction": 0.0,
        "audio.clipped_fraction": 0.0, "audio.silent": False, "audio.truncated": False, "audio.at_frame_cap": False,
        "audio.click_count": 0, "audio.zero_gap_count": 0, "audio.zero_gap_ms": 0.0, "audio.start_burst": False,
        "audio.noise_like": False,
    }  # fmt: skip
    assert {name: facts[name] for name in expected} == expected
    assert 0.3 < number(facts, "audio.peak") < 0.5
    assert -30 < number(facts, "audio.rms_dbfs") < -10
    assert number(facts, "audio.body_zcr") < 0.1
    assert number(facts, "audio.edge_jump") < 0.003


def test_measures_are_plain_json_and_the_same_each_time(voice: Voice) -> None:
    first, second = measured(voice(), "text"), measured(voice(), "text")
    assert first == second
    plain = {name: value for name, value in first.items() if not isinstance(value, NA)}
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert all(type(value) in (bool, int, float, str) for value in plain.values())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_clean_voices_have_no_clicks_and_no_gaps(voice: Voice, seed: int) -> None:
    facts = measured(voice(12.0, seed=seed))
    assert (facts["audio.click_count"], facts["audio.zero_gap_count"]) == (0, 0)


def test_values_that_are_no_numbers_are_counted_and_put_aside(voice: Voice) -> None:
    broken = voice()
    broken[1000:2000] = np.nan
    facts = measured(broken)
    assert number(facts, "audio.nonfinite_fraction") == pytest.approx(1000 / len(broken), abs=1e-6)
    assert np.isfinite(number(facts, "audio.peak"))
    everything = measured(np.full(RATE, np.nan, np.float32))
    assert everything["audio.nonfinite_fraction"] == 1.0
    assert everything["audio.silent"] is True
    assert everything["audio.rms_dbfs"] == NA("no sample is a number")


def test_silence_says_so_and_nothing_else() -> None:
    facts = measured(np.full(RATE, 5e-5, np.float32))
    assert facts["audio.silent"] is True
    assert facts["audio.noise_like"] == NA("the recording is silent")
    assert facts["audio.click_count"] == 0
    assert measured(np.zeros(RATE, np.float32))["audio.rms_dbfs"] == NA("every sample is 0")


def test_clipping_and_offset(voice: Voice) -> None:
    loud = np.clip(voice() * 10, -1, 1)
    assert number(measured(loud), "audio.clipped_fraction") > 0.05
    shifted = measured(voice() + np.float32(0.05))
    assert number(shifted, "audio.dc_offset") == pytest.approx(0.05, abs=0.005)
    assert number(shifted, "audio.body_zcr") < 0.1  # the offset does not hide the crossings


@pytest.mark.parametrize(
    ("seconds", "capped"),
    [(163.84, True), (163.76, True), (327.68, True), (655.36, True), (163.5, False), (150.0, False)],
)
def test_the_frame_caps_are_recognised(seconds: float, capped: bool) -> None:
    samples = np.zeros((round(seconds * 8_000), 1), np.float32)
    assert measure(Recording(samples, 8_000))["audio.at_frame_cap"] is capped


def test_quiet_ends_are_measured(voice: Voice) -> None:
    spoken = voice(4.0, 6.0)
    padded = np.concatenate((np.zeros(RATE), spoken, 1e-4 * np.ones(int(5.5 * RATE)))).astype(np.float32)
    facts = measured(padded)
    assert number(facts, "audio.leading_quiet_s") == pytest.approx(1.1, abs=0.1)
    assert 5.4 < number(facts, "audio.tail_quiet_s") < 6.0


def test_a_tail_of_babble_crosses_zero_more_often(voice: Voice) -> None:
    rng = np.random.default_rng(0)
    babble = 0.02 * rng.standard_normal(4 * RATE)
    facts = measured(np.concatenate((voice(30.0), babble)).astype(np.float32))
    assert number(facts, "audio.body_zcr") < 0.1
    assert number(facts, "audio.tail_zcr") > 0.13
    still = measured(np.concatenate((voice(30.0), np.zeros(4 * RATE))).astype(np.float32))
    assert still["audio.tail_zcr"] == NA("there is hardly any sound")


def with_joints(samples: Samples, every: int, rng: np.random.Generator) -> tuple[Samples, int]:
    """Chunks that do not meet: after each joint the voice goes on 1 to 4 ms further."""
    joined = samples.copy()
    places = range(every, len(samples) - every, every)
    for start in places:
        skipped = int(rng.integers(24, 96))
        part = samples[start + skipped : start + skipped + every]
        joined[start : start + len(part)] = part
    return joined, len(places)


@pytest.mark.parametrize("chunk_frames", [4, 8, 12])
def test_joints_of_chunks_are_found_with_their_period(voice: Voice, chunk_frames: int) -> None:
    joined, count = with_joints(voice(24.0), chunk_frames * 1920, np.random.default_rng(1))
    facts = measured(joined)
    assert facts["audio.click_period_s"] == pytest.approx(chunk_frames * 0.08)
    assert number(facts, "audio.click_count") >= 0.3 * count
    assert facts["audio.zero_gap_count"] == 0


def test_single_clicks_are_counted_where_they_are(voice: Voice) -> None:
    clicked = voice(8.0)
    places = [30_011, 77_777, 150_000]
    clicked[places] += 0.3
    found = find_clicks(clicked, RATE)
    assert found.times_s == pytest.approx([place / RATE for place in places], abs=1e-3)
    assert isinstance(found.period_s, NA)


def test_a_beat_of_another_engine_is_found_when_its_clicks_are_clear(voice: Voice) -> None:
    clicked = voice(8.0)
    clicked[np.arange(8_192, len(clicked) - 100, 8_192)] += 0.5
    assert find_clicks(clicked, RATE).period_s == pytest.approx(8_192 / RATE, abs=1e-3)


def test_gaps_of_zeros_are_counted_apart_from_clicks(voice: Voice) -> None:
    spoken = voice(8.0)
    envelope = np.convolve(np.abs(spoken), np.ones(240) / 240, "same")
    spots = range(12_000, len(spoken) - 12_000, 9_600)
    places = [at for at in spots if min(envelope[at - 60], envelope[at + 180]) > 0.05]
    for place in places:
        spoken[place : place + 120] = 0.0
    facts = measured(spoken)
    assert len(places) >= 5
    assert number(facts, "audio.zero_gap_count") >= len(places) - 2
    assert facts["audio.zero_gap_ms"] == pytest.approx(5.0, abs=0.2)
    assert facts["audio.click_count"] == 0


def test_pauses_of_zeros_are_no_gaps(voice: Voice) -> None:
    spoken = voice(4.0)
    fade = np.linspace(1, 0, 480)
    spoken[40_000 - 480 : 40_000] *= fade
    spoken[40_000 : 40_000 + 480] *= fade[::-1]
    facts = measured(np.concatenate((spoken[:40_000], np.zeros(9_000, np.float32), spoken[40_000:])))
    assert facts["audio.zero_gap_count"] == 0


def test_hard_edges_are_measured(voice: Voice) -> None:
    spoken = voice(4.0)
    loudest = int(np.argmax(np.abs(spoken)))
    assert number(measured(spoken[: loudest + 1]), "audio.edge_jump") > 0.2


@pytest.mark.parametrize("as_float", [False, True])
def test_a_header_played_as_sound_is_a_burst(voice: Voice, as_float: bool) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(9), RATE, format="WAV", subtype="PCM_16")
    header = buffer.getvalue()[:44]
    burst = np.frombuffer(header, "<f4") if as_float else np.frombuffer(header, "<i2").astype(np.float32) / 32768
    assert measured(np.concatenate((burst, voice(2.0))))["audio.start_burst"] is True


def test_seconds_per_character_need_the_text(voice: Voice) -> None:
    assert measured(voice(6.0), "  twelve chars ")["audio.seconds_per_character"] == pytest.approx(0.5)
    for text in (None, "", "   "):
        assert measured(voice(2.0), text)["audio.seconds_per_character"] == NA("the text is not known")


def test_speech_that_gets_faster_has_a_ratio_above_one(voice: Voice) -> None:
    even = measured(voice(18.0, 4.0))
    faster = measured(voice(18.0, lambda place: 3.0 + 3.0 * place))
    assert number(even, "audio.speech_rate_ratio") == pytest.approx(1.0, abs=0.12)
    assert number(faster, "audio.speech_rate_ratio") > 1.25
    assert isinstance(measured(voice(2.0))["audio.speech_rate_ratio"], NA)


def test_noise_is_told_from_speech() -> None:
    rng = np.random.default_rng(0)
    assert measured((0.1 * rng.standard_normal(3 * RATE)).astype(np.float32))["audio.noise_like"] is True
    tone = 0.3 * np.sin(2 * np.pi * 4_000 * np.arange(3 * RATE) / RATE)
    assert measured(tone.astype(np.float32))["audio.noise_like"] is False


@pytest.mark.parametrize("count", [1, 2, 50, 500, 3_000])
def test_the_shortest_recordings_are_measured(count: int) -> None:
    facts = measured((0.5 * np.sin(np.arange(count))).astype(np.float32) + np.float32(0.01))
    assert tuple(facts) == MEASURES


def test_a_file_is_measured_with_its_header(tmp_path: Path, voice: Voice) -> None:
    path = tmp_path / "cut.wav"
    soundfile.write(path, voice(4.0), RATE)
    path.write_bytes(path.read_bytes()[: 44 + 2 * RATE])
    facts = measure_file(path, "hello")
    assert facts["audio.truncated"] is True
    assert (facts["audio.duration_s"], facts["audio.header_duration_s"]) == (1.0, 4.0)
    with pytest.raises(BadAudio):
        measure_file(tmp_path / "absent.wav")


def test_stereo_is_measured_as_one(voice: Voice) -> None:
    spoken = voice(4.0)
    facts = measured(np.stack([spoken, spoken], axis=1))
    assert facts["audio.channels"] == 2
    assert facts["audio.body_zcr"] == measured(spoken)["audio.body_zcr"]


def test_prediction_leaves_what_cannot_be_predicted() -> None:
    time_s = np.arange(2 * RATE) / RATE
    tones = np.sin(2 * np.pi * 200 * time_s) + 0.5 * np.sin(2 * np.pi * 900 * time_s)
    rng = np.random.default_rng(0)
    noisy = (tones + 0.01 * rng.standard_normal(len(tones))).astype(np.float32)
    left = prediction_residual(noisy, RATE)
    assert len(left) == len(noisy)
    assert left[2_000:-2_000].std() < 0.05 * noisy.std()
    noise = rng.standard_normal(RATE).astype(np.float32)
    assert prediction_residual(noise, RATE).std() == pytest.approx(noise.std(), rel=0.05)
    assert len(prediction_residual(noise[:5], RATE)) == 5
