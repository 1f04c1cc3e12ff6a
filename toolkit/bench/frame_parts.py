"""The two halves of a frame on the fast path, each repeated by itself: as graphs of its own where frames are graphs."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import torch

from toolkit.bench.clocks import Clock, CudaClock, WallClock
from toolkit.bench.seated_row import seated_row
from toolkit.synthesis.config import CODE_GROUPS
from toolkit.synthesis.fast.frame import advance_talker, predict_codes
from toolkit.synthesis.fast.kernel_shelf import tuned_operations
from toolkit.synthesis.fast.operations import Operations, PlainOperations
from toolkit.synthesis.fast.path import EAGER, TRITON_GRAPH
from toolkit.synthesis.fast.weights import FrameWeights
from toolkit.synthesis.sampling import DecodeSettings
from toolkit.synthesis.speaker import Speech
from toolkit.synthesis.talker import Talker

__all__ = ["FrameParts", "measure_parts", "parts_of"]


@dataclass(frozen=True)
class FrameParts:
    """Milliseconds of a frame of one row: the talker's layers on a frame's codes, and the fifteen codes of the
    predictor. The choice of the first code and the row's counters are in neither."""

    talker_ms: float
    predictor_ms: float


def parts_of(speech: Speech) -> FrameParts:
    """The halves of a model on the fast path, with the operations that its frames have."""
    talker, path = speech.model.talker, speech.path.value
    is_fused = path == TRITON_GRAPH
    operations: Operations = tuned_operations(talker.device, speech.tuning) if is_fused else PlainOperations()
    clock: Clock = WallClock(talker.device) if path == EAGER else CudaClock(talker.device)
    return measure_parts(talker, operations, clock)


@torch.inference_mode()
def measure_parts(talker: Talker, operations: Operations, clock: Clock) -> FrameParts:
    """Medians of both halves, on buffers of their own (see :func:`toolkit.bench.seated_row.seated_row`)."""
    weights = FrameWeights.of(talker)
    buffers, angles = seated_row(talker, DecodeSettings.of(talker.config.generation))
    hidden = operations.norm(buffers.last, weights.talker.norm, weights.talker.eps)
    counters = buffers.frames * CODE_GROUPS
    first, made = torch.zeros_like(counters), buffers.alive.clone()
    codes = counters.new_zeros(1, CODE_GROUPS)

    def predict() -> None:
        predict_codes(operations, weights, buffers, hidden, first, counters)

    def advance() -> None:
        advance_talker(operations, weights, angles, buffers, codes, made)

    return FrameParts(
        talker_ms=median(clock.samples_us(advance)) / 1000,
        predictor_ms=median(clock.samples_us(predict)) / 1000,
    )
