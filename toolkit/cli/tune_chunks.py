"""``qwen-audio tune chunks``: settings that make a model fast below a limit of memory, kept as config.yaml."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from toolkit.cli.output import JsonOption, json_text, note
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from toolkit.tuning.chunk_knobs import Aim, Settings, Tried
    from toolkit.tuning.chunk_tuner import ChunkTuner

__all__ = ["chunks"]

_WIDTH = 118


def chunks(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Folder, repository, or its end; pocket; or 1b7, 0b6, tiny: random weights of those shapes.",
        ),
    ] = "pocket",
    device: Annotated[str, typer.Option("--device", help="auto, cuda, cuda:1, cpu.")] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision", metavar="LIST", help="Of bf16,fp16,fp32: those to compare. A card: bf16, a CPU: fp32,bf16."
        ),
    ] = None,
    vram_limit: Annotated[
        str | None,
        typer.Option(
            "--vram-limit",
            metavar="SIZE",
            help="Most memory: 8GB, 80%. A hard cap on a card, which stands for a smaller one in memory, not in time; "
            "on a CPU that of the process, compared afterwards.",
        ),
    ] = None,
    aim: Annotated[str, typer.Option("--aim", help="What to make small: time, first-audio, both.")] = "time",
    trials: Annotated[int, typer.Option("--trials", metavar="N", help="Sets of values, in all.")] = 40,
    runs: Annotated[int, typer.Option("--runs", metavar="N", help="Calls in a row that each has to pass.")] = 5,
    text: Annotated[str | None, typer.Option("--text", metavar="TEXT", help="What to say.")] = None,
    speaker: Annotated[str | None, typer.Option("--speaker", help="Speaker of a custom voice model.")] = None,
    study: Annotated[
        Path,
        typer.Option("--study", metavar="FILE", help="Keeps every trial; the same command goes on with it."),
    ] = Path("chunks.sqlite3"),
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="Where the best settings go, for speak --config.")
    ] = Path("config.yaml"),
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Also draw time against memory: .png, .svg, .pdf.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing config.yaml.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the search and of the speech.")] = 1,
    timeout_s: Annotated[float, typer.Option("--timeout-s", metavar="S", help="After which a trial is ended.")] = 600.0,
    presets: Annotated[
        bool,
        typer.Option("--presets", help="Instead: the settings for cards of 6 to 24 GB, and where each comes from."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Find chunk size, text length, batch, stream pieces, text table and precision that are fastest below a limit.

    Each trial runs in a process of its own; what cannot fit by the forecast is not run. A killed sweep goes on where it
    was when the same command is given again. Exit code 3 when no trial passed.
    """
    if presets:
        _show_presets(as_json)
        return
    from toolkit.synthesis.speech_config import write_config
    from toolkit.synthesis.whole_file import check_output
    from toolkit.tuning.chunk_report import best_of, config_of, plot_front, report_json
    from toolkit.tuning.chunk_tuner import ChunkPlan, ChunkTuner

    plan = ChunkPlan(
        model=model,
        device=device,
        precisions=() if precision is None else tuple(word.strip().lower() for word in precision.split(",")),
        limit=vram_limit,
        aim=cast("Aim", aim),
        trials=trials,
        runs=runs,
        text=text,
        speaker=speaker,
        seed=seed,
        deadline_s=timeout_s,
    )
    check_output(out, overwrite=overwrite)
    if plot is not None:
        check_output(plot, overwrite=True)
        if plot.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise UsageError(f"{plot}: a picture ends in .png, .svg or .pdf")
    tuner = ChunkTuner(plan)
    for told in tuner.notes:
        note(told)
    with _told(tuner, as_json) as steps:
        found = tuner.run(study, *steps)
    if not as_json:
        _show(found, tuner)
    origin = tuner.origin(found)
    best = best_of(found, plan.aim)
    assert best is not None  # noqa: S101 - for the type checker; without one, origin() has raised
    limit = vram_limit if tuner.card else None
    config = config_of(
        best, tuner.space, model=model, device=str(tuner.device["device"]), speaker=speaker, origin=origin, limit=limit
    )
    if plot is not None:
        title = f"{tuner.model_name} on {tuner.device['name']}, {plan.runs} runs a trial"
        plot_front(found, plan.aim, plot, limit_bytes=tuner.limit_bytes, title=title)
        note(f"wrote {plot}")
    write_config(config, out, overwrite=overwrite)
    note(f"wrote {out}: {origin}")
    if as_json:
        data = {"device": tuner.device, "limit_bytes": tuner.limit_bytes, "notes": list(tuner.notes)}
        files = {"config": str(out), "study": str(study), "settings": config.settings()}
        print(
            json_text(
                {"schema": 1, "kind": "tune-chunks", **data, **report_json(found, tuner.space, plan.aim), **files}
            )
        )


