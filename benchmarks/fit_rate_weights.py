"""Fits how spectra tell a wrong sample rate, on clips of espeak-ng, and writes toolkit/acoustics/rate_weights.py."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "acoustics")]

from damage import RATE, clip  # noqa: E402 - found beside the tests

from toolkit.acoustics.rate_faults import rate_features  # noqa: E402

__all__ = ["SETTING_SEEDS", "main"]

SETTING_SEEDS = range(20_000, 20_600)
RATIOS = (1 / 3, 0.5, 2 / 3, 0.91875, 1.0, 4 / 3, 1.8375, 2.0)
TIMES_RIGHT = 4
WIDE_EDGES_HZ = tuple(round(float(edge), 1) for edge in np.geomspace(70, 7_500, 29))
NARROW_EDGES_HZ = tuple(round(float(edge), 1) for edge in np.geomspace(70, 3_600, 23))
_RIDGE = 20.0


def fit(edges_hz: tuple[float, ...], least_rate_hz: int, rng: np.random.Generator) -> list[float]:
    """Weights, the constant first, of the octaves by which a clip is too fast."""
    rows: list[NDArray[np.float64]] = []
    octaves: list[float] = []
    bands = len(edges_hz) - 1
    centres = np.log2(np.sqrt(np.array(edges_hz[1:]) * np.array(edges_hz[:-1])))
    for seed in SETTING_SEEDS:
        for ratio in RATIOS + (1.0,) * TIMES_RIGHT:
            rate = round(RATE * ratio)
            features = rate_features(clip(seed), rate, edges_hz)
            if rate < least_rate_hz or features is None:
                continue
            # Microphones and rooms tilt and ripple a spectrum; that must not look like another rate.
            tilt = rng.normal(0, 1.0) * (centres - centres.mean())
            ripple = rng.normal(0, 1.0) * np.cos(rng.uniform(0.5, 2) * centres + rng.uniform(0, 7))
            features[:bands] += tilt + ripple - ripple.mean()
            rows.append(features)
            octaves.append(float(np.log2(ratio)))
    found = np.array(rows)
    centre, scale = found.mean(axis=0), found.std(axis=0)
    known = np.hstack((np.ones((len(found), 1)), (found - centre) / scale))
    ridge = _RIDGE * np.eye(known.shape[1])
    ridge[0, 0] = 0.0
    weights = np.linalg.solve(known.T @ known + ridge, known.T @ np.array(octaves))
    slopes = weights[1:] / scale
    return [float(weights[0] - slopes @ centre), *slopes.tolist()]


def main() -> None:
    """Fit both tables and write the module."""
    rng = np.random.default_rng(0)
    tables = {
        "NARROW_EDGES_HZ": NARROW_EDGES_HZ, "NARROW_WEIGHTS": fit(NARROW_EDGES_HZ, 7_900, rng),
        "WIDE_EDGES_HZ": WIDE_EDGES_HZ, "WIDE_WEIGHTS": fit(WIDE_EDGES_HZ, 15_900, rng),
    }  # fmt: skip
    lines = [
        '"""How levels of bands tell a wrong sample rate; written by benchmarks/fit_rate_weights.py."""', "",
        "from __future__ import annotations", "",
        f"__all__ = [{', '.join(map(chr(34).__add__, (name + chr(34) for name in tables)))}]",
    ]  # fmt: skip
    for name, values in tables.items():
        numbers = [f"{value:.6g}" for value in values]
        rows = ["    " + ", ".join(numbers[first : first + 7]) + "," for first in range(0, len(numbers), 7)]
        lines += ["", f"{name}: tuple[float, ...] = (", *rows, ")  # fmt: skip"]
    path = ROOT / "toolkit" / "acoustics" / "rate_weights.py"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path.name}: {len(tables['WIDE_WEIGHTS'])} and {len(tables['NARROW_WEIGHTS'])} weights")


if __name__ == "__main__":
    main()
