"""Private things taken out of text before it leaves the machine, with a ledger of what was removed."""

from __future__ import annotations

import getpass
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["NOT_REDACTED", "LedgerLine", "Redactor"]

# What a reader has to look at with their own eyes; also shown by `qwen-audio bundle`.
NOT_REDACTED = (
    "the text that was to be spoken, when a log contains it",
    "names of files, folders and projects below the home folder",
    "names of people that are not the user's own account name",
    "secrets in a form that no rule knows",
)
_MINIMUM_NAME = 3
# What one rule puts in can bare the edge that another one needs; two passes settle nearly everything.
_MOST_PASSES = 6
# Account names that are not private, and would make a report unreadable if they were replaced everywhere.
_COMMON_NAMES = frozenset({
    "admin", "administrator", "app", "audio", "azureuser", "container", "cuda", "data", "debian", "default", "demo",
    "dev", "docker", "ec2-user", "gpu", "guest", "home", "host", "jovyan", "lab", "linux", "local", "localhost", "main",
    "model", "models", "nobody", "nvidia", "python", "qwen", "root", "runner", "server", "service", "speech", "system",
    "test", "torch", "ubuntu", "user", "users", "voice", "windows", "work", "www-data",
})  # fmt: skip


@dataclass(frozen=True)
class LedgerLine:
    """One kind of removal: how often, and how many characters."""

    rule: str
    count: int
    characters: int


@dataclass(frozen=True)
class _Rule:
    name: str
    pattern: re.Pattern[str]
    replacement: str | Callable[[re.Match[str]], str]


def _public_address(match: re.Match[str]) -> str:
    parts = [int(part) for part in match.group(0).split(".")]
    # Loopback, unspecified and netmasks say how a service is bound, which is what a diagnosis needs.
    if any(part > 255 for part in parts) or parts[0] in (0, 127, 255):
        return match.group(0)
    # NVIDIA's wheels have versions of four numbers: nvidia-cublas-cu12==12.8.4.1, nvidia_cudnn_cu12-9.10.2.21.
    before = match.string[max(0, match.start() - 80) : match.start()]
    return match.group(0) if _BEFORE_VERSION.search(before) else "<ip>"


def _public_address_6(match: re.Match[str]) -> str:
    text = match.group(0)
    if text in ("::1", "::"):
        return text
    # Times of day have two colons and no empty group; C++ scopes (::add) have no digit.
    is_address = ("::" in text and any(char.isdigit() for char in text)) or text.count(":") >= 6
    return "<ip6>" if is_address else text


_BEFORE_VERSION = re.compile(r"(?i)(?:[=~<>!]=|version:?|\bv|[_-]cu\d\d(?:[-_ ]|==)|nvidia[\w-]* +|[a-z]-)\s*$")
_WORD = (
    r"(?:api[_-]?key|secret|passw(?:or)?d|passphrase|credentials?|access[_-]?key|private[_-]?key|auth[_-]?key|token|auth"
    r"|cookie)(?:[_-]?(?:key|value|hash))?"
)
_SENSITIVE_KEY = re.compile(rf"(?i)[\w-]*{_WORD}")
# What stands behind a secret's name and is none: a placeholder, a switch, a number as in pad_token=151643, a list.
_HARMLESS = r"(?![<\[({]|(?:true|false|none|null)\b|\d{1,7}\b)"
_RULES = (
    _Rule(
        "private key",
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        "<private key>",
    ),
    _Rule("url credentials", re.compile(r"(?<=://)[^\s/\"'<>]{1,512}(?=@)"), "<credentials>"),
    _Rule("bearer token", re.compile(r"(?i)(\bbearer\s+)(?!<)[\w.~+/=-]{8,}"), lambda m: m.group(1) + "<token>"),
    _Rule(
        "known token",
        re.compile(
            r"(?<![A-Za-z])(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
            r"|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}|nvapi-[\w-]{20,}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{20,}"
            r"|r8_[A-Za-z0-9]{20,}|gsk_[A-Za-z0-9]{20,}|(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{30,}"
            r"|ms-[0-9a-f]{8}-[0-9a-f-]{27}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,})"
        ),
        "<token>",
    ),
    _Rule(
        "named secret",
        re.compile(
            rf"(?i)((?<![A-Za-z0-9])[\w-]*{_WORD}[\"']?\s*(?:=|:)\s*){_HARMLESS}"
            r"(?:(\"|')(?![<\[({])[^\"'\n]+\2|[^\s\"',;&})\]<>]{3,})"
        ),
        lambda m: m.group(1) + (m.group(2) or "") + "<secret>" + (m.group(2) or ""),
    ),
    _Rule(
        "named secret",
        re.compile(
            rf"(?i)(\bauthorization[\"']?\s*[=:]\s*[\"']?(?:[a-z]+ +)?)(?![a-z]+ +<){_HARMLESS}[^\s\"',;<>]{{3,}}"
        ),
        lambda m: m.group(1) + "<secret>",
    ),
    _Rule(
        "named secret",
        re.compile(rf"(?i)((?<!\w)--?[\w-]*{_WORD}\s+){_HARMLESS}(?!-)[^\s\"',;<>]{{3,}}"),
        lambda m: m.group(1) + "<secret>",
    ),
    _Rule("e-mail address", re.compile(r"\b[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}\b"), "<e-mail>"),
    _Rule("card identity", re.compile(r"\b(?:GPU|MIG)-[0-9a-fA-F]{8}-[0-9a-fA-F-]{20,}\b"), "<gpu-id>"),
    _Rule("hardware address", re.compile(r"\b(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\b"), "<mac>"),
    _Rule("ip address", re.compile(r"(?<![\d.+])\d{1,3}(?:\.\d{1,3}){3}(?![\d.]\d)"), _public_address),
    _Rule(
        "ip6 address", re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])"), _public_address_6
    ),
    _Rule(
        "home folder",
        # Also below the drives of WSL and Git Bash, in file URLs, and as Windows shows a distribution's files.
        re.compile(
            r"(?i)(?:(?:/mnt|/cygdrive)?/[a-z]/Users|(?<![\w/~])/Users|(?<![\w/~])/home|(?<=file://)/(?:home|Users)|/export/home"
            r"|(?<=[\\/])(?:wsl\$|wsl\.localhost)[\\/]+[\w.-]+[\\/]+home)"
            r"[\\/]+(?!<)[^\\/\s\"':;,)\]}>]+"
        ),
        "~",
    ),
    _Rule(
        "home folder",
        # Account names of Windows may hold spaces; they belong to the name when a separator follows.
        re.compile(
            r"(?i)(?<![A-Za-z0-9])[A-Z]:[\\/]{1,2}Users[\\/]{1,2}(?!<|Public\b|Default\b|All Users\b)"
            r"(?:[^\\/\s\"':;,)\]}>]+(?: [^\\/\s\"':;,)\]}>]+){1,3}(?=[\\/])|[^\\/\s\"':;,)\]}>]+)"
        ),
        "~",
    ),
)


