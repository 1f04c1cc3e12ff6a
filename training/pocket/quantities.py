"""How numbers are said in an instruction: percent, factors, semitones, decibels, seconds, in English and Chinese.

A number is a float in the unit that its quantity has: percent, semitones and decibels as said; factors in hundredths;
pauses in milliseconds.
"""

from __future__ import annotations

import random

__all__ = ["STEPS", "digits", "draw_number", "spoken"]

STEPS: dict[str, tuple[int, int, int]] = {
    "percent": (10, 5, 1),
    "tenths": (10, 10, 10),
    "times": (10, 5, 1),
    "factor": (10, 5, 1),
    "share": (10, 5, 1),
    "semitones": (1, 1, 1),
    "decibels": (1, 1, 1),
    "seconds": (100, 100, 50),
    "bare_seconds": (100, 100, 50),
}
"""What numbers are multiples of: the first step in 40 % of the draws, the second in 30 %, the last in the rest."""

_STEP_SHARES = (0.4, 0.7)
_WORDS_SHARE = 0.25
_NAMED_SHARE = 0.14
"""Share of the numbers that have a name of their own ("a third", "a perfect fifth") and are called by it."""
_HALF_SHARE = 0.08

_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
_UNITS += "seventeen eighteen nineteen".split()
_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
_CHINESE = "零一二三四五六七八九"

_PARTS: dict[float, tuple[tuple[str, ...], tuple[str, ...]]] = {
    10.0: (("a tenth", "one tenth"), ("十分之一",)),
    12.5: (("an eighth",), ("八分之一",)),
    20.0: (("a fifth", "one fifth"), ("五分之一",)),
    25.0: (("a quarter", "one quarter"), ("四分之一",)),
    30.0: (("three tenths",), ("十分之三",)),
    100 / 3: (("a third", "one third"), ("三分之一",)),
    40.0: (("two fifths",), ("五分之二",)),
    50.0: (("half", "a half"), ("一半", "二分之一")),
    60.0: (("three fifths",), ("五分之三",)),
    200 / 3: (("two thirds",), ("三分之二",)),
    70.0: (("seven tenths",), ("十分之七",)),
    75.0: (("three quarters",), ("四分之三",)),
    80.0: (("four fifths",), ("五分之四",)),
    90.0: (("nine tenths",), ("十分之九",)),
}
"""Shares of a whole by percent, English and Chinese."""

_INTERVALS: dict[float, tuple[tuple[str, ...], tuple[str, ...]]] = {
    1.0: (("a minor second",), ("小二度",)),
    2.0: (("a major second", "a whole tone", "one whole tone"), ("大二度", "一个全音")),
    3.0: (("a minor third",), ("小三度",)),
    4.0: (("a major third", "two whole tones"), ("大三度", "两个全音")),
    5.0: (("a fourth", "a perfect fourth"), ("纯四度",)),
    6.0: (("a tritone", "three whole tones"), ("增四度", "三个全音")),
    7.0: (("a fifth", "a perfect fifth"), ("纯五度",)),
    8.0: (("a minor sixth",), ("小六度",)),
    9.0: (("a major sixth",), ("大六度",)),
    10.0: (("a minor seventh",), ("小七度",)),
    11.0: (("a major seventh",), ("大七度",)),
    12.0: (("an octave", "one octave", "a full octave"), ("一个八度", "八度")),
}
"""Intervals of twelve-tone equal temperament by semitones."""

_SECONDS: dict[float, tuple[tuple[str, ...], tuple[str, ...]]] = {
    200.0: (("a fifth of a second",), ("五分之一秒",)),
    250.0: (("a quarter of a second", "a quarter second"), ("四分之一秒",)),
    500.0: (("half a second", "a half second"), ("半秒", "半秒钟")),
    750.0: (("three quarters of a second",), ("四分之三秒",)),
    1000.0: (("one second", "a second", "1 second", "a full second"), ("一秒", "一秒钟", "1秒")),
    1100.0: (("a second and a tenth",), ("一秒零一百毫秒",)),
    1200.0: (("a second and two tenths",), ("一秒零两百毫秒",)),
}


