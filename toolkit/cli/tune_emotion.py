"""``qwen-audio tune emotion``: several wordings of one wish, spoken, measured, and ranked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit import __version__
from toolkit.cli.output import HtmlOption, JsonOption, PathOption, emit, note
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from toolkit.tuning.book import Book, Plan
    from toolkit.tuning.trials import Step

__all__ = [
    "BookOption",
    "DeviceOption",
    "FirstSeedOption",
    "KeepOption",
    "LanguageOption",
    "ModelOption",
    "OverwriteOption",
    "SeedsOption",
    "SpeakerOption",
    "emotion",
    "make_plan",
    "precisions_of",
    "show_book",
    "speak_plan",
]

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="Folder, repository, or its end, such as 1.7B-CustomVoice; pocket; random, random-0b6 or random-tiny for "
        "drawn weights.",
    ),
]
SpeakerOption = Annotated[str | None, typer.Option("--speaker", help="Who speaks; the model's usual unless given.")]
LanguageOption = Annotated[str, typer.Option("--language", help="Language of the text, or auto.")]
SeedsOption = Annotated[int, typer.Option("--seeds", metavar="N", min=3, max=64, help="Runs of each wording.")]
FirstSeedOption = Annotated[int, typer.Option("--seed", metavar="SEED", min=0, help="Seed of the first run.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cuda, cuda:1, cpu.")]
KeepOption = Annotated[
    Path | None, typer.Option("--keep-audio", metavar="DIR", help="Also keep a WAV file of each run.")
]
BookOption = Annotated[
    Path, typer.Option("--book", metavar="FILE", help="The prompt book; what it has already is not spoken again.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace a book of another plan.")]

_PRECISIONS = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"}


def emotion(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say; one or two sentences.")],
    instruct: Annotated[str, typer.Option("--instruct", metavar="TEXT", help="How to say it.")],
    variant: Annotated[
        list[str] | None, typer.Option("--variant", metavar="TEXT", help="A further wording; may be repeated.")
    ] = None,
    model: ModelOption = "pocket",
    speaker: SpeakerOption = None,
    language: LanguageOption = "auto",
    seeds: SeedsOption = 8,
    first_seed: FirstSeedOption = 1,
    precision: Annotated[
        str, typer.Option("--precision", metavar="LIST", help="auto, or one or more of bf16,fp16,fp32.")
    ] = "auto",
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, max=64, help="Runs side by side.")] = 8,
    device: DeviceOption = "auto",
    path: PathOption = "auto",
    book: BookOption = Path("emotion.yaml"),
    keep_audio: KeepOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    html: HtmlOption = None,
) -> None:
    """Find out whether an instruction does anything, whether that is what it asks for, and which wording does it best.

    The same command goes on where it was stopped or killed. Exit code 0 when the best wording reached what it asks
    for, 4 when not.
    """
    from toolkit.tuning.trial_voice import kind_and_size
    from toolkit.tuning.variants import variants_of

    kind, size = kind_and_size(model, speaker, language)
    variants = variants_of(instruct, further=variant or (), model_kind=kind, size=size, text_language=language)
    plan = make_plan(
        kind="emotion",
        text=text,
        instruction=instruct.strip(),
        variants=variants,
        model=model,
        speaker=speaker,
        language=language,
        seeds=seeds,
        first_seed=first_seed,
        precisions=precisions_of(precision, device),
        batch=batch,
        device=device,
        path=path,
    )
    done = speak_plan(plan, book, keep_audio=keep_audio, overwrite=overwrite, quiet=as_json)
    show_book(done, as_json=as_json, html=html)


def show_book(book: Book, *, as_json: bool, html: Path | None) -> None:
    """Print a book and leave with its exit code."""
    from toolkit.tuning.report import document_of, exit_code, to_json

    emit(lambda: document_of(book, __version__), to_json(book), as_json=as_json, html=html)
    raise typer.Exit(exit_code(book))


def make_plan(**fields: object) -> Plan:
    """A plan, its text and options checked before anything is loaded. Raises UsageError or BadText."""
    from pydantic import ValidationError

    from toolkit.synthesis.fast.path import check_path
    from toolkit.synthesis.limits import check_length
    from toolkit.synthesis.text import clean_text
    from toolkit.tuning.book import Plan

    text = clean_text(str(fields["text"]))
    check_length(text)
    check_path(str(fields["path"]))
    try:
        return Plan(**fields)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        told = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{place}: {told}" if place else told) from None


def precisions_of(listed: str, device: str) -> tuple[str, ...]:
    """Names of a list such as "bf16,fp32"; "auto" is what ``speak`` would take.

    Raises:
        UsageError: a name that is none, or twice the same.
    """
    names = [name.strip().lower() for name in listed.split(",") if name.strip()]
    if names == ["auto"]:
        from toolkit.tuning.trial_voice import usual_precision

        return (usual_precision(device),)
    full = [_PRECISIONS.get(name, name) for name in names]
    wrong = [name for name in full if name not in _PRECISIONS.values()]
    if wrong or not full or len(set(full)) != len(full):
        raise UsageError(f"--precision {listed}: give auto, or one or more of bf16, fp16, fp32, each once")
    return tuple(full)


def speak_plan(plan: Plan, book: Path, *, keep_audio: Path | None, overwrite: bool, quiet: bool) -> Book:
    """Speak what is missing, with a bar on a terminal."""
    from toolkit.tuning.trials import run_plan

    with _bar(plan.total) as on_step:
        try:
            done = run_plan(plan, book, on_step=on_step, keep_audio=keep_audio, overwrite=overwrite)
        except KeyboardInterrupt:
            note(f"what is spoken so far is kept; the same command goes on with {book}")
            raise
    if not quiet:
        note(f"wrote {book}")
    return done


@contextmanager
def _bar(total: int) -> Iterator[Callable[[Step], None] | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[told]}"), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("trials", total=total, told="")

        def on_step(step: Step) -> None:
            told = "" if step.left_s is None else f"about {step.left_s:.0f} s left"
            bar.update(task, completed=step.done, told=told)

        yield on_step
