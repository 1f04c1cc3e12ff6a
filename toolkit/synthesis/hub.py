"""Finds a model: the pocket voice, a folder, else the caches of this machine, else a download of a pinned revision."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from toolkit.errors import BadModelFolder, DiskFull, DownloadFailed, UsageError
from toolkit.synthesis.json_fields import read_json_object
from toolkit.synthesis.pocket_voice import POCKET, is_pocket, pocket_folder

if TYPE_CHECKING:
    from toolkit.synthesis.weights import SafetensorsFile

__all__ = [
    "NEEDED_FILES",
    "PINNED",
    "FoundModel",
    "Source",
    "download_model",
    "downloaded_bytes",
    "find_model",
    "missing_files",
    "network_errors",
    "repository",
]

Source = Literal["hf", "modelscope"]

PINNED: Mapping[str, str] = {
    "Qwen/Qwen3-TTS-12Hz-0.6B-Base": "5d83992436eae1d760afd27aff78a71d676296fc",
    "Qwen/Qwen3-TTS-12Hz-0.6B-CustomVoice": "85e237c12c027371202489a0ec509ded67b5e4b5",
    "Qwen/Qwen3-TTS-12Hz-1.7B-Base": "fd4b254389122332181a7c3db7f27e918eec64e3",
    "Qwen/Qwen3-TTS-12Hz-1.7B-CustomVoice": "0c0e3051f131929182e2c023b9537f8b1c68adfe",
    "Qwen/Qwen3-TTS-12Hz-1.7B-VoiceDesign": "5ecdb67327fd37bb2e042aab12ff7391903235d3",
}
"""The published models and the revisions of the Hugging Face hub that this version is made for."""

NEEDED_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "speech_tokenizer/config.json",
    "speech_tokenizer/model.safetensors",
)

_PATTERNS = ["*.json", "*.txt", "model.safetensors", "speech_tokenizer/*.json", "speech_tokenizer/model.safetensors"]
_DOWNLOAD_BYTES = {"0.6B": 2_530_000_000, "1.7B": 4_550_000_000}
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class FoundModel:
    """A model on this machine. ``repository`` is None for a plain folder; ``note`` says what is not as asked."""

    folder: Path
    repository: str | None = None
    revision: str | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """The repository, or the folder's name."""
        return self.repository or self.folder.resolve().name

    def weights(self, name: str) -> SafetensorsFile:
        """A file of weights by its name inside the folder.

        Raises:
            BadModelFolder: missing, or not a safetensors file.
        """
        from toolkit.synthesis.weights import SafetensorsFile

        return SafetensorsFile(self.folder / name)


def find_model(
    name_or_path: str | os.PathLike[str] | FoundModel,
    *,
    revision: str | None = None,
    source: Source = "hf",
    offline_first: bool = True,
    download: bool = True,
) -> FoundModel:
    """Folder of a model.

    Args:
        name_or_path: a folder; a repository such as ``Qwen/Qwen3-TTS-12Hz-1.7B-CustomVoice``; its end, such as
            ``1.7B-CustomVoice``, in any case; or the word ``pocket``, the voice that comes with the toolkit. An
            existing folder goes before a repository of the same name, but the word before a folder: ``./pocket``
            is the folder. A model that was found already is taken as it is.
        revision: commit, tag or branch; the pinned commit unless given. The pocket voice has none.
        source: "hf", or "modelscope" when its package is installed.
        offline_first: take what the cache holds and ask the hub only when that is not whole.
        download: whether the hub may be asked at all.

    Raises:
        BadModelFolder: no such folder, a model of another family, or not here and ``download`` is false.
        DownloadFailed: the hub cannot be reached, or does not have it.
        DiskFull: the disk cannot take it.
        UsageError: an unknown source, ModelScope without its package, or a revision of the pocket voice.
    """
    if isinstance(name_or_path, FoundModel):
        return name_or_path
    text = os.fspath(name_or_path)
    _check_source(source)
    if is_pocket(name_or_path):
        if revision is not None:
            raise UsageError(f"the pocket voice comes with the toolkit and has no revision {revision!r}; leave it out")
        return FoundModel(pocket_folder())
    folder = Path(text).expanduser()
    if folder.is_dir():
        _refuse_other_rates(text, folder)
        return FoundModel(folder)
    name = repository(text)
    if offline_first or not download:
        found = _in_cache(name, revision, source)
        if found is not None:
            _refuse_other_rates(name, found.folder)
            return found
    if not download:
        raise BadModelFolder(f"{name} is not on this machine; fetch it with: qwen-audio model download {name}")
    return download_model(name, revision=revision, source=source)


