"""The recogniser learns an easy language of tones, writes it down again, and does not depend on level or padding."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from training.pocket.espeak import Phone
from training.pocket.recogniser import Recogniser, RecogniserSettings, Recordings, load, save, symbols_of, train

RATE = 24_000
SMALL = RecogniserSettings(width=48, blocks=2, kernel=5, batch=8, learning_rate=4e-3, warmup_steps=10)
PITCHES = {"en:a": 400.0, "en:b": 1100.0, "zh:c": 2500.0}
Samples = NDArray[np.float32]


def spoken(source: np.random.Generator) -> tuple[Samples, list[str]]:
    """A few beeps, each a symbol."""
    text = [str(name) for name in source.choice(list(PITCHES), source.integers(2, 6))]
    pieces = [np.zeros(source.integers(1000, 4000))]
    for symbol in text:
        times = np.arange(source.integers(2400, 4800)) / RATE
        pieces += [0.1 * np.sin(2 * np.pi * PITCHES[symbol] * times), np.zeros(source.integers(1000, 2400))]
    return np.concatenate(pieces).astype(np.float32), text


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Samples, list[str]]]:
    source = np.random.default_rng(0)
    return [spoken(source) for _ in range(80)]


@pytest.fixture(scope="module")
def trained(pairs: list[tuple[Samples, list[str]]]) -> Recogniser:
    return train(Recordings(pairs), time_limit_s=120, max_steps=100, settings=SMALL, log=lambda line: None)


def test_symbols_are_phones_by_language_with_tones_behind() -> None:
    phones = [Phone("_", 0, 1), Phone("n", 1, 2), Phone("i", 2, 3, 3), Phone("(en)", 3, 3), Phone("N", 3, 4)]
    assert symbols_of(phones, "chinese") == ["zh:n", "zh:i", "T3", "zh:N"]
    assert symbols_of(phones[:2], "english") == ["en:n"]
    with pytest.raises(ValueError, match="latin"):
        symbols_of(phones, "latin")


def test_a_short_training_learns_an_easy_language(trained: Recogniser, pairs: list[tuple[Samples, list[str]]]) -> None:
    source = np.random.default_rng(99)
    unseen = [spoken(source) for _ in range(20)]
    heard = trained.recognise([wave for wave, _ in unseen], batch=7)
    right = sum(found == text for found, (_, text) in zip(heard, unseen, strict=True))
    assert right >= 18


def test_neither_level_nor_company_changes_what_is_heard(
    trained: Recogniser, pairs: list[tuple[Samples, list[str]]]
) -> None:
    waves = [wave for wave, _ in pairs[:6]]
    together = trained.recognise(waves)
    assert [trained.recognise([wave])[0] for wave in waves] == together
    assert trained.recognise([np.float32(0.05) * wave for wave in waves]) == together


def test_padding_changes_no_score(trained: Recogniser) -> None:
    wave = torch.from_numpy(spoken(np.random.default_rng(5))[0])[None]
    lengths = torch.tensor([wave.shape[1]])
    with torch.inference_mode():
        short, frames = trained(wave, lengths)
        long, same = trained(torch.nn.functional.pad(wave, (0, 12_345)), lengths)
    assert int(frames) == int(same) == short.shape[1]
    torch.testing.assert_close(long[:, : int(frames)], short, atol=1e-4, rtol=0)
    torch.testing.assert_close(short.exp().sum(-1), torch.ones_like(short[..., 0]))


def test_there_are_fifty_frames_a_second() -> None:
    model = Recogniser(["a"], SMALL)
    scores, frames = model(torch.zeros(1, 10 * RATE), torch.tensor([10 * RATE]))
    assert scores.shape == (1, 501, 2)
    assert int(frames) == 501


def test_silence_and_nothing_are_heard_as_nothing_much(trained: Recogniser) -> None:
    heard = trained.recognise([np.zeros(0, np.float32), np.zeros(RATE, np.float32), np.full(RATE, np.nan, np.float32)])
    assert heard[0] == []
    assert len(heard) == 3


def test_repeats_need_a_blank_between_them() -> None:
    model = Recogniser(["a", "b"], SMALL)
    path = np.array([0, 1, 1, 0, 1, 2, 2, 0, 0])
    assert model._collapsed(path) == ["a", "a", "b"]
    assert model._collapsed(np.array([], int)) == []


def test_the_full_size_has_two_and_a_half_million_parameters_and_is_quick_on_a_cpu() -> None:
    model = Recogniser([f"en:{index}" for index in range(130)])
    assert sum(value.numel() for value in model.parameters()) == pytest.approx(2.5e6, rel=0.06)
    waves = [np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32) for _ in range(16)]
    model.recognise(waves[:1])
    began = time.perf_counter()
    model.recognise(waves)
    # It is above 100 on two free cores; others may be at work beside the tests.
    assert 64 / (time.perf_counter() - began) > 15


def test_a_saved_recogniser_hears_the_same(
    trained: Recogniser, pairs: list[tuple[Samples, list[str]]], tmp_path: Path
) -> None:
    path = tmp_path / "ear.safetensors"
    save(trained, path)
    again = load(path)
    assert again.symbols == trained.symbols == tuple(sorted(PITCHES))
    waves = [wave for wave, _ in pairs[:4]]
    assert again.recognise(waves) == trained.recognise(waves)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, str(path), {"symbols": json.dumps(["a"])})
    with pytest.raises(ValueError, match=r"other\.safetensors is no recogniser"):
        load(path)


def test_batches_have_one_padded_length_and_an_epoch_holds_all(pairs: list[tuple[Samples, list[str]]]) -> None:
    data = Recordings(pairs)
    seen: set[int] = set()
    for rows in data.batches(8, np.random.default_rng(0)):
        assert len(rows) == 8
        waves, lengths = data.waves(rows)
        assert waves.shape == (8, 12_000 * -(-int(lengths.max()) // 12_000))
        for place, row in enumerate(rows):
            wave = pairs[row][0]
            count = int(lengths[place])
            np.testing.assert_allclose(waves[place, :count].numpy(), wave, atol=1e-4)
            assert not waves[place, count:].any()
        texts = iter(data.texts(rows).tolist())
        for row in rows:
            assert [data.symbols[next(texts) - 1] for _ in pairs[row][1]] == pairs[row][1]
        seen |= set(rows.tolist())
    assert seen == set(range(len(pairs)))


def test_whole_numbers_are_taken_as_samples_of_16_bits(pairs: list[tuple[Samples, list[str]]]) -> None:
    wave, text = pairs[0]
    data = Recordings([((wave * 32768).astype(np.int16), text), (wave, text), (wave, []), (wave[:0], text)])
    assert len(data) == 2
    first, _ = data.waves(np.array([0]))
    second, _ = data.waves(np.array([1]))
    assert float((first - second).abs().max()) < 1e-4


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to learn from"):
        Recordings([])


def test_training_ends_by_the_clock_and_is_the_same_for_a_seed(pairs: list[tuple[Samples, list[str]]]) -> None:
    told: list[str] = []
    began = time.perf_counter()
    train(Recordings(pairs[:16]), time_limit_s=0.5, settings=SMALL, log=told.append, log_steps=1)
    assert time.perf_counter() - began < 10
    assert "symbols" in told[0]
    assert "ms a step" in told[1]
    assert "steps in" in told[-1]
    models = [
        train(Recordings(pairs[:16]), time_limit_s=1e9, max_steps=2, seed=3, settings=SMALL, log=told.append)
        for _ in range(2)
    ]
    for first, second in zip(*(model.state_dict().values() for model in models), strict=True):
        torch.testing.assert_close(first, second)
