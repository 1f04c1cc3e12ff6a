"""Bundles: a round trip to another machine, and every zip that must not be unpacked."""

from __future__ import annotations

import io
import json
import stat
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import machine

import toolkit.doctor as room
from toolkit.doctor import bundling
from toolkit.doctor.bundle_view import document_of, to_json
from toolkit.doctor.bundling import Bundle, make_bundle, read_bundle, write_bundle
from toolkit.doctor.inquiry import Inquiry
from toolkit.doctor.redaction import Redactor
from toolkit.doctor.report import build_report
from toolkit.doctor.text import render_text
from toolkit.errors import BadBundle, UsageError
from troubleshoot.evidence import Matcher
from troubleshoot.facts import NA

MANIFEST = {"schema": 1, "kind": "bundle", "created": "2026-11-24T09:30:00Z", "removed": [], "files": {}}
LOG = """\
user ann on ann-laptop, token hf_abcdefghijklmnopqrstuvwx
  File "/home/ann/tts/app.py", line 12, in <module>
RuntimeError: CUDA error: no kernel image is available for execution on the device
"""


PREVIEW = """\
QWEN-AUDIO bundle 0.1.0                                     2026-11-24T09:30:00Z

Contents

file                 bytes
-------------------  -----
facts.json              32
logs/01-service.log     40
words.txt                8

Ledger

removed      times  characters
-----------  -----  ----------
ip address       2          22
home folder      1           9
known token      1          27

Not redacted: look for these yourself

- the text that was to be spoken, when a log contains it
- names of files, folders and projects below the home folder
- names of people that are not the user's own account name
- secrets in a form that no rule knows

Preview only, nothing written.
"""


def entry(name: str, *, mode: int = 0, **fields: object) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (2026, 11, 24, 9, 30, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = mode << 16
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def pack(path: Path, entries: Iterable[tuple[zipfile.ZipInfo | str, bytes]], manifest: object = MANIFEST) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile itself warns of duplicate names
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            if manifest is not None:
                archive.writestr("manifest.json", manifest if isinstance(manifest, bytes) else json.dumps(manifest))
            for info, data in entries:
                archive.writestr(info, data)
    return path


def refused(path: Path) -> str:
    with pytest.raises(BadBundle) as caught:
        read_bundle(path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    return message


@pytest.fixture
def made(tmp_path: Path, wav: Callable[..., Path]) -> Bundle:
    log = tmp_path / "service of ann.log"
    log.write_text(LOG, encoding="utf-8")
    file = machine("rtx-5090-cu121")
    inquiry = Inquiry(
        logs=[str(log)],
        words="since ann put the new card in",
        told={"app": "my service", "hf_token": "secret-value"},
        measured=file.facts,
        audio=[wav("ann.wav", 0)],
    )
    doctor = build_report(room.matcher_of(), file).to_json()
    return make_bundle(
        inquiry, inquiry.measure_audio(), doctor, Redactor(names=("ann", "ann-laptop"), home="/home/ann")
    )


def test_a_bundle_is_diagnosed_on_another_machine(made: Bundle, tmp_path: Path, small: Matcher) -> None:
    path = tmp_path / "bundle.zip"
    write_bundle(made, path)
    read = read_bundle(path)
    assert (read.texts, read.ledger, read.created) == (made.texts, made.ledger, made.created)
    case = read.inquiry().case(small)
    assert case.facts["torch.arch_has_card"] is False
    assert case.facts["driver.cuda"] == "13.0"
    assert case.audio["audio.silent"] is True
    assert case.words == "since <name> put the new card in"
    report = room.diagnose(logs=[str(path)])
    assert report.diagnosis.findings[0].rule.id == "wheel-arch-missing-new-gpu"
    assert report.exit_code == 3


def test_nothing_private_is_in_it(made: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    write_bundle(made, path)
    with zipfile.ZipFile(path) as archive:
        everything = "\n".join([*archive.namelist(), *(archive.read(name).decode() for name in archive.namelist())])
    for private in ("hf_abcdef", "secret-value", "/home/ann", "ann-laptop", "GPU-1111", " ann "):
        assert private not in everything, private
    assert "no kernel image is available" in everything
    assert "2.5.1+cu121" in everything
    assert sorted(made.texts) == [
        "audio.json",
        "doctor.json",
        "facts.json",
        "logs/01-service_of__name_.log",
        "words.txt",
    ]


def test_what_could_not_be_had_stays_na(tmp_path: Path) -> None:
    bundle = make_bundle(Inquiry(measured={"driver.cuda": NA("no driver")}), {}, None, Redactor(names=(), home="/root"))
    path = tmp_path / "b.zip"
    write_bundle(bundle, path)
    assert read_bundle(path).inquiry().measured == {"driver.cuda": NA("no driver")}


def test_two_logs_of_one_name_are_both_kept(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "app.log").write_text(folder)
    logs = [str(tmp_path / folder / "app.log") for folder in ("a", "b")]
    bundle = make_bundle(Inquiry(logs=logs, log_texts={"app.log": "c"}), {}, None)
    assert [text.strip() for name, text in sorted(bundle.texts.items()) if name.startswith("logs/")] == ["a", "b", "c"]


def test_of_a_long_log_the_head_and_the_tail_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundling, "_HEAD_BYTES", 64 * 1024)
    monkeypatch.setattr(bundling, "_TAIL_BYTES", 64 * 1024)
    path = tmp_path / "long.log"
    line = b"INFO step 1 of many, nothing to see here, all is well so far\n"
    path.write_bytes(b"first line\n" + line * 60_000 + b"last line\n")
    bundle = make_bundle(Inquiry(logs=[str(path)]), {}, None, Redactor(names=(), home="/root"))
    text = bundle.texts["logs/01-long.log"]
    assert text.startswith("first line\n")
    assert text.endswith("last line\n")
    assert "bytes left out here]" in text
    assert len(text) < 2 * 2**20


def test_a_log_can_come_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("中文 log\n".encode("gb18030"))))
    assert make_bundle(Inquiry(logs=["-"]), {}, None).texts["logs/01--"] == "中文 log\n"
    assert not sys.stdin.buffer.closed


