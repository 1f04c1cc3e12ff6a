"""A whole run: each precision, a cold start, the peers, the circumstances; one document of JSON values."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone

import torch

from toolkit.bench.ceiling import bandwidth_shares, copy_bytes_per_s
from toolkit.bench.cold import measure_cold, without_caches
from toolkit.bench.conditions import Conditions, Watcher, nvml_index, open_watcher
from toolkit.bench.machine import card_slug, environment
from toolkit.bench.measuring import OnStep, Voice, measure_voice
from toolkit.bench.models import open_speech, speaker_of
from toolkit.bench.peers import measure_peer
from toolkit.bench.plan import BenchPlan, config_hash
from toolkit.errors import EXIT_FAILS, EXIT_WARNINGS, EXIT_WELL, OutOfMemory
from toolkit.synthesis.loading import choose_device
from toolkit.synthesis.speaker import Speech
from toolkit.synthesis.text import clean_text

__all__ = ["RANDOM_NOTE", "SCHEMA", "bench", "exit_code", "file_name"]

SCHEMA = 1

RANDOM_NOTE = (
    "random weights: they cost what trained ones do, and their speech is noise; nothing here says how a voice sounds"
)

_LOST_CONTEXT = ("CUDA error", "device-side assert", "illegal memory access")


def bench(
    plan: BenchPlan,
    on_step: OnStep = lambda _: None,
    *,
    watcher: Callable[[torch.device], Watcher] | None = None,
    on_partial: Callable[[dict[str, object]], object] = lambda _: None,
) -> dict[str, object]:
    """Measure everything that a plan asks for.

    Args:
        plan: what; what it leaves open is settled by the device.
        on_step: told in a few words what comes next.
        watcher: makes what watches the card; NVML, else nvidia-smi, unless given.
        on_partial: given the document so far after each precision, before the cold start and before each peer, so that
            a run that is cut off loses only its last step. It is marked as not valid.

    Returns:
        JSON values: ``schema``, ``kind``, ``valid`` with ``faults``, ``notes``, ``config`` with its ``config_sha256``,
        ``environment``, ``conditions``, ``runs`` (one a precision), ``cold``, ``peers``. docs/performance.md says what
        each figure means.

    Raises:
        BadText: the text cannot be spoken.
        GpuUnavailable: a card was asked for and there is none.
        UsageError: a device or a model that is none.
        OutOfMemory: the model does not fit, before anything was measured.
    """
    clean_text(plan.spoken_text)
    device = choose_device(plan.device)
    plan = plan.settled(device.type)
    watch = (watcher or _watcher)(device)
    runs: list[dict[str, object]] = []
    configs: list[dict[str, object]] = []
    cold: dict[str, object] | None = None
    peers: dict[str, dict[str, object]] = {}

    def document(faults: Sequence[str], conditions: Conditions | None) -> dict[str, object]:
        config = _config(plan, device, configs)
        notes = [RANDOM_NOTE] if plan.random_weights else []
        return {
            "schema": SCHEMA,
            "kind": "bench",
            "valid": not faults,
            "faults": list(faults),
            "notes": [*notes, *(() if conditions is None else conditions.notes)],
            "created": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "config": config,
            "config_sha256": config_hash(config),
            "environment": environment(device),
            "conditions": None if conditions is None else conditions.to_json(),
            "runs": runs,
            "cold": cold,
            "peers": peers,
        }

    def save() -> None:
        on_partial(document(["the run was cut off before its end"], None))

    with watch:
        for precision in plan.precisions:
            run, config = _run(plan, precision, on_step, runs)
            runs.append(run)
            if config is not None:
                configs.append(config)
            save()
        if any("warm" in run for run in runs):
            on_step("bandwidth of the memory")
            ceiling = copy_bytes_per_s(device)
            for run in runs:
                run |= bandwidth_shares(run, ceiling)
        save()
        cold = _cold(plan, device, on_step)
        resolved = str(configs[0]["dtype"]) if configs else "float32"
        for name in plan.against:
            save()
            on_step(f"{name}, in a process of its own")
            peers[name] = measure_peer(plan, name, resolved, str(device))
    return document(watch.conditions.faults, watch.conditions)


def exit_code(document: Mapping[str, object]) -> int:
    """0 well, 3 when a precision could not be loaded or failed in a run, 4 when the card was slowed down."""
    runs = document["runs"]
    assert isinstance(runs, list)  # noqa: S101 - for the type checker
    for run in runs:
        if run.get("error") is not None or not run["repeats"]["stable"]:
            return EXIT_FAILS
    return EXIT_WELL if document["valid"] else EXIT_WARNINGS


def file_name(document: Mapping[str, object]) -> str:
    """How the file of a card's results is called."""
    machine = document["environment"]
    assert isinstance(machine, dict)  # noqa: S101 - for the type checker
    return f"{card_slug(str(machine['name']))}.json"


