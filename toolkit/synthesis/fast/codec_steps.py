"""The codec's step on fixed buffers, recorded for a few sizes: how a piece is divided among them, and how many stay."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from toolkit.synthesis.codec_config import QUANTIZERS, SAMPLES_PER_FRAME
from toolkit.synthesis.codec_decoder import CodecDecoder, DecoderState, WaveformStages
from toolkit.synthesis.fast.capture import Recorder
from toolkit.synthesis.fast.compile_ahead import compile_ahead

__all__ = [
    "CODEC_ROWS",
    "MOST_STEPS",
    "STEP_FRAMES",
    "RecordedStep",
    "RecordedSteps",
    "longest_step",
    "piece_sizes",
    "rows_run",
]

STEP_FRAMES = (1, 2, 4, 8, 12, 24)
"""Frames of a recorded step: the pieces of a stream, and one that is twice as long for whole texts."""

CODEC_ROWS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)
"""Rows of a recorded step; a batch in between runs with the next number. The codec is bound by arithmetic: empty rows
cost what others cost, so that these numbers are not far from one another."""

MOST_STEPS = 24
"""Recorded steps that are kept: a stream takes five, a batch whose rows end one after the other about ten."""


def rows_run(rows: int) -> int:
    """Rows that a step of ``rows`` runs with; more than 64 run as they are."""
    return next((size for size in CODEC_ROWS if size >= rows), rows)


def longest_step(rows: int, audio_chunk_size: int) -> int:
    """Frames of the longest step of so many rows that together decode at most ``audio_chunk_size``; at least one."""
    most = max(1, audio_chunk_size // rows_run(rows))
    return max(size for size in STEP_FRAMES if size <= most)


def piece_sizes(frames: int, *, last: bool) -> Iterator[tuple[int, int]]:
    """How a piece is divided: frames of each step, and how many of those count.

    All count except at the end of a speech (``last``), where nothing comes after that padding could spoil: there a step
    is taken that is up to half as long again as what is left.
    """
    while frames:
        above = next((size for size in STEP_FRAMES if size >= frames), None)
        if last and above is not None and 2 * above <= 3 * frames:
            yield above, frames
            return
        size = max(size for size in STEP_FRAMES if size <= frames)
        yield size, size
        frames -= size


@dataclass(frozen=True)
class RecordedStep:
    """A step that :attr:`repeat` repeats: from ``codes`` int64 ``[rows, 16, frames]`` to ``samples`` float32 ``[rows,
    frames * 1920]``. It moves the first rows of ``state`` on, which is kept here because a graph knows addresses only.
    """

    codes: Tensor
    samples: Tensor
    state: DecoderState
    repeat: Callable[[], None]


class RecordedSteps:
    """Recorded steps over one state, made when they are first asked for; the one longest unused goes first.

    Everything here is to be called inside of the order of work in which the steps run.

    Args:
        decoder: whose step is recorded.
        rows: most rows.
        recorder: of these steps alone, since what it records shares memory.
        settle: waits until no step is under way.
        stages: compute the decoder's last stages; its own unless given.
    """

    def __init__(
        self,
        decoder: CodecDecoder,
        rows: int,
        recorder: Recorder,
        settle: Callable[[], None],
        stages: WaveformStages | None = None,
    ) -> None:
        self._decoder, self._recorder, self._settle, self._stages = decoder, recorder, settle, stages
        self.state = decoder.initial_state(rows)
        self._steps: OrderedDict[tuple[int, int], RecordedStep] = OrderedDict()

    def __len__(self) -> int:
        return len(self._steps)

    def __contains__(self, shape: tuple[int, int]) -> bool:
        return shape in self._steps

    def first(self, rows: int) -> DecoderState:
        """Views of the first rows of the state."""
        return DecoderState(self.state.position[:rows], tuple(part[:rows] for part in self.state.history))

    def step(self, rows: int, frames: int) -> RecordedStep:
        """The step of so many rows and frames. If it has to be recorded, the state holds anything afterwards.

        Raises:
            RuntimeError: it cannot be recorded, or memory ran out.
        """
        shape = rows, frames
        found = self._steps.get(shape)
        if found is None:
            found = self._steps[shape] = self._recorded(rows, frames)
            # After the new one, so that memory that they share is never without an owner.
            while len(self._steps) > MOST_STEPS:
                self._settle()
                self._steps.popitem(last=False)
        self._steps.move_to_end(shape)
        return found

    def _recorded(self, rows: int, frames: int) -> RecordedStep:
        decoder, stages, device, state = self._decoder, self._stages, self._decoder.device, self.first(rows)
        codes = torch.zeros(rows, QUANTIZERS, frames, dtype=torch.int64, device=device)
        samples = torch.zeros(rows, frames * SAMPLES_PER_FRAME, device=device)

        def work() -> None:
            decoder.step_in_place(codes, state, samples, stages)

        if stages is not None:
            compile_ahead(work, *stages.kernels)
        return RecordedStep(codes, samples, state, self._recorder.record(work))
