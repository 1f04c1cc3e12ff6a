"""Errors of what was heard against what was to be said: phones, Mandarin syllables, Mandarin tones."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

__all__ = [
    "ErrorRate",
    "Errors",
    "Syllable",
    "align",
    "edit_distance",
    "error_rate",
    "phone_errors",
    "syllable_errors",
    "syllables",
    "tone_errors",
]

T = TypeVar("T", bound=Hashable)

_TONES = ("T1", "T2", "T3", "T4", "T5")
_VOWELS = tuple("aAeEiIoOuUyY@&V0123")
"""First letters of the engine's names of vowels; no consonant's name begins with one of them."""
_GLIDES = ("j", "w")
_CODAS = ("n", "N", "r")
_DRAWS = 1000
_TONE_COST = 1e-3


@dataclass(frozen=True)
class Errors:
    """Errors of one utterance, and the length of its reference."""

    errors: int
    length: int


@dataclass(frozen=True)
class ErrorRate:
    """Errors over reference length of a whole set, with the 95 % interval of a bootstrap over utterances."""

    rate: float
    low: float
    high: float
    errors: int
    length: int
    utterances: int

    def to_json(self) -> dict[str, float | int]:
        """All of it, rates rounded to a hundredth of a percent."""
        return {
            "rate": round(self.rate, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "errors": self.errors,
            "length": self.length,
            "utterances": self.utterances,
        }


@dataclass(frozen=True)
class Syllable:
    """Phones of a Mandarin syllable, and its tone (0: none was heard)."""

    phones: tuple[str, ...]
    tone: int


def edit_distance(reference: Sequence[T], hypothesis: Sequence[T]) -> int:
    """Fewest substitutions, deletions and insertions that turn one into the other (Levenshtein 1966)."""
    row = list(range(len(hypothesis) + 1))
    for place, wanted in enumerate(reference, 1):
        diagonal, row[0] = row[0], place
        for index, found in enumerate(hypothesis, 1):
            above = row[index]
            changed = diagonal + (wanted != found)
            best = min(above, row[index - 1]) + 1
            row[index] = changed if changed < best else best
            diagonal = above
    return row[-1]


def align(
    reference: Sequence[T], hypothesis: Sequence[T], cost: Callable[[T, T], float]
) -> list[tuple[T | None, T | None]]:
    """The cheapest pairing in order; None stands for what has no counterpart, which costs 1."""
    rows, columns = len(reference) + 1, len(hypothesis) + 1
    total = np.zeros((rows, columns))
    total[:, 0], total[0] = np.arange(rows), np.arange(columns)
    change = np.array([[cost(wanted, found) for found in hypothesis] for wanted in reference])
    for row in range(1, rows):
        for column in range(1, columns):
            total[row, column] = min(
                total[row - 1, column - 1] + change[row - 1, column - 1],
                total[row - 1, column] + 1,
                total[row, column - 1] + 1,
            )
    pairs: list[tuple[T | None, T | None]] = []
    row, column = rows - 1, columns - 1
    while row or column:
        here = total[row, column]
        if row and column and here == total[row - 1, column - 1] + change[row - 1, column - 1]:
            row, column = row - 1, column - 1
            pairs.append((reference[row], hypothesis[column]))
        elif row and here == total[row - 1, column] + 1:
            row -= 1
            pairs.append((reference[row], None))
        else:
            column -= 1
            pairs.append((None, hypothesis[column]))
    return pairs[::-1]


def phone_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> Errors:
    """Errors over phones alone; tones are left out on both sides."""
    wanted = [symbol for symbol in reference if symbol not in _TONES]
    found = [symbol for symbol in hypothesis if symbol not in _TONES]
    return Errors(edit_distance(wanted, found), len(wanted))


def syllables(symbols: Sequence[str]) -> list[Syllable]:
    """Mandarin syllables, one a nucleus.

    The engine writes a syllable as consonants and glides, one vowel (which may be a diphthong, or hold its own nasal,
    as ``ong`` does), its tone, and at most an n, N or r behind it. So between two vowels the first consonant belongs to
    the syllable before if it is N, or if it is n or r with no vowel or glide after it; the rest begins the next one.
    Consonants without a vowel make a syllable of their own, and a tone belongs to the vowel before it.
    """
    groups: list[list[str]] = []
    tones: list[int] = []
    opening: list[str] = []
    names = [symbol for symbol in symbols if symbol not in _TONES]
    marks = _tone_after(symbols)
    for place, symbol in enumerate(names):
        if _is_vowel(symbol):
            groups.append([*opening, symbol])
            tones.append(marks[place])
            opening = []
            continue
        following = names[place + 1] if place + 1 < len(names) else None
        if groups and not opening and place and _is_vowel(names[place - 1]) and _closes(symbol, following):
            groups[-1].append(symbol)
        else:
            opening.append(symbol)
    found = [Syllable(tuple(phones), tone) for phones, tone in zip(groups, tones, strict=True)]
    return [*found, Syllable(tuple(opening), 0)] if opening else found


def syllable_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> Errors:
    """Errors over Mandarin syllables, tones ignored; one wrong phone makes the syllable wrong."""
    wanted = [syllable.phones for syllable in syllables(reference)]
    return Errors(edit_distance(wanted, [syllable.phones for syllable in syllables(hypothesis)]), len(wanted))


def tone_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> Errors:
    """Reference syllables whose tone was not heard: another one, none, or no such syllable.

    Syllables are paired by their phones first, and among equally good pairings by their tones.
    """
    wanted = syllables(reference)
    pairs = align(wanted, syllables(hypothesis), _difference)
    toned = [(first, second) for first, second in pairs if first is not None and first.tone]
    wrong = sum(second is None or first.tone != second.tone for first, second in toned)
    return Errors(wrong, len(toned))


def error_rate(utterances: Sequence[Errors], seed: int = 0) -> ErrorRate:
    """Errors of a set over the length of its references.

    Raises:
        ValueError: the references are empty.
    """
    errors = np.array([item.errors for item in utterances])
    lengths = np.array([item.length for item in utterances])
    if not lengths.sum():
        raise ValueError("an error rate needs references that hold something")
    drawn = np.random.default_rng(seed).integers(0, len(errors), (_DRAWS, len(errors)))
    rates = errors[drawn].sum(1) / np.maximum(lengths[drawn].sum(1), 1)
    low, high = np.percentile(rates, (2.5, 97.5))
    return ErrorRate(
        float(errors.sum() / lengths.sum()), float(low), float(high), int(errors.sum()), int(lengths.sum()), len(errors)
    )


def _difference(first: Syllable, second: Syllable) -> float:
    return float(first.phones != second.phones) + _TONE_COST * (first.tone != second.tone)


def _tone_after(symbols: Sequence[str]) -> list[int]:
    """For each phone the tone that stands right behind it, or 0."""
    marks: list[int] = []
    for symbol in symbols:
        if symbol not in _TONES:
            marks.append(0)
        elif marks and not marks[-1]:
            marks[-1] = int(symbol[1])
    return marks


def _name(symbol: str) -> str:
    return symbol.split(":", 1)[-1]


def _is_vowel(symbol: str) -> bool:
    return _name(symbol).startswith(_VOWELS)


def _closes(symbol: str, following: str | None) -> bool:
    name = _name(symbol)
    if name not in _CODAS:
        return False
    if name == "N" or following is None:
        return True
    return not _is_vowel(following) and _name(following) not in _GLIDES
