"""Measures one set of the chunk tuner's settings in a child process, so that running out of memory ends it alone."""

from __future__ import annotations

import json
import os
import statistics
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from toolkit.errors import QwenAudioError, UsageError
from toolkit.tuning.chunk_knobs import Aim, Measured, Settings

if TYPE_CHECKING:
    from toolkit.synthesis.hub import FoundModel
    from toolkit.synthesis.speaker import Speech

__all__ = ["RANDOM_MODELS", "ChunkTask", "describe_device", "found_for", "gapless_start_s", "main", "measure_apart"]

RANDOM_MODELS = ("1b7", "0b6", "tiny")
"""Names for random weights in the published shapes (and of a toy), which cost what trained ones do."""

_MARK = "@@chunk-meter@@ "
_TINY_BYTES = 2**29
_MOST_STREAMS = 10


@dataclass(frozen=True, kw_only=True)
class ChunkTask:
    """What every trial of a sweep does.

    Attributes:
        model: as :func:`toolkit.load` takes it, or one of :data:`RANDOM_MODELS`.
        device: "cuda:0", "cpu".
        limit_bytes: a card's allocator is held below it; a process's memory is compared with it afterwards.
        text: what is said.
        runs: calls in a row that have to pass.
        aim: which calls: whole texts, streams, or both.
    """

    model: str
    device: str
    limit_bytes: int | None
    text: str
    runs: int
    aim: Aim
    speaker: str | None = None
    seed: int = 1


def describe_device(device: str, deadline_s: float = 120.0) -> dict[str, Any]:
    """Device, its name, memory and compute capability; asked in a child, since asking takes memory of a card.

    Raises:
        GpuUnavailable, UsageError: see :func:`toolkit.load`.
    """
    found = _child({"describe": device}, deadline_s)
    if isinstance(found, str):
        raise UsageError(f"device {device}: {found}")
    return found


def measure_apart(task: ChunkTask, settings: Settings, deadline_s: float) -> Measured:
    """Measure in a child process. What goes wrong in it is the result's fault, a sentence."""
    found = _child({"task": asdict(task), "settings": asdict(settings)}, deadline_s)
    return Measured(fault=found) if isinstance(found, str) else Measured(**found)


def gapless_start_s(pieces: Iterable[tuple[float, float]]) -> float:
    """From the times at which pieces came and the sound handed out with each so far: the delay after the call at which
    a player may begin and never halts. Seconds; 0 without pieces."""
    played = 0.0
    start = 0.0
    for elapsed_s, audio_s in pieces:
        start = max(start, elapsed_s - played)
        played = audio_s
    return start


@contextmanager
def found_for(model: str) -> Iterator[FoundModel]:
    """The model of a task."""
    if model in RANDOM_MODELS:
        from toolkit.synthesis.drawn_model import drawn_model

        with drawn_model("0b6" if model == "0b6" else "1b7", "tiny" if model == "tiny" else "real") as drawn:
            yield drawn
        return
    from toolkit.synthesis.hub import find_model

    yield find_model(model)


def _child(request: Mapping[str, object], deadline_s: float) -> dict[str, Any] | str:
    """What the child found, or why it found nothing."""
    from toolkit.probe.runner import run_child

    data = json.dumps({**request, "parent": os.getpid()}).encode()
    outcome = run_child([sys.executable, "-m", "toolkit.tuning.chunk_meter"], deadline_s=deadline_s, input=data)
    line = next((line for line in outcome.stdout.splitlines()[::-1] if line.startswith(_MARK)), None)
    if line is not None and outcome.state == "ok":
        found: dict[str, Any] = json.loads(line[len(_MARK) :])
        return str(found["error"]) if "error" in found else found
    if outcome.state == "timed-out":
        return f"no end within {deadline_s:.0f} s; killed"
    last = f": {outcome.last_lines[-1]}" if outcome.last_lines else ""
    how = f"ended by {outcome.signal}" if outcome.signal else f"ended with exit code {outcome.exit_code}"
    return f"the process {how}{last}"


def main() -> None:
    """Entry point of the child: a request on standard input, one marked line on standard output."""
    request = json.loads(sys.stdin.read())
    threading.Thread(target=_end_with_parent, args=(request["parent"],), daemon=True).start()
    found: dict[str, object]
    try:
        if "describe" in request:
            found = _described(request["describe"])
        else:
            found = asdict(_measured(ChunkTask(**request["task"]), Settings(**request["settings"])))
    except (QwenAudioError, RuntimeError, MemoryError) as error:
        found = {"error": " ".join(str(error).split())[:400] or type(error).__name__}
    print(f"\n{_MARK}{json.dumps(found)}", flush=True)


def _end_with_parent(parent: int) -> None:
    """A killed sweep leaves no measurement behind that would hold the card."""
    while os.getppid() == parent or os.name == "nt":  # Windows has its job objects for this
        time.sleep(0.2)
    os._exit(1)


def _described(device: str) -> dict[str, object]:
    import torch

    from toolkit.synthesis.loading import choose_device
    from toolkit.synthesis.memory import device_memory

    chosen = choose_device(device)
    card = chosen.type == "cuda"
    return {
        "device": str(chosen),
        "name": torch.cuda.get_device_name(chosen) if card else "CPU",
        "total_bytes": device_memory(chosen).total_bytes(),
        "capability": list(torch.cuda.get_device_capability(chosen)) if card else None,
        "torch": torch.__version__,
    }


