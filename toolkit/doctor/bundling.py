"""The bundle: one redacted zip to attach to an issue, and the one careful reader of such files."""

from __future__ import annotations

import contextlib
import io
import json
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from toolkit.doctor.inquiry import SCHEMA, Inquiry, checked_facts
from toolkit.doctor.redaction import NOT_REDACTED, LedgerLine, Redactor
from toolkit.doctor.whole_file import write_whole
from toolkit.errors import BadBundle, UsageError
from toolkit.probe.facts_file import utc_now
from troubleshoot.facts import FactValue, fact_to_json
from troubleshoot.reading import read_chunks

__all__ = ["Bundle", "make_bundle", "read_bundle", "write_bundle"]

_HEAD_BYTES = 4 * 1024 * 1024
_TAIL_BYTES = 4 * 1024 * 1024
_MAX_ENTRY_BYTES = 64 * 1024 * 1024
_MAX_TOTAL_BYTES = 128 * 1024 * 1024
_MAX_ENTRIES = 64
_MAX_RATIO = 400
_MANIFEST, _FACTS, _WORDS, _AUDIO, _DOCTOR = "manifest.json", "facts.json", "words.txt", "audio.json", "doctor.json"


@dataclass(frozen=True)
class Bundle:
    """Contents of a bundle: redacted texts by name, and the ledger."""

    texts: Mapping[str, str]
    ledger: tuple[LedgerLine, ...]
    created: str

    def inquiry(self) -> Inquiry:
        """What a diagnosis on another machine starts from."""
        facts = _json(self.texts.get(_FACTS, "{}"), _FACTS)
        measures = _json(self.texts.get(_AUDIO, "{}"), _AUDIO)
        measured = {name: value for name, value in _mapping(facts.get("measured")).items() if not _is_structured(value)}
        logs = {name.removeprefix("logs/"): text for name, text in self.texts.items() if name.startswith("logs/")}
        return Inquiry(
            log_texts=logs,
            words=self.texts.get(_WORDS, ""),
            told=checked_facts(_mapping(facts.get("told")), _FACTS),
            measured=checked_facts(measured, _FACTS),
            audio_measures=checked_facts(measures, _AUDIO),
        )


def make_bundle(
    inquiry: Inquiry,
    audio_measures: Mapping[str, FactValue],
    doctor: Mapping[str, object] | None,
    redactor: Redactor | None = None,
) -> Bundle:
    """Gather and redact everything of an inquiry; recordings themselves are never taken in, only their measures."""
    redactor = redactor or Redactor()
    texts: dict[str, str] = {}
    logs = [(Path(name).name, _read_log(name)) for name in inquiry.logs] + list(inquiry.log_texts.items())
    for number, (name, text) in enumerate(logs, 1):
        texts[f"logs/{number:02d}-{_safe_name(redactor.text(name))}"] = redactor.text(text)
    facts = {
        "told": dict(inquiry.told),
        "measured": {name: fact_to_json(value) for name, value in inquiry.measured.items()},
    }
    texts[_FACTS] = _dump(redactor.value(facts))
    if inquiry.words:
        texts[_WORDS] = redactor.text(inquiry.words)
    if audio_measures:
        texts[_AUDIO] = _dump(redactor.value({name: fact_to_json(value) for name, value in audio_measures.items()}))
    if doctor:
        texts[_DOCTOR] = _dump(redactor.value(dict(doctor)))
    return Bundle(texts, redactor.ledger(), utc_now())


def write_bundle(bundle: Bundle, path: Path, *, overwrite: bool = False) -> None:
    """Write the zip: whole or not at all. Raises UsageError when the file exists or cannot be written."""
    manifest = {
        "schema": SCHEMA,
        "kind": "bundle",
        "created": bundle.created,
        "removed": [{"rule": line.rule, "count": line.count, "characters": line.characters} for line in bundle.ledger],
        "not_redacted": list(NOT_REDACTED),
        "files": {name: len(text.encode()) for name, text in bundle.texts.items()},
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_MANIFEST, _dump(manifest))
        for name, text in bundle.texts.items():
            archive.writestr(name, text)
    write_whole(path, packed.getvalue(), overwrite=overwrite)


