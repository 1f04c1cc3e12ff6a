"""Task of the worker: have a model on this machine, whole; a download goes on where it was stopped."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from toolkit.errors import BadModelFolder
from toolkit.synthesis.pocket_voice import is_pocket
from toolkit.widgets.jobs import Cancelled, Work

if TYPE_CHECKING:
    from toolkit.synthesis.hub import FoundModel

__all__ = ["check_files", "fetch"]

_BEAT_S = 0.25


def fetch(work: Work, model: str, source: str = "hf") -> dict[str, Any]:
    """Find a model or fetch it, compare its files, and say what it is.

    Args:
        model: a folder, a repository or its end, or ``pocket``.
        source: "hf" or "modelscope".

    Returns name and folder, ``kind``, ``size``, ``speakers``, ``languages``, and ``files`` (name, bytes, verdict).

    Raises:
        BadModelFolder: a file is missing or damaged; the message names it.
        DownloadFailed, DiskFull, UsageError: see :func:`toolkit.synthesis.hub.download_model`.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from toolkit.synthesis.hub import find_model

    kind = cast("Literal['hf', 'modelscope']", source)
    work.progress(None, "setup.model.searching", name=model)
    try:
        found = find_model(model, source=kind, download=False)
    except BadModelFolder:
        if Path(model).expanduser().exists() or is_pocket(model):
            raise
        found = _download(work, model, kind)
    work.progress(None, "setup.model.checking", name=found.name)
    files = check_files(model, found.folder)
    from toolkit.synthesis.loading import describe_model

    told = describe_model(found)
    own = ("kind", "size", "speakers", "languages", "takes_instruct")
    return {
        "model": str(found.folder) if Path(model).expanduser().exists() and not is_pocket(model) else model,
        "name": found.name,
        "folder": str(found.folder),
        "note": found.note,
        "files": files,
        **{key: told[key] for key in own},
    }


def check_files(model: str, folder: Path) -> list[dict[str, Any]]:
    """Compare the files of a model with what their headers say, those of the pocket voice with their hashes.

    Raises BadModelFolder when one is missing or damaged.
    """
    from toolkit.probe.model_folder import inspect_model
    from toolkit.synthesis.pocket_voice import pocket_faults

    facts = inspect_model(folder)
    altered = pocket_faults() if is_pocket(model) else {}
    files = cast("list[dict[str, Any]]", facts.get("model.files") or [])
    told = "; ".join(f"{name} is {fault}" for name, fault in altered.items()) or facts.get("model.problem_text")
    if altered or facts["model.state"] != "complete":
        raise BadModelFolder(f"{folder}: {facts['model.state']}. {told or 'a file is missing or damaged'}")
    return [{key: row[key] for key in ("name", "bytes", "verdict")} for row in files]


def _download(work: Work, model: str, source: Literal["hf", "modelscope"]) -> FoundModel:
    from toolkit.synthesis.hub import download_model, repository
    from toolkit.synthesis.hub_parts import fetch_large_files

    repository(model)  # a wrong name is told before anybody is asked
    if source == "hf":
        fetch_large_files(model, on_bytes=lambda have, size: _say(work, model, have, size))
        return download_model(model)
    stop = threading.Event()
    teller = threading.Thread(target=_watch, args=(work, model, stop), daemon=True)
    teller.start()
    try:
        return download_model(model, source=source)
    finally:
        stop.set()
        teller.join()


def _watch(work: Work, model: str, stop: threading.Event) -> None:
    """Say how much is here. To pause ends the process, since this hub's client cannot be asked to stop."""
    from toolkit.synthesis.hub import downloaded_bytes

    try:
        while not stop.wait(_BEAT_S):
            have, size = downloaded_bytes(model, source="modelscope")
            _say(work, model, have, size)
    except Cancelled:
        return


def _say(work: Work, model: str, have: int, size: int | None) -> None:
    share = have / size if size else None
    amounts = {"have": f"{have / 1e6:,.0f}", "size": f"{size / 1e6:,.0f}" if size else "?"}
    work.progress(share, "setup.model.fetching", name=model, **amounts)
