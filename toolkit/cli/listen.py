"""``qwen-audio listen``: measures and faults of recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit import __version__
from toolkit.cli.output import HtmlOption, JsonOption, emit, note

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
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="OTHER", help="Another recording of the same text: show what differs."),
    ] = None,
    spread: Annotated[
        list[Path] | None,
        typer.Option(
            "--spread", metavar="FILE", help="The same text by other seeds, 3 or more: what differs by chance. Repeat."
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw the recordings (up to 4) into a .png or .svg."),
    ] = None,
    as_json: JsonOption = False,
    html: HtmlOption = None,
) -> None:
    """Measure recordings of speech and find what is wrong with them, and where.

    Exit code 0 without faults, 4 when all are blemishes, 3 when something is broken. Faults of OTHER do
    not count.
    """
    from toolkit.acoustics.faults import find_faults
    from toolkit.acoustics.reading import read_wav
    from toolkit.acoustics.voice import measure_voice
    from toolkit.cli.listen_beside import Listened, check_options, compare_all, draw
    from toolkit.doctor import listening
    from toolkit.doctor.listening import Heard

    check_options(files, plot, against, spread or ())
    seam_s = None if chunk is None else chunk * 0.08

    def hear(path: Path) -> Listened:
        recording = read_wav(path, max_samples=_LONGEST_SAMPLES)
        voice = None
        if recording.duration_s >= _SHORTEST_S:
            voice = measure_voice(recording.finite_mono(), recording.sample_rate, text)
        return Listened(path, recording, voice, find_faults(recording, seam_s))

    listened = [hear(path) for path in files]
    other = None if against is None else hear(against)
    compared = [] if other is None else compare_all(listened, other, [hear(path) for path in spread or ()])
    if plot is not None:
        drawn = listened if other is None else [other, *listened]
        draw(plot, drawn, compared[0].comparison if compared else None)
        note(f"wrote {plot}")
    heard = [
        Heard(
            str(one.path), one.recording.duration_s, one.recording.sample_rate, one.recording.channel_count,
            one.voice, one.faults,
        )
        for one in listened
    ]  # fmt: skip
    emit(
        lambda: listening.document_of(heard, __version__, compared),
        listening.to_json(heard, compared),
        as_json=as_json,
        html=html,
    )
    raise typer.Exit(listening.exit_code(heard))
