"""Measures of a voice on the speech of espeak-ng, which is known to the phone: pitch, pace and pauses."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from toolkit.acoustics.pitch import PitchTrack
from toolkit.acoustics.voice import Voice, measure_voice
from training.pocket.speech import SAMPLE_RATE_HZ, Language, Spoken, render
from training.pocket.style import PLAIN, Style
from training.pocket.voices import SPEAKERS

ENGLISH = (
    "My sister lives near the river. She left a letter on the table. Nobody has read it yet.",
    "Grandpa fell asleep in the garden. The dog was sleeping too. We let them rest.",
    "Turn left after the market, then walk up the hill. You will see a yellow door.",
    "The bus was late again. Who took the last piece of cake? It was for my brother.",
)
CHINESE = (
    "请问附近有没有药店？今晚的月亮真圆啊！我每天骑自行车上下班。",
    "这件毛衣洗完缩水了。明天几点集合？他女朋友是从成都来的。",
    "我想订一张靠窗的座位。地铁里人多得要命。奶奶包的饺子最香。",
)
CLAUSE_END_S = 0.015
"""What the renderer leaves of the engine's sound behind the last phone of a clause."""


def heard(number: int, language: Language, style: Style) -> tuple[Spoken, Voice, str]:
    texts = ENGLISH if language == "english" else CHINESE
    text = texts[number % len(texts)]
    spoken = render(text, language, list(SPEAKERS.values())[number % len(SPEAKERS)], style)
    return spoken, measure_voice(spoken.wave, SAMPLE_RATE_HZ, text), text


def nuclei(spoken: Spoken) -> int:
    """Syllables of English: phones that are vowels, or are written as syllabic."""
    return sum(phone.name[0] in "aeiouAEIOUV@03" or phone.name[1:] == "-" != phone.name for phone in spoken.phones)


def comb_hz(spoken: Spoken, track: PitchTrack) -> NDArray[np.float64]:
    """Pitch by another road: the harmonics in the spectrum of 50 ms, less what lies halfway between them."""
    length, size = round(0.05 * SAMPLE_RATE_HZ), 1 << 14
    candidates = np.geomspace(60, 500, 800)
    bins = np.arange(1, 9)[None] * candidates[:, None] * size / SAMPLE_RATE_HZ
    between = bins - candidates[:, None] * size / SAMPLE_RATE_HZ / 2
    padded = np.pad(spoken.wave, length)
    found = []
    for time_s in track.times_s[track.is_voiced]:
        start = round(time_s * SAMPLE_RATE_HZ) + length - length // 2
        lines = np.sqrt(np.abs(np.fft.rfft(padded[start : start + length] * np.blackman(length), size)))
        places = np.arange(len(lines))
        scores = ((np.interp(bins, places, lines) - np.interp(between, places, lines)) * 0.84 ** np.arange(8)).sum(
            axis=1
        )
        found.append(candidates[scores.argmax()])
    return np.asarray(found)


@pytest.mark.parametrize("language", ["english", "chinese"])
@pytest.mark.parametrize("number", range(9))
def test_the_pitch_is_within_one_percent(number: int, language: Language) -> None:
    """Of the median, and of the middle frame; gross errors in less than 4 % of the frames."""
    spoken, found, _ = heard(number, language, PLAIN.with_changes(pitch_st=float(number % 3 * 4 - 4)))
    other = comb_hz(spoken, found.pitch)
    errors = np.abs(found.pitch.voiced_hz / other - 1)
    assert found.median_f0_hz == pytest.approx(float(np.median(other)), rel=0.01)
    assert np.median(errors) < 0.01
    assert np.mean(errors > 0.1) < 0.04


@pytest.mark.parametrize("language", ["english", "chinese"])
@pytest.mark.parametrize("rate", [0.7, 1.0, 1.3, 1.6])
def test_the_pace_is_within_five_percent(rate: float, language: Language) -> None:
    """Mean of nine voices; a single short clip may miss a syllable more."""
    from_sound, from_text, lengths = [], [], []
    for number in range(9):
        spoken, found, text = heard(number, language, Style(rate=rate, pause_s=0.4))
        said = nuclei(spoken) if language == "english" else sum(letter not in "？！。" for letter in text)
        wanted = said / spoken.speech_s
        from_sound.append(found.syllables_per_s / wanted)
        from_text.append(found.text_rate_per_s / wanted)
        lengths.append(found.sounding_s / spoken.speech_s)
    assert np.mean(from_sound) == pytest.approx(1.0, abs=0.05)
    assert np.mean(from_text) == pytest.approx(1.0, abs=0.05)
    assert np.max(np.abs(np.asarray(lengths) - 1)) < 0.05


@pytest.mark.parametrize("noise_dbfs", [None, -65.0])
def test_pause_edges_are_within_twenty_milliseconds(noise_dbfs: float | None) -> None:
    errors = []
    for number in range(18):
        language: Language = "english" if number % 2 else "chinese"
        pause_s = 0.2 + 0.05 * number
        spoken, found, text = heard(number, language, Style(rate=0.8 + 0.04 * number, pause_s=pause_s))
        if noise_dbfs is not None:
            noise = np.random.default_rng(number).standard_normal(len(spoken.wave)) * 10 ** (noise_dbfs / 20)
            found = measure_voice(np.asarray(spoken.wave + noise, np.float32), SAMPLE_RATE_HZ, text)
        wanted = [
            (phone.start_s - CLAUSE_END_S, phone.stop_s)
            for phone in spoken.phones
            if phone.name == "_" and phone.stop_s - phone.start_s == pytest.approx(pause_s, abs=1e-6)
        ]
        assert len(found.pauses) == len(wanted) == len(spoken.pauses_s)
        for pause, (start_s, stop_s) in zip(found.pauses, wanted, strict=True):
            errors.append((pause.start_s - start_s, pause.stop_s - stop_s))
    # In silence every edge; under noise the closure or the weak hiss at an edge may drown.
    assert np.mean(np.abs(errors) < 0.02) >= (1.0 if noise_dbfs is None else 0.8)


def test_a_whisper_has_no_voice_and_a_bright_flat_spectrum() -> None:
    for number in range(4):
        plain, whisper = (heard(number, "english", Style(whisper=whispers))[1] for whispers in (False, True))
        assert whisper.voiced_share < 0.1 < 0.6 < plain.voiced_share
        assert plain.hnr_db > 5
        assert not whisper.hnr_db > 0
        assert whisper.tilt_db_per_octave > plain.tilt_db_per_octave
        assert whisper.centroid_hz > plain.centroid_hz
        assert whisper.syllables_per_s == pytest.approx(plain.syllables_per_s, rel=0.2)


def test_commanded_changes_show_in_their_measure_alone() -> None:
    for number in range(3):
        plain, higher, louder, slower = (
            heard(number, "english", style)[1]
            for style in (PLAIN, Style(pitch_st=5.0), Style(level_db=5.0), Style(rate=0.75))
        )
        assert 12 * np.log2(higher.median_f0_hz / plain.median_f0_hz) == pytest.approx(5.0, abs=0.5)
        assert louder.level_dbfs - plain.level_dbfs == pytest.approx(5.0, abs=0.2)
        assert louder.loudness_lufs - plain.loudness_lufs == pytest.approx(5.0, abs=0.2)
        # The engine draws the noise of its breath anew for each rendering.
        assert louder.hnr_db == pytest.approx(plain.hnr_db, abs=0.6)
        assert slower.text_rate_per_s / plain.text_rate_per_s == pytest.approx(0.75, rel=0.06)
        assert slower.median_f0_hz == pytest.approx(plain.median_f0_hz, rel=0.04)
