"""Draws instructions: what a user may ask of the voice, and the style that the words command."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

from .quantities import digits, draw_number, spoken
from .style import PLAIN, Style

__all__ = ["DEGREES", "FIELDS", "LINKS", "RANGES", "SHARES", "Instruction", "Phrasing", "draw", "library", "phrasings"]

_FOLDER = Path(__file__).parent / "phrasings"

FIELDS: dict[str, str] = {
    "rate_up": "rate",
    "rate_down": "rate",
    "pitch_up": "pitch_st",
    "pitch_down": "pitch_st",
    "louder": "level_db",
    "softer": "level_db",
    "whisper": "whisper",
    "monotone": "spread",
    "lively": "spread",
    "longer_pauses": "pause_s",
    "shorter_pauses": "pause_s",
}
"""The field of Style that each effect changes; an effect changes no other."""

DEGREES: dict[str, dict[str, float | bool]] = {
    "rate_up": {"slightly": 1.12, "plainly": 1.25, "very": 1.5},
    "rate_down": {"slightly": 0.9, "plainly": 0.8, "very": 0.65},
    "pitch_up": {"slightly": 2.0, "plainly": 4.0, "very": 8.0, "half_octave": 6.0, "octave": 12.0},
    "pitch_down": {"slightly": -2.0, "plainly": -4.0, "very": -6.0, "half_octave": -6.0},
    "louder": {"slightly": 2.0, "plainly": 4.0, "very": 6.0},
    "softer": {"slightly": -3.0, "plainly": -5.0, "very": -10.0},
    "whisper": {"plainly": True},
    "monotone": {"slightly": 0.5, "plainly": 0.0},
    "lively": {"slightly": 1.3, "plainly": 1.6, "very": 2.0},
    "longer_pauses": {"slightly": 0.6, "plainly": 0.8, "very": 1.2},
    "shorter_pauses": {"slightly": 0.16, "plainly": 0.12, "very": 0.08},
}
"""What words without a number mean: "a bit", plain, "very"; for pauses "very short" is none at all."""

RANGES: dict[str, dict[str, tuple[int, int]]] = {
    "rate_up": {"percent": (5, 60), "tenths": (10, 60), "times": (105, 160), "factor": (105, 160), "share": (105, 160)},
    "rate_down": {"percent": (5, 40), "tenths": (10, 40), "times": (60, 95), "factor": (60, 95), "share": (60, 95)},
    "pitch_up": {"semitones": (1, 12), "percent": (5, 95)},
    "pitch_down": {"semitones": (1, 7), "percent": (5, 33)},
    "louder": {"decibels": (1, 6), "percent": (10, 95)},
    "softer": {"decibels": (1, 12), "percent": (10, 70)},
    "longer_pauses": {"seconds": (400, 1200), "bare_seconds": (400, 1200)},
    "shorter_pauses": {"seconds": (100, 350), "bare_seconds": (100, 350)},
}
"""Lowest and highest number a quantity takes: percent, semitones and decibels as said; factors in hundredths; pauses in
milliseconds. N percent faster is the factor 1 + N/100 of the rate; of the pitch it is as many semitones as the factor
of F0 has, of the level as many dB as the factor of the amplitude."""

SHARES: dict[str, float] = {"none": 0.26, "neutral": 0.05, "single": 0.43, "combined": 0.26}
"""The mix of `draw`."""

_EFFECT_WEIGHTS: dict[str, int] = {
    "rate_up": 12,
    "rate_down": 12,
    "pitch_up": 14,
    "pitch_down": 14,
    "louder": 9,
    "softer": 9,
    "whisper": 6,
    "monotone": 6,
    "lively": 5,
    "longer_pauses": 7,
    "shorter_pauses": 6,
}
_EFFECTS = tuple(_EFFECT_WEIGHTS)
_CUMULATIVE = tuple(accumulate(_EFFECT_WEIGHTS.values()))
_CONCRETE_SHARE = 0.55
_MOOD_SHARE, _MOOD_AND_EFFECT_SHARE = 0.40, 0.12
_COURTESY_SHARE = 0.18
_LONGEST_PART = 36

_HAN = re.compile(r"[\u4e00-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]")
_QUESTION = ("?", "？")
_SENTENCE_STARTS = {"you", "i", "the", "this", "what", "we", "nobody", "it", "can", "could", "so"}


@dataclass(frozen=True)
class _Links:
    """What may stand between two instructions that are one: often, seldom, and between short ones."""

    often: tuple[str, ...]
    seldom: tuple[str, ...]
    brief: tuple[str, ...]


_ENGLISH_LINKS = _Links(
    often=(" and", ",", ", and"),
    seldom=(
        *(" but", ", but", " plus", ", plus", " with", " together with", " while", " yet", " &", ";"),
        *(" as well as", " and also", ", also", ", then", " and then", " and at the same time", ", and please"),
    ),
    brief=(" +", " /", ";"),
)
_CHINESE_LINKS = _Links(
    often=("，", "，", "，并且", "，同时"),
    seldom=(
        *("，再", "，而且", "但", "，但", "，但是", "，还要", "还要", "加上", "，另外", "；"),
        *("，然后", "并", "，并", "且", "又", "，也要", "，顺便"),
    ),
    brief=("、", "、", " "),
)


LINKS: frozenset[str] = frozenset(
    link for links in (_ENGLISH_LINKS, _CHINESE_LINKS) for link in (*links.often, *links.seldom, *links.brief)
)
"""All that may stand between two instructions in one."""


@dataclass(frozen=True)
class Instruction:
    """What the user asks, empty for nothing, and the style it commands."""

    text: str
    style: Style


@dataclass(frozen=True)
class Phrasing:
    """One way to ask for an effect.

    Attributes:
        text: the words; "{}" stands for the quantity where there is one.
        effect: a key of `FIELDS`, "neutral", or "mood".
        style: what it commands; None where the quantity decides.
        quantity: kind of the number, a key of `RANGES[effect]`; None without one.
        language: "en", "zh" or "mixed", by the letters of the text.
    """

    text: str
    effect: str
    style: Style | None
    quantity: str | None
    language: str

    @property
    def joins(self) -> bool:
        """Whether it may stand beside another in one instruction."""
        return (
            len(self.text) <= _LONGEST_PART
            and not self.text.endswith(("?", "？", "吗"))
            and not any(mark in self.text for mark in (",", "，", " and "))
            and self.text.split()[0].lower() not in _SENTENCE_STARTS
        )


@dataclass(frozen=True)
class _Courtesy:
    verbs: tuple[str, ...]
    prefixes: tuple[str, ...]
    suffixes: tuple[str, ...]


@dataclass(frozen=True)
class _Library:
    """All phrasings, sorted for drawing: by effect, by whether they hold a number, and by language."""

    all: dict[str, tuple[Phrasing, ...]]
    vague: dict[str, tuple[Phrasing, ...]]
    concrete: dict[str, tuple[Phrasing, ...]]
    joining: dict[tuple[str, str], tuple[tuple[Phrasing, ...], tuple[Phrasing, ...]]]
    moods: tuple[tuple[Phrasing, ...], ...]
    courtesy: dict[str, _Courtesy]


def draw(source: random.Random) -> Instruction:
    """One instruction at random, in the mix of `SHARES`; the state of `source` decides it."""
    point = source.random()
    if point < SHARES["none"]:
        return Instruction("", PLAIN)
    known = library()
    point -= SHARES["none"]
    if point < SHARES["neutral"]:
        return Instruction(_dressed(source.choice(known.all["neutral"]).text, source), PLAIN)
    point -= SHARES["neutral"]
    if point < SHARES["single"]:
        text, style = _filled(_single(_effect(source), source), source)
    elif (kind := source.random()) < _MOOD_SHARE:
        text, style = _filled(source.choice(source.choice(known.moods)), source)
    elif kind < _MOOD_SHARE + _MOOD_AND_EFFECT_SHARE:
        text, style = _mood_and_effect(source)
    else:
        text, style = _several(source)
    return Instruction(_dressed(text, source), style)


def phrasings() -> dict[str, tuple[str, ...]]:
    """The texts of all phrasings by effect, moods included; "{}" where a quantity stands."""
    return {effect: tuple(one.text for one in many) for effect, many in library().all.items()}


@cache
def library() -> _Library:
    """The phrasings of the folder beside this module, read once."""
    every = {effect: tuple(_of_effect(effect)) for effect in (*FIELDS, "neutral")}
    moods = tuple(_of_moods())
    joining: dict[tuple[str, str], tuple[tuple[Phrasing, ...], tuple[Phrasing, ...]]] = {}
    for effect in FIELDS:
        for language in ("en", "zh", "mixed"):
            # Both languages serve where they mix; else only phrasings purely in the one asked for.
            fits = tuple(one for one in every[effect] if one.joins and language in (one.language, "mixed"))
            vague = tuple(one for one in fits if one.quantity is None)
            joining[effect, language] = (vague, tuple(one for one in fits if one.quantity is not None))
    return _Library(
        all={**every, "mood": tuple(one for mood in moods for one in mood)},
        vague={effect: tuple(one for one in many if one.quantity is None) for effect, many in every.items()},
        concrete={effect: tuple(one for one in many if one.quantity is not None) for effect, many in every.items()},
        joining=joining,
        moods=moods,
        courtesy={
            language: _Courtesy(tuple(part["verbs"]), tuple(part["prefixes"]), tuple(part["suffixes"]))
            for language, part in _file("courtesy").items()
        },
    )


def _file(name: str) -> dict[str, Any]:
    # libyaml's loader is ten times as fast, where it was built in; it is as safe as the other.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    try:
        found = loader.get_single_data()
    finally:
        loader.dispose()
    if not isinstance(found, dict):
        raise ValueError(f"{name}.yaml must hold a mapping, found {type(found).__name__}")
    return found


def _of_effect(effect: str) -> Iterator[Phrasing]:
    for group in _file(effect)["groups"]:
        quantity = group.get("quantity")
        style = None if quantity else PLAIN
        if "degree" in group:
            style = PLAIN.with_changes(**{FIELDS[effect]: DEGREES[effect][group["degree"]]})
        for text in group["texts"]:
            yield Phrasing(text, effect, style, quantity, _language(text))


def _of_moods() -> Iterator[tuple[Phrasing, ...]]:
    content = _file("moods")
    frames: Mapping[str, list[str]] = content["frames"]
    for mood in content["moods"]:
        texts = list(mood.get("text", []))
        texts += [_framed(frame, word) for kind in frames for word in mood.get(kind, []) for frame in frames[kind]]
        style = Style(**mood["style"])
        yield tuple(Phrasing(text, "mood", style, None, _language(text)) for text in dict.fromkeys(texts))


def _framed(frame: str, word: str) -> str:
    if _HAN.search(frame):
        word = re.sub(r"^an? ", "", word)
    if word[0] in "aeiou":
        frame = re.sub(r"\ba \{\}", "an {}", frame)
    return frame.replace("{}", word)


def _language(text: str) -> str:
    if not _HAN.search(text):
        return "en"
    return "mixed" if _LATIN.search(text) else "zh"


def _effect(source: random.Random) -> str:
    return source.choices(_EFFECTS, cum_weights=_CUMULATIVE)[0]


def _single(effect: str, source: random.Random) -> Phrasing:
    concrete = library().concrete[effect]
    if concrete and source.random() < _CONCRETE_SHARE:
        return source.choice(concrete)
    return source.choice(library().vague[effect])


def _part(effect: str, language: str, source: random.Random) -> tuple[str, Style]:
    vague, concrete = library().joining[effect, language]
    many = concrete if concrete and source.random() < _CONCRETE_SHARE else vague
    return _filled(source.choice(many), source)


def _several(source: random.Random) -> tuple[str, Style]:
    count = 2 if source.random() < 0.7 else 3
    effects: list[str] = []
    taken: set[str] = set()
    while len(effects) < count:
        effect = _effect(source)
        field = FIELDS[effect]
        if field in taken or _clashes(field, taken):
            # A whisper leaves room for rate and pauses only, so that the third may never come: begin anew.
            effects, taken = ([], set()) if source.random() < 0.1 else (effects, taken)
            continue
        effects.append(effect)
        taken.add(field)
    language = source.choices(("en", "zh", "mixed"), (0.42, 0.43, 0.15))[0]
    parts = [_part(effect, language, source) for effect in effects]
    style = parts[0][1]
    for _, other in parts[1:]:
        style = style.combined(other)
    return _joined([text for text, _ in parts], language, source), style


def _mood_and_effect(source: random.Random) -> tuple[str, Style]:
    while True:
        mood = source.choice(source.choice(library().moods))
        effect = _effect(source)
        style = mood.style or PLAIN
        taken = set(style.changes())
        if mood.joins and FIELDS[effect] not in taken and not _clashes(FIELDS[effect], taken):
            break
    text, other = _part(effect, mood.language, source)
    return _joined([mood.text, text], mood.language, source), style.combined(other)


def _clashes(field: str, taken: set[str]) -> bool:
    voiced = {"pitch_st", "spread", "level_db"}
    return (field == "whisper" and bool(voiced & taken)) or (field in voiced and "whisper" in taken)


def _joined(parts: list[str], language: str, source: random.Random) -> str:
    english = language == "en" or (language == "mixed" and source.random() < 0.5)
    links = _ENGLISH_LINKS if english else _CHINESE_LINKS
    short = all(len(part) <= (18 if english else 8) for part in parts)
    text = parts[0]
    for number, part in enumerate(parts[1:], 2):
        plain = "," if english else "，"
        link = plain if number < len(parts) else source.choice(links.often if source.random() < 0.6 else links.seldom)
        if short and source.random() < 0.15:
            link = source.choice(links.brief)
        gap = " " if english else ""
        text += f"{link}{gap}{part}"
    return text


def _filled(phrasing: Phrasing, source: random.Random) -> tuple[str, Style]:
    if phrasing.quantity is None:
        return phrasing.text, phrasing.style or PLAIN
    quantity, effect = phrasing.quantity, phrasing.effect
    # "A fifth higher" is an interval and no share.
    named = not (quantity == "percent" and FIELDS[effect] == "pitch_st")
    number = draw_number(quantity, *RANGES[effect][quantity], source, named=named)
    language = phrasing.language
    if language == "mixed":
        before, after = phrasing.text.split("{}")
        near = (before.strip() or after.strip()[:1])[-1]
        language = "zh" if _HAN.match(near) else "en"
    words = spoken(quantity, number, language, source, named=named)
    # "+twenty percent" is written by nobody.
    if ("+" in phrasing.text or "-" in phrasing.text) and not words[0].isdigit():
        words = digits(quantity, number)
    text = phrasing.text.replace("{}", words)
    return text, PLAIN.with_changes(**{FIELDS[effect]: _value(effect, quantity, number)})


def _value(effect: str, quantity: str, number: float) -> float:
    sign = -1 if effect in ("rate_down", "pitch_down", "softer") else 1
    if quantity in ("seconds", "bare_seconds"):
        return number / 1000
    if quantity in ("semitones", "decibels"):
        return float(sign * number)
    if quantity in ("times", "factor", "share"):
        return round(number / 100, 3)
    factor = 1 + sign * number / 100
    if FIELDS[effect] == "pitch_st":
        return round(12 * math.log2(factor), 3)
    if FIELDS[effect] == "level_db":
        return round(20 * math.log10(factor), 3)
    return round(factor, 3)


def _dressed(text: str, source: random.Random) -> str:
    """The text with a word of courtesy, a capital or a full stop now and then: none of it changes the meaning."""
    english = not _HAN.search(text)
    if source.random() < _COURTESY_SHARE:
        text = _with_courtesy(text, library().courtesy["en" if english else "zh"], english, source)
    if english and source.random() < 0.4:
        text = text[0].upper() + text[1:]
    if not text.endswith(_QUESTION) and source.random() < 0.25:
        text += "." if english else "。"
    return text


def _with_courtesy(text: str, courtesy: _Courtesy, english: bool, source: random.Random) -> str:
    if text.endswith(("?", "？", "吗")):
        return text
    if english:
        first = text.split()[0].lower()
        if first in courtesy.verbs and source.random() < 0.6:
            return source.choice(courtesy.prefixes) + text
        return text if first in _SENTENCE_STARTS else text + source.choice(courtesy.suffixes)
    if not text.startswith(courtesy.verbs):
        return text
    return source.choice(courtesy.prefixes) + text if source.random() < 0.7 else text + source.choice(courtesy.suffixes)
