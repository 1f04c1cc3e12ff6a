"""Make the committed goldens from a full set in the shared layout: the same files, with fewer wave samples and states.

``python scripts/pack_goldens.py GOLDENS/public`` writes ``tests/synthesis/goldens``. Codes, ids, logits, voices and
counts stay whole. Waves are thinned to every n-th sample, except a short whole one per mode; hidden states stay for a
few cases per checkpoint. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parent.parent
MAX_BYTES = 6_000_000
_WAVE_SAMPLES = 1200
_CODEC_SAMPLES = 5000
_FRAME_SAMPLES = 1920
_SHORTEST_WHOLE_FRAMES = 5
_DROPPED = ("margin_talker", "margin_pred")
# For these names, only so many cases per checkpoint: the logits of every case follow from the same states.
_CASES_KEPT = {"prefill_hidden": 2, "prefill_embeds": 3, "pred_logits": 6}

Array = npt.NDArray[np.generic]
Arrays = dict[str, Array]


def main() -> int:
    """Pack, and fail when the result is too large to commit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="folder with cases.json, the arrays and refs/")
    parser.add_argument("target", type=Path, nargs="?", default=ROOT / "tests" / "synthesis" / "goldens")
    options = parser.parse_args()
    source, target = options.source, options.target
    document = json.loads((source / "cases.json").read_text(encoding="utf-8"))
    (target / "refs").mkdir(parents=True, exist_ok=True)
    for path in (source / "cases.json", source / "tokens.json", *sorted((source / "refs").glob("*.wav"))):
        shutil.copyfile(path, target / path.relative_to(source))
    whole = _whole_cases(source, document["cases"])
    for name in document["checkpoints"]:
        order = [str(case["id"]) for case in document["cases"] if case["checkpoint"] == name]
        kept = {case for checkpoint, case in whole if checkpoint == name}
        _write(target / f"{name}.npz", dict(_thinned(_read(source / f"{name}.npz"), order, kept)))
    _write(target / "codec.npz", dict(_thinned_codec(_read(source / "codec.npz"))))
    total = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target}: {total} bytes")
    return 0 if total <= MAX_BYTES else 1


def _thinned(arrays: Arrays, order: list[str], whole: set[str]) -> Iterator[tuple[str, Array]]:
    for key, values in arrays.items():
        case, row, name = key.split(".")
        if name in _DROPPED or order.index(case) >= _CASES_KEPT.get(name, len(order)):
            continue
        if name == "wav" and case not in whole:
            layout = arrays[f"{case}.{row}.wav_layout"]
            step = _step(len(values), _WAVE_SAMPLES)
            yield key, values[::step]
            yield f"{case}.{row}.wav_layout", np.array([layout[0], layout[1] * step])
        elif name != "wav_layout" or case in whole:
            yield key, values


def _thinned_codec(arrays: Arrays) -> Iterator[tuple[str, Array]]:
    for key, values in arrays.items():
        if key.endswith(".wav"):
            layout = arrays[f"{key}_layout"]
            step = _step(len(values), _CODEC_SAMPLES)
            yield key, values[::step]
            yield f"{key}_layout", np.array([layout[0], layout[1] * step])
        elif not key.endswith(".wav_layout"):
            yield key, values


def _whole_cases(source: Path, cases: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Checkpoint and id of the shortest case of every mode whose waves are stored with every sample."""
    shortest: dict[str, tuple[int, str, str]] = {}
    for name in sorted({case["checkpoint"] for case in cases}):
        layouts = {key: values for key, values in _read(source / f"{name}.npz").items() if key.endswith(".wav_layout")}
        for case in cases:
            if case["checkpoint"] != name:
                continue
            rows = [layouts[f"{case['id']}.{row}.wav_layout"] for row in range(len(case["result"]["frames"]))]
            if all(row[1] == 1 for row in rows) and min(case["result"]["frames"]) >= _SHORTEST_WHOLE_FRAMES:
                found = (sum(int(row[0]) for row in rows), str(case["checkpoint"]), str(case["id"]))
                shortest[_mode(case)] = min(found, shortest.get(_mode(case), found))
    return {(checkpoint, case) for _, checkpoint, case in shortest.values()}


def _mode(case: dict[str, Any]) -> str:
    return f"{case['method']} {dict(case['args']).get('x_vector_only_mode') is True}"


def _step(samples: int, wanted: int) -> int:
    """A step that leaves about ``wanted`` samples and meets every place of a frame in turn."""
    step = max(1, math.ceil(samples / wanted))
    while math.gcd(step, _FRAME_SAMPLES) != 1:
        step += 1
    return step


def _read(path: Path) -> Arrays:
    with np.load(path) as stored:
        return {key: stored[key] for key in stored.files}


def _write(path: Path, arrays: Arrays) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for key in sorted(arrays):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(arrays[key]), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{key}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, buffer.getvalue(), compress_type=zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    sys.exit(main())
