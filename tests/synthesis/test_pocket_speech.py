"""The trained pocket voice, as it ships: it speaks both languages, obeys instructions, and stops by itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from toolkit.acoustics.delivery import Delivery, measure_delivery
from toolkit.synthesis.pocket_voice import FOLDER, pocket_faults
from toolkit.synthesis.result import SpeechResult
from toolkit.synthesis.speaker import Speech, load

MOST_BYTES = 30_000_000
ENGLISH = "The train to the coast leaves at nine, and the coffee is still hot."
CHINESE = "今天天气很好，我们一起去公园散步吧。"
Say = Callable[..., SpeechResult]


@pytest.fixture(scope="module")
def speech() -> Speech:
    """The voice on the CPU."""
    return load("pocket", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def say(speech: Speech) -> Say:
    """``say(text, speaker, instruct)``, each call once, with one seed."""

    @cache
    def said(text: str, speaker: str = "serena", instruct: str | None = None, seed: int = 0) -> SpeechResult:
        return speech.speak(text, speaker=speaker, instruct=instruct, seed=seed)

    return said


def measured(result: SpeechResult) -> Delivery:
    return measure_delivery(result.samples, result.sample_rate)


def test_it_is_whole_small_and_described() -> None:
    assert pocket_faults() == {}
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= MOST_BYTES
    card = (FOLDER / "MODEL_CARD.md").read_text("utf-8")
    assert "not a Qwen model" in card
    assert "<!-- figures -->" not in card


def test_it_has_nine_speakers_and_two_languages(speech: Speech) -> None:
    assert set(speech.languages) == {"auto", "chinese", "english"}
    assert len(speech.speakers) == 9
    assert speech.model.config.instructs
    assert not list(Path(FOLDER).rglob("*.py"))


@pytest.mark.parametrize(("text", "seconds"), [(ENGLISH, (3.0, 6.0)), (CHINESE, (3.5, 7.5))])
@pytest.mark.parametrize("speaker", ["serena", "ryan"])
def test_a_sentence_has_its_length_and_ends_by_itself(
    say: Say, text: str, seconds: tuple[float, float], speaker: str
) -> None:
    result = say(text, speaker)
    assert result.finish_reason == "eos"
    assert [part.attempts for part in result.parts] == [1]
    assert seconds[0] < result.seconds < seconds[1]
    found = measured(result)
    assert 2.5 < found.syllables_per_s < 6.5
    assert found.voiced_share > 0.4
    assert -32 < found.level_dbfs < -12


@pytest.mark.parametrize(("speaker", "instruct"), [("vivian", "30% slower"), ("aiden", "语速放慢30%")])
def test_slower_takes_longer(say: Say, speaker: str, instruct: str) -> None:
    plain, slow = (say(ENGLISH, speaker, style).seconds for style in (None, instruct))
    assert 1.2 < slow / plain < 1.7


@pytest.mark.parametrize(
    ("speaker", "text", "instruct"), [("serena", ENGLISH, "6 semitones higher"), ("ryan", CHINESE, "升高6个半音")]
)
def test_six_semitones_up_are_six_semitones_up(say: Say, speaker: str, text: str, instruct: str) -> None:
    plain, high = (measured(say(text, speaker, style)).median_f0_hz for style in (None, instruct))
    assert 12 * np.log2(high / plain) == pytest.approx(6, abs=1.5)


@pytest.mark.parametrize(
    ("speaker", "text", "instruct"), [("ryan", ENGLISH, "one octave up"), ("serena", CHINESE, "升高八度")]
)
def test_an_octave_up_is_an_octave_up(say: Say, speaker: str, text: str, instruct: str) -> None:
    plain, high = (measured(say(text, speaker, style)).median_f0_hz for style in (None, instruct))
    assert 12 * np.log2(high / plain) == pytest.approx(12, abs=2)


@pytest.mark.parametrize("speaker", ["serena", "ryan"])
def test_a_whisper_has_no_voice(say: Say, speaker: str) -> None:
    assert measured(say(ENGLISH, speaker, "in a whisper")).voiced_share < 0.1


def test_women_speak_higher_than_men(say: Say) -> None:
    women, men = (measured(say(ENGLISH, name)).median_f0_hz for name in ("serena", "uncle_fu"))
    assert women > 1.3 * men


def test_it_stops_with_every_seed(speech: Speech) -> None:
    texts = ["Yes.", "好的。", "The bill is 42 euros.", "我们明天见。"] * 2
    results = speech.speak_many(texts, speaker="dylan", seed=5, batch=8)
    assert {result.finish_reason for result in results} == {"eos"}
    assert all(0.3 < result.seconds < 5 for result in results)
