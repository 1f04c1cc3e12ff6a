"""The ranking: capped groups, roots before symptoms, circumstances below complaints, and an honest "not known"."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rulebook import Rulebook, fact_item, log_item, rule_data, words_item

from troubleshoot.engine import GROUP_CAP, THRESHOLD, Diagnosis, diagnose, score_observations
from troubleshoot.evidence import Observation

Make = Callable[..., Rulebook]
PRIOR = math.log(0.02 / 0.98)


def order(diagnosis: Diagnosis) -> list[str]:
    return [found.rule.id for found in diagnosis.findings]


@pytest.fixture(scope="module")
def one_cause(tmp_path_factory: pytest.TempPathFactory) -> Rulebook:
    return Rulebook(tmp_path_factory.mktemp("one"), rule_data("cause"))


def observation(weight: float, group: str = "message", kind: str = "log", rule: str = "cause") -> Observation:
    return Observation(rule, kind, weight, group, "why", f"{group} {weight}")


def odds_of(book: Rulebook, *seen: Observation, complaint: bool = True) -> float:
    (found,) = score_observations(book.catalogue, seen, complaint=complaint)
    return found.log_odds - PRIOR


# ---- groups -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "total"),
    [
        ([4], 4.0),
        ([4, 2], 4.5),
        ([2, 4], 4.5),
        ([4, 2, 2, 1], 5.25),
        ([6, 6, 6], 7.0),
        ([8], 7.0),
        ([4, -1], 3.0),
        ([4, -2, -2], 1.5),
        ([1, -8], -6.99999),
    ],
)
def test_echoes_in_a_group_count_a_quarter_and_the_group_is_capped(
    rulebook: Make, weights: list[float], total: float
) -> None:
    book = rulebook(rule_data("cause"))
    assert odds_of(book, *(observation(weight) for weight in weights)) == pytest.approx(total, abs=1e-3)


def test_independent_groups_add_up(rulebook: Make) -> None:
    book = rulebook(rule_data("cause"))
    assert odds_of(book, observation(4, "a"), observation(3, "b"), observation(-2, "c")) == pytest.approx(5)


def test_one_traceback_of_many_lines_is_one_piece_of_evidence(rulebook: Make) -> None:
    items = [log_item(f"echo {number}", 5) for number in range(12)]
    book = rulebook(rule_data("cause", *items))
    log = "".join(f"echo {number}\n" for number in range(12))
    assert book.log_odds(log)["cause"] == pytest.approx(PRIOR + GROUP_CAP)


@given(
    st.lists(
        st.tuples(st.floats(-8, 8).filter(lambda weight: weight != 0), st.sampled_from("abc")), min_size=1, max_size=12
    )
)
def test_no_group_counts_more_than_seven(one_cause: Rulebook, pairs: list[tuple[float, str]]) -> None:
    seen = [observation(weight, group) for weight, group in pairs]
    findings = score_observations(one_cause.catalogue, seen, complaint=True)
    assert bool(findings) == any(weight > 0 for weight, _ in pairs)
    for found in findings:
        assert abs(found.log_odds - PRIOR) <= GROUP_CAP * len({group for _, group in pairs}) + 1e-9


# ---- negative evidence, threshold, not known ----------------------------------------------------------------------


def test_evidence_against_a_cause_brings_it_below_the_threshold(rulebook: Make) -> None:
    book = rulebook(rule_data("cause", log_item("boiler burst", 5), fact_item(-6, boiler_state="== new")))
    assert book.diagnose("boiler burst\n").known
    refuted = book.diagnose("boiler burst\n", facts={"boiler.state": "new"})
    assert not refuted.known
    assert [seen.weight for seen in refuted.findings[0].evidence_against] == [-6.0]


def test_a_cause_with_evidence_against_it_only_is_no_finding(rulebook: Make) -> None:
    book = rulebook(rule_data("cause", log_item("all is well", -3)))
    assert book.diagnose("all is well\n").findings == ()


def test_known_means_more_likely_than_not(rulebook: Make) -> None:
    book = rulebook(rule_data("cause"))
    for weight in (3.0, 3.88, 3.9, 5.0):
        (found,) = score_observations(book.catalogue, [observation(weight)], complaint=True)
        assert found.known == (found.probability >= THRESHOLD)


def test_below_the_threshold_the_answer_is_not_known_and_says_what_to_collect(rulebook: Make) -> None:
    book = rulebook(rule_data("cause", log_item("odd noise", 2), fact_item(3, boiler_age="> 20")))
    diagnosis = book.diagnose("odd noise\n")
    assert not diagnosis.known
    assert order(diagnosis) == ["cause"]
    assert diagnosis.second_fault is None
    assert any("boiler.age" in wanted for wanted in diagnosis.collect)
    assert any("--audio" in wanted for wanted in diagnosis.collect)
    assert any("--words" in wanted for wanted in diagnosis.collect)
    assert not any("diagnose LOG" in wanted for wanted in diagnosis.collect)


def test_an_empty_case_is_not_known_and_wants_everything(rulebook: Make) -> None:
    diagnosis = rulebook(rule_data("cause")).diagnose()
    assert (diagnosis.known, diagnosis.findings, diagnosis.question) == (False, (), None)
    assert len(diagnosis.collect) == 4


def test_a_known_cause_leaves_nothing_to_collect(rulebook: Make) -> None:
    assert rulebook(rule_data("cause", log_item("boiler burst", 6))).diagnose("boiler burst\n").collect == ()


# ---- order --------------------------------------------------------------------------------------------------------


def test_the_first_exception_wins_over_the_last(rulebook: Make) -> None:
    book = rulebook(rule_data("last", log_item("no hot water", 4)), rule_data("root", log_item("boiler burst", 4)))
    log = "RuntimeError: boiler burst\n\nThe above exception was the cause\n\nValueError: no hot water\n"
    assert order(book.diagnose(log)) == ["root", "last"]
    assert order(book.diagnose(log.replace("RuntimeError: boiler burst\n\n", ""))) == ["last"]


def test_harmless_lines_are_put_aside(rulebook: Make) -> None:
    book = rulebook(
        rule_data("notice", log_item("FutureNotice", 5), kind="harmless", prior=0.1),
        rule_data("cause", log_item("valve is old", 5)),
    )
    alone = book.diagnose("FutureNotice: valve is old\n")
    assert not alone.known
    with_fault = book.diagnose("FutureNotice: something\nRuntimeError: valve is old\n")
    assert order(with_fault) == ["cause", "notice"]
    assert with_fault.findings[0].known
    assert not with_fault.findings[1].known


def test_a_harmless_line_is_an_answer_for_who_asks_about_it(rulebook: Make) -> None:
    book = rulebook(
        rule_data("notice", log_item("FutureNotice", 5), words_item("worry", 3), kind="harmless", prior=0.1)
    )
    asked = book.diagnose("FutureNotice: x\n", "should I worry")
    assert asked.known
    assert order(asked) == ["notice"]
    assert not book.diagnose("FutureNotice: x\n").known


def test_a_root_comes_before_the_symptom_that_it_explains(rulebook: Make) -> None:
    symptom = rule_data("no-hot-water", log_item("water is cold", 6))
    root = rule_data("boiler-burst", log_item("boiler burst", 5), masks=["no-hot-water"])
    diagnosis = rulebook(symptom, root).diagnose("water is cold\nboiler burst\n")
    assert order(diagnosis) == ["boiler-burst", "no-hot-water"]
    assert [found.explained_by for found in diagnosis.findings] == [None, "boiler-burst"]
    assert diagnosis.second_fault is None
    unmasked = {**root, "masks": []}
    assert order(rulebook(symptom, unmasked).diagnose("water is cold\nboiler burst\n")) == [
        "no-hot-water",
        "boiler-burst",
    ]


def test_a_root_that_is_not_known_explains_nothing(rulebook: Make) -> None:
    symptom = rule_data("no-hot-water", log_item("water is cold", 6))
    root = rule_data("boiler-burst", log_item("boiler odd", 1), masks=["no-hot-water"])
    diagnosis = rulebook(symptom, root).diagnose("water is cold\nboiler odd\n")
    assert order(diagnosis) == ["no-hot-water", "boiler-burst"]
    assert diagnosis.findings[0].explained_by is None


def test_a_root_barely_believed_does_not_push_a_certain_symptom_aside(rulebook: Make) -> None:
    symptom = rule_data("no-hot-water", log_item("water is cold", 7, "a"), log_item("tap dry", 7, "b"))
    root = rule_data("boiler-burst", log_item("boiler odd", 4), masks=["no-hot-water"])
    diagnosis = rulebook(symptom, root).diagnose("water is cold\ntap dry\nboiler odd\n")
    assert order(diagnosis)[0] == "no-hot-water"


def test_of_two_rules_that_mask_each_other_the_likelier_is_the_root(rulebook: Make) -> None:
    one = rule_data("one", log_item("sign one", 6), masks=["two"])
    two = rule_data("two", log_item("sign two", 5), masks=["one"])
    diagnosis = rulebook(one, two).diagnose("sign one\nsign two\n")
    assert [(found.rule.id, found.explained_by) for found in diagnosis.findings] == [("one", None), ("two", "one")]


def test_a_second_fault_is_named_when_it_has_evidence_of_its_own(rulebook: Make) -> None:
    book = rulebook(rule_data("one", log_item("sign one", 6)), rule_data("two", log_item("sign two", 5)))
    diagnosis = book.diagnose("sign one\nsign two\n")
    assert diagnosis.second_fault is diagnosis.findings[1]
    assert diagnosis.second_fault.rule.id == "two"
    assert book.diagnose("sign one\n").second_fault is None


def test_two_rules_on_the_same_line_are_one_fault(rulebook: Make) -> None:
    book = rulebook(rule_data("one", log_item("same sign", 6)), rule_data("two", log_item("same", 5)))
    assert book.diagnose("same sign\n").second_fault is None


# ---- circumstances ------------------------------------------------------------------------------------------------


def test_facts_alone_do_not_outweigh_what_was_complained_of(rulebook: Make) -> None:
    circumstance = rule_data("old-card", fact_item(6, gpu_cc="< 8.0"), fact_item(5, "driver", driver_version="< 500"))
    complaint = rule_data("boiler-burst", log_item("boiler burst", 4.5))
    facts = {"gpu.cc": "7.5", "driver.version": "450"}
    book = rulebook(circumstance, complaint)
    assert order(book.diagnose("boiler burst\n", facts=facts)) == ["boiler-burst", "old-card"]
    assert not book.diagnose("something else\n", facts=facts).known
    assert book.diagnose(facts=facts).known  # nobody complained: the facts are all there is


def test_facts_strengthen_a_cause_that_was_complained_of_by_half_of_it(rulebook: Make) -> None:
    book = rulebook(rule_data("cause"))
    told, fact = observation(4, "told", "words"), observation(6, "card", "fact")
    assert odds_of(book, told, fact) == pytest.approx(4 + 1 + 2)
    assert odds_of(book, told, fact, complaint=False) == pytest.approx(10)
    assert odds_of(book, fact) == pytest.approx(1)


def test_facts_against_a_cause_count_whole(rulebook: Make) -> None:
    book = rulebook(rule_data("cause"))
    assert odds_of(book, observation(4, "told", "words"), observation(-6, "card", "fact")) == pytest.approx(-2)


# ---- answers, determinism, form -----------------------------------------------------------------------------------


def test_an_answer_changes_the_ranking_and_is_not_asked_again(rulebook: Make) -> None:
    question = {
        "id": "which-one", "ask": "Which?", "ask_zh": "哪个？", "cost_s": 10,
        "answers": [
            {"value": "first", "text": "the first", "weights": {"one": 4, "two": -4}},
            {"value": "second", "text": "the second", "weights": {"one": -4, "two": 4}},
        ],
    }  # fmt: skip
    book = rulebook(
        rule_data("one", log_item("a sign", 4.2), questions=[question]), rule_data("two", log_item("a sign", 4))
    )
    before = book.diagnose("a sign\n")
    assert order(before) == ["one", "two"]
    assert before.question is not None
    assert before.question.question.id == "which-one"
    after = book.diagnose("a sign\n", answers={"which-one": "second"})
    assert order(after)[0] == "two"
    assert after.question is None


def test_the_same_case_gives_the_same_answer(rulebook: Make) -> None:
    rules = [rule_data(f"rule-{number}", log_item("same sign", 4), words_item("cold", 2)) for number in range(8)]
    book = rulebook(*rules)
    case = book.case("same sign\nand more\n", "cold")
    answers = [diagnose(book.matcher, case) for _ in range(3)]
    answers.append(diagnose(type(book.matcher)(book.catalogue), case))
    assert len({json.dumps([found.to_json() for found in each.findings]) for each in answers}) == 1
    assert order(answers[0]) == sorted(order(answers[0]))


def test_the_order_in_which_facts_were_told_does_not_matter(rulebook: Make) -> None:
    book = rulebook(rule_data("cause", fact_item(3, gpu_cc="< 8.0"), fact_item(2, "b", os_family="== linux")))
    facts = {"gpu": "Tesla T4", "os": "Ubuntu", "cc": "7.5"}
    forward, backward = (book.diagnose("x\n", facts=dict(each)) for each in (facts.items(), reversed(facts.items())))
    assert [found.to_json() for found in forward.findings] == [found.to_json() for found in backward.findings]


def test_at_most_twelve_findings_are_shown_and_none_that_is_hopeless(rulebook: Make) -> None:
    rules = [rule_data(f"rule-{number:02}", log_item("same sign", 4)) for number in range(20)]
    hopeless = rule_data("hopeless", log_item("same sign", 0.5), prior=0.0005)
    diagnosis = rulebook(*rules, hopeless).diagnose("same sign\n")
    assert len(diagnosis.findings) == 12
    assert "hopeless" not in order(rulebook(hopeless).diagnose("same sign\n"))


def test_evidence_is_listed_strongest_first(rulebook: Make) -> None:
    book = rulebook(
        rule_data("cause", log_item("weak", 1, "a"), log_item("strong", 5, "b"), log_item("counter", -2, "c"))
    )
    (found,) = book.diagnose("weak\nstrong\ncounter\n").findings
    assert [seen.weight for seen in found.evidence_for] == [5.0, 1.0]
    assert [seen.weight for seen in found.evidence_against] == [-2.0]


def test_a_finding_in_json_carries_all_that_a_reader_needs(rulebook: Make) -> None:
    (found,) = rulebook(rule_data("cause", log_item("boiler burst", 6))).diagnose("boiler burst\n").findings
    form = json.loads(json.dumps(found.to_json()))
    assert (form["rule"], form["known"], form["explained_by"]) == ("cause", True, None)
    assert form["probability"] == pytest.approx(1 / (1 + math.exp(-(PRIOR + 6))), abs=1e-4)
    assert form["fixes"][0]["label"] == "safe"
    assert form["evidence_for"][0]["quote"] == "boiler burst"
