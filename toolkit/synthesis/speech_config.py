"""The file config.yaml: how a model speaks on this machine, with the reason of each value; read whole or refused."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from toolkit.errors import UsageError
from toolkit.synthesis.whole_file import WholeFile

__all__ = ["CONFIG_KEYS", "SpeechConfig", "config_text", "read_config", "write_config"]

_MOST_BYTES = 64 * 1024
_MOST_PIECES = 32

Frames: TypeAlias = Annotated[int, Field(ge=1, le=8192)]


class SpeechConfig(BaseModel):
    """Settings of speech. Keys that a file leaves out have the toolkit's own values.

    Attributes:
        model: folder, repository or its end, or ``pocket``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        precision: dtype of talker and code predictor.
        codec_precision: dtype of the codec.
        audio_chunk_size: frames (80 ms) that the codec decodes at once.
        max_text_length: characters of a part that is spoken in one go; None: the model's own.
        batch: parts of a long text side by side; 1: one after the other.
        chunk_frames: frames of the pieces of a stream; the last number stands for all that follow.
        text_table: where the text embedding table lies.
        speaker: of a custom voice model.
        language: of the text.
        vram_limit: most memory to take on the card: a size such as "8GB", or a share.
        enable_cleanup: give cached card memory back after each result.
        why: reason or origin of a value, by its key.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    schema_version: Literal[1] = Field(alias="schema")
    model: Annotated[str, Field(min_length=1, max_length=4096)] = "pocket"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d{1,3})?)$")] = "auto"
    precision: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    codec_precision: Literal["auto", "float32", "tf32", "bfloat16"] = "auto"
    audio_chunk_size: Frames = 300
    max_text_length: Annotated[int, Field(ge=20, le=50_000)] | None = None
    batch: Annotated[int, Field(ge=1, le=256)] = 1
    chunk_frames: Annotated[list[Frames], Field(min_length=1, max_length=_MOST_PIECES)] = [1, 2, 4, 8, 12]
    text_table: Literal["auto", "card", "cpu"] = "auto"
    speaker: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    language: Annotated[str, Field(min_length=1, max_length=100)] = "auto"
    vram_limit: Annotated[str, Field(min_length=1, max_length=40)] | float | int | None = None
    enable_cleanup: bool = False
    why: dict[str, Annotated[str, Field(max_length=2000)]] = {}

    @model_validator(mode="after")
    def _check_limits(self) -> SpeechConfig:
        unknown = [key for key in self.why if key not in CONFIG_KEYS]
        if unknown:
            raise ValueError(f"why names {unknown[0]!r}, which is no setting")
        from toolkit.synthesis.memory import parse_limit

        if self.vram_limit is not None:
            parse_limit(self.vram_limit, 2**40)  # which card it will be is not known here
        return self

    @property
    def text_embedding_on_cpu(self) -> bool | Literal["auto"]:
        """``text_table`` as :func:`toolkit.load` takes it."""
        return {"auto": "auto", "card": False, "cpu": True}[self.text_table]  # type: ignore[return-value]

    def settings(self) -> dict[str, object]:
        """All settings by their keys, without version and reasons."""
        values = self.model_dump(by_alias=True)
        return {key: values[key] for key in CONFIG_KEYS}


CONFIG_KEYS = tuple(name for name in SpeechConfig.model_fields if name not in ("schema_version", "why"))
"""The settings, in the order in which they are written."""

_ALLOWED: Mapping[str, str] = {
    "schema": "1, the only version so far",
    "model": "a folder, a repository, its end such as 1.7B-CustomVoice, or pocket",
    "device": "auto, cpu, cuda, or cuda:1 and the like",
    "precision": "auto, bfloat16, float16 or float32",
    "codec_precision": "auto, float32, tf32 or bfloat16",
    "audio_chunk_size": "a whole number of frames from 1 to 8192",
    "max_text_length": "a whole number of characters from 20 to 50000",
    "batch": "a whole number from 1 to 256",
    "chunk_frames": f"a list of 1 to {_MOST_PIECES} whole numbers of frames, such as [1, 2, 4, 8, 12]",
    "text_table": "auto, card or cpu",
    "speaker": "a speaker's name",
    "language": "a language's name, or auto",
    "vram_limit": "a size such as 6GB, or a share such as 0.8",
    "enable_cleanup": "true or false",
    "why": "sentences by the key of the setting that they explain",
}


def read_config(path: str | Path) -> SpeechConfig:
    """Read a file.

    Raises:
        UsageError: there is none, it is no plain YAML, or a key or value is not allowed; the message names the key,
            the value and what is allowed.
    """
    path = Path(path)
    data = _plain(path)
    try:
        return SpeechConfig.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"{path}: {_sentence(error, data)}") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def config_text(config: SpeechConfig) -> str:
    """The file's text; settings without a value are left out."""
    values = {"schema": 1, **{key: value for key, value in config.settings().items() if value is not None}}
    head = "# How this machine speaks: qwen-audio speak --config FILE. Options of the command line win over it.\n"
    body = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    if not config.why:
        return head + body
    reasons = {key: config.why[key] for key in CONFIG_KEYS if key in config.why}
    return f"{head}{body}{yaml.safe_dump({'why': reasons}, sort_keys=False, allow_unicode=True, width=110)}"


def write_config(config: SpeechConfig, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a file, whole or not at all.

    Raises:
        BadOutput: it exists and may not be replaced, or cannot be written there.
        DiskFull: no room; nothing is left behind.
    """
    path = Path(path)
    with WholeFile(path, overwrite=overwrite) as file:
        file.write(config_text(config).encode("utf-8"))
    return path


def _plain(path: Path) -> dict[object, object]:
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise UsageError(f"{path}: is larger than {_MOST_BYTES // 1024} KB; a config.yaml holds a few lines")
        text = raw.decode("utf-8-sig")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise UsageError(f"{path}: holds an alias (*name); write the value out")
        data = yaml.safe_load(text)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is no UTF-8 text") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is no YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(node, yaml.MappingNode) or not isinstance(data, dict):
        raise UsageError(f"{path}: holds no settings; lines such as 'audio_chunk_size: 128' are wanted")
    keys = [key.value for key, _ in node.value]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise UsageError(f"{path}: the key {twice} stands twice; leave one")
    return data


def _sentence(error: ValidationError, data: Mapping[object, object]) -> str:
    first = error.errors()[0]
    place = first["loc"]
    if not place:
        return str(first["ctx"]["error"]) if "error" in first.get("ctx", {}) else str(first["msg"])
    key = str(place[0])
    if first["type"] == "extra_forbidden":
        return f"the key {key!r} is unknown{_near(key, [*_ALLOWED])}; known are {', '.join(_ALLOWED)}"
    if first["type"] == "missing":
        return f"the key {key} is missing; the first line of a config.yaml is '{key}: 1'"
    return f"{key} is {str(data.get(key))[:80]!r}; allowed is {_ALLOWED.get(key, first['msg'])}"


def _near(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(known), 1)
    return f" (did you mean {close[0]}?)" if close else ""
