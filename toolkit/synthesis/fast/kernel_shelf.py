"""Which sizes the kernels run with: one's own tuning of a card, else what ships for its capability, else defaults."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from toolkit.errors import QwenAudioError, UsageError
from toolkit.synthesis.config import DecoderShape, ModelConfig
from toolkit.synthesis.fast.kernel_sizes import KernelSizes
from toolkit.synthesis.fast.kernel_table import CHAINS_FROM, shipped_for
from toolkit.synthesis.fast.operations import Operations
from toolkit.synthesis.precision import NATIVE_BF16, Choice
from toolkit.synthesis.whole_file import WholeFile, output_error

__all__ = [
    "DEFAULTS",
    "OWN_TUNING",
    "SHIPPED_TABLE",
    "Tuning",
    "TuningKey",
    "can_chain",
    "choose_tuning",
    "load_sizes",
    "model_shape",
    "own_tuning_path",
    "read_json",
    "shipped_tuning",
    "sizes_json",
    "tuned_operations",
    "tuning_folder",
    "tuning_key",
    "write_json",
    "write_tuning",
]

OWN_TUNING, SHIPPED_TABLE, DEFAULTS = "own tuning", "shipped table", "defaults"
"""Where sizes come from, best first."""

_SCHEMA = 1
_MOST_BYTES = 2**20
_CHAINS_FROM_TRITON = (3, 4)


@dataclass(frozen=True)
class TuningKey:
    """What a tuning holds for.

    Attributes:
        card: name of the card as CUDA tells it.
        capability: its compute capability.
        triton, torch: their versions.
        shape: from :func:`model_shape`.
    """

    card: str
    capability: tuple[int, int]
    triton: str
    torch: str
    shape: str

    def to_json(self) -> dict[str, str]:
        """As JSON values."""
        return {**asdict(self), "capability": f"{self.capability[0]}.{self.capability[1]}"}


@dataclass(frozen=True)
class Tuning:
    """Sizes of the kernels, whether kernels overlap, and a :class:`Choice` of where both come from."""

    sizes: KernelSizes
    chained: bool
    source: Choice


def model_shape(config: ModelConfig, dtype: str) -> str:
    """A short name of the sizes that products and attention have: of the talker's stack and the predictor's (layers,
    width, inner width, heads, key heads, their width), the vocabulary, and the dtype. One for all kinds of a size."""
    parts = [_stack(config.talker.decoder), _stack(config.predictor.decoder), f"v{config.talker.vocab}"]
    return "-".join((*parts, dtype))


def tuning_key(config: ModelConfig, dtype: torch.dtype, device: torch.device, triton: str) -> TuningKey:
    """The key of a model on a CUDA card of this machine."""
    return TuningKey(
        card=str(torch.cuda.get_device_name(device)),
        capability=torch.cuda.get_device_capability(device),
        triton=triton,
        torch=str(torch.__version__),
        shape=model_shape(config, str(dtype).removeprefix("torch.")),
    )


def tuning_folder(environ: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path:
    """Where own tunings lie: ``qwen-audio/kernels`` in XDG_CACHE_HOME, on Windows LOCALAPPDATA, else ``~/.cache``."""
    given = os.environ if environ is None else environ
    base = given.get("LOCALAPPDATA") if platform == "win32" else given.get("XDG_CACHE_HOME")
    root = Path(os.path.expanduser(base)) if base else Path(os.path.expanduser("~")) / ".cache"
    return root / "qwen-audio" / "kernels"


def tuned_operations(device: torch.device, tuning: Tuning | None) -> Operations:
    """The fused kernels with the sizes of a tuning, the defaults without one; they overlap where Triton knows how.

    Raises:
        ImportError: Triton is missing, or not one that they are written for.
    """
    kernels = import_module("toolkit.synthesis.fast.triton_operations")  # by name, since the module needs Triton
    sizes = None if tuning is None else tuning.sizes
    chained = tuning is not None and tuning.chained and kernels.CAN_OVERLAP
    made: Operations = kernels.TritonOperations(device, sizes, chained=chained)
    return made


def own_tuning_path(key: TuningKey, folder: Path) -> Path:
    """The file of a card and a model shape; versions are told inside, so that a new tuning takes an old one's place."""
    slug = re.sub(r"[^a-z0-9]+", "-", key.card.lower()).strip("-")[:60] or "card"
    # Cards whose names differ in signs alone would share a slug.
    digest = hashlib.sha256(f"{key.card}\n{key.shape}".encode()).hexdigest()[:12]
    return folder / f"{slug}-{digest}.json"


def can_chain(capability: tuple[int, int], triton: str) -> bool:
    """Whether kernels can overlap: from compute capability 9.0 and Triton 3.4 on."""
    found = re.match(r"(\d+)\.(\d+)", triton)
    return capability >= CHAINS_FROM and found is not None and (int(found[1]), int(found[2])) >= _CHAINS_FROM_TRITON


