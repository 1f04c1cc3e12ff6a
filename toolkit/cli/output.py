"""How every command speaks: text, only JSON on stdout with --json, one page with --html, errors in one line."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit import __version__
from toolkit.errors import EXIT_OUR_FAULT, EXIT_USAGE, EXIT_WELL, QwenAudioError

__all__ = [
    "HtmlOption",
    "JsonOption",
    "PathOption",
    "RulesOption",
    "emit",
    "guarded",
    "json_text",
    "note",
    "write_text",
]

_EXIT_INTERRUPTED = 130  # what a shell gives for a command that Ctrl-C ended

JsonOption = Annotated[bool, typer.Option("--json", help="Print only JSON on standard output.")]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Also write one self-contained HTML page.")
]
PathOption = Annotated[
    str,
    typer.Option(
        "--path",
        help="How frames run: fast (whole frames, as CUDA graphs on a card), plain (operation by operation, with the "
        "draws of the official package), or auto.",
    ),
]
RulesOption = Annotated[
    list[Path] | None,
    typer.Option("--rules", metavar="DIR", help="Folder of further rules (DIR/<family>/<id>.yaml); may be repeated."),
]


def emit(make_document: Callable[[], Any], data: Mapping[str, object], *, as_json: bool, html: Path | None) -> None:
    """Show a result. ``make_document`` is called only when text or a page is wanted."""
    if html is not None:
        from toolkit.doctor.page import render_html

        write_text(html, render_html(make_document()))
        note(f"wrote {html}")
    if as_json:
        print(json_text(data))
        return
    from toolkit.doctor.text import render_text

    styled = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    print(render_text(make_document(), styled=styled), end="")


def json_text(data: Mapping[str, object], *, indent: int | None = 1) -> str:
    """JSON as this command line prints and saves it: readable, and safe to show in a terminal.

    ``indent`` None makes it one line.
    """
    from toolkit.doctor.document import plain

    # A console that is not UTF-8 could not show the rest, and a replacement of ours would not be JSON any more.
    ascii_only = "utf" not in (sys.stdout.encoding or "").lower()
    return plain(json.dumps(data, ensure_ascii=ascii_only, indent=indent, allow_nan=False))


def note(text: str) -> None:
    """Say something beside the result: on standard error, so that pipes stay clean."""
    print(text, file=sys.stderr, flush=True)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises UsageError."""
    from toolkit.doctor.whole_file import write_whole

    write_whole(path, text.encode("utf-8"))


def guarded(main: Callable[[], int]) -> int:
    """Run the command line and turn what it raises into one line and an exit code."""
    for stream in (sys.stdout, sys.stderr):  # a Windows console in a legacy code page must not stop a report
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    try:
        code = main()
        sys.stdout.flush()
    except QwenAudioError as error:
        _say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        code = _EXIT_INTERRUPTED
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # typer has met it before us
            return _reader_gone()
        raise
    except Exception as error:  # noqa: BLE001 - the last stop: what comes here is our own mistake
        told = getattr(error, "format_message", None)
        return _usage(error, told()) if callable(told) else _our_fault(error)
    if code == _EXIT_INTERRUPTED:
        _say("interrupted")
    return code


def _say(text: str) -> None:
    from toolkit.doctor.document import plain

    print("qwen-audio: " + plain(text).replace("\n", " "), file=sys.stderr)


def _reader_gone() -> int:
    # `| head` has seen enough. Python would complain again when it closes stdout.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_WELL


def _usage(error: Exception, message: object) -> int:
    """A wrong option or argument, as typer's own parser reports it."""
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "") or "qwen-audio"
    _say(f"{str(message).rstrip('.')}; see {command} --help")
    return EXIT_USAGE


def _our_fault(error: Exception) -> int:
    if os.environ.get("QWEN_AUDIO_DEBUG"):
        traceback.print_exc()
    _say(
        f"{type(error).__name__}: {error}. This is a mistake of version {__version__}: please report it, with the "
        "output of the same command under QWEN_AUDIO_DEBUG=1."
    )
    return EXIT_OUR_FAULT
