"""Shards say what is in them, are the same each time, and are not made twice."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from training.pocket.corpus import LABEL_SAMPLES, Corpus, draw_line, finished, make_shards
from training.pocket.speech import FRAME_SAMPLES, clauses
from training.pocket.voices import OTHER_VOICES, SPEAKERS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    list(make_shards(folder, [0, 1], seed=11, count=5))
    return folder


def test_samples_labels_and_utterances_fit(folder: Path) -> None:
    corpus = Corpus(folder, finished(folder))
    assert len(corpus.utterances) == 10
    assert len(corpus.waves) == sum(item.samples for item in corpus.utterances)
    assert len(corpus.labels) == len(corpus.waves) // LABEL_SAMPLES
    assert all(item.samples % FRAME_SAMPLES == 0 for item in corpus.utterances)
    assert all(len(item.char_times_s) == len(item.line.text) for item in corpus.utterances)


def test_labels_of_all_shards_share_one_numbering(folder: Path) -> None:
    both, second = Corpus(folder, [0, 1]), Corpus(folder, [1])
    start = both.utterances[5].start // LABEL_SAMPLES
    named = [both.names[number] for number in both.labels[start:]]
    assert named == [second.names[number] for number in second.labels]


def test_silence_is_labelled_silence(folder: Path) -> None:
    corpus = Corpus(folder, [0])
    blocks = np.abs(corpus.waves.astype(np.int32)).reshape(-1, LABEL_SAMPLES).max(1)
    assert (blocks[corpus.labels == 0] < 2000).mean() > 0.9
    assert (blocks[corpus.labels > 0] > 30).mean() > 0.9


def test_the_same_seed_gives_the_same_lines_and_phones(folder: Path, tmp_path: Path) -> None:
    list(make_shards(tmp_path, [1], seed=11, count=5))
    again, first = Corpus(tmp_path, [1]), Corpus(folder, [1])
    assert [item.line for item in again.utterances] == [item.line for item in first.utterances]
    assert len(again.labels) == len(first.labels)
    assert (again.labels == first.labels).mean() > 0.97
    assert len(again.waves) == len(first.waves)


def test_a_finished_shard_is_not_made_again(folder: Path) -> None:
    assert list(make_shards(folder, [0, 1], seed=11, count=5)) == []


def test_lines_mix_languages_speakers_and_styles() -> None:
    source = random.Random(3)
    lines = [draw_line(source) for _ in range(400)]
    assert {line.language for line in lines} == {"english", "chinese"}
    assert {line.speaker for line in lines} == set(SPEAKERS)
    assert 0.2 < sum(line.instruct == "" for line in lines) / len(lines) < 0.4
    assert any(line.style.whisper for line in lines)


def test_a_commanded_pause_has_a_place() -> None:
    source = random.Random(4)
    paused = [line for line in (draw_line(source) for _ in range(600)) if line.style.pause_s is not None]
    assert len(paused) > 10
    assert sum(len(clauses(line.text)) > 1 for line in paused) / len(paused) > 0.9


def test_other_voices_are_others() -> None:
    source = random.Random(5)
    assert {draw_line(source, "others").speaker for _ in range(200)} <= set(OTHER_VOICES)
