"""YAML read strictly: no aliases, no tags, no duplicate keys, bounded size and depth, every fault with its line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from troubleshoot.errors import RuleError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_NODES", "Document", "read_yaml", "read_yaml_text"]

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_NODES = 10_000

# The events of PyYAML's two loaders have no types of their own, so they are Any here.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STR, _INT, _FLOAT = "tag:yaml.org,2002:str", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_BOOL, _NULL = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:null"
# YAML 1.1 reads these as booleans, which turns an answer `no` into false; we ask for quotes instead.
_LOOKS_BOOLEAN = {"yes", "no", "on", "off", "y", "n"}


class Document:
    """The data of a file, and the line on which each node stands (by its path of keys and indexes)."""

    def __init__(self, path: Path | str, data: object, lines: dict[tuple[str | int, ...], int]) -> None:
        self.path = path
        self.data = data
        self._lines = lines

    def line_of(self, place: tuple[str | int, ...]) -> int | None:
        """Line of the node at ``place``, or of the nearest node above it."""
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place)


def read_yaml(path: Path) -> Document:
    """Read a file. Raises RuleError (file, line, reason) for anything that is not plain, bounded data."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise RuleError(path, None, f"the file has {size} bytes, at most {MAX_BYTES} are read")
        if not path.is_file():  # reading a pipe or a device may never end
            raise RuleError(path, None, "is not a plain file")
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise RuleError(path, None, f"cannot be read: {error.strerror or error}") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RuleError(path, raw[: error.start].count(b"\n") + 1, "is not UTF-8") from None
    return read_yaml_text(text, path)


def read_yaml_text(text: str, path: Path | str) -> Document:
    """Read YAML text; ``path`` is only named in errors."""
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise RuleError(path, None, "holds half of a surrogate pair, which is no character") from None
    if size > MAX_BYTES:
        raise RuleError(path, None, f"the text is over {MAX_BYTES} bytes")
    try:
        return _Reader(path).read(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise RuleError(path, mark.line + 1 if mark else None, f"is not YAML: {reason}") from None
    except RecursionError:
        raise RuleError(path, None, f"is nested deeper than {MAX_DEPTH} levels") from None


class _Reader:
    """Builds data from parser events, so that nothing is expanded before it has been checked."""

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._lines: dict[tuple[str | int, ...], int] = {}
        self._nodes = 0

    def read(self, text: str) -> Document:
        loader = _Loader(text)
        try:
            return self._document(loader)
        finally:
            loader.dispose()

    def _document(self, loader: Any) -> Document:
        data: object = None
        documents = 0
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._fault(event, "has a second document; one file holds one")
                data = self._node(loader, loader.get_event(), ())
        if documents == 0:
            raise RuleError(self._path, None, "is empty")
        return Document(self._path, data, self._lines)

    def _node(self, loader: Any, event: Any, place: tuple[str | int, ...]) -> object:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._fault(event, f"has more than {MAX_NODES} nodes")
        if len(place) > MAX_DEPTH:
            raise self._fault(event, f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            raise self._fault(event, f"uses the alias *{event.anchor}; aliases are not read, write the value out")
        if getattr(event, "anchor", None):
            raise self._fault(event, f"sets the anchor &{event.anchor}; anchors are not read")
        self._lines.setdefault(place, _line(event))
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(loader, event)
        if event.tag is not None and event.tag != "!":
            raise self._fault(event, f"uses the tag {event.tag}; tags are not read")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(loader, place)
        return self._mapping(loader, place)

    def _sequence(self, loader: Any, place: tuple[str | int, ...]) -> list[object]:
        items: list[object] = []
        while not isinstance(event := loader.get_event(), yaml.SequenceEndEvent):
            items.append(self._node(loader, event, (*place, len(items))))
        return items

    def _mapping(self, loader: Any, place: tuple[str | int, ...]) -> dict[str, object]:
        mapping: dict[str, object] = {}
        while not isinstance(event := loader.get_event(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._fault(event, "has a key that is not plain text")
            if event.anchor or event.tag is not None:
                raise self._fault(event, f"has the key {event.value!r} with an anchor or a tag; neither is read")
            key = event.value
            if key == "<<":
                raise self._fault(event, "uses a merge key <<; write the values out")
            if key in mapping:
                raise self._fault(event, f"has the key {key!r} twice")
            self._lines[(*place, key)] = _line(event)
            mapping[key] = self._node(loader, loader.get_event(), (*place, key))
        return mapping

    def _scalar(self, loader: Any, event: Any) -> object:
        if event.tag is not None and event.tag != "!":
            raise self._fault(event, f"uses the tag {event.tag}; tags are not read")
        text = event.value
        if event.implicit[0] is False or event.style in ("'", '"', "|", ">"):
            return text
        if text.lower() in _LOOKS_BOOLEAN:
            raise self._fault(event, f"has the bare word {text}, which YAML reads as true or false; quote it: '{text}'")
        tag = loader.resolve(yaml.ScalarNode, text, (True, False))
        if tag == _STR:
            return text
        if tag == _NULL:
            return None
        if tag == _BOOL:
            return text.lower() == "true"
        if tag in (_INT, _FLOAT):
            return self._number(event, text)
        kind = str(tag).rsplit(":", 1)[-1]
        raise self._fault(event, f"has the bare value {text}, which YAML reads as {kind}; quote it")

    def _number(self, event: Any, text: str) -> int | float:
        digits = text.lstrip("+-")
        if digits.lower() in (".nan", ".inf") or math.isinf(number := _float_or_nan(text)):
            raise self._fault(event, f"has the number {text}, which is not finite")
        if math.isnan(number) or "_" in digits:
            raise self._fault(event, f"has the bare value {text}, a number in a writing of YAML's own; quote it")
        if len(digits) > 1 and digits.startswith("0") and digits[1].isdigit():
            raise self._fault(event, f"has the number {text} with a leading zero, which YAML reads in base 8; quote it")
        return int(text) if digits.isdigit() else number

    def _fault(self, event: Any, reason: str) -> RuleError:
        return RuleError(self._path, _line(event), reason)


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _float_or_nan(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # 0x1f, 0b1 and 12:30 are numbers to YAML as well
        return math.nan
