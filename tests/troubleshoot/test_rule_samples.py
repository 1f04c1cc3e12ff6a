"""Samples hold when their rule comes first and is believed; a miss holds when it does not, or another does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rulebook import Rulebook, log_item, rule_data, words_item, write_rule, write_samples

from troubleshoot.catalogue import load_samples
from troubleshoot.samples import SampleOutcome, case_of, check_samples

Make = Callable[..., Rulebook]
RULES = (
    rule_data("boiler-burst", log_item("boiler burst", 6), words_item("bang", 3)),
    rule_data("tap-closed", log_item("tap closed", 6)),
)


def outcomes(
    book: Rulebook, folder: Path, hit: list[dict[str, object]], miss: list[dict[str, object]]
) -> list[SampleOutcome]:
    path = write_samples(
        write_rule(folder, RULES[0]), hit or [{"name": "none", "log": "x"}], miss or [{"name": "none", "log": "x"}]
    )
    samples = load_samples(path, "boiler-burst")
    found = list(check_samples(book.matcher, book.catalogue.by_id["boiler-burst"], samples))
    return [outcome for outcome in found if outcome.name != "none"]


@pytest.mark.parametrize(
    ("sample", "holds"),
    [
        ({"log": "boiler burst\n"}, True),
        ({"log": "boiler burst, tap closed\n"}, True),
        ({"log": "tap closed\n"}, False),
        ({"log": "nothing\n"}, False),
        ({"words": "a bang"}, False),
        ({"words": "a bang, it says boiler burst"}, True),
    ],
)
def test_a_hit_holds_when_the_rule_is_first_and_known(
    rulebook: Make, tmp_path: Path, sample: dict[str, object], holds: bool
) -> None:
    (outcome,) = outcomes(rulebook(*RULES), tmp_path, [{"name": "s", **sample}], [])
    assert (outcome.rule, outcome.wanted, outcome.holds) == ("boiler-burst", "hit", holds)


def test_a_hit_may_be_content_with_the_first_three(rulebook: Make, tmp_path: Path) -> None:
    stronger = {**RULES[1], "evidence": [log_item("tap closed", 7), log_item("tap", 2, "b")]}
    book = rulebook(RULES[0], stronger)
    strict = {"name": "first", "log": "boiler burst, tap closed\n"}
    lax = {**strict, "name": "three", "top": 3}
    assert [outcome.holds for outcome in outcomes(book, tmp_path, [strict, lax], [])] == [False, True]


@pytest.mark.parametrize(
    ("sample", "wanted", "holds"),
    [
        ({"log": "tap closed\n"}, "miss (anything else)", True),
        ({"log": "nothing\n"}, "miss (anything else)", True),
        ({"log": "boiler burst\n"}, "miss (anything else)", False),
        ({"log": "tap closed\n", "expect": "tap-closed"}, "miss (tap-closed)", True),
        ({"log": "nothing\n", "expect": "tap-closed"}, "miss (tap-closed)", False),
        ({"log": "boiler burst\n", "expect": "tap-closed"}, "miss (tap-closed)", False),
    ],
)
def test_a_miss_holds_when_the_rule_is_not_first(
    rulebook: Make, tmp_path: Path, sample: dict[str, object], wanted: str, holds: bool
) -> None:
    (outcome,) = outcomes(rulebook(*RULES), tmp_path, [], [{"name": "s", **sample}])
    assert (outcome.wanted, outcome.holds) == (wanted, holds)


def test_an_outcome_says_what_was_found_instead(rulebook: Make, tmp_path: Path) -> None:
    found = outcomes(
        rulebook(*RULES), tmp_path, [{"name": "a", "log": "tap closed\n"}, {"name": "b", "log": "x\n"}], []
    )
    assert [outcome.found for outcome in found] == ["tap-closed 0.89", "nothing"]


def test_told_facts_audio_and_answers_of_a_sample_are_used(rulebook: Make, tmp_path: Path) -> None:
    question = {
        "id": "loud", "ask": "Loud?", "ask_zh": "响吗？", "cost_s": 5,
        "answers": [
            {"value": "very", "text": "very", "weights": {"boiler-burst": 7}},
            {"value": "hardly", "text": "hardly", "weights": {"boiler-burst": -7}},
        ],
    }  # fmt: skip
    items = [
        {"fact": {"gpu.cc": "< 8.0"}, "weight": 7, "group": "card", "why": "w"},
        {"audio": {"audio.peak": "> 0.9"}, "weight": 7, "group": "sound", "why": "w"},
    ]
    book = rulebook({**RULES[0], "evidence": items, "questions": [question]}, RULES[1])
    hits = [
        {"name": "facts", "facts": {"gpu": "Tesla T4"}},
        {"name": "audio", "audio": {"audio.peak": 0.99}},
        {"name": "answers", "answers": {"loud": "very"}},
    ]
    assert all(outcome.holds for outcome in outcomes(book, tmp_path, hits, []))


def test_a_blank_log_is_no_log(rulebook: Make) -> None:
    matcher = rulebook(*RULES).matcher
    assert case_of(matcher, log="  \n", words=None, facts={}).logs == {}
    assert case_of(matcher, log=None, words="a", facts={"torch": "2.8.0"}).facts["torch.version"] == "2.8.0"
