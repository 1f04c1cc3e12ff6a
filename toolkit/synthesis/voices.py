"""Saved voices: what cloning took from a recording, in one safetensors file with its description; never a pickle."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import torch
from numpy.typing import NDArray

from toolkit.errors import BadModelFolder, BadVoice, UsageError
from toolkit.synthesis.config import CODE_GROUPS, ModelConfig
from toolkit.synthesis.prompt import ClonedVoice
from toolkit.synthesis.weights import SafetensorsFile
from toolkit.synthesis.whole_file import WholeFile

__all__ = ["VOICE_SUFFIX", "Voice", "list_voices", "load_voice", "save_voice", "voice_path"]

VOICE_SUFFIX = ".voice.safetensors"

_SCHEMA = 1
_KEY = "qwen_audio_voice"
_MAX_BYTES = 4 * 2**20  # 120 s of reference are 48 kB of codes, the vector 8 kB
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
# Names that Windows gives to devices, whatever comes after a dot.
_DEVICES = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "schema": int,
    "name": str,
    "model_size": str,
    "hidden": int,
    "transcript": (str, type(None)),
    "reference_sha256": str,
    "reference_seconds": (int, float),
    "content_sha256": str,
}


@dataclass(frozen=True)
class Voice:
    """A voice with its circumstances.

    Attributes:
        name: lower-case letters, digits and hyphens.
        cloned: vector, and for in-context cloning codes and transcript.
        model_size: "0b6" or "1b7", of the base model that it was taken with; its vector fits that size only.
        reference_sha256: of the recording's samples at 24 kHz.
        reference_seconds: length of the recording.
    """

    name: str
    cloned: ClonedVoice
    model_size: str
    reference_sha256: str
    reference_seconds: float

    def __post_init__(self) -> None:
        _check_name(self.name)

    @property
    def in_context(self) -> bool:
        """Whether it holds the recording's codes and transcript, besides the vector."""
        return self.cloned.codes is not None

    def vector_only(self) -> Voice:
        """The same without codes and transcript."""
        return replace(self, cloned=ClonedVoice(self.cloned.speaker))

    def check_model(self, config: ModelConfig) -> None:
        """Whether a model can speak with this voice.

        Raises:
            BadVoice: the model has another size.
        """
        hidden = config.talker.decoder.hidden
        found = self.cloned.speaker.shape[0]
        if self.model_size != config.size or found != hidden:
            raise BadVoice(
                f"the voice {self.name} was taken with a {_size(self.model_size)} model ({found} numbers), "
                f"this one is {_size(config.size)} and needs {hidden}; take it again from the recording"
            )


def voice_path(folder: Path, name: str) -> Path:
    """Where a voice of this name lies in a folder.

    Raises:
        BadVoice: the name is not one.
    """
    _check_name(name)
    return folder / f"{name}{VOICE_SUFFIX}"


def list_voices(folder: Path) -> tuple[str, ...]:
    """Names of the voices in a folder, sorted; files with other names are passed over."""
    names = [path.name.removesuffix(VOICE_SUFFIX) for path in folder.glob(f"*{VOICE_SUFFIX}")]
    return tuple(sorted(name for name in names if _SLUG.fullmatch(name)))


