"""``qwen-audio tune precision``: whether BF16, FP16 or FP32 change the voice by more than its seeds do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.output import HtmlOption, JsonOption, PathOption, note
from toolkit.cli.tune_emotion import (
    BookOption,
    DeviceOption,
    FirstSeedOption,
    KeepOption,
    LanguageOption,
    ModelOption,
    OverwriteOption,
    SeedsOption,
    SpeakerOption,
    make_plan,
    precisions_of,
    show_book,
    speak_plan,
)
from toolkit.errors import UsageError

__all__ = ["precision"]


def precision(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say; one or two sentences.")],
    instruct: Annotated[str, typer.Option("--instruct", metavar="TEXT", help="How to say it; may be left out.")] = "",
    precisions: Annotated[
        str,
        typer.Option("--precision", metavar="LIST", help="The first is what the others are compared with."),
    ] = "bf16,fp16,fp32",
    model: ModelOption = "pocket",
    speaker: SpeakerOption = None,
    language: LanguageOption = "auto",
    seeds: SeedsOption = 8,
    first_seed: FirstSeedOption = 1,
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, max=64, help="Runs side by side.")] = 8,
    device: DeviceOption = "auto",
    path: PathOption = "auto",
    book: BookOption = Path("precision.yaml"),
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Also draw the runs: .png or .svg.")
    ] = None,
    keep_audio: KeepOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    html: HtmlOption = None,
) -> None:
    """Compare precisions with the same text and the same seeds, beside the spread between seeds.

    Exit code 0 when no measure differs by more than that spread and no run fails, else 4.
    """
    from toolkit.tuning.book import Variant
    from toolkit.tuning.precision_plot import check_plot, plot_precisions
    from toolkit.tuning.trial_voice import kind_and_size

    names = precisions_of(precisions, device)
    if len(names) < 2:
        raise UsageError(f"--precision {precisions}: comparing takes at least two")
    if plot is not None:
        check_plot(plot, overwrite=overwrite)
    kind_and_size(model, speaker, language)
    plan = make_plan(
        kind="precision",
        text=text,
        instruction=instruct.strip(),
        variants=(Variant(number=0, origin="yours" if instruct.strip() else "none", instruction=instruct.strip()),),
        model=model,
        speaker=speaker,
        language=language,
        seeds=seeds,
        first_seed=first_seed,
        precisions=names,
        batch=batch,
        device=device,
        path=path,
    )
    done = speak_plan(plan, book, keep_audio=keep_audio, overwrite=overwrite, quiet=as_json)
    if plot is not None:
        note(f"wrote {plot_precisions(done, plot, overwrite=overwrite)}")
    show_book(done, as_json=as_json, html=html)
