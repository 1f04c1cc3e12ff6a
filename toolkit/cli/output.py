"""How every command speaks: text, only JSON on stdout with --json, one page with --html, errors in one line."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit import __version__
from toolkit.errors import EXIT_OUR_FAULT, QwenAudioError, UsageError

__all__ = ["HtmlOption", "JsonOption", "RulesOption", "emit", "guarded", "note", "write_text"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print only JSON on standard output.")]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Also write one self-contained HTML page.")
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
        print(json.dumps(data, ensure_ascii=False, indent=1))
        return
    from toolkit.doctor.text import render_text

    styled = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    print(render_text(make_document(), styled=styled), end="")


def note(text: str) -> None:
    """Say something beside the result: on standard error, so that pipes stay clean."""
    print(text, file=sys.stderr, flush=True)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises UsageError."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None


def guarded(main: Callable[[], None]) -> int:
    """Run the command line and turn what it raises into one line and an exit code."""
    for stream in (sys.stdout, sys.stderr):  # a Windows console in a legacy code page must not stop a report
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    try:
        main()
        sys.stdout.flush()
    except QwenAudioError as error:
        print(f"qwen-audio: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("qwen-audio: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our pipe went away (`| head`). Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last stop: what comes here is our own mistake
        if os.environ.get("QWEN_AUDIO_DEBUG"):
            traceback.print_exc()
        kind = type(error).__name__
        print(
            f"qwen-audio {__version__}: {kind}: {error}. This is our mistake: please report it, "
            "with the output of the same command under QWEN_AUDIO_DEBUG=1.",
            file=sys.stderr,
        )
        return EXIT_OUR_FAULT
    return 0
