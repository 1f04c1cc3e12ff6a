"""Typed access to the fields of a JSON file, with errors that name the file, the field, and what was found."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from toolkit.errors import BadModelFolder

__all__ = ["MAX_JSON_BYTES", "Fields", "read_json_object"]

MAX_JSON_BYTES = 64_000_000
"""No JSON file of a model is nearly as large (``vocab.json``, the largest, has 3 MB)."""

T = TypeVar("T")


class Fields:
    """One JSON object. ``where`` is what messages call it, for example ``config.json: talker_config``.

    Every method takes a default; without one a missing field raises :class:`BadModelFolder`. ``true``, NaN and infinity
    are never numbers.
    """

    def __init__(self, values: Mapping[str, object], where: str) -> None:
        self.values = values
        self.where = where

    def integer(self, name: str, default: int | None = None, *, low: int = 0, high: int = 2**31 - 1) -> int:
        """A whole number from ``low`` to ``high``."""
        value = self._get(name, default)
        if type(value) is not int or not low <= value <= high:
            raise self.bad(name, f"a whole number from {low} to {high}", value)
        return value

    def number(self, name: str, default: float | None = None, *, low: float = 0.0, high: float = math.inf) -> float:
        """A finite number from ``low`` to ``high``."""
        value = self._get(name, default)
        if type(value) not in (int, float) or not isinstance(value, int | float):
            raise self.bad(name, "a number", value)
        if not math.isfinite(value) or not low <= value <= high:
            raise self.bad(name, f"a number from {low} to {high}", value)
        return float(value)

    def flag(self, name: str, default: bool | None = None) -> bool:
        """True or false."""
        value = self._get(name, default)
        if type(value) is not bool:
            raise self.bad(name, "true or false", value)
        return value

    def text(self, name: str, default: str | None = None, *, one_of: tuple[str, ...] = ()) -> str:
        """A string, one of ``one_of`` when that is given."""
        value = self._get(name, default)
        if type(value) is not str or (one_of and value not in one_of):
            raise self.bad(name, "one of " + ", ".join(one_of) if one_of else "a string", value)
        return value

    def integers(self, name: str, default: tuple[int, ...] | None = None, *, low: int = 0) -> tuple[int, ...]:
        """A list of whole numbers of at least ``low``."""
        value = self._get(name, default)
        if not isinstance(value, list | tuple) or not all(type(item) is int and item >= low for item in value):
            raise self.bad(name, f"a list of whole numbers of at least {low}", value)
        return tuple(value)

    def integer_table(self, name: str) -> dict[str, int]:
        """An object whose values are whole numbers of at least 0."""
        return self.part(name).integer_values()

    def integer_values(self) -> dict[str, int]:
        """The fields of this object, all whole numbers of at least 0."""
        table: dict[str, int] = {}
        for name, value in self.values.items():
            if type(value) is not int or value < 0:
                raise self.bad(name, "a whole number of at least 0", value)
            table[name] = value
        return table

    def part(self, name: str) -> Fields:
        """A nested object."""
        value = self._get(name, None)
        if not isinstance(value, dict):
            raise self.bad(name, "an object", value)
        return Fields(value, f"{self.where}: {name}")

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.values.get(name) is not None

    def must_be(self, name: str, wanted: T, *, default: T) -> None:
        """Refuse a value that the network here does not implement; a missing field counts as ``default``."""
        value = self.values.get(name, default)
        if value != wanted:
            raise BadModelFolder(f"{self.where}: {name} is {_shown(value)}; only {_shown(wanted)} is supported")

    def bad(self, name: str, wanted: str, found: object) -> BadModelFolder:
        """The error for a field that holds something else than it must."""
        return BadModelFolder(f"{self.where}: {name} must be {wanted}, found {_shown(found)}")

    def _get(self, name: str, default: object) -> object:
        value = self.values.get(name)
        if value is None:
            value = default
        if value is None:
            raise BadModelFolder(f"{self.where}: {name} is missing")
        return value


def read_json_object(path: Path) -> Fields:
    """Read a JSON file that holds one object.

    Raises:
        BadModelFolder: the file is missing, unreadable, too large, not JSON, or not an object.
    """
    try:
        size = path.stat().st_size
        if size > MAX_JSON_BYTES:
            raise BadModelFolder(f"{path}: {size} bytes are too many for a JSON file of a model")
        values = json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise BadModelFolder(f"{path.parent}: {path.name} is missing; the folder is not a complete model") from None
    except OSError as error:
        raise BadModelFolder(f"{path}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BadModelFolder(f"{path}: is not JSON ({error})") from error
    if not isinstance(values, dict):
        raise BadModelFolder(f"{path}: holds {_shown(values)} instead of an object")
    return Fields(values, path.name)


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