def read_bundle(path: Path) -> Bundle:
    """Read a bundle from anybody. Raises BadBundle for anything unsafe, oversized, damaged or from the future."""
    try:
        with zipfile.ZipFile(path) as archive:
            texts = _entries(archive, path)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error) as error:
        raise BadBundle(f"{path} is not a readable zip: {error}") from None
    except OSError as error:
        raise BadBundle(f"cannot read {path}: {error.strerror or error}") from None
    if _MANIFEST not in texts:
        raise BadBundle(f"{path} has no {_MANIFEST}; make a bundle with: qwen-audio bundle")
    manifest = _json(texts.pop(_MANIFEST), _MANIFEST)
    schema = manifest.get("schema")
    if manifest.get("kind") != "bundle" or not isinstance(schema, int) or isinstance(schema, bool):
        raise BadBundle(f"{path}: {_MANIFEST} is not that of a bundle")
    if schema > SCHEMA:
        raise BadBundle(f"{path} has schema {schema}, this version reads up to {SCHEMA}: upgrade the toolkit")
    removed = manifest.get("removed")
    ledger = tuple(
        LedgerLine(str(line.get("rule")), _count(line.get("count")), _count(line.get("characters")))
        for line in (removed if isinstance(removed, list) else [])
        if isinstance(line, dict)
    )
    return Bundle(texts, ledger, str(manifest.get("created", "")))


def _entries(archive: zipfile.ZipFile, path: Path) -> dict[str, str]:
    members = archive.infolist()
    if len(members) > _MAX_ENTRIES:
        raise BadBundle(f"{path} has {len(members)} entries, at most {_MAX_ENTRIES} are read")
    total = 0
    texts: dict[str, str] = {}
    for member in members:
        name = member.filename
        _refuse_unsafe(path, member)
        if name in texts:
            raise BadBundle(f"{path} has the entry {name!r} twice")
        if member.is_dir():
            continue
        total += member.file_size
        if member.file_size > _MAX_ENTRY_BYTES or total > _MAX_TOTAL_BYTES:
            raise BadBundle(
                f"{path}: {name!r} is too large: at most {_MAX_ENTRY_BYTES >> 20} MB a file, "
                f"{_MAX_TOTAL_BYTES >> 20} MB in all"
            )
        if member.file_size > 1024 * 1024 and member.file_size > _MAX_RATIO * max(1, member.compress_size):
            raise BadBundle(f"{path}: {name!r} unpacks to more than {_MAX_RATIO} times its size")
        with archive.open(member) as stream:
            raw = stream.read(_MAX_ENTRY_BYTES + 1)  # the header may lie about the size
        if len(raw) > _MAX_ENTRY_BYTES:
            raise BadBundle(f"{path}: {name!r} is larger than it says")
        texts[name] = raw.decode("utf-8", "replace")
    return texts


def _refuse_unsafe(path: Path, member: zipfile.ZipInfo) -> None:
    name = member.filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    kind = stat.S_IFMT(member.external_attr >> 16)
    if not name or "\0" in name or name.startswith(("/", "\\")) or ".." in parts or (parts and ":" in parts[0]):
        raise BadBundle(f"{path} has the entry {name!r}, which points outside the bundle")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BadBundle(f"{path}: {name!r} is a link or a device, not a plain file")
    if member.flag_bits & 0x1:
        raise BadBundle(f"{path}: {name!r} is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadBundle(f"{path}: {name!r} is packed in a way that bundles do not use")


def _read_log(name: str) -> str:
    """Head and tail of a log as clean text; what is left out is said in the text."""
    path = Path(name)
    try:
        with contextlib.nullcontext(sys.stdin.buffer) if name == "-" else path.open("rb") as stream:
            head = b""
            tail = b""
            left_out = 0
            for chunk in read_chunks(stream):
                room = max(0, _HEAD_BYTES - len(head))
                head += chunk[:room]
                tail += chunk[room:]
                if len(tail) > 2 * _TAIL_BYTES:
                    left_out += len(tail) - _TAIL_BYTES
                    tail = tail[-_TAIL_BYTES:]
    except OSError as error:
        raise UsageError(f"cannot read the log {path}: {error.strerror or error}") from None
    gap = f"\n[{left_out} bytes left out here]\n".encode() if left_out else b""
    return (head + gap + tail).decode("utf-8", "replace")


def _is_structured(value: object) -> bool:
    # Lists of processes, files and lines of a forecast: for a reader of the bundle, not for the rules.
    return isinstance(value, list) or (isinstance(value, dict) and set(value) != {"na"})


def _safe_name(name: str) -> str:
    kept = "".join(char if char.isalnum() or char in "._-" else "_" for char in name).lstrip(".")
    return (kept or "log")[:80]


def _dump(data: object) -> str:
    return json.dumps(data, ensure_ascii=False, indent=1, sort_keys=True)


def _json(text: str, name: str) -> dict[str, object]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadBundle(f"{name} in the bundle is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise BadBundle(f"{name} in the bundle does not hold a JSON object")
    return data


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
