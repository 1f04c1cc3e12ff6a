"""Conditions have three answers, and compare numbers as numbers and versions as versions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troubleshoot.conditions import Condition, compare_versions, evaluate_all, parse_condition
from troubleshoot.facts import NA

OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in", "~", "!~")


def holds(condition: str, value: object) -> bool | None:
    return parse_condition(condition).holds(value)


@pytest.mark.parametrize(
    ("condition", "value", "answer"),
    [
        ("< 8.0", 7.5, True),
        ("< 8.0", 8.0, False),
        (">= 8.0", 12.0, True),
        ("<= 24", 24, True),
        ("> 2e-3", 0.01, True),
        ("< -60", -math.inf, True),
        ("> 1000", 10**400, True),
        ("== 48000", 48000.0, True),
        ("!= 1", 1.0, False),
        ("== two", 2, False),
        ("!= two", 2, True),
        ("in 22050, 24000", 24000, True),
        ("~ ^24", 24000, True),
    ],
)
def test_measured_numbers_compare_as_numbers(condition: str, value: object, answer: bool) -> None:
    assert holds(condition, value) is answer


@pytest.mark.parametrize(
    ("condition", "value", "answer"),
    [
        ("< 2.5.1", "2.10.0", False),
        ("< 2.10", "2.9.1", True),
        (">= 12.4", "12.10", True),
        ("< 8.0", "12.0", False),
        (">= 4.57", "4.57.3", True),
        ("== 4.57.3", "4.57.3", True),
        ("== 8.0", "8", True),
        ("== 2.1", "2.10", False),
        ("!= 2.1", "2.10", True),
        ("in 4.56.0, 4.57.1", "4.57.1", True),
        ("> 5.0.0", "5.0.0rc1", False),
        (">= 5.0.0", "5.0.0rc1", True),
        ("< 2.9", "2.9.0.dev20260301", False),
        ("< 550", "550.144.03", False),
        ("< 3", "v2.9", True),
    ],
)
def test_versions_compare_part_by_part(condition: str, value: str, answer: bool) -> None:
    assert holds(condition, value) is answer


@pytest.mark.parametrize(
    ("condition", "value", "answer"),
    [
        ("== windows", "Windows", True),
        ("!= windows", "linux", True),
        ("in cpu, mps", "MPS", True),
        ("in cpu, mps", "cuda", False),
        ("~ ^cu", "cu128", True),
        ("~ ^CU", "cu128", True),
        ("!~ ^(cpu|rocm)", "cu128", True),
        ("!~ ^(cpu|rocm)", "rocm6.4", False),
        ("true", True, True),
        ("true", False, False),
        ("false", False, True),
        ("== true", True, True),
        ("== false", True, False),
        ("in true, false", False, True),
    ],
)
def test_texts_and_truth_values_compare_without_case(condition: str, value: object, answer: bool) -> None:
    assert holds(condition, value) is answer


@pytest.mark.parametrize("value", [None, NA("no driver")])
def test_nothing_is_concluded_from_what_is_not_known(value: object) -> None:
    for operator in OPERATORS:
        assert holds(f"{operator} 8", value) is None
    assert holds("true", value) is None
    assert holds("known", value) is False
    assert holds("unknown", value) is True


@pytest.mark.parametrize(
    ("condition", "value"), [("< 8.0", "eight"), (">= 2.5", "nightly"), ("true", "yes"), ("false", 0), ("< 2.5.1", 3)]
)
def test_a_comparison_that_makes_no_sense_says_nothing(condition: str, value: object) -> None:
    assert holds(condition, value) is None


@pytest.mark.parametrize("operator", OPERATORS)
def test_not_a_number_is_not_known(operator: str) -> None:
    assert holds(f"{operator} 1", math.nan) is None


def test_a_false_fact_and_a_zero_are_known() -> None:
    assert holds("known", False) is True
    assert holds("known", 0) is True
    assert holds("== 0", 0) is True


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8",
        "= 8",
        "<8",
        "<",
        "< ",
        "< eight",
        ">= latest",
        "~",
        "between 1, 2",
        "maybe",
        "~ (unclosed",
        "!~ (?=x)",
        "< .",
    ],
)
def test_a_malformed_condition_is_refused_with_what_was_written(text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        parse_condition(text)
    assert text.strip() in str(caught.value) or "RE2" in str(caught.value)


def test_parsing_keeps_the_operand_and_drops_the_space_around_it() -> None:
    assert parse_condition("  in  a, b ") == Condition("in", "a, b")
    assert parse_condition(" known ") == Condition("known", "")


def test_all_conditions_together_answer_like_the_worst_of_them() -> None:
    conditions = {"gpu.cc": parse_condition("< 8.0"), "gpu.vendor": parse_condition("== nvidia")}
    assert evaluate_all(conditions, {"gpu.cc": "7.5", "gpu.vendor": "nvidia"}) is True
    assert evaluate_all(conditions, {"gpu.cc": "7.5"}) is None
    assert evaluate_all(conditions, {"gpu.cc": "8.6"}) is False
    assert evaluate_all({}, {}) is True


def test_versions_without_a_number_do_not_compare() -> None:
    assert compare_versions("nightly", "2.0") is None
    assert compare_versions("2.0", "") is None
    assert compare_versions("1e-3", "2e-3") == -1
    assert compare_versions("-3", "2") == -1


releases = st.lists(st.integers(0, 10**6), min_size=1, max_size=4)
versions = releases.map(lambda parts: ".".join(map(str, parts)))


@given(releases, releases)
def test_dotted_numbers_compare_like_their_lists_of_parts(first: list[int], second: list[int]) -> None:
    length = max(len(first), len(second))
    left, right = (parts + [0] * (length - len(parts)) for parts in (first, second))
    expected = (left > right) - (left < right)
    assert compare_versions(".".join(map(str, first)), ".".join(map(str, second))) == expected


@given(versions, versions)
def test_comparing_is_antisymmetric_and_agrees_with_equality(left: str, right: str) -> None:
    order = compare_versions(left, right)
    assert order is not None
    assert compare_versions(right, left) == -order
    assert holds(f"== {right}", left) is (order == 0)
    assert holds(f"!= {right}", left) is (order != 0)


numbers = st.one_of(st.integers(), st.floats(allow_nan=False))


@given(numbers, st.floats(-1e6, 1e6).map(lambda number: round(number, 3)))
def test_numbers_compare_as_python_compares_them(value: float, operand: float) -> None:
    text = f"{operand:.3f}"
    assert holds(f"< {text}", value) is (value < operand)
    assert holds(f">= {text}", value) is (value >= operand)
    assert holds(f"== {text}", value) is (value == operand)


values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.builds(NA, st.text()))
operands = st.one_of(versions, st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8))


@given(st.sampled_from(OPERATORS), operands, values)
def test_no_value_makes_a_condition_fail(operator: str, operand: str, value: object) -> None:
    try:
        condition = parse_condition(f"{operator} {operand}")
    except ValueError:
        return
    assert condition.holds(value) in (True, False, None)
    if value is None or isinstance(value, NA):
        assert condition.holds(value) is None


@given(st.text(max_size=30))
def test_any_text_is_a_condition_or_a_value_error(text: str) -> None:
    try:
        condition = parse_condition(text)
    except ValueError:
        return
    assert condition.operator
