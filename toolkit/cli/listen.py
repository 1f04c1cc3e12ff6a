"""``qwen-audio listen``: measures and faults of recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit import __version__
from toolkit.cli.output import HtmlOption, JsonOption, emit, note

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
    text: Annotated[
        str | None, typer.Option("--text", metavar="TEXT", help="What is said: gives the pace from the text.")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            metavar="FILE",
            help="What the voice was cloned from: its leaked end and swapped channels are told.",
        ),
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
    """Measure recordings of speech and find what is wrong with them, and where. Long files are read piece by piece.

    Exit code 0 without faults, 4 when all are blemishes, 3 when something is broken. Faults of OTHER do
    not count.
    """
    from toolkit.acoustics.reading import read_wav
    from toolkit.cli.listen_beside import Hearing, check_options, compare_all, draw
    from toolkit.doctor import listening

    check_options(files, plot, against, spread or ())
    cloned_from = None if reference is None else read_wav(reference, max_samples=_LONGEST_REFERENCE)
    hearing = Hearing(None if chunk is None else chunk * 0.08, cloned_from, text)
    # Only what is drawn or compared has to lie in memory as a whole.
    whole = against is not None or plot is not None
    listened = [hearing.hear(path, whole=whole) for path in files]
    other = None if against is None else hearing.hear(against, whole=True)
    seeds = [hearing.hear(path, whole=True) for path in spread or ()]
    compared = [] if other is None else compare_all(listened, other, seeds)
    if plot is not None:
        drawn = listened if other is None else [other, *listened]
        draw(plot, drawn, compared[0].comparison if compared else None)
        note(f"wrote {plot}")
    heard = [one.heard for one in listened]
    emit(
        lambda: listening.document_of(heard, __version__, compared),
        listening.to_json(heard, compared),
        as_json=as_json,
        html=html,
    )
    raise typer.Exit(listening.exit_code(heard))
