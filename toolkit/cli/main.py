"""The ``qwen-audio`` command and its sub-commands; heavy modules load inside the command that needs them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from toolkit import __version__
from toolkit.cli import bench, bundle, diagnose, doctor, lab, listen, model, rules, speak, tune, watch
from toolkit.cli.output import guarded

__all__ = ["app", "main"]

app = typer.Typer(
    name="qwen-audio",
    help="Find out why local Qwen3-TTS is slow, silent, noisy or broken, and put it right.",
    epilog="Exit codes: 0 well, 1 our fault, 2 bad usage or bad rule file, 3 something fails, 4 only warnings.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"qwen-audio {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Checking changes nothing on the machine and uses no network."""


app.command("doctor")(doctor.doctor)
app.command("diagnose")(diagnose.diagnose)
app.command("recheck")(diagnose.recheck)
app.command("watch")(watch.watch)
app.command("listen")(listen.listen)
app.command("bundle")(bundle.bundle)
app.add_typer(rules.app, name="rules")
app.command("speak")(speak.speak)
app.command("bench")(bench.bench)
app.add_typer(model.app, name="model")
app.add_typer(tune.app, name="tune")
app.command("lab")(lab.lab)
app.command("app")(lab.app)
app.command("demo-model")(model.demo_model)


def main() -> None:
    """Entry point of the console script."""
    sys.exit(guarded(_run))


def _run() -> int:
    code = app(prog_name="qwen-audio", standalone_mode=False)
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    main()
