"""The measurements of one model in one precision, each through the calls that a user makes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch

from toolkit.bench.ceiling import weight_bytes_per_frame
from toolkit.bench.frame_parts import parts_of
from toolkit.bench.memory_gauge import MemoryGauge
from toolkit.bench.models import speaker_of
from toolkit.bench.plan import LONG_TEXT, BenchPlan
from toolkit.bench.repeats import Repeats, repeat
from toolkit.bench.stages import StageClock, kernels_per_frame
from toolkit.synthesis.fast.kernel_shelf import sizes_json
from toolkit.synthesis.fast.path import PLAIN
from toolkit.synthesis.limits import expected_frames
from toolkit.synthesis.result import SpeechResult
from toolkit.synthesis.speaker import Speech
from toolkit.synthesis.splitting import split_text

__all__ = ["OnStep", "Voice", "measure_voice", "speed"]

OnStep = Callable[[str], None]
"""Told in a few words what is measured next."""

_SENTENCE_CHARACTERS = 40
_KERNEL_FRAMES = (8, 24)
_MOST_STREAMS = 5


@dataclass(frozen=True)
class Voice:
    """A loaded model and how it is asked to speak."""

    speech: Speech
    plan: BenchPlan

    @property
    def frames(self) -> int:
        """Most frames of a call."""
        assert self.plan.frames is not None  # noqa: S101 - for the type checker; plans are settled
        return self.plan.frames

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.speech.model.device

    def speak(self, frames: int | None = None) -> SpeechResult:
        """One call, as a user makes it."""
        return self.speech.speak(
            self.plan.spoken_text,
            speaker=speaker_of(self.speech),
            seed=self.plan.seed,
            max_frames=frames or self.frames,
        )

    def wait(self) -> None:
        """Until the device has done all that was asked of it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def speed(seconds: float, frames: int, audio_s: float) -> dict[str, object]:
    """The ways to say how fast: milliseconds a frame of 80 ms, times real time, and its inverse (RTF)."""
    return {
        "total_s": round(seconds, 5),
        "frames": frames,
        "audio_s": round(audio_s, 4),
        "ms_per_frame": round(seconds * 1000 / frames, 4) if frames else None,
        "x_real_time": round(audio_s / seconds, 4) if seconds > 0 else None,
        "rtf": round(seconds / audio_s, 5) if audio_s > 0 else None,
    }


