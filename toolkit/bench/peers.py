"""Other programs for the same models, measured in the same run: each in a child of the interpreter that has it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from toolkit.bench.models import found_model
from toolkit.bench.plan import PEERS, BenchPlan
from toolkit.probe.runner import ChildOutcome, run_child
from toolkit.synthesis.hub import find_model
from toolkit.synthesis.json_fields import read_json_object

__all__ = ["PEER_SCRIPT", "RunChild", "measure_peer", "peer_request"]

PEER_SCRIPT = Path(__file__).with_name("peer_child.py")
"""Runs inside the peer's own interpreter, with nothing of the toolkit."""

_DEADLINE_S = 1800.0
_MOST_EAGER_FRAMES = 60
"""Frames of a call of the official package: its time grows evenly with them, at a tenth of a second each."""

RunChild = Callable[..., ChildOutcome]


def measure_peer(
    plan: BenchPlan, name: str, precision: str, device: str, *, run: RunChild = run_child
) -> dict[str, object]:
    """Figures of one peer of a settled plan.

    ``state`` is "measured", "not-installed", "not-here" (it needs what this machine lacks) or "failed", with a
    ``reason``; none of them is an error of this run.

    Args:
        plan: what to measure.
        name: of the peer.
        precision: "bfloat16", "float16" or "float32", as our own model resolved it.
        device: "cpu" or "cuda:0".
        run: starts the child.
    """
    request = peer_request(plan, name, precision, device)
    outcome = run(
        [plan.peer_interpreter(name) or sys.executable, str(PEER_SCRIPT)],
        deadline_s=_DEADLINE_S,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"},
        input=json.dumps(request).encode(),
    )
    return _answer(outcome)


def peer_request(plan: BenchPlan, name: str, precision: str, device: str) -> dict[str, object]:
    """What a peer is asked for: the same shapes or the same checkpoint, the same text, frames and pieces as our own."""
    frames = plan.frames or 1
    eager = name != PEERS[0]
    request: dict[str, object] = {
        "peer": name,
        "device": device,
        "dtype": precision,
        "frames": min(frames, _MOST_EAGER_FRAMES) if eager else frames,
        "repeats": min(3, plan.repeats or 1),
        "chunks": list(plan.chunks),
        "batches": [rows for rows in plan.batches or () if rows > 1] if eager else [],
        "text": plan.spoken_text,
        "seed": plan.seed,
        "folder": None,
        # On a CPU both sides get as many threads as our own model settled on.
        "threads": torch.get_num_threads() if device == "cpu" else None,
    }
    with found_model(plan) as found:
        if not plan.random_weights:
            return request | {"folder": str(find_model(found).folder)}
        folder = find_model(found).folder
        return request | {
            "model_config": dict(read_json_object(folder / "config.json").values),
            "codec_config": dict(read_json_object(folder / "speech_tokenizer" / "config.json").values),
        }


def _answer(outcome: ChildOutcome) -> dict[str, object]:
    lines: Sequence[str] = outcome.stdout.strip().splitlines()
    if outcome.state == "ok" and lines:
        found: dict[str, object] = json.loads(lines[-1])
        return found
    told = outcome.last_lines[-1] if outcome.last_lines else outcome.signal or "it said nothing"
    state = "not-here" if outcome.state == "missing" else "failed"
    return {"state": state, "reason": f"{outcome.state}: {told}"}
