"""The scanner finds what a plain search finds, whatever the size, encoding and pieces of a log, in bounded memory."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from troubleshoot import scanner
from troubleshoot.errors import UsageError
from troubleshoot.rule import compile_pattern
from troubleshoot.scanner import MAX_HITS_A_PATTERN, Hit, PatternSet, ScanResult, scan_path, scan_stream, scan_text

ROOT = Path(__file__).parents[2]
PATTERNS = (
    "CUDA out of memory",
    r"Torch not compiled with CUDA enabled",
    r"port \d+ is (taken|in use)",
    r"vllm(?s:.{0,200})gave up",
    r"^start of line",
    r"end of line$",
    r"显存不足",
    r"loss\W{1,4}nan\b",
)
FRAGMENTS = (
    "CUDA out of memory", "cuda  OUT of", "memory", "Torch not compiled", "with CUDA enabled", "port 80 is in use",
    "port x", "vllm", "gave up", "start of line", "end of line", "显存不足", "loss = nan", "loss: 0.1 nan",
    "RuntimeError: x", "plain words", "", "INFO ok", "x" * 300, "█" * 40,
)  # fmt: skip


def scan(text: str, *patterns: str) -> ScanResult:
    return scan_text(text, PatternSet(patterns))


def found(result: ScanResult) -> list[tuple[int, int]]:
    return [(hit.pattern, hit.line) for hit in result.hits]


def test_a_hit_carries_its_pattern_its_line_and_the_line_itself() -> None:
    result = scan("first\n  torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB\n", "absent", "out of memory")
    assert result.hits == (Hit(1, 2, "torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB"),)
    assert result.lines == 2


def test_case_and_the_kind_of_white_space_do_not_matter() -> None:
    for text in ("cuda OUT of MEMORY", "CUDA out\nof memory", "CUDA\tout of\r\n    memory", "CUDA  out   of memory"):
        assert found(scan(text, "CUDA out of memory")) == [(0, 1)]


def test_line_ends_are_anchors() -> None:
    result = scan("a start\nstart here\nthe end\nend of it\n", "^start", "end$")
    assert found(result) == [(0, 2), (1, 3)]


def test_a_match_that_begins_with_the_line_end_before_it_counts_for_its_own_line() -> None:
    assert found(scan("one\n two three\n", " two")) == [(0, 2)]


def test_each_line_counts_once_and_hits_come_in_order() -> None:
    result = scan("b a a\na\nb\n", "a", "b")
    assert found(result) == [(0, 1), (1, 1), (0, 2), (1, 3)]


def test_a_pattern_that_is_everywhere_is_kept_twelve_times_and_hides_no_other() -> None:
    text = "noise\n" * 50_000 + "signal\n" + "noise\n" * 50_000
    result = scan(text, "noise", "signal")
    assert [hit.line for hit in result.hits if hit.pattern == 0] == list(range(1, MAX_HITS_A_PATTERN + 1))
    assert [hit.line for hit in result.hits if hit.pattern == 1] == [50_001]
    assert result.lines == 100_001


@pytest.mark.parametrize("before", [0, 1, 7, 30, 32, 40, 500, 3_000])
def test_a_wrapped_message_on_the_border_of_two_windows_is_found_once(before: int) -> None:
    filler = ("x" * 99 + "\n") * 1_000
    place = scanner._WINDOW_BYTES // 100 * 100 - before
    text = filler[:place] + "\nCUDA out\nof memory\n" + filler
    assert found(scan(text, "CUDA out of memory")) == [(0, text[:place].count("\n") + 2)]


def test_exceptions_are_listed_from_the_first_on() -> None:
    text = "ok\nValueError: a\nnot an error here\ntorch.cuda.OutOfMemoryError: b\nRuntimeError (c)\nSystemExit: 1\n"
    result = scan(text)
    assert [hit.line for hit in result.exceptions] == [2, 4, 5, 6]
    assert result.first_exception_line == 2
    assert scan("nothing\n").first_exception_line is None


def test_each_kind_of_interesting_line_has_its_own_share() -> None:
    paths = "".join(f"/usr/lib/python3/site-packages/module_{number}.py\n" for number in range(200))
    result = scan(paths + "found version 11040\nNVIDIA GeForce RTX 3060 with CUDA capability sm_86\n")
    assert len(result.interesting) == MAX_HITS_A_PATTERN + 2
    assert result.interesting[-2:] == ("found version 11040", "NVIDIA GeForce RTX 3060 with CUDA capability sm_86")


def test_what_steers_a_terminal_does_not_survive_in_quotes() -> None:
    text = "\x1b]0;pwned\x07\x1b[31mRuntimeError\x1b[0m: \u202eevil\u2066 \x9b2J bell\x07 zero\u200bwidth e\u0301"
    quote = scan(text + " half\ud800\n", "RuntimeError").hits[0].quote
    assert quote == "RuntimeError: evil 2J bell zerowidth e\u0301 half?"
    assert quote.isprintable()


@pytest.mark.parametrize("place", [0, 100, 3_000, 7_900])
def test_a_long_line_is_quoted_around_what_matched(place: int) -> None:
    quote = scan("y" * place + " CUDA out of memory " + "z" * 9_000, "CUDA out of memory").hits[0].quote
    assert "CUDA out of memory" in quote
    assert len(quote) <= 241


def test_what_stands_beyond_eight_kilobytes_of_a_line_is_not_looked_at() -> None:
    assert scan("y" * 9_000 + " CUDA out of memory\nCUDA out of memory\n", "CUDA out of memory").hits[0].line == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gbk"])
def test_a_file_of_any_encoding_is_scanned(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "run.log"
    path.write_bytes("启动成功\r\nCUDA out of memory\r\n显存不足\r\n".encode(encoding))
    result = scan_path(path, PatternSet(PATTERNS))
    assert found(result) == [(0, 2), (6, 3)]
    assert result.hits[1].quote == "显存不足"


def test_hits_between_binary_junk_are_found() -> None:
    junk = random.Random(4).randbytes(200_000)
    raw = junk + b"\nCUDA out of memory\n" + junk
    assert [hit.pattern for hit in scan_stream(io.BytesIO(raw), PatternSet(PATTERNS[:1])).hits] == [0]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.log", tmp_path):
        with pytest.raises(UsageError, match=f"cannot read the log {path}"):
            scan_path(path, PatternSet(()))


def test_an_empty_log_and_an_empty_set_of_patterns_are_fine() -> None:
    assert scan("", "a") == ScanResult((), (), (), 0, 0)
    assert scan("some text\n").hits == ()


def test_patterns_match_like_single_ones_do() -> None:
    patterns = PatternSet(PATTERNS)
    for fragment in FRAGMENTS:
        data = (fragment + "\n").encode()
        expected = [index for index, pattern in enumerate(PATTERNS) if compile_pattern(pattern).search(data)]
        assert [index for index in patterns.matching(data) if index < len(PATTERNS)] == expected


def test_a_catastrophic_pattern_takes_linear_time() -> None:
    text = ("a" * 5_000 + "!\n") * 40
    started = time.perf_counter()
    assert scan(text, "(a+)+$", r"(a|aa)+\z", "(.*)*x").hits == ()
    assert time.perf_counter() - started < 5


# ---- twins: fast paths against the plain way ----------------------------------------------------------------------


def plain_hits(text: str, patterns: tuple[str, ...]) -> list[tuple[int, int]]:
    """Lines on which a match starts, one pattern after the other over the whole text."""
    data = text.encode()
    hits = []
    for index, pattern in enumerate(patterns):
        position, lines = 0, []
        while len(lines) < MAX_HITS_A_PATTERN and (match := compile_pattern(pattern).search(data, position)):
            lines.append(data.count(b"\n", 0, match.start()) + 1)
            position = (data.find(b"\n", match.start()) + 1) or len(data)
        hits += [(index, line) for line in lines]
    return sorted(hits, key=lambda hit: (hit[1], hit[0]))


logs = st.lists(st.lists(st.sampled_from(FRAGMENTS), max_size=4).map(" ".join), max_size=120).map("\n".join)


@pytest.fixture(scope="module")
def small_windows() -> Iterator[None]:
    """Windows as small as lines allow, so that a short log has many borders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanner, "_WINDOW_BYTES", 9 * 1024)
        patch.setattr(scanner, "_LOOKAHEAD_BYTES", 1024)
        yield