def test_an_existing_file_is_not_overwritten_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    path.write_text("precious")
    bundle = make_bundle(Inquiry(words="x"), {}, None)
    with pytest.raises(UsageError, match="exists; choose another name, or add --overwrite"):
        write_bundle(bundle, path)
    assert path.read_text() == "precious"
    write_bundle(bundle, path, overwrite=True)
    assert read_bundle(path).texts["words.txt"] == "x"


@pytest.mark.parametrize("place", ["no-such-folder/b.zip", "."])
def test_a_place_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, place: str) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        write_bundle(make_bundle(Inquiry(words="x"), {}, None), tmp_path / place)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../../evil",
        "logs/../../evil",
        "a/../../b",
        "\\evil",
        "..\\evil",
        "C:\\evil",
        "C:evil",
        "logs\\..\\..\\x",
    ],
)
def test_a_name_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    assert "points outside the bundle" in refused(pack(tmp_path / "evil.zip", [(entry(name), b"x")]))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_a_link_or_a_device_is_refused(tmp_path: Path, kind: int) -> None:
    message = refused(pack(tmp_path / "evil.zip", [(entry("logs/x", mode=kind | 0o777), b"/etc/passwd")]))
    assert "is a link or a device" in message


@pytest.mark.parametrize("name", ["logs/x", "manifest.json"])
def test_a_name_that_comes_twice_is_refused(tmp_path: Path, name: str) -> None:
    message = refused(pack(tmp_path / "evil.zip", [(name, b"one"), (name, b"two")]))
    assert f"has the entry {name!r} twice" in message


def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path) -> None:
    assert "unpacks to more than 400 times its size" in refused(
        pack(tmp_path / "bomb.zip", [("logs/x", b"\0" * 30_000_000)])
    )


def test_a_file_and_a_bundle_have_a_largest_size(tmp_path: Path) -> None:
    stored = [(entry(f"logs/{n}", compress_type=zipfile.ZIP_STORED), b"\0" * (50 * 2**20)) for n in range(3)]
    assert "at most 64 MB a file, 128 MB in all" in refused(pack(tmp_path / "large.zip", stored))


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "many.zip", [(f"logs/{n}", b"x") for n in range(64)])
    assert "has 65 entries, at most 64 are read" in refused(path)


