"""``qwen-audio diagnose`` and ``qwen-audio recheck``: from a failure to its cause, and whether the cure worked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from toolkit import __version__
from toolkit.cli.output import HtmlOption, JsonOption, RulesOption, emit, json_text, note, write_text
from toolkit.errors import UsageError

__all__ = ["AudioOption", "FactOption", "diagnose", "pairs", "recheck"]

FactOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fact",
        metavar="NAME=VALUE",
        help="Something known: gpu=RTX 4070, torch=2.6.0+cu124, os=Windows 11, dtype=fp16, gpu.cc=8.9; repeatable.",
    ),
]
AudioOption = Annotated[
    list[Path] | None, typer.Option("--audio", metavar="WAV", help="A recording of the fault; may be repeated.")
]


def diagnose(
    logs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[LOG|BUNDLE.zip|-]...",
            help="Log files of any size and encoding, a bundle, or - for standard input.",
        ),
    ] = None,
    words: Annotated[
        str, typer.Option("--words", metavar="TEXT", help="What happens, in your own words, English or Chinese.")
    ] = "",
    fact: FactOption = None,
    facts: Annotated[Path | None, typer.Option("--facts", metavar="FILE", help="Facts file or doctor --json.")] = None,
    audio: AudioOption = None,
    text: Annotated[str, typer.Option("--text", metavar="TEXT", help="The text that the recording should speak.")] = "",
    service: Annotated[
        Path | None, typer.Option("--service", metavar="DIR", help="Folder of the service: start scripts, config.yaml.")
    ] = None,
    answer: Annotated[
        list[str] | None,
        typer.Option(
            "--answer", metavar="ID=VALUE", help="Answer to a question of an earlier diagnosis; may be repeated."
        ),
    ] = None,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask the next question here, again and again, until one cause stands out.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Save the diagnosis for `qwen-audio recheck`.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show all known causes.")] = False,
    rules: RulesOption = None,
    as_json: JsonOption = False,
    html: HtmlOption = None,
) -> None:
    """Find the cause of a failure from logs, words, facts, recordings or a service folder.

    Exit code 3 when a cause is known, 0 when none is.
    """
    import toolkit.doctor as room
    from toolkit.doctor import diagnosis

    if ask and (as_json or not sys.stdin.isatty()):
        raise UsageError("--ask needs a terminal and goes without --json; give answers with --answer ID=VALUE")
    answers = pairs(answer or [], "--answer")
    while True:
        report = room.diagnose(
            logs=logs or (),
            words=words,
            told=dict(pairs(fact or [], "--fact")),
            facts=facts,
            audio=audio or (),
            spoken_text=text,
            service=service,
            answers=answers,
            rules=rules or (),
        )
        question = report.diagnosis.question
        if not ask or question is None or "-" in (logs or ()):
            break
        print(f"\n{question.question.ask}\n{question.question.ask_zh}")
        choices = {str(number): each for number, each in enumerate(question.question.answers, 1)}
        for number, each in choices.items():
            print(f"  {number}  {each.text}")
        try:
            chosen = input("number, or Enter to stop: ").strip()
        except EOFError:
            chosen = ""
        if chosen not in choices:
            break
        answers[question.question.id] = choices[chosen].value
    data = report.to_json()
    if save is not None:
        write_text(save, json_text(data))
        note(f"saved {save}; after the fix run: qwen-audio recheck {save} [NEW.log]")
    emit(lambda: diagnosis.document_of(report, __version__, verbose=verbose), data, as_json=as_json, html=html)
    raise typer.Exit(report.exit_code)


def recheck(
    saved: Annotated[Path, typer.Argument(metavar="SAVED.json", help="From diagnose --save or diagnose --json.")],
    logs: Annotated[
        list[Path] | None, typer.Argument(metavar="[NEW.log]...", help="Log of the same action after the fix.")
    ] = None,
    rule: Annotated[
        str | None, typer.Option("--rule", metavar="ID", help="Which finding to look at again. Default: the first.")
    ] = None,
    audio: AudioOption = None,
    fact: FactOption = None,
    rules: RulesOption = None,
    as_json: JsonOption = False,
    html: HtmlOption = None,
) -> None:
    """After a fix, run again just what spoke for the finding, and say whether it is solved.

    Exit code 0 solved, 3 not solved, 4 when nothing could be looked at again.
    """
    import toolkit.doctor as room
    from toolkit.doctor import second_look as view

    result = room.recheck(
        saved,
        rule_id=rule,
        logs=logs or (),
        audio=audio or (),
        told=dict(pairs(fact or [], "--fact")),
        rules=rules or (),
    )
    emit(lambda: view.document_of(result, __version__), result.to_json(), as_json=as_json, html=html)
    raise typer.Exit(result.exit_code)


def pairs(texts: list[str], option: str) -> dict[str, str]:
    """NAME=VALUE texts as a mapping. Raises UsageError."""
    example = "gpu='RTX 4070'" if option == "--fact" else "torch-build-tag=cpu"
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise UsageError(f"{option} {text!r}: write NAME=VALUE, such as {option} {example}")
        if name.strip() in found and found[name.strip()] != value.strip():
            raise UsageError(f"{option} gives {name.strip()} twice: {found[name.strip()]!r} and {value.strip()!r}")
        found[name.strip()] = value.strip()
    return found
