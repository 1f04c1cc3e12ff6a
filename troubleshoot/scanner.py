"""One pass of RE2 over a log for the patterns of all rules at once."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import re2

from troubleshoot.errors import UsageError
from troubleshoot.reading import CHUNK_BYTES, read_chunks
from troubleshoot.rule import loose, pattern_options, prepared

__all__ = ["MAX_HITS_A_PATTERN", "Hit", "PatternSet", "ScanResult", "scan_path", "scan_stream", "scan_text"]

MAX_HITS_A_PATTERN = 12
# The log is searched in windows that depend on its text alone, not on the pieces in which it arrives. A match has to
# start in the window and may reach as far as the look-ahead, since terminals wrap messages and causes follow traces.
_WINDOW_BYTES = 32 * 1024
_LOOKAHEAD_BYTES = 4 * 1024
_QUOTE_CHARACTERS = 240
_EXCEPTION = r"(?:Error|Exception|Exit|Fault)\b(?::| raised| \()"
# What the extraction of facts wants to read again, line by line; see troubleshoot.extract. Each has its own share of
# hits, so that a hundred lines with a path cannot crowd out the one that names the card.
_INTERESTING = (
    r"CUDA capabilit|with CUDA capability sm_",
    r"found version \d",
    r"total capacity of|memory in use",
    r"\bversions?\b[^\n]{0,80}\d+\.\d+",
    r"(?:torch|transformers|accelerate|numpy|gradio|pydantic|driver)[^\n]{0,24}\d+\.\d+",
    r"RTX|GTX|Tesla|GeForce|Radeon",
    r"site-packages|dist-packages|python_embeded",
    r"Running on|Uvicorn running",
    r"bfloat16|float16|bf16|fp16|Model device",
)
_VAIN_SEARCHES = 16
_PATTERNS_AN_AUTOMATON = 128
_WORTH_JOINING = 8
_WORTH_LEAVING = 16
# RE2 works outside of Python's lock, so that a second core helps; more than two gain little.
_THREADS = 2
_AUTOMATON_BYTES = 16 * 1024 * 1024
_Matches = dict[int, "re2._Match[bytes]"]


@dataclass(frozen=True)
class Hit:
    """A pattern found on a line (counted from 1); ``quote`` is the line, shortened and fit to be shown."""

    pattern: int
    line: int
    quote: str


@dataclass(frozen=True)
class ScanResult:
    """What a scan found. ``lines`` and ``bytes_read`` count the log as it was searched, cleaned and in UTF-8."""

    hits: tuple[Hit, ...]
    exceptions: tuple[Hit, ...]
    interesting: tuple[str, ...]
    lines: int
    bytes_read: int

    @cached_property
    def first_exception_line(self) -> int | None:
        """Line of the first exception headline."""
        return self.exceptions[0].line if self.exceptions else None


class PatternSet:
    """The patterns of all rules, made ready to be searched for together; indexes are those of ``patterns``.

    One automaton looks for the literals of all patterns; only where all literals of a pattern are, it is tried itself.
    (All patterns in one automaton would be simpler, but their gaps such as ``.{0,200}`` multiply its states.)
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        self._exact = [prepared(pattern) for pattern in (*self.patterns, _EXCEPTION, *_INTERESTING)]
        self._filter = re2.Filter()
        for pattern in self._exact:
            self._filter.Add(loose(pattern), pattern_options())
        self._filter.Compile()
        self._loose = [self._filter.re(index) for index in range(len(self._exact))]
        # Most patterns have no long gap, so that their loose form is the pattern itself.
        self._compiled = {index: each for index, each in enumerate(self._loose) if each.pattern == self._exact[index]}

    def matching(self, data: bytes) -> list[int]:
        """Indexes of the patterns that match somewhere; those after the last belong to the scanner itself."""
        return [index for index in self.possible(data) if self.first_match(index, data)]

    def possible(self, data: bytes) -> list[int]:
        """Indexes of the patterns whose literals are all there, in order."""
        return list(self._filter.Match(data, potential=True) or ())

    def first_match(self, index: int, data: bytes) -> re2._Match[bytes] | None:
        """The first match of one pattern. The loose form is tried first, since a long gap makes a search slow."""
        match = self._loose[index].search(data)
        if match is None or self.compiled(index) is self._loose[index]:
            return match
        return self.compiled(index).search(data)

    def compiled(self, index: int) -> re2._Regexp:
        """One pattern on its own."""
        if index not in self._compiled:
            self._compiled[index] = re2.compile(self._exact[index], pattern_options())
        return self._compiled[index]

    def automaton(self, indexes: list[int]) -> re2.Set:
        """One automaton for the loose forms of some patterns; its results are places in ``indexes``."""
        options = pattern_options()
        options.max_mem = _AUTOMATON_BYTES
        automaton = re2.Set.SearchSet(options)
        for index in indexes:
            automaton.Add(self._loose[index].pattern)
        automaton.Compile()
        return automaton


