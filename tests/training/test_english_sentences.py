"""The English training sentences: what they cover, how they look, and that the unseen ones stay unseen."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from training.pocket.sentences import derive_english, english

UNSEEN = Path(english.__file__).parent.parent / "unseen" / "english.txt"
WORD = re.compile(r"(?<![\w'])[A-Za-z]+(?:['-][A-Za-z]+)*")


def words(text: str) -> set[str]:
    return set(WORD.findall(text.lower()))


def fragments(text: str, size: int = 4) -> set[tuple[str, ...]]:
    found = WORD.findall(text.lower())
    return {tuple(found[start : start + size]) for start in range(len(found) - size + 1)}


@pytest.fixture(scope="module")
def drawn() -> list[str]:
    source = random.Random(4)
    return [english.sentence(source) for _ in range(30_000)]


@pytest.fixture(scope="module")
def unseen() -> list[str]:
    return UNSEEN.read_text(encoding="utf-8").splitlines()


def share(drawn: list[str], pattern: str) -> float:
    return sum(bool(re.search(pattern, text)) for text in drawn) / len(drawn)


def pieces() -> Iterator[str]:
    """Every literal stretch of the data files, the slots cut out."""
    for path in (Path(english.__file__).parent / "english_words").glob("*.txt"):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield from re.split(r"\{[\w:*]+\}|, (?=\w)", line)


def test_no_list_is_hidden_by_a_slot_that_is_made() -> None:
    headers = re.compile(r"^[\[<](\w+)", re.MULTILINE)
    names = [
        name
        for path in (Path(english.__file__).parent / "english_words").glob("*.txt")
        for name in headers.findall(path.read_text(encoding="utf-8"))
    ]
    assert len(names) == len(set(names))
    assert set(names).isdisjoint(english.DRAWN)


def test_equal_states_give_equal_sentences() -> None:
    one, other = random.Random(9), random.Random(9)
    assert [english.sentence(one) for _ in range(300)] == [english.sentence(other) for _ in range(300)]
    assert one.getstate() == other.getstate()


def test_sentences_have_one_to_twenty_words(drawn: list[str]) -> None:
    lengths = [len(text.split()) for text in drawn]
    assert min(lengths) == 1
    assert max(lengths) <= english.MOST_WORDS
    assert 8.0 <= sum(lengths) / len(lengths) <= 10.0
    assert 0.06 <= sum(length <= 3 for length in lengths) / len(lengths) <= 0.10
    assert sum(length >= 15 for length in lengths) / len(lengths) >= 0.08


def test_sentences_are_clean(drawn: list[str]) -> None:
    for text in drawn:
        assert re.fullmatch(r"[\"A-Z0-9$][A-Za-z0-9 ,.;:?!'\"$%-]*[.?!]", text), text
        assert "  " not in text, text
        assert ".." not in text, text
        assert not re.search(r"\s[,.;:?!]|[,;:][^\s\"\d]", text), text
        assert not re.search(r"\ba (?!one|once|eu|ewe)[aeio]|\ban [bcdfgjklmnpqrstvwxz]", text), text


def test_shapes_are_mixed(drawn: list[str]) -> None:
    assert 0.15 <= share(drawn, r"\?$") <= 0.30
    assert 0.03 <= share(drawn, r"!$") <= 0.12
    assert 0.08 <= share(drawn, r"\d") <= 0.20
    assert share(drawn, r"\d:\d\d") > 0.005
    assert share(drawn, r"\$\d") > 0.003
    assert share(drawn, r"\d%") > 0.002
    assert share(drawn, r"\d(st|nd|rd|th)\b") > 0.002
    assert share(drawn, r"\b[A-Z]{2,}\b") > 0.01
    assert share(drawn, r"\w, \w") > 0.2
    assert len(set(drawn)) > 0.9 * len(drawn)


def test_everyday_words_are_many_and_come_up(drawn: list[str]) -> None:
    seen = words(" ".join(drawn))
    assert len(english.everyday_words()) >= 3_000
    assert len(seen & english.everyday_words()) >= 2_500


def test_the_long_tail_has_its_share(drawn: list[str]) -> None:
    tail = set(english.rare_words()) - english.everyday_words()
    with_tail = sum(not words(text).isdisjoint(tail) for text in drawn) / len(drawn)
    assert 0.14 <= with_tail <= 0.28


def test_the_unseen_sentences_stay_unseen(drawn: list[str], unseen: list[str]) -> None:
    assert len(unseen) == len(set(unseen)) == 200
    assert all(3 <= len(text.split()) <= 16 and text[-1] in ".?!" for text in unseen)
    assert set(unseen).isdisjoint(drawn)


def test_no_template_holds_a_fragment_of_an_unseen_sentence(unseen: list[str]) -> None:
    of_templates = {fragment for piece in pieces() for fragment in fragments(piece)}
    shared = {text: found for text in unseen if (found := fragments(text) & of_templates)}
    assert not shared


def test_the_words_of_the_unseen_sentences_are_in_the_lists(unseen: list[str]) -> None:
    known = english.everyday_words() | set(english.rare_words())
    needed = {word.removesuffix("'s") if word not in known else word for word in words(" ".join(unseen))}
    assert len(needed & known) / len(needed) >= 0.97, sorted(needed - known)


def test_the_long_tail_is_what_the_rule_derives() -> None:
    rare = english.rare_words()
    assert list(rare) == sorted(set(rare))
    assert all(re.fullmatch(r"[a-z]{3,12}", word) for word in rare)
    assert 24_000 <= len(rare) <= 26_000
    assert derive_english.derived(rare) == list(rare)


def test_the_rule_leaves_out_forms_and_offence() -> None:
    given = ["teapot", "teapots", "Paris", "it's", "ox", "naked", "therapist", "debugger", "melt", "melting"]
    assert derive_english.derived(given) == ["debugger", "melt", "teapot", "therapist"]


@pytest.mark.parametrize(
    ("entry", "form", "expected"),
    [
        ("go home:went:gone", "third", "goes home"),
        ("go home:went:gone", "ing", "going home"),
        ("get up+:got:gotten", "ing", "getting up"),
        ("lie down:lay:lain", "ing", "lying down"),
        ("carry", "past", "carried"),
        ("play", "third", "plays"),
        ("agree", "ing", "agreeing"),
        ("smile", "past", "smiled"),
        ("child:children", "s", "children"),
        ("cherry", "s", "cherries"),
        ("good:better:best", "est", "best"),
        ("big+", "er", "bigger"),
        ("happy", "est", "happiest"),
        ("large", "er", "larger"),
        ("shy", "er", "shyer"),
        ("careful", "er", "more careful"),
        ("tired", "est", "most tired"),
    ],
)
def test_words_are_inflected(entry: str, form: str, expected: str) -> None:
    assert english.inflected(entry, form) == expected


@pytest.mark.parametrize(
    ("number", "said", "ordinal"),
    [
        (0, "zero", "zeroth"),
        (12, "twelve", "twelfth"),
        (40, "forty", "fortieth"),
        (73, "seventy-three", "seventy-third"),
        (305, "three hundred and five", "three hundred and fifth"),
        (2_450, "two thousand four hundred and fifty", "two thousand four hundred and fiftieth"),
    ],
)
def test_numbers_are_said(number: int, said: str, ordinal: str) -> None:
    assert english.in_words(number) == said
    assert english.ordinal_in_words(number) == ordinal
