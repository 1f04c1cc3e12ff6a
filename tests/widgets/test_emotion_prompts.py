"""Fixes that a click puts in place, and prompt books that keep what people thought."""

from __future__ import annotations

import pytest

from toolkit.errors import UsageError
from toolkit.tuning.book import Variant, with_preference, with_score
from toolkit.tuning.variants import variants_of
from toolkit.widgets.emotion.fixes import Model, fix_of
from toolkit.widgets.emotion.prompts import answer_rows, book_rows, carried, covering, new_book, plan_fields
from toolkit.widgets.languages import Texts

SETTING = {"text": "Good morning.", "language": "auto", "speaker": "", "model": "pocket"}


@pytest.mark.parametrize(
    ("instruction", "rule", "fixed"),
    [
        ("very happily, a bit slower", "mood-word", "3 semitones higher, 50% more inflection, a bit slower"),
        ("quietly, a bit slower", "vague-adverb", "quietly, 10% slower"),
        ("faster, very slowly", "contradiction", "faster"),
        ("slow and rapid", "contradiction", "slow"),
        ("a magnetic voice, whisper", "no-parameter", "whisper"),
        ("12 semitones lower", "out-of-range", "7 semitones lower"),
        ("非常开心地说，慢一点", "mood-word", "音调升高3个半音，语调变化增加50%，慢一点"),
        ("20% slower", "one-language", "语速放慢20% 20% slower"),
        ("magnetic", "no-parameter", None),
    ],
)
def test_a_fix_changes_what_was_found_and_nothing_else(instruction: str, rule: str, fixed: str | None) -> None:
    model = Model()
    lint = model.lint(instruction)
    # The last one of its rule, so that a finding far into the text is looked at too.
    finding = [one for one in lint.findings if one.rule == rule][-1]
    assert fix_of(lint, finding, model) == fixed
    if fixed is not None and rule != "mood-word":
        left = [one.rule for one in model.lint(fixed).findings]
        assert left.count(rule) < [one.rule for one in lint.findings].count(rule)


def test_another_language_is_fixed_by_saying_it_in_the_texts_language() -> None:
    model = Model(text_language="chinese")
    lint = model.lint("20% slower")
    finding = next(one for one in lint.findings if one.rule == "other-language")
    assert fix_of(lint, finding, model) == "语速放慢20%"


def test_a_model_that_ignores_instructions_has_no_wording_that_helps() -> None:
    model = Model(kind="custom_voice", size="0b6")
    lint = model.lint("20% slower")
    finding = next(one for one in lint.findings if one.rule == "ignored-by-model")
    assert fix_of(lint, finding, model) is None


def test_a_book_learns_wordings_and_keeps_its_scores() -> None:
    fields = plan_fields(SETTING, "20% slower", variants_of("20% slower", size="pocket")[1:2])
    book = covering(None, fields, ["", "20% slower"])
    assert [one.instruction for one in book.plan.variants] == ["", "20% slower"]
    book = with_score(book, 1, 4, "warm")
    more = covering(book, fields, ["whisper", "", "whisper"])
    assert [(one.number, one.origin, one.instruction) for one in more.plan.variants][2:] == [(2, "given", "whisper")]
    assert more.scores == book.scores
    assert covering(more, fields, ["whisper"]) is more


def test_a_book_of_another_text_is_not_lost() -> None:
    fields = plan_fields(SETTING, "20% slower", variants_of("20% slower", size="pocket")[1:2])
    scored = with_score(covering(None, fields, []), 1, 4)
    other = {**fields, "text": "Good evening."}
    with pytest.raises(UsageError, match="of another text or model; save it, then begin a new one"):
        covering(scored, other, [])
    assert covering(covering(None, fields, []), other, []).plan.text == "Good evening."


def test_what_people_thought_goes_over_to_a_new_book_by_the_wording() -> None:
    def of(*wordings: str) -> dict[str, object]:
        return plan_fields(
            SETTING, wordings[0], [Variant(number=1, origin="given", instruction=one) for one in wordings]
        )

    old = with_preference(with_score(new_book(of("a", "b", "c")), 2, 5, "b is good"), 2, 1)
    old = with_preference(old, 3, 0)
    new = carried(old, new_book(of("b", "a")))
    assert [(one.variant, one.score, one.note) for one in new.scores] == [(1, 5, "b is good")]
    assert [(one.better, one.worse) for one in new.preferences] == [(1, 2)]
    rows = book_rows(new, Texts("en"))
    assert rows[1] == ("1", "further", "b", "0", "5.0 (1)", "1:0")
    assert carried(old, new_book({**of("b"), "text": "Other."})).scores == ()


def test_a_wrong_field_of_a_plan_is_named() -> None:
    with pytest.raises(UsageError, match="variant 0 has no instruction, and at least one other has"):
        new_book(plan_fields(SETTING, "", ()))
    with pytest.raises(UsageError, match=r"seeds: Input should be less than or equal to 64"):
        new_book(plan_fields(SETTING, "a", [Variant(number=1, origin="yours", instruction="a")], seeds=65))


def test_answers_are_told_in_both_languages() -> None:
    answer = {
        "place": 1, "variant": {"number": 2, "instruction": "faster"}, "closeness": 0.93, "joint_p": 0.008,
        "found": True, "heard": ["rate +20 %", "pitch movement -0.50 st"], "checks": [],
    }  # fmt: skip
    report = {"kind": "tune-emotion", "answers": [answer]}
    assert answer_rows(report, Texts("en")) == [
        ("1", "2", "faster", "93 %", "rate +20 %, pitch movement -0.50 st (p 0.008)")
    ]
    assert answer_rows(report, Texts("zh"))[0][4] == "有变化：语速 +20 %, 语调变化 -0.50 st（p 0.008）"
    nothing = {**report, "answers": [{**answer, "found": False}]}
    assert answer_rows(nothing, Texts("en"))[0][4] == "nothing more than chance (p 0.008)"