class _Search:
    """The patterns that are still wanted in one log. It learns which of them its lines look like in vain.

    A pattern whose literals are common in the log costs a search of its own in every window. After so many searches in
    vain it is searched for together with others of its kind. What is found does not depend on this.
    """

    def __init__(self, patterns: PatternSet) -> None:
        self._patterns = patterns
        self._vain: Counter[int] = Counter()
        self._automata: list[tuple[list[int], re2.Set]] = []
        self._joined: frozenset[int] = frozenset()
        self.full: set[int] = set()

    def first_matches(self, window: bytes) -> _Matches:
        """The first match of each wanted pattern in a window."""
        possible = [index for index in self._patterns.possible(window) if index not in self.full]
        asked = self._joined.intersection(possible)
        found: _Matches = {}
        for index in possible:
            if index in asked:
                continue
            if match := self._patterns.first_match(index, window):
                found[index] = match
            else:
                self._vain[index] += 1
        for members, automaton in self._automata:
            if asked.isdisjoint(members):
                continue
            for place in automaton.Match(window) or ():
                index = members[place]
                if index in asked and (match := self._patterns.compiled(index).search(window)):
                    found[index] = match
        return found

    def learn(self) -> None:
        """Arrange the patterns anew when that has become worth while. Not to be called during a search."""
        often = {index for index, count in self._vain.items() if count >= _VAIN_SEARCHES} - self.full
        if len(often - self._joined) < _WORTH_JOINING and len(self._joined & self.full) < _WORTH_LEAVING:
            return
        members = sorted(often)
        groups = [
            members[start : start + _PATTERNS_AN_AUTOMATON] for start in range(0, len(members), _PATTERNS_AN_AUTOMATON)
        ]
        self._automata = [(group, self._patterns.automaton(group)) for group in groups]
        self._joined = frozenset(members)


def scan_text(text: str, patterns: PatternSet) -> ScanResult:
    """Scan text that is already in memory."""
    scan = _Scan(patterns)
    for chunk in read_chunks(io.BytesIO(text.encode("utf-8", "replace")), encoding="utf-8"):
        scan.feed(chunk)
    return scan.result()


def scan_path(path: Path, patterns: PatternSet) -> ScanResult:
    """Scan a file of any size. Raises UsageError when it cannot be read."""
    try:
        with path.open("rb") as stream:
            return scan_stream(stream, patterns)
    except OSError as error:
        raise UsageError(f"cannot read the log {path}: {error.strerror or error}") from None


def scan_stream(stream: BinaryIO, patterns: PatternSet, *, chunk_bytes: int = CHUNK_BYTES) -> ScanResult:
    """Scan a stream in chunks; memory does not grow with the length of the log, and the result not with the chunks."""
    with ThreadPoolExecutor(_THREADS) as pool:
        scan = _Scan(patterns, pool)
        for chunk in read_chunks(stream, chunk_bytes=chunk_bytes):
            scan.feed(chunk)
        return scan.result()


