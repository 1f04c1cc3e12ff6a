"""``qwen-audio bench``: how fast it speaks here, by stage, by batch, against the memory's bandwidth and the peers."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.output import JsonOption, PathOption, json_text, note, write_text
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from toolkit.bench.measuring import OnStep
    from toolkit.bench.plan import BenchPlan

__all__ = ["bench"]

_TABLE_COLUMNS = 110


def bench(
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="MODEL", help="A CustomVoice checkpoint: folder, repository, or its end. Else --size."
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            help="1b7 or 0b6: random weights of the published shapes; tiny: of a toy; pocket: the small voice that "
            "comes with the toolkit. Default: 1b7 on a card, pocket on a CPU.",
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cuda, cuda:1, cpu.")] = "auto",
    precision: Annotated[
        str, typer.Option("--precision", metavar="LIST", help="One after the other: auto, or of bf16,fp16,fp32.")
    ] = "auto",
    path: PathOption = "auto",
    codec: Annotated[
        str, typer.Option("--codec-dtype", metavar="DTYPE", help="Of the codec: auto, bf16, tf32, fp32.")
    ] = "auto",
    frames: Annotated[
        int | None, typer.Option("--frames", metavar="N", help="Most frames (80 ms) of a call: 333 on a card, else 50.")
    ] = None,
    batch: Annotated[
        str | None, typer.Option("--batch", metavar="LIST", help="Texts side by side: 1,8,32 on a card, else 1,4.")
    ] = None,
    chunk: Annotated[str, typer.Option("--chunk", metavar="LIST", help="Frames of the pieces of a stream.")] = "1",
    repeat: Annotated[
        int | None,
        typer.Option("--repeat", metavar="N", help="Timed calls: 5 on a card, else 3; 50 for the tutorial's table."),
    ] = None,
    text: Annotated[str | None, typer.Option("--text", metavar="TEXT", help="What to say.")] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="LIST", help="Also measure, where installed: faster-qwen3-tts, qwen-tts."),
    ] = None,
    peer_python: Annotated[
        list[str] | None,
        typer.Option(
            "--peer-python",
            metavar="[NAME=]PATH",
            help="Interpreter that has the peers, or the one of that name; may be given several times. Default: this "
            "one.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of random weights and of draws.")] = 1,
    tune: Annotated[
        bool,
        typer.Option(
            "--tune",
            help="Instead of measuring speech: look for the kernel sizes that suit this card and model, some minutes, "
            "and keep them for every later run. Goes on where it was stopped.",
        ),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FOLDER",
            help="Instead of measuring: draw the documents that --out left in a folder, as speed.png and batches.png.",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="16 frames, two repeats, batch 1, no cold start: does it work at all?")
    ] = False,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="FILE", help="Also write the JSON; in a folder (ending in /) as <card>.json."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how fast it speaks here: ms a frame by stage, first audio, batches, memory, bandwidth, throttling.

    A table on standard error, one JSON document as the last line of standard output. Exit code 0 well, 3 when a
    precision failed, 4 when the card was slowed down meanwhile, so that the figures do not count.
    """
    if plot is not None:
        if tune or out is not None:
            raise UsageError("--plot draws what was measured before; leave --tune and --out out")
        _plot(plot.expanduser(), as_json)
        return
    from toolkit.bench.plan import BenchPlan, names_of, numbers_of

    plan = BenchPlan(
        model=model,
        size=size.lower() if size is not None else None,
        device=device,
        precisions=names_of(precision, "--precision"),
        frames=frames,
        batches=None if batch is None else numbers_of(batch, "--batch"),
        chunks=numbers_of(chunk, "--chunk"),
        repeats=repeat,
        text=text,
        against=() if against is None else names_of(against, "--against"),
        peer_python=tuple(peer_python or ()),
        quick=quick,
        seed=seed,
        path=path.lower(),
        codec=codec,
    )
    if tune:
        if out is not None or against is not None or quick:
            raise UsageError("--tune measures kernels alone; leave --out, --against and --quick out")
        _tune(plan, as_json)
        return
    place = None if out is None else _place(out)
    from toolkit.bench import document as room

    def write(found: dict[str, object]) -> Path | None:
        if place is None:
            return None
        file = place / room.file_name(found) if place.is_dir() else place
        write_text(file, json_text(found) + "\n")
        return file

    with _told(as_json) as on_step:
        found = room.bench(plan, on_step, on_partial=write)
    if not as_json:
        _show(found)
    file = write(found)
    if file is not None and not as_json:
        note(f"wrote {file}")
    print(json_text(found, indent=None))
    raise typer.Exit(room.exit_code(found))


def _tune(plan: BenchPlan, as_json: bool) -> None:
    from toolkit.bench import tune as room

    with _told(as_json) as on_step:
        found = room.tune(plan, on_step)
    if not as_json:
        from toolkit.bench.tune_table import table_of

        _print_beside(table_of(found))
        note(f"kept in {found['file']}")
    print(json_text(found, indent=None))


def _plot(folder: Path, as_json: bool) -> None:
    from toolkit.bench.plots import plot

    files, notes = plot(folder)
    for told in notes:
        note(told)
    if as_json:
        print(json_text({"schema": 1, "kind": "bench-plot", "files": [str(file) for file in files]}))
    else:
        for file in files:
            print(f"wrote {file}")


def _place(out: str) -> Path:
    """A file or a folder that can be written, looked at before minutes of measuring."""
    path = Path(out).expanduser()
    folder = path if out.endswith(("/", "\\")) or path.is_dir() else path.parent
    if not folder.is_dir():
        raise UsageError(f"--out {out}: there is no folder {folder}")
    return path


@contextmanager
def _told(as_json: bool) -> Iterator[OnStep]:
    """What is measured now: a line that changes on a terminal, a note a step elsewhere, nothing with ``--json``."""
    if as_json:
        yield lambda _: None
    elif not sys.stderr.isatty():
        yield note
    else:
        from rich.console import Console

        with Console(stderr=True).status("") as status:
            yield status.update


def _show(found: Mapping[str, object]) -> None:
    from toolkit.bench.table import tables_of

    _print_beside(tables_of(found))


def _print_beside(shown: RenderableType) -> None:
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        console = Console(stderr=True, width=_TABLE_COLUMNS)
    console.print(shown)
