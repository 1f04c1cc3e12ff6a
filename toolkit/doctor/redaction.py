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
# Names that are not private, and would make a report unreadable if they were replaced everywhere.
_COMMON_NAMES = frozenset(
    "admin administrator azureuser debian default docker ec2-user home jovyan localhost pi python root runner torch "
    "ubuntu user".split()
)


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
    # Loopback, unspecified and netmasks say how a service is bound, which is what a diagnosis needs; versions of four
    # numbers with a small first part (1.2.3.4) are rare enough to lose.
    if any(part > 255 for part in parts) or parts[0] in (0, 127, 255):
        return match.group(0)
    return "<ip>"


def _public_address_6(match: re.Match[str]) -> str:
    text = match.group(0)
    return text if text in ("::1", "::") or text.count(":") < 3 else "<ip6>"


# Words that stand before a secret.
_NAMES = r"(?:api[_-]?key|apikey|secret|token|passw(?:or)?d|passwd|auth|credential|access[_-]?key)"
_RULES = (
    _Rule(
        "private key",
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL),
        "<private key>",
    ),
    _Rule("url credentials", re.compile(r"(?<=://)[^\s/@:]{1,256}:[^\s/@]{1,256}(?=@)"), "<credentials>"),
    _Rule("bearer token", re.compile(r"(?i)(?<=bearer )\s*(?!<)[\w.~+/=-]{8,}"), "<token>"),
    _Rule(
        "known token",
        re.compile(
            r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
            r"|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}"
            r"|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|ms-[0-9a-f]{8}-[0-9a-f-]{27}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,})"
        ),
        "<token>",
    ),
    _Rule(
        "named secret",
        re.compile(
            rf"(?i)(\b[\w-]*{_NAMES}[\w-]*[\"']?\s*[=:]\s*[\"']?)"
            r"(?!<|true\b|false\b|none\b|null\b|\d{1,7}\b)([^\s\"',;&}\])<]{4,})"
        ),
        lambda m: m.group(1) + "<secret>",
    ),
    _Rule(
        "secret parameter",
        re.compile(rf"(?i)([?&][\w-]*{_NAMES}[\w-]*=)(?!<)([^\s&#\"'<]+)"),
        lambda m: m.group(1) + "<secret>",
    ),
    _Rule("e-mail address", re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+\b"), "<e-mail>"),
    _Rule("card identity", re.compile(r"\b(?:GPU|MIG)-[0-9a-fA-F]{8}-[0-9a-fA-F-]{20,}\b"), "<gpu-id>"),
    _Rule("hardware address", re.compile(r"\b(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\b"), "<mac>"),
    _Rule("ip address", re.compile(r"(?<![\d.+])\d{1,3}(?:\.\d{1,3}){3}(?![\d.]\d)"), _public_address),
    _Rule(
        "ip6 address", re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])"), _public_address_6
    ),
    _Rule("home folder", re.compile(r"(?i)(?<![\w/])(?:/home|/Users|/export/home)/(?!<)[^/\s\"':;,)\]}>]+"), "~"),
    _Rule(
        "home folder",
        re.compile(r"(?i)\b[A-Z]:[\\/]{1,2}Users[\\/]{1,2}(?!<|Public\b|Default\b)[^\\/\s\"':;,)\]}>]+"),
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
        usable = sorted(
            {name for name in names if len(name) >= _MINIMUM_NAME and name.lower() not in _COMMON_NAMES},
            key=len,
            reverse=True,
        )
        home = str(Path.home()) if self.home is None else self.home
        rules = []
        if len(home) > 4 and home not in ("/root", "/home"):
            rules.append(_Rule("home folder", re.compile(re.escape(home), re.IGNORECASE), "~"))
        rules.extend(_RULES)
        rules.extend(
            _Rule("own name", re.compile(rf"(?i)(?<![\w<-]){re.escape(name)}(?![\w>-])"), "<name>") for name in usable
        )
        self._rules = tuple(rules)

    def text(self, text: str) -> str:
        """Text without what the rules know."""
        for rule in self._rules:
            text = rule.pattern.sub(lambda match, rule=rule: self._replace(rule, match), text)  # type: ignore[misc]
        return text

    def value(self, value: object) -> object:
        """The same for JSON data: texts anywhere inside are redacted, also keys."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value

    def ledger(self) -> tuple[LedgerLine, ...]:
        """What was removed so far, most frequent first."""
        lines = (LedgerLine(name, count, characters) for name, (count, characters) in self._counts.items())
        return tuple(sorted(lines, key=lambda line: (-line.count, line.rule)))

    def _replace(self, rule: _Rule, match: re.Match[str]) -> str:
        found = match.group(0)
        replaced = match.expand(rule.replacement) if isinstance(rule.replacement, str) else rule.replacement(match)
        if replaced != found:
            count, characters = self._counts.get(rule.name, (0, 0))
            self._counts[rule.name] = (count + 1, characters + len(found))
        return replaced


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
