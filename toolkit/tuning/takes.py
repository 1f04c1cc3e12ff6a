"""What a voice hands over for each run of a trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Stopped", "Take"]


class Stopped(Exception):
    """Raised between frames when a run was asked to stop; nothing of the batch is kept."""


@dataclass(frozen=True, eq=False)
class Take:
    """One run as it was spoken.

    Attributes:
        seed: what it was drawn from.
        finish: "eos", "length" (ran into the length cap) or "failed".
        failure: what went wrong; "" when nothing did.
        samples: float32 ``[n]`` in [-1, 1], mono; None where it failed.
        sample_rate_hz: of the samples.
        save: writes them as a file; None where there is nothing to write.
    """

    seed: int
    finish: Literal["eos", "length", "failed"]
    failure: str = ""
    samples: NDArray[np.float32] | None = None
    sample_rate_hz: int = 24_000
    save: Callable[[Path], object] | None = None