@pytest.mark.usefixtures("small_windows")
@settings(max_examples=60, deadline=None)
@given(logs, st.integers(1, 50_000))
def test_windows_and_chunks_change_nothing(text: str, chunk_bytes: int) -> None:
    text = (text + "\n") * 30  # longer than several windows
    result = scan_stream(io.BytesIO(text.encode()), PatternSet(PATTERNS), chunk_bytes=chunk_bytes)
    assert found(result) == plain_hits(text, PATTERNS)
    assert result == scan_stream(io.BytesIO(text.encode()), PatternSet(PATTERNS))
    assert (result.lines, result.bytes_read) == (text.count("\n"), len(text.encode()))


@pytest.mark.usefixtures("small_windows")
@settings(max_examples=40, deadline=None)
@given(logs)
def test_patterns_that_are_searched_for_together_find_the_same(text: str) -> None:
    in_vain = "out of memory CUDA, vllm nan loss, torch with CUDA not enabled compiled\n"
    text = in_vain * 200 + (text + "\n" + in_vain) * 30
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanner, "_VAIN_SEARCHES", 1)
        patch.setattr(scanner, "_WORTH_JOINING", 1)
        patch.setattr(scanner, "_WORTH_LEAVING", 1)
        patch.setattr(scanner, "_PATTERNS_AN_AUTOMATON", 2)
        learning = scanner._Scan(PatternSet(PATTERNS))
        learnt = 0
        for line in text.splitlines(keepends=True):
            learning.feed(line.encode())
            learnt = max(learnt, len(learning._search._automata))
        assert learnt > 1
        assert found(learning.result()) == plain_hits(text, PATTERNS)


def test_two_threads_find_what_one_finds() -> None:
    choose = random.Random(11)
    text = "".join(" ".join(choose.sample(FRAGMENTS, 3)) + "\n" for _ in range(40_000))
    alone = scanner._Scan(PatternSet(PATTERNS))
    alone.feed(text.encode())
    assert scan_stream(io.BytesIO(text.encode()), PatternSet(PATTERNS)) == alone.result()


def test_one_set_of_patterns_serves_many_logs() -> None:
    patterns = PatternSet(PATTERNS)
    first = scan_text("CUDA out of memory\n" * 40, patterns)
    assert scan_text("CUDA out of memory\n" * 40, patterns) == first
    assert len(first.hits) == MAX_HITS_A_PATTERN


def test_a_log_of_64_megabytes_keeps_to_its_share_of_the_budget() -> None:
    # The budget is 20 s and 300 MB for 1 GB. Processor time is what a busy machine changes least; eight times the share
    # of 64 MB leaves room for slow ones.
    command = [sys.executable, str(ROOT / "benchmarks" / "scan_log.py"), "--megabytes", "64"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["hits"] > 1_000
    assert figures["exceptions"] == MAX_HITS_A_PATTERN
    assert figures["cpu_s"] < 8 * 20 * 0.064, figures
    assert figures["peak_rss_mb"] < 300, figures
