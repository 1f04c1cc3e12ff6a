"""Splits a script's line into commands and words, and puts in the variables whose values the script sets."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Literal

__all__ = ["Dialect", "assignment", "split_commands"]

Dialect = Literal["sh", "cmd", "powershell"]

_SEPARATORS = {"sh": ";|&<>()", "cmd": "|&<>()", "powershell": ";|<>"}
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_DECLARERS = ("export", "declare", "local", "readonly", "ENV")
_VARIABLE = {
    "sh": re.compile(r"\$(\w+|[@*#?])"),
    "cmd": re.compile(r"%(\w+)%|!(\w+)!"),
    "powershell": re.compile(r"\$(?:env:)?(\w+)", re.IGNORECASE),
}
_DEFAULT = re.compile(r"(?:env:)?(\w+)(?:(:?[-=])(.*))?", re.DOTALL | re.IGNORECASE)
_MAX_DEPTH = 8


def split_commands(line: str, dialect: Dialect, variables: MutableMapping[str, str]) -> list[tuple[str, ...]]:
    """Commands of one line, each as its words. Assignments are put into ``variables`` (names of cmd and PowerShell
    in lower case) and are not commands."""
    commands = _Splitter(line, dialect, variables).commands()
    taken = [_take_assignments(words, dialect, variables) for words in commands]
    return [words for words in taken if words]


def assignment(word: str) -> tuple[str, str] | None:
    """Name and value of ``NAME=value``."""
    found = _ASSIGNMENT.fullmatch(word)
    return (found.group(1), found.group(2)) if found else None


def _take_assignments(words: list[str], dialect: Dialect, variables: MutableMapping[str, str]) -> tuple[str, ...]:
    if dialect == "powershell" and len(words) >= 3 and words[0].startswith("$") and words[1] == "=":
        variables[re.sub(r"^\$(env:)?", "", words[0], flags=re.IGNORECASE).lower()] = words[2]
        return ()
    if dialect != "sh":
        return tuple(words)
    rest = words[1:] if words and words[0] in _DECLARERS else list(words)
    while rest and (pair := assignment(rest[0])):
        variables[pair[0]] = pair[1]
        rest = rest[1:]
    return tuple(rest)


class _Splitter:
    """Reads a line character by character; the quote in force decides what the next one means."""

    def __init__(self, line: str, dialect: Dialect, variables: MutableMapping[str, str]) -> None:
        self._line = line
        self._dialect: Dialect = dialect
        self._variables = variables
        self._at = 0

    def commands(self) -> list[list[str]]:
        commands: list[list[str]] = [[]]
        word: str | None = None
        quote = ""
        while self._at < len(self._line):
            sign = self._line[self._at]
            if quote:
                if sign == quote:
                    quote = ""
                    self._at += 1
                else:
                    word = (word or "") + self._text(quote)
            elif sign in "\"'" and not (sign == "'" and self._dialect == "cmd"):
                quote = sign
                word = word or ""
                self._at += 1
            elif sign.isspace() or sign in _SEPARATORS[self._dialect]:
                if word is not None:
                    commands[-1].append(word)
                    word = None
                if not sign.isspace():
                    commands.append([])
                self._at += 1
            elif sign == "#" and word is None and self._dialect != "cmd":
                break
            else:
                word = (word or "") + self._text("")
        if word is not None:
            commands[-1].append(word)
        return commands

    def _text(self, quote: str) -> str:
        """The next piece of a word: one character, an escaped one, or a variable's value."""
        rest = self._line[self._at :]
        # An assignment's left side keeps its name; PowerShell writes it like any use of the variable.
        assigned = self._dialect == "powershell" and re.match(r"\$(env:)?\w+\s*=[^=]", rest, re.IGNORECASE)
        if quote != "'" and rest[0] in "$%!" and not assigned:
            text, length = _variable(rest, self._dialect, self._variables, 0)
            self._at += length
            return text
        if assigned:
            self._at += len(assigned.group(0).split("=")[0].rstrip())
            return assigned.group(0).split("=")[0].rstrip()
        if self._dialect == "sh" and quote != "'" and rest[0] == "\\" and len(rest) > 1:
            self._at += 2
            return rest[1] if not quote or rest[1] in '"\\$`' else rest[:2]
        self._at += 1
        return rest[0]


def _variable(rest: str, dialect: Dialect, variables: MutableMapping[str, str], depth: int) -> tuple[str, int]:
    """Value of the variable at the start of ``rest`` and how many characters it takes there."""
    if dialect != "cmd" and rest.startswith("${") and depth < _MAX_DEPTH:
        length = _brace_length(rest)
        found = _DEFAULT.fullmatch(rest[2 : length - 1]) if length else None
        if found is None:
            return rest[0], 1
        name = found.group(1) if dialect == "sh" else found.group(1).lower()
        if variables.get(name):
            return variables[name], length
        if found.group(2) is None:
            return rest[:length], length
        value = _expand(found.group(3), dialect, variables, depth + 1)
        if found.group(2).endswith("="):
            variables[name] = value
        return value, length
    found = _VARIABLE[dialect].match(rest)
    if found is None:
        return rest[0], 1
    name = next(group for group in found.groups() if group)
    return variables.get(name if dialect == "sh" else name.lower(), found.group(0)), found.end()


def _expand(text: str, dialect: Dialect, variables: MutableMapping[str, str], depth: int) -> str:
    out, at = "", 0
    while at < len(text):
        if text[at] == "$":
            value, length = _variable(text[at:], dialect, variables, depth)
            out, at = out + value, at + length
        else:
            out, at = out + text[at].strip("\"'"), at + 1
    return out


def _brace_length(rest: str) -> int:
    depth = 0
    for index, sign in enumerate(rest):
        depth += (sign == "{") - (sign == "}")
        if sign == "}" and depth == 0:
            return index + 1
    return 0
