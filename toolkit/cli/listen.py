"""``qwen-audio listen``: measures and faults of recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit import __version__
from toolkit.cli.output import HtmlOption, JsonOption, emit

__all__ = ["listen"]

_LONGEST_SAMPLES = 5_000_000
"""Samples of all channels: 3.4 minutes of 24 kHz mono, longer than the 2,048 frames at which a run is cut off."""
_SHORTEST_S = 0.05


def listen(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recordings: WAV, FLAC, OGG.")],
    chunk: Annotated[
        int | None,
        typer.Option(
            "--chunk", metavar="FRAMES", min=1, max=40_000, help="audio_chunk_size: where seams of chunks lie."
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", metavar="TEXT", help="What is said: gives the pace from the text.")
    ] = None,
    as_json: JsonOption = False,
    html: HtmlOption = None,
) -> None:
    """Measure recordings of speech and find what is wrong with them, and where.

    Exit code 0 without faults, 4 when all are blemishes, 3 when something is broken.
    """
    from toolkit.acoustics.faults import find_faults
    from toolkit.acoustics.reading import read_wav
    from toolkit.acoustics.voice import measure_voice
    from toolkit.doctor import listening
    from toolkit.doctor.listening import Heard

    heard = []
    for path in files:
        recording = read_wav(path, max_samples=_LONGEST_SAMPLES)
        voice = None
        if recording.duration_s >= _SHORTEST_S:
            voice = measure_voice(recording.finite_mono(), recording.sample_rate, text)
        faults = find_faults(recording, None if chunk is None else chunk * 0.08)
        rate, channels = recording.sample_rate, recording.channel_count
        heard.append(Heard(str(path), recording.duration_s, rate, channels, voice, faults))
    emit(
        lambda: listening.document_of(heard, __version__), listening.to_json(heard), as_json=as_json, html=html
    )  # fmt: skip
    raise typer.Exit(listening.exit_code(heard))
