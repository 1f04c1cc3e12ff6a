"""A process started afresh until its first sound; run as ``python -m toolkit.bench.cold`` with a plan on its input."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import toolkit
from toolkit.bench.plan import BenchPlan
from toolkit.probe.runner import ChildOutcome, run_child

__all__ = ["CACHES", "child_environment", "main", "measure_cold", "without_caches"]

CACHES = ("TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "CUDA_CACHE_PATH")
"""Where compiled kernels are kept; pointed to an empty folder for a start without them."""

_DEADLINE_S = 600.0


def measure_cold(plan: BenchPlan, precision: str, *, caches: Path | None = None) -> dict[str, object]:
    """Seconds of a new process: ``python_s`` (until our code runs), ``import_s``, ``load_s``, ``speak_s`` (from call to
    first piece), ``total_s``. With random weights ``load_s`` draws them and reads no file.

    Args:
        plan: a settled one.
        precision: of the model.
        caches: an empty folder in place of the caches of compiled kernels; None takes those that are there.
    """
    environment = child_environment()
    if caches is not None:
        environment |= {name: str(caches / name.lower()) for name in CACHES}
    began = time.time()
    request = {"plan": plan.to_json(), "precision": precision, "began_unix_s": began}
    outcome = run_child(
        [sys.executable, "-m", "toolkit.bench.cold"],
        deadline_s=_DEADLINE_S,
        env=environment,
        input=json.dumps(request).encode(),
    )
    return _answer(outcome)


def child_environment() -> dict[str, str]:
    """The environment of a child that finds the toolkit that is running here."""
    home = str(Path(toolkit.__file__).resolve().parents[1])
    paths = [home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _answer(outcome: ChildOutcome) -> dict[str, object]:
    lines = outcome.stdout.strip().splitlines()
    if outcome.state == "ok" and lines:
        found: dict[str, object] = json.loads(lines[-1])
        return found
    told = outcome.last_lines[-1] if outcome.last_lines else outcome.signal or "it said nothing"
    return {"total_s": None, "error": f"{outcome.state}: {told}"}


def main() -> int:
    """Speak until the first piece, and print the times as one line of JSON."""
    started = time.time()
    request: Mapping[str, object] = json.loads(sys.stdin.read())
    began = float(str(request["began_unix_s"]))
    plan = BenchPlan.from_json(request["plan"])  # type: ignore[arg-type]
    from toolkit.bench.models import open_speech, speaker_of

    imported = time.time()
    speech = open_speech(plan, str(request["precision"]))
    loaded = time.time()
    pieces = speech.stream(
        plan.spoken_text,
        speaker=speaker_of(speech),
        seed=plan.seed,
        max_frames=plan.frames,
        chunk_frames=(plan.chunks[0],),
    )
    next(pieces)
    heard = time.time()
    pieces.close()
    marks = {
        "python_s": started - began,
        "import_s": imported - started,
        "load_s": loaded - imported,
        "speak_s": heard - loaded,
        "total_s": heard - began,
    }
    print(json.dumps({name: round(value, 4) for name, value in marks.items()} | {"error": None}))
    return 0


def without_caches(plan: BenchPlan, precision: str) -> dict[str, object]:
    """See :func:`measure_cold`; no compiled kernel is at hand."""
    with tempfile.TemporaryDirectory() as scratch:
        return measure_cold(plan, precision, caches=Path(scratch))


if __name__ == "__main__":
    raise SystemExit(main())
