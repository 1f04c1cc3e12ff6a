"""Long work of the live page, done in workers: watch a card with pictures and judgement, and speak as a load."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from toolkit.widgets.jobs import Work

if TYPE_CHECKING:
    from toolkit.probe.gpu_sample import Reader
    from toolkit.probe.watch import Sample
    from toolkit.synthesis.result import SpeechResult
    from toolkit.synthesis.speaker import Speech
    from troubleshoot.evidence import Matcher

__all__ = ["find_card", "speak_again", "watch_card"]

_JUDGED_EVERY_S = 2.0
_DRAWN_EVERY_S = 0.5
_JUDGED_OVER_S = 60.0
_KEPT_SAMPLES = 3_600
_DESIGN = "a calm, clear voice"


def find_card(work: Work, gpu_index: int) -> dict[str, str]:
    """Whether a card can be watched: ``reason`` is "" or says why not."""
    from toolkit.errors import QwenAudioError
    from toolkit.probe.gpu_sample import open_reader
    from troubleshoot.facts import NA

    try:
        reader = open_reader(gpu_index)
        try:
            taken = reader.read()
        finally:
            reader.close()
    except QwenAudioError as error:
        return {"reason": str(error)}
    memory = taken.memory_total_bytes
    return {"reason": memory.reason if isinstance(memory, NA) else ""}


def watch_card(work: Work, source: str, interval_s: float, duration_s: float | None = None) -> dict[str, Any]:
    """Watch until cancelled, or for ``duration_s`` seconds.

    ``source`` is ``card:0`` or ``example:healthy``. Partial results are ``seen``: a sample, at most twice a second
    a picture, and every two seconds a judgement of the last minute. Returns the JSON form of the whole watch.

    Raises UsageError and GpuUnavailable.
    """
    from toolkit.doctor.watching import to_json
    from toolkit.probe.watch import summarise, watch
    from toolkit.widgets.live.chart import draw_watch

    reader = _reader_of(source)
    work.progress(None, "live.progress.rules")
    matcher = _matcher(work)
    samples: list[Sample] = []
    draws_at, judged = 0.0, float("-inf")
    for taken in watch(interval_s, duration_s, reader=reader, sleep=work.pause):
        samples = [*samples[-_KEPT_SAMPLES:], taken]
        seen: dict[str, Any] = {"sample": _plain(taken)}
        if taken.time_s >= draws_at:
            began = time.monotonic()
            seen["picture"] = draw_watch(samples)
            # On a slow machine a picture may not take the time of the samples.
            draws_at = taken.time_s + max(_DRAWN_EVERY_S, 3 * (time.monotonic() - began)) - interval_s / 2
        if taken.time_s - judged >= _JUDGED_EVERY_S and len(samples) > 2:
            seen["judgement"], judged = _judged(matcher, samples), taken.time_s
        work.partial("seen", seen)
        work.progress(None, "live.progress.watching", count=len(samples))
    return {"watch": to_json(summarise(samples), samples), "judgement": _judged(matcher, samples)}


def speak_again(work: Work, model: str, text: str, times: int | None = None) -> dict[str, Any]:
    """Speak a text again and again, until cancelled or ``times`` times; the model stays loaded for the next run.

    Returns how often, and seconds of sound and of work.
    """
    from toolkit.synthesis.speaker import load

    work.progress(None, "live.progress.loading", model=model)
    speech = work.keep(f"speech:{model}", lambda: load(model))
    count, sound_s, began = 0, 0.0, time.monotonic()
    while times is None or count < times:
        result = _say(speech, text, lambda _: work.check())
        count += 1
        sound_s += result.seconds
        speed = sound_s / (time.monotonic() - began)
        work.progress(
            None, "live.progress.speaking", count=count, seconds=f"{sound_s:.1f}", speed=f"{speed:.2f}",
            device=result.device, dtype=result.dtype.value,
        )  # fmt: skip
    return {"count": count, "sound_s": sound_s, "spent_s": time.monotonic() - began}


def _say(speech: Speech, text: str, on_progress: Callable[[object], None]) -> SpeechResult:
    from toolkit.errors import UsageError
    from toolkit.synthesis.pocket_voice import POCKET_SPEAKER

    if speech.kind == "voice_design":
        return speech.design(text, _DESIGN, on_progress=on_progress)
    if speech.kind == "base":
        raise UsageError(
            "a base model speaks only with a recording to clone; take a custom voice or voice design model"
        )
    speaker = POCKET_SPEAKER if POCKET_SPEAKER in speech.speakers else next(iter(speech.speakers), None)
    return speech.speak(text, speaker=speaker, on_progress=on_progress)


def _reader_of(source: str) -> Reader:
    from toolkit.errors import UsageError
    from toolkit.probe.gpu_sample import open_reader
    from toolkit.widgets.live.examples import ExampleReader

    kind, _, name = source.partition(":")
    if kind == "example":
        return ExampleReader(name)
    if kind != "card" or not name.isdecimal():
        raise UsageError(f"{source!r} cannot be watched; give card:0 or example:healthy")
    return open_reader(int(name))


def _matcher(work: Work) -> Matcher:
    from toolkit.doctor import matcher_of

    return work.keep("matcher", matcher_of)


def _judged(matcher: Matcher, samples: list[Sample]) -> dict[str, Any]:
    """What the last minute means: utilisation's verdict, and the rule that explains what is seen, if there is one."""
    from toolkit.doctor.diagnosis import diagnose_inquiry
    from toolkit.doctor.inquiry import Inquiry
    from toolkit.probe.watch import summarise
    from troubleshoot.facts import NA

    last = samples[-1].time_s
    summary = summarise([one for one in samples if one.time_s >= last - _JUDGED_OVER_S])
    verdict = summary.verdict
    told: dict[str, Any] = {"verdict": "unknown", "reason": verdict.reason}
    if not isinstance(verdict, NA):
        told["verdict"] = verdict.value
    facts = {name: value for name, value in summary.as_facts().items() if not isinstance(value, NA)}
    found = diagnose_inquiry(matcher, Inquiry(measured=facts)).diagnosis
    if found.known:
        finding = found.findings[0]
        rule = finding.rule
        told["rule"] = {
            "id": rule.id,
            "title": rule.title,
            "title_zh": rule.title_zh,
            "probability": finding.probability,
            "cause": rule.cause,
            "evidence": [seen.to_json() for seen in finding.evidence_for],
            "fix": [rule.fixes[0].title, *rule.fixes[0].steps],
        }
    return told


def _plain(taken: Sample) -> dict[str, Any]:
    from dataclasses import fields

    from troubleshoot.facts import NA

    values = {field.name: getattr(taken, field.name) for field in fields(taken)}
    return {name: {"na": value.reason} if isinstance(value, NA) else value for name, value in values.items()}
