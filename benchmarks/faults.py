"""Measures how well faults are found: recall for each damage, false alarms over 500 clean clips, places, and speed.

Thresholds were set on seeds below 1,000, from 20,000 and from 40,000 on; the seeds measured here are others.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "acoustics")]

from damage import DAMAGES, RATE, clip, damaged_faults, wave_faults  # noqa: E402 - found beside the tests

from toolkit.acoustics.faults import find_faults  # noqa: E402
from toolkit.acoustics.reading import read_wav  # noqa: E402

__all__ = ["CLEAN_SEEDS", "DAMAGED_SEEDS", "main"]

CLEAN_SEEDS = range(50_000, 50_500)
DAMAGED_SEEDS = range(53_000, 53_100)
_SLOW = {"runaway to the cap": 10}


def main(first_clean: int = CLEAN_SEEDS.start, first_damaged: int = DAMAGED_SEEDS.start) -> dict[str, object]:
    """Measure and return what is written; the seeds may be moved to look at others."""
    began = time.perf_counter()
    clean = {seed: wave_faults(clip(seed)) for seed in range(first_clean, first_clean + len(CLEAN_SEEDS))}
    wall_s = time.perf_counter() - began
    false = {seed: sorted({fault.name for fault in found}) for seed, found in clean.items() if found}
    seconds = sum(len(clip(seed)) for seed in clean) / RATE
    samples = {
        path.name: [fault.name for fault in find_faults(read_wav(path))]
        for path in sorted((ROOT / "docs" / "samples").glob("*.flac"))
    }
    damages = {}
    for name, (wanted, damage) in DAMAGES.items():
        seeds = range(first_damaged, first_damaged + _SLOW.get(name, len(DAMAGED_SEEDS)))
        found = {seed: damaged_faults(damage(clip(seed).copy(), np.random.default_rng(seed))) for seed in seeds}
        missed = [seed for seed in seeds if wanted not in {fault.name for fault in found[seed]}]
        others = Counter(fault.name for faults in found.values() for fault in faults if fault.name != wanted)
        damages[name] = {
            "fault": wanted, "clips": len(seeds), "found": len(seeds) - len(missed),
            "recall": round(1 - len(missed) / len(seeds), 4), "missed_seeds": missed, "also": dict(others),
        }  # fmt: skip
        print(f"{name:30} {damages[name]['recall']:.3f} {dict(others)}", file=sys.stderr)
    return {
        "clean_clips": len(clean),
        "clean_seconds": round(seconds, 1),
        "false_alarms": len(false),
        "false_alarm_share": round(len(false) / len(clean), 4),
        "false_alarms_by_seed": false,
        "pocket_samples": samples,
        "damages": damages,
        "wall_s_per_10_s_of_audio": round(10 * wall_s / seconds, 3),
    }


if __name__ == "__main__":
    seeds = [int(argument) for argument in sys.argv[1:3]]
    document = main(*seeds)
    text = json.dumps(document, indent=1)
    if seeds:
        print(text)
    else:
        (ROOT / "benchmarks" / "results" / "faults.json").write_text(text + "\n", encoding="utf-8")
