"""Task of the worker: have a model on this machine, whole; a download goes on where it was stopped."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Literal, cast

from toolkit.errors import BadModelFolder
from toolkit.widgets.jobs import Cancelled, Work

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
    # The hub's other protocol cannot go on with a file that was begun.
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from toolkit.synthesis.hub import find_model

    kind = cast("Literal['hf', 'modelscope']", source)
    work.progress(None, "setup.model.searching", name=model)
    stop = threading.Event()
    teller = threading.Thread(target=_tell, args=(work, model, kind, stop), daemon=True)
    teller.start()
    try:
        found = find_model(model, source=kind)
    finally:
        stop.set()
        teller.join()
    work.progress(None, "setup.model.checking", name=found.name)
    files = check_files(model, found.folder)
    from toolkit.synthesis.loading import describe_model

    told = describe_model(found)
    own = ("kind", "size", "speakers", "languages", "takes_instruct")
    return {
        "model": model if Path(model).expanduser().exists() is False else str(found.folder),
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
    from toolkit.synthesis.pocket_voice import is_pocket, pocket_faults

    facts = inspect_model(folder)
    altered = pocket_faults() if is_pocket(model) else {}
    files = cast("list[dict[str, Any]]", facts.get("model.files") or [])
    told = "; ".join(f"{name} is {fault}" for name, fault in altered.items()) or facts.get("model.problem_text")
    if altered or facts["model.state"] != "complete":
        raise BadModelFolder(f"{folder}: {facts['model.state']}. {told or 'a file is missing or damaged'}")
    return [{key: row[key] for key in ("name", "bytes", "verdict")} for row in files]


def _tell(work: Work, model: str, source: Literal["hf", "modelscope"], stop: threading.Event) -> None:
    """Say how much is here. To pause ends the process, since the hub's client cannot be asked to stop."""
    from toolkit.synthesis.hub import downloaded_bytes

    if model.lower() == "pocket" or Path(model).expanduser().exists():
        return
    try:
        began = downloaded_bytes(model, source=source)[0]
        while not stop.wait(_BEAT_S):
            have, size = downloaded_bytes(model, source=source)
            if have > began:
                share = None if not size else have / size
                amounts = {"have": f"{have / 1e6:,.0f}", "size": "?" if not size else f"{size / 1e6:,.0f}"}
                work.progress(share, "setup.model.fetching", name=model, **amounts)
            work.check()
    except (Cancelled, BadModelFolder):
        return
