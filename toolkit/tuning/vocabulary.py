"""The table of words that instructions are made of (``words.yaml``), checked when it is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

__all__ = ["FIELDS", "EffectWords", "Mood", "Token", "Vocabulary", "tokens_of", "vocabulary"]

FIELDS = ("rate", "pitch_st", "spread", "level_db", "whisper", "pause_s")
FieldName = Literal["rate", "pitch_st", "spread", "level_db", "whisper", "pause_s"]
Degree = Literal["slight", "plain", "very"]
Side = Literal["up", "down"]

_FILE = Path(__file__).with_name("words.yaml")


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class EffectWords(_Strict):
    """One way a voice can change, what it is worth without a number, and the words for it."""

    name: str
    field: FieldName
    figures: dict[Degree, float]
    source: str
    words: list[str]


class Mood(_Strict):
    """A mood or a role as quantities."""

    name: str
    source: str
    figures: dict[FieldName, float]
    words: list[str]


class Vocabulary(_Strict):
    """The whole table; the comments in the file say what each part means."""

    schema_version: Literal[1]
    effects: list[EffectWords]
    nouns: dict[Literal["rate", "pitch", "level", "pause", "spread"], list[str]]
    directions: dict[Side, list[str]]
    pitch_directions: dict[Side, list[str]]
    level_directions: dict[Side, list[str]]
    vague: dict[Literal["slight", "very"], list[str]]
    negations: list[str]
    lessening: list[str]
    complaints: list[str]
    joins: list[str]
    unsaid: list[str]
    moods: list[Mood]

    def effect(self, name: str) -> EffectWords:
        """The effect of that name; KeyError without one."""
        return {effect.name: effect for effect in self.effects}[name]

    def mood(self, name: str) -> Mood:
        """The mood of that name; KeyError without one."""
        return {mood.name: mood for mood in self.moods}[name]


@dataclass(frozen=True)
class Token:
    """A word of the table in a text: characters ``start`` to ``end``, its part of the table, and what it stands for."""

    start: int
    end: int
    kind: str
    value: str


@cache
def vocabulary() -> Vocabulary:
    """The table beside this module, read once."""
    data = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return Vocabulary(schema_version=data.pop("schema"), **data)


def tokens_of(folded: str) -> list[Token]:
    """Words of the table in lower-case text, in their order; where several begin at one place, the longest."""
    pattern, meanings = _index()
    return [Token(*found.span(), *meanings[found.group()]) for found in pattern.finditer(folded)]


@cache
def _index() -> tuple[re.Pattern[str], dict[str, tuple[str, str]]]:
    table = vocabulary()
    meanings: dict[str, tuple[str, str]] = {}
    parts: list[tuple[str, str, list[str]]] = [
        ("join", "", table.joins),
        ("negation", "", table.negations),
        ("lessening", "down", table.lessening),
        ("complaint", "", table.complaints),
        ("unsaid", "", table.unsaid),
        *(("noun", name, words) for name, words in table.nouns.items()),
        *(("direction", side, words) for side, words in table.directions.items()),
        *(("pitch_direction", side, words) for side, words in table.pitch_directions.items()),
        *(("level_direction", side, words) for side, words in table.level_directions.items()),
        *(("vague", degree, words) for degree, words in table.vague.items()),
        *(("mood", mood.name, mood.words) for mood in table.moods),
        *(("effect", effect.name, effect.words) for effect in table.effects),
    ]
    for kind, value, words in parts:
        meanings.update({word.lower(): (kind, value) for word in words})
    longest_first = sorted(meanings, key=len, reverse=True)
    alternatives = (
        rf"(?<![a-z]){re.escape(word)}(?![a-z])" if word.isascii() else re.escape(word) for word in longest_first
    )
    return re.compile("|".join(alternatives)), meanings
