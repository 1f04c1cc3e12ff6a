"""The instructions of the pocket voice: enough wordings, honest styles, and unseen ones that are unseen."""

from __future__ import annotations

import json
import math
import random
import re
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from training.pocket.instructions import DEGREES, FIELDS, LINKS, RANGES, SHARES, Instruction, draw, library, phrasings
from training.pocket.style import LIMITS, PLAIN, Style

UNSEEN = Path(__file__).parents[2] / "training" / "pocket" / "unseen"
LISTS = ("instructions", "instructions_second")
DRAWS = 120_000

_ENGLISH = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen point"
_ENGLISH += " seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
_DIGIT = "[零一二三四五六七八九十百两]"
_NUMBER = rf"(?:\d+(?:\.\d+)?|\b(?:{'|'.join(_ENGLISH.split())})\b|{_DIGIT}+(?:点{_DIGIT}+)?)"
_INTERVAL = r"\b(?:an? |the )?(?:minor|major|perfect) (?:second|third|fourth|fifth|sixth|seventh)\b|\ba tritone\b"
_PART = (
    r"\b(?:an?|one|two|three|four|seven|nine) (?:quarter|third|fourth|fifth|eighth|tenth)s?(?! of a second)\b"
    r"|\b(?:a )?half(?=$| (?:faster|slower|louder|softer|quieter|quicker|more|less))"
)
_HALF = (
    (r"# and a (?:half|quarter) times|#倍半", "# times"),
    (
        r"# quarters of a second|(?:an? )?(?:half a|a half|quarter of a|fifth of a|quarter|full|tenth of a) second"
        r"|# ?tenths of a second|半秒钟?|#分之#秒|#秒零#毫秒|(?:an?|#) second and (?:an?|#) tenths?|\ban? second\b",
        "# second",
    ),
    (r"#半(?![音秒个倍])", "#%"),
    (r"[小大纯增]#度|#个全音", "#semitone"),
    (r"(?:# |\ba )whole tones?", "#semitone"),
)
_UNITS = (
    (r"#分之#|# ?%|# ?per ?cent", "#%"),
    (r"(?:#|\ba) ?(?:decibels?|db|个?分贝)", "#db"),
    (r"(?:#|\ba) ?(?:semitones?|half (?:tone|step)s?|个? ?半音)", "#semitone"),
    (r"# ?(?:milliseconds?|ms|毫秒|seconds?|sec\b|s\b|秒钟?)", "#second"),
    (r"# ?(?:times|x\b|倍)", "#times"),
)
_COURTESY = (
    r"^(?:now |always |this time |please |would you please |i want you to |i would like you to |you should )+",
    r"^(?:接下来|现在|这次|麻烦你?|请你?|希望你|我想让你|你要)+",
    r"(?:,? ?(?:please|now|this time|thanks|thank you)|,谢谢|,好吗|吧)$",
)
_HAN = "[\u4e00-\u9fff]"


@cache
def samples() -> tuple[Instruction, ...]:
    source = random.Random(4)
    return tuple(draw(source) for _ in range(DRAWS))


