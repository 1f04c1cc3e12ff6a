"""Random English sentences of everyday life, drawn from templates over word lists.

The files of `english_words` hold two kinds of sections. `[name]` is a list of words parted by commas; `<name>` is a
list of templates, one a line. `<name = 9>` is a kind of sentence, drawn with that weight. A slot is `{name}` or
`{name:form}`; the form `*` hands on the form asked of the template itself. Words are inflected by rule; where the rule
fails an entry gives its forms: `child:children`, `go:went:gone`, `good:better:best`; `+` doubles the last consonant.
"""

from __future__ import annotations

import random
import re
from bisect import bisect
from collections.abc import Callable, Iterator
from functools import cache
from itertools import accumulate
from pathlib import Path

__all__ = [
    "DRAWN",
    "MOST_WORDS",
    "everyday_words",
    "in_words",
    "inflected",
    "kinds",
    "ordinal_in_words",
    "rare_words",
    "sentence",
]

HERE = Path(__file__).parent
MOST_WORDS = 20
CAPITALS_SHARE = 0.012

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
ORDINAL_ENDINGS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
MONTHS = "January February March April May June July August September October November December".split()

VERB_FORMS = ("base", "third", "past", "part", "ing")
ADJECTIVE_FORMS = ("base", "er", "est")
NOUN_FORMS = ("base", "s")

_SLOT = re.compile(r"\{(\w+)(?::([\w*]+))?\}")
_HEADER = re.compile(r"\[(?P<words>\w+)\]|<(?P<templates>\w+)(?: = (?P<weight>\d+))?>")
_ARTICLE = re.compile(r"(?<![\w'])a (?=([\w'-]+))")
_VOWEL_SOUND = re.compile(
    r"(?!u(?:ni(?!n|d|m)|s[aeu]|ti|kul)|eu|ewe|one\b|once\b)[aeiou]|hour|honest|honor|heir|[AEFHILMNORSX](?:[A-Z\d]|\b)|8|1[18]\b"
    r"|(?!Uni|U[A-Z]|Eu|One|[A-Z]{2})[AEIOU]"
)
_WORD = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*")


