"""What the figures were measured on: the card or the processor, and the versions."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path

import torch

from toolkit import __version__

__all__ = ["card_name", "card_slug", "environment"]

_PACKAGES = ("triton", "triton-windows", "transformers", "numpy")


def card_name(device: torch.device) -> str:
    """Name of the card, or of the processor."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text("utf-8", "replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine() or "cpu"


def card_slug(name: str) -> str:
    """A name as a file is called: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unknown"


def environment(device: torch.device) -> dict[str, object]:
    """The machine and the versions, as JSON values; sizes in bytes."""
    found: dict[str, object] = {
        "device": device.type,
        "name": card_name(device),
        "cpu": card_name(torch.device("cpu")),
        "cores": os.cpu_count(),
        "platform": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "toolkit": __version__,
        "packages": {name: version for name in _PACKAGES if (version := _version(name)) is not None},
    }
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        found["compute_capability"] = f"{card.major}.{card.minor}"
        found["memory_bytes"] = int(card.total_memory)
        found["multiprocessors"] = int(card.multi_processor_count)
        found["cuda"] = torch.version.cuda
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
