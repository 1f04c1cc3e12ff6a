"""Patterns mean what their writer thinks, and a rule that is not exactly right is refused with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rulebook import fact_item, log_item, rule_data, words_item

from troubleshoot.rule import Commands, Evidence, Question, Rule, Sample, SampleFile, compile_pattern, flexible, loose

QUESTION = {
    "id": "which-build",
    "ask": "Which build?",
    "ask_zh": "哪个构建？",
    "cost_s": 15,
    "answers": [
        {"value": "cpu", "text": "a CPU build", "weights": {"a-rule": 3}},
        {"value": "cuda", "text": "a CUDA build", "weights": {"a-rule": -3.5}},
    ],
}


def faults_of(model: Callable[..., object], data: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(data)  # type: ignore[attr-defined]
    return [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in caught.value.errors()]


def rule_faults(**changes: object) -> list[str]:
    return faults_of(Rule, {**rule_data("a-rule"), **changes})


# ---- patterns -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "prepared"),
    [
        ("CUDA out of memory", r"CUDA\s+out\s+of\s+memory"),
        ("two  spaces", r"two\s+spaces"),
        (" at the ends ", r"\s+at\s+the\s+ends\s+"),
        (r"escaped\ space", r"escaped\ space"),
        (r"\\ after a backslash", r"\\\s+after\s+a\s+backslash"),
        ("[a b] c", r"[a b]\s+c"),
        ("[] a] b", r"[] a]\s+b"),
        ("[^] a] b", r"[^] a]\s+b"),
        (r"[\] a] b", r"[\] a]\s+b"),
        ("[[:alpha:] ] b", r"[[:alpha:] ]\s+b"),
        (r"\[ b", r"\[\s+b"),
        ("a ?b", r"a\s?b"),
        ("a *b", r"a\s*b"),
        ("a +b", r"a\s+b"),
        ("a {1,4}b", r"a\s{1,4}b"),
        ("(a |b )c", r"(a\s+|b\s+)c"),
        (r"\Qa b\E c", r"\Qa b\E\s+c"),
        ("", ""),
    ],
)
def test_a_space_matches_any_white_space_except_in_a_class(pattern: str, prepared: str) -> None:
    assert flexible(pattern) == prepared


@pytest.mark.parametrize(
    ("pattern", "looser"),
    [
        ("a.{0,40}b", "a.*b"),
        ("a.{1,40}?b", "a.+?b"),
        (r"a[^\n]{2,}b", r"a[^\n]+b"),
        (r"\d{4}", r"\d+"),
        (r"\d{1,3}", r"\d{1,3}"),
        (r"\d{2}", r"\d{2}"),
        ("(ab){0,9}", "(ab)*"),
        ("a{0}", "a{0}"),
        (r"\{5,9}", r"\{5,9}"),
        (r"\\{5,9}", r"\\+"),
        ("[x{5,9}]", "[x{5,9}]"),
        (r"\x{41}{7}", r"\x{41}+"),
        ("a{,5}", "a{,5}"),
        (r"(?s:.{0,1000})", "(?s:.*)"),
    ],
)
def test_only_long_counts_become_endless(pattern: str, looser: str) -> None:
    assert loose(pattern) == looser


atoms = st.sampled_from(
    ["a", "b", " ", ".", r"\d", r"\s", "[ab]", "[^a]", "[] ]", "[[:digit:] ]", r"\[", r"\ ", "x{2}", "(ab)"]
)
counts = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{0,5}", "{4,9}", "{1,}", "{6}", "{0,7}?"])
patterns = st.lists(st.tuples(atoms, counts).map("".join), min_size=1, max_size=5).map("".join)
texts = st.text(st.sampled_from("ab1 ][\n.x"), max_size=25)


def compiled_or_none(pattern: str) -> object:
    try:
        return compile_pattern(pattern)
    except ValueError:
        return None


@settings(max_examples=400, deadline=None)
@given(patterns, texts)
def test_the_loose_form_matches_wherever_the_pattern_does(pattern: str, text: str) -> None:
    exact = compiled_or_none(pattern)
    if exact is None or not exact.search(text):  # type: ignore[attr-defined]
        return
    assert re.search(loose(flexible(pattern)).replace("[[:digit:] ]", "[0-9 ]"), text, re.ASCII | re.IGNORECASE)


@settings(max_examples=300, deadline=None)
@given(st.one_of(patterns, st.text(st.sampled_from("ab []{}()^\\?*+.|:-1,9QE"), max_size=12)))
def test_making_a_pattern_flexible_twice_changes_nothing_and_keeps_it_valid(pattern: str) -> None:
    assert flexible(flexible(pattern)) == flexible(pattern)
    if compiled_or_none(pattern):
        assert compiled_or_none(flexible(pattern))


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.sampled_from("ab .*+?()[]{}|^$\\-_%显存"), min_size=1, max_size=16),
    st.sampled_from([" ", "\n", " \t ", "\r\n"]),
)
def test_an_escaped_text_finds_itself_with_any_white_space(text: str, space: str) -> None:
    pattern = re.sub(r"([^\w ])", r"\\\1", text)
    assert compile_pattern(pattern).search(text.replace(" ", space))


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"(?=ahead)", "RE2"),
        (r"(?<!behind)x", "RE2"),
        (r"(a)\1", "RE2"),
        (r"a{2000}", "RE2"),
        (r"((a{100}){100}){100}", "RE2"),
        (r"(unclosed", "RE2"),
        (r"[z-a]", "RE2"),
        (r"*", "RE2"),
        (r"a*", "empty"),
        (r"(out of memory)?", "empty"),
        (r"|", "empty"),
        (r"^", "empty"),
        (r"$", "empty"),
        (r"\b", "empty"),
        (r"\B", "empty"),
        (r"(a|)", "empty"),
    ],
)
def test_patterns_that_cannot_run_in_linear_time_or_match_everything_are_refused(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compile_pattern(pattern)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_a_pattern_or_a_value_error(text: str) -> None:
    compiled_or_none(text)


# ---- rules --------------------------------------------------------------------------------------------------------


def test_the_smallest_rule_has_defaults_for_all_else() -> None:
    rule = Rule.model_validate(rule_data("a-rule"))
    assert (rule.kind, rule.questions, rule.masks, rule.requirement) == ("cause", [], [], None)
    assert rule.evidence[0].kind == "log"


@pytest.mark.parametrize("weight", [True, False, "1.0", "nan", float("nan"), float("inf"), None, [1], 8.1, -9, 0, 0.0])
def test_a_weight_is_a_finite_number_from_minus_8_to_8_and_not_nothing(weight: object) -> None:
    item = {**log_item("a", 1), "weight": weight}
    assert any("weight" in fault for fault in rule_faults(evidence=[item]))


@pytest.mark.parametrize("weight", [1, -8, 8, 2.5])
def test_whole_and_broken_weights_are_numbers_alike(weight: float) -> None:
    assert Evidence.model_validate({**log_item("a", 1), "weight": weight}).weight == weight


@pytest.mark.parametrize("prior", [True, "0.01", 0, 0.51, -0.1, float("nan")])
def test_a_prior_is_a_share_below_one_half(prior: object) -> None:
    assert rule_faults(prior=prior)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2}, {"schema": "1"}, {"schema": 1.0}, {"schema": True}, {"id": "Upper"}, {"id": "../up"},
        {"id": "a/b"}, {"id": ""},
        {"id": "a" * 65}, {"id": 7}, {"family": "a b"}, {"kind": "symptom"}, {"title": ""}, {"title": "x" * 501},
        {"title": 3}, {"says": {"en": []}}, {"says": ["a"]}, {"evidence": []}, {"fixes": []}, {"masks": "a"},
        {"unknown": 1}, {"verify": {"text": "a", "command": "b"}}, {"symptom": {"en": "a"}},
        {"fixes": [{"title": "a", "label": "risky", "steps": ["b"]}]}, {"fixes": [{"title": "a", "label": "safe"}]},
        {"masks": ["a-rule"]}, {"lookalikes": [{"rule": "a-rule", "tell": "itself"}]},
        {"requirement": {"row": "torch-build", "level": "bad", "when": [{"torch.build": "== cpu"}], "found": "x"}},
        {"requirement": {"row": "torch-build", "level": "fail", "when": [{}], "found": "x"}},
        {"requirement": {"row": "torch-build", "level": "fail", "when": [{"build": "== cpu"}], "found": "x"}},
    ],
)  # fmt: skip
def test_a_rule_with_a_wrong_or_unknown_key_is_refused(change: dict[str, object]) -> None:
    assert rule_faults(**change)


@pytest.mark.parametrize("text", ["\x1b[31mred", "bell\x07", "nul\x00", "c1\x9b2J", "\u202eright to left", "back\x08"])
@pytest.mark.parametrize("key", ["title", "cause"])
def test_texts_that_would_steer_a_terminal_are_refused(key: str, text: str) -> None:
    assert any("control character" in fault for fault in rule_faults(**{key: text}))


def test_texts_may_have_lines_tabs_and_any_script() -> None:
    rule = Rule.model_validate(rule_data("a-rule", title_zh="显存　不足", cause="one\n\ttwo «ü»"))
    assert rule.cause == "one\n\ttwo «ü»"


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"weight": 1, "group": "g", "why": "w"}, "found none"),
        ({**log_item("a", 1), "words": "b"}, "found log, words"),
        ({**log_item("(", 1)}, "RE2"),
        ({**words_item("b*", 1)}, "empty"),
        ({**log_item("a", 1), "group": "says"}, "belongs to"),
        ({**log_item("a", 1), "group": "Group"}, "pattern"),
        ({**fact_item(1)}, "empty"),
        ({**fact_item(1), "fact": {"gpu": "== a"}}, "names have a dot"),
        ({**fact_item(1), "fact": {"gpu.cc": "8.0"}}, "is not a condition"),
        ({**fact_item(1), "fact": {"gpu.cc": 8.0}}, "valid string"),
        ({"audio": {"gpu.cc": "> 1"}, "weight": 1, "group": "g", "why": "w"}, "start with 'audio.'"),
        ({**log_item("a" * 501, 1)}, "at most 500"),
    ],
)
def test_an_item_of_evidence_is_one_valid_sign(item: dict[str, object], words: str) -> None:
    assert any(words in fault for fault in faults_of(Evidence, item))


def test_conditions_of_an_item_are_parsed() -> None:
    item = Evidence.model_validate(fact_item(2, gpu_cc="< 8.0", gpu_vendor="== nvidia"))
    assert item.kind == "fact"
    assert {name: condition.operator for name, condition in item.conditions().items()} == {
        "gpu.cc": "<",
        "gpu.vendor": "==",
    }


@pytest.mark.parametrize("cost", [True, "15", 0, -1, 90_000, float("inf")])
def test_a_question_costs_between_nothing_and_a_day(cost: object) -> None:
    assert faults_of(Question, {**QUESTION, "cost_s": cost})


def test_a_question_needs_answers_that_differ() -> None:
    assert Question.model_validate(QUESTION).cost_s == 15.0
    first = QUESTION["answers"][0]  # type: ignore[index]
    assert any("same value" in fault for fault in faults_of(Question, {**QUESTION, "answers": [first, first]}))
    assert faults_of(Question, {**QUESTION, "answers": [first]})
    assert faults_of(Question, {**QUESTION, "answers": [first, {**first, "value": "other", "weights": {"a": True}}]})


def test_commands_are_given_for_one_system_or_labelled_for_all() -> None:
    commands = Commands(any=["a"], linux=["l"], windows=["w"], wsl=["v"])
    assert commands.for_os("linux") == ["a", "l"]
    assert commands.for_os("linux", wsl=True) == ["a", "v"]
    assert commands.for_os("windows") == ["a", "w"]
    assert commands.for_os("macos") == ["a"]
    assert commands.for_os(None) == ["a", "l  (linux)", "w  (windows)", "v  (wsl)"]
    assert Commands(linux=["l"]).for_os("linux", wsl=True) == ["l"]


def test_a_sample_gives_something_and_nothing_unknown() -> None:
    assert Sample.model_validate({"name": "a", "words": "b"}).top == 1
    for wrong in (
        {"name": "a"},
        {"name": "a", "log": ""},
        {"name": "a", "words": "b", "top": 6},
        {"name": "a", "text": "b"},
    ):
        assert faults_of(Sample, wrong)
    hit = [{"name": "a", "words": "b"}]
    assert faults_of(SampleFile, {"schema": 1, "rule": "a-rule", "hit": hit, "miss": []})
