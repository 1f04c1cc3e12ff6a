"""Random Mandarin sentences of everyday speech, from templates over word lists and a long tail of frequent words."""

from __future__ import annotations

import random
import re
from bisect import bisect
from collections.abc import Callable
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import TypeAlias

from training.pocket.sentences.chinese_reading import digit_by_digit, numeral

__all__ = ["LONGEST", "SHARES", "SHORTEST", "Grammar", "Node", "frequent", "grammar", "sentence"]

Node: TypeAlias = "str | list[Node] | tuple[Node, ...] | Callable[[random.Random], str]"
"""What can be spoken: a text; one of a list; the parts of a tuple one after the other; what a function draws."""

Grammar: TypeAlias = dict[str, list[Node]]
"""The choices of each class, by the name of the class."""

SHARES: dict[str, float] = {
    "short": 0.065,
    "small_talk": 0.04,
    "statement": 0.12,
    "question": 0.08,
    "exclaim": 0.03,
    "request": 0.05,
    "construct": 0.09,
    "clauses": 0.09,
    "idioms": 0.04,
    "feelings": 0.03,
    "story": 0.03,
    "pair": 0.04,
    "numbers": 0.12,
    "shopping": 0.04,
    "way": 0.03,
    "phone_talk": 0.02,
    "weather_talk": 0.02,
    "office": 0.02,
    "schooltalk": 0.02,
    "health": 0.02,
    "newstalk": 0.03,
    "techtalk": 0.03,
    "more_talk": 0.09,
    "tail": 0.22,
}
"""How often each family of templates is drawn, in proportion."""

UNOPENED = frozenset({"short", "exclaim", "idioms", "story", "small_talk", "phone_talk", "pair", "tail"})
"""Families that an opening phrase does not suit."""

OPENED = 0.18
"""The share of the other families' sentences that begin with an opening phrase such as "对了，"."""

BY_CHARACTER = 0.4
"""The share of the long tail's words that are drawn for a character that the listed words lack. Of the 1,367 such
characters, 344 were missing from 150,000 sentences with words drawn by their own frequency alone; with this, 4."""

SHORTEST, LONGEST = 2, 28
"""Characters of a sentence, its marks included."""

_HERE = Path(__file__).parent
_DIGITS = "零一二三四五六七八九"


def _digits(source: random.Random, count: int) -> str:
    return str(source.randrange(10 ** (count - 1), 10**count))


def _large(source: random.Random) -> int:
    value = source.randrange(100, 10 ** source.randrange(3, 8))
    # Most large numbers that people say are round.
    return value if source.random() < 0.4 else int(float(f"{value:.1e}"))


def _year(source: random.Random) -> int:
    return source.randrange(1949, 2035)


def _phone(source: random.Random) -> str:
    prefix = source.choice(("13", "15", "18", "010", "021", "4", "8", "6"))
    return prefix + str(source.randrange(10**6, 10**8))


def _spoken_clock(source: random.Random) -> str:
    hour = source.randrange(1, 13)
    name = "两" if hour == 2 else numeral(hour)
    shape = source.randrange(6)
    if shape == 0:
        return name + "点"
    if shape == 1:
        return name + "点半"
    if shape == 2:
        return name + source.choice(("点一刻", "点三刻", "点整", "点钟"))
    if shape == 3:
        return f"{hour}点半"
    minute = source.randrange(1, 60)
    if shape == 4:
        return f"{hour}点{minute}分"
    return f"{name}点{'零' if minute < 10 else ''}{numeral(minute)}{'分' if minute % 5 else ''}"


def _spoken_decimal(source: random.Random) -> str:
    return f"{numeral(source.randrange(100))}点{''.join(_DIGITS[int(digit)] for digit in _digits(source, 1))}"


def _room(source: random.Random) -> str:
    return f"{source.randrange(1, 30)}{source.randrange(1, 30):02d}"


DRAWN: dict[str, Callable[[random.Random], str]] = {
    "digit_one": lambda source: str(source.randrange(1, 10)),
    "digit_small": lambda source: str(source.randrange(100)),
    "digit_large": lambda source: str(_large(source)),
    "digit_month": lambda source: str(source.randrange(1, 13)),
    "digit_day": lambda source: str(source.randrange(1, 32)),
    "digit_year": lambda source: str(_year(source)),
    "digit_clock": lambda source: f"{source.randrange(1, 24)}:{source.randrange(60):02d}",
    "digit_percent": lambda source: f"{source.randrange(1, 101)}{source.choice(('', '', '.5'))}%",
    "digit_decimal": lambda source: f"{source.randrange(100)}.{source.randrange(1, 10)}",
    "digit_room": _room,
    "digit_phone": _phone,
    "digit_code": lambda source: _digits(source, source.randrange(4, 7)),
    "price": lambda source: f"{source.randrange(200)}.{source.choice((5, 8, 9, 99, 50, 25))}",
    "spoken_one": lambda source: _DIGITS[source.randrange(1, 10)],
    "spoken_small": lambda source: numeral(source.randrange(1, 100)),
    "spoken_large": lambda source: numeral(_large(source)),
    "spoken_year": lambda source: "".join(_DIGITS[int(digit)] for digit in str(_year(source))),
    "spoken_percent": lambda source: numeral(source.randrange(1, 101)),
    "spoken_clock": _spoken_clock,
    "spoken_decimal": _spoken_decimal,
    "spoken_room": lambda source: digit_by_digit(_room(source)),
    "spoken_phone": lambda source: digit_by_digit(_phone(source)),
}
"""Classes that are made, not listed."""


