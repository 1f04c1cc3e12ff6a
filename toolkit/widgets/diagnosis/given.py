"""What a person gives for a diagnosis: pasted text, files told apart by what they hold, a service folder, answers."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from toolkit.doctor.examination import inquire
from toolkit.doctor.inquiry import Inquiry
from toolkit.errors import UsageError

__all__ = ["Given", "kind_of", "told_of"]

Kind = Literal["log", "audio", "facts", "bundle", "service"]
_HEAD_BYTES = 4096
_SOUND_STARTS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b"ID3")
_SOUND_NAMES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".m4a")
_MOST_JSON_BYTES = 32 * 1024 * 1024


def kind_of(path: Path) -> Kind:
    """What lies there, by its content first and its name second. Raises UsageError when it cannot be read."""
    if path.is_dir():
        return "service"
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
        if head.startswith(b"PK\x03\x04"):
            return "bundle"
        if head.startswith(_SOUND_STARTS) or path.suffix.lower() in _SOUND_NAMES:
            return "audio"
        # A log may begin with a brace, too; only a whole object holds facts.
        is_json = head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and path.stat().st_size <= _MOST_JSON_BYTES
        if is_json and isinstance(json.loads(path.read_text(encoding="utf-8-sig")), dict):
            return "facts"
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError:
        pass
    return "log"


def told_of(text: str) -> dict[str, str]:
    """``gpu=RTX 4070; torch=2.6.0`` as a mapping, parted by semicolons, lines or commas. Raises UsageError."""
    told: dict[str, str] = {}
    for part in re.split(r"[;\n]|,(?=\s*[\w.]+\s*=)", text):
        if not part.strip():
            continue
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise UsageError(f"{part.strip()!r}: write NAME=VALUE, such as gpu=RTX 4070; torch=2.6.0+cu124")
        told[name] = value
    return told


@dataclass(frozen=True)
class Given:
    """Plain values only, so that a worker can take them. Paths are of this machine."""

    log_text: str = ""
    words: str = ""
    spoken_text: str = ""
    told: Mapping[str, str] = field(default_factory=dict)
    logs: tuple[str, ...] = ()
    audio: tuple[str, ...] = ()
    facts: str = ""
    service: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)

    def with_path(self, path: Path) -> Given:
        """With what lies at a path. Raises UsageError for what is not there, or a second facts file or folder."""
        path = path.expanduser()
        if not path.exists():
            raise UsageError(f"{path}: there is no such file or folder")
        kind, name = kind_of(path), str(path)
        if kind == "audio":
            return replace(self, audio=(*self.audio, name))
        if kind in ("log", "bundle"):
            return replace(self, logs=(*self.logs, name))
        held = self.facts if kind == "facts" else self.service
        if held:
            raise UsageError(
                f"{path.name}: there is {Path(held).name} already; give one of a kind, or clear them first"
            )
        return replace(self, facts=name) if kind == "facts" else replace(self, service=name)

    def with_answer(self, question: str, value: str) -> Given:
        """With one more answer."""
        return replace(self, answers={**self.answers, question: value})

    def inquiry(self) -> Inquiry:
        """The doctor's form of it. Raises UsageError when it is nothing."""
        return inquire(
            logs=self.logs,
            log_text=self.log_text if self.log_text.strip() else None,
            words=self.words,
            told=self.told,
            facts=Path(self.facts) if self.facts else None,
            audio=tuple(Path(name) for name in self.audio),
            spoken_text=self.spoken_text,
            service=Path(self.service) if self.service else None,
            answers=self.answers,
        )

    @contextmanager
    def log_paths(self) -> Iterator[tuple[Path, ...]]:
        """All logs as files, the pasted one in a folder that is removed afterwards."""
        with tempfile.TemporaryDirectory(prefix="qwen-audio-") as folder:
            pasted = Path(folder) / "pasted.log"
            if self.log_text.strip():
                pasted.write_text(self.log_text, encoding="utf-8")
            own = (pasted,) if self.log_text.strip() else ()
            yield (*(Path(name) for name in self.logs), *own)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Given:
        """Back from :meth:`to_json`."""
        return cls(**{**data, "logs": tuple(data["logs"]), "audio": tuple(data["audio"])})