def download_model(
    name: str, *, revision: str | None = None, source: Source = "hf", to: Path | None = None
) -> FoundModel:
    """Fetch a model, with progress on standard error. An interrupted download goes on where it stopped.

    Args:
        name: a repository or its end, as for :func:`find_model`.
        revision: commit, tag or branch; the pinned commit unless given.
        source: "hf" or "modelscope".
        to: a folder of its own instead of the cache.

    Raises:
        DownloadFailed: the hub cannot be reached, or does not have it.
        DiskFull: the disk cannot take it.
        UsageError: an unknown source, ModelScope without its package, or the pocket voice.
    """
    _check_source(source)
    if is_pocket(name):
        raise UsageError(f"the pocket voice comes with the toolkit, in {pocket_folder()}; there is nothing to fetch")
    name = repository(name)
    _check_room(name, to or _cache_folder(source))
    fetch = _fetch_from_hf if source == "hf" else _fetch_from_modelscope
    wanted = revision or (PINNED.get(name) if source == "hf" else None)
    found = FoundModel(fetch(name, wanted, to), name, wanted)
    gone = missing_files(found.folder)
    if gone:
        raise DownloadFailed(f"{name}: the repository has no {', '.join(gone)}; it is no complete Qwen3-TTS model")
    _refuse_other_rates(name, found.folder)
    return found


def downloaded_bytes(name: str, *, source: Source = "hf") -> tuple[int, int | None]:
    """What the cache holds of a model, unfinished files included, and what it will hold in all (None: not known).

    Raises:
        BadModelFolder: no name of a repository.
        UsageError: an unknown source.
    """
    _check_source(source)
    name = repository(name)
    cache = _cache_folder(source)
    if source == "hf":
        return _bytes_in(cache / ("models--" + name.replace("/", "--"))), _size_of(name)
    bases = (cache, cache / "hub", cache / "models", cache / "hub" / "models")
    parts = [base / middle / part for base in bases for middle in ("", "._____temp") for part in _modelscope(name)]
    return sum(_bytes_in(part) for part in parts if part.is_dir()), _size_of(name)


def repository(name: str) -> str:
    """The full name of a repository.

    Raises:
        BadModelFolder: no such folder, and no name of a repository; or a model with the 25 Hz tokenizer.
    """
    if "25hz" in name.lower():
        raise BadModelFolder(f"{name}: {_NO_25HZ}")
    short = {full.split("12Hz-")[1].lower(): full for full in PINNED}
    short |= {full.lower(): full for full in PINNED} | {full.split("/")[1].lower(): full for full in PINNED}
    known = short.get(name.lower())
    if known:
        return known
    if not _REPOSITORY.fullmatch(name) or Path(name).suffix in (".safetensors", ".bin", ".gguf", ".pt"):
        known_names = ", ".join([*PINNED, POCKET])
        raise BadModelFolder(f"{name}: there is no such folder, and it names no model; known: {known_names}")
    return name


def missing_files(folder: Path) -> list[str]:
    """Files that a model needs and the folder lacks, or holds empty."""
    return [name for name in NEEDED_FILES if not (folder / name).is_file() or not (folder / name).stat().st_size]


_NO_25HZ = (
    "models with the 25 Hz tokenizer are another network and cannot be used; "
    "take one of the 12 Hz family, such as Qwen/Qwen3-TTS-12Hz-1.7B-CustomVoice"
)


def _refuse_other_rates(name: str, folder: Path) -> None:
    """One sentence for the sister family, before anything is loaded. Everything else is for the loader to judge."""
    if not (folder / "config.json").is_file():
        return
    fields = read_json_object(folder / "config.json")
    if any("25hz" in str(fields.values.get(key, "")).lower() for key in ("tokenizer_type", "model_type")):
        raise BadModelFolder(f"{name}: {_NO_25HZ}")


def _check_source(source: str) -> None:
    if source not in ("hf", "modelscope"):
        raise UsageError(f"source must be 'hf' or 'modelscope', not {source!r}")


def _cache_folder(source: Source) -> Path:
    if source == "hf":
        return Path(import_module("huggingface_hub.constants").HF_HUB_CACHE)
    given = os.environ.get("MODELSCOPE_CACHE")
    return Path(given).expanduser() if given else Path("~/.cache/modelscope").expanduser()


