"""Peak memory of this process; without torch, so that measuring it costs none."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil

__all__ = ["peak_resident_bytes"]


def peak_resident_bytes() -> int:
    """Largest resident size of this process so far."""
    # The resource module counts what the parent held when it forked; the kernel's own line does not.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
