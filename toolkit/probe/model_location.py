"""Finds the folder of a model: a plain folder, a repository id, or a cache folder of the hub, always offline."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import BadModelFolder
from toolkit.probe.folder import children_of

__all__ = ["ModelLocation", "hub_cache", "locate_model"]

_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True)
class ModelLocation:
    """Where a model lies. ``source`` is ``folder``, ``hub-cache`` or ``modelscope-cache``; ``notes`` are sentences."""

    folder: Path
    source: str
    name: str
    revision: str | None = None
    notes: tuple[str, ...] = ()


def locate_model(given: str | Path, environ: Mapping[str, str] | None = None) -> ModelLocation:
    """Folder of the model that ``given`` names. Never uses the network.

    An existing path goes before a repository id, as in transformers. ``environ`` (default: the process's) supplies
    HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME and MODELSCOPE_CACHE. Raises :class:`BadModelFolder`.
    """
    environ = os.environ if environ is None else environ
    text = os.fspath(given)
    if not text or "\0" in text:
        raise BadModelFolder(f"model {text[:80]!r}: not a path; give a folder, or a repository id such as Qwen/NAME")
    path = Path(os.path.expanduser(text))  # unlike Path.expanduser, it leaves an unknown ~name as it is
    # os.path rather than Path: it answers False instead of raising when a folder may not be entered.
    if os.path.isdir(path):
        return _in_folder(path, text)
    if os.path.isfile(path):
        note = f"{path.name} is a file; its folder was taken"
        found = _in_folder(path.parent, os.fspath(path.parent))
        return ModelLocation(found.folder, found.source, found.name, found.revision, (note, *found.notes))
    if os.path.islink(path):
        raise BadModelFolder(f"model {text}: a link whose target is not there")
    if _REPO_ID.fullmatch(text):
        return _in_caches(text, environ)
    raise BadModelFolder(f"model {text}: there is no such folder")


def hub_cache(environ: Mapping[str, str]) -> Path:
    """Cache folder of huggingface_hub, by the rules of its ``constants.py``."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environ.get(name):
            return Path(os.path.expanduser(environ[name]))
    if environ.get("HF_HOME"):
        return Path(os.path.expanduser(environ["HF_HOME"])) / "hub"
    return _user_cache(environ) / "huggingface" / "hub"


def _user_cache(environ: Mapping[str, str]) -> Path:
    if environ.get("XDG_CACHE_HOME"):
        return Path(os.path.expanduser(environ["XDG_CACHE_HOME"]))
    home = environ.get("HOME") or environ.get("USERPROFILE")
    return Path(home or os.path.expanduser("~")) / ".cache"


def _in_folder(path: Path, text: str) -> ModelLocation:
    if path.name.startswith("models--"):
        return _in_hub_folder(path, _repo_of(path.name))
    if path.parent.name == "snapshots" and path.parent.parent.name.startswith("models--"):
        return ModelLocation(path, "hub-cache", _repo_of(path.parent.parent.name), path.name)
    notes: tuple[str, ...] = ()
    if not os.path.isfile(path / "config.json"):
        deeper = [child for child in children_of(path) if os.path.isfile(child / "config.json")]
        deeper = [child for child in deeper if child.name != "speech_tokenizer"]
        if deeper:
            notes = (f"config.json lies one folder deeper, in {deeper[0].name}: give that folder",)
    elif _REPO_ID.fullmatch(text) and text.startswith("Qwen/"):
        notes = (f"a folder {text} in the working directory hides the hub's repository of the same name",)
    return ModelLocation(path, "folder", Path(os.path.realpath(path)).name, None, notes)


def _in_caches(repo: str, environ: Mapping[str, str]) -> ModelLocation:
    cache = hub_cache(environ)
    folder = cache / ("models--" + repo.replace("/", "--"))
    if os.path.isdir(folder):
        return _in_hub_folder(folder, repo)
    for candidate in _modelscope_folders(repo, environ):
        if os.path.isdir(candidate):
            return ModelLocation(candidate, "modelscope-cache", repo)
    raise BadModelFolder(f"model {repo}: no such folder here, and not in the hub's cache {cache}; download it first")


def _modelscope_folders(repo: str, environ: Mapping[str, str]) -> list[Path]:
    given = environ.get("MODELSCOPE_CACHE")
    root = Path(os.path.expanduser(given)) if given else _user_cache(environ) / "modelscope"
    name = repo.replace(".", "___")  # ModelScope writes a dot in a name as three underscores
    bases = (root, root / "hub", root / "models", root / "hub" / "models")
    return [base / part for base in bases for part in (repo, name)]


def _repo_of(folder_name: str) -> str:
    return "/".join(folder_name.removeprefix("models--").split("--", 1))


def _in_hub_folder(folder: Path, repo: str) -> ModelLocation:
    snapshots = folder / "snapshots"
    revision = _main_revision(folder)
    if revision and os.path.isdir(snapshots / revision):
        return ModelLocation(snapshots / revision, "hub-cache", repo, revision)
    there = [child for child in children_of(snapshots) if os.path.isdir(child)]
    if not there:
        raise BadModelFolder(f"model {repo}: its cache folder {folder} holds no snapshot; download it again")
    newest = max(there, key=lambda child: (os.path.isfile(child / "config.json"), _changed(child), child.name))
    note = f"refs/main names no snapshot that is here; {newest.name[:12]} was taken"
    return ModelLocation(newest, "hub-cache", repo, newest.name, (note,))


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _main_revision(folder: Path) -> str | None:
    path = folder / "refs" / "main"
    if not os.path.isfile(path):
        return None
    try:
        with path.open("rb") as file:
            text = file.read(100).decode("ascii", "replace").strip()
    except OSError:
        return None
    return text if _COMMIT.fullmatch(text) else None
