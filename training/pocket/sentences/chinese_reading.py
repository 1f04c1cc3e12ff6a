"""How a Mandarin text is written for espeak-ng: digits as numerals, and the syllables that the engine cannot spell."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Reading", "digit_by_digit", "numeral", "reading"]

_DIGITS = "零一二三四五六七八九"
_SPOKEN_DIGITS = "零幺二三四五六七八九"
"""In a number that is read digit by digit, 1 is yao."""

_MEASURES = frozenset(
    "个本张件条双把只支台辆棵颗块杯瓶碗家座所间副套份朵顶篇首部位名点天年岁次倍斤公秒种元幅盏扇面架艘匹头群盆串盒包袋箱层节千万"
)
"""Before these, a lone 2 is liang."""

# espeak-ng 1.52 knows Mandarin's -iong only without its i, and spells such words with English letters otherwise.
_SYLLABLES = {
    **dict.fromkeys("兄凶匈汹胸", "xong1"),
    **dict.fromkeys("熊雄", "xong2"),
    **dict.fromkeys("穷琼", "qong2"),
    **dict.fromkeys("窘炯迥", "jong3"),
}
# It also looks for a syllable that ends in r, finds none, and spells: an invisible space keeps the er apart.
_APART = "\u200b"

_TOKEN = re.compile(
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?!\d)|(?P<share>\d+(?:\.\d+)?)%|(?P<decimal>\d+\.\d+)|(?P<digits>\d+)|(?P<other>.)",
    re.DOTALL,
)
_CODE_BEFORE = re.compile(r"(?:(?:码|编|房间号|电话|拨打|打)[是为]?|楼)$")
_CODE_AFTER = re.compile(r"[房室]|号房|路[车公]|开会")


@dataclass(frozen=True)
class Reading:
    """What the engine is given.

    Attributes:
        text: the text for the engine.
        origins: for each character of it, the index in the original text of the first character it stands for.
    """

    text: str
    origins: tuple[int, ...]


def reading(text: str) -> Reading:
    """The text as espeak-ng's voice cmn can say it; what needs no change keeps its characters."""
    parts: list[str] = []
    origins: list[int] = []
    for match in _TOKEN.finditer(text):
        said = _said(match, text)
        parts.append(said)
        origins += [match.start()] * len(said)
    return Reading("".join(parts), tuple(origins))


def _said(match: re.Match[str], text: str) -> str:
    if other := match["other"]:
        if other == "儿" and match.start() > 0:
            return _APART + other
        return _SYLLABLES.get(other, other)
    if match["hour"]:
        return _clock(int(match["hour"]), int(match["minute"]))
    if match["share"]:
        return "百分之" + _number(match["share"])
    if match["decimal"]:
        return _number(match["decimal"])
    return _integer(match["digits"], text[: match.start()], text[match.end() :])


def _integer(digits: str, before: str, after: str) -> str:
    if len(digits) == 4 and after.startswith("年"):
        return "".join(_DIGITS[int(digit)] for digit in digits)
    one_by_one = len(digits) > 1 and (
        digits[0] == "0"
        or len(digits) > 8
        or (len(digits) >= 7 and not re.match(r"\w", after))
        or (len(digits) >= 3 and (_CODE_BEFORE.search(before) or _CODE_AFTER.match(after)))
    )
    if one_by_one:
        return digit_by_digit(digits)
    if digits == "2" and after[:1] in _MEASURES and not before.endswith(("第", "月")):
        return "两"
    return numeral(int(digits))


def _number(digits: str) -> str:
    whole, _, part = digits.partition(".")
    said = numeral(int(whole)) if len(whole) <= 8 else digit_by_digit(whole)
    return said + ("点" + "".join(_DIGITS[int(digit)] for digit in part) if part else "")


def _clock(hour: int, minute: int) -> str:
    said = ("两" if hour == 2 else numeral(hour)) + "点"
    if minute == 0:
        return said
    return said + ("零" if minute < 10 else "") + numeral(minute)


def digit_by_digit(digits: str) -> str:
    """As a telephone number is read."""
    return "".join(_SPOKEN_DIGITS[int(digit)] for digit in digits)


def numeral(value: int) -> str:
    """The Chinese numeral of 0 <= value < 100,000,000."""
    if not 0 <= value < 100_000_000:
        raise ValueError(f"value must lie between 0 and 99,999,999, found {value}")
    if value >= 10_000:
        high, low = divmod(value, 10_000)
        return ("两" if high == 2 else numeral(high)) + "万" + _rest(low, 10_000)
    return _below_ten_thousand(value)


def _rest(value: int, unit: int) -> str:
    """What follows a unit: nothing for 0, a zero for a gap, and the ten keeps its one: 一百一十."""
    if value == 0:
        return ""
    gap = "零" if value < unit // 10 else ""
    return gap + ("一" if 10 <= value < 20 else "") + _below_ten_thousand(value)


def _below_ten_thousand(value: int) -> str:
    if value < 10:
        return _DIGITS[value]
    if value < 20:
        return "十" + (_DIGITS[value - 10] if value > 10 else "")
    unit, name = next((unit, name) for unit, name in ((1_000, "千"), (100, "百"), (10, "十")) if value >= unit)
    high, low = divmod(value, unit)
    return ("两" if high == 2 and unit == 1_000 else _DIGITS[high]) + name + _rest(low, unit)
