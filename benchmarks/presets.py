"""Measures settings under caps of memory: 1.7B and 0.6B shapes, BF16 against FP16, 50 runs a cell; JSON after each.

    python benchmarks/presets.py --out benchmarks/results/presets.json [--budget-s 300]

A cell is a shape, a precision, a set of settings and a cap. The cap binds PyTorch's allocator, so a large card stands
for a small one in memory only: time stays that of the card that is here. Cells that are in the file already are left
as they are, so the same command goes on where the budget ended. Weights are random, in the published shapes. Without a
card it runs on tiny shapes, which shows that it works and measures nothing.

FP16 runs on the plain path, about thirty times as slow, so a run of it makes few frames, and then decodes one whole
piece of ``audio_chunk_size`` frames. What its cache would still grow by is added to its need as a forecast of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import json
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from toolkit.bench.memory_gauge import MemoryGauge
from toolkit.bench.repeats import repeat
from toolkit.errors import QwenAudioError, UsageError
from toolkit.synthesis.drawn_model import drawn_model
from toolkit.synthesis.limits import longest_part_frames
from toolkit.synthesis.memory import CONTEXT_BYTES
from toolkit.synthesis.result import SpeechReport, SpeechWarning
from toolkit.synthesis.speaker import Speech, load
from toolkit.synthesis.whole_file import WholeFile
from toolkit.tuning.presets import PRESETS_FILE, presets_text

__all__ = ["CANDIDATES", "CAPS_GB", "Candidate", "Cell", "cells_of", "main"]

CAPS_GB = (6, 8, 10, 12, 16, 24)
SHORT_RUN_FRAMES = 24
PLAIN_RUN_FRAMES = 2
GB = 10**9
MARK = "CELL "
SENTENCE = "周末的市集从早上七点开始，卖花的、卖面包的、修旧收音机的都在。"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Settings to compare, the caps at which they are measured, and the precisions."""

    name: str
    audio_chunk_size: int
    max_text_length: int
    batch: int
    caps_gb: tuple[int, ...]
    precisions: tuple[str, ...]


CANDIDATES = (
    Candidate("tutorial-8gb", 128, 80, 1, (6, 8, 10, 12), ("bfloat16", "float16")),
    Candidate("tutorial-24gb", 256, 300, 1, (12, 16, 24), ("bfloat16", "float16")),
    Candidate("toolkit", 300, 300, 1, CAPS_GB, ("bfloat16",)),
    Candidate("toolkit-batch-4", 300, 300, 4, (6, 8), ("bfloat16",)),
    Candidate("toolkit-batch-8", 300, 300, 8, CAPS_GB, ("bfloat16",)),
)
"""The tutorial gives 256 for 24 GB, and 128 with 80 characters for 8 GB; it gives no length for 24 GB, so that of the
toolkit is taken."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One measurement."""

    size: str
    precision: str
    candidate: Candidate
    cap_gb: int

    @property
    def key(self) -> str:
        """Its name in the file."""
        return f"{self.size}/{self.precision}/{self.candidate.name}/{self.cap_gb}"


def cells_of(sizes: Sequence[str], precisions: Sequence[str], caps_gb: Sequence[int]) -> list[Cell]:
    """All cells, those that matter most first; caps that need no other model loaded follow one another."""
    return [
        Cell(size, precision, candidate, cap)
        for candidate in CANDIDATES
        for size in sizes
        for precision in precisions
        if precision in candidate.precisions
        for cap in candidate.caps_gb
        if cap in caps_gb
    ]


