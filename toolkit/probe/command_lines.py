"""Takes command lines out of start scripts: shell, cmd, PowerShell, Procfile, systemd, Dockerfile and compose files.

Nothing is run. Quotes, line continuations, comments and variables with defaults are understood as far as a command line
with options needs it; a variable that the file does not set stays in the word as it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.probe.finding import read_bounded
from toolkit.probe.plain_yaml import load_plain_yaml
from toolkit.probe.words import Dialect, assignment, split_commands

__all__ = ["CommandLine", "dialect_of", "read_command_lines"]

_BIND = re.compile(r"^(?P<host>\[[0-9a-fA-F:]+\]|[^:]*):(?P<port>.+)$")
_SET = re.compile(r'\bset\s+"?([A-Za-z_]\w*)=([^"\r\n&|]*)"?', re.IGNORECASE)
_PROCFILE_LINE = re.compile(r"^[A-Za-z][\w-]*:\s*")
_LAUNCHER = re.compile(
    r"(python[\d.]*w?|py|uvicorn|gunicorn|hypercorn|flask|fastapi|streamlit|torchrun|accelerate|"
    r"qwen-tts-demo|vllm|vllm-omni)(\.exe)?",
    re.IGNORECASE,
)
_INSTALLERS = frozenset({"pip", "venv", "ensurepip", "virtualenv", "compileall", "build"})


@dataclass(frozen=True)
class CommandLine:
    """One command with its words, variables replaced where the file sets them."""

    file: str
    line: int
    words: tuple[str, ...]
    is_published_port: bool = False  # not a command: the one word is a port mapping of a compose file

    def option(self, *names: str) -> str | None:
        """Value of the last of these options (``--port 5000`` or ``--port=5000``); None when none is given."""
        value = None
        for index, word in enumerate(self.words):
            name, equals, inline = word.partition("=")
            if name in names and equals:
                value = inline
            elif word in names:
                following = self.words[index + 1] if index + 1 < len(self.words) else ""
                value = "" if following.startswith("--") else following
        return value

    def has_option(self, *names: str) -> bool:
        return any(word.partition("=")[0] in names for word in self.words)

    @property
    def program(self) -> str | None:
        """Name of the server or interpreter that the command starts, such as ``python`` or ``uvicorn``."""
        for index, word in enumerate(self.words):
            name = re.split(r"[/\\]", word)[-1]
            if not _LAUNCHER.fullmatch(name):
                continue
            name = re.sub(r"\.exe$", "", name.lower())
            following = self.words[index + 1 :]
            if not re.fullmatch(r"python[\d.]*w?|py", name):
                return name
            module = following[following.index("-m") + 1] if "-m" in following[:-1] else None
            if module in _INSTALLERS:
                return None
            if module and _LAUNCHER.fullmatch(module):
                return module
            return "python" if module or any(part.endswith(".py") for part in following) else None
        return None

    @property
    def script(self) -> str | None:
        """The first word that names a Python file."""
        return next((word for word in self.words if word.endswith(".py")), None)

    def bound(self) -> tuple[str | None, str | None]:
        """Host and port of ``--bind HOST:PORT`` or ``-b HOST:PORT``."""
        found = _BIND.match(self.option("--bind", "-b") or "")
        return (found["host"].strip("[]") or None, found["port"]) if found else (None, None)


def dialect_of(path: Path) -> str | None:
    """How a start script is written, by its name; None when the file is not a start script."""
    name, suffix = path.name.lower(), path.suffix.lower()
    by_suffix = {".sh": "sh", ".bash": "sh", ".bat": "cmd", ".cmd": "cmd", ".ps1": "powershell", ".service": "systemd"}
    if suffix in by_suffix:
        return by_suffix[suffix]
    if name == "procfile":
        return "procfile"
    if name == "dockerfile":
        return "dockerfile"
    return "compose" if re.fullmatch(r"(docker-)?compose([.-][\w.-]+)?\.ya?ml", name) else None


def read_command_lines(path: Path, name: str) -> list[CommandLine]:
    """All commands of a start script; empty when it cannot be read. ``name`` is put into each as ``file``."""
    kind = dialect_of(path)
    if kind == "compose":
        return list(_from_compose(path, name))
    text = read_bounded(path)
    if text is None or kind is None:
        return []
    return list(_from_script(text, name, kind))


def _from_script(text: str, name: str, kind: str) -> Iterator[CommandLine]:
    dialect: Dialect = kind if kind in ("cmd", "powershell") else "sh"  # type: ignore[assignment]
    variables: dict[str, str] = {}
    for number, line in _logical_lines(text, {"cmd": "^", "powershell": "`"}.get(dialect, "\\")):
        if dialect == "cmd":
            if re.match(r"\s*@?(rem\b|::)", line, re.IGNORECASE):
                continue
            for variable, value in _SET.findall(line):
                variables[variable.lower()] = value.strip()
        line, words = _command_part(line, kind, variables)
        if words:
            yield CommandLine(name, number, words)
            continue
        for command in split_commands(line, dialect, variables):
            yield CommandLine(name, number, command)


def _command_part(line: str, kind: str, variables: dict[str, str]) -> tuple[str, tuple[str, ...] | None]:
    """The part of a line that is a shell command, or its words when they are written as a list."""
    if kind == "procfile":
        return _PROCFILE_LINE.sub("", line), None
    if kind == "systemd":
        key, _, rest = line.partition("=")
        if key.strip() == "Environment":
            for words in split_commands(rest, "sh", variables):
                variables.update(pair for word in words if (pair := assignment(word)))
        return (rest.lstrip("@-:+! "), None) if key.strip() == "ExecStart" else ("", None)
    if kind == "dockerfile":
        key, _, rest = line.strip().partition(" ")
        if key.upper() == "ENV":
            return rest, None
        if key.upper() not in ("CMD", "ENTRYPOINT"):
            return "", None
        try:
            listed = json.loads(rest)
        except (ValueError, RecursionError):
            return rest, None
        is_list = isinstance(listed, list) and all(isinstance(word, str) for word in listed)
        return ("", tuple(listed)) if is_list else (rest, None)
    return line, None


def _logical_lines(text: str, continuation: str) -> Iterator[tuple[int, str]]:
    """Lines with their first line's number; a line that ends in the continuation sign goes on in the next."""
    start, held = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        start = start or number
        stripped = line.rstrip()
        if stripped.endswith(continuation) and not stripped.endswith(continuation * 2):
            held += stripped[:-1] + " "
            continue
        yield start, held + line
        start, held = 0, ""
    if held:
        yield start, held


