"""Time to measure a clip of 10 s and to find its faults, warm and on one core. The last line is one JSON object.

    OMP_NUM_THREADS=1 python benchmarks/listen_speed.py [FILE]

The clip is FILE, or a sample of the pocket voice, repeated up to 10 s; the first round, which loads libraries, is not
counted. At most 0.25 s are allowed for both together.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import soundfile

from toolkit.acoustics.faults import find_faults
from toolkit.acoustics.reading import read_wav
from toolkit.acoustics.voice import measure_voice

__all__ = ["ALLOWED_S", "CLIP_S", "main", "timings_s"]

ALLOWED_S = 0.25
CLIP_S = 10.0
SAMPLE = Path(__file__).parent.parent / "docs" / "samples" / "pocket_english-plain.flac"


def timings_s(path: Path, rounds: int) -> dict[str, float]:
    """Median seconds of reading, measuring and finding faults, and of all three."""
    wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    count = round(CLIP_S * rate)
    spent = []
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.wav"
        soundfile.write(clip, np.tile(wave, (-(-count // len(wave)), 1))[:count], rate)
        for _ in range(rounds + 1):
            marks = [perf_counter()]
            recording = read_wav(clip)
            marks.append(perf_counter())
            measure_voice(recording.finite_mono(), recording.sample_rate)
            marks.append(perf_counter())
            find_faults(recording)
            marks.append(perf_counter())
            spent.append((*np.diff(marks), marks[-1] - marks[0]))
    names = ("read_s", "measures_s", "faults_s", "together_s")
    return {name: round(median(column), 4) for name, column in zip(names, zip(*spent[1:], strict=True), strict=True)}


def main(arguments: list[str] | None = None) -> int:
    """0 when it is quick enough, else 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, default=SAMPLE, help="a recording of speech")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of which the median is told")
    options = parser.parse_args(arguments)
    found = timings_s(options.file, max(1, options.rounds))
    print(json.dumps({"clip_s": CLIP_S, "allowed_s": ALLOWED_S, **found}))
    return int(found["together_s"] > ALLOWED_S)


if __name__ == "__main__":
    sys.exit(main())
