"""What the linter finds, where, and how it words an instruction anew."""

from __future__ import annotations

import pytest

from toolkit.errors import UsageError
from toolkit.tuning.effects import parse_effects
from toolkit.tuning.linting import POCKET_RANGE, RULES, Lint, lint_instruction
from toolkit.tuning.vocabulary import vocabulary
from toolkit.tuning.wording import language_of, say_one
from training.pocket.style import LIMITS


def lint(text: str, *, kind: str = "custom_voice", size: str = "1b7", language: str | None = None) -> Lint:
    return lint_instruction(text, model_kind=kind, size=size, text_language=language)


def found(result: Lint) -> set[tuple[str, str]]:
    """Rule and words of all findings but the remark on mixing languages."""
    return {
        (finding.rule, result.instruction[finding.start : finding.end])
        for finding in result.findings
        if finding.rule != "one-language"
    }


@pytest.mark.parametrize(
    ("text", "expected", "rewritten"),
    [
        ("20% slower", set(), "20% slower"),
        ("语速放慢20%，音调升高3个半音", set(), "语速放慢20%，音调升高3个半音"),
        ("speak very slowly", {("vague-adverb", "very")}, "35% slower"),
        (
            "非常开心地说",
            {("vague-adverb", "非常"), ("mood-word", "开心")},
            "语速加快10%，音调升高3个半音，语调变化增加50%",
        ),
        ("极其快，停顿1秒", {("vague-adverb", "极其")}, "语速加快50%，停顿1秒"),
        ("extremely angry and 20% slower", {("vague-adverb", "extremely"), ("mood-word", "angry")}, None),
        ("slow, rapid", {("contradiction", "rapid")}, "slow"),
        ("whisper it loudly", {("contradiction", "loudly")}, "whisper"),
        ("用气声说，音调升高3个半音", {("contradiction", "3个半音")}, "用气声说"),
        ("monotone but lively", {("contradiction", "lively")}, "monotone"),
        ("magnetic, 20% slower", {("no-parameter", "magnetic")}, "20% slower"),
        ("有磁性的声音", {("no-parameter", "有磁性")}, ""),
        ("in a whisper but quietly", set(), "in a whisper but quietly"),
    ],
)
def test_findings_with_their_words_and_the_better_wording(
    text: str, expected: set[tuple[str, str]], rewritten: str | None
) -> None:
    result = lint(text)
    assert found(result) == expected
    assert rewritten is None or result.rewritten == rewritten


@pytest.mark.parametrize(
    ("text", "long"),
    [
        ("一二三四五六七八九十一二三四五", False),
        ("请你用侦探发现线索时那种兴奋的语气", True),
        ("one " * 15, False),
        ("one " * 16, True),
        ("one two three, " * 8, False),
        ("go at 1.5 times the usual pace", False),
    ],
)
def test_a_clause_of_more_than_15_characters_or_words_is_long(text: str, long: bool) -> None:
    assert ("long-clause" in {rule for rule, _ in found(lint(text))}) == long


def test_a_long_clause_becomes_short_parts() -> None:
    result = lint("I would like you to go 15% slower while you pause 0.9 seconds between all of the sentences")
    assert [rule for rule, _ in found(result)] == ["long-clause"]
    assert result.parts == ("15% slower", "pause 0.9 seconds between sentences")
    assert parse_effects(result.rewritten).named() == pytest.approx({"rate": 0.85, "pause_s": 0.9})


@pytest.mark.parametrize(("kind", "size"), [("base", "1b7"), ("base", "0b6"), ("custom_voice", "0b6")])
def test_a_model_that_ignores_it_is_a_failure_and_measured(kind: str, size: str) -> None:
    result = lint("20% slower", kind=kind, size=size)
    (first,) = [finding for finding in result.findings if finding.rule == "ignored-by-model"]
    assert (first.severity, first.basis, result.worst) == ("fail", "measured", "fail")


def test_voice_design_may_be_told_of_timbre_and_mood() -> None:
    assert found(lint("a calm, magnetic voice", kind="voice_design")) == set()


def test_the_language_of_the_text() -> None:
    assert ("other-language", "20% slower") in found(lint("20% slower", language="Chinese"))
    assert found(lint("20% slower", language="English")) == set()
    assert found(lint("20% slower 慢一些", language="Chinese")) == set()
    assert [language_of(text) for text in ("slow", "慢", "慢 slow", "大声3 dB")] == ["en", "zh", "mixed", "zh"]


def test_what_the_pocket_voice_cannot_do_is_said_and_brought_into_its_range() -> None:
    result = lint("two octaves higher", size="pocket")
    assert found(result) == {("out-of-range", "two octaves")}
    assert result.rewritten == "12 semitones higher"
    assert found(lint("two octaves higher")) == set()
    assert POCKET_RANGE == LIMITS


@pytest.mark.parametrize("mood", vocabulary().moods, ids=lambda mood: mood.name)
def test_a_mood_is_worded_so_that_it_reads_back_as_its_figures(mood: object) -> None:
    entry = vocabulary().mood(mood.name)  # type: ignore[attr-defined]
    for word in entry.words:
        assert parse_effects(word).named() == pytest.approx(dict(entry.figures)), word
    for language in ("en", "zh"):
        text = ", ".join(say_one(name, value, language) for name, value in entry.figures.items())
        assert parse_effects(text).named() == pytest.approx(dict(entry.figures), abs=0.001), text


def test_every_finding_names_a_rule_with_its_basis() -> None:
    for finding in lint("非常 magnetic, slow, rapid, sad", kind="base", size="0b6").findings:
        rule = RULES[finding.rule]
        assert (finding.severity, finding.basis) == (rule.severity, rule.basis)
    told = {name for name, rule in RULES.items() if "tutorial" in rule.source}
    assert told == {"vague-adverb", "mood-word", "one-language", "long-clause"}
    assert {RULES[name].basis for name in told} == {"told"}


def test_the_mixed_wording_says_the_same_as_the_better_one() -> None:
    assert lint("非常慢").mixed == "语速放慢35% 35% slower"
    assert parse_effects(lint("非常开心").mixed).named() == parse_effects("非常开心").named()


@pytest.mark.parametrize(("kind", "size"), [("tts", "1b7"), ("base", "7b")])
def test_unknown_models_are_refused(kind: str, size: str) -> None:
    with pytest.raises(UsageError, match="model_kind is one of"):
        lint("slow", kind=kind, size=size)


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("非常开心地说，语速很快", "音调升高3个半音，语调变化增加50%，语速加快50%"),
        ("very happily, 20% faster", "3 semitones higher, 50% more inflection, 20% faster"),
    ],
)
def test_what_is_said_outright_outweighs_a_mood_before_it(text: str, better: str) -> None:
    assert lint_instruction(text, model_kind="custom_voice", size="1b7").rewritten == better
