"""A report as blocks, independent of how it is shown: terminal text or one HTML page."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

__all__ = [
    "Block",
    "Bullets",
    "Code",
    "Detail",
    "Document",
    "Heading",
    "Paragraph",
    "StatusRow",
    "StatusRows",
    "Table",
    "plain",
    "width_of",
]

# Characters that change how a terminal or a page shows what follows, or that nobody sees: controls, bidirectional marks
# and isolates, zero-width characters, soft hyphens, line and paragraph separators, interlinear marks, halves of
# surrogate pairs, tags (Unicode TR 36, "trojan source").
_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def plain(text: str) -> str:
    """Text from a stranger made safe to show: invisible and control characters become visible escapes, as in JSON."""
    return _INVISIBLE.sub(lambda found: _escaped(found.group(0)), text)


def _escaped(char: str) -> str:
    code = ord(char)
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def width_of(text: str) -> int:
    """Columns that a text takes in a terminal; East Asian wide characters take two (Unicode TR 11)."""
    return sum(
        2 if unicodedata.east_asian_width(char) in "WF" else 0 if unicodedata.combining(char) else 1 for char in text
    )


@dataclass(frozen=True)
class Heading:
    """A section's heading."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Running text; wrapped by the renderer."""

    text: str
    dim: bool = False


@dataclass(frozen=True)
class Bullets:
    """Short items."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Lines to copy, never wrapped."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Detail:
    """A labelled line below a status row; ``code`` keeps it unwrapped."""

    label: str
    text: str
    code: bool = False


@dataclass(frozen=True)
class StatusRow:
    """A verdict, what was judged, what was found, and details."""

    verdict: str
    title: str
    text: str
    details: tuple[Detail, ...] = ()


@dataclass(frozen=True)
class StatusRows:
    """A table of verdicts; ``stacked`` puts each title on a line of its own, for titles of any length."""

    rows: tuple[StatusRow, ...]
    stacked: bool = False


@dataclass(frozen=True)
class Table:
    """A plain table; cells are one line of text each, and wrap."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[int, ...] = ()


Block = Heading | Paragraph | Bullets | Code | StatusRows | Table


@dataclass(frozen=True)
class Document:
    """A titled report."""

    title: str
    subtitle: str
    blocks: tuple[Block, ...]
