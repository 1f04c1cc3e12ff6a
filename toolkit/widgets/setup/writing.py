"""Task of the worker: write config.yaml, the start script and the page that sums up, each whole or not at all."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import toolkit
from toolkit.errors import BadOutput, UsageError
from toolkit.widgets.jobs import Work

__all__ = ["start_script", "write_setup"]


def write_setup(
    work: Work,
    folder: str,
    config: Mapping[str, Any],
    python: str,
    summary: Mapping[str, Any],
    overwrite: bool = False,
    windows: bool = sys.platform == "win32",
) -> dict[str, Any]:
    """Write the three files into a folder. Nothing is written when one of them exists and may not be replaced.

    Args:
        config: the settings of config.yaml.
        python: the interpreter that the start script uses.
        summary: ``title``, ``subtitle``, ``columns``, ``rows`` (label, value) and ``next`` of the page.

    Returns ``files``, the paths, ``config``, the text of config.yaml, and ``command``, a line that speaks.

    Raises:
        BadOutput: a file is there, or cannot be written.
        DiskFull: no room.
        UsageError: a setting that is none.
    """
    from toolkit.doctor.document import Code, Document, Heading, Table
    from toolkit.doctor.page import render_html
    from toolkit.synthesis.speech_config import SpeechConfig, config_text, write_config
    from toolkit.synthesis.whole_file import WholeFile, check_output

    work.progress(None, "setup.writing.at_work")
    place = Path(folder)
    try:
        settings = SpeechConfig.model_validate(dict(config))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(f"{'.'.join(map(str, first['loc']))} is {first['input']!r}: {first['msg']}") from None
    paths = [place / name for name in ("config.yaml", "speak.bat" if windows else "speak.sh", "setup-summary.html")]
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadOutput(f"{place}: cannot be made: {error.strerror or error}") from None
    for path in paths:
        check_output(path, overwrite=overwrite)
    command = f'"{paths[1]}" "Hello."' if windows else f"{shlex.quote(str(paths[1]))} 'Hello.'"
    rows = tuple((str(label), str(value)) for label, value in summary["rows"])
    page = render_html(
        Document(
            summary["title"],
            summary["subtitle"],
            (
                Table(tuple(summary["columns"]), rows),
                Heading(summary["next"]),
                Code((command,)),
                Heading("config.yaml"),
                Code(tuple(config_text(settings).rstrip().split("\n"))),
            ),
        )
    )
    write_config(settings, paths[0], overwrite=overwrite)
    for path, text in ((paths[1], start_script(python, windows=windows)), (paths[2], page)):
        with WholeFile(path, overwrite=overwrite) as file:
            file.write(text.encode("utf-8"))
    if not windows:
        paths[1].chmod(0o755)
    return {"files": [str(path) for path in paths], "config": config_text(settings), "command": command}


def start_script(python: str, *, windows: bool) -> str:
    """A script that speaks with the config.yaml beside it; whatever it is given goes to ``qwen-audio speak``."""
    source = _source_of(python)
    if windows:
        path = f'set "PYTHONPATH={source}"\r\n' if source else ""
        return f'@echo off\r\n{path}"{python}" -m toolkit.cli speak --config "%~dp0config.yaml" %*\r\n'
    path = f"PYTHONPATH={shlex.quote(source)}${{PYTHONPATH:+:$PYTHONPATH}} " if source else ""
    # "exec VAR=value command" is no shell; env sets it.
    runner = f"env {path}" if source else ""
    here = '"$(cd "$(dirname "$0")" && pwd)/config.yaml"'
    return f'#!/bin/sh\nexec {runner}{shlex.quote(python)} -m toolkit.cli speak --config {here} "$@"\n'


def _source_of(python: str) -> str:
    """The folder that an interpreter needs to be told of to find this toolkit; "" where it is installed."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, "-c", "import importlib.util as u; print(u.find_spec('toolkit').origin)"]
    own = Path(toolkit.__file__).resolve()
    try:
        done = subprocess.run(
            command, env=clean, cwd=Path(python).anchor or None, capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return str(own.parent.parent)
    found: Sequence[str] = done.stdout.strip().splitlines()
    return "" if found and Path(found[-1]).resolve() == own else str(own.parent.parent)