def _watcher(device: torch.device) -> Watcher:
    if device.type != "cuda":
        return open_watcher(None)
    card = torch.cuda.get_device_properties(device)
    return open_watcher(nvml_index(str(getattr(card, "uuid", "")), device.index or 0))


def _run(
    plan: BenchPlan, precision: str, on_step: OnStep, earlier: list[dict[str, object]]
) -> tuple[dict[str, object], dict[str, object] | None]:
    """Figures of one precision, and what it resolved to; one of several may fail without ending the run."""
    empty: dict[str, object] = {"precision": precision, "repeats": _not_run(plan)}
    lost = next((str(run["precision"]) for run in earlier if _lost(run)), None)
    if lost is not None:
        told = f"not run: {lost} left the card unusable for this process"
        return empty | {"error": told}, None
    on_step(f"{precision}: loading")
    try:
        speech = open_speech(plan, precision)
    except (OutOfMemory, RuntimeError) as error:
        if len(plan.precisions) == 1:
            raise
        return empty | {"error": f"{type(error).__name__}: {error}"}, None
    try:
        run = measure_voice(Voice(speech, plan), lambda words: on_step(f"{precision}: {words}"))
        config = _resolved(speech)
    finally:
        # The next precision, and the peers, find the memory as this one did.
        memory = speech.model.memory
        del speech
        gc.collect()
        _release(memory.release)
    return {"precision": precision, "error": None, **run}, config


def _release(release: Callable[[], None]) -> None:
    try:
        release()
    except RuntimeError as error:
        if not any(part in str(error) for part in _LOST_CONTEXT):
            raise


def _lost(run: Mapping[str, object]) -> bool:
    repeats = run["repeats"]
    told = f"{run.get('error') or ''} {repeats['error'] or ''}" if isinstance(repeats, dict) else ""
    return any(part in told for part in _LOST_CONTEXT)


def _not_run(plan: BenchPlan) -> dict[str, object]:
    return {"asked": plan.repeats, "done": 0, "stable": False, "failed_at": None, "outcome": "not run", "error": None}


def _cold(plan: BenchPlan, device: torch.device, on_step: OnStep) -> dict[str, object] | None:
    if not plan.cold:
        return None
    on_step("a process from its start to its first sound")
    found: dict[str, object] = {"cached": measure_cold(plan, plan.precisions[0]), "not_cached": None}
    if device.type == "cuda":
        on_step("the same without compiled kernels at hand")
        found["not_cached"] = without_caches(plan, plan.precisions[0])
    return found


def _resolved(speech: Speech) -> dict[str, object]:
    model, tuning = speech.model, speech.tuning
    return {
        "model": model.name,
        "dtype": model.dtype.value,
        "codec_dtype": model.codec_dtype.value,
        "text_table": model.text_table.value.split(":")[0],
        "path": speech.path.value,
        **({} if tuning is None else {"kernel_sizes": tuning.source.value, "chained": tuning.chained}),
        "speaker": speaker_of(speech),
        "sampling": asdict(speech.sampling()),
    }


def _config(plan: BenchPlan, device: torch.device, resolved: list[dict[str, object]]) -> dict[str, object]:
    """All that decides what is measured, and nothing of where: equal settings on two machines have one hash."""
    settings = plan.to_json()
    # The path that was asked for says less than the one that was taken, which stands with each precision.
    for name in ("device", "against", "peer_python", "cold", "precisions", "path", "codec"):
        settings.pop(name)
    return {
        **settings,
        "text": plan.spoken_text,
        "device": device.type,
        "weights": "random" if plan.random_weights else "trained",
        "precisions": resolved,
        "float32_matmul": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
    }
