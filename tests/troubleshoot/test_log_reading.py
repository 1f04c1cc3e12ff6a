"""A log of any encoding, line end and length becomes clean whole lines, whatever the pieces in which it arrives."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from troubleshoot.reading import HEAD_BYTES, MAX_LINE_BYTES, detect_encoding, read_chunks

CHINESE = "第一行：正在加载模型\n显存不足，无法分配内存\nCUDA out of memory\n"


def cleaned(raw: bytes, chunk_bytes: int = 1 << 20) -> bytes:
    return b"".join(read_chunks(io.BytesIO(raw), chunk_bytes=chunk_bytes))


def lines_of(raw: bytes) -> list[str]:
    return cleaned(raw).decode("utf-8").splitlines()


class DripStream(io.RawIOBase):
    """Gives a few bytes a read, like a pipe."""

    def __init__(self, content: bytes, piece: int) -> None:
        self._content = io.BytesIO(content)
        self._piece = piece

    def read(self, size: int = -1) -> bytes:
        return self._content.read(min(self._piece, size) if size >= 0 else self._piece)


@pytest.mark.parametrize(
    ("encoding", "bom"),
    [
        ("utf-8", b""),
        ("utf-8", b"\xef\xbb\xbf"),
        ("utf-16-le", b"\xff\xfe"),
        ("utf-16-be", b"\xfe\xff"),
        ("gbk", b""),
        ("gb18030", b""),
    ],
)
def test_chinese_logs_are_read_in_every_encoding_that_windows_writes(encoding: str, bom: bytes) -> None:
    assert cleaned(bom + CHINESE.encode(encoding)).decode() == CHINESE


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_known_by_its_zeros(encoding: str) -> None:
    text = "RuntimeError: CUDA error: no kernel image is available\r\nsecond line\r\n"
    assert detect_encoding(text.encode(encoding)) == encoding
    assert cleaned(text.encode(encoding)).decode() == text.replace("\r\n", "\n")


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 5, 1 << 20])
def test_a_character_cut_by_the_border_of_two_chunks_is_whole(chunk_bytes: int) -> None:
    filler = "x" * HEAD_BYTES + "\n"  # beyond what is read first
    for encoding in ("utf-8", "gb18030", "utf-16-le"):
        raw = (CHINESE + filler + CHINESE).encode(encoding)
        assert cleaned(raw, chunk_bytes).decode().endswith(CHINESE)


def test_one_torn_character_does_not_turn_a_utf_8_log_into_gbk() -> None:
    raw = "进度 ████ 完成\n".encode()
    assert detect_encoding(raw * 20 + raw[:-3] + b"x\n") == "utf-8"
    assert "完成" in cleaned(raw * 20 + b"\xe5\x8a torn\n").decode()


def test_a_line_of_the_windows_console_in_gbk_between_utf_8_lines_is_read() -> None:
    raw = "服务启动\n".encode() * 9 + "'sox' 不是内部或外部命令\n".encode("gbk") + "继续\n".encode()
    assert lines_of(raw)[-2:] == ["'sox' 不是内部或外部命令", "继续"]


def test_text_that_is_no_encoding_at_all_is_replaced_and_not_raised() -> None:
    assert lines_of(b"ok\n\xff\xfe\xfd\x80 broken\nstill here\n")[-1] == "still here"
    assert b"after" in cleaned(bytes(range(256)) * 40 + b"\nafter\n")


@pytest.mark.parametrize(
    ("raw", "lines"),
    [
        (b"one\r\ntwo\r\n", ["one", "two"]),
        (b"one\rtwo\rthree\n", ["one", "two", "three"]),
        (
            b" 10%|#   | 1/9\r 50%|##  | 5/9\r100%|####| 9/9\r\ndone\n",
            [" 10%|#   | 1/9", " 50%|##  | 5/9", "100%|####| 9/9", "done"],
        ),
        (b"no end", ["no end"]),
        (b"ends in a bar\r", ["ends in a bar"]),
        (b"\n\nafter empty lines", ["", "", "after empty lines"]),
        (b"", []),
    ],
)
def test_line_ends_of_all_systems_and_of_progress_bars_are_alike(raw: bytes, lines: list[str]) -> None:
    assert lines_of(raw) == lines


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 4, 64])
def test_a_windows_line_end_cut_in_two_is_one_line_end(chunk_bytes: int) -> None:
    head = b"x" * (HEAD_BYTES - 1)
    assert cleaned(head + b"\r\nnext\r\n", chunk_bytes) == head[:MAX_LINE_BYTES] + b" [line cut]\nnext\n"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\x1b[31mred\x1b[0m text", "red text"),
        (b"\x1b[38;2;255;0;0mtrue colour\x1b[m", "true colour"),
        (b"\x1b]0;window title\x07shown", "shown"),
        (b"\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1b[2J\x1b[Hcleared", "cleared"),
        (b"\x1b[1A\x1b[2Kline above rewritten", "line above rewritten"),
        (b"\x1bcreset \x1b7save\x1b8 \x1b(Bcharset \x1b=keypad", "reset save charset keypad"),
        (b"\x1bP1$r0m\x1b\\device \x1b_application\x07string", "device string"),
        (b"bell\x07 back\x08space nul\x00 delete\x7f", "bell backspace nul delete"),
        (b"tab\tstays", "tab\tstays"),
        (b"\x1b", ""),
        (b"\x1b[", ""),
        (b"\x1b[12\x01", "12"),
    ],
)
def test_escape_sequences_and_control_characters_are_stripped(raw: bytes, text: str) -> None:
    assert cleaned(raw + b"\n").decode() == text + "\n"


def test_an_escape_that_is_never_closed_does_not_swallow_the_lines_after_it() -> None:
    assert lines_of(b"\x1b]0;evil\nCUDA out of memory\n") == ["", "CUDA out of memory"]


@pytest.mark.parametrize("extra", [-1, 0, 1, 5_000])
def test_lines_are_cut_at_eight_kilobytes_and_say_so(extra: int) -> None:
    line = b"a" * (MAX_LINE_BYTES + extra)
    expected = line if extra <= 0 else line[:MAX_LINE_BYTES] + b" [line cut]"
    assert cleaned(b"before\n" + line + b"\nafter\n") == b"before\n" + expected + b"\nafter\n"


@pytest.mark.parametrize("chunk_bytes", [1_000, 70_000, 1 << 20])
def test_one_endless_line_keeps_its_head_and_the_line_after_it(chunk_bytes: int) -> None:
    raw = b"{" + b"x" * 5_000_000 + b"}\nRuntimeError: late\n"
    assert cleaned(raw, chunk_bytes) == raw[:MAX_LINE_BYTES] + b" [line cut]\nRuntimeError: late\n"


def test_no_more_than_a_few_chunks_are_held() -> None:
    class Endless(io.RawIOBase):
        served = 0

        def read(self, size: int = -1) -> bytes:
            self.served += size
            return b"y" * size if self.served < 300_000_000 else b""

    tracemalloc.start()
    assert len(b"".join(read_chunks(Endless()))) < 2 * MAX_LINE_BYTES  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16_000_000


def test_an_encoding_that_is_given_is_not_guessed() -> None:
    raw = b"a\0b\0c\0d\0\n"
    assert b"".join(read_chunks(io.BytesIO(raw), encoding="utf-8")) == b"abcd\n"


def detection_cases() -> Iterator[tuple[bytes, str]]:
    yield b"", "utf-8"
    yield b"plain ascii\n", "utf-8"
    yield "ünïcode ✓\n".encode(), "utf-8"
    yield b"\xef\xbb\xbfmarked", "utf-8-sig"
    yield b"\xff\xfeh\0i\0", "utf-16-le"
    yield b"\xfe\xff\0h\0i", "utf-16-be"
    yield "显存不足".encode("gbk"), "gb18030"
    yield "显存不足".encode("gbk")[:-1], "gb18030"
    yield "显存不足".encode()[:-1], "utf-8"
    yield bytes(4096), "utf-8"
    yield b"\xff\xff\xff\xff", "utf-8"


@pytest.mark.parametrize(("head", "encoding"), list(detection_cases()))
def test_the_encoding_is_found_from_the_head(head: bytes, encoding: str) -> None:
    assert detect_encoding(head) == encoding


pieces = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.text(max_size=8).map(lambda text: text.encode()),
        st.text(st.sampled_from("显存不足合成abc"), max_size=8).map(lambda text: text.encode("gbk")),
        st.sampled_from([b"\r", b"\n", b"\r\n", b"\x1b[31m", b"\x1b]0;", b"\x07", b"\xef\xbb\xbf", b"\xff\xfe", b"\0"]),
        st.integers(1, 90_000).map(lambda count: b"z" * count),
    ),
    max_size=14,
)


@settings(max_examples=200, deadline=None)
@given(pieces, st.integers(1, 70_000), st.integers(1, 70_000))
def test_any_bytes_give_the_same_clean_lines_in_any_pieces(parts: list[bytes], chunk: int, drip: int) -> None:
    raw = b"".join(parts)
    whole = cleaned(raw)
    assert cleaned(raw, chunk) == whole
    assert b"".join(read_chunks(DripStream(raw, drip), chunk_bytes=chunk)) == whole  # type: ignore[arg-type]
    assert all(chunk.endswith(b"\n") for chunk in read_chunks(io.BytesIO(raw)))
    text = whole.decode("utf-8")
    assert not set(text) & {chr(code) for code in (*range(9), 11, 13, *range(14, 32), 127)}
    assert all(len(line.encode()) <= MAX_LINE_BYTES + 32 for line in text.split("\n"))
