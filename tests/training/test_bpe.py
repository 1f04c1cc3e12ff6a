"""The tokenizer of the pocket voice: short pieces, whole characters, and the files that the toolkit reads."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.synthesis.config import ModelConfig
from toolkit.synthesis.demo_shapes import ADDED_TOKENS
from toolkit.synthesis.tokenizer import TextTokenizer
from training.pocket.bpe import Vocabulary, draw_texts, plain_tokenizer, read_vocabulary, train_bpe, write_tokenizer
from training.pocket.shape import SMOKE, json_files

WORDS = "the weather water better letter after never other mother another good morning house user assistant".split()
CHARACTERS = "你好今天天气很好我们明天早上一起去学校吃饭喝水"


def english(source: random.Random) -> str:
    return " ".join(source.choices(WORDS, k=source.randint(3, 9))).capitalize() + "."


def chinese(source: random.Random) -> str:
    return "".join(source.choices(CHARACTERS, k=source.randint(3, 12))) + "。"


def instruction(source: random.Random) -> str:
    return source.choice(["speak faster", "语速加快20%", "", "用 low pitch 说"])


def texts() -> list[str]:
    return list(draw_texts((english, chinese), instruction, count=300, seed=5))


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return train_bpe([*texts(), "鸟"], pieces=120)


@pytest.fixture
def folder(vocabulary: Vocabulary, tmp_path: Path) -> Path:
    write_tokenizer(tmp_path, vocabulary)
    (tmp_path / "speech_tokenizer").mkdir()
    documents = json_files(SMOKE, base_vocab=len(vocabulary), assistant_id=vocabulary.id_of("assistant"))
    for name, document in documents.items():
        (tmp_path / name).write_text(json.dumps(document), "utf-8")
    return tmp_path


def test_the_same_texts_give_the_same_vocabulary(vocabulary: Vocabulary) -> None:
    assert texts() == texts()
    assert train_bpe([*texts(), "鸟"], pieces=120) == vocabulary


def test_every_frequent_character_is_one_token_and_none_is_longer(vocabulary: Vocabulary) -> None:
    tokenizer = plain_tokenizer(vocabulary)
    for character in CHARACTERS + "。":
        assert len(tokenizer.encode(character).ids) == 1
    sentence = CHARACTERS + "。"
    assert len(tokenizer.encode(sentence).ids) == len(sentence)
    assert len(tokenizer.encode("鸟").ids) > 1
    assert tokenizer.decode(tokenizer.encode("鸟 é 好").ids) == "鸟 é 好"


def test_pieces_of_words_have_at_most_six_letters(vocabulary: Vocabulary) -> None:
    ascii_tokens = [token for token in vocabulary.tokens if token.isascii() or token.startswith("Ġ")]
    assert {token for token in ascii_tokens if len(token) > 6} <= {"assist", "assista", "assistan", "assistant"}
    assert any(len(token) >= 4 for token in ascii_tokens)
    assert not [token for token in vocabulary.tokens if "Ċ" in token and token != "Ċ"]


def test_the_words_of_the_templates_are_single_tokens(vocabulary: Vocabulary) -> None:
    tokenizer = plain_tokenizer(vocabulary)
    for word in ("assistant", "user"):
        assert tokenizer.encode(f"{word}\nHello").tokens[:2] == [word, "Ċ"]


@pytest.mark.parametrize("seen", [WORDS, ["zebra", "fox"]])
def test_words_of_the_templates_need_not_be_in_the_texts(seen: list[str]) -> None:
    tokenizer = plain_tokenizer(train_bpe([" ".join(seen)] * 5, pieces=20))
    assert len(tokenizer.encode("assistant").ids) == len(tokenizer.encode("user").ids) == 1


def test_the_toolkit_reads_the_files_and_splits_the_same(folder: Path, vocabulary: Vocabulary) -> None:
    config = ModelConfig.read(folder)
    tokenizer = TextTokenizer(folder, config)
    assert read_vocabulary(folder) == vocabulary
    assert config.text_ids.im_start == len(vocabulary) + [text for text, _ in ADDED_TOKENS].index("<|im_start|>")
    plain = plain_tokenizer(vocabulary)
    for text in ("Another good letter, 20% better.", "今天 weather 很好。", "", "it's 3:30"):
        ids = tokenizer.assistant(text)
        assert ids.role == (config.text_ids.im_start, config.text_ids.assistant, vocabulary.id_of("Ċ"))
        assert list(ids.role[1:] + ids.text) == plain.encode(f"assistant\n{text}").ids
        user = tokenizer.instruct(text)
        assert list(user[1:-2]) == plain.encode(f"user\n{text}").ids


def test_text_runs_ahead_of_speech(vocabulary: Vocabulary) -> None:
    """26 characters a second in English and 8 in Chinese, at 12.5 tokens a second."""
    tokenizer = plain_tokenizer(vocabulary)
    draws: list[tuple[Callable[[random.Random], str], float]] = [(english, 26.0), (chinese, 8.0)]
    for draw, characters_a_second in draws:
        source = random.Random(9)
        lines = [draw(source) for _ in range(50)]
        tokens = sum(len(item.ids) for item in tokenizer.encode_batch_fast(lines))
        assert 12.5 * sum(map(len, lines)) / tokens >= characters_a_second
