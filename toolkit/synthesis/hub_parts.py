"""Fetches the large files of a model into the hub's cache so that a stopped download goes on where it was.

The hub's own client (huggingface_hub 2.4) starts a stopped file over; what lies whole in its cache it takes as it is.
"""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from toolkit.errors import DiskFull, DownloadFailed
from toolkit.synthesis.hub import PINNED, network_errors, repository

__all__ = ["LARGE_FILES", "fetch_large_files"]

LARGE_FILES = ("model.safetensors", "speech_tokenizer/model.safetensors")

_BLOCK_BYTES = 2**20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[\w.-]{1,200}")


def fetch_large_files(name: str, *, on_bytes: Callable[[int, int], None] | None = None) -> None:
    """Fetch the weights of a model of the Hugging Face hub into its cache, from where an earlier call was stopped.

    What cannot be asked about is left to :func:`toolkit.synthesis.hub.download_model`, which tells why.

    Args:
        name: a repository or its end.
        on_bytes: called after each MiB with what is here and what it will be in all; what it raises stops the download.

    Raises:
        DownloadFailed: the connection broke, or a file is not the one that was promised.
        DiskFull: the disk cannot take it.
        BadModelFolder: no name of a repository.
    """
    name = repository(name)
    network = network_errors()
    broken: tuple[type[Exception], ...] = (OSError, ValueError, *network)
    hub = import_module("huggingface_hub")
    folder = Path(import_module("huggingface_hub.constants").HF_HUB_CACHE) / ("models--" + name.replace("/", "--"))
    wanted: list[tuple[str, Path, int]] = []
    for file in LARGE_FILES:
        url = hub.hf_hub_url(name, file, revision=PINNED.get(name))
        try:
            told = hub.get_hf_file_metadata(url)
        except broken:
            return
        if told.etag is None or told.size is None or not _NAME.fullmatch(told.etag):
            return
        wanted.append((url, folder / "blobs" / told.etag, int(told.size)))
    total = sum(size for _, _, size in wanted)
    before = 0
    try:
        (folder / "blobs").mkdir(parents=True, exist_ok=True)
        for url, blob, size in wanted:
            if not blob.exists():
                _fetch(url, blob, size, partial(_tell, on_bytes, before, total))
            before += size
    except network as error:
        raise DownloadFailed(f"{name}: the connection broke ({str(error)[:200]}); try again, it goes on") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"{name}: no room on the disk; make room and try again: it goes on") from None
        raise DownloadFailed(f"{name} could not be written: {error.strerror or error}") from None


def _tell(on_bytes: Callable[[int, int], None] | None, before: int, total: int, have: int) -> None:
    if on_bytes is not None:
        on_bytes(before + have, total)


def _fetch(url: str, blob: Path, size: int, tell: Callable[[int], None]) -> None:
    utils: Any = import_module("huggingface_hub.utils")
    part = blob.with_name(blob.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    if have > size:
        part.unlink()
        have = 0
    headers = {**utils.build_hf_headers(), "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    if have < size:
        with utils.get_session().stream("GET", url, headers=headers, follow_redirects=True) as answer:
            answer.raise_for_status()
            begins_anew = have > 0 and answer.status_code != 206
            with part.open("wb" if begins_anew or not have else "ab") as file:
                have = 0 if begins_anew else have
                for block in answer.iter_bytes(_BLOCK_BYTES):
                    file.write(block)
                    have += len(block)
                    tell(have)
    problem = _problem(part, size, blob.name)
    if problem:
        part.unlink(missing_ok=True)
        raise DownloadFailed(f"{url}: {problem}; what came was removed, try again")
    part.replace(blob)


def _problem(part: Path, size: int, etag: str) -> str:
    """What is wrong with a file that should be whole. The name of a large file is its hash."""
    found = part.stat().st_size
    if found != size:
        return f"{found} bytes came of {size}"
    if not _SHA256.fullmatch(etag):
        return ""
    digest = hashlib.sha256()
    with part.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return "" if digest.hexdigest() == etag else "it does not have the hash that was promised"