@dataclass
class Redactor:
    """Redacts any number of texts and keeps one ledger. Redacting twice changes nothing more.

    ``names`` are account and host names to hide wherever they stand as a word; by default those of this machine.
    """

    names: tuple[str, ...] | None = None
    home: str | None = None
    _counts: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = _own_names() if self.names is None else self.names
        usable = {name for name in names if _is_telling(name) and name.lower() not in _COMMON_NAMES}
        home = str(Path.home()) if self.home is None else self.home
        rules = []
        if len(home) > 4 and home not in ("/root", "/home"):
            # JSON writes each backslash of a Windows path twice.
            parts = [re.escape(part) for part in re.split(r"[\\/]", home)]
            rules.append(_Rule("home folder", re.compile(r"[\\/]{1,2}".join(parts) + r"(?![\w-])", re.IGNORECASE), "~"))
        rules.extend(_RULES)
        rules.extend(_own_name(name) for name in sorted(usable, key=lambda name: (-len(name), name)))
        self._rules = tuple(rules)

    def text(self, text: str) -> str:
        """Text without what the rules know."""
        for _ in range(_MOST_PASSES):
            before = text
            for rule in self._rules:
                text = rule.pattern.sub(lambda match, rule=rule: self._replace(rule, match), text)  # type: ignore[misc]
            if text == before:
                break
        return text

    def value(self, value: object) -> object:
        """The same for JSON data: texts anywhere inside are redacted, also keys."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._named(str(key), item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value

    def _named(self, key: str, value: object) -> object:
        if isinstance(value, str) and value and _SENSITIVE_KEY.fullmatch(key) and not value.startswith("<"):
            self._count("named secret", len(value))
            return "<secret>"
        return self.value(value)

    def ledger(self) -> tuple[LedgerLine, ...]:
        """What was removed so far, most frequent first."""
        lines = (LedgerLine(name, count, characters) for name, (count, characters) in self._counts.items())
        return tuple(sorted(lines, key=lambda line: (-line.count, line.rule)))

    def _replace(self, rule: _Rule, match: re.Match[str]) -> str:
        found = match.group(0)
        replaced = match.expand(rule.replacement) if isinstance(rule.replacement, str) else rule.replacement(match)
        if replaced != found:
            self._count(rule.name, len(found))
        return replaced

    def _count(self, rule: str, characters: int) -> None:
        count, before = self._counts.get(rule, (0, 0))
        self._counts[rule] = (count + 1, before + characters)


def _is_telling(name: str) -> bool:
    # A short Latin word would be found inside the language itself; two Chinese characters are a whole name.
    return len(name) >= (_MINIMUM_NAME if name.isascii() else 2)


def _own_name(name: str) -> _Rule:
    """A name as a word of its own, also next to ``_`` and ``-``; placeholders of other rules are left alone."""
    edges = (r"(?<![^\W_])", r"(?![^\W_])") if name.isascii() else ("", "")
    pattern = re.compile(rf"(?i)<[a-z][a-z0-9 -]*>|{edges[0]}{re.escape(name)}{edges[1]}")
    return _Rule("own name", pattern, lambda m: m.group(0) if m.group(0).startswith("<") else "<name>")


def _own_names() -> tuple[str, ...]:
    names = {
        os.environ.get("USER", ""),
        os.environ.get("USERNAME", ""),
        os.environ.get("LOGNAME", ""),
        Path.home().name,
    }
    try:
        names.add(getpass.getuser())
    except (KeyError, OSError):  # no account entry, as in some containers
        names.discard("")
    names.add(socket.gethostname().split(".")[0])
    return tuple(name for name in names if name)
