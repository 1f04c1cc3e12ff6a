"""From a case to observations: what counts whole, what counts less, and what is no evidence at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rulebook import Rulebook, fact_item, log_item, rule_data, words_item

from troubleshoot.evidence import Case, Observation
from troubleshoot.facts import NA

Make = Callable[..., Rulebook]


def weights(book: Rulebook, case: Case, kind: str = "") -> dict[str, list[float]]:
    """Weights of the observations of a kind, by rule."""
    found: dict[str, list[float]] = {}
    for seen in book.matcher.observe(case):
        if seen.kind == kind or not kind:
            found.setdefault(seen.rule, []).append(round(seen.weight, 4))
    return found


def test_a_log_hit_is_observed_with_its_place(rulebook: Make) -> None:
    book = rulebook(rule_data("cause", log_item("boiler burst", 4)))
    (seen,) = book.matcher.observe(book.case("all well\nERROR boiler burst at 90 C\n"))
    assert seen == Observation(
        "cause", "log", 4.0, "message", "the log says boiler burst", "ERROR boiler burst at 90 C", "run.log", 2
    )
    assert seen.to_json()["line"] == 2


def test_a_pattern_counts_once_however_often_it_is_printed(rulebook: Make) -> None:
    book = rulebook(rule_data("cause", log_item("boiler burst", 4)))
    assert weights(book, book.case("boiler burst\n" * 50)) == {"cause": [4.0]}


def test_a_line_that_is_known_to_be_harmless_is_weak_evidence_for_a_cause(rulebook: Make) -> None:
    book = rulebook(
        rule_data("notice", log_item("FutureNotice", 5), kind="harmless"),
        rule_data("cause", log_item("valve is old", 4)),
    )
    assert weights(book, book.case("FutureNotice: valve is old\n"))["cause"] == [1.0]
    assert weights(book, book.case("valve is old\n"))["cause"] == [4.0]


def test_what_stands_after_the_first_explained_exception_counts_less(rulebook: Make) -> None:
    book = rulebook(rule_data("first", log_item("boiler burst", 4)), rule_data("later", log_item("no hot water", 4)))
    log = "RuntimeError: boiler burst\n\nDuring handling of the above\n\nValueError: no hot water\n"
    assert weights(book, book.case(log), "log") == {"first": [4.0], "later": [3.2]}


def test_an_exception_that_nothing_explains_casts_no_shade(rulebook: Make) -> None:
    book = rulebook(rule_data("later", log_item("no hot water", 4)))
    log = "RuntimeError: riddle\n\nDuring handling of the above\n\nValueError: no hot water\n"
    assert weights(book, book.case(log)) == {"later": [4.0]}


def test_negative_evidence_is_not_shaded(rulebook: Make) -> None:
    book = rulebook(
        rule_data("first", log_item("boiler burst", 4)),
        rule_data("against", log_item("boiler burst", 1), log_item("water is hot", -5)),
    )
    log = "RuntimeError: boiler burst\nlast words\n\nValueError: odd\nwater is hot\n"
    assert -5.0 in weights(book, book.case(log))["against"]


def test_facts_count_when_all_conditions_hold(rulebook: Make) -> None:
    book = rulebook(rule_data("old-card", fact_item(2, gpu_cc="< 8.0", gpu_vendor="== nvidia")))
    (seen,) = book.matcher.observe(book.case(facts={"gpu.cc": "7.5", "gpu.vendor": "nvidia"}))
    assert (seen.kind, seen.weight, seen.quote) == ("fact", 2.0, "gpu.cc = 7.5, gpu.vendor = nvidia")
    assert not book.matcher.observe(book.case(facts={"gpu.cc": "7.5"}))
    assert not book.matcher.observe(book.case(facts={"gpu.cc": "8.6", "gpu.vendor": "nvidia"}))


def test_nothing_is_concluded_from_a_fact_that_is_missing_unless_asked(rulebook: Make) -> None:
    book = rulebook(
        rule_data("not-equal", fact_item(2, torch_build="!= cpu")),
        rule_data("unknown", fact_item(2, torch_build="unknown")),
    )
    assert set(weights(book, Case())) == {"unknown"}
    assert set(weights(book, Case(facts={"torch.build": NA("torch is not installed")}))) == {"unknown"}
    assert set(weights(book, Case(facts={"torch.build": "cu128"}))) == {"not-equal"}


def test_audio_measures_are_facts_of_their_own_kind(rulebook: Make) -> None:
    item = {"audio": {"audio.peak": "< 1e-4"}, "weight": 3, "group": "sound", "why": "nothing to hear"}
    book = rulebook(rule_data("silence", item))
    (seen,) = book.matcher.observe(book.case(audio={"audio.peak": 0.0}))
    assert (seen.kind, seen.quote) == ("audio", "audio.peak = 0.0")
    assert not book.matcher.observe(book.case(audio={"audio.peak": 0.5}))
    assert not book.matcher.observe(book.case(audio={"audio.peak": NA("not a number")}))


def test_words_are_matched_by_idea_and_by_quoted_messages(rulebook: Make) -> None:
    book = rulebook(rule_data("cause", words_item("(slow|慢)", 2), log_item("boiler burst", 4)))
    assert weights(book, book.case(words="so SLOW"), "words") == {"cause": [2.0]}
    assert weights(book, book.case(words="太慢了"), "words") == {"cause": [2.0]}
    assert weights(book, book.case(words="it says boiler\nburst"), "words") == {"cause": [3.6]}


def test_a_message_that_the_log_shows_is_not_counted_again_when_quoted(rulebook: Make) -> None:
    book = rulebook(rule_data("cause", log_item("boiler burst", 4)))
    assert weights(book, book.case("boiler burst\n", "why boiler burst")) == {"cause": [4.0]}


def test_words_with_half_characters_are_no_trouble(rulebook: Make) -> None:
    book = rulebook(rule_data("cause", words_item("slow", 2), log_item("boiler", 2)))
    assert weights(book, book.case(words="slow \ud800 boiler"), "words") == {"cause": [2.0, 1.8]}


def test_the_fit_with_a_rules_sayings_names_the_shared_words(rulebook: Make) -> None:
    rules = [
        rule_data("kettle-leaks", says={"en": ["the kettle leaks"]}),
        rule_data("lamp-flickers", says={"en": ["the lamp flickers"]}),
    ]
    book = rulebook(*rules)
    (seen,) = book.matcher.observe(book.case(words="my kettle leaks"))
    assert (seen.rule, seen.kind, seen.group) == ("kettle-leaks", "says", "says")
    assert seen.why.endswith("kettle, leak")


def test_a_cause_that_leaves_the_logs_message_unexplained_loses_a_little(rulebook: Make) -> None:
    book = rulebook(rule_data("logged", log_item("boiler burst", 4)), rule_data("told", words_item("cold", 2)))
    assert weights(book, book.case("boiler burst\n", "it is cold"))["told"] == [2.0, -1.0]
    assert weights(book, book.case("nothing\n", "it is cold"))["told"] == [2.0]


def test_answers_weigh_what_their_question_says(rulebook: Make) -> None:
    question = {
        "id": "is-it-hot", "ask": "Is it hot?", "ask_zh": "热吗？", "cost_s": 5,
        "answers": [
            {"value": "warm", "text": "yes", "weights": {"one": 3, "two": -2}},
            {"value": "cold", "text": "no", "weights": {"two": 4}},
        ],
    }  # fmt: skip
    book = rulebook(rule_data("one", questions=[question]), rule_data("two"))
    assert weights(book, book.case(answers={"is-it-hot": "warm"})) == {"one": [3.0], "two": [-2.0]}
    assert weights(book, book.case(answers={"is-it-hot": "other"})) == {}
    assert weights(book, book.case(answers={"unheard-of": "warm"})) == {}


@pytest.mark.parametrize(
    ("told", "kept"),
    [({"os.wsl": False}, False), ({"os.wsl": NA("not looked")}, True), ({"os.wsl": None}, True), ({}, True)],
)
def test_what_was_measured_wins_over_what_words_say_even_when_it_is_false(
    rulebook: Make, told: dict[str, object], kept: bool
) -> None:
    facts = rulebook().matcher.all_facts(Case(words="under WSL2 on an RTX 3060", facts=told))
    assert facts["os.wsl"] is kept
    assert facts["gpu.cc"] == "8.6"


def test_facts_that_a_log_states_complete_the_case(rulebook: Make) -> None:
    book = rulebook(rule_data("old-card", fact_item(2, gpu_cc="< 8.0")))
    assert weights(book, book.case("using Tesla T4\n"), "fact") == {"old-card": [2.0]}
    assert weights(book, book.case("using Tesla T4\n", facts={"gpu.cc": "8.6"}), "fact") == {}


def test_several_logs_are_told_apart(rulebook: Make) -> None:
    book = rulebook(rule_data("cause", log_item("boiler burst", 4)))
    scans = {name: book.case("boiler burst\n").logs["run.log"] for name in ("a.log", "b.log")}
    assert [seen.source for seen in book.matcher.observe(Case(logs=scans))] == ["a.log", "b.log"]
