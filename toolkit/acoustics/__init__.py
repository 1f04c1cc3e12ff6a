"""Reads recordings and measures what a listener would complain about; loads NumPy and SciPy only when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.lazy import lazy_names

if TYPE_CHECKING:
    from toolkit.acoustics.measures import MEASURES, measure, measure_file
    from toolkit.acoustics.reading import Recording, read_wav

__all__ = ["MEASURES", "Recording", "measure", "measure_file", "read_wav"]

_HOMES = {
    "MEASURES": "measures",
    "measure": "measures",
    "measure_file": "measures",
    "Recording": "reading",
    "read_wav": "reading",
}

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
