"""Settings of a config.yaml under the options of a command: what the command line names wins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from toolkit.synthesis.speech_config import SpeechConfig

__all__ = ["configured"]

_OPTIONS: Mapping[str, str] = {
    "model": "model",
    "device": "device",
    "dtype": "precision",
    "codec_dtype": "codec_precision",
    "audio_chunk_size": "audio_chunk_size",
    "max_text_length": "max_text_length",
    "speaker": "speaker",
    "language": "language",
    "vram_limit": "vram_limit",
    "enable_cleanup": "enable_cleanup",
}
_VOICES = ("model", "voice", "reference")


def configured(
    context: typer.Context, path: Path | None, given: Mapping[str, object]
) -> tuple[dict[str, object], SpeechConfig | None]:
    """Options with the values of the file where the command line has none of its own, and the file.

    A speaker of the file belongs to its model: another model, or a voice to clone, leaves him out.

    Raises:
        UsageError: see :func:`toolkit.synthesis.speech_config.read_config`.
    """
    if path is None:
        return dict(given), None
    from toolkit.synthesis.speech_config import read_config

    file = read_config(path)
    own = file.settings()
    named = {name for name in context.params if _is_named(context, name)}
    values = {
        name: own[_OPTIONS[name]] if name in _OPTIONS and name not in named else value for name, value in given.items()
    }
    if "speaker" not in named and named.intersection(_VOICES):
        values["speaker"] = None
    return values, file


def _is_named(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
