"""Speech in pieces while it is made: the same decode loop and the same codec, with chunks that grow."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolkit.errors import UsageError
from toolkit.synthesis.codec_config import SAMPLE_RATE_HZ
from toolkit.synthesis.fast.codec_runner import CodecSession
from toolkit.synthesis.joining import StreamJoiner
from toolkit.synthesis.limits import expected_frames
from toolkit.synthesis.result import PartResult, SpeechReport
from toolkit.synthesis.speaking import Job, Pipeline, Progress, Request, SpeakOptions, jobs_of

__all__ = ["CHUNK_FRAMES", "SpeechStream", "StreamTiming"]

CHUNK_FRAMES = (1, 2, 4, 8, 12)
"""Frames of the pieces, one after the other; the last number stands for all that follow. The first piece is one frame,
so that sound comes at once; later ones grow, since a call of the codec costs nearly the same for 1 frame as for 12, and
by then a second of sound is ahead of the listener."""

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class StreamTiming:
    """When a piece came.

    ``elapsed_s`` counts from the call, ``audio_s`` is the sound handed out so far with this piece, ``part`` counts from
    1, and ``frames`` are those of the piece.
    """

    part: int
    frames: int
    elapsed_s: float
    audio_s: float

    @property
    def lead_s(self) -> float:
        """Sound that is ahead of a listener who began at the call; negative: he would have had to wait."""
        return self.audio_s - self.elapsed_s


class SpeechStream(Iterator[tuple[Samples, StreamTiming]]):
    """Pieces of speech, made when they are asked for: float32 samples in [-1, 1] at 24 kHz, and their timing.

    All pieces in a row are the speech. A single part is that of the whole-text way within 1e-4; between several parts
    the pauses and fades are the same, the loudness is not matched. A part that runs into its cap is not tried again,
    since it has been heard. ``report`` is there after the last piece. Leave early with :meth:`close`.
    """

    def __init__(
        self, pipeline: Pipeline, request: Request, options: SpeakOptions, chunk_frames: Sequence[int] = CHUNK_FRAMES
    ) -> None:
        schedule = tuple(chunk_frames)
        if not schedule or not all(type(count) is int and count > 0 for count in schedule):
            raise UsageError(f"chunk_frames must be whole numbers of at least 1, not {chunk_frames!r}")
        self._pipeline = pipeline
        self._request = request
        self._options = options
        self._schedule = schedule
        self._began = time.perf_counter()
        self._samples = 0
        self._sent = 0
        self._spent = dict.fromkeys(("prompt", "decode", "codec"), 0.0)
        self._first_s: float | None = None
        self._parts: list[PartResult] = []
        self.report: SpeechReport | None = None
        pipeline.model.memory.reset_peak()
        self._pieces = self._make()

    def __iter__(self) -> SpeechStream:
        return self

    def __next__(self) -> tuple[Samples, StreamTiming]:
        return next(self._pieces)

    def close(self) -> None:
        """Stop speaking and let go of the caches."""
        self._pieces.close()

    def _make(self) -> Generator[tuple[Samples, StreamTiming], None, None]:
        jobs = jobs_of(self._request, self._options)
        joiner = StreamJoiner(SAMPLE_RATE_HZ) if len(jobs) > 1 else None
        for job in jobs:
            last = job is jobs[-1]
            for samples, frames in self._part(job, len(jobs)):
                ready = samples if joiner is None else joiner.feed(samples)
                if ready.size:
                    yield self._timed(ready, job, frames)
            if joiner is not None:
                rest = joiner.end_part(job.part.pause_s, last=last)
                if rest.size:
                    yield self._timed(rest, job, 0)
        self._finish()

    def _part(self, job: Job, parts: int) -> Iterator[tuple[Samples, int]]:
        # No inference mode around a yield: it would reach into the caller's code.
        pipeline, options = self._pipeline, self._options
        began = time.perf_counter()
        with torch.inference_mode():
            prompt = self._request.prompt(job.part.text)
            # First, so that the codec reads a reference beside the prompt where it can.
            sound = pipeline.codec.open([self._request.reference_codes], pipeline.audio_chunk_size)
            stream = pipeline.frames_of([prompt], [job.cap], options.settings, [job.seed])
        self._spent["prompt"] += time.perf_counter() - began
        expected = sum(expected_frames(part.text) for part in self._request.parts)
        frames: list[Tensor] = []
        source = pipeline.guarded(stream)
        while True:
            began = time.perf_counter()
            frame = next(source, None)
            self._spent["decode"] += time.perf_counter() - began
            if frame is not None:
                frames.append(frame)
            if frames and (frame is None or len(frames) >= self._wanted()):
                yield self._step(frames, sound, last=frame is None), len(frames)
                frames = []
            if frame is None:
                break
            if options.on_progress is not None:
                done = sum(part.frames for part in self._parts) + stream.frame_counts[0]
                options.on_progress(Progress(job.number + 1, parts, done, expected))
        reason = stream.finish_reasons[0] or "length"
        self._parts.append(
            PartResult(job.part.text, stream.frame_counts[0], job.seed, reason, pause_s=job.part.pause_s)
        )

    def _wanted(self) -> int:
        return self._schedule[min(self._sent, len(self._schedule) - 1)]

    def _step(self, frames: list[Tensor], sound: CodecSession, *, last: bool) -> Samples:
        """Samples of the next frames. Where the codec works beside the talker, the frames launched ahead go on."""
        began = time.perf_counter()
        with torch.inference_mode():
            samples: Samples = sound.feed(torch.stack(frames, 2), last=last).read()[0].copy()
        self._spent["codec"] += time.perf_counter() - began
        self._sent += 1
        return samples

    def _timed(self, samples: Samples, job: Job, frames: int) -> tuple[Samples, StreamTiming]:
        elapsed = time.perf_counter() - self._began
        self._first_s = elapsed if self._first_s is None else self._first_s
        self._samples += samples.size
        return samples, StreamTiming(job.number + 1, frames, elapsed, self._samples / SAMPLE_RATE_HZ)

    def _finish(self) -> None:
        model, parts = self._pipeline.model, tuple(self._parts)
        total = sum(self._spent.values())  # without what the listener did between two pieces
        capped = [index for index, part in enumerate(parts, 1) if part.finish_reason == "length"]
        told = f"Ran into the length cap: part {', '.join(map(str, capped))} of {len(parts)}; listen to it."
        self.report = SpeechReport(
            text=self._request.text,
            parts=parts,
            seconds=self._samples / SAMPLE_RATE_HZ,
            frames=sum(part.frames for part in parts),
            seed=self._options.seed,
            finish_reason="length" if capped else "eos",
            model=model.name,
            device=str(model.device),
            dtype=model.dtype,
            codec_dtype=model.codec_dtype,
            timings_s={**self._spent, "join": 0.0, "total": total},
            first_audio_s=self._first_s or total,
            peak_bytes=model.memory.peak_bytes(),
            notes=(*self._request.notes, *self._pipeline.news(), *([told] if capped else [])),
        )
