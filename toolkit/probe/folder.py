"""What lies in a folder that a stranger may have filled, or that may not be there."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

__all__ = ["children_of"]

_MAX_CHILDREN = 2_000


def children_of(folder: Path) -> list[Path]:
    """The first 2,000 entries that the system names, sorted; none where the folder cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in islice(entries, _MAX_CHILDREN))
    except OSError:
        return []
