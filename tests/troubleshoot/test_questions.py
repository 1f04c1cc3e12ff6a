"""The next question is the one that tells the likeliest two causes apart best for its cost."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rulebook import Rulebook, rule_data

from troubleshoot.questions import choose_question, information_bits
from troubleshoot.rule import Question

Make = Callable[..., Rulebook]


def question_data(
    question_id: str, cost_s: float, *weights: dict[str, float], kind: str = "question"
) -> dict[str, object]:
    answers = [
        {"value": f"answer-{place}", "text": f"answer {place}", "weights": each} for place, each in enumerate(weights)
    ]
    return {"id": question_id, "ask": "What?", "ask_zh": "什么？", "cost_s": cost_s, "answers": answers, "kind": kind}


def question(*weights: dict[str, float]) -> Question:
    return Question.model_validate(question_data("a-question", 10, *weights))


def asked(book: Rulebook, *ranked: tuple[str, float], answered: dict[str, str] | None = None) -> str | None:
    chosen = choose_question(book.catalogue, ranked, answered or {})
    return chosen.question.id if chosen else None


SHARP = ({"one": 6, "two": -6}, {"one": -6, "two": 6})
DULL = ({"one": 0.4, "two": -0.4}, {"one": -0.4, "two": 0.4})
EVEN = [("one", 0.4), ("two", 0.4)]


def test_a_question_that_settles_even_odds_is_worth_one_bit() -> None:
    assert information_bits(question(*SHARP), "one", "two", 0.5) == pytest.approx(1.0, abs=0.001)


def test_a_question_that_says_the_same_of_both_is_worth_nothing() -> None:
    assert information_bits(question({"one": 3, "two": 3}, {"one": -3, "two": -3}), "one", "two", 0.5) == 0.0
    assert information_bits(question({"three": 3}, {"three": -3}), "one", "two", 0.5) == 0.0


def test_two_answers_of_known_odds_give_the_bits_of_the_textbook() -> None:
    # P(first answer | one) = 3/4 and P(first answer | two) = 1/4: one bit less the entropy of a 3:1 coin.
    tell = question({"one": math.log(3)}, {"two": math.log(3)})
    expected = 1 + 0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)
    assert information_bits(tell, "one", "two", 0.5) == pytest.approx(expected)


def test_the_sharper_of_two_equally_costly_questions_is_asked(rulebook: Make) -> None:
    questions = [question_data("dull", 10, *DULL), question_data("sharp", 10, *SHARP)]
    assert asked(rulebook(rule_data("one", questions=questions), rule_data("two")), *EVEN) == "sharp"


def test_the_cheaper_of_two_equally_sharp_questions_is_asked(rulebook: Make) -> None:
    questions = [question_data("hour", 3600, *SHARP, kind="experiment"), question_data("minute", 60, *SHARP)]
    assert asked(rulebook(rule_data("one", questions=questions), rule_data("two")), *EVEN) == "minute"


def test_bits_are_weighed_against_seconds(rulebook: Make) -> None:
    questions = [question_data("sharp-and-slow", 3600, *SHARP), question_data("dull-and-quick", 5, *DULL)]
    assert asked(rulebook(rule_data("one", questions=questions), rule_data("two")), *EVEN) == "dull-and-quick"


def test_an_answered_question_is_not_asked_again(rulebook: Make) -> None:
    book = rulebook(rule_data("one", questions=[question_data("sharp", 10, *SHARP)]), rule_data("two"))
    assert asked(book, *EVEN) == "sharp"
    assert asked(book, *EVEN, answered={"sharp": "answer-0"}) is None


def test_a_question_that_hardly_tells_the_two_apart_is_not_asked(rulebook: Make) -> None:
    tiny = ({"one": 0.05}, {"one": -0.05})
    book = rulebook(rule_data("one", questions=[question_data("tiny", 1, *tiny)]), rule_data("two"))
    assert asked(book, *EVEN) is None


def test_with_one_candidate_or_none_there_is_nothing_to_ask(rulebook: Make) -> None:
    book = rulebook(rule_data("one", questions=[question_data("sharp", 10, *SHARP)]), rule_data("two"))
    assert asked(book, ("one", 0.9)) is None
    assert asked(book) is None


def test_a_third_rules_question_counts_only_if_it_is_about_both(rulebook: Make) -> None:
    about_one = question_data("about-one", 1, {"one": 6, "three": 1}, {"one": -6, "three": -1})
    book = rulebook(rule_data("one"), rule_data("two"), rule_data("three", questions=[about_one]))
    assert asked(book, *EVEN) is None
    about_both = question_data("about-both", 1, *SHARP)
    book = rulebook(rule_data("one"), rule_data("two"), rule_data("three", questions=[about_both]))
    assert asked(book, *EVEN) == "about-both"


def test_ties_are_broken_by_name(rulebook: Make) -> None:
    questions = [question_data(name, 10, *SHARP) for name in ("bb", "cc", "aa")]
    assert asked(rulebook(rule_data("one", questions=questions), rule_data("two")), *EVEN) == "cc"


def test_the_question_in_json_says_between_what_it_decides(rulebook: Make) -> None:
    book = rulebook(rule_data("one", questions=[question_data("sharp", 10, *SHARP)]), rule_data("two"))
    chosen = choose_question(book.catalogue, EVEN, {})
    assert chosen is not None
    form = chosen.to_json()
    assert (form["id"], form["between"], form["expected_bits"]) == ("sharp", ["one", "two"], 1.0)
    assert form["answers"] == [{"value": "answer-0", "text": "answer 0"}, {"value": "answer-1", "text": "answer 1"}]


weight = st.floats(-8, 8)
any_question = st.lists(st.fixed_dictionaries({"one": weight, "two": weight}), min_size=2, max_size=6).map(
    lambda weights: question(*weights)
)


@given(any_question, st.floats(0.001, 0.999))
def test_a_question_tells_no_more_than_there_is_to_know(tell: Question, share: float) -> None:
    bits = information_bits(tell, "one", "two", share)
    unknown = -share * math.log2(share) - (1 - share) * math.log2(1 - share)
    assert -1e-9 <= bits <= unknown + 1e-9


@given(any_question, st.floats(0.001, 0.999))
def test_it_does_not_matter_which_cause_is_named_first(tell: Question, share: float) -> None:
    assert information_bits(tell, "one", "two", share) == pytest.approx(information_bits(tell, "two", "one", 1 - share))
