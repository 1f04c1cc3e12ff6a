"""``qwen-audio doctor``: facts of an interpreter and its card, judged against the requirements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit import __version__
from toolkit.cli.output import HtmlOption, JsonOption, RulesOption, emit, note
from toolkit.errors import UsageError

__all__ = ["doctor"]


def doctor(
    python: Annotated[
        str | None,
        typer.Option(
            "--python",
            metavar="PATH",
            help="Interpreter to look at: an executable, a venv or a conda folder. Default: this one.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="PATH", help="Model folder, or a repository id that is in the local hub cache."
        ),
    ] = None,
    service: Annotated[
        Path | None, typer.Option("--service", metavar="DIR", help="Folder of the service: start scripts, config.yaml.")
    ] = None,
    gpu: Annotated[int | None, typer.Option("--gpu", metavar="N", help="Card number, as nvidia-smi counts.")] = None,
    facts: Annotated[
        Path | None,
        typer.Option(
            "--facts",
            metavar="FILE",
            help="Judge a facts file or a doctor's JSON from elsewhere instead of this machine.",
        ),
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--compare", metavar="GOOD BAD", help="Compare two doctor JSON files: a good machine and a bad one."
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show threshold and reason of every row.")] = False,
    rules: RulesOption = None,
    as_json: JsonOption = False,
    html: HtmlOption = None,
) -> None:
    """Check this machine, or another interpreter, for running Qwen3-TTS in BF16.

    Changes nothing and uses no network. Exit code 0 well, 3 something fails, 4 only warnings.
    """
    import toolkit.doctor as room
    from toolkit.doctor import comparison, report

    if compare is not None:
        if python or model or service or facts or gpu is not None:
            raise UsageError("--compare takes two doctor files and looks at nothing else; leave the other options out")
        result = room.compare_files(compare[0], compare[1], rules=rules or ())
        emit(
            lambda: comparison.document_of(result, str(compare[0]), str(compare[1]), __version__),
            result.to_json(),
            as_json=as_json,
            html=html,
        )
        raise typer.Exit(result.exit_code)
    if facts is not None and (python or model or service or gpu is not None):
        raise UsageError("--facts judges a file from elsewhere; leave --python, --model, --service and --gpu out")
    found = room.examine(
        python=python,
        model=model,
        service=service,
        gpu_index=gpu,
        facts=facts,
        rules=rules or (),
        on_slow=lambda probe: note(f"still running: {probe.title} (up to {probe.deadline_s:.0f} s)"),
    )
    emit(lambda: report.document_of(found, verbose=verbose), found.to_json(), as_json=as_json, html=html)
    raise typer.Exit(found.exit_code)