def save_voice(voice: Voice, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a voice to a file, whole or not at all.

    Args:
        voice: what to keep.
        path: a file ``NAME.voice.safetensors``, or an existing folder, in which it gets the voice's name.
        overwrite: replace what is there.

    Raises:
        BadOutput: it exists or cannot be written.
        DiskFull: no room.
        UsageError: another suffix.
    """
    path = Path(path)
    if path.is_dir():
        path = voice_path(path, voice.name)
    if not path.name.endswith(VOICE_SUFFIX):
        raise UsageError(f"{path}: the name of a voice's file ends in {VOICE_SUFFIX}")
    tensors = {"speaker": voice.cloned.speaker.detach().float().cpu().numpy()}
    if voice.cloned.codes is not None:
        # The library writes memory as it lies, whatever the strides say.
        tensors["codes"] = np.ascontiguousarray(voice.cloned.codes.cpu().numpy(), np.int16)
    about = {
        "schema": _SCHEMA,
        "name": voice.name,
        "model_size": voice.model_size,
        "hidden": int(voice.cloned.speaker.shape[0]),
        "transcript": voice.cloned.transcript,
        "reference_sha256": voice.reference_sha256,
        "reference_seconds": round(voice.reference_seconds, 3),
        "content_sha256": _content_sha256(tensors),
    }
    data = safetensors.numpy.save(tensors, {_KEY: json.dumps(about, ensure_ascii=False)})
    with WholeFile(path, overwrite=overwrite) as file:
        file.write(data)
    return path


def load_voice(path: str | Path) -> Voice:
    """Read a saved voice, checking everything in it.

    Raises:
        BadVoice: missing, damaged, changed, written by a newer version, or no voice.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadVoice(f"{path} is no saved voice: it has {path.stat().st_size} bytes")
        SafetensorsFile(path)
        data = path.read_bytes()
        tensors = safetensors.numpy.load(data)
    except FileNotFoundError:
        raise BadVoice(f"{path} does not exist") from None
    except OSError as error:
        raise BadVoice(f"{path} cannot be read: {error.strerror or error}") from None
    except (BadModelFolder, safetensors.SafetensorError, KeyError, ValueError) as error:
        raise BadVoice(f"{path} is no saved voice, or is damaged ({error})") from None
    about = _about(path, data)
    if set(tensors) - {"codes"} != {"speaker"}:
        raise BadVoice(f"{path} is no saved voice: it holds {', '.join(sorted(tensors)) or 'nothing'}")
    if _content_sha256(tensors) != about["content_sha256"]:
        raise BadVoice(f"{path} was changed after it was saved: its content does not match its SHA-256")
    speaker, codes = tensors["speaker"], tensors.get("codes")
    fits = speaker.dtype == np.float32 and speaker.shape == (about["hidden"],) and bool(np.isfinite(speaker).all())
    if not fits:
        raise BadVoice(f"{path}: its vector is not {about['hidden']} finite float32 numbers")
    if codes is not None and not (codes.dtype == np.int16 and codes.ndim == 2 and codes.shape[1] == CODE_GROUPS):
        raise BadVoice(f"{path}: its codes are not int16 [frames, {CODE_GROUPS}]")
    try:
        cloned = ClonedVoice(
            torch.from_numpy(speaker.copy()),
            None if codes is None else torch.from_numpy(codes.astype(np.int64)),
            None if about["transcript"] is None else str(about["transcript"]),
        )
        return Voice(
            str(about["name"]),
            cloned,
            str(about["model_size"]),
            str(about["reference_sha256"]),
            float(str(about["reference_seconds"])),
        )
    except UsageError as error:
        raise BadVoice(f"{path}: {error}") from None


def _about(path: Path, data: bytes) -> dict[str, object]:
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    text = header.get("__metadata__", {}).get(_KEY)
    try:
        about = json.loads(text) if isinstance(text, str) else None
    except (json.JSONDecodeError, RecursionError):
        about = None
    if not isinstance(about, dict):
        raise BadVoice(f"{path} is no saved voice: it has no description")
    schema = about.get("schema")
    if type(schema) is int and schema > _SCHEMA:
        raise BadVoice(f"{path} was written by a newer version (schema {schema}, known {_SCHEMA}); update the toolkit")
    wrong = [name for name, kind in _FIELDS.items() if name not in about or not isinstance(about[name], kind)]
    unknown = [name for name in about if name not in _FIELDS]
    if wrong or unknown:
        raise BadVoice(f"{path} is no saved voice: its description has a wrong {(wrong + unknown)[0]!r}")
    return about


def _content_sha256(tensors: dict[str, NDArray[np.generic]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()


def _check_name(name: str) -> None:
    if _SLUG.fullmatch(name) and not _DEVICES.fullmatch(name):
        return
    near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64].strip("-")
    hint = f"; {near!r} would do" if _SLUG.fullmatch(near) and not _DEVICES.fullmatch(near) else ""
    raise BadVoice(f"{name[:80]!r} cannot name a voice: use lower-case letters, digits and hyphens, 64 at most{hint}")


def _size(size: str) -> str:
    return {"0b6": "0.6B", "1b7": "1.7B"}.get(size, size)