@cache
def frequent() -> tuple[list[str], list[float]]:
    """The words of the long tail and their cumulative weights, the square roots of their frequencies."""
    rows = [line.split("\t") for line in (_HERE / "chinese_frequent.tsv").read_text(encoding="utf-8").splitlines()]
    return [word for word, _ in rows], list(accumulate(float(frequency) ** 0.5 for _, frequency in rows))


@cache
def _by_character() -> tuple[list[tuple[list[str], list[float]]], list[float]]:
    """For each character that no listed word holds: its frequent words; and the cumulative weights of the characters.

    The weight of a character is the square root of the summed frequencies of its words, as that of a word is.
    """
    words, cumulative = frequent()
    squares = [high - low for low, high in zip([0.0, *cumulative], cumulative, strict=False)]
    listed = set("".join(node for nodes in grammar().values() for node in nodes if isinstance(node, str)))
    held: dict[str, list[int]] = {}
    for index, word in enumerate(words):
        for character in dict.fromkeys(word):
            if character not in listed:
                held.setdefault(character, []).append(index)
    families = [
        ([words[index] for index in indices], list(accumulate(squares[index] for index in indices)))
        for indices in held.values()
    ]
    totals = (sum(squares[index] ** 2 for index in indices) ** 0.5 for indices in held.values())
    return families, list(accumulate(totals))


def _drawn(words: list[str], weights: list[float], source: random.Random) -> str:
    return words[bisect(weights, source.random() * weights[-1], hi=len(words) - 1)]


def _rare(source: random.Random) -> str:
    if source.random() < BY_CHARACTER:
        families, weights = _by_character()
        return _drawn(*families[bisect(weights, source.random() * weights[-1], hi=len(families) - 1)], source)
    return _drawn(*frequent(), source)


@cache
def grammar() -> Grammar:
    """All classes, listed and made.

    A line of a word list is "class: word word ..."; lines of the same class add up. A word may hold slots
    "{class}" and choices "[this|that]".
    """
    listed: dict[str, list[str]] = {}
    for path in sorted((_HERE / "chinese_words").glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                name, row = line.split(":", 1)
                listed.setdefault(name, []).extend(row.split())
    classes: Grammar = {name: [] for name in listed}
    classes.update({name: [draw] for name, draw in DRAWN.items()}, rare=[_rare])
    for name, words in listed.items():
        classes[name] += [_compiled(word, classes) for word in words]
    return classes


def _compiled(text: str, classes: Grammar) -> Node:
    """Slots become the lists of their classes, shared, so that each class is held once."""
    parts: list[Node] = []
    for piece in re.findall(r"\{\w+\}|\[[^\]]*\]|[^{\[]+", text):
        if piece[0] == "{":
            if piece[1:-1] not in classes:
                raise ValueError(f"no class {piece} for {text!r}")
            parts.append(classes[piece[1:-1]])
        elif piece[0] == "[":
            parts.append([_compiled(choice, classes) for choice in piece[1:-1].split("|")])
        else:
            parts.append(piece)
    return parts[0] if len(parts) == 1 else tuple(parts)


def _spoken(node: Node, source: random.Random) -> str:
    while isinstance(node, list):
        node = node[int(source.random() * len(node))]
    if isinstance(node, str):
        return node
    if isinstance(node, tuple):
        return "".join([_spoken(part, source) for part in node])
    return node(source)


@cache
def _families() -> tuple[list[str], list[float]]:
    return list(SHARES), list(accumulate(SHARES.values()))


def sentence(source: random.Random) -> str:
    """One sentence of SHORTEST to LONGEST characters, in simplified characters and digits, with its end mark."""
    classes = grammar()
    names, shares = _families()
    while True:
        name = names[bisect(shares, source.random() * shares[-1])]
        text = _spoken(classes[name], source)
        if name not in UNOPENED and source.random() < OPENED:
            text = _spoken(classes["opener"], source) + text
        if SHORTEST <= len(text) <= LONGEST:
            return text
