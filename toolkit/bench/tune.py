"""``bench --tune``: looks for the kernel sizes of this card and model, and keeps them for every later run."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import torch

from toolkit.bench.measuring import OnStep
from toolkit.bench.models import open_speech
from toolkit.bench.plan import BenchPlan
from toolkit.bench.tune_calls import Shapes
from toolkit.bench.tune_compile import PoolCompiler, Recipe, worker_count
from toolkit.bench.tune_meter import CardMeter
from toolkit.bench.tune_search import Meter, Outcome, apply, search
from toolkit.bench.tune_tasks import tasks_of
from toolkit.errors import GpuUnavailable, UsageError
from toolkit.synthesis.fast.kernel_shelf import (
    Tuning,
    TuningKey,
    can_chain,
    own_tuning_path,
    read_json,
    shipped_tuning,
    sizes_json,
    tuning_folder,
    tuning_key,
    write_json,
    write_tuning,
)
from toolkit.synthesis.fast.path import FAST, TRITON_GRAPH, choose_backend, choose_path, triton_version
from toolkit.synthesis.loading import choose_device
from toolkit.synthesis.talker import Talker

__all__ = ["SCHEMA", "tune", "tune_talker"]

SCHEMA = 2


def tune(plan: BenchPlan, on_step: OnStep = lambda _: None) -> dict[str, object]:
    """Tune the kernels for the model of a plan in its one precision, and keep what was found.

    Returns:
        JSON values: ``schema``, ``kind`` "tune", the ``key`` that it holds for, ``file``, ``chained``, ``sizes``,
        ``tasks`` (one an :class:`~toolkit.bench.tune_search.Outcome`).

    Raises:
        GpuUnavailable: no card, or one on which the fused kernels do not run.
        UsageError: several precisions, FP16, or kernels that fail with their default sizes.
        BadOutput: the file cannot be written.
    """
    if len(plan.precisions) != 1:
        raise UsageError("--tune takes one precision; the sizes of each are kept by themselves")
    if plan.path == "plain":
        raise UsageError("--tune looks for sizes of the fast path; leave --path plain out")
    if plan.device == "cpu" or (plan.device == "auto" and not torch.cuda.is_available()):
        raise GpuUnavailable("--tune measures kernels on an NVIDIA card, and PyTorch sees none; see qwen-audio doctor")
    device = choose_device(plan.device)
    triton = triton_version()
    way = choose_path(device.type, torch.cuda.get_device_capability(device), triton)
    if way.value != TRITON_GRAPH or triton is None:
        raise GpuUnavailable(f"--tune has nothing to tune here: {way.reason}")
    choose_backend(FAST, device.type, plan.precisions[0])
    plan = BenchPlan.from_json(plan.to_json() | {"path": FAST}).settled(device.type)
    on_step("loading")
    speech = open_speech(plan, plan.precisions[0])
    talker = speech.model.talker
    del speech
    gc.collect()
    key = tuning_key(talker.config, talker.dtype, device, triton)
    chained = shipped_tuning(key).chained
    with torch.cuda.device(device):
        recipe = Recipe.of_card(Shapes.of(talker.config), talker.dtype, chained)
        with closing(PoolCompiler(recipe, worker_count(), on_step)) as compiler:
            meter = CardMeter(talker, chained, compiler=compiler)
            return tune_talker(talker, key, meter, tuning_folder(), on_step)


def tune_talker(
    talker: Talker, key: TuningKey, meter: Meter, folder: Path, on_step: OnStep = lambda _: None
) -> dict[str, object]:
    """Search, keep each outcome at once so that an interrupted search goes on where it stopped, and write the file."""
    start = shipped_tuning(key)
    tasks = tasks_of(talker.config, talker.dtype.itemsize)
    progress = own_tuning_path(key, folder).with_suffix(".progress.json")
    done = _done(progress, key, start)
    if done:
        on_step(f"{len(done)} of {len(tasks)} were found before")

    def keep(outcome: Outcome) -> None:
        done[outcome.name] = outcome
        found = [each.to_json() for each in done.values()]
        write_json(progress, {"schema": SCHEMA, **key.to_json(), "start": _start(start), "tasks": found})

    outcomes = search(
        tasks,
        meter,
        start.sizes,
        start.chained,
        can_chain(key.capability, key.triton),
        done=done,
        on_task=lambda task: on_step(task.name),
        on_outcome=keep,
    )
    sizes, chained = apply(tasks, outcomes, start.sizes, start.chained)
    told = [outcome.to_json() for outcome in outcomes]
    path = write_tuning(key, sizes, chained, {"tasks": told}, folder)
    progress.unlink(missing_ok=True)
    return {
        "schema": SCHEMA,
        "kind": "tune",
        "key": key.to_json(),
        "file": str(path),
        "start": asdict(start.source),
        "chained": chained,
        "sizes": sizes_json(sizes),
        "tasks": told,
    }


def _start(tuning: Tuning) -> dict[str, object]:
    return {"sizes": sizes_json(tuning.sizes), "chained": tuning.chained}


def _done(path: Path, key: TuningKey, start: Tuning) -> dict[str, Outcome]:
    """What an interrupted search of the same card, versions and start has found; nothing where that cannot be read."""
    try:
        document = read_json(path)
    except (OSError, UsageError):
        return {}
    wanted: Mapping[str, object] = {"schema": SCHEMA, **key.to_json(), "start": _start(start)}
    tasks = document.get("tasks")
    if any(document.get(name) != value for name, value in wanted.items()) or not isinstance(tasks, list):
        return {}
    try:
        found = [Outcome.from_json(task) for task in tasks if isinstance(task, dict)]
    except UsageError:
        return {}
    return {outcome.name: outcome for outcome in found}
