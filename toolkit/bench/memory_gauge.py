"""Memory of a measurement: allocated and reserved bytes on a card, resident bytes of the process on a CPU."""

from __future__ import annotations

import psutil
import torch

from toolkit.synthesis.resident import peak_resident_bytes

__all__ = ["MemoryGauge"]


class MemoryGauge:
    """Reads the allocator of a card, or the process where there is none."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def begin(self) -> None:
        """Forget the peak so far. A process's own peak cannot be forgotten."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def peak(self) -> dict[str, int]:
        """``peak_allocated_bytes`` and ``peak_reserved_bytes`` since :meth:`begin`, or ``peak_resident_bytes`` of the
        process since it began."""
        if self._device.type != "cuda":
            return {"peak_resident_bytes": peak_resident_bytes()}
        return {
            "peak_allocated_bytes": int(torch.cuda.max_memory_allocated(self._device)),
            "peak_reserved_bytes": int(torch.cuda.max_memory_reserved(self._device)),
        }

    def held(self) -> dict[str, int]:
        """``allocated_bytes`` and ``reserved_bytes`` now, or ``resident_bytes``."""
        if self._device.type != "cuda":
            return {"resident_bytes": int(psutil.Process().memory_info().rss)}
        return {
            "allocated_bytes": int(torch.cuda.memory_allocated(self._device)),
            "reserved_bytes": int(torch.cuda.memory_reserved(self._device)),
        }
