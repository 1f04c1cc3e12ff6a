"""From texts to results: parts, prompts, codes, waveforms, joined; with retries for missed ends and for full memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolkit.errors import UsageError
from toolkit.synthesis.codec_config import SAMPLE_RATE_HZ
from toolkit.synthesis.codec_decoder import reference_samples
from toolkit.synthesis.config import CODE_GROUPS
from toolkit.synthesis.decoding import Backend, FrameStream, Seed, generate
from toolkit.synthesis.fast.backend import FastBackend
from toolkit.synthesis.fast.codec_rows import RowSound, sound_of
from toolkit.synthesis.fast.codec_runner import CodecRunner, choose_codec_path
from toolkit.synthesis.fast.codec_stages import waveform_stages
from toolkit.synthesis.joining import join_parts
from toolkit.synthesis.limits import expected_frames, frame_cap, part_seed
from toolkit.synthesis.loading import LoadedModel
from toolkit.synthesis.memory import Workload, is_out_of_memory, retry_when_full
from toolkit.synthesis.prompt import Prompt
from toolkit.synthesis.result import PartResult, SpeechResult
from toolkit.synthesis.sampling import DecodeSettings
from toolkit.synthesis.splitting import Part
from toolkit.synthesis.text import is_speakable

__all__ = [
    "MAX_BATCH",
    "MAX_RETRIES",
    "Job",
    "OnProgress",
    "Pipeline",
    "Progress",
    "Request",
    "SpeakOptions",
    "jobs_of",
]

MAX_RETRIES = 2
"""Further attempts at a part that ran into its cap. A missed end of speech is a property of the models (0.2 to 0.7 % of
the requests to base models); three in a row are not chance any more."""

MAX_BATCH = 256
"""Most texts side by side."""

Samples = NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """How far a call is: frames of the parts so far, and what ordinary speech of the whole text would take."""

    part: int
    parts: int
    frames: int
    expected_frames: int


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Request:
    """One text to speak.

    ``prompt`` makes the prompt of a part; ``reference_codes`` (int64 ``[frames, 16]``) are decoded before each part and
    cut off again, as in-context cloning needs it.
    """

    text: str
    parts: tuple[Part, ...]
    prompt: Callable[[str], Prompt]
    reference_codes: Tensor | None = None
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class SpeakOptions:
    """How a call speaks. ``max_frames`` takes the place of the cap from the text; then nothing is tried again."""

    settings: DecodeSettings
    seed: int
    max_frames: int | None = None
    batch: int = 1
    official_chunking: bool = False
    on_progress: OnProgress | None = None

    def __post_init__(self) -> None:
        if self.max_frames is not None and (type(self.max_frames) is not int or self.max_frames < 1):
            raise UsageError(f"max_frames must be a whole number of at least 1, not {self.max_frames!r}")
        if type(self.batch) is not int or not 1 <= self.batch <= MAX_BATCH:
            raise UsageError(f"batch must be a whole number from 1 to {MAX_BATCH}, not {self.batch!r}")


@dataclass(frozen=True)
class Job:
    """A part of a request, with its cap in frames and the seed of its first attempt."""

    request: Request
    part: Part
    cap: int
    seed: int
    number: int


@dataclass
class _Spoken:
    """What became of a job."""

    codes: Tensor
    finish_reason: str
    seed: int
    attempts: int = 1
    samples: Samples | None = None
    timings_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("prompt", "decode", "codec"), 0.0))
    audio_at: float = 0.0


def jobs_of(request: Request, options: SpeakOptions, first: int = 0) -> list[Job]:
    """The parts of a request that have something to speak. ``first`` counts the jobs before, for the seeds."""
    spoken = [part for part in request.parts if is_speakable(part.text)]
    most = options.settings.max_new_tokens - 1
    return [
        Job(
            request,
            part,
            min(most, frame_cap(part.text) if options.max_frames is None else options.max_frames),
            part_seed(options.seed, first + index, 0),
            first + index,
        )
        for index, part in enumerate(spoken)
    ]


class Pipeline:
    """Speaks requests with one model.

    ``audio_chunk_size`` and ``most_rows`` (texts side by side) shrink for good when memory ran out once. ``codec``
    turns codes into sound, beside the frames where it can, after them where it cannot.
    """

    def __init__(
        self,
        model: LoadedModel,
        audio_chunk_size: int,
        backend: Backend[Any] | None = None,
        codec: CodecRunner | None = None,
    ) -> None:
        self.model = model
        self.codec = codec or _codec_runner(model, fast=isinstance(backend, FastBackend))
        self.audio_chunk_size = audio_chunk_size
        self.most_rows = int(getattr(backend, "most_rows", MAX_BATCH))
        self._backend = backend
        self._told: set[str] = set()
        self._by_row = bool(getattr(backend, "draws_by_row", False))

    def say(self, requests: Sequence[Request], options: SpeakOptions) -> list[SpeechResult]:
        """Speak requests, ``options.batch`` parts side by side; one result each, in order."""
        began = time.perf_counter()
        self.model.memory.reset_peak()
        notes: list[str] = []
        jobs: list[Job] = []
        for request in requests:
            jobs += jobs_of(request, options, len(jobs))
        progress = _Counter(jobs, options.on_progress)
        spoken: list[_Spoken] = []
        for start in range(0, len(jobs), options.batch):
            group = jobs[start : start + options.batch]
            rows = self._decode(group, options, progress, notes)
            for job, row in zip(group, rows, strict=True):
                self._try_again(job, row, options, progress, notes)
            self._sound(group, rows, options, notes)
            for row in rows:
                row.audio_at = time.perf_counter() - began
            spoken += rows
        results: list[SpeechResult] = []
        news = self.news()
        for request in requests:
            own = [index for index, job in enumerate(jobs) if job.request is request]
            pairs = [(jobs[index], spoken[index]) for index in own]
            results.append(self._assemble(request, pairs, options, (*notes, *news)))
            news = ()
        wall = time.perf_counter() - began
        return [_with_total(result, wall, results) for result in results]

    def news(self) -> tuple[str, ...]:
        """What could not be built or captured on the way, a sentence each: for the notes of one result, and never
        again."""
        new = tuple(each for each in self.fallbacks if each not in self._told)
        self._told.update(new)
        return new

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """What could not be built or captured so far, a sentence each."""
        told = [self.codec.path.warning]
        if isinstance(self._backend, FastBackend):
            told = [*self._backend.warnings, *told]
        return tuple(each[0].upper() + each[1:] for each in told if each)

    def frames_of(
        self, prompts: Sequence[Prompt], caps: Sequence[int], settings: DecodeSettings, seeds: Sequence[int]
    ) -> FrameStream:
        """Start decoding; ``caps`` are the most frames of each row. Where all rows are drawn for at once, the first
        seed is that of all."""
        limited = replace(settings, max_new_tokens=min(settings.max_new_tokens, max(caps) + 1))
        seed: Seed = seeds if self._by_row else seeds[0]
        return generate(self.model.talker, prompts, limited, seed=seed, frame_limits=list(caps), backend=self._backend)

    def guarded(self, stream: FrameStream) -> Iterator[Tensor]:
        """The frames of a stream. In float16 an overflow is found before it is drawn from."""
        checks = self.model.talker.dtype == torch.float16
        while True:
            if checks and not bool(torch.isfinite(stream.state.hidden).all()):
                raise UsageError(
                    f"float16 overflowed at frame {max(stream.frame_counts)}: the talker's numbers are not finite; "
                    "take bfloat16 or float32"
                )
            frame = next(stream, None)
            if frame is None:
                return
            yield frame

    def _decode(
        self, group: Sequence[Job], options: SpeakOptions, progress: _Counter, notes: list[str]
    ) -> list[_Spoken]:
        done: dict[int, _Spoken] = {}

        def run(workload: Workload) -> None:
            left = [job for job in group if job.number not in done]
            for start in range(0, len(left), workload.batch):
                rows = left[start : start + workload.batch]
                seeds = [job.seed for job in rows]
                spoken = self._decode_rows(rows, seeds, options, progress, workload.audio_chunk_size)
                done.update(zip((job.number for job in rows), spoken, strict=True))

        self._within_memory(run, notes, len(group))
        return [done[job.number] for job in group]

    @torch.inference_mode()
    def _decode_rows(
        self,
        jobs: Sequence[Job],
        seeds: Sequence[int],
        options: SpeakOptions,
        progress: _Counter,
        audio_chunk_size: int,
    ) -> list[_Spoken]:
        began = time.perf_counter()
        prompts = [job.request.prompt(job.part.text) for job in jobs]
        with self._sound_beside(jobs, options, audio_chunk_size) as sound:
            opening = 0.0 if sound is None else sound.waited_s
            stream = self.frames_of(prompts, [job.cap for job in jobs], options.settings, seeds)
            read = time.perf_counter()
            frames: list[Tensor] = []
            for frame in self.guarded(stream):
                frames.append(frame)
                if sound is not None:
                    sound.add(frame, stream.frame_counts)
                progress.count(jobs, len(frames))
            counts = stream.frame_counts
            whole = (
                torch.stack(frames, 1).cpu() if frames else torch.empty(len(jobs), 0, CODE_GROUPS, dtype=torch.int64)
            )
            codes = [row[:count] for row, count in zip(whole, counts, strict=True)]
            waves: Sequence[Samples | None] = [None] * len(jobs)
            if sound is not None:
                for row_codes in codes:
                    self.model.decoder.check_range(row_codes)
                waves = sound.finish(counts)
        waited = 0.0 if sound is None else sound.waited_s
        over = time.perf_counter()
        rows = []
        for index, wave in enumerate(waves):
            seed = seeds[index] if self._by_row else seeds[0]
            row = _Spoken(codes[index], stream.finish_reasons[index] or "length", seed, samples=wave)
            share = max(1, counts[index]) / sum(max(1, count) for count in counts)
            row.timings_s["prompt"] += (read - began - opening) * share
            row.timings_s["decode"] += (over - read - (waited - opening)) * share
            row.timings_s["codec"] += waited * share
            rows.append(row)
        return rows

    @contextmanager
    def _sound_beside(
        self, jobs: Sequence[Job], options: SpeakOptions, audio_chunk_size: int
    ) -> Iterator[RowSound | None]:
        """Decodes while frames are made, where that saves time: then the sound is there soon after the last frame."""
        if not self.codec.beside_caller or options.official_chunking or len(jobs) > audio_chunk_size:
            yield None
            return
        with closing(RowSound(self.codec, _references(jobs), audio_chunk_size)) as sound:
            yield sound

    def _try_again(self, job: Job, row: _Spoken, options: SpeakOptions, progress: _Counter, notes: list[str]) -> None:
        """Another seed for a part that ran into the cap from its text; the first attempt stays when none ends."""
        settings = options.settings
        draws = settings.talker.do_sample or settings.predictor.do_sample
        ours = options.max_frames is None and job.cap < settings.max_new_tokens - 1
        if row.finish_reason != "length" or not draws or not ours:
            return
        for attempt in range(1, MAX_RETRIES + 1):
            seed = part_seed(options.seed, job.number, attempt)
            again = self._attempt(job, seed, options, progress, notes)
            row.attempts += 1
            for name, value in again.timings_s.items():
                row.timings_s[name] += value
            if again.finish_reason == "eos":
                row.codes, row.samples, row.finish_reason, row.seed = again.codes, again.samples, "eos", seed
                return

    def _attempt(self, job: Job, seed: int, options: SpeakOptions, progress: _Counter, notes: list[str]) -> _Spoken:
        def run(workload: Workload) -> _Spoken:
            return self._decode_rows([job], [seed], options, progress, workload.audio_chunk_size)[0]

        return self._within_memory(run, notes)

    def _sound(self, group: Sequence[Job], rows: Sequence[_Spoken], options: SpeakOptions, notes: list[str]) -> None:
        """Decode the rows that have no sound yet."""
        began = time.perf_counter()
        silent = [(job, row) for job, row in zip(group, rows, strict=True) if row.samples is None]
        if not silent:
            return
        codes, references = [row.codes for _, row in silent], _references([job for job, _ in silent])

        def run(workload: Workload) -> list[Samples]:
            return self.waveforms(codes, references, workload.audio_chunk_size, options.official_chunking)

        waves = self._within_memory(run, notes)
        spent = time.perf_counter() - began
        whole = sum(max(1, len(row.codes)) for _, row in silent)
        for (_, row), wave in zip(silent, waves, strict=True):
            row.samples = wave
            row.timings_s["codec"] += spent * max(1, len(row.codes)) / whole

    @torch.inference_mode()
    def waveforms(
        self,
        codes: Sequence[Tensor],
        references: Sequence[Tensor | None],
        audio_chunk_size: int,
        official_chunking: bool,
    ) -> list[Samples]:
        """Codes ``[frames, 16]`` of some rows as samples, each decoded behind the codes of a reference whose sound is
        cut off; together, or one after the other as the official package does it."""
        if not official_chunking:
            return sound_of(self.codec, codes, references, audio_chunk_size)
        return [self._official(own, reference) for own, reference in zip(codes, references, strict=True)]

    def _official(self, codes: Tensor, reference: Tensor | None) -> Samples:
        decoder = self.model.decoder
        own = codes.to(decoder.device)
        whole = own if reference is None else torch.cat((reference.to(own), own))
        sound: Samples = decoder.decode_official(whole.T[None])[0].cpu().numpy()
        if reference is None:
            return sound
        return sound[reference_samples(len(reference), len(whole), sound.size) :].copy()

    def _within_memory(self, run: Callable[[Workload], T], notes: list[str], rows: int = 1) -> T:
        asked = Workload(self.audio_chunk_size, min(rows, self.most_rows))

        def released(workload: Workload) -> T:
            try:
                return run(workload)
            except Exception as error:
                if is_out_of_memory(error):
                    self.codec.release()
                raise

        result, went = retry_when_full(released, asked, self.model.memory, self.model.plan.total_bytes)
        if went != asked:
            notes.append(f"Memory ran out once; from now on it is {went} at most, until the model is loaded again.")
            self.audio_chunk_size = went.audio_chunk_size
            self.most_rows = went.batch if rows > 1 else self.most_rows
        return result

    def _assemble(
        self, request: Request, pairs: Sequence[tuple[Job, _Spoken]], options: SpeakOptions, notes: tuple[str, ...]
    ) -> SpeechResult:
        began = time.perf_counter()
        model = self.model
        samples = join_parts(
            [row.samples for _, row in pairs if row.samples is not None],
            [job.part.pause_s for job, _ in pairs],
            SAMPLE_RATE_HZ,
        )
        codes = torch.cat([row.codes for _, row in pairs]).to(torch.int16).numpy()
        parts = tuple(
            PartResult(
                job.part.text, int(row.codes.shape[0]), row.seed, row.finish_reason, row.attempts, job.part.pause_s
            )
            for job, row in pairs
        )
        stages = {name: sum(row.timings_s[name] for _, row in pairs) for name in ("prompt", "decode", "codec")}
        stages["join"] = time.perf_counter() - began
        return SpeechResult(
            samples=samples,
            codes=codes,
            text=request.text,
            parts=parts,
            seconds=samples.size / SAMPLE_RATE_HZ,
            frames=int(codes.shape[0]),
            seed=options.seed,
            finish_reason="eos" if all(part.finish_reason == "eos" for part in parts) else "length",
            model=model.name,
            device=str(model.device),
            dtype=model.dtype,
            codec_dtype=model.codec_dtype,
            timings_s=stages,
            first_audio_s=min(row.audio_at for _, row in pairs),
            peak_bytes=model.memory.peak_bytes(),
            notes=(*request.notes, *notes, *_cap_notes(parts)),
        )


def _codec_runner(model: LoadedModel, *, fast: bool) -> CodecRunner:
    stages, told = waveform_stages(model.decoder) if fast else (None, "")
    return CodecRunner(
        model.decoder, choose_codec_path(model.device.type, fast=fast, kernels=told or None), stages=stages
    )


class _Counter:
    """Turns frames of parts into progress of the whole call."""

    def __init__(self, jobs: Sequence[Job], on_progress: OnProgress | None) -> None:
        self._told = on_progress
        self._parts = len(jobs)
        self._expected = sum(expected_frames(job.part.text) for job in jobs)
        self._frames = [0] * len(jobs)

    def count(self, jobs: Sequence[Job], frames: int) -> None:
        if self._told is None:
            return
        for job in jobs:
            self._frames[job.number] = frames
        self._told(Progress(jobs[-1].number + 1, self._parts, sum(self._frames), self._expected))


def _references(jobs: Sequence[Job]) -> list[Tensor | None]:
    return [job.request.reference_codes for job in jobs]


def _cap_notes(parts: Sequence[PartResult]) -> Iterator[str]:
    """What happened to parts that ran into the cap, in one sentence a part."""
    for number, part in enumerate(parts, 1):
        tries = f" in {part.attempts} attempts" if part.attempts > 1 else ""
        if part.finish_reason == "length":
            yield f"Part {number} of {len(parts)} ran into its length cap of {part.frames} frames{tries}; listen to it."
        elif part.attempts > 1:
            yield f"Part {number} of {len(parts)} missed its end and was spoken again with seed {part.seed}."


def _with_total(result: SpeechResult, wall: float, results: Sequence[SpeechResult]) -> SpeechResult:
    share = max(1, result.frames) / sum(max(1, other.frames) for other in results)
    return replace(result, timings_s={**result.timings_s, "total": wall * share})