def _opened(task: ChunkTask, settings: Settings) -> Speech:
    import torch

    from toolkit.synthesis.result import SpeechWarning
    from toolkit.synthesis.speaker import load

    card = task.device.startswith("cuda")
    with warnings.catch_warnings(), found_for(task.model) as found:
        warnings.simplefilter("ignore", SpeechWarning)
        speech = load(
            task.model if task.model == "pocket" else found,
            device=task.device,
            dtype=settings.precision,
            text_embedding_on_cpu=settings.text_table == "cpu" if card else "auto",
            audio_chunk_size=settings.audio_chunk_size,
            max_text_length=settings.max_text_length,
            vram_limit=task.limit_bytes if card else None,
            seed=task.seed,
        )
    if speech.kind == "base":
        raise UsageError("a base model speaks with a recording's voice only; tune a custom voice model of its size")
    if not card and speech.model.plan.total_bytes < _TINY_BYTES:
        torch.set_num_threads(1)  # as `qwen-audio speak` does
    return speech


def _measured(task: ChunkTask, settings: Settings) -> Measured:
    from toolkit.synthesis.limits import expected_frames
    from toolkit.synthesis.splitting import split_text

    speech = _opened(task, settings)
    whole = speech.kind == "custom_voice"
    speaker = task.speaker or ("serena" if "serena" in speech.speakers else next(iter(speech.speakers), None))
    parts = split_text(task.text, settings.max_text_length)
    # Random weights do not end by themselves: all parts together get what ordinary speech of the text takes.
    cap = -(-expected_frames(task.text) // len(parts)) if task.model in RANDOM_MODELS else None
    halved: list[str] = []

    def speak() -> tuple[float, float]:
        rows = settings.batch if settings.batch > 1 else False
        began = time.perf_counter()
        if whole:
            report = speech.speak(task.text, speaker=speaker, seed=task.seed, parallel_parts=rows, max_frames=cap)
        else:
            report = speech.design(task.text, "a calm voice", seed=task.seed, parallel_parts=rows, max_frames=cap)
        halved.extend(note for note in report.notes if note.startswith("Memory ran out"))
        return time.perf_counter() - began, report.seconds

    starts: list[float] = []

    def stream() -> tuple[float, float]:
        began = time.perf_counter()
        options: dict[str, Any] = {"speaker": speaker} if whole else {"instruct": "a calm voice"}
        pieces = speech.stream(task.text, seed=task.seed, chunk_frames=settings.schedule, max_frames=cap, **options)
        timings = [(timing.elapsed_s, timing.audio_s) for _, timing in pieces]
        starts.append(gapless_start_s(timings))
        return time.perf_counter() - began, timings[-1][1] if timings else 0.0

    calls: list[tuple[float, float]] = []
    details: dict[str, object] = {"parts": len(parts), "path": speech.path.value}
    fault = None
    if task.aim != "first-audio":
        fault = _in_a_row(speak, task.runs, calls)
    if fault is None and task.aim != "time":
        streams: list[tuple[float, float]] = []
        fault = _in_a_row(stream, task.runs if task.aim == "first-audio" else min(task.runs, _MOST_STREAMS), streams)
        starts = starts[1:]  # the first one may still have had to make things ready
        calls = calls or streams
    peak = _peak_bytes(speech)
    if fault is None and halved:
        fault = f"memory ran out and the work was halved: {halved[0]}"
    if fault is None and task.limit_bytes is not None and peak > task.limit_bytes:
        fault = f"took {peak / 1e9:.2f} GB of {task.limit_bytes / 1e9:.2f} GB"
    ratios = [spent / sound for spent, sound in calls if sound > 0]
    details["calls_s"] = [round(spent, 4) for spent, _ in calls]
    return Measured(
        s_per_s=round(statistics.median(ratios), 6) if ratios else None,
        start_s=round(statistics.median(starts), 6) if starts else None,
        peak_bytes=peak,
        fault=fault,
        details=details,
    )


def _in_a_row(call: Callable[[], tuple[float, float]], runs: int, calls: list[tuple[float, float]]) -> str | None:
    """One call to warm up, and ``runs`` that are kept; the sentence of the one that failed."""
    for number in range(runs + 1):
        try:
            spent = call()
        except (QwenAudioError, RuntimeError, MemoryError) as error:
            told = " ".join(str(error).split())[:300] or type(error).__name__
            return f"{f'run {number} of {runs}' if number else 'the first call'} failed: {told}"
        if number:
            calls.append(spent)
    return None


def _peak_bytes(speech: Speech) -> int:
    """Of a card: what the allocator held at most, and CUDA itself; of a process: what was resident at most."""
    import torch

    from toolkit.synthesis.memory import CONTEXT_BYTES
    from toolkit.synthesis.resident import peak_resident_bytes

    device = speech.model.device
    if device.type != "cuda":
        return peak_resident_bytes()
    return int(torch.cuda.max_memory_reserved(device)) + CONTEXT_BYTES


if __name__ == "__main__":
    main()