def _in_cache(name: str, revision: str | None, source: Source) -> FoundModel | None:
    if source == "modelscope":
        cache = _cache_folder(source)
        bases = (cache, cache / "hub", cache / "models", cache / "hub" / "models")
        folders = [base / part for base in bases for part in _modelscope(name)]
        found = next((folder for folder in folders if folder.is_dir() and not missing_files(folder)), None)
        return None if found is None else FoundModel(found, name)
    folder = _cache_folder(source) / ("models--" + name.replace("/", "--"))
    wanted = revision or PINNED.get(name) or "main"
    commit = wanted if _COMMIT.fullmatch(wanted) else _referenced(folder, wanted)
    if commit and _is_whole(folder / "snapshots" / commit):
        return FoundModel(folder / "snapshots" / commit, name, commit)
    if revision is not None or not (folder / "snapshots").is_dir():
        return None
    others = sorted(path for path in (folder / "snapshots").iterdir() if _is_whole(path))
    if not others:
        return None
    note = f"revision {others[-1].name[:12]} is in the cache and was taken; this version is made for {wanted[:12]}."
    return FoundModel(others[-1], name, others[-1].name, note)


def _modelscope(name: str) -> tuple[str, ...]:
    own = name.replace(".", "___")  # ModelScope writes a dot in a name as three underscores
    return (name,) if own == name else (name, own)


def _referenced(folder: Path, name: str) -> str | None:
    path = folder / "refs" / name
    if ".." in name or not path.is_file():
        return None
    text = path.read_text("ascii", "replace").strip()
    return text if _COMMIT.fullmatch(text) else None


def _is_whole(folder: Path) -> bool:
    return folder.is_dir() and not missing_files(folder)


def _check_room(name: str, folder: Path) -> None:
    size = _size_of(name)
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if size is None:
        return
    own = folder if folder.name != "hub" else folder / ("models--" + name.replace("/", "--"))
    have = _bytes_in(own)
    free = shutil.disk_usage(there).free
    if free < size - have:
        raise DiskFull(
            f"{name} needs {size / 1e9:.1f} GB and {there} has {free / 1e9:.1f} GB left; "
            "make room, or choose another place with --to or HF_HOME"
        )


def _size_of(name: str) -> int | None:
    return next((count for part, count in _DOWNLOAD_BYTES.items() if part in name), None)


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() and not path.is_symlink() else 0
        except OSError:
            continue  # a part that was renamed meanwhile
    return total


def network_errors() -> tuple[type[Exception], ...]:
    """What the hub's client raises for a connection: it is built on httpx, since its version 2.4 on httpx2."""
    return tuple(import_module(name).HTTPError for name in ("httpx", "httpx2") if find_spec(name) is not None)


def _fetch_from_hf(name: str, revision: str | None, to: Path | None) -> Path:
    hub, errors = import_module("huggingface_hub"), import_module("huggingface_hub.errors")
    broken: tuple[type[Exception], ...] = (OSError, ValueError, *network_errors())
    try:
        return Path(hub.snapshot_download(name, revision=revision, local_dir=to, allow_patterns=_PATTERNS))
    except errors.RevisionNotFoundError:
        raise DownloadFailed(f"{name} has no revision {revision}") from None
    except errors.GatedRepoError:
        raise DownloadFailed(f"{name} asks for its conditions to be accepted: log in with `hf auth login`") from None
    except errors.RepositoryNotFoundError:
        raise DownloadFailed(f"{name} is not on the hub, or is private") from None
    except errors.OfflineModeIsEnabled:
        raise DownloadFailed(f"{name} is not in the cache, and HF_HUB_OFFLINE forbids asking the hub") from None
    except broken as error:
        raise _download_error(name, error) from None


def _fetch_from_modelscope(name: str, revision: str | None, to: Path | None) -> Path:
    try:
        hub = import_module("modelscope")
    except ModuleNotFoundError:
        raise UsageError("--source modelscope needs its package: python -m pip install modelscope") from None
    try:
        return Path(hub.snapshot_download(name, revision=revision, local_dir=None if to is None else str(to)))
    except Exception as error:  # noqa: BLE001 - its package raises whatever its own client does
        raise _download_error(name, error) from None


def _download_error(name: str, error: BaseException) -> DownloadFailed | DiskFull:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"{name}: no room on the disk ({error.strerror}); make room and try again: it goes on")
    told = " ".join(str(error).split()) or type(error).__name__
    return DownloadFailed(
        f"{name} could not be fetched ({told[:200]}); check the connection and try again, it goes on from there"
    )