def _patched(path: Path, name: bytes, size: int) -> Path:
    """The zip with another uncompressed size of one entry in both of its headers."""
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        length = {b"PK\x03\x04": 30, b"PK\x01\x02": 46}[magic]
        place = data.find(magic)
        while place >= 0:
            if data[place + length : place + length + len(name)] == name:
                data[place + offset : place + offset + 4] = struct.pack("<I", size)
            place = data.find(magic, place + 4)
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize("size", [3, 0, 50_000_000, 2**32 - 2])
def test_a_header_that_lies_about_the_size_is_refused(tmp_path: Path, size: int) -> None:
    honest = pack(tmp_path / "lying.zip", [("logs/x", b"abcdefgh" * 2_000)])
    refused(_patched(honest, b"logs/x", size))


def test_an_encrypted_entry_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "locked.zip", [("logs/x", b"x")])
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.rfind(magic) + offset] |= 1
    path.write_bytes(bytes(data))
    assert "is encrypted" in refused(path)


def test_another_way_of_packing_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "odd.zip", [(entry("logs/x", compress_type=zipfile.ZIP_LZMA), b"x" * 100)])
    assert "is packed in a way that bundles do not use" in refused(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_bundle_is_refused(tmp_path: Path, share: float) -> None:
    path = pack(tmp_path / "cut.zip", [("logs/x", bytes(range(256)) * 50)])
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "is not a readable zip" in refused(path)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2_000), st.integers(1, 255))
def test_a_damaged_byte_never_escapes_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, flip: int
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "b.zip"
    pack(path, [("logs/x", bytes(range(256)) * 20), ("facts.json", b'{"told": {"gpu": "RTX 4090"}}')])
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= flip
    path.write_bytes(bytes(data))
    try:
        read_bundle(path).inquiry()
    except BadBundle:
        return


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, "has no manifest.json; make a bundle with: qwen-audio bundle"),
        (b"{", "manifest.json in the bundle is not JSON"),
        (b"[]", "does not hold a JSON object"),
        (b"[" * 100_000, "is not JSON"),
        ({**MANIFEST, "schema": 2}, "has schema 2, this version reads up to 1: upgrade the toolkit"),
        ({**MANIFEST, "schema": True}, "is not that of a bundle"),
        ({**MANIFEST, "kind": "doctor"}, "is not that of a bundle"),
    ],
)
def test_a_zip_that_is_no_bundle_of_ours_is_refused(tmp_path: Path, manifest: object, message: str) -> None:
    with pytest.raises(BadBundle) as caught:
        read_bundle(pack(tmp_path / "other.zip", [("logs/x", b"x")], manifest))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "facts",
    [
        b"{",
        b"[]",
        b'{"told": {"gpu": []}}',
        b'{"measured": {"gpu.cc": 1e999}}',
        b'{"told": {"gpu.cc": ' + b"9" * 400 + b"}}",
    ],
)
def test_facts_of_a_stranger_are_checked(tmp_path: Path, facts: bytes) -> None:
    bundle = read_bundle(pack(tmp_path / "b.zip", [("facts.json", facts)]))
    with pytest.raises(BadBundle, match=r"facts\.json"):
        bundle.inquiry()


def test_numbers_of_a_strange_ledger_are_not_trusted(tmp_path: Path) -> None:
    removed = [{"rule": "x", "count": "many", "characters": 1e999}, "no table", {}]
    bundle = read_bundle(pack(tmp_path / "b.zip", [], {**MANIFEST, "removed": removed}))
    assert [(line.rule, line.count, line.characters) for line in bundle.ledger] == [("x", 0, 0), ("None", 0, 0)]


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert "cannot read" in refused(tmp_path / "missing.zip")


def test_the_exact_text_of_the_preview() -> None:
    own = Redactor(names=("ann",), home="/home/ann")
    texts = {"service.log": "token hf_abcdefghijklmnopqrstuvwx at /home/ann/tts on 192.168.1.5 and 192.168.1.6\n"}
    bundle = make_bundle(Inquiry(log_texts=texts, words="it hangs"), {}, None, own)
    bundle = Bundle(bundle.texts, bundle.ledger, "2026-11-24T09:30:00Z")
    assert render_text(document_of(bundle, None, "0.1.0")) == PREVIEW


def test_the_preview_shows_contents_ledger_and_what_is_not_redacted(made: Bundle) -> None:
    data = to_json(made, None)
    assert data["written"] is None
    assert data["files"] == {name: len(text.encode()) for name, text in made.texts.items()}
    text = render_text(document_of(made, Path("b.zip"), "0.1.0"))
    assert "Written: b.zip. Diagnose it anywhere with: qwen-audio diagnose b.zip" in text
