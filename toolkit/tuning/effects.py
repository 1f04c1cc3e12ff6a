"""Reads what an instruction asks for as quantities: rate, pitch, pitch movement, level, whisper, pauses."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from toolkit.errors import UsageError
from toolkit.tuning.quantities import Quantity, quantities_of
from toolkit.tuning.vocabulary import FIELDS, Token, tokens_of, vocabulary

__all__ = ["Clause", "Effects", "Mention", "clauses_of", "fold", "parse_effects"]

_MOST_CHARACTERS = 2_000
_BREAKS = re.compile(r"[,;:!?。，；：！？、\n/&+]|\.(?!\d)")
_FIELD_OF_NOUN = {"rate": "rate", "pitch": "pitch_st", "level": "level_db", "pause": "pause_s", "spread": "spread"}
_PAIRS = {
    "rate": ("rate_up", "rate_down"),
    "pitch_st": ("pitch_up", "pitch_down"),
    "level_db": ("louder", "softer"),
    "pause_s": ("longer_pauses", "shorter_pauses"),
    "spread": ("lively", "monotone"),
}


@dataclass(frozen=True)
class Mention:
    """One thing asked for, at characters ``start`` to ``end``.

    Attributes:
        field: rate, pitch_st, spread, level_db, whisper or pause_s.
        value: in the unit of that field (see :class:`Effects`).
        basis: "number" where the text gives the quantity, "word" where the table of words does, "mood" for its part in
            the mixture of a mood.
        side: 1 for more of it, -1 for less.
    """

    field: str
    value: float
    basis: Literal["number", "word", "mood"]
    side: int
    start: int
    end: int


@dataclass(frozen=True)
class Effects:
    """What an instruction asks for; None is "nothing said".

    Attributes:
        rate: factor of the usual speaking rate, pauses apart.
        pitch_st: shift of the median F0 in semitones.
        spread: factor of the pitch movement; 0 is monotone, above 1 lively.
        level_db: change of the level in dB.
        whisper: True for a whisper.
        pause_s: length of the pauses between clauses and sentences, in seconds.
        numbered: the fields that the text itself gives a number for; the rest are figures of ``words.yaml``.
        conflicts: fields that the text asks for in both directions, which are then None.
    """

    rate: float | None = None
    pitch_st: float | None = None
    spread: float | None = None
    level_db: float | None = None
    whisper: bool | None = None
    pause_s: float | None = None
    numbered: frozenset[str] = field(default_factory=frozenset)
    conflicts: tuple[str, ...] = ()

    def named(self) -> dict[str, float | bool]:
        """The fields that are asked for, by name."""
        values = {name: getattr(self, name) for name in FIELDS}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Clause:
    """A part of an instruction between marks or linking words, with what was found in it."""

    start: int
    end: int
    mentions: tuple[Mention, ...]
    tokens: tuple[Token, ...]
    quantities: tuple[Quantity, ...]


def parse_effects(text: str) -> Effects:
    """What an instruction asks for, in English, Chinese or both.

    A number beats a word, a word beats a mood; two numbers for one thing: the first. Words in both directions are a
    conflict. A percentage is of the rate, of the F0, or of the amplitude, whichever the clause names (the rate where it
    names none): 10 % higher in pitch is ``12 * log2(1.1)`` semitones, 10 % louder ``20 * log10(1.1)`` dB.

    Raises:
        UsageError: empty, or longer than 2,000 characters.
    """
    mentions = [mention for clause in clauses_of(text) for mention in clause.mentions]
    values: dict[str, float] = {}
    numbered, conflicts = set(), []
    for name in FIELDS:
        basis, strongest = _strongest([mention for mention in mentions if mention.field == name])
        if not strongest:
            continue
        if basis == "number":
            numbered.add(name)
        if basis == "word" and len({mention.side for mention in strongest}) > 1:
            conflicts.append(name)
        else:
            values[name] = strongest[0].value
    whisper = True if values.pop("whisper", None) else None
    return Effects(**values, whisper=whisper, numbered=frozenset(numbered), conflicts=tuple(conflicts))


def clauses_of(text: str) -> tuple[Clause, ...]:
    """The parts of an instruction. Raises UsageError for one that is empty or longer than 2,000 characters."""
    if not text.strip():
        raise UsageError("the instruction is empty; say how to speak, such as '20% slower' or '语速放慢20%'")
    if len(text) > _MOST_CHARACTERS:
        raise UsageError(f"the instruction has {len(text)} characters; at most {_MOST_CHARACTERS} can be read")
    folded = fold(text)
    quantities = quantities_of(folded)
    rest = list(folded)
    for quantity in quantities:
        # The noun of "speed factor 1.5" stays readable; only what could be taken for words is covered.
        covered = folded[quantity.start : quantity.end]
        rest[quantity.start : quantity.end] = re.sub(r"[^a-z]", "\0", covered) if "倍速" not in covered else covered
    tokens = [token for token in tokens_of("".join(rest)) if not _inside(token, quantities)]
    cuts = [
        (found.start(), found.end()) for found in _BREAKS.finditer(folded) if not _covers(quantities, found.start())
    ]
    cuts += [(token.start, token.end) for token in tokens if token.kind == "join"]
    edges = [(0, 0), *sorted(cuts), (len(text), len(text))]
    found = []
    for (_, start), (end, _) in pairwise(edges):
        if text[start:end].strip():
            own = tuple(token for token in tokens if start <= token.start < end and token.kind != "join")
            numbers = tuple(quantity for quantity in quantities if start <= quantity.start < end)
            found.append(Clause(start, end, tuple(_mentions(own, numbers)), own, numbers))
    return tuple(found)


def fold(text: str) -> str:
    """Lower case, full-width characters made plain, as many characters as before."""
    folded = []
    for char in text:
        plain = unicodedata.normalize("NFKC", char).lower()
        folded.append("'" if char in "’‘" else plain if len(plain) == 1 else char)
    return "".join(folded)


def _inside(token: Token, quantities: list[Quantity]) -> bool:
    return token.kind != "noun" and any(one.start <= token.start and token.end <= one.end for one in quantities)


def _covers(quantities: list[Quantity], index: int) -> bool:
    return any(one.start <= index < one.end for one in quantities)


def _strongest(mentions: list[Mention]) -> tuple[str, list[Mention]]:
    for basis in ("number", "word", "mood"):
        chosen = [mention for mention in mentions if mention.basis == basis]
        if chosen:
            return basis, chosen
    return "", []


def _mentions(tokens: tuple[Token, ...], quantities: tuple[Quantity, ...]) -> list[Mention]:
    if quantities:
        read = [_numbered(quantity, tokens) for quantity in quantities]
        mentions = [mention for mention in read if mention is not None]
    else:
        mentions = _worded(tokens)
    for token in tokens:
        if token.kind == "effect" and token.value == "whisper" and quantities:
            mentions.append(Mention("whisper", 1.0, "word", 1, token.start, token.end))
        if token.kind == "mood":
            for name, value in vocabulary().mood(token.value).figures.items():
                mentions.append(Mention(name, value, "mood", _side_of(name, value), token.start, token.end))
    return mentions


def _side_of(name: str, value: float) -> int:
    usual = {"rate": 1.0, "spread": 1.0, "pause_s": 0.35}.get(name, 0.0)
    return 1 if value > usual else -1


def _numbered(quantity: Quantity, tokens: tuple[Token, ...]) -> Mention | None:
    name, side = _field_and_side(quantity, tokens)
    side = quantity.sign or side
    value: float
    if quantity.unit == "seconds":
        name, value, side = "pause_s", quantity.value, _side_of("pause_s", quantity.value)
    elif quantity.unit in ("semitones", "decibels"):
        name = "pitch_st" if quantity.unit == "semitones" else "level_db"
        if not side:
            return None  # neither up nor down: nothing that could be checked
        value = side * quantity.value
    else:
        factor = _factor(quantity, side)
        if factor <= 0 or name == "pause_s":
            return None
        side = 1 if factor >= 1 else -1
        scale = {"pitch_st": 12 * math.log2(factor), "level_db": 20 * math.log10(factor)}
        value = scale.get(name, factor)
    return Mention(name, value, "number", side, quantity.start, quantity.end)


def _factor(quantity: Quantity, side: int) -> float:
    if quantity.unit == "percent":
        absolute = quantity.is_target or not side
        return quantity.value / 100 if absolute else 1 + side * quantity.value / 100
    if quantity.value == 1 and side:
        return 2.0 if side > 0 else 0.5  # "once as fast again", which is what 快一倍 says
    return 1 / quantity.value if side < 0 and quantity.value > 1 else quantity.value


def _field_and_side(quantity: Quantity, tokens: tuple[Token, ...]) -> tuple[str, int]:
    """What a quantity is of, and whether it is more (1), less (-1) or neither (0), from the words beside it."""
    near = sorted(tokens, key=lambda token: min(abs(token.start - quantity.end), abs(token.end - quantity.start)))
    name, side, fallback = "", 0, ""
    for token in near:
        if token.kind == "effect" and token.value not in ("whisper",):
            effect = vocabulary().effect(token.value)
            name = name or effect.field
            side = side or (1 if token.value == _PAIRS[effect.field][0] else -1)
        elif token.kind == "noun":
            name = name or _FIELD_OF_NOUN[token.value]
        elif token.kind.endswith("direction") or token.kind == "lessening":
            side = side or (1 if token.value == "up" else -1)
            fallback = fallback or {"pitch_direction": "pitch_st", "level_direction": "level_db"}.get(token.kind, "")
    if any(token.kind == "complaint" for token in tokens):
        side = -side  # "30 % too loud"
    return name or fallback or "rate", side


def _worded(tokens: tuple[Token, ...]) -> list[Mention]:
    degree = next((token.value for token in tokens if token.kind == "vague"), "plain")
    denied = any(token.kind in ("negation", "complaint", "lessening") for token in tokens)
    effects = [token for token in tokens if token.kind == "effect"]
    if effects:
        found = [_mention(token.value, degree, denied, token) for token in effects]
        return [mention for mention in found if mention is not None]
    noun = next((token for token in tokens if token.kind == "noun"), None)
    denied = any(token.kind in ("negation", "complaint") for token in tokens)
    direction = next((token for token in tokens if token.kind.endswith("direction") or token.kind == "lessening"), None)
    if noun is None and (direction is None or direction.kind in ("direction", "lessening")):
        return []
    fallback = "level_db" if direction is not None and direction.kind == "level_direction" else "pitch_st"
    name = _FIELD_OF_NOUN[noun.value] if noun is not None else fallback
    token = direction or noun
    if token is None or (direction is None and not (denied and name in ("spread", "pause_s"))):
        return []
    if direction is None:  # "no pauses", "without expression": none at all
        effect = _mention(_PAIRS[name][1], "very", False, token)
    else:
        effect = _mention(_PAIRS[name][direction.value == "down"], degree, denied, token)
    return [effect] if effect is not None else []


def _mention(effect_name: str, degree: str, denied: bool, token: Token) -> Mention | None:
    effect = vocabulary().effect(effect_name)
    if effect.field == "whisper":
        return None if denied else Mention("whisper", 1.0, "word", 1, token.start, token.end)
    up, down = _PAIRS[effect.field]
    if denied:  # "not so fast" asks for slower
        effect, degree = vocabulary().effect(down if effect_name == up else up), "plain"
    value = {str(key): figure for key, figure in effect.figures.items()}[degree]
    return Mention(effect.field, value, "word", 1 if effect.name == up else -1, token.start, token.end)
