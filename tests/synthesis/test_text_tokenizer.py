"""Token ids of the official tokenizer, both rules of splitting words, and folders that cannot be used."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from loaded_model import GOLDENS

from toolkit.errors import BadModelFolder, UsageError
from toolkit.synthesis.config import ModelConfig
from toolkit.synthesis.tokenizer import TextTokenizer, official_rule

Checkpoints = Callable[[str], Path]
TOKENS = json.loads((GOLDENS / "tokens.json").read_text(encoding="utf-8"))
FOLDERS = {
    "small_vocab": ("cv_1b7_a", None),
    "full_vocab": ("cv_1b7_fullvocab", None),
    "full_vocab_version_4.57.0": ("cv_1b7_fullvocab", "4.57.0"),
    "full_vocab_version_4.57.3": ("cv_1b7_fullvocab", "4.57.3"),
}


@pytest.fixture
def small(checkpoint: Checkpoints) -> TextTokenizer:
    folder = checkpoint("cv_1b7_a")
    return TextTokenizer(folder, ModelConfig.read(folder))


@pytest.fixture
def copied(checkpoint: Checkpoints, tmp_path: Path) -> Path:
    """The tokenizer's files, free to be damaged."""
    for name in ("config.json", "generation_config.json", "vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copyfile(checkpoint("cv_1b7_a") / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("situation", FOLDERS)
def test_ids_are_those_of_the_official_package(checkpoint: Checkpoints, situation: str) -> None:
    name, version = FOLDERS[situation]
    folder = checkpoint(name)
    config = dataclasses.replace(ModelConfig.read(folder), transformers_version=version)
    tokenizer = TextTokenizer(folder, config)
    found = [list(tokenizer.assistant(text).whole) for text in TOKENS["texts"]]
    assert found == TOKENS["ids"][situation]


def test_a_model_named_by_its_repository_splits_words_as_qwen_does(checkpoint: Checkpoints) -> None:
    folder = checkpoint("cv_1b7_fullvocab")
    config = ModelConfig.read(folder)
    hub = TextTokenizer(folder, config, from_hub=True)
    asked = TextTokenizer(folder, config, rule="qwen")
    for tokenizer in (hub, asked):
        found = [list(tokenizer.assistant(text).whole) for text in TOKENS["texts"]]
        assert found == TOKENS["ids"]["full_vocab_version_4.57.0"]
    assert (hub.rule, hub.reason) == ("qwen", "the model was named by its repository")
    assert (asked.rule, asked.reason) == ("qwen", "asked for")


@pytest.mark.parametrize(
    ("vocabulary", "version", "from_hub", "rule"),
    [
        (151_676, None, False, "mistral"),
        (151_676, None, True, "qwen"),
        (100_000, None, False, "qwen"),
        (100_001, None, False, "mistral"),
        (151_676, "4.57.2", False, "qwen"),
        (151_676, "4.57.3", False, "mistral"),
        (151_676, "4.58.0.dev0", False, "mistral"),
        (151_676, "5.0.0", False, "qwen"),
        (151_676, "4.40.1", False, "qwen"),
    ],
)
def test_the_official_rule_hangs_on_place_size_and_version(
    vocabulary: int, version: str | None, from_hub: bool, rule: str
) -> None:
    assert official_rule(vocabulary, version, from_hub=from_hub)[0] == rule


def test_slices_are_taken_by_position(small: TextTokenizer) -> None:
    ids = small.assistant("你好")
    assert ids.whole == (*ids.role, *ids.text, *ids.whole[-5:])
    assert len(ids.role) == 3
    reference = small.reference("你好")
    assert reference.text == ids.text
    assert reference.whole == (*reference.role, *reference.text, *reference.whole[-2:])


def test_an_empty_text_has_no_ids_and_begins_with_the_end_mark(small: TextTokenizer, checkpoint: Checkpoints) -> None:
    ids = small.assistant("")
    assert ids.text == ()
    assert ids.first == ModelConfig.read(checkpoint("cv_1b7_a")).text_ids.im_end


def test_marks_inside_a_text_are_obeyed_or_spoken(small: TextTokenizer, checkpoint: Checkpoints) -> None:
    end = ModelConfig.read(checkpoint("cv_1b7_a")).text_ids.im_end
    text = "他说<|im_end|>然后"
    assert end in small.assistant(text).text
    assert end not in small.assistant(text, parse_marks=False).text
    assert end not in small.reference(text, parse_marks=False).text
    assert small.instruct(text, parse_marks=False).count(end) == 1


def test_without_marks_both_ways_give_the_same_ids(small: TextTokenizer) -> None:
    for text in (text for text in TOKENS["texts"] if "<" not in text):
        assert small.assistant(text) == small.assistant(text, parse_marks=False)


def test_text_is_composed_before_it_is_split(small: TextTokenizer) -> None:
    assert small.assistant("cafe\u0301") == small.assistant("caf\u00e9")


def test_half_a_surrogate_pair_is_refused(small: TextTokenizer) -> None:
    for parse_marks in (True, False):
        with pytest.raises(UsageError, match="half of a surrogate pair"):
            small.assistant("abc\ud83d", parse_marks=parse_marks)


def test_a_tokenizer_of_another_model_is_refused(copied: Path) -> None:
    vocab = json.loads((copied / "vocab.json").read_text(encoding="utf-8"))
    config = ModelConfig.read(copied)
    swapped = {"assistant": vocab["a"], "a": vocab["assistant"]}
    (copied / "vocab.json").write_text(json.dumps(vocab | swapped), encoding="utf-8")
    with pytest.raises(BadModelFolder, match=r"assistant is id .* for the tokenizer and .* in config.json"):
        TextTokenizer(copied, config)


def test_more_ids_than_embedding_rows_are_refused(copied: Path) -> None:
    config = ModelConfig.read(copied)
    narrow = dataclasses.replace(config, talker=dataclasses.replace(config.talker, text_vocab=1500))
    with pytest.raises(BadModelFolder, match=r"the tokenizer knows id .*, the text embedding has 1500 rows"):
        TextTokenizer(copied, narrow)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("merges.txt", None, "merges.txt is missing"),
        ("merges.txt", "#version: 0.2\na b c\n", "merges.txt, line 2: a merge is two parts and a space"),
        ("merges.txt", "#version: 0.2\nno-such-token b\n", "vocab.json and merges.txt do not fit together"),
        ("vocab.json", None, "vocab.json is missing"),
        ("vocab.json", '{"a": -1}', "vocab.json: a must be a whole number"),
        ("tokenizer_config.json", "{}", "added_tokens_decoder is missing"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"x": {}}}', "must be under a whole number"),
    ],
)
def test_damaged_files_are_named(copied: Path, name: str, content: str | None, message: str) -> None:
    config = ModelConfig.read(copied)
    (copied / name).unlink()
    if content is not None:
        (copied / name).write_text(content, encoding="utf-8")
    with pytest.raises(BadModelFolder, match=message):
        TextTokenizer(copied, config)
