"""The card as the setup knows it, read from the doctor's facts; without one, the processor and its memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from toolkit.errors import FactsError

__all__ = ["Card"]

_GIB = 2**30


@dataclass(frozen=True)
class Card:
    """Where speech will run. ``memory_bytes`` is of the card, or of the machine where ``device`` is "cpu"."""

    name: str
    device: str
    memory_bytes: int
    capability: tuple[int, int] | None = None
    index: int = 0

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Card:
        """From facts of a doctor; the processor unless PyTorch itself can use a card of known memory."""
        name, memory_gb, cc = facts.get("gpu.name"), facts.get("gpu.memory_gb"), facts.get("gpu.cc")
        found = re.fullmatch(r"(\d+)\.(\d)", str(cc))
        known = isinstance(name, str) and isinstance(memory_gb, (int, float)) and found is not None
        if not known or facts.get("torch.cuda_available") is not True:
            return cls("", "cpu", int(psutil.virtual_memory().total))
        index = facts.get("gpu.index")
        capability = (int(found[1]), int(found[2])) if found is not None else None
        number = index if type(index) is int else 0
        return cls(str(name), "cuda", int(float(str(memory_gb)) * _GIB), capability, number)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Card:
        """Back from :meth:`to_json`. Raises FactsError for anything else."""
        try:
            pair = data["capability"]
            return cls(
                str(data["name"]),
                str(data["device"]),
                int(data["memory_bytes"]),
                None if pair is None else (int(pair[0]), int(pair[1])),
                int(data["index"]),
            )
        except (KeyError, TypeError, ValueError, IndexError):
            raise FactsError("the saved state names no card; check the machine again") from None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        data = asdict(self)
        data["capability"] = None if self.capability is None else list(self.capability)
        return data

    def choose_device(self) -> str:
        """The card's name for PyTorch; PyTorch counts what it may see, so the first one is left to it."""
        return "auto" if self.device == "cuda" else "cpu"
