"""Runs the codec for speeches that take turns: as CUDA graphs beside the talker's frames, or step by step."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolkit.errors import ToolkitFault, UsageError
from toolkit.synthesis.codec_config import QUANTIZERS, SAMPLES_PER_FRAME
from toolkit.synthesis.codec_decoder import AUDIO_CHUNK_FRAMES, CodecDecoder, DecoderState, WaveformStages
from toolkit.synthesis.fast.capture import GraphRecorder, Recorder
from toolkit.synthesis.fast.codec_channel import Arrival, CodecChannel, CudaChannel, HostChannel
from toolkit.synthesis.fast.codec_steps import STEP_FRAMES, RecordedSteps, piece_sizes, rows_run
from toolkit.synthesis.memory import is_out_of_memory
from toolkit.synthesis.precision import Choice

__all__ = ["GRAPH", "MOST_REFERENCES", "STEPS", "CodecPiece", "CodecRunner", "CodecSession", "choose_codec_path"]

GRAPH, STEPS = "graph", "steps"
"""Recorded steps in an order of work of their own; or the decoder's step, operation by operation."""

MOST_REFERENCES = 4
"""Recordings of voices whose state is kept (5 MB each at the published sizes), so that a clone speaks at once."""


def choose_codec_path(
    device: str, *, fast: bool, capture_fault: str | None = None, kernels: str | None = None
) -> Choice:
    """How the codec runs.

    Args:
        device: "cuda", "cpu", ...
        fast: whether the talker takes the fast path.
        capture_fault: what was said when a step could not be captured.
        kernels: what is told of its kernels, None where there are none.
    """
    if not fast:
        return Choice(STEPS, "as on the plain path")
    if device != "cuda":
        return Choice(STEPS, f"{'a CPU' if device == 'cpu' else device} has no CUDA graphs")
    if capture_fault is not None:
        told = f"a step of the codec could not be captured as a CUDA graph: {capture_fault}"
        return Choice(STEPS, told, f"{told}. Speech is the same, but slower.")
    told = "the codec runs beside the talker's frames"
    return Choice(GRAPH, told if kernels is None else f"{told}; {kernels}")


class CodecPiece:
    """Samples of one piece, on their way to the host."""

    def __init__(self, arrivals: Sequence[Arrival]) -> None:
        self._arrivals = arrivals

    @property
    def ready(self) -> bool:
        """Whether :meth:`read` would return at once."""
        return all(arrival.ready for arrival in self._arrivals)

    def read(self) -> NDArray[np.float32]:
        """Wait for these samples, and for nothing queued behind them: float32 ``[rows, frames * 1920]``."""
        parts = [arrival.read() for arrival in self._arrivals]
        samples: NDArray[np.float32] = (parts[0] if len(parts) == 1 else torch.cat(parts, 1)).numpy()
        return samples


