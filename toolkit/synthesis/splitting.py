"""Divides a text into parts that the model speaks well: at sentence ends, else at clauses, else between words."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from toolkit.errors import UsageError
from toolkit.synthesis.text import spoken_length

__all__ = [
    "DEFAULT_MAX_TEXT_LENGTH",
    "MIN_TEXT_LENGTH",
    "SHORTEST_PART",
    "Boundary",
    "Part",
    "split_text",
]

DEFAULT_MAX_TEXT_LENGTH = 300
"""Characters of a part. Above this the rule ``long-text-degradation`` counts the length as evidence: longer prompts are
where skipped words, drifting voices and missing ends of speech are reported."""

MIN_TEXT_LENGTH = 20
"""The smallest ``max_text_length``; below it no sentence is left whole."""

SHORTEST_PART = 8
"""What a part must have to speak, in units of :func:`toolkit.synthesis.text.spoken_length`: four Chinese characters or
eight letters. A lone "1次" or "OK." gives the model too little to hold on to; it comes out with noise around it."""


class Boundary(IntEnum):
    """How good a place to divide is, best first."""

    PARAGRAPH = 0
    SENTENCE = 1
    INSIDE = 2
    """The end of a sentence inside quotes or brackets."""
    CLAUSE = 3
    SPACE = 4
    HARD = 5


_PAUSES_S = {
    Boundary.PARAGRAPH: 0.8,
    Boundary.SENTENCE: 0.45,
    Boundary.INSIDE: 0.35,
    Boundary.CLAUSE: 0.2,
    Boundary.SPACE: 0.0,
    Boundary.HARD: 0.0,
}
"""Silence between two parts in seconds. Read speech pauses briefly (under 0.2 s) inside a sentence and for 0.2 to 1 s
between sentences, longest between paragraphs (Campione and Véronis, "A large-scale multilingual study of silent pause
duration", 2002); these are round values inside those bands. Between two words nobody pauses."""


@dataclass(frozen=True)
class Part:
    """A piece of the text, and the silence after it in seconds (0 after the last)."""

    text: str
    pause_s: float


_ENDS = "。！？!?｡…．.；"
_CLAUSES = "，,、;:：—–"
_OPENERS = dict(zip("“‘「『《〈（(【[{«„", "”’」』》〉）)】]}»“", strict=True))
_CLOSERS = set(_OPENERS.values())
# Titles, units and shorthand that end in a full stop, in the languages of the models that have one. Words that also end
# sentences ("sat", "me", "est") are left out: one place too many to divide does less harm than a lost one.
_SHORTHAND = (
    # English
    "mr mrs ms dr prof st jr sr vs etc e.g i.e cf inc ltd co corp dept univ approx max min mt ft gen col sgt capt lt "
    "cmdr maj rev hon gov sen rep jan feb aug sept oct nov dec a.m p.m u.s u.k u.n d.c ph.d b.c a.d al eds ave blvd rd "
    # German, French, Spanish, Italian, Russian
    "z.b d.h u.a usw bzw ca str evtl ggf inkl mme mlle sra srta dra ud uds avda sig dott avv ecc "
    "т.е т.д т.п др ул"
)
_SHORTHAND_OF_NUMBERS = "no nos nr fig figs vol ch sec eq pp pág núm стр"
_ABBREVIATIONS = frozenset(_SHORTHAND.split())
_BEFORE_NUMBERS = frozenset(_SHORTHAND_OF_NUMBERS.split())
_WORD_BEFORE = re.compile(r"[\w.&'’-]*$")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_LINE_NUMBER = re.compile(r"(?:^|[\n。！？!?.])\s*\d{1,3}$")
_LOOK_BACK = 24


def split_text(text: str, max_text_length: int = DEFAULT_MAX_TEXT_LENGTH) -> tuple[Part, ...]:
    """Divide a text. The parts in a row are the text again, but for white space where it was divided.

    Quotes and brackets are kept whole where that is possible. Paragraphs (blank lines) always divide; sentences are
    put together up to the limit, since the model speaks them better in one go. A part with too little to speak is put
    to a neighbour. The time taken grows in proportion to the length.

    Args:
        text: from :func:`toolkit.synthesis.text.clean_text`.
        max_text_length: most characters of a part, at least 20.

    Raises:
        UsageError: another limit.
    """
    if type(max_text_length) is not int or max_text_length < MIN_TEXT_LENGTH:
        wanted = f"a whole number of at least {MIN_TEXT_LENGTH}"
        raise UsageError(f"max_text_length must be {wanted}, not {max_text_length!r}")
    text = text.strip()
    return tuple(_Divider(text, max_text_length).parts()) if text else ()


class _Divider:
    """One text with the places where it can be divided, by rank, each as the index behind the last character before."""

    def __init__(self, text: str, limit: int) -> None:
        self._text = text
        self._limit = limit
        self._places: dict[Boundary, list[int]] = {rank: [] for rank in Boundary}
        for place, rank in _boundaries(text):
            self._places[rank].append(place)
        self._spoken = [0]
        for char in text:
            self._spoken.append(self._spoken[-1] + (0 if char.isspace() else spoken_length(char)))

    def parts(self) -> Iterator[Part]:
        start, end = 0, len(self._text)
        while start < end:
            place, rank = self._next(start, end)
            last = place == end
            yield Part(self._text[start:place].strip(), 0.0 if last else _PAUSES_S[rank])
            start = place
            while start < end and self._text[start].isspace():
                start += 1

    def _next(self, start: int, end: int) -> tuple[int, Boundary]:
        window = min(end, start + self._limit)
        for place in self._between(Boundary.PARAGRAPH, start, window):
            if self._is_enough(start, place) and self._is_enough(place, end):
                return place, Boundary.PARAGRAPH
        if end - start <= self._limit:
            return end, Boundary.PARAGRAPH
        for rank in (Boundary.SENTENCE, Boundary.INSIDE, Boundary.CLAUSE, Boundary.SPACE):
            for place in reversed(self._between(rank, start, window)):
                if not self._is_enough(start, place):
                    break
                if self._is_enough(place, end):
                    return place, rank
        return self._hard(start, window, end), Boundary.HARD

    def _between(self, rank: Boundary, start: int, stop: int) -> list[int]:
        places = self._places[rank]
        return places[bisect_right(places, start) : bisect_left(places, stop + 1)]

    def _is_enough(self, start: int, stop: int) -> bool:
        return self._spoken[stop] - self._spoken[start] >= SHORTEST_PART

    def _hard(self, start: int, window: int, end: int) -> int:
        """Inside a run without any mark or space: before a character that can begin a part, near the limit."""
        best = None
        for place in range(window, max(start, window - _LOOK_BACK), -1):
            if not _can_begin(self._text, place):
                continue
            best = best or place
            if self._is_enough(place, end):
                return place
        return best or window


def _can_begin(text: str, place: int) -> bool:
    char, before = text[place], text[place - 1]
    if unicodedata.category(char)[0] == "M" or char in "\u200d\u200c" or before == "\u200d":
        return False
    if char in _ENDS or char in _CLAUSES or char in _CLOSERS:
        return False
    return not (char.isdigit() and before.isdigit())


def _boundaries(text: str) -> Iterator[tuple[int, Boundary]]:
    """Places in rising order, each once, with its rank."""
    partners = _pairs(text)
    depth, index, length = 0, 0, len(text)
    while index < length:
        char = text[index]
        if index in partners:
            depth += 1 if partners[index] > index else -1
            index += 1
        elif char in _ENDS or char in _CLAUSES:
            place, index, rank, closed = _mark(text, index, partners)
            depth -= closed
            if rank is not None:
                yield place, Boundary.INSIDE if rank is Boundary.SENTENCE and depth else rank
        elif char.isspace():
            start = index
            while index < length and text[index].isspace():
                index += 1
            breaks = text.count("\n", start, index)
            yield start, (Boundary.SPACE, Boundary.CLAUSE, Boundary.PARAGRAPH)[min(breaks, 2)]
        else:
            index += 1


def _mark(text: str, index: int, partners: dict[int, int]) -> tuple[int, int, Boundary | None, int]:
    """Read a run of marks, what closes after it, and white space.

    Returns the place behind what closes, where to read on, the rank of the place or None, and how many pairs closed.
    """
    start, length = index, len(text)
    while index < length and (text[index] in _ENDS or text[index] in _CLAUSES):
        index += 1
    run = text[start:index]
    closed = 0
    while index < length and partners.get(index, index) < index:
        closed += 1
        index += 1
    after = index
    while index < length and text[index].isspace():
        index += 1
    if text.count("\n", after, index) > 1:
        return after, index, Boundary.PARAGRAPH, closed
    rank = _rank(text, start, run, after)
    if index > after and rank is None:
        rank = Boundary.CLAUSE if "\n" in text[after:index] else Boundary.SPACE
    return after, index, rank, closed


def _rank(text: str, start: int, run: str, after: int) -> Boundary | None:
    """What a run of marks is. ``after`` is the place behind it and behind what it closes."""
    following = text[after] if after < len(text) else ""
    if not any(mark in _ENDS for mark in run):
        is_clause = run[-1] not in ",:;–" or not following or following.isspace() or _is_wide(following)
        return Boundary.CLAUSE if is_clause else None
    if any(mark in "。！？｡；" for mark in run):
        return Boundary.SENTENCE
    begins = text[after : after + 8].lstrip()[:1]
    if following and not following.isspace() and not _is_wide(following) and run[-1] != "…":
        return None  # a decimal, a version, an address
    if begins.islower():
        return Boundary.CLAUSE if run != "." or following == "\n" else None
    before = text[max(0, start - _LOOK_BACK) : start]
    if run == "." and following not in ("", "\n") and _is_abbreviation(before, begins):
        return None
    return Boundary.SENTENCE


def _is_abbreviation(before: str, begins: str) -> bool:
    """Whether a full stop behind these characters belongs to the word: "Dr.", "J. K.", or the number of a line.

    ``begins`` is the character that the next word begins with.
    """
    found = _WORD_BEFORE.search(before)
    word = found.group() if found else ""
    if word.lower() in _ABBREVIATIONS or (_INITIALS.fullmatch(word) and word != "I"):
        return True
    if word.lower() in _BEFORE_NUMBERS:
        return begins.isdigit()
    return bool(_LINE_NUMBER.search(before)) or (before.isdigit() and len(before) <= 3)


def _is_wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in "WF" or char in "“”‘’…—"


def _pairs(text: str) -> dict[int, int]:
    """Index of each opening mark that is closed in its paragraph -> index of its partner, and back."""
    partners: dict[int, int] = {}
    opened: list[tuple[int, str]] = []
    for index, char in enumerate(text):
        if char == "\n" and text[index - 1 : index] == "\n":
            opened.clear()
        elif opened and char == opened[-1][1]:
            start, _ = opened.pop()
            partners[start], partners[index] = index, start
        elif char == '"':
            opened.append((index, '"'))
        elif char in _OPENERS:
            opened.append((index, _OPENERS[char]))
        elif char in _CLOSERS and char != "’":
            # A mark was left open inside this pair: it is given up.
            for depth in range(len(opened) - 1, max(-1, len(opened) - 8), -1):
                if opened[depth][1] == char:
                    start = opened[depth][0]
                    del opened[depth:]
                    partners[start], partners[index] = index, start
                    break
    return partners
