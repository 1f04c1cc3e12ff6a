"""What the engine says of its own speech: phones, tones and words with their times."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.pocket.espeak import Engine, split_tones
from training.pocket.sentences.chinese_reading import reading
from training.pocket.speech import _engine


@pytest.fixture(scope="module")
def engine() -> Engine:
    return _engine()


def test_each_character_has_its_tone(engine: Engine) -> None:
    raw = engine.speak("今天很好", "cmn+ryan", words_per_minute=175, pitch=50, pitch_range=50)
    assert [phone.tone for phone in raw.phones if phone.tone] == [1, 1, 3, 3]


def test_two_characters_of_one_word_have_two_tones(engine: Engine) -> None:
    raw = engine.speak("你好", "cmn+ryan", words_per_minute=175, pitch=50, pitch_range=50)
    tones = [(phone.name, phone.tone) for phone in raw.phones if phone.name != "_"]
    assert tones == [("n", 0), ("i", 3), ("X", 0), ("Au", 3)]


def test_tones_are_counted_in_letters_of_phones() -> None:
    assert split_tones("ni214X'Au214_|") == [(2, 3), (5, 3)]
    assert split_tones("tS;h'i51N_|m'@11n_|") == [(5, 4), (8, 5)]
    assert split_tones("(en)wi:(cmn)_|X@35_|") == [(5, 2)]
    assert split_tones("k'o-11_|p'A11_|") == [(3, 5), (5, 5)]  # the hyphen belongs to the phone


def test_all_nuclei_of_the_unseen_sentences_have_tones(engine: Engine) -> None:
    path = Path(__file__).parents[2] / "training" / "pocket" / "unseen" / "chinese.txt"
    for text in path.read_text("utf-8").splitlines()[:60]:
        raw = engine.speak(reading(text).text, "cmn+ryan", words_per_minute=175, pitch=50, pitch_range=50)
        for phone in raw.phones:
            if phone.name != "_":
                assert (phone.tone > 0) == (phone.name[0] in "aAeEiIoOuUyY@&V0123"), (text, phone)


def test_words_point_into_the_text(engine: Engine) -> None:
    text = "Good morning, dear friends"
    raw = engine.speak(text, "en-us+serena", words_per_minute=175, pitch=50, pitch_range=50)
    assert [text[word.start : word.stop] for word in raw.words] == ["Good", "morning", "dear", "friends"]
    assert [word.time_s for word in raw.words] == sorted(word.time_s for word in raw.words)


def test_phones_fill_the_sound_without_a_gap(engine: Engine) -> None:
    raw = engine.speak("One two three.", "en-us+dylan", words_per_minute=175, pitch=50, pitch_range=50)
    assert all(a.stop_s == b.start_s for a, b in zip(raw.phones, raw.phones[1:], strict=False))
    assert raw.phones[-1].stop_s == pytest.approx(len(raw.samples) / raw.rate_hz)


def test_an_unknown_voice_is_named(engine: Engine) -> None:
    with pytest.raises(ValueError, match="tlh"):
        engine.speak("qo", "tlh+nobody", words_per_minute=175, pitch=50, pitch_range=50)
