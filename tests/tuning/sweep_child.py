"""A sweep of a made-up objective as a process of its own, to be killed: ``python sweep_child.py FILE TRIALS``."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from toolkit.tuning.chunk_knobs import Measured, Settings, space_for
from toolkit.tuning.chunk_study import ChunkStudy

__all__ = ["PRECISIONS", "forecast", "measure", "study_of"]

PRECISIONS = ("bfloat16", "float32")


def measure(settings: Settings) -> Measured:
    """The same figures for the same settings, anywhere."""
    if settings.batch == 8 and settings.audio_chunk_size > 200:
        return Measured(fault="out of memory: 9.1 GB of 8 GB")
    odd = (settings.audio_chunk_size * 7 + settings.batch * 13 + len(settings.chunk_frames) * 3) % 101
    return Measured(
        s_per_s=0.1 + odd / 1000,
        start_s=0.01 * len(settings.chunk_frames) + odd / 5000,
        peak_bytes=10**9 + settings.audio_chunk_size * settings.batch * 10**6,
    )


def forecast(settings: Settings) -> str | None:
    """Refuses some."""
    return "needs 11 GB of 8 GB" if settings.precision == "float32" and settings.text_table == "card" else None


def study_of(path: Path, model: str = "made up") -> ChunkStudy:
    """The sweep of this file."""
    space = space_for("both", card=True, longest=300, precisions=PRECISIONS)
    return ChunkStudy(path, space, "both", {"model": model}, seed=3)


def _slowly(settings: Settings) -> Measured:
    with Path(sys.argv[1] + ".calls").open("a", encoding="utf-8") as calls:
        calls.write(f"{os.getpid()} {settings}\n")
    time.sleep(0.05)
    return measure(settings)


if __name__ == "__main__":
    study_of(Path(sys.argv[1])).run(int(sys.argv[2]), _slowly, forecast, lambda trial: print(trial.slot, flush=True))
