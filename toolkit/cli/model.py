"""``qwen-audio model`` and ``qwen-audio demo-model``: fetch, check and describe a model, or write a tiny one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from toolkit.cli.output import JsonOption, json_text, note
from toolkit.errors import EXIT_FAILS, EXIT_WELL

__all__ = ["app", "demo_model"]

app = typer.Typer(help="Fetch, check and describe models.", no_args_is_help=True)

NameArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="Folder, repository, its end, such as 1.7B-CustomVoice, or pocket.")
]


@app.command("download")
def download(
    name: NameArgument,
    revision: Annotated[str | None, typer.Option("--revision", help="Another revision than the pinned one.")] = None,
    source: Annotated[str, typer.Option("--source", help="hf, or modelscope.")] = "hf",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="A folder of its own instead of the cache.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a model; an interrupted download goes on where it stopped."""
    from toolkit.synthesis.hub import download_model, find_model

    kind = cast("Literal['hf', 'modelscope']", source)
    if to is None:
        found = find_model(name, revision=revision, source=kind)
    else:
        found = download_model(name, revision=revision, source=kind, to=to)
    if found.note:
        note(found.note)
    data = {"folder": str(found.folder), "repository": found.repository, "revision": found.revision}
    if as_json:
        print(json_text({"schema": 1, "kind": "model-download", **data}))
    else:
        print(found.folder)


@app.command("verify")
def verify(
    name: NameArgument,
    values: Annotated[bool, typer.Option("--values", help="Also read all weights for NaN and infinity.")] = False,
    hashes: Annotated[bool, typer.Option("--hashes", help="Also compare cached files with their hashes.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every file of a model, without loading it and without the network.

    Exit code 0 when all is well, 3 when a file is missing or damaged.
    """
    from toolkit.synthesis.pocket_voice import is_pocket

    facts = _pocket_facts(values) if is_pocket(name) else _facts_of(_here(name), values, hashes)
    spoiled = facts.get("model.nonfinite_tensors")
    bad_values = spoiled if isinstance(spoiled, list) else []
    sound = facts["model.state"] == "complete" and not bad_values
    code = EXIT_WELL if sound else EXIT_FAILS
    files = cast("list[dict[str, object]]", facts.get("model.files") or [])
    if as_json:
        data = {
            "path": str(facts["model.path"]),
            "state": facts["model.state"],
            "problem": facts["model.problem"],
            "problem_text": facts["model.problem_text"],
            "files": files,
            "bad_values": bad_values,
            "warnings": facts["model.warnings"],
        }
        print(json_text({"schema": 1, "kind": "model-verify", "exit_code": code, **data}))
        raise typer.Exit(code)
    for row in files:
        count = row["bytes"]
        size = f"{count:,}" if isinstance(count, int) else "-"
        print(f"{row['verdict']!s:<14}  {size:>15}  {row['name']}")
    for row in cast("list[dict[str, object]]", bad_values):
        print(f"{'not finite':<14}  {'':>15}  {row['file']}: {row['tensor']} ({row['nan']} NaN, {row['infinite']} inf)")
    print(f"{facts['model.path']}: {facts['model.state']}. {facts['model.problem_text'] or ''}".rstrip())
    for warning in cast("list[str]", facts["model.warnings"]):
        note(str(warning))
    raise typer.Exit(code)


@app.command("info")
def info(name: NameArgument, as_json: JsonOption = False) -> None:
    """Say what a model is: kind, size, speakers, languages, and the memory that it needs."""
    from toolkit.synthesis.hub import find_model
    from toolkit.synthesis.loading import describe_model

    found = find_model(name, download=False)
    data = describe_model(found)
    if found.note:
        note(found.note)
    if as_json:
        print(json_text({"schema": 1, "kind": "model-info", "model": data}))
        return
    for label, value in data.items():
        if isinstance(value, dict):
            shown = ", ".join(f"{key} {item / 1e9:.2f} GB" for key, item in value.items())
        elif isinstance(value, list):
            shown = ", ".join(map(str, value)) or "none"
        else:
            shown = "-" if value is None else str(value)
        print(f"{label.replace('_', ' '):<14}  {shown}")


def demo_model(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where; must not exist, or be empty.")],
    kind: Annotated[str, typer.Option("--kind", help="custom_voice, voice_design or base.")] = "custom_voice",
    size: Annotated[str, typer.Option("--size", help="1b7 or 0b6.")] = "1b7",
    seed: Annotated[int, typer.Option("--seed", help="Of the random weights.")] = 0,
    scale: Annotated[str, typer.Option("--scale", help="tiny (6 MB), small (45 MB), or real (4.5 GB).")] = "tiny",
    eos_scale: Annotated[
        float | None,
        typer.Option("--eos-scale", help="How readily it ends; the default of tiny and small ends after seconds."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a model of random weights in the published layout, for tests and demos. It speaks noise."""
    from toolkit.synthesis.demo_model import make_demo_model

    # Drawn speech of random weights ends only by chance; with this size of the row it does so within a few seconds.
    ending = eos_scale if eos_scale is not None or scale == "real" else 8.0
    made = make_demo_model(
        folder,
        cast("Literal['custom_voice', 'voice_design', 'base']", kind),
        cast("Literal['1b7', '0b6']", size),
        seed,
        cast("Literal['tiny', 'small', 'real']", scale),
        eos_scale=ending,
    )
    data = {"folder": str(made.folder), "sha256": dict(made.sha256)}
    if as_json:
        print(json_text({"schema": 1, "kind": "demo-model", **data}))
    else:
        print(f"wrote {made.folder}: random weights, so that it speaks noise. It is for tests and demos.")


def _facts_of(path: str, values: bool, hashes: bool) -> dict[str, object]:
    from toolkit.probe.model_folder import inspect_model

    return inspect_model(path, scan_values=values, check_hashes=hashes)


def _pocket_facts(values: bool) -> dict[str, object]:
    """Facts of the pocket voice; its files are always compared with their hashes, since each is known."""
    from toolkit.synthesis.pocket_voice import FOLDER, pocket_faults

    facts = _facts_of(str(FOLDER), values, False)
    altered = [name for name, fault in pocket_faults().items() if fault == "altered"]
    if not altered or facts["model.state"] != "complete":
        return facts
    files = cast("list[dict[str, object]]", facts["model.files"])
    for row in files:
        if row["name"] in altered:
            row["verdict"] = "wrong-hash"
    told = "; ".join(f"{name} does not have the hash of this version" for name in altered)
    return facts | {
        "model.state": "incomplete",
        "model.problem": "wrong-hash",
        "model.problem_text": f"{len(altered)} of {len(files)} files are not right: {told}; reinstall the toolkit",
    }


def _here(name: str) -> str:
    """A path as it is; a repository by its full name."""
    from toolkit.errors import BadModelFolder
    from toolkit.synthesis.hub import repository

    if Path(name).expanduser().exists():
        return name
    try:
        return repository(name)
    except BadModelFolder:
        return name