def choose_tuning(key: TuningKey, folder: Path | None = None) -> Tuning:
    """The best sizes that are known for a card and a model. An own file that cannot serve is passed over, and
    the reason says so.

    Args:
        folder: of own tunings; :func:`tuning_folder` unless given.
    """
    path = own_tuning_path(key, tuning_folder() if folder is None else folder)
    passed_over = ""
    try:
        own = _read_own(path, key)
    except (OSError, UsageError) as error:
        own, passed_over = None, f"; {error}"
    if own is not None:
        return own
    shipped = shipped_tuning(key)
    source = replace(shipped.source, reason=shipped.source.reason + passed_over)
    return replace(shipped, source=source)


def shipped_tuning(key: TuningKey) -> Tuning:
    """What a card runs with that nobody has tuned: the entry of the shipped table, else defaults."""
    told = f"{key.capability[0]}.{key.capability[1]}"
    if key.capability < NATIVE_BF16:
        return Tuning(KernelSizes(), False, Choice(DEFAULTS, f"nothing is known of compute capability {told}"))
    nearest, entry = shipped_for(key.capability)
    reason = f"{nearest[0]}.{nearest[1]}: {entry.origin}"
    if nearest != key.capability:
        reason += f"; the nearest below {told}, which is not in it"
    chained = entry.chained and can_chain(key.capability, key.triton)
    if entry.chained and not chained:
        reason += f"; Triton {key.triton} cannot overlap kernels, 3.4 can"
    return Tuning(entry.sizes, chained, Choice(SHIPPED_TABLE, reason))


def write_tuning(
    key: TuningKey, sizes: KernelSizes, chained: bool, measured: Mapping[str, object], folder: Path | None = None
) -> Path:
    """Keep one's own tuning, whole or not at all; ``measured`` are JSON values that say how it was found.

    Raises:
        BadOutput: the folder cannot be made or written.
        DiskFull: the disk is full.
    """
    path = own_tuning_path(key, tuning_folder() if folder is None else folder)
    document = {
        "schema": _SCHEMA,
        "kind": "kernel-sizes",
        **key.to_json(),
        "chained": chained,
        "sizes": sizes_json(sizes),
        "measured": dict(measured),
    }
    write_json(path, document)
    return path


def write_json(path: Path, document: Mapping[str, object]) -> None:
    """Write JSON values whole or not at all, with the folders that are missing; see :func:`write_tuning`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(path, error) from None
    with WholeFile(path, overwrite=True) as file:
        file.write((json.dumps(document, indent=1) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of at most 1 MiB.

    Raises:
        OSError: no such file, or one that cannot be read.
        UsageError: damaged.
    """
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES + 1)
    try:
        found = json.loads(data.decode()) if len(data) <= _MOST_BYTES else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError(f"{path.name} is damaged")
    return found


def sizes_json(sizes: KernelSizes) -> dict[str, object]:
    """Sizes as JSON values, from which :func:`load_sizes` makes them again."""
    values: dict[str, object] = {entry.name: getattr(sizes, entry.name) for entry in fields(sizes)}
    tables = {"products": sizes.products, "dots": sizes.dots}
    return values | {name: {key: list(found) for key, found in table.items()} for name, table in tables.items()}


def load_sizes(values: object) -> KernelSizes:
    """See :func:`sizes_json`.

    Raises:
        UsageError: a name that is none, or a value that cannot be.
    """
    known = {entry.name for entry in fields(KernelSizes)}
    if not isinstance(values, dict) or not set(values) <= known:
        raise UsageError(f"sizes of kernels have the names {', '.join(sorted(known))}")
    return KernelSizes(**values)


def _read_own(path: Path, key: TuningKey) -> Tuning | None:
    """The tuning of a file; None where there is no file. Raises OSError, or UsageError when it cannot serve."""
    try:
        document = read_json(path)
    except FileNotFoundError:
        return None
    if document.get("schema") != _SCHEMA or document.get("kind") != "kernel-sizes":
        raise UsageError(f"own tuning {path.name} was written by another version of the toolkit")
    for name, wanted in key.to_json().items():
        if document.get(name) != wanted:
            raise UsageError(f"own tuning {path.name} is of {name} {document.get(name)!r}, not {wanted!r}; tune again")
    chained = document.get("chained")
    if not isinstance(chained, bool):
        raise UsageError(f"own tuning {path.name} is damaged")
    try:
        sizes = load_sizes(document.get("sizes"))
    except QwenAudioError as error:
        raise UsageError(f"own tuning {path.name} is damaged: {error}") from None
    return Tuning(sizes, chained and can_chain(key.capability, key.triton), Choice(OWN_TUNING, path.name))


def _stack(shape: DecoderShape) -> str:
    return f"l{shape.layers}d{shape.hidden}i{shape.intermediate}h{shape.heads}k{shape.kv_heads}x{shape.head_dim}"