def _from_compose(path: Path, name: str) -> Iterator[CommandLine]:
    data = load_plain_yaml(path)
    services = data.get("services") if isinstance(data, dict) else None
    text = read_bounded(path) or ""
    for service in services.values() if isinstance(services, dict) else ():
        if not isinstance(service, dict):
            continue
        variables = dict(_environment(service.get("environment")))
        words: list[str] = []
        for key in ("entrypoint", "command"):
            value = service.get(key)
            if isinstance(value, str):
                words += [word for command in split_commands(value, "sh", variables) for word in command]
            elif isinstance(value, list):
                words += [word for part in value for word in _quoted_word(str(part), variables)]
        if words:
            yield CommandLine(name, _line_of(text, words), tuple(words))
        ports = service.get("ports")
        for port in ports if isinstance(ports, list) else ():
            yield CommandLine(name, _line_of(text, [str(port)]), (str(port),), is_published_port=True)


def _quoted_word(text: str, variables: dict[str, str]) -> tuple[str, ...]:
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return next(iter(split_commands(quoted, "sh", variables)), ())


def _environment(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        yield from ((str(name), str(setting)) for name, setting in value.items() if setting is not None)
    for item in value if isinstance(value, list) else ():
        if pair := assignment(str(item)):
            yield pair


def _line_of(text: str, words: list[str]) -> int:
    for number, line in enumerate(text.splitlines(), 1):
        if words[-1] in line:
            return number
    return 1
