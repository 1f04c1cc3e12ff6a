"""The model of a run, loaded through the front door: a checkpoint, the pocket voice, or weights drawn on the device."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import cast

import psutil
import torch

from toolkit.bench.plan import BenchPlan
from toolkit.errors import OutOfMemory, UsageError
from toolkit.synthesis.demo_shapes import Size
from toolkit.synthesis.drawn_model import drawn_model
from toolkit.synthesis.fast.path import AskedPath
from toolkit.synthesis.hub import FoundModel, find_model
from toolkit.synthesis.pocket_voice import POCKET, POCKET_SPEAKER, is_pocket
from toolkit.synthesis.result import SpeechWarning
from toolkit.synthesis.speaker import Speech, load

__all__ = ["found_model", "open_speech", "speaker_of"]

_SMALL_BYTES = 2**29
_ITEM_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}


@contextmanager
def found_model(plan: BenchPlan) -> Iterator[FoundModel | str]:
    """What :func:`toolkit.load` takes for this plan; a settled one."""
    if plan.model is not None or plan.size == POCKET:
        name = plan.model or POCKET
        yield name if is_pocket(name) else find_model(name)
        return
    size: Size = "1b7" if plan.size == "tiny" else cast("Size", plan.size)
    with drawn_model(size, "tiny" if plan.size == "tiny" else "real", seed=plan.seed) as found:
        yield found


def open_speech(plan: BenchPlan, precision: str) -> Speech:
    """Load the model of a settled plan.

    Raises:
        OutOfMemory: random weights that this machine's memory cannot take, or see :func:`toolkit.load`.
        UsageError: a checkpoint without speakers of its own.
    """
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", SpeechWarning)  # they are among the notes of the model
        found = stack.enter_context(found_model(plan))
        if isinstance(found, FoundModel) and plan.random_weights:
            _check_room(plan, found, precision)
        speech = load(
            found,
            device=plan.device,
            dtype=precision,
            codec_dtype=plan.codec,
            seed=plan.seed,
            path=cast("AskedPath", plan.path),
        )
    if speech.kind != "custom_voice":
        raise UsageError(
            f"{speech.model.name} is a {speech.kind} model; the benchmark speaks with built-in speakers: give a "
            "CustomVoice model, or --size for random weights"
        )
    if speech.model.device.type == "cpu" and speech.model.plan.total_bytes < _SMALL_BYTES:
        torch.set_num_threads(1)  # as `qwen-audio speak` does: a second thread costs small products more than it gives
    return speech


def speaker_of(speech: Speech) -> str:
    """Who speaks: the voice that every model of the family has, else the first."""
    return POCKET_SPEAKER if POCKET_SPEAKER in speech.speakers else speech.speakers[0]


def _check_room(plan: BenchPlan, found: FoundModel, precision: str) -> None:
    """One sentence instead of a machine that swaps for an hour. A card says so by itself."""
    on_cpu = plan.device == "cpu" or (plan.device == "auto" and not torch.cuda.is_available())
    if not on_cpu:
        return
    item = _ITEM_BYTES.get(precision, 4)
    entries = found.weights("model.safetensors").tensors.values()
    need = sum(math.prod(entry.shape) for entry in entries) * item
    free = int(psutil.virtual_memory().available)
    if need > free:
        raise OutOfMemory(
            f"random weights of {plan.size} take {need / 1e9:.1f} GB on the CPU and {free / 1e9:.1f} GB are free; "
            "take --size 0b6, tiny or pocket, or --precision bf16"
        )