@cache
def unseen(name: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    rows = [json.loads(line) for line in (UNSEEN / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    return tuple((row["instruct"], row["style"]) for row in rows)


def bare(text: str) -> str:
    """The words without capitals, courtesy and end marks."""
    text = unicodedata.normalize("NFKC", text).lower().strip(" .。!?")
    for pattern in _COURTESY:
        text = re.sub(pattern, "", text)
    return text


@cache
def normalised(text: str) -> str:
    """The bare words with "#" for every number, each unit in one spelling, and no space beside Chinese."""
    text = re.sub(r"[\s-]+", " ", bare(text)).strip()
    text = re.sub(_PART, "#%", re.sub(_INTERVAL, "#semitone", text))
    text = re.sub(rf"{_NUMBER}(?: ?{_NUMBER})*", "#", text)
    for pattern, unit in (*_HALF, *_UNITS):
        text = re.sub(pattern, unit, text)
    return re.sub(rf" ?({_HAN}) ?", r"\1", text)


QUANTITY = {
    "percent": ("20%", "一半"),
    "tenths": ("两成",),
    "times": ("1.2 times", "1.2倍"),
    "factor": ("1.2",),
    "share": ("80%",),
    "semitones": ("3 semitones", "a fifth", "an octave", "one octave", "a full octave", "一个八度", "八度"),
    "decibels": ("3 dB",),
    "seconds": ("0.3 seconds",),
    "bare_seconds": ("0.3",),
}


@cache
def trained() -> frozenset[str]:
    """All phrasings, each quantity filled in, normalised."""
    found = set()
    for many in library().all.values():
        for one in many:
            for quantity in QUANTITY[one.quantity] if one.quantity else ("",):
                found.add(normalised(one.text.replace("{}", quantity)))
    return frozenset(found)


@cache
def links() -> tuple[str, ...]:
    """What stands between parts, as :func:`normalised` leaves it; beside Chinese a space vanishes."""
    found = {unicodedata.normalize("NFKC", link).strip() for link in LINKS}
    return tuple(sorted(found | {",", "/"}, key=len, reverse=True))


def is_trained(text: str, parts: int = 3) -> bool:
    """Whether the words are a phrasing, or phrasings linked as the training links them; numbers do not count."""
    text = normalised(text)
    if text in trained():
        return True
    if parts == 1:
        return False
    for end in range(1, len(text)):
        head = text[:end].strip()
        if head not in trained() and normalised(head) not in trained():
            continue
        rest = text[end:].strip()
        for link in links():
            if rest.startswith(link) and is_trained(rest[len(link) :], parts - 1):
                return True
    return False


@pytest.mark.parametrize("effect", [*FIELDS, "neutral", "mood"])
def test_every_effect_has_sixty_wordings_that_differ_in_more_than_numbers(effect: str) -> None:
    distinct = {normalised(text.replace("{}", "#")) for text in phrasings()[effect]}
    assert len(distinct) >= 60
    languages = Counter(one.language for one in library().all[effect])
    assert min(languages["en"], languages["zh"]) >= 20
    assert languages["mixed"] >= 3


def test_every_mood_combines_effects() -> None:
    assert len(library().moods) >= 40
    for mood in library().moods:
        assert mood[0].style is not None
        assert len(mood[0].style.changes()) >= 2


def test_no_wording_commands_two_styles() -> None:
    commanded: dict[str, set[tuple[str, Style]]] = {}
    for many in library().all.values():
        for one in many:
            if one.style is not None:
                commanded.setdefault(normalised(one.text), set()).add((one.effect, one.style))
    assert {text: found for text, found in commanded.items() if len(found) > 1} == {}


def test_the_same_wording_with_a_number_belongs_to_one_field() -> None:
    fields: dict[tuple[str, str], set[str]] = {}
    for effect, many in library().all.items():
        for one in many:
            if one.quantity is not None:
                fields.setdefault((normalised(one.text), one.quantity), set()).add(FIELDS[effect])
    assert [key for key, found in fields.items() if len(found) > 1] == []


def test_the_same_state_draws_the_same() -> None:
    first, second = random.Random(7), random.Random(7)
    assert [draw(first) for _ in range(500)] == [draw(second) for _ in range(500)]
    assert first.getstate() == second.getstate()
    assert draw(random.Random(8)) != draw(random.Random(9)) or draw(random.Random(10)) != draw(random.Random(11))


def test_the_mix_is_the_one_promised() -> None:
    def kind(one: Instruction) -> str:
        if not one.text:
            return "none"
        return {0: "neutral", 1: "single"}.get(len(one.style.changes()), "combined")

    counts = Counter(kind(one) for one in samples())
    assert sum(SHARES.values()) == pytest.approx(1)
    for name, share in SHARES.items():
        assert counts[name] / DRAWS == pytest.approx(share, abs=0.012), name


def test_no_instruction_leaves_the_voice_plain_and_the_text_empty() -> None:
    assert all(one.style == PLAIN for one in samples() if not one.text)
    assert any(one.style == PLAIN for one in samples() if one.text)


def test_every_text_is_finished() -> None:
    for one in samples():
        assert "{" not in one.text
        assert "  " not in one.text
        assert one.text == one.text.strip()
        assert len(one.text) <= 170


def test_whisper_comes_without_pitch_spread_or_level() -> None:
    whispered = [one.style.changes() for one in samples() if one.style.whisper]
    assert len(whispered) > 400
    assert all(set(changes) <= {"whisper", "rate", "pause_s"} for changes in whispered)
    assert any("rate" in changes for changes in whispered)
    assert any("pause_s" in changes for changes in whispered)


def test_degrees_and_ranges_keep_to_the_limits_and_reach_them() -> None:
    for effect, degrees in DEGREES.items():
        for value in degrees.values():
            PLAIN.with_changes(**{FIELDS[effect]: value})
    for field, (low, high) in LIMITS.items():
        drawn = [getattr(one.style, field) for one in samples()]
        values = [value for value in drawn if value is not None]
        assert min(values) <= low + 0.02 * (high - low), field
        assert max(values) >= high - 0.02 * (high - low), field


@pytest.mark.parametrize(
    ("pattern", "field", "value"),
    [
        (r"(?:^|\s)(\d+) ?(?:%|percent) faster", "rate", lambda n: 1 + n / 100),
        (r"(?:^|\s)(\d+) ?(?:%|percent) slower", "rate", lambda n: 1 - n / 100),
        (r"语速(?:加快|提高|快)(\d+) ?%", "rate", lambda n: 1 + n / 100),
        (r"语速(?:减慢|降低|慢)(\d+) ?%", "rate", lambda n: 1 - n / 100),
        (r"(\d(?:\.\d+)?) ?(?:times the|倍速|x the)", "rate", lambda n: n),
        (r"(?<![\d.])([\d.]+) semitones? higher|高([\d.]+)个半音", "pitch_st", lambda n: n),
        (r"(?<![\d.])([\d.]+) semitones? lower|低([\d.]+)个半音", "pitch_st", lambda n: -n),
        (r"(?<![\d.])([\d.]+) ?(?:dB|decibels?) louder|音量提高([\d.]+) ?(?:分贝|dB)", "level_db", lambda n: n),
        (r"(?<![\d.])([\d.]+) ?(?:dB|decibels?) (?:soft|quiet)er|降低([\d.]+) ?(?:分贝|dB)", "level_db", lambda n: -n),
        (r"(?:[Pp]ause|停顿)(?: for)? ?(\d(?:\.\d+)?) ?(?:seconds?|s\b|秒)", "pause_s", lambda n: n),
        (r"(?:[Pp]ause|停顿)(?: for)? ?(\d+) ?(?:ms|milliseconds|毫秒)", "pause_s", lambda n: n / 1000),
    ],
)
def test_the_number_said_is_the_number_meant(pattern: str, field: str, value: Any) -> None:
    seen = 0
    for one in samples():
        if found := re.search(pattern, one.text):
            seen += 1
            number = float(next(group for group in found.groups() if group))
            assert getattr(one.style, field) == pytest.approx(value(number)), one.text
    assert seen >= 8


@pytest.mark.parametrize(
    ("pattern", "field", "value"),
    [
        (r"语速(?:快|提高)百分之二十(?!.)", "rate", 1.2),
        (r"\btwenty percent faster", "rate", 1.2),
        (r"(?<!.)慢两成", "rate", 0.8),
        (r"一倍半", "rate", 1.5),
        (r"one and a half times", "rate", 1.5),
        (r"\btwo (?:semitone|half step)s (?:up|higher)", "pitch_st", 2.0),
        (r"高两个半音", "pitch_st", 2.0),
        (r"低两个半音", "pitch_st", -2.0),
        (r"(?:提高|大声|响)两分贝", "level_db", 2.0),
        (r"half a second", "pause_s", 0.5),
        (r"(?<![点之])一秒(?!零)", "pause_s", 1.0),
        (r"(?<!零)两百毫秒", "pause_s", 0.2),
        (r"快三分之一", "rate", 1.333),
        (r"\ba quarter slower", "rate", 0.75),
        (r"(?:高|升高?)大三度", "pitch_st", 4.0),
        (r"\ba perfect fifth (?:down|lower)", "pitch_st", -7.0),
        (r"eight tenths of a second", "pause_s", 0.8),
        (r"高一?个?八度", "pitch_st", 12.0),
        (r"低半个八度", "pitch_st", -6.0),
    ],
)
def test_numbers_in_words_mean_the_same(pattern: str, field: str, value: float) -> None:
    found = [one for one in samples() if re.search(pattern, one.text.lower())]
    assert found
    for one in found:
        assert getattr(one.style, field) == value, one.text


def test_percent_of_pitch_and_level_are_factors_of_frequency_and_amplitude() -> None:
    checked = 0
    for one in samples():
        if found := re.fullmatch(r"(?:pitch (\d+)% higher|raise the pitch by (\d+)%)", one.text.lower().strip(".")):
            number = float(found[1] or found[2])
            assert one.style.pitch_st == pytest.approx(12 * math.log2(1 + number / 100), abs=1e-3)
            checked += 1
    assert checked >= 5
    assert RANGES["softer"]["percent"][1] == 70


@pytest.mark.parametrize("name", LISTS)
def test_two_hundred_unseen_lines_are_valid(name: str) -> None:
    assert len(unseen(name)) == 200
    assert len({text for text, _ in unseen(name)}) == 200
    for text, changes in unseen(name):
        assert text == text.strip() != ""
        style = Style(**changes)
        assert style.changes() == changes, text
        assert not (style.whisper and {"pitch_st", "spread", "level_db"} & set(changes))


@pytest.mark.parametrize("name", LISTS)
def test_unseen_lines_spread_over_languages_effects_and_the_whole_range(name: str) -> None:
    concrete = [(text, changes) for text, changes in unseen(name) if re.search(r"#", normalised(text)) and changes]
    assert len(concrete) >= 120
    assert sum(len(changes) == 0 for _, changes in unseen(name)) == 10
    assert sum(len(changes) >= 2 for _, changes in unseen(name)) >= 20
    han = [bool(re.search(_HAN, text)) for text, _ in unseen(name)]
    assert 80 <= sum(han) <= 120
    for field, (low, high) in LIMITS.items():
        values = [changes[field] for _, changes in unseen(name) if field in changes]
        assert len(set(values)) >= 4
        assert min(values) <= low + 0.05 * (high - low), field
        assert max(values) >= high - 0.05 * (high - low), field
    assert sum(bool(changes.get("whisper")) for _, changes in unseen(name)) >= 8


@pytest.mark.parametrize("name", LISTS)
def test_no_unseen_wording_is_a_trained_one(name: str) -> None:
    assert [text for text, _ in unseen(name) if is_trained(text, parts=1)] == []
    # Of effects that are combined, each part alone may be known; few are.
    assert sum(is_trained(text) for text, _ in unseen(name)) <= 10
    drawn = {normalised(one.text) for one in samples()}
    assert [text for text, _ in unseen(name) if normalised(text) in drawn] == []


def test_the_lists_share_no_line() -> None:
    first, second = ({normalised(text) for text, _ in unseen(name)} for name in LISTS)
    assert first & second == set()


def test_what_is_drawn_would_be_recognised_as_trained() -> None:
    texts = [one.text for one in samples()[:4000] if one.text]
    strangers = [text for text in texts if not is_trained(text)]
    # Two numbers side by side, or a courtesy that is also a word, hide a few.
    assert len(strangers) < 0.01 * len(texts), strangers[:20]