@contextmanager
def _told(tuner: ChunkTuner, as_json: bool) -> Iterator[tuple[Any, Any]]:
    """A bar with the best so far on a terminal, a line a trial elsewhere, nothing with ``--json``."""
    from toolkit.tuning.chunk_report import best_of

    done: list[Tried] = []

    def best_so_far() -> str:
        best = best_of(done, tuner.plan.aim)
        return "nothing passed yet" if best is None else f"best: trial {best.slot}, {_figures(best)}"

    if as_json:
        yield (lambda _: None), (lambda _: None)
    elif not sys.stderr.isatty():

        def line(trial: Tried) -> None:
            done.append(trial)
            told = (trial.fault or "")[:100] if trial.values is None else _figures(trial)
            note(f"trial {trial.slot}: {_settings(trial.settings)}: {told}; {best_so_far()}")

        yield line, (lambda _: None)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[told]}"))
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            total = min(tuner.plan.trials, tuner.space.size)
            task = bar.add_task("", total=total, told="")

            def step(trial: Tried) -> None:
                done.append(trial)
                bar.update(task, completed=trial.slot + 1, told=best_so_far())

            def begin(settings: Settings) -> None:
                bar.update(task, told=f"{best_so_far()}; now {_settings(settings)}")

            yield step, begin


def _show_presets(as_json: bool) -> None:
    from toolkit.tuning.presets import presets

    if as_json:
        rows = [preset.model_dump() for preset in presets()]
        print(json_text({"schema": 1, "kind": "tune-chunks-presets", "presets": rows}))
        return
    for preset in presets():
        print(
            f"{preset.card_gb:>2} GB, {preset.size}: audio_chunk_size {preset.audio_chunk_size}, max_text_length "
            f"{preset.max_text_length}, batch {preset.batch}, text_table {preset.text_table}, {preset.precision}; "
            f"{preset.source.kind}: {preset.source.told}"
        )


def _settings(settings: Settings) -> str:
    return (
        f"chunk {settings.audio_chunk_size}, {settings.max_text_length} characters, batch {settings.batch}, "
        f"pieces {settings.chunk_frames}, table {settings.text_table}, {settings.precision}"
    )


def _figures(trial: Tried) -> str:
    found = trial.measured
    if found is None:
        return ""
    told = [] if found.s_per_s is None else [f"{found.s_per_s:.3f} s/s"]
    told += [] if found.start_s is None else [f"start {found.start_s * 1000:.0f} ms"]
    return ", ".join([*told, f"{(found.peak_bytes or 0) / 1e9:.2f} GB"])


def _show(trials: tuple[Tried, ...], tuner: ChunkTuner) -> None:
    from rich.console import Console, Group
    from rich.table import Table
    from rich.text import Text

    from toolkit.tuning.chunk_report import LABELS, best_of, front_of, importance_of

    best, front = best_of(trials, tuner.plan.aim), front_of(trials)
    table = Table("trial", "chunk", "characters", "batch", "pieces", "table", "precision", "s/s", "start ms", "peak GB")
    for trial in front:
        own, found = trial.settings, trial.measured
        assert found is not None  # noqa: S101 - for the type checker; what passed was measured
        table.add_row(
            f"{trial.slot}{' *' if best is not None and trial.slot == best.slot else ''}",
            *(str(own.audio_chunk_size), str(own.max_text_length), str(own.batch), own.chunk_frames, own.text_table),
            own.precision,
            "-" if found.s_per_s is None else f"{found.s_per_s:.3f}",
            "-" if found.start_s is None else f"{found.start_s * 1000:.0f}",
            f"{(found.peak_bytes or 0) / 1e9:.2f}",
        )
    refused = sum(trial.forecast for trial in trials)
    failed = sum(trial.values is None for trial in trials) - refused
    lines = [
        f"{len(trials)} trials: {len(trials) - refused - failed} passed, {refused} not run since they cannot fit, "
        f"{failed} failed. Above: those that no other beats in all figures; * is taken."
    ]
    for name, shares in importance_of(trials, tuner.space, tuner.plan.aim).items():
        lines.append(f"what bears on {LABELS[name]}: " + ", ".join(f"{k} {v:.0%}" for k, v in shares.items()))
    faults: dict[str, int] = {}
    for trial in trials:
        if trial.fault:
            faults[trial.fault] = faults.get(trial.fault, 0) + 1
    lines += [f"{count} x {fault[:200]}" for fault, count in sorted(faults.items(), key=lambda each: -each[1])[:3]]
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    console.print(Group(table, *(Text(line) for line in lines)))
