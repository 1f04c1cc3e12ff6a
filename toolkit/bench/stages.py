"""Where the time of a frame goes: the stages wrapped with synchronised clocks, in a pass of its own.

Waiting for the card before and after each stage costs time, so what is measured here is never taken as the total.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from toolkit.bench.frame_parts import FrameParts
from toolkit.synthesis.decoding import FrameStream
from toolkit.synthesis.fast.codec_runner import CodecSession
from toolkit.synthesis.loading import LoadedModel

__all__ = ["StageClock", "StageTimes", "kernels_per_frame"]

_STAGES = ("prefill", "frame", "predictor", "codec")
_NO_KERNELS = ("memcpy", "memset")

_AS_ONE = "talker step and code predictor run as one: they cannot be told apart from outside"
_APART = (
    "a frame runs as one; the talker's layers and the predictor's fifteen codes were repeated by themselves, of one "
    "row in the middle of its speech; the choice of the first code is in neither"
)


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds of one call. A stage that did not show itself is None, and ``notes`` says why.

    Attributes:
        frames: frames (80 ms) that were made.
        prefill_ms: reading the prompt, once.
        frame_ms: talker step and code predictor, a frame.
        talker_step_ms, predictor_ms: the two, a frame; where a frame runs as one, from :meth:`apart`.
        codec_ms: codes to samples, a frame.
    """

    frames: int
    prefill_ms: float | None
    frame_ms: float | None
    talker_step_ms: float | None
    predictor_ms: float | None
    codec_ms: float | None
    notes: tuple[str, ...] = ()

    def apart(self, parts: FrameParts) -> StageTimes:
        """With the halves of a frame as they were measured by themselves."""
        notes = tuple(note for note in self.notes if note != _AS_ONE)
        return replace(self, talker_step_ms=parts.talker_ms, predictor_ms=parts.predictor_ms, notes=(_APART, *notes))

    def to_json(self) -> dict[str, object]:
        """All of it as JSON values."""
        return {
            "frames": self.frames,
            "prefill_ms": _rounded(self.prefill_ms),
            "frame_ms_per_frame": _rounded(self.frame_ms),
            "talker_step_ms_per_frame": _rounded(self.talker_step_ms),
            "predictor_ms_per_frame": _rounded(self.predictor_ms),
            "codec_ms_per_frame": _rounded(self.codec_ms),
            "notes": list(self.notes),
        }


class StageClock:
    """Counts seconds by stage while :meth:`attached`; everything is as before when the block ends."""

    def __init__(self, model: LoadedModel, now: Callable[[], float] = time.perf_counter) -> None:
        self._model = model
        self._now = now
        self.seconds = dict.fromkeys(_STAGES, 0.0)
        self.calls = dict.fromkeys(_STAGES, 0)

    @contextmanager
    def attached(self) -> Iterator[StageClock]:
        """Wrap the stages of this model. Streams and sounds of other models count as well while it lasts."""
        with ExitStack() as stack:
            for owner, name, stage in (
                (FrameStream, "__init__", "prefill"),
                (FrameStream, "__next__", "frame"),
                (self._model.talker.predictor, "frame", "predictor"),
                (CodecSession, "advance", "codec"),
            ):
                stack.enter_context(_replaced(owner, name, self._timed(getattr(owner, name), stage)))
            yield self

    def times(self) -> StageTimes:
        """What was counted, for one sequence."""
        frames = max(1, self.calls["frame"])
        per_call = {name: self.seconds[name] * 1000 if self.calls[name] else None for name in _STAGES}
        frame, predictor = per_call["frame"], per_call["predictor"]
        notes = []
        talker = None
        if frame is not None and predictor is not None:
            talker = (frame - predictor) / frames
        else:
            notes.append(_AS_ONE)
        if per_call["codec"] is None:
            notes.append("the codec was not asked for sound in pieces")
        return StageTimes(
            frames=self.calls["frame"],
            prefill_ms=per_call["prefill"],
            frame_ms=None if frame is None else frame / frames,
            talker_step_ms=talker,
            predictor_ms=None if predictor is None else predictor / frames,
            codec_ms=None if per_call["codec"] is None else per_call["codec"] / frames,
            notes=tuple(notes),
        )

    def _timed(self, inner: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            self._wait()
            began = self._now()
            result = inner(*arguments, **named)  # the choice that ends a speech raises, and makes no frame
            self._wait()
            self.seconds[stage] += self._now() - began
            self.calls[stage] += 1
            return result

        return timed

    def _wait(self) -> None:
        if self._model.device.type == "cuda":
            torch.cuda.synchronize(self._model.device)


def kernels_per_frame(short: Sequence[str], long: Sequence[str], frames: int) -> float:
    """Kernels of one frame, from the names of all device events of two calls of which the second is ``frames`` longer;
    what a call needs once cancels. Copies and fills by the copy engine are no kernels."""
    counts = [sum(not name.lower().startswith(_NO_KERNELS) for name in names) for names in (short, long)]
    return (counts[1] - counts[0]) / frames


@contextmanager
def _replaced(owner: Any, name: str, value: object) -> Iterator[None]:
    """Another attribute for a while: of a class, or of an instance in front of its class."""
    own = vars(owner)
    had, before = name in own, own.get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if had:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