class _Scan:
    def __init__(self, patterns: PatternSet, pool: Executor | None = None) -> None:
        self._patterns = patterns
        self._search = _Search(patterns)
        self._pool = pool
        self._hits: dict[int, list[Hit]] = {}
        self._buffer = b""
        self._lines = 0
        self._bytes = 0

    def feed(self, chunk: bytes) -> None:
        """Take whole lines; what is not yet followed by enough text waits in the buffer."""
        self._buffer += chunk
        self._search_windows(_WINDOW_BYTES + _LOOKAHEAD_BYTES)

    def _search_windows(self, least: int) -> None:
        windows: list[bytes] = []
        sizes: list[int] = []
        start = 0
        while len(self._buffer) - start >= least:
            end = self._buffer.rfind(b"\n", start, start + _WINDOW_BYTES) + 1
            windows.append(self._buffer[start : end + _LOOKAHEAD_BYTES])
            sizes.append(end - start)
            start = end
        self._buffer = self._buffer[start:]
        for window, size, matches in zip(windows, sizes, self._first_matches(windows), strict=True):
            for index, match in matches.items():
                if index not in self._search.full:
                    self._locate(index, match, window, size)
            self._lines += window.count(b"\n", 0, size)
            self._bytes += size
        self._search.learn()

    def _first_matches(self, windows: list[bytes]) -> Iterable[_Matches]:
        search = self._search.first_matches
        if self._pool is None or len(windows) < 2 * _THREADS:
            return [search(window) for window in windows]
        share = -(-len(windows) // _THREADS)
        parts = [windows[start : start + share] for start in range(0, len(windows), share)]
        return [
            found for part in self._pool.map(lambda part: [search(window) for window in part], parts) for found in part
        ]

    def _locate(self, index: int, first: re2._Match[bytes], window: bytes, size: int) -> None:
        pattern = self._patterns.compiled(index)
        match: re2._Match[bytes] | None = first
        while match is not None and (start := match.start()) < size:
            while window[start : start + 1].isspace():
                start += 1
            found = self._hits.setdefault(index, [])
            line = self._lines + window.count(b"\n", 0, start) + 1
            if not found or found[-1].line < line:
                found.append(Hit(index, line, _line_at(window, start, match.end())))
            if len(found) >= MAX_HITS_A_PATTERN:
                self._search.full.add(index)
                return
            match = pattern.search(window, window.find(b"\n", start) + 1 or len(window))

    def result(self) -> ScanResult:
        """Search what is left, and sum up."""
        self._search_windows(1)
        count = len(self._patterns.patterns)
        every = (hit for found in self._hits.values() for hit in found)
        by_place = sorted(every, key=lambda hit: (hit.line, hit.pattern))
        return ScanResult(
            hits=tuple(hit for hit in by_place if hit.pattern < count),
            exceptions=tuple(hit for hit in by_place if hit.pattern == count),
            interesting=tuple(dict.fromkeys(hit.quote for hit in by_place if hit.pattern > count)),
            lines=self._lines,
            bytes_read=self._bytes,
        )


def _line_at(data: bytes, start: int, end: int) -> str:
    left = data.rfind(b"\n", 0, start) + 1
    right = data.find(b"\n", max(end - 1, left))
    before = _shown(data[left:start])
    text = before + _shown(data[start : right if right >= 0 else len(data)])
    text = text.strip()
    if len(text) <= _QUOTE_CHARACTERS:
        return text
    # Keep the part that matched in sight.
    middle = len(before.lstrip())
    if middle < _QUOTE_CHARACTERS - 80:
        return text[: _QUOTE_CHARACTERS - 1] + "…"
    return "…" + text[middle - 40 : middle - 42 + _QUOTE_CHARACTERS] + "…"


def _shown(data: bytes) -> str:
    # Marks that steer a terminal or turn the direction of writing must not reach a report.
    text = data.decode("utf-8", "replace")
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char.isspace() else "" for char in text)
