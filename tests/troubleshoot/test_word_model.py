"""Words fit the rule whose sayings share them; rare words tell more than common ones, and empty words tell nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rulebook import Rulebook, rule_data

from troubleshoot.words import WordModel, tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The graphics card", ["gpu", "gpu"]),
        ("crashes, crashed; CRASH!", ["fail", "fail", "fail"]),
        ("installing the installed", ["install", "install"]),
        ("speaking voices", ["generate", "voice"]),
        ("hissing", ["noise"]),
        ("It is what it was", []),
        ("RTX 4090 with 24GB, torch 2.8", ["torch"]),
        ("显存不足", ["显存", "存不", "不足"]),
        ("慢", ["慢"]),
        ("GPU很慢", ["gpu", "很慢"]),
        ("...", []),
        ("", []),
    ],
)
def test_words_are_brought_to_one_form(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


def model_of(rulebook: Callable[..., Rulebook], **sayings: list[str]) -> WordModel:
    rules = [rule_data(rule_id.replace("_", "-"), says={"en": lines}) for rule_id, lines in sayings.items()]
    return WordModel(rulebook(*rules).catalogue)


def test_the_rule_that_shares_the_words_is_found(rulebook: Callable[..., Rulebook]) -> None:
    model = model_of(
        rulebook, crackle=["there is a crackle between sentences"], port=["the port is taken"], slow=["slow speech"]
    )
    scores = model.scores("a crackle after each sentence")
    assert max(scores, key=lambda rule_id: scores[rule_id].log_odds) == "crackle"
    assert "port" not in scores
    assert set(scores["crackle"].shared) == {"noise", "sentence"}


def test_a_word_of_one_rule_tells_more_than_a_word_of_all(rulebook: Callable[..., Rulebook]) -> None:
    model = model_of(rulebook, one=["kettle whistles"], two=["kettle boils"], three=["kettle leaks"])
    assert model.scores("kettle whistles")["one"].log_odds > 0
    assert model.scores("kettle").get("one") is None or model.scores("kettle")["one"].log_odds < 1


def test_words_that_a_rule_does_not_use_speak_against_it(rulebook: Callable[..., Rulebook]) -> None:
    model = model_of(rulebook, one=["whistle lamp kettle"], two=["table chair"], three=["window door"])
    assert model.scores("whistle")["one"].log_odds > model.scores("whistle table")["one"].log_odds


def test_words_that_no_rule_knows_say_nothing(rulebook: Callable[..., Rulebook]) -> None:
    model = model_of(rulebook, one=["whistle"], two=["table"])
    assert model.scores("zebra giraffe") == {}
    assert model.scores("whistle zebra") == model.scores("whistle")


def test_chinese_words_are_compared_by_pairs(rulebook: Callable[..., Rulebook]) -> None:
    rules = [
        rule_data("one", says={"en": ["word"], "zh": ["声音断断续续"]}),
        rule_data("two", says={"en": ["term"], "zh": ["显卡没有用上"]}),
    ]
    scores = WordModel(rulebook(*rules).catalogue).scores("为什么声音老是断断续续")
    assert list(scores) == ["one"]


def test_an_empty_catalogue_scores_nothing(rulebook: Callable[..., Rulebook]) -> None:
    assert WordModel(rulebook().catalogue).scores("slow") == {}


@given(st.text(max_size=60))
def test_any_text_gives_tokens_that_are_their_own_form(text: str) -> None:
    assert all(token and token == token.lower() for token in tokens(text))


@pytest.fixture(scope="module")
def two_rules(tmp_path_factory: pytest.TempPathFactory) -> WordModel:
    rules = [rule_data("crackle", says={"en": ["a crackle"]}), rule_data("port", says={"en": ["the port is taken"]})]
    return WordModel(Rulebook(tmp_path_factory.mktemp("two"), *rules).catalogue)


@given(st.lists(st.sampled_from(["crackle", "port", "slow", "noise", "taken", "zebra", "the"]), max_size=30))
def test_scores_stay_between_0_and_5(two_rules: WordModel, words: list[str]) -> None:
    scores = two_rules.scores(" ".join(words))
    assert all(0 < score.log_odds <= 5 for score in scores.values())
    assert scores == two_rules.scores(" ".join(words))
