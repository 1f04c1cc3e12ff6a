"""``qwen-audio listen``: measures and faults of recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit import __version__
from toolkit.cli.output import HtmlOption, JsonOption, emit

__all__ = ["listen"]

_LONGEST_REFERENCE = 15_000_000
"""Samples of all channels: ten minutes of 24 kHz mono."""


def listen(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recordings: WAV, FLAC, OGG.")],
    chunk: Annotated[
        int | None,
        typer.Option(
            "--chunk", metavar="FRAMES", min=1, max=40_000, help="audio_chunk_size: where seams of chunks lie."
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            metavar="FILE",
            help="What the voice was cloned from: its leaked end and swapped channels are told.",
        ),
    ] = None,
    as_json: JsonOption = False,
    html: HtmlOption = None,
) -> None:
    """Measure recordings of speech and find what is wrong with them, and where. Long files are read piece by piece.

    Exit code 0 without faults, 4 when all are blemishes, 3 when something is broken.
    """
    from toolkit.acoustics.hearing import hear_file
    from toolkit.acoustics.reading import read_wav
    from toolkit.doctor import listening
    from toolkit.doctor.listening import Heard

    beside = None if reference is None else read_wav(reference, max_samples=_LONGEST_REFERENCE)
    heard = []
    for path in files:
        one = hear_file(path, None if chunk is None else chunk * 0.08, beside)
        heard.append(Heard(str(path), one.duration_s, one.sample_rate_hz, one.channels, one.delivery, one.faults))
    emit(
        lambda: listening.document_of(heard, __version__), listening.to_json(heard), as_json=as_json, html=html
    )  # fmt: skip
    raise typer.Exit(listening.exit_code(heard))
