"""The files of a Qwen3-TTS (12 Hz) folder, the sizes of the published ones, and a check of each small file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.probe.file_peek import peek

__all__ = [
    "CODEC_WEIGHTS",
    "INDEX",
    "PUBLISHED_CODEC_BYTES",
    "PUBLISHED_WEIGHT_BYTES",
    "SMALL_FILES",
    "WEIGHTS",
    "FileReport",
    "check_small_file",
    "missing_or_none",
    "read_json_table",
]

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
CODEC_WEIGHTS = "speech_tokenizer/model.safetensors"

SMALL_FILES: Mapping[str, tuple[int | None, bool]] = {
    # name: (bytes of the published file where every repository has the same, needed to synthesise)
    "config.json": (None, True),
    "generation_config.json": (245, True),
    "vocab.json": (2_776_833, True),
    "merges.txt": (1_671_839, True),
    "tokenizer_config.json": (7_344, True),
    "preprocessor_config.json": (127, False),
    "speech_tokenizer/config.json": (2_336, True),
    "speech_tokenizer/preprocessor_config.json": (234, True),
    "speech_tokenizer/configuration.json": (76, False),
}
"""Everything but the two weight files. The five repositories agree byte for byte except in config.json."""

PUBLISHED_WEIGHT_BYTES: Mapping[tuple[str, str], int] = {
    ("1.7B", "base"): 3_857_413_744,
    ("1.7B", "custom-voice"): 3_833_402_552,
    ("1.7B", "voice-design"): 3_833_402_552,
    ("0.6B", "base"): 1_829_344_272,
}
"""Bytes of the published model.safetensors; that of the 0.6B CustomVoice is not established."""

PUBLISHED_CODEC_BYTES = 682_293_092
"""Bytes of speech_tokenizer/model.safetensors, the same in every repository."""

_MAX_JSON_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class FileReport:
    """One expected file. ``verdict`` is ``ok``, ``missing`` or the fault's name; ``sentence`` completes "NAME ..."."""

    name: str
    byte_count: int | None
    expected_bytes: int | None
    verdict: str
    sentence: str = ""
    needed: bool = True

    @property
    def is_fault(self) -> bool:
        return self.needed and self.verdict != "ok"

    def as_fact(self) -> dict[str, object]:
        return {
            "name": self.name,
            "bytes": self.byte_count,
            "expected_bytes": self.expected_bytes,
            "verdict": self.verdict,
        }


def check_small_file(folder: Path, name: str) -> FileReport:
    """Report on one file of :data:`SMALL_FILES`: there, no pointer or error page, and readable as what it should be."""
    published, needed = SMALL_FILES.get(name, (None, True))
    path = folder / name
    report = missing_or_none(path, name, published, needed)
    if report:
        return report
    look = peek(path)
    if look.kind == "json-page":  # these files are JSON themselves
        look = replace(look, kind="binary")
    if look.kind != "binary":
        return FileReport(name, look.byte_count, look.expected_bytes or published, look.kind, look.sentence, needed)
    verdict, sentence = ("ok", "")
    if name.endswith(".json"):
        table = read_json_table(path)
        if isinstance(table, str):
            verdict, sentence = "not-json", table
    elif name == "merges.txt" and not _looks_like_merges(path):
        verdict, sentence = "not-text", "is not a list of merges"
    return FileReport(name, look.byte_count, published, verdict, sentence, needed)


def missing_or_none(path: Path, name: str, expected_bytes: int | None, needed: bool = True) -> FileReport | None:
    """Report of a file that is not there; None when something lies at the path."""
    try:
        path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            sentence = "is a link whose target is gone: delete the link and download again"
            return FileReport(name, None, expected_bytes, "dangling-link", sentence, needed)
        return FileReport(name, None, expected_bytes, "missing", "is missing", needed)
    except (OSError, ValueError):
        return None
    return None


def read_json_table(path: Path) -> dict[str, object] | str:
    """The JSON table in a file of at most 32 MB, or a sentence that says why there is none."""
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            return "is not a regular file" if path.exists() else "is missing"
        with path.open("rb") as file:
            raw = file.read(_MAX_JSON_BYTES + 1)
    except (OSError, ValueError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    if len(raw) > _MAX_JSON_BYTES:
        return f"is over {_MAX_JSON_BYTES >> 20} MB, which none of these files is"
    try:
        table = json.loads(raw.decode("utf-8-sig"))
    except RecursionError:
        return "is nested too deeply to be read"
    except ValueError:
        return "is not valid JSON: cut short or damaged"
    return table if isinstance(table, dict) else "is not a JSON table"


def _looks_like_merges(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    lines = head.splitlines()[:50]
    complete = [line for line in lines[:-1] if line and not line.startswith(b"#version")] or lines
    return b"\0" not in head and all(line.count(b" ") == 1 or not line for line in complete)