def draw_number(quantity: str, low: float, high: float, source: random.Random, *, named: bool = True) -> float:
    """A number between both bounds, round ones above all; with ``named`` some are those that have their own name."""
    known = [number for number in _named(quantity) if named and low <= number <= high]
    if known and source.random() < _NAMED_SHARE:
        return source.choice(known)
    point = source.random()
    coarse, middle, fine = STEPS[quantity]
    step = coarse if point < _STEP_SHARES[0] else middle if point < _STEP_SHARES[1] else fine
    number = float(step * source.randint(-(-int(low) // step), int(high) // step))
    if quantity in ("semitones", "decibels") and number + 0.5 <= high and source.random() < _HALF_SHARE:
        number += 0.5
    return number


def spoken(quantity: str, number: float, language: str, source: random.Random, *, named: bool = True) -> str:
    """The number as somebody may write it, in ``language`` "en" or "zh"; by its name only with ``named``."""
    chinese = language == "zh"
    names = _named(quantity).get(number, ((), ()))[chinese] if named else ()
    if names and ((number != int(number) and quantity != "seconds") or source.random() < 0.45):
        return source.choice(names)
    if number != round(number):
        # A third in Chinese percent, or 2.5 dB: digits alone.
        return _with_unit(quantity, f"{number:.4g}", chinese, source)
    in_words = source.random() < _WORDS_SHARE
    said = _in_chinese if chinese else _in_english
    return said(quantity, int(number), in_words, source)


def digits(quantity: str, number: float) -> str:
    """The number in digits with the shortest unit, for behind a plus or minus."""
    unit = {"semitones": " semitones", "decibels": " dB"}.get(quantity, "%")
    return f"{number:.4g}{unit if number != 1 else unit.rstrip('s')}"


def _named(quantity: str) -> dict[float, tuple[tuple[str, ...], tuple[str, ...]]]:
    if quantity in ("percent", "share"):
        return _PARTS
    if quantity == "semitones":
        return _INTERVALS
    return _SECONDS if quantity == "seconds" else {}


def _with_unit(quantity: str, number: str, chinese: bool, source: random.Random) -> str:
    if quantity == "semitones":
        return f"{number}个半音" if chinese else f"{number} {source.choice(('semitones', 'half steps'))}"
    if quantity == "decibels":
        return f"{number}{source.choice(('分贝', 'dB') if chinese else ('dB', ' dB', ' decibels'))}"
    return f"{number}%"


def _in_english(quantity: str, number: int, in_words: bool, source: random.Random) -> str:
    if quantity in ("percent", "share"):
        if in_words and number < 100:
            return f"{_english(number)} {source.choice(('percent', 'percent', 'per cent'))}"
        return f"{number}{source.choice(('%', '%', '%', ' %', ' percent', ' per cent'))}"
    if quantity in ("times", "factor"):
        return _english_factor(quantity, number, in_words, source)
    if quantity == "semitones":
        unit = source.choice(("semitone", "semitone", "semitone", "half tone", "half step", "half-step"))
        return _counted_in_english(number, unit, in_words, source)
    if quantity == "decibels":
        unit = source.choice(("dB", "dB", "decibel", "db"))
        if unit != "decibel":
            gap = "" if not in_words and source.random() < 0.35 else " "
            return f"{_english(number) if in_words else number}{gap}{unit}"
        return _counted_in_english(number, unit, in_words, source)
    if quantity == "bare_seconds":
        return f"{number / 1000:g}"
    return _english_seconds(number, in_words, source)


def _counted_in_english(number: int, unit: str, in_words: bool, source: random.Random) -> str:
    if number == 1 and in_words:
        return f"{source.choice(('a', 'one'))} {unit}"
    return f"{_english(number) if in_words else number} {unit}{'s' if number != 1 else ''}"


def _english_factor(quantity: str, number: int, in_words: bool, source: random.Random) -> str:
    if quantity == "factor":
        return _english_decimal(number, 100) if in_words else f"{number / 100:g}"
    named = {150: "one and a half times", 125: "one and a quarter times"}.get(number)
    if named and source.random() < 0.3:
        return named
    if in_words:
        return f"{_english_decimal(number, 100)} times"
    return f"{number / 100:g}{source.choice((' times', ' times', 'x'))}"


def _english_seconds(number: int, in_words: bool, source: random.Random) -> str:
    tenths, rest = divmod(number, 100)
    if in_words and rest == 0 and tenths < 10:
        return "a tenth of a second" if tenths == 1 else f"{_english(tenths)} tenths of a second"
    if in_words and rest == 0 and source.random() < 0.4:
        return f"{_english_hundreds(number)} milliseconds"
    if in_words:
        return f"{_english_decimal(number, 1000)} seconds"
    if source.random() < 0.25:
        return f"{number}{source.choice((' ms', 'ms', ' milliseconds'))}"
    return f"{number / 1000:g}{source.choice((' seconds', ' seconds', ' s', 's', ' sec'))}"


def _in_chinese(quantity: str, number: int, in_words: bool, source: random.Random) -> str:
    if quantity in ("percent", "share"):
        if in_words:
            return f"百分之{_chinese(number)}" if source.random() < 0.8 else f"百分之{number}"
        return f"{number}{source.choice(('%', '%', '%', ' %'))}"
    if quantity == "tenths":
        return f"{_counted(number // 10)}成"
    if quantity in ("times", "factor"):
        unit = "倍" if quantity == "times" else ""
        if number == 150 and unit and source.random() < 0.3:
            return "一倍半"
        return f"{_chinese_decimal(number, 100)}{unit}" if in_words else f"{number / 100:g}{unit}"
    if quantity == "semitones":
        unit = source.choice(("个半音", "个半音", "个半音", "半音"))
        return f"{_counted(number)}{unit}" if in_words else f"{number}{unit}"
    if quantity == "decibels":
        if in_words:
            return f"{_counted(number)}{source.choice(('分贝', '分贝', '个分贝'))}"
        return f"{number}{source.choice(('分贝', '分贝', 'dB', ' dB', 'db', '个分贝'))}"
    if quantity == "bare_seconds":
        return f"{number / 1000:g}"
    return _chinese_seconds(number, in_words, source)


def _chinese_seconds(number: int, in_words: bool, source: random.Random) -> str:
    if in_words:
        if number < 1000 and number % 100 == 0 and source.random() < 0.4:
            return f"{_CHINESE[number // 100].replace('二', '两')}百毫秒"
        return f"{_chinese_decimal(number, 1000)}秒"
    if source.random() < 0.25:
        return f"{number}{source.choice(('毫秒', '毫秒', 'ms'))}"
    return f"{number / 1000:g}{source.choice(('秒', '秒', '秒', ' 秒', '秒钟'))}"


def _english(number: int) -> str:
    if number < 20:
        return _UNITS[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens] + (f"-{_UNITS[ones]}" if ones else "")


def _english_hundreds(number: int) -> str:
    thousands, hundreds = divmod(number // 100, 10)
    head = f"{_english(thousands)} thousand" if thousands else ""
    tail = f"{_english(hundreds)} hundred" if hundreds else ""
    return f"{head} {tail}".strip()


def _english_decimal(number: int, whole: int) -> str:
    before, _, after = f"{number / whole:g}".partition(".")
    words = [_english(int(before))]
    if after:
        words += ["point", *(_UNITS[int(digit)] for digit in after)]
    return " ".join(words)


def _chinese(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    tens, ones = divmod(rest, 10)
    text = f"{_CHINESE[hundreds]}百" if hundreds else ""
    if tens:
        text += ("十" if tens == 1 and not hundreds else f"{_CHINESE[tens]}十") + (_CHINESE[ones] if ones else "")
    elif ones:
        text += ("零" if hundreds else "") + _CHINESE[ones]
    return text


def _counted(number: int) -> str:
    return "两" if number == 2 else _chinese(number)


def _chinese_decimal(number: int, whole: int) -> str:
    before, _, after = f"{number / whole:g}".partition(".")
    return _CHINESE[int(before)] + (f"点{''.join(_CHINESE[int(digit)] for digit in after)}" if after else "")
