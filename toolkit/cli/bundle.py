"""``qwen-audio bundle``: one redacted file to attach to an issue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit import __version__
from toolkit.cli.diagnose import AudioOption, FactOption, pairs
from toolkit.cli.output import HtmlOption, JsonOption, emit, note

__all__ = ["bundle"]


def bundle(
    logs: Annotated[list[str] | None, typer.Argument(metavar="[LOG]...", help="Logs to take in.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The zip to write.")] = Path(
        "qwen-audio-bundle.zip"
    ),
    words: Annotated[str, typer.Option("--words", metavar="TEXT", help="What happens, in your own words.")] = "",
    fact: FactOption = None,
    audio: AudioOption = None,
    python: Annotated[str | None, typer.Option("--python", metavar="PATH", help="Interpreter of the service.")] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="PATH", help="Model folder.")] = None,
    service: Annotated[Path | None, typer.Option("--service", metavar="DIR", help="Folder of the service.")] = None,
    no_doctor: Annotated[bool, typer.Option("--no-doctor", help="Leave the facts of this machine out.")] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show what would be in it and what was removed; write nothing.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    as_json: JsonOption = False,
    html: HtmlOption = None,
) -> None:
    """Put logs, facts and measures into one redacted zip, with a ledger of what was removed.

    Recordings are measured, never taken in. Read it before you share it: the ledger also says what is not redacted.
    """
    import toolkit.doctor as room
    from toolkit.doctor import bundle_view

    made = room.bundle(
        logs=logs or (),
        words=words,
        told=dict(pairs(fact or [], "--fact")),
        audio=audio or (),
        python=python,
        model=model,
        service=service,
        with_doctor=not no_doctor,
        on_slow=lambda probe: note(f"still running: {probe.title} (up to {probe.deadline_s:.0f} s)"),
    )
    if not preview:
        room.write_bundle(made, output, overwrite=overwrite)
    written = None if preview else output
    emit(
        lambda: bundle_view.document_of(made, written, __version__),
        bundle_view.to_json(made, written),
        as_json=as_json,
        html=html,
    )
