"""What is commanded is what comes out: rate, level, pauses, whisper; and the texts fall into clauses."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from training.pocket.speech import FRAME_SAMPLES, LEVEL_DBFS, SAMPLE_RATE_HZ, clauses, render
from training.pocket.style import PLAIN, Style
from training.pocket.voices import OTHER_VOICES, SPEAKERS

TEXT = "We walked along the river, and then we came home."
CHINESE = "我们先去买菜，然后回家做饭。"


def _parts(text: str) -> list[str]:
    return [text[start:stop].strip() for start, stop in clauses(text)]


def _level(wave: np.ndarray) -> float:
    blocks = np.square(wave[: len(wave) // 480 * 480].reshape(-1, 480)).mean(1)
    return float(10 * np.log10(blocks[blocks > blocks.max() * 1e-3].mean()))


def test_clauses_end_at_marks_and_not_inside_numbers() -> None:
    assert _parts("At 3:30, pay $4.50. Yes!") == ["At 3:30,", "pay $4.50.", "Yes!"]
    assert _parts("Dr. Smith left.") == ["Dr. Smith left."]
    assert _parts("苹果、香蕉，都很好吃。真的吗？") == ["苹果、", "香蕉，", "都很好吃。", "真的吗？"]
    assert _parts("no mark at all") == ["no mark at all"]


def test_clauses_cover_the_text() -> None:
    spans = clauses("One. Two, three!  ")
    assert spans[0][0] == 0
    assert spans[-1][1] == len("One. Two, three!  ")
    assert all(a[1] == b[0] for a, b in pairwise(spans))


@pytest.mark.parametrize(("text", "language"), [(TEXT, "english"), (CHINESE, "chinese")])
def test_the_rate_is_the_commanded_one(text: str, language: str) -> None:
    usual = render(text, language, SPEAKERS["ryan"], PLAIN).speech_s  # type: ignore[arg-type]
    for rate in (0.7, 1.3, 1.6):
        found = usual / render(text, language, SPEAKERS["ryan"], Style(rate=rate)).speech_s  # type: ignore[arg-type]
        assert found == pytest.approx(rate, rel=0.06)


@pytest.mark.parametrize("level", [-12.0, 0.0, 6.0])
def test_the_level_is_the_commanded_one(level: float) -> None:
    spoken = render(TEXT, "english", SPEAKERS["serena"], Style(level_db=level))
    assert _level(spoken.wave) == pytest.approx(LEVEL_DBFS + level, abs=0.5)
    assert np.abs(spoken.wave).max() < 1.0


def test_a_commanded_pause_is_silence_of_that_length() -> None:
    spoken = render(TEXT, "english", SPEAKERS["dylan"], Style(pause_s=0.9))
    assert spoken.pauses_s == (0.9,)
    assert len(spoken.wave) - len(render(TEXT, "english", SPEAKERS["dylan"], PLAIN).wave) == pytest.approx(
        0.7 * SAMPLE_RATE_HZ, abs=FRAME_SAMPLES
    )


def test_waves_are_whole_frames_and_end_in_silence() -> None:
    spoken = render(CHINESE, "chinese", SPEAKERS["vivian"], PLAIN)
    assert len(spoken.wave) % FRAME_SAMPLES == 0
    assert np.abs(spoken.wave[-round(0.1 * SAMPLE_RATE_HZ) :]).max() < 1e-3


def test_every_character_has_a_time_and_times_do_not_fall() -> None:
    spoken = render(CHINESE, "chinese", SPEAKERS["vivian"], PLAIN)
    assert len(spoken.char_times_s) == len(CHINESE)
    assert (np.diff(spoken.char_times_s) >= 0).all()
    assert spoken.char_times_s[CHINESE.index("然")] > spoken.char_times_s[CHINESE.index("菜")] + 0.2


@pytest.mark.parametrize("name", sorted(SPEAKERS))
def test_a_whisper_has_no_voice(name: str) -> None:
    """Voiced sounds repeat from period to period; the correlation at the best lag tells them from noise."""

    def periodicity(wave: np.ndarray) -> float:
        best = []
        for start in range(0, len(wave) - 1440, 720):
            block = wave[start : start + 1440]
            if np.square(block).mean() < 1e-4:
                continue
            spectrum = np.abs(np.fft.rfft(block - block.mean(), 4096)) ** 2
            lags = np.fft.irfft(spectrum)[:400]
            best.append(lags[60:].max() / lags[0])
        return float(np.median(best))

    voiced = periodicity(render(TEXT, "english", SPEAKERS[name], PLAIN).wave)
    whispered = periodicity(render(TEXT, "english", SPEAKERS[name], Style(whisper=True)).wave)
    assert voiced > 0.5
    assert whispered < 0.4


def test_nothing_to_speak_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to speak"):
        render("...", "english", SPEAKERS["ryan"], PLAIN)


def test_the_recogniser_hears_other_voices() -> None:
    assert not SPEAKERS.keys() & OTHER_VOICES.keys()
    assert len(OTHER_VOICES) >= 30
    assert not {voice.formants_percent for voice in SPEAKERS.values()} & {
        voice.formants_percent for voice in OTHER_VOICES.values()
    }


@pytest.mark.parametrize("text", ["熊有一点儿胖。", "他今年35岁，涨了20%。", "在7:30见。"])
def test_mandarin_is_never_spelled_in_english(text: str) -> None:
    spoken = render(text, "chinese", SPEAKERS["eric"], PLAIN)
    assert len(spoken.char_times_s) == len(text)
    assert (np.diff(spoken.char_times_s) >= 0).all()
    assert not any(phone.name.startswith("(") for phone in spoken.phones)
    assert sum(phone.tone > 0 for phone in spoken.phones) >= 5
