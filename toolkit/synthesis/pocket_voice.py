"""The pocket voice: the small model that comes with the toolkit, where it lies, and whether it is whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from toolkit.errors import BadModelFolder
from toolkit.synthesis.json_fields import read_json_object

__all__ = [
    "FOLDER",
    "PINNED_FILES",
    "PINS_FILE",
    "POCKET",
    "POCKET_NOTE",
    "POCKET_SPEAKER",
    "POCKET_TEXT_LENGTH",
    "is_pocket",
    "pocket_faults",
    "pocket_folder",
    "write_pins",
]

POCKET = "pocket"
"""The name under which it is loaded, in any case."""

POCKET_SPEAKER = "serena"
"""Who speaks on the command line when no speaker is named; also what the model was trained to do without a name."""

POCKET_TEXT_LENGTH = 80
"""Most characters of a part: it has learnt from utterances of at most 19 s, which 80 Chinese characters fill."""

POCKET_NOTE = (
    "pocket voice: small, synthetic, for trying the toolkit; not a Qwen model. Another: --model 1.7B-CustomVoice"
)

PINNED_FILES = (
    "config.json",
    "generation_config.json",
    "merges.txt",
    "model.safetensors",
    "speech_tokenizer/config.json",
    "speech_tokenizer/model.safetensors",
    "tokenizer_config.json",
    "vocab.json",
)
"""What speaking reads; all of it decides how the voice sounds."""

FOLDER = Path(__file__).with_name("pocket")
"""Where the voice lies, whole or not; :func:`pocket_folder` looks."""

PINS_FILE = Path(__file__).with_name("pocket_sha256.json")
"""SHA-256 of each pinned file."""

_REINSTALL = "reinstall the toolkit, or in a checkout restore the folder"


def is_pocket(name_or_path: object) -> bool:
    """Whether the bare word for the voice was given. ``./pocket`` is a folder, and so is every path object."""
    return isinstance(name_or_path, str) and name_or_path.lower() == POCKET


def pocket_folder() -> Path:
    """Folder of the voice; its files are compared with their hashes once a process.

    Raises:
        BadModelFolder: a file is missing or altered; the message names it and what to do.
    """
    return _sound_folder(FOLDER, PINS_FILE)


@cache
def _sound_folder(folder: Path, pins_file: Path) -> Path:
    faults = pocket_faults(folder, pins_file)
    if faults:
        told = ", ".join(f"{name} is {fault}" for name, fault in faults.items())
        raise BadModelFolder(f"the pocket voice in {folder} is not whole: {told}; {_REINSTALL}")
    return folder


def pocket_faults(folder: Path | None = None, pins_file: Path | None = None) -> Mapping[str, str]:
    """Files of the voice that are "missing" or "altered", by their names; empty when all is well.

    Raises:
        BadModelFolder: the list of hashes cannot be read.
    """
    folder = FOLDER if folder is None else folder
    pins_file = PINS_FILE if pins_file is None else pins_file
    pins = read_json_object(pins_file).values if pins_file.is_file() else {}
    faults: dict[str, str] = {}
    for name in PINNED_FILES:
        if not (folder / name).is_file():
            faults[name] = "missing"
        elif _sha256(folder / name) != pins.get(name):
            faults[name] = "altered"
    return faults


def write_pins(folder: Path, pins_file: Path | None = None) -> Mapping[str, str]:
    """Write the list of hashes for a new voice; returns it.

    Args:
        folder: the voice, in the published layout.
        pins_file: where; the toolkit's own list unless given.

    Raises:
        BadModelFolder: a file of the voice is missing.
    """
    missing = [name for name in PINNED_FILES if not (folder / name).is_file()]
    if missing:
        raise BadModelFolder(f"{folder}: {', '.join(missing)} is missing; it is no whole voice")
    pins = {name: _sha256(folder / name) for name in PINNED_FILES}
    target = PINS_FILE if pins_file is None else pins_file
    target.write_text(json.dumps(pins, indent=2) + "\n", encoding="utf-8")
    _sound_folder.cache_clear()
    return pins


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    except OSError as error:
        raise BadModelFolder(f"{path}: cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()
