"""Each malformed safetensors file has its own name; nothing that lies in a file makes the reader raise or guess."""

from __future__ import annotations

import contextlib
import json
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.probe.safetensors_header import (
    DTYPE_BITS,
    MAX_HEADER_BYTES,
    HeaderError,
    inspect_weights_file,
    parse_header,
)

ROW = {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}


def pack(table: object, data: bytes, length: int | None = None) -> bytes:
    raw = table if isinstance(table, bytes) else json.dumps(table).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def fault_of(folder: Path, content: bytes) -> str | None:
    path = folder / "model.safetensors"
    path.write_bytes(content)
    problem = inspect_weights_file(path).problem
    return problem.name if problem else None


def test_a_whole_file_has_no_problem_and_its_exact_length(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(pack({"__metadata__": {"format": "pt"}, "a": ROW}, bytes(range(1, 13))))
    weights = inspect_weights_file(path)
    assert weights.problem is None
    assert weights.header is not None
    assert weights.expected_bytes == path.stat().st_size
    assert weights.header.tensors[0].shape == (2, 3)
    assert weights.header.tensors[0].element_count == 6


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty", b""),
        ("too-short", b"\x01\x02"),
        ("lfs-pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 3833402552\n"),
        ("html-page", b"<!DOCTYPE html>\n<html><body>403</body></html>"),
        ("html-page", b"\n  <HTML>"),
        ("html-page", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"),
        ("json-page", b'{"error": "Repository not found"}'),
        ("zero-filled", bytes(10_000)),
        ("zip-archive", b"PK\x03\x04" + bytes(range(100))),
        ("pickle", b"\x80\x02}q\x00(X\x01\x00\x00\x00a" + bytes(20)),
        ("pickle", b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00}" + bytes(20)),
        ("gguf", b"GGUF\x03\x00\x00\x00" + bytes(50)),
        ("header-too-large", (MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"{}"),
        ("header-too-large", b"plain text that nobody asked for"),
        ("header-cut", (100).to_bytes(8, "little") + b'{"a":'),
        ("header-not-json", pack(b"[1, 2]", b"")),
        ("header-not-json", pack(b'{"a": ', b"")),
        ("header-not-json", pack(b'{"a": NaN}', b"")),
        ("header-not-json", pack(b'{"a": ' + b"9" * 5000 + b"}", b"")),
        ("header-not-utf8", pack(b'{"\xff\xfe": 1}', b"")),
        ("header-too-deep", pack(b'{"a":' + b"[" * 200_000, b"")),
        ("duplicate-tensor", pack(b'{"a":{},"a":{}}', b"")),
        ("bad-metadata", pack({"__metadata__": {"x": 1}}, b"")),
        ("bad-tensor-entry", pack({"a": [1]}, b"")),
        ("bad-tensor-entry", pack({"a": {**ROW, "extra": 1}}, bytes(12))),
        ("unknown-dtype", pack({"a": {**ROW, "dtype": "Q4"}}, bytes(12))),
        ("bad-shape", pack({"a": {**ROW, "shape": [2, -3]}}, bytes(12))),
        ("bad-shape", pack({"a": {**ROW, "shape": [2, 3.0]}}, bytes(12))),
        ("bad-shape", pack({"a": {**ROW, "shape": [True, 6]}}, bytes(12))),
        ("bad-offsets", pack({"a": {**ROW, "data_offsets": [12, 0]}}, bytes(12))),
        ("bad-offsets", pack({"a": {**ROW, "data_offsets": [0]}}, bytes(12))),
        ("bad-offsets", pack({"a": {**ROW, "data_offsets": [-12, 0]}}, bytes(12))),
        ("shape-overflow", pack({"a": {**ROW, "shape": [1 << 40, 1 << 40]}}, bytes(12))),
        ("size-mismatch", pack({"a": {**ROW, "shape": [2, 4]}}, bytes(12))),
        ("hole", pack({"a": {**ROW, "data_offsets": [4, 16]}}, bytes(16))),
        ("overlap", pack({"a": ROW, "b": {**ROW, "data_offsets": [6, 18]}}, bytes(18))),
        ("truncated", pack({"a": ROW}, bytes(11))),
        ("trailing-bytes", pack({"a": ROW}, bytes(13))),
    ],
)
def test_each_malformed_file_has_its_own_name(tmp_path: Path, name: str, content: bytes) -> None:
    assert fault_of(tmp_path, content) == name


def test_a_cut_at_every_boundary_is_noticed(tmp_path: Path) -> None:
    whole = pack({"a": ROW, "b": {"dtype": "F32", "shape": [], "data_offsets": [12, 16]}}, bytes(range(1, 17)))
    faults = [fault_of(tmp_path, whole[:length]) for length in range(len(whole))]
    assert faults[0] == "empty"
    assert set(faults[1:8]) == {"too-short"}
    assert set(faults[8 : len(whole) - 16]) == {"header-cut"}
    assert set(faults[len(whole) - 16 :]) == {"truncated"}
    assert fault_of(tmp_path, whole) is None


def test_the_sentence_says_how_much_is_there(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(pack({"a": ROW}, bytes(3)))
    problem = inspect_weights_file(path).problem
    assert problem is not None
    assert problem.expected_bytes == path.stat().st_size + 9
    assert f"{path.stat().st_size} of {path.stat().st_size + 9} bytes" in problem.sentence


def test_a_pointer_tells_the_size_of_the_real_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3833402552\n")
    assert inspect_weights_file(path).expected_bytes == 3_833_402_552


def test_zeros_behind_a_good_header_are_noticed(tmp_path: Path) -> None:
    size = 4 << 20
    table = {"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    assert fault_of(tmp_path, pack(table, b"\x07" * size)) is None
    assert fault_of(tmp_path, pack(table, b"\x07" * (size // 2) + bytes(size // 2))) == "zero-filled"
    assert fault_of(tmp_path, pack(table, b"\x07" * (size - 4096) + bytes(4096))) is None


def test_a_header_of_640_bytes_is_not_taken_for_a_pickle(tmp_path: Path) -> None:
    raw = json.dumps({"a": ROW}).encode().ljust(640)
    assert pack(raw, b"")[:2] == b"\x80\x02"
    assert fault_of(tmp_path, pack(raw, bytes(range(12)))) is None


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (tmp_path, loop, tmp_path / "absent", Path("bad\0name")):
        problem = inspect_weights_file(path).problem
        assert problem is not None
        assert problem.name in ("directory", "unreadable")


NAMES = st.text(string.ascii_letters + "._", min_size=1, max_size=12)


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, object], int]:
    """A valid table and the number of data bytes that belong to it."""
    position = 0
    table: dict[str, object] = {}
    for name in draw(st.lists(NAMES, unique=True, max_size=6)):
        dtype = draw(st.sampled_from([name for name, bits in DTYPE_BITS.items() if bits % 8 == 0]))
        shape = draw(st.lists(st.integers(0, 5), max_size=4))
        count = DTYPE_BITS[dtype] // 8
        for size in shape:
            count *= size
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + count]}
        position += count
    return table, position


@settings(deadline=None)
@given(tables())
def test_every_valid_table_is_read_back(drawn: tuple[dict[str, object], int]) -> None:
    table, data_bytes = drawn
    raw = json.dumps(table).encode()
    header = parse_header(raw)
    assert header.file_bytes == 8 + len(raw) + data_bytes
    assert {tensor.name for tensor in header.tensors} == set(table)


@settings(deadline=None)
@given(tables(), st.data())
def test_a_moved_offset_never_passes(drawn: tuple[dict[str, object], int], data: st.DataObject) -> None:
    table, _ = drawn
    rows = {name: row for name, row in table.items() if isinstance(row, dict)}
    if not rows:
        return
    name = data.draw(st.sampled_from(sorted(rows)))
    start, stop = rows[name]["data_offsets"]
    shift = data.draw(st.integers(1, 9))
    rows[name]["data_offsets"] = data.draw(st.sampled_from([[start, stop + shift], [start + shift, stop]]))
    with pytest.raises(HeaderError):
        parse_header(json.dumps(rows).encode())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_a_named_fault(raw: bytes) -> None:
    with contextlib.suppress(HeaderError):
        parse_header(b"{" + raw)