class CodecSession:
    """Sound of one speech, or of several side by side, which grows piece by piece; from :meth:`CodecRunner.open`.

    Attributes:
        rows: speeches side by side.
        state: the decoder's; None before the first frame, and while it lies in the runner's buffers.
        closed: it cannot go on.
    """

    def __init__(self, runner: CodecRunner, rows: int, state: DecoderState | None) -> None:
        self._runner = runner
        self.rows = rows
        self.state = state
        self.closed = False

    def feed(self, codes: Tensor, *, last: bool = False) -> CodecPiece:
        """Decode the next frames, and return before they are done where the codec works beside the caller.

        Args:
            codes: whole numbers ``[rows, 16, frames]`` on any device, at least one frame, each from 0 to the size of
                the codebook less one, which is not checked. The caller may drop them, not change them.
            last: nothing comes after.

        Raises:
            ToolkitFault: codes of another shape, or after :meth:`close`.
            RuntimeError: from PyTorch, when memory runs out; the speech cannot go on then, the runner can.
        """
        return CodecPiece(self.advance(codes, last=last, sends=True))

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order."""
        self._runner.keep(self, rows)

    def close(self) -> None:
        """Let go of the state."""
        self.state, self.closed = None, True

    def advance(self, codes: Tensor, *, last: bool, sends: bool) -> list[Arrival]:
        """What :meth:`feed` does; without ``sends`` the samples are left where they are, which is what is needed of the
        frames of a reference."""
        if self.closed or codes.dim() != 3 or codes.shape[:2] != (self.rows, QUANTIZERS) or not codes.shape[2]:
            wanted = "none after it was closed" if self.closed else f"[{self.rows}, {QUANTIZERS}, frames]"
            raise ToolkitFault(f"the codec was given codes {list(codes.shape)} instead of {wanted}")
        return self._runner.advance(self, codes, last=last, sends=sends)


class CodecRunner:
    """Owns the codec's decoder and runs it for any number of sessions, one step after the other.

    On a card with the fast path, steps are CUDA graphs over one set of buffers, in a stream of their own; the state of
    the session that was last is in these buffers, those of the others are set aside. A step that cannot be captured
    makes it run plain steps, in the same stream. Not for several threads.

    Args:
        decoder: loaded.
        path: from :func:`choose_codec_path`.
        channel: the order of work; by the path unless given.
        recorder: makes what records a set of steps; CUDA graphs unless given.
        stages: compute the decoder's last stages in recorded steps; when that fails, the decoder's own do.
    """

    def __init__(
        self,
        decoder: CodecDecoder,
        path: Choice,
        *,
        channel: CodecChannel | None = None,
        recorder: Callable[[], Recorder] = GraphRecorder,
        stages: WaveformStages | None = None,
    ) -> None:
        self.stages = stages
        self.decoder = decoder
        self.path = path
        if channel is None:
            on_card = path.value == GRAPH and decoder.device.type == "cuda"
            channel = CudaChannel(decoder.device) if on_card else HostChannel()
        self._channel = channel
        self._new_recorder = recorder
        self._steps: RecordedSteps | None = None
        self._resident: weakref.ref[CodecSession] | None = None
        self._references: OrderedDict[bytes, DecoderState] = OrderedDict()
        # Buffers go back to the allocator when the runner does; a step may still be under way in them.
        weakref.finalize(self, channel.settle).atexit = False

    @property
    def beside_caller(self) -> bool:
        """Whether steps run while the caller goes on, so that feeding early saves time."""
        return self._channel.beside_caller

    @property
    def step_count(self) -> int:
        """Recorded steps that are kept."""
        return 0 if self._steps is None else len(self._steps)

    def open(
        self, references: Sequence[Tensor | None] = (None,), audio_chunk_size: int = AUDIO_CHUNK_FRAMES
    ) -> CodecSession:
        """Begin a session.

        Args:
            references: for each row the codes that come before its own, int64 ``[frames, 16]``, or None. They are
                decoded here, each once; their sound is thrown away.
            audio_chunk_size: frames of them at once.

        Raises:
            UsageError: a reference with other than 16 codes a frame, or with codes that no codebook has.
        """
        places: dict[bytes | None, int] = {}
        states: list[DecoderState] = []
        rows = []
        with torch.inference_mode():
            for codes in references:
                key = None if codes is None or not len(codes) else _key(codes)
                if key not in places:
                    places[key] = len(states)
                    states.append(self._before(codes, key, audio_chunk_size))
                rows.append(places[key])
            if set(places) == {None}:
                return CodecSession(self, len(rows), None)
            with self._channel.queue():
                state = DecoderState.joined(states).chosen(rows)
        return CodecSession(self, len(rows), state)

    def prepare(self, rows: int, frames: Sequence[int] = STEP_FRAMES) -> None:
        """Record the steps of so many rows now, so that no speech has to wait for it; the most rows first, since for
        more rows than ever before the buffers are made anew, and what was recorded goes with them."""
        session = CodecSession(self, rows, None)
        for count in frames:
            self.advance(session, torch.zeros(rows, QUANTIZERS, count, dtype=torch.int64), last=True, sends=False)
        session.close()

    def shrinks(self, rows: int, left: int) -> bool:
        """Whether a session of ``rows`` of which only ``left`` go on should keep those alone."""
        if self.path.value == STEPS:
            return left < rows
        # Fewer rows need other steps; half of them are worth recording these.
        return 2 * rows_run(left) <= rows_run(rows)

    def keep(self, session: CodecSession, rows: Sequence[int]) -> None:
        """See :meth:`CodecSession.keep`."""
        with torch.inference_mode(), self._channel.queue():
            self._set_aside(session)
            if session.state is not None:
                session.state = session.state.chosen(rows)
        session.rows = len(rows)

    def advance(self, session: CodecSession, codes: Tensor, *, last: bool, sends: bool) -> list[Arrival]:
        """See :meth:`CodecSession.advance`."""
        arrivals = []
        with torch.inference_mode(), self._channel.queue():
            if codes.is_cuda:
                self._channel.hold(codes)
            done = 0
            if self.path.value == GRAPH:
                for size, used in piece_sizes(codes.shape[2], last=last):
                    samples = self._recorded_step(session, codes[..., done : done + used], size)
                    if samples is None:
                        break
                    done += used
                    if sends:
                        arrivals.append(self._channel.send(samples))
            if done < codes.shape[2]:
                samples = self._plain_step(session, codes[..., done:])
                if sends:
                    arrivals.append(self._channel.send(samples))
        return arrivals

    def release(self) -> None:
        """Let go of recorded steps, their buffers and kept references; sessions can go on."""
        with torch.inference_mode(), self._channel.queue():
            self._set_aside()
        self._channel.settle()
        self._steps = None
        self._references.clear()

    def _before(self, codes: Tensor | None, key: bytes | None, audio_chunk_size: int) -> DecoderState:
        """The state of one row before its own frames."""
        if codes is None or key is None:
            with self._channel.queue():
                return self.decoder.initial_state()
        if key in self._references:
            self._references.move_to_end(key)
            return self._references[key]
        if codes.dim() != 2 or codes.shape[1] != QUANTIZERS:
            raise UsageError(f"codes of a reference must be [frames, {QUANTIZERS}], found {list(codes.shape)}")
        self.decoder.check_range(codes)
        session = CodecSession(self, 1, None)
        for part in torch.split(codes.T[None], audio_chunk_size, 2):
            session.advance(part, last=False, sends=False)
        with self._channel.queue():
            self._set_aside(session)
        state = session.state
        if state is None:
            raise ToolkitFault("the codec lost the state behind a reference")
        self._references[key] = state
        while len(self._references) > MOST_REFERENCES:
            self._references.popitem(last=False)
        return state

    def _plain_step(self, session: CodecSession, codes: Tensor) -> Tensor:
        state = self.decoder.initial_state(session.rows) if session.state is None else session.state
        samples, session.state = self.decoder.step(codes.to(self.decoder.device, torch.int64), state)
        return samples

    def _recorded_step(self, session: CodecSession, codes: Tensor, size: int) -> Tensor | None:
        """Samples of up to ``size`` frames in a buffer that the next step overwrites; None: it cannot be recorded."""
        rows, used = session.rows, codes.shape[2]
        run = rows_run(rows)
        steps = self._steps_of(run)
        if (run, size) not in steps:
            self._set_aside()
        try:
            step = steps.step(run, size)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            self._set_aside()
            self._steps = None
            if self.stages is not None:
                self.stages = None
                told = f"the codec's kernels could not be used: {_first_line(error)}"
                self.path = Choice(GRAPH, told, f"{told}. Speech is the same, but slower.")
                return self._recorded_step(session, codes, size)
            self.path = choose_codec_path("cuda", fast=True, capture_fault=_first_line(error))
            return None
        self._bring_in(session, steps)
        step.codes[:rows, :, :used].copy_(codes, non_blocking=True)
        step.codes[:rows, :, used:].zero_()
        step.repeat()
        return step.samples[:rows, : used * SAMPLES_PER_FRAME]

    def _steps_of(self, rows: int) -> RecordedSteps:
        if self._steps is None or self._steps.state.rows < rows:
            self._set_aside()
            self._channel.settle()
            self._steps = None
            self._steps = RecordedSteps(self.decoder, rows, self._new_recorder(), self._channel.settle, self.stages)
        return self._steps

    def _bring_in(self, session: CodecSession, steps: RecordedSteps) -> None:
        """Put a session's state into the buffers."""
        if self._resident is not None and self._resident() is session:
            return
        self._set_aside()
        state, rows = session.state, session.rows
        buffers = _tensors(steps.state)
        if state is not None:
            for kept, part in zip(buffers, _tensors(state), strict=True):
                kept[:rows].copy_(part)
        for kept in buffers:
            kept[0 if state is None else rows : rows_run(rows)].zero_()
        session.state = None
        self._resident = weakref.ref(session)

    def _set_aside(self, session: CodecSession | None = None) -> None:
        """Take the state of the resident session, or of ``session`` if it is that, out of the buffers."""
        resident = None if self._resident is None else self._resident()
        if session is not None and resident is not session:
            return
        self._resident = None
        if resident is not None and not resident.closed and self._steps is not None:
            view = self._steps.first(resident.rows)
            resident.state = DecoderState(view.position.clone(), tuple(part.clone() for part in view.history))


def _tensors(state: DecoderState) -> tuple[Tensor, ...]:
    return state.position, *state.history


def _key(codes: Tensor) -> bytes:
    return codes.to("cpu", torch.int64).contiguous().numpy().tobytes()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0][:160]
