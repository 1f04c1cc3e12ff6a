"""The facts of one doctor run as a file: written here, read and diagnosed anywhere."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from types import MappingProxyType
from typing import Any

from toolkit.errors import BadBundle
from toolkit.probe.child import na_tree
from toolkit.probe.contract import PROBE_STATES, ProbeReport
from troubleshoot.facts import NA

__all__ = ["SCHEMA", "FactsFile", "ProbeEntry", "utc_now"]

SCHEMA = 1
_KEYS = ("schema", "created", "toolkit", "interpreter", "probes", "facts")
_PROBE_KEYS = ("name", "state", "elapsed_s", "signal", "reason", "last_lines", "provides")
_FACT = re.compile(r"[a-z][a-z0-9_]*(\.[a-zA-Z0-9_-]+)+")
_MAX_BYTES = 16 * 2**20


@dataclass(frozen=True)
class ProbeEntry:
    """How one probe ended; its facts, those whose names begin as in ``provides``, are in the file's one table."""

    name: str
    state: str
    elapsed_s: float
    signal: str | None = None
    reason: str = ""
    last_lines: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.state not in PROBE_STATES:
            raise BadBundle(f"facts file: probe {self.name} has the state {self.state!r}, not one of {PROBE_STATES}")

    @classmethod
    def of(cls, report: ProbeReport, provides: tuple[str, ...] = ()) -> ProbeEntry:
        """The entry of a report."""
        last = report.last_lines
        return cls(report.name, report.state, report.elapsed_s, report.signal, report.reason, last, provides)


@dataclass(frozen=True)
class FactsFile:
    """Facts with their origin. ``created`` is UTC in ISO 8601; values that could not be had are :class:`NA`."""

    created: str
    toolkit: str
    interpreter: str
    probes: tuple[ProbeEntry, ...]
    facts: Mapping[str, object] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        try:
            created = datetime.fromisoformat(self.created.replace("Z", "+00:00"))
        except ValueError as error:
            raise BadBundle(f"facts file: created {self.created!r} is not a time in ISO 8601") from error
        if created.utcoffset() is None:
            raise BadBundle(f"facts file: created {self.created!r} names no time zone")
        for name in self.facts:
            if not _FACT.fullmatch(name):
                raise BadBundle(f"facts file: {name!r} is not a name of a fact, such as torch.version")
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))

    def to_json(self) -> dict[str, object]:
        """The file as a JSON table: facts sorted by name, ``{"na": reason}`` for values that could not be had."""
        return {
            "schema": self.schema,
            "created": self.created,
            "toolkit": self.toolkit,
            "interpreter": self.interpreter,
            "probes": [
                {name: _plain(value) for name in _PROBE_KEYS if (value := getattr(probe, name)) not in (None, "", ())}
                for probe in self.probes
            ],
            "facts": {name: _plain(self.facts[name]) for name in sorted(self.facts)},
        }

    def to_text(self) -> str:
        """The file's text, in ASCII."""
        return json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, source: str | bytes | Mapping[str, object]) -> FactsFile:
        """Read a file's text or table. Raises :class:`BadBundle` that names the key, what was found and what to do."""
        document = dict(source) if isinstance(source, Mapping) else _parsed(source)
        # The schema first: a newer file may well have other keys.
        schema = document.get("schema") if isinstance(document, dict) else None
        if not isinstance(document, dict) or "schema" not in document:
            raise BadBundle("facts file: not a table with the key 'schema'")
        if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
            raise BadBundle(f"facts file: schema {schema!r} is not a whole number from 1 on")
        if schema > SCHEMA:
            raise BadBundle(
                f"facts file: schema {schema} is newer than {SCHEMA}, which this version reads; "
                f"it was written by toolkit {document.get('toolkit', 'of a later version')}, update to that"
            )
        _check_table(document, "the file", _KEYS, _KEYS)
        for name in ("created", "toolkit", "interpreter"):
            _check(document, name, str)
        _check(document, "probes", list)
        _check(document, "facts", dict)
        return cls(
            created=document["created"],
            toolkit=document["toolkit"],
            interpreter=document["interpreter"],
            probes=tuple(_probe(entry) for entry in document["probes"]),
            facts={name: na_tree(value) for name, value in document["facts"].items()},
            schema=schema,
        )


def utc_now() -> str:
    """The time as files of ours carry it: UTC in ISO 8601, to the second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _parsed(text: str | bytes) -> object:
    if len(text) > _MAX_BYTES:
        raise BadBundle(f"facts file: {len(text)} bytes, at most {_MAX_BYTES} are taken")
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadBundle(f"facts file: not JSON: {error}") from error


def _probe(entry: object) -> ProbeEntry:
    table = _check_table(entry, "a probe", _PROBE_KEYS, ("name", "state", "elapsed_s"))
    for name, kind in (
        ("name", str),
        ("state", str),
        ("signal", str),
        ("reason", str),
        ("last_lines", list),
        ("provides", list),
    ):
        if name in table:
            _check(table, name, kind)
    elapsed_s = table["elapsed_s"]
    if isinstance(elapsed_s, bool) or not isinstance(elapsed_s, (int, float)) or elapsed_s < 0:
        raise BadBundle(f"facts file: elapsed_s of probe {table['name']} is {elapsed_s!r}, not a number of seconds")
    for name in ("last_lines", "provides"):
        if not all(isinstance(line, str) for line in table.get(name, [])):
            raise BadBundle(f"facts file: {name} of probe {table['name']} must be texts")
    return ProbeEntry(
        name=table["name"],
        state=table["state"],
        elapsed_s=float(elapsed_s),
        signal=table.get("signal"),
        reason=table.get("reason", ""),
        last_lines=tuple(table.get("last_lines", [])),
        provides=tuple(table.get("provides", [])),
    )


def _check_table(value: object, what: str, known: tuple[str, ...], needed: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadBundle(f"facts file: {what} is {type(value).__name__}, not a table")
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise BadBundle(f"facts file: {what} has the unknown key {unknown[0]!r}; known are {', '.join(known)}")
    absent = [name for name in needed if name not in value]
    if absent:
        raise BadBundle(f"facts file: {what} lacks the key {absent[0]!r}")
    return value


def _check(table: Mapping[str, object], name: str, kind: type) -> None:
    if not isinstance(table[name], kind):
        raise BadBundle(f"facts file: {name} is {type(table[name]).__name__}, not {kind.__name__}")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} occurs twice")
    return table


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _plain(value: object) -> object:
    """JSON form of a fact at any depth; a number that JSON does not have becomes a reason."""
    if isinstance(value, NA):
        return {"na": value.reason}
    if isinstance(value, float) and not math.isfinite(value):
        return {"na": f"the value is {value}"}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