def measure_voice(voice: Voice, say: OnStep) -> dict[str, object]:
    """All figures of one precision, as JSON values. A call that fails ends them; what was measured before it stays."""
    model, plan = voice.speech.model, voice.plan
    gauge = MemoryGauge(voice.device)
    assert plan.repeats is not None  # noqa: S101 - for the type checker; plans are settled
    found: dict[str, object] = {
        "dtype": asdict(model.dtype),
        "codec_dtype": asdict(model.codec_dtype),
        "text_table": asdict(model.text_table),
        "path": asdict(voice.speech.path),
        "kernel_sizes": _kernel_sizes(voice.speech),
        "notes": list(model.notes),
        "weight_bytes_per_frame": weight_bytes_per_frame(model.talker),
    }
    say("first call")
    first = repeat(voice.speak, 1, gauge)
    found["first_call_s"] = None if first.median_s is None else round(first.median_s, 5)
    if not first.stable:
        return found | {"repeats": Repeats(plan.repeats, (), 1, first.error).to_json()}

    def count(number: int) -> None:
        say(f"warm run {number} of {plan.repeats}")

    repeats = repeat(voice.speak, plan.repeats, gauge, on_call=count)
    found["repeats"] = repeats.to_json()
    if repeats.calls:
        middle = repeats.median_s or 0.0
        last = repeats.calls[-1]
        found["warm"] = speed(middle, last.frames, last.audio_s) | {
            "timings_s": {name: round(value, 5) for name, value in last.timings_s.items()},
            "memory": repeats.peak(),
        }
    if not repeats.stable:
        return found
    try:
        _go_on(found, voice, gauge, say)
    except (RuntimeError, MemoryError) as error:
        found["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
    # Figures from a fallback on stand beside those from before it, which only this tells.
    found["fallbacks"] = list(voice.speech.fallbacks)
    return found


def _kernel_sizes(speech: Speech) -> dict[str, object] | None:
    """Sizes of the fused kernels and where they come from; None where frames run without them."""
    tuning = speech.tuning
    if tuning is None:
        return None
    return {"source": asdict(tuning.source), "chained": tuning.chained, "sizes": sizes_json(tuning.sizes)}


def _go_on(found: dict[str, object], voice: Voice, gauge: MemoryGauge, say: OnStep) -> None:
    """Add each figure as soon as it is there, so that a call that fails takes no other's figure along."""
    plan = voice.plan
    streams: list[object] = []
    found["streams"] = streams
    for chunk in plan.chunks:
        say(f"stream in pieces of {chunk}")
        streams.append(_stream(voice, chunk))
    batches: list[object] = []
    found["batches"] = batches
    for rows in plan.batches or ():
        say(f"batch of {rows}")
        batches.append(_batch(voice, rows, gauge))
    if not plan.quick:
        say("a text of several sentences, side by side")
        found["text"] = _side_by_side(voice)
    say("stages, in a pass of their own")
    clock = StageClock(voice.speech.model)
    with clock.attached():
        voice.speak()
    times = clock.times()
    if voice.speech.path.value != PLAIN:
        say("the two halves of a frame, each by itself")
        times = times.apart(parts_of(voice.speech))
    found["stages"] = times.to_json()
    if voice.device.type == "cuda":
        say("kernels of a frame")
        found["kernels"] = _kernels(voice)


def _stream(voice: Voice, chunk: int) -> dict[str, object]:
    """Median over a few streams: first sound, and the speed when all pieces have this many frames."""
    firsts, totals = [], []
    frames, audio_s = 0, 0.0
    for number in range(min(_MOST_STREAMS, voice.plan.repeats or 1) + 1):
        voice.wait()
        began = time.perf_counter()
        pieces = voice.speech.stream(
            voice.plan.spoken_text,
            speaker=speaker_of(voice.speech),
            seed=voice.plan.seed,
            max_frames=voice.frames,
            chunk_frames=(chunk,),
        )
        first, frames = None, 0
        for _, timing in pieces:
            first = time.perf_counter() - began if first is None else first
            frames, audio_s = frames + timing.frames, timing.audio_s
        if number and first is not None:  # the first stream of a chunk size may still have to be made ready
            firsts.append(first)
            totals.append(time.perf_counter() - began)
    return {
        "chunk_frames": chunk,
        "first_audio_ms": round(statistics.median(firsts) * 1000, 3),
        **speed(statistics.median(totals), frames, audio_s),
    }


def _batch(voice: Voice, rows: int, gauge: MemoryGauge) -> dict[str, object]:
    """Median of two after a warm-up: the same text in so many rows, each with draws of its own."""
    times: list[float] = []
    results: list[SpeechResult] = []
    gauge.begin()
    for _ in range(3):
        voice.wait()
        began = time.perf_counter()
        results = voice.speech.speak_many(
            [voice.plan.spoken_text] * rows,
            speaker=speaker_of(voice.speech),
            seed=voice.plan.seed,
            batch=rows,
            max_frames=voice.frames,
        )
        times.append(time.perf_counter() - began)
    seconds = statistics.median(times[1:])
    steps = max(result.frames for result in results)
    whole = speed(seconds, sum(result.frames for result in results), sum(result.seconds for result in results))
    return {"rows": rows, "ms_per_step": round(seconds * 1000 / steps, 4), **whole, "memory": gauge.peak()}


def _side_by_side(voice: Voice) -> dict[str, object]:
    """A text of 120 characters whose sentences are the rows of one batch. Random weights do not end by themselves; they
    get as many frames as ordinary speech of the longest sentence takes."""
    text = LONG_TEXT if voice.plan.text is None else voice.plan.text
    parts = [part.text for part in split_text(text, _SENTENCE_CHARACTERS)]
    cap = max(expected_frames(part) for part in parts) if voice.plan.random_weights else None
    times, results = [], []
    for _ in range(3):
        voice.wait()
        began = time.perf_counter()
        results = voice.speech.speak_many(
            parts, speaker=speaker_of(voice.speech), seed=voice.plan.seed, batch=len(parts), max_frames=cap
        )
        times.append(time.perf_counter() - began)
    audio_s = sum(result.seconds for result in results)
    return {
        "characters": len(text),
        "parts": len(parts),
        **speed(statistics.median(times[1:]), sum(result.frames for result in results), audio_s),
    }


def _kernels(voice: Voice) -> dict[str, object]:
    """Kernels of a frame as the profiler sees them, replayed graphs included; the prompt and the one call of the codec
    cancel out."""
    names = [_device_events(voice, frames) for frames in _KERNEL_FRAMES]
    if not names[0]:
        return {"per_frame": None, "reason": "the profiler saw no kernel: it may not be allowed to look at the card"}
    frames = _KERNEL_FRAMES[1] - _KERNEL_FRAMES[0]
    return {"per_frame": round(kernels_per_frame(names[0], names[1], frames), 1), "reason": None}


def _device_events(voice: Voice, frames: int) -> Sequence[str]:
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as watched:
        voice.speak(frames)
        voice.wait()
    return [event.name for event in watched.events() or () if str(event.device_type).endswith("CUDA")]
