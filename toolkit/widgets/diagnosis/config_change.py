"""A cure that is a value in a service's config.yaml: shown as a diff, written with a backup, its comments kept."""

from __future__ import annotations

import difflib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from toolkit.doctor.whole_file import write_whole
from toolkit.errors import UsageError
from toolkit.probe.plain_yaml import duplicate_keys, load_plain_yaml

__all__ = ["ConfigChange", "change_for"]

_NAMES = ("config.yaml", "config.yml")
_LONGEST_TEXT = 300
"""Characters; 20 to 30 s of speech, where the rules have texts split."""
_CHUNK_FRAMES = 300
"""Frames that the official package decodes at once."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - written only where the reader confirms it


@dataclass(frozen=True)
class _Setting:
    key: str
    wanted: str
    is_wrong: Callable[[object], bool]


def _above(most: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value > most


_TEXT = _Setting("max_text_length", str(_LONGEST_TEXT), _above(_LONGEST_TEXT))
_CHUNK = _Setting("audio_chunk_size", str(_CHUNK_FRAMES), _above(_CHUNK_FRAMES))
_HOST = _Setting("host", f'"{_EVERY_ADDRESS}"', lambda value: value in _LOOPBACK)
_SETTINGS = {
    "long-text-memory": (_TEXT, _CHUNK),
    "long-text-degradation": (_TEXT,),
    "host-flag-missing": (_HOST,),
    "bind-loopback-remote-browser": (_HOST,),
}


@dataclass(frozen=True)
class ConfigChange:
    """New text for one file. ``keys`` are the settings that change; ``opens`` says that others get access by it."""

    path: Path
    before: str
    after: str
    keys: tuple[str, ...]
    opens: bool

    @property
    def diff(self) -> str:
        """A unified diff."""
        old, new = self.before.splitlines(), self.after.splitlines()
        return "\n".join(difflib.unified_diff(old, new, self.path.name, f"{self.path.name} (new)", lineterm="", n=2))

    def apply(self) -> Path:
        """Write it, after a copy of the file as it is; returns the copy's path.

        Raises UsageError when the file is no longer what the diff shows, or cannot be written.
        """
        path = self.path.resolve()
        self._check(path, self.before)
        backup = _free(path)
        try:
            shutil.copy2(path, backup)
        except OSError as error:
            raise UsageError(f"no copy of {path.name} can be made: {error.strerror or error}") from None
        self._write(path, self.after)
        return backup

    def undo(self) -> None:
        """Put back what was there. Raises UsageError when the file has changed since, or cannot be written."""
        path = self.path.resolve()
        self._check(path, self.after)
        self._write(path, self.before)

    @staticmethod
    def _check(path: Path, expected: str) -> None:
        if _read(path) != expected:
            raise UsageError(f"{path.name} has changed meanwhile; press Find the cause again to see it as it is now")

    @staticmethod
    def _write(path: Path, text: str) -> None:
        mode = path.stat().st_mode
        write_whole(path, text.encode("utf-8"))
        os.chmod(path, mode)


def change_for(rule_id: str, folder: str | Path) -> ConfigChange | None:
    """The change of a service's settings that a rule's cure asks for; None where there is none to make.

    Raises UsageError when the file cannot be read.
    """
    settings = _SETTINGS.get(rule_id, ())
    path = next((Path(folder) / name for name in _NAMES if (Path(folder) / name).is_file()), None)
    if not settings or path is None or isinstance(load_plain_yaml(path), str) or duplicate_keys(path):
        return None
    text = _read(path)
    edits = [(node, one) for one in settings for node in _nodes(text, one.key) if one.is_wrong(_value(node))]
    if not edits:
        return None
    after = text
    for node, one in sorted(edits, key=lambda edit: -edit[0].start_mark.index):
        after = after[: node.start_mark.index] + one.wanted + after[node.end_mark.index :]
    keys = tuple(dict.fromkeys(one.key for _, one in edits))
    return ConfigChange(path, text, after, keys, opens="host" in keys)


def _nodes(text: str, key: str) -> list[yaml.ScalarNode]:
    """Values of a key, in whatever table it stands."""
    found: list[yaml.ScalarNode] = []
    waiting = [yaml.compose(text, Loader=yaml.SafeLoader)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                waiting.append(value)
                if isinstance(value, yaml.ScalarNode) and name.value == key:
                    found.append(value)
    return found


def _value(node: yaml.ScalarNode) -> object:
    value: object = yaml.SafeLoader("").construct_object(node)
    return value


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path.name} cannot be read: {error}") from None


def _free(path: Path) -> Path:
    backup = path.with_name(f"{path.name}.bak")
    number = 1
    while backup.exists():
        number += 1
        backup = path.with_name(f"{path.name}.bak{number}")
    return backup
