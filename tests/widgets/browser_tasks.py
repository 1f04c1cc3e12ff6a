"""Tasks for the demo notebook of the browser tests."""

from __future__ import annotations

import numpy as np

from toolkit.errors import BadAudio
from toolkit.widgets.jobs import Work


def tone(work: Work, pieces: int) -> dict[str, int]:
    """A tone in pieces of 0.2 s, each made in half of that."""
    for number in range(pieces):
        time = np.arange(number * 4800, (number + 1) * 4800) / 24_000
        work.partial("audio", (0.5 * np.sin(2 * np.pi * 220 * time)).astype(np.float32))
        work.progress(number / pieces, "piece {number}", number=number)
        work.pause(0.1)
    return {"samples": pieces * 4800}


def hostile(work: Work, pieces: int) -> None:
    """An error whose text tries to be markup."""
    raise BadAudio("<script>alert(1)</script> <img src=x onerror=alert(1)> costs $5 and $6")


def endless(work: Work, pieces: int) -> None:
    """Works until it is ended."""
    number = 0
    while True:
        work.progress(None, "piece {number}", number=number)
        work.pause(0.05)
        number += 1