class Options:
    """What may fill a slot: plain texts, and templates as tuples of parts."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: list[str | tuple[Part, ...]] = []


Part = str | Options | Callable[[random.Random], str]


def sentence(source: random.Random) -> str:
    """One sentence of 1 to 20 words with its end punctuation; equal states of `source` give equal sentences."""
    tops, weights = kinds()
    while True:
        parts: list[str] = []
        _expand(tops[bisect(weights, source.random() * weights[-1])], source, parts)
        text = "".join(parts)
        if text.count(" ") < MOST_WORDS:
            return _polished(text, source)


@cache
def kinds() -> tuple[tuple[Options, ...], tuple[int, ...]]:
    """The kinds of sentences, and their weights summed up."""
    weights = _Lists.loaded().weights
    compiled: dict[tuple[str, str], Options] = {}
    tops = tuple(_compiled(name, "base", compiled) for name in weights)
    return tops, tuple(accumulate(weights.values()))


@cache
def everyday_words() -> frozenset[str]:
    """The distinct words of the lists in all their forms, in lower case."""
    found: set[str] = set()
    for form in _all_forms():
        found.update(_WORD.findall(_SLOT.sub(" ", form).lower()))
    return frozenset(found)


@cache
def rare_words() -> tuple[str, ...]:
    """The long tail: words of a dictionary, in alphabetical order."""
    return tuple((HERE / "english_rare.txt").read_text(encoding="utf-8").split())


def _expand(options: Options, source: random.Random, out: list[str]) -> None:
    items = options.items
    chosen = items[int(source.random() * len(items))]
    if isinstance(chosen, str):
        out.append(chosen)
        return
    for part in chosen:
        if isinstance(part, str):
            out.append(part)
        elif isinstance(part, Options):
            _expand(part, source, out)
        else:
            out.append(part(source))


def _polished(text: str, source: random.Random) -> str:
    if "a " in text:
        text = _ARTICLE.sub(_article, text)
    if source.random() < CAPITALS_SHARE:
        text = _with_a_word_in_capitals(text, source)
    if text.endswith(".."):
        text = text[:-1]
    first = 1 if text[0] == '"' else 0
    return text[:first] + text[first].upper() + text[first + 1 :]


def _article(match: re.Match[str]) -> str:
    return "an " if _VOWEL_SOUND.match(match[1]) else "a "


def _with_a_word_in_capitals(text: str, source: random.Random) -> str:
    # Shorter words would be taken for abbreviations and spelled.
    candidates = list(re.finditer(r"(?<![\w'-])[a-z]{4,}(?![\w'-])", text))
    if not candidates:
        return text
    chosen = candidates[int(source.random() * len(candidates))]
    return text[: chosen.start()] + chosen[0].upper() + text[chosen.end() :]


class _Lists:
    """The sections of the data files."""

    def __init__(self) -> None:
        self.words: dict[str, list[str]] = {}
        self.templates: dict[str, list[str]] = {}
        self.weights: dict[str, int] = {}

    @staticmethod
    @cache
    def loaded() -> _Lists:
        lists = _Lists()
        for path in sorted((HERE / "english_words").glob("*.txt")):
            lists._read(path)
        return lists

    def _read(self, path: Path) -> None:
        section: list[str] | None = None
        in_words = False
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line:
                continue
            header = _HEADER.fullmatch(line)
            if header is None:
                if section is None:
                    raise ValueError(f"{path.name}, line {number}: no section before it")
                section += [entry for entry in line.split(", ") if entry] if in_words else [line]
                continue
            name = header["words"] or header["templates"]
            if name in self.words or name in self.templates:
                raise ValueError(f"{path.name}, line {number}: {name} is there already")
            in_words = header["words"] is not None
            section = (self.words if in_words else self.templates)[name] = []
            if header["weight"]:
                self.weights[name] = int(header["weight"])


def _compiled(name: str, form: str, known: dict[tuple[str, str], Options]) -> Options:
    options = known.get((name, form))
    if options is not None:
        return options
    # Entered before it is filled, so that templates may hold themselves.
    options = known[name, form] = Options()
    lists = _Lists.loaded()
    entries = lists.templates.get(name) or lists.words.get(name)
    if entries is None:
        raise ValueError(f"no list is called {name}")
    for entry in entries:
        is_template = "{" in entry or name in lists.templates
        options.items.append(_parsed(entry, form, known) if is_template else inflected(entry, form))
    return options


def _parsed(template: str, form: str, known: dict[tuple[str, str], Options]) -> str | tuple[Part, ...]:
    parts: list[Part] = []
    end = 0
    for slot in _SLOT.finditer(template):
        if slot.start() > end:
            parts.append(template[end : slot.start()])
        end = slot.end()
        drawn = DRAWN.get(slot[1])
        asked = form if slot[2] == "*" else slot[2] or "base"
        parts.append(drawn if drawn is not None else _compiled(slot[1], asked, known))
    if end == 0:
        return template
    if end < len(template):
        parts.append(template[end:])
    return tuple(parts)


def inflected(entry: str, form: str) -> str:
    """The form of a list's entry: a verb's third, past, part or ing, an adjective's er or est, a noun's s."""
    given = entry.split(":")
    lemma = given[0].removesuffix("+")
    doubled = given[0] != lemma
    if form == "base":
        return lemma
    if form == "s":
        return given[1] if len(given) > 1 else _with_s(lemma)
    if form in ("er", "est"):
        if len(given) > 1:
            return given[1 if form == "er" else 2]
        return _compared(lemma, form, doubled)
    head, space, rest = lemma.partition(" ")
    return _conjugated(head, given, form, doubled) + space + rest


def _conjugated(head: str, given: list[str], form: str, doubled: bool) -> str:
    stem = head + head[-1] if doubled else head
    if form == "third":
        return {"have": "has"}.get(head) or _with_s(head)
    if form == "ing":
        if len(given) > 3:
            return given[3]
        if head.endswith("ie"):
            return head[:-2] + "ying"
        return (stem[:-1] if stem.endswith("e") and not stem.endswith(("ee", "oe", "ye")) else stem) + "ing"
    if form not in ("past", "part"):
        raise ValueError(f"no form is called {form}")
    if len(given) > 1:
        return given[1 if form == "past" else 2]
    if head.endswith("e"):
        return head + "d"
    if head[-1] == "y" and head[-2] not in "aeiou":
        return head[:-1] + "ied"
    return stem + "ed"


def _with_s(word: str) -> str:
    if word.endswith(("s", "x", "z", "ch", "sh")) or (word.endswith("o") and word in {"go", "do", "echo"}):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def _compared(word: str, form: str, doubled: bool) -> str:
    vowels = len(re.findall(r"[aeiouy]+", word.removesuffix("e")))
    if " " in word or "-" in word or vowels > 2 or (vowels == 2 and word[-1] != "y") or word.endswith(("ed", "ng")):
        is_short = word in {"young", "long", "strong", "little"}
        if not is_short:
            return ("more " if form == "er" else "most ") + word
    if doubled:
        return word + word[-1] + form
    if word.endswith("e"):
        return word + form[1:]
    return (word[:-1] + "i" if word.endswith("y") and vowels > 1 else word) + form


def _all_forms() -> Iterator[str]:
    for name, entries in _Lists.loaded().words.items():
        forms: tuple[str, ...]
        if "verb" in name and "adverb" not in name:
            forms = VERB_FORMS
        elif name in ("adj_person", "adj_thing", "adj_idea"):
            forms = ADJECTIVE_FORMS
        else:
            forms = NOUN_FORMS if name in PLURALS else ("base",)
        for entry in entries:
            for form in forms:
                yield entry if "{" in entry else inflected(entry, form)


PLURALS = frozenset(
    "job kin person thing furniture utensil food animal plant landscape place device software abstract work school "
    "clothes body time_noun illness art travel room house_part vehicle instrument day".split()
)
"""Lists of nouns that take a plural."""


@cache
def _single_words() -> tuple[str, ...]:
    return tuple(sorted({form for form in _all_forms() if re.fullmatch(r"[a-z]{2,}(?:['-][a-z]+)*", form)}))


def _any(source: random.Random) -> str:
    words = _single_words()
    return words[int(source.random() * len(words))]


def _rare(source: random.Random) -> str:
    words = rare_words()
    return words[int(source.random() * len(words))]


def in_words(number: int) -> str:
    """A whole number from 0 to 999,999 as it is said."""
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else "")
    size, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    rest = number % size
    if not rest:
        return f"{in_words(number // size)} {name}"
    return f"{in_words(number // size)} {name} {'and ' if rest < 100 else ''}{in_words(rest)}"


def ordinal_in_words(number: int) -> str:
    """An ordinal such as twenty-first."""
    said = in_words(number)
    last = re.split("[- ]", said)[-1]
    regular = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return said.removesuffix(last) + ORDINAL_ENDINGS.get(last, regular)


def _below(source: random.Random, low: int, high: int) -> int:
    return low + int(source.random() * (high - low))


def _numeral(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _count(source: random.Random) -> str:
    number = _below(source, 2, 12) if source.random() < 0.6 else _below(source, 12, 100)
    return str(number) if source.random() < 0.6 else in_words(number)


def _big(source: random.Random) -> str:
    number = _below(source, 100, 10 ** _below(source, 3, 6))
    if source.random() < 0.4:
        number = number // 100 * 100
        return in_words(number)
    return f"{number:,}" if source.random() < 0.6 else str(number)


def _round(source: random.Random) -> str:
    return str(_below(source, 2, 60) * 5)


def _digit(source: random.Random) -> str:
    number = _below(source, 0, 10)
    return str(number) if source.random() < 0.5 else ONES[number]


def _time(source: random.Random) -> str:
    hour, minute, shape = _below(source, 1, 13), _below(source, 0, 12) * 5, _below(source, 0, 12)
    if shape < 3:
        return f"{hour}:{_below(source, 0, 60):02d}"
    if shape < 4:
        return f"{hour}:{minute:02d} {'ap'[_below(source, 0, 2)]}.m."
    if shape < 6:
        return f"{hour} {'ap'[_below(source, 0, 2)]}.m."
    if shape < 7:
        return f"{_below(source, 13, 24)}:{minute:02d}"
    said = ONES[hour]
    if shape < 9 or not minute:
        return f"{said} o'clock" if source.random() < 0.7 else said
    if shape < 10 and minute > 5:
        return f"{said} {in_words(minute)}"
    if minute == 30:
        return f"half past {said}"
    away = min(minute, 60 - minute)
    return f"{'a quarter' if away == 15 else in_words(away)} {'past' if minute < 30 else 'to'} {said}"


def _date(source: random.Random) -> str:
    month, day, shape = MONTHS[_below(source, 0, 12)], _below(source, 1, 32), _below(source, 0, 7)
    day = min(day, {"February": 28, "April": 30, "June": 30, "September": 30, "November": 30}.get(month, 31))
    if shape < 2:
        return f"{month} {_numeral(day)}"
    if shape < 3:
        return f"{month} {day}"
    if shape < 5:
        return f"{month} {_numeral(day) if source.random() < 0.6 else day}, {_below(source, 1900, 2031)}"
    if shape < 6:
        return f"the {ordinal_in_words(day)} of {month}"
    return f"{month} {ordinal_in_words(day)}"


def _year(source: random.Random) -> str:
    year = _below(source, 1850, 2031) if source.random() < 0.8 else _below(source, 1066, 1850)
    century, rest = divmod(year, 100)
    if source.random() < 0.7 or rest < 10:
        return str(year)
    return f"{in_words(century)} {in_words(rest)}"


def _price(source: random.Random) -> str:
    whole, shape = _below(source, 2, 100), _below(source, 0, 10)
    cents = (5, 10, 20, 25, 30, 40, 50, 60, 75, 80, 90, 95, 99)[_below(source, 0, 13)]
    if shape < 4:
        return f"${whole}.{cents:02d}"
    if shape < 6:
        return f"${whole * 10 ** _below(source, 0, 3):,}"
    if shape < 7:
        return f"{whole} dollars" if source.random() < 0.6 else f"{cents} cents"
    if shape < 8:
        return f"{in_words(whole)} dollars and {in_words(cents)} cents"
    currency = ("dollars", "euros", "pounds", "bucks")[_below(source, 0, 4)]
    return f"{in_words(whole)} {currency}"


def _percent(source: random.Random) -> str:
    number, shape = _below(source, 1, 101), _below(source, 0, 10)
    if shape < 5:
        return f"{number}%"
    if shape < 6:
        return f"{_below(source, 0, 20)}.{_below(source, 1, 10)}%"
    return f"{number if shape < 7 else in_words(number)} percent"


def _phone(source: random.Random) -> str:
    digits = [_below(source, 0, 10) for _ in range(7)]
    if source.random() < 0.5:
        return "".join(map(str, digits[:3])) + "-" + "".join(map(str, digits[3:]))
    said = [ONES[digit] for digit in digits[: _below(source, 4, 7)]] if source.random() < 0.7 else map(str, digits[:6])
    return " ".join(said)


def _room(source: random.Random) -> str:
    number = _below(source, 1, 1000)
    return str(number) if source.random() < 0.8 else in_words(number)


def _decimal(source: random.Random) -> str:
    whole, part = _below(source, 0, 30), _below(source, 1, 100 if source.random() < 0.4 else 10)
    if source.random() < 0.65:
        return f"{whole}.{part}"
    return f"{in_words(whole)} point {' '.join(ONES[int(digit)] for digit in str(part))}"


def _ordinal(source: random.Random) -> str:
    number = _below(source, 1, 13) if source.random() < 0.6 else _below(source, 13, 101)
    return _numeral(number) if source.random() < 0.5 else ordinal_in_words(number)


DRAWN: dict[str, Callable[[random.Random], str]] = {
    "any": _any,
    "rare": _rare,
    "count": _count,
    "big": _big,
    "round": _round,
    "digit": _digit,
    "time": _time,
    "date": _date,
    "year": _year,
    "price": _price,
    "percent": _percent,
    "phone": _phone,
    "room_number": _room,
    "decimal": _decimal,
    "ordinal": _ordinal,
}
"""Slots that are made rather than looked up."""