def text_of(characters: int) -> str:
    """One part of at most so many characters."""
    return (SENTENCE.replace("。", "，") * (characters // len(SENTENCE) + 1))[: characters - 1] + "。"


def release() -> None:
    """What a failed or finished cell held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.empty_cache()


class Measuring:
    """Cells one after the other in one process; a model stays while only the cap rises."""

    def __init__(self, runs: int) -> None:
        self._runs = runs
        self._speech: Speech | None = None
        self._made_for: tuple[object, ...] = ()

    def cell(self, cell: Cell) -> dict[str, Any]:
        """Figures of a cell, or why there are none."""
        began = time.perf_counter()
        try:
            found = self._measured(cell)
        except (QwenAudioError, RuntimeError, MemoryError) as error:
            told = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
            found = {"outcome": "failed", "error": told, "peak": self._peak()}
        if found["outcome"] != "stable":
            self._drop()
        return {"spent_s": round(time.perf_counter() - began, 2), **found}

    def _peak(self) -> dict[str, int]:
        return {} if self._speech is None else MemoryGauge(self._speech.model.device).peak()

    def _drop(self) -> None:
        self._speech, self._made_for = None, ()
        release()

    def _open(self, cell: Cell) -> tuple[Speech, float]:
        small = cell.cap_gb < 10
        wanted = (cell.size, cell.precision, cell.candidate, small)
        limit = cell.cap_gb * GB
        if self._speech is not None and self._made_for == wanted:
            self._speech.model.memory.cap(limit)
            return self._speech, 0.0
        self._drop()
        began = time.perf_counter()
        card = torch.cuda.is_available()
        with drawn_model("1b7" if cell.size == "1b7" else "0b6", "real" if card else "tiny") as found:
            self._speech = load(
                found,
                device="cuda" if card else "cpu",
                dtype=cell.precision,
                audio_chunk_size=cell.candidate.audio_chunk_size,
                max_text_length=cell.candidate.max_text_length,
                vram_limit=limit,
                seed=1,
            )
        self._made_for = wanted
        return self._speech, time.perf_counter() - began

    def _measured(self, cell: Cell) -> dict[str, Any]:
        speech, load_s = self._open(cell)
        device, candidate = speech.model.device, cell.candidate
        plain = speech.model.path.value == "plain"
        longest = longest_part_frames(candidate.max_text_length)
        if device.type == "cpu":
            longest = min(longest, SHORT_RUN_FRAMES)
        frames = min(longest, PLAIN_RUN_FRAMES if plain else SHORT_RUN_FRAMES)
        text = text_of(candidate.max_text_length)
        codes = torch.randint(0, 16, (candidate.audio_chunk_size if device.type == "cuda" else 4, 16))

        def speak(count: int = frames) -> SpeechReport:
            results = speech.speak_many(
                [text] * candidate.batch, speaker="Ryan", batch=candidate.batch, max_frames=count, seed=1
            )
            if plain:
                speech._pipeline.waveforms([codes], [None], candidate.audio_chunk_size, False)
            return results[0]

        gauge = MemoryGauge(device)
        gauge.begin()
        first = time.perf_counter()
        # On the fast path a part of full length costs seconds, and only it makes the buffers as large as they get.
        speak(frames if plain else longest)
        first_s = time.perf_counter() - first
        whole = gauge.peak()
        repeats = repeat(speak, self._runs, gauge)
        found = repeats.to_json()
        shape = speech.model.config.talker.decoder
        grown = max(0, longest - frames) if plain else 0
        grows = grown * candidate.batch * shape.layers * 2 * shape.kv_heads * shape.head_dim * 2
        peak = {name: max(value, repeats.peak().get(name, 0)) for name, value in whole.items()}
        halved = [note for note in repeats.notes if note.startswith("Memory ran out")]
        outcome = "failed" if not repeats.stable else "halved" if halved else "stable"
        reserved = peak.get("peak_reserved_bytes")
        return {
            "outcome": outcome,
            "error": repeats.error,
            "path": str(speech.path),
            "text_table": str(speech.model.text_table),
            "codec_dtype": speech.model.codec_dtype.value,
            "load_s": round(load_s, 2),
            "longest_call": {"frames": frames if plain else longest, "seconds": round(first_s, 3)},
            "run_frames": frames,
            "runs": {key: found[key] for key in ("asked", "done", "failed_at", "mean_s", "median_s", "most_s")},
            "growth_bytes": found.get("growth"),
            "forecast_bytes": speech.model.plan.total_bytes,
            "peak": peak,
            "cache_forecast_bytes": grows,
            "need_bytes": None if reserved is None else reserved + grows + CONTEXT_BYTES,
            "outside_bytes": _outside(device),
            "notes": [*halved, *speech.model.notes],
        }


def _outside(device: torch.device) -> int | None:
    """What is taken on the card beside this allocator: CUDA itself, and other programs."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    return int(total - free - torch.cuda.memory_reserved(device))


def child(request: dict[str, Any]) -> None:
    """Measure the named cells; one line each."""
    warnings.simplefilter("ignore", SpeechWarning)
    measuring = Measuring(request["runs"])
    by_key = {cell.key: cell for cell in cells_of(request["sizes"], request["precisions"], request["caps_gb"])}
    for key in request["keys"]:
        print(f"{MARK}{json.dumps({'begins': key})}", flush=True)
        found = measuring.cell(by_key[key])
        print(f"{MARK}{json.dumps({'key': key, **found})}", flush=True)
        if "CUDA error" in (found.get("error") or ""):
            sys.exit(3)  # after it nothing runs in this process any more


def lines_of(request: dict[str, Any], deadline: float) -> Iterator[dict[str, Any]]:
    """What a child tells, until it ends or the deadline is over."""
    argv = [sys.executable, __file__, "--child", json.dumps(request)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith(MARK):
                yield json.loads(line[len(MARK) :])
            if time.monotonic() > deadline:
                return
        yield {"ended": process.wait()}
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def measure(options: argparse.Namespace, document: dict[str, Any]) -> None:
    """All cells that are not in the document, within the budget."""
    sizes, precisions, caps = options.sizes, options.precisions, options.caps
    cells = cells_of(sizes, precisions, caps)
    done: dict[str, Any] = document["cells"]
    document["not_measured"] = [cell.key for cell in cells if cell.key not in done]
    deadline = time.monotonic() + options.budget_s
    while document["not_measured"] and time.monotonic() < deadline:
        left = list(document["not_measured"])
        request = {"sizes": sizes, "precisions": precisions, "caps_gb": caps, "runs": options.runs, "keys": left}
        begun = left[0]
        with contextlib.closing(lines_of(request, deadline)) as told:
            for line in told:
                if "begins" in line:
                    begun = line["begins"]
                elif "ended" in line:
                    if begun not in done:
                        error = f"the process ended with {line['ended']} during this cell"
                        _keep(options.out, document, begun, {"outcome": "crashed", "error": error})
                else:
                    _keep(options.out, document, line.pop("key"), line)
    if document["not_measured"]:
        print(f"budget over: {len(document['not_measured'])} cells left; the same command goes on", flush=True)


def _keep(path: Path, document: dict[str, Any], key: str, found: dict[str, Any]) -> None:
    document["cells"][key] = found
    document["not_measured"].remove(key)
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(beside, path)
    need = found.get("need_bytes")
    told = f"{need / GB:5.2f} GB" if need else " " * 8
    spent = found.get("spent_s", 0.0)
    print(f"{key:<42} {found['outcome']:<8} {told} {spent:6.1f} s  {found.get('error') or ''}"[:200], flush=True)


def _circumstances(options: argparse.Namespace) -> dict[str, Any]:
    card = torch.cuda.is_available()
    properties = torch.cuda.get_device_properties(0) if card else None
    return {
        "schema": 1,
        "kind": "presets",
        "command": f"python benchmarks/presets.py --runs {options.runs}",
        "measured": time.strftime("%Y-%m-%d", time.gmtime()),
        "device": properties.name if properties else "CPU, tiny shapes: shows that it works, measures nothing",
        "memory_bytes": int(properties.total_memory) if properties else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "emulated": "memory only: times are of this card, whatever the cap",
        "candidates": {candidate.name: dataclasses.asdict(candidate) for candidate in CANDIDATES},
        "not_measured": [],
        "cells": {},
    }


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/presets.json"))
    parser.add_argument("--runs", type=int, default=50, help="calls in a row (50)")
    parser.add_argument("--budget-s", type=float, default=300.0, help="seconds after which no cell begins (300)")
    parser.add_argument("--sizes", nargs="+", default=["1b7", "0b6"], choices=["1b7", "0b6"])
    parser.add_argument("--precisions", nargs="+", default=["bfloat16", "float16"], choices=["bfloat16", "float16"])
    parser.add_argument("--caps", nargs="+", type=int, default=list(CAPS_GB), choices=CAPS_GB, metavar="GB")
    parser.add_argument(
        "--write-presets",
        action="store_true",
        help="measure nothing: write toolkit/tuning/presets.yaml from --out where it is there, by forecast elsewhere",
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(json.loads(options.child))
        return
    if options.write_presets:
        known = json.loads(options.out.read_text(encoding="utf-8")) if options.out.is_file() else None
        try:
            text = presets_text(known)
        except UsageError as error:
            parser.error(f"{options.out}: {error}")
        with WholeFile(PRESETS_FILE, overwrite=True) as file:
            file.write(text.encode("utf-8"))
        print(f"wrote {PRESETS_FILE}, {'from ' + str(options.out) if known else 'by forecast'}")
        return
    document = _circumstances(options)
    if options.out.is_file():
        before = json.loads(options.out.read_text(encoding="utf-8"))
        if before.get("kind") != "presets" or before.get("device") != document["device"]:
            parser.error(f"{options.out} holds results of {before.get('device')}; name another file")
        document["cells"] = before["cells"]
    measure(options, document)


if __name__ == "__main__":
    main()
