"""Finds numbers with units in an instruction: percent, factors, semitones, decibels, seconds; English and Chinese."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Quantity", "quantities_of"]

_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
_UNITS += "seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_WORDS = {**{word: index for index, word in enumerate(_UNITS)}, **{word: 20 + 10 * i for i, word in enumerate(_TENS)}}
_CHINESE = {**{char: index for index, char in enumerate("零一二三四五六七八九")}, "两": 2}

_ENGLISH_NUMBER = rf"(?<![a-z])(?:{'|'.join(sorted(_WORDS, key=len, reverse=True))})"
_ENGLISH_NUMBER += rf"(?:[- ](?:{'|'.join(_UNITS[1:10])}))?(?: point(?: (?:{'|'.join(_UNITS[:10])}))+)?(?: and a half)?"
_ENGLISH_POINT = rf"(?:zero|one) point(?: (?:{'|'.join(_UNITS[:10])}))+"
# Bounded, so that endless rows of numerals cost no more than other text.
_CHINESE_NUMBER = "(?<![零一二三四五六七八九十百两])[零一二三四五六七八九十百两]{1,8}(?:点[零一二三四五六七八九]{1,8})?"
_NUMBER = rf"(?:(?<!\d)\d{{1,8}}(?:\.\d{{1,8}})?|{_ENGLISH_NUMBER}|{_CHINESE_NUMBER})"


@dataclass(frozen=True)
class Quantity:
    """A number with its unit at characters ``start`` to ``end``.

    ``unit`` is percent, times, semitones, decibels or seconds; ``sign`` is -1 or 1 where the text writes one, else 0.
    ``is_target`` tells "to 80 %" from "by 80 %".
    """

    start: int
    end: int
    unit: str
    value: float
    sign: int
    is_target: bool = False


def _constant(value: float) -> Callable[[str], float]:
    return lambda _: value


def _scaled(factor: float) -> Callable[[str], float]:
    return lambda number: factor * _value(number)


_PARTS = {"quarter": 4, "third": 3, "fourth": 4, "fifth": 5, "eighth": 8, "tenth": 10}
_COUNTS = {
    "a": 1,
    "an": 1,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
}
_SHARE_WORDS = rf"(?<![a-z])(?:{'|'.join(_COUNTS)}) (?:{'|'.join(_PARTS)})s?"
_SHARE = rf"{_SHARE_WORDS}(?! of a second| second|[a-z])"
_INTERVAL_NAMES = (
    *(("minor second", "小二度"), ("major second", "大二度"), ("minor third", "小三度"), ("major third", "大三度")),
    *(("perfect fourth", "纯四度"), ("tritone", "增四度"), ("perfect fifth", "纯五度"), ("minor sixth", "小六度")),
    *(("major sixth", "大六度"), ("minor seventh", "小七度"), ("major seventh", "大七度")),
)
_INTERVALS = {name: size for size, names in enumerate(_INTERVAL_NAMES, 1) for name in names}
"""Intervals of twelve-tone equal temperament, in semitones."""
_INTERVAL = rf"(?<![a-z])(?:{'|'.join(name for name in _INTERVALS if name.isascii())})(?![a-z])"


def _english_share(text: str) -> float:
    count, part = text.split(" ")
    return 100 * _COUNTS[count] / _PARTS[part.rstrip("s")]


def _chinese_share(text: str) -> float:
    whole, _, count = text.partition("分之")
    return 100 * _value(count) / _value(whole)


def _interval(text: str) -> float:
    return float(_INTERVALS[text])


# Earlier patterns win where several begin at one place. The group "n" is the number.
_PATTERNS: tuple[tuple[str, str, Callable[[str], float]], ...] = (
    (rf"(?P<n>{_SHARE_WORDS}) of a second", "seconds", lambda text: _english_share(text) / 100),
    (r"(?P<n>[二三四五六七八九十]分之[一二三四五六七八九])秒钟?", "seconds", lambda text: _chinese_share(text) / 100),
    (rf"百分之(?P<n>{_NUMBER})", "percent", _scaled(1)),
    (rf"(?P<n>{_NUMBER}) ?(?:%|per ?cent)", "percent", _scaled(1)),
    (rf"(?P<n>{_NUMBER})成", "percent", _scaled(10)),
    (r"(?P<n>一半|二分之一)", "percent", _constant(50)),
    (r"(?P<n>[一二三四五六七八九十]分之[一二三四五六七八九])", "percent", _chinese_share),
    (rf"(?P<n>{_INTERVAL})", "semitones", _interval),
    (r"(?P<n>[小大纯增][二三四五六七]度)", "semitones", _interval),
    (rf"(?P<n>{_NUMBER}) ?(?:个全音|whole tones?)", "semitones", _scaled(2)),
    (rf"(?P<n>{_SHARE})", "percent", _english_share),
    (r"(?P<n>半个八度|(?<![a-z])half an octave)", "semitones", _constant(6)),
    (rf"(?P<n>{_NUMBER}) ?(?:个?八度|octaves?)", "semitones", _scaled(12)),
    (r"(?P<n>(?<![a-z])(?:an |a full )?octave|八度)", "semitones", _constant(12)),
    (rf"(?P<n>{_NUMBER}) ?(?:semitones?|half[- ](?:tone|step)s?|st(?![a-z])|个? ?半音)", "semitones", _scaled(1)),
    (r"(?P<n>(?<![a-z])a (?:semitone|half[- ](?:tone|step)))", "semitones", _constant(1)),
    (rf"(?P<n>{_NUMBER}) ?(?:db(?![a-z])|decibels?|个?分贝)", "decibels", _scaled(1)),
    (rf"(?P<n>{_NUMBER}) ?(?:milliseconds?|ms(?![a-z])|毫秒)", "seconds", _scaled(0.001)),
    (rf"(?P<n>{_NUMBER}) ?(?:seconds?|secs?(?![a-z])|s(?![a-z])|秒钟?)", "seconds", _scaled(1)),
    (r"(?P<n>(?<![a-z])(?:half a|a half) second|半秒钟?)", "seconds", _constant(0.5)),
    (r"(?P<n>(?<![a-z])a quarter of a second)", "seconds", _constant(0.25)),
    (r"(?P<n>(?<![a-z])a (?:full )?second(?![a-z]))", "seconds", _constant(1)),
    (r"(?P<n>一倍半)", "times", _constant(1.5)),
    (rf"(?P<n>{_NUMBER}) ?(?:times|x(?![a-z])|倍速?)", "times", _scaled(1)),
    (r"(?P<n>(?<![a-z])(?:twice|double)(?![a-z]))", "times", _constant(2)),
    (r"(?P<n>(?<![a-z])half (?:the |your )?(?:usual |normal )?(?=speed|pace|rate|as fast))", "times", _constant(0.5)),
    (r"(?P<n>\d\.\d+|[零一]点[一二三四五六七八九]+)的(?:语速|速度)", "times", _scaled(1)),
    (
        r"(?:(?<![a-z])(?:factor|multiplier|scale|speed|rate|pace|tempo)|倍速|语速|速度|因子)"
        r"(?:[ :=：调到成为设用是改开的应拉提定就值高低放降在]|of|to|be|at|should|by|set){0,12}"
        rf"(?P<n>\d\.\d+|{_ENGLISH_POINT}|[零一]点[一二三四五六七八九]+)(?! ?[%倍a-z\d])",
        "times",
        _scaled(1),
    ),
)
_TO = re.compile(r"(?:(?<![a-z])to|[到至](?:平时|正常|原来|平常)?的?) *$")
_ANY = re.compile("|".join(f"(?P<p{i}>{p.replace('?P<n>', f'?P<n{i}>')})" for i, (p, _, _) in enumerate(_PATTERNS)))


def quantities_of(folded: str) -> list[Quantity]:
    """All numbers with a unit in lower-case text, in their order; numbers without one are passed over."""
    found = []
    for match in _ANY.finditer(folded):
        index = next(i for i in range(len(_PATTERNS)) if match.group(f"p{i}") is not None)
        _, unit, value = _PATTERNS[index]
        before = folded[: match.start()].rstrip()[-1:]
        sign = 1 if before == "+" else -1 if before and before in "-−负" else 0
        found.append(
            Quantity(
                match.start(),
                match.end(),
                unit,
                value(match.group(f"n{index}")),
                sign,
                bool(_TO.search(folded[: match.start()])),
            )
        )
    return found


def _value(number: str) -> float:
    if number[0].isdigit():
        return float(number)
    if number[0] in "零一二三四五六七八九十百两":
        whole, _, after = number.partition("点")
        decimals = "".join(str(_CHINESE[char]) for char in after)
        return float(f"{_chinese(whole)}.{decimals or 0}")
    half = number.endswith(" and a half")
    whole, _, after = number.removesuffix(" and a half").partition(" point ")
    decimals = "".join(str(_WORDS[word]) for word in after.split())
    return float(f"{sum(_WORDS[word] for word in re.split('[- ]', whole))}.{decimals or 0}") + 0.5 * half


def _chinese(number: str) -> int:
    total = digit = 0
    for char in number:
        if char in "十百":
            total += max(digit, 1) * (10 if char == "十" else 100)
            digit = 0
        else:
            digit = _CHINESE[char]
    return total + digit
