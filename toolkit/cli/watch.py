"""``qwen-audio watch``: what the card does while the service works."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from toolkit import __version__
from toolkit.cli.output import HtmlOption, JsonOption, emit, note

__all__ = ["watch"]


def watch(
    interval: Annotated[float, typer.Option("--interval", "-i", metavar="SECONDS", help="Time between samples.")] = 1.0,
    duration: Annotated[
        float | None,
        typer.Option("--duration", "-d", metavar="SECONDS", help="Stop after this time. Default: until Ctrl-C."),
    ] = None,
    gpu: Annotated[int, typer.Option("--gpu", metavar="N", help="Card number, as nvidia-smi counts.")] = 0,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also append every sample to a CSV file.")
    ] = None,
    as_json: JsonOption = False,
    html: HtmlOption = None,
) -> None:
    """Show utilisation, memory, clocks, power and throttle reasons, live, and judge the utilisation at the end.

    A service that speaks should keep a card at a steady 60 to 95 %; long below 30 % means that the card waits.
    Exit code 0 well, 4 when the card waited, worked unevenly or was throttled, 3 when there is no card to watch.
    """
    from contextlib import ExitStack

    from toolkit.doctor import watching
    from toolkit.probe.watch import CsvWriter, format_line, summarise
    from toolkit.probe.watch import watch as samples_of

    live = sys.stdout.isatty() and not as_json
    taken = []
    with ExitStack() as stack:
        writer = stack.enter_context(CsvWriter(csv)) if csv else None
        try:
            for sample in samples_of(interval, duration, gpu):
                taken.append(sample)
                if writer:
                    writer.write(sample)
                if not as_json:
                    print(
                        f"\r\x1b[K{format_line(sample)}" if live else format_line(sample),
                        end="" if live else "\n",
                        flush=True,
                    )
        except KeyboardInterrupt:
            note("")  # Ctrl-C is how a watch ends; the summary follows on a line of its own
    if live:
        print()
    summary = summarise(taken)
    emit(
        lambda: watching.document_of(summary, taken, __version__),
        watching.to_json(summary, taken),
        as_json=as_json,
        html=html,
    )
    raise typer.Exit(watching.exit_code(summary))
