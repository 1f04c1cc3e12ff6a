"""What the emotion notebook does beside the kernel: look at a model, speak, draw and compare, test, export."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from toolkit.widgets.emotion.limits import CHUNK_SIZES, SHORTEST_S
from toolkit.widgets.jobs import Work

if TYPE_CHECKING:
    from toolkit.synthesis.speaker import Speech

__all__ = ["draw", "export", "judge", "look", "speak", "try_effect"]

_SMALL_BYTES = 2**29
_PRECISIONS = ("bfloat16", "float16", "float32")


def look(work: Work, model: str) -> dict[str, Any]:
    """Kind, size, speakers, languages and usual precision of a model, and its memory at each size of a chunk.

    Nothing is loaded and nothing is downloaded. ``forecast`` holds, for each precision, a list of lines (label, bytes)
    for each of :data:`CHUNK_SIZES`. Raises BadModelFolder for a model that is not on this machine.
    """
    import torch

    from toolkit.synthesis.config import ModelConfig
    from toolkit.synthesis.forecasting import forecast_speech
    from toolkit.synthesis.hub import find_model
    from toolkit.synthesis.loading import LoadOptions, choose_device
    from toolkit.synthesis.pocket_voice import POCKET_TEXT_LENGTH, is_pocket
    from toolkit.synthesis.precision import choose_dtype, choose_text_table_device
    from toolkit.synthesis.splitting import DEFAULT_MAX_TEXT_LENGTH

    work.progress(None, "emotion.at.look")
    found = find_model(model, download=False)
    config = ModelConfig.read(found.folder)
    device = choose_device("auto")
    on_card = device.type == "cuda"
    capability = torch.cuda.get_device_capability(device) if on_card else None
    total = torch.cuda.get_device_properties(device).total_memory if on_card else psutil.virtual_memory().total
    table = choose_text_table_device("auto", device.type, total if on_card else None).value == "cpu"
    forecast: dict[str, list[list[list[Any]]]] = {}
    for precision in _PRECISIONS:
        rows = []
        for chunk in CHUNK_SIZES:
            work.check()
            options = LoadOptions(
                dtype=precision,
                text_embedding_on_cpu=on_card and table,
                audio_chunk_size=chunk,
                max_text_length=POCKET_TEXT_LENGTH if is_pocket(model) else DEFAULT_MAX_TEXT_LENGTH,
            )
            plan = forecast_speech(found, options, device=device.type, capability=capability)
            rows.append([[line.label, line.byte_count] for line in plan.lines])
        forecast[precision] = rows
    return {
        "model": model,
        "kind": config.kind,
        "size": "pocket" if is_pocket(model) else config.size,
        "speakers": list(config.speakers),
        "languages": list(config.languages),
        "device": torch.cuda.get_device_name(device) if on_card else "CPU",
        "precision": choose_dtype("auto", capability, device.type).value,
        "total_bytes": int(total),
        "forecast": forecast,
    }


def speak(
    work: Work,
    model: str,
    text: str,
    language: str,
    speaker: str,
    takes: Sequence[Mapping[str, Any]],
    chunk_size: int,
    first_frames: int,
) -> list[dict[str, Any]]:
    """Speak some takes of one text one after the other, each handed over piece by piece while it is made.

    A take has ``instruction``, ``precision`` and ``seed``. Parts: ``begin`` (number, rate), ``piece`` (number, samples
    float32), and ``end`` (number and what is told of it). The result is a list of what is told, with all samples.
    """
    made = []
    for number, take in enumerate(takes):
        work.progress(None, "emotion.at.load", model=model)
        speech = _voice(work, model, str(take["precision"]), chunk_size)
        rate, pieces = 24_000, []
        work.partial("begin", {"number": number, "rate": rate})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from toolkit.synthesis.limits import expected_frames

            expected = max(1, expected_frames(text))

            def look_up(progress: Any, number: int = number, expected: int = expected) -> None:
                share = min(0.98, progress.frames / expected)
                work.progress(
                    (number + share) / len(takes), "emotion.at.speak", number=number + 1, all=len(takes),
                    seconds=f"{progress.frames * 0.08:.1f}",
                )  # fmt: skip

            own = speech.kind == "custom_voice"
            stream = speech.stream(
                text, speaker=_speaker(speech, speaker) if own else None, language=language,
                instruct=str(take["instruction"]) or None, seed=int(take["seed"]),
                chunk_frames=_pieces(first_frames), on_progress=look_up,
            )  # fmt: skip
            try:
                for samples, _ in stream:
                    pieces.append(samples)
                    work.partial("piece", {"number": number, "samples": samples})
            finally:
                stream.close()
        report = stream.report
        told = {
            "number": number,
            "seconds": report.seconds if report else 0.0,
            "first_audio_s": report.first_audio_s if report else 0.0,
            "decode_s": report.timings_s["decode"] if report else 0.0,
            "frames": report.frames if report else 0,
            "x_real_time": report.x_real_time if report else 0.0,
            "peak_bytes": report.peak_bytes if report else None,
            "precision": speech.model.dtype.value,
            "finish": report.finish_reason if report else "length",
            "seed": int(take["seed"]),
        }
        work.partial("end", told)
        made.append({**told, "rate": rate, "samples": np.concatenate(pieces) if pieces else np.zeros(0, np.float32)})
    return made


def draw(work: Work, clips: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One picture of up to four clips on one scale, and their measures; the first is what the others are compared with.

    A clip has ``title``, ``text``, ``rate`` and ``samples``. ``rows`` holds, for each measure, its name, its unit, the
    value of each clip and, of all but the first, the difference in words. Clips too short to be measured are left out,
    and ``drawn`` counts which were not.
    """
    from toolkit.acoustics.comparison import Take, compare
    from toolkit.acoustics.difference_table import size_text, value_text
    from toolkit.acoustics.figures import View, draw_speech, picture_bytes

    drawn = [at for at, clip in enumerate(clips) if clip["samples"].size >= SHORTEST_S * clip["rate"]]
    takes: list[Take] = []
    views: list[View] = []
    for at in drawn:
        clip = clips[at]
        work.progress(len(takes) / (len(drawn) + 1), "emotion.at.measure", number=len(takes) + 1, all=len(drawn))
        take = Take.of(clip["samples"], clip["rate"], clip["text"])
        takes.append(take)
        pauses = [(pause.start_s, pause.stop_s) for pause in take.voice.pauses]
        views.append(View(clip["title"], take.samples, clip["rate"], take.voice.pitch, pauses))
    if not views:
        return {"png": b"", "rows": [], "drawn": []}
    png = picture_bytes(draw_speech(views))
    work.check()
    others = [compare(takes[0], take) for take in takes[1:]]
    values = [take.values() for take in takes]
    names = list(values[0]) + [
        one.name for one in (others[0].differences if others else ()) if one.name not in values[0]
    ]
    rows = []
    for name in names:
        differences = [size_text(other[name]) for other in others]
        own = [value_text(one.get(name, float("nan"))) for one in values]
        if any(cell != "-" for cell in own + differences):
            rows.append({"name": name, "values": own, "differences": differences})
    return {"png": png, "rows": rows, "drawn": drawn}


def try_effect(work: Work, plan: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Speak and measure the trials of a plan (its fields, precision "auto" allowed).

    Returns the prompt ``book`` as JSON and its ``report``, that of :func:`toolkit.tuning.report.to_json`.

    Trials lie in ``folder`` until all are there, so that a run that was cancelled or killed goes on where it was.
    """
    import hashlib
    import json

    from toolkit.synthesis.limits import expected_frames
    from toolkit.synthesis.text import clean_text
    from toolkit.tuning.book import Plan
    from toolkit.tuning.report import to_json
    from toolkit.tuning.trial_voice import usual_precision
    from toolkit.tuning.trials import run_plan

    work.progress(0.0, "emotion.at.load", model=plan["model"])
    fields = dict(plan)
    fields["text"] = clean_text(str(fields["text"]))
    fields["precisions"] = list(
        dict.fromkeys(usual_precision("auto") if one == "auto" else one for one in fields["precisions"])
    )
    whole = Plan.model_validate_json(json.dumps(fields))
    name = hashlib.sha256(whole.model_dump_json().encode()).hexdigest()[:16]
    Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(folder) / f"{name}.yaml"
    path.unlink(missing_ok=True)  # a finished one is spoken anew; of an unfinished one there is only the journal
    frames, done = 0, 0
    batch_frames = max(1, expected_frames(whole.text)) * min(whole.batch, whole.seeds)

    def tell() -> None:
        share = min(0.95, frames / batch_frames) * min(whole.batch, whole.seeds)
        work.progress((done + share) / whole.total, "emotion.at.trials", done=done, all=whole.total)

    def on_frame() -> bool:
        nonlocal frames
        frames += min(whole.batch, whole.seeds)
        if not work.cancelled:
            tell()
        return work.cancelled

    def on_step(step: Any) -> None:
        nonlocal done, frames
        done, frames = step.done, 0
        tell()

    # What was loaded for speaking makes room for the model that speaks the trials.
    work.kept.pop("voice", None)
    book = run_plan(whole, path, on_step=on_step, should_stop=on_frame)
    work.check()
    path.unlink(missing_ok=True)
    return {"book": book.model_dump_json(), "report": to_json(book)}


def judge(work: Work, book: str) -> dict[str, Any]:
    """The report of a prompt book that was loaded."""
    from toolkit.tuning.book import Book
    from toolkit.tuning.report import to_json

    work.progress(None, "emotion.at.judge")
    return to_json(Book.model_validate_json(book))


def export(work: Work, book: str, path: str) -> str:
    """Write a prompt book as CSV or Parquet, by the suffix, over what is there; returns the path."""
    from toolkit.tuning.book import Book
    from toolkit.tuning.frames import export_book

    work.progress(None, "emotion.at.export")
    return str(export_book(Book.model_validate_json(book), path, overwrite=True))


def _voice(work: Work, model: str, precision: str, chunk_size: int) -> Speech:
    """The model, kept for the next take and the next run; one at a time."""
    import torch

    from toolkit.synthesis.hub import find_model
    from toolkit.synthesis.pocket_voice import is_pocket
    from toolkit.synthesis.speaker import load

    key = (model, precision, chunk_size)
    kept = work.kept.get("voice")
    if kept is None or kept[0] != key:
        del kept  # so that one model's memory is free before the next is loaded
        work.kept.pop("voice", None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # The bare word tells load() what the pocket voice can bear.
            found = model if is_pocket(model) else find_model(model, download=False)
            speech = load(found, dtype=precision, audio_chunk_size=chunk_size)
        if speech.model.device.type == "cpu" and speech.model.plan.total_bytes < _SMALL_BYTES:
            torch.set_num_threads(1)  # a second thread costs small products more than it gives
        work.kept["voice"] = (key, speech)
    voice: Speech = work.kept["voice"][1]
    return voice


def _speaker(speech: Speech, name: str) -> str | None:
    from toolkit.synthesis.pocket_voice import POCKET_SPEAKER

    if name:
        return name
    return POCKET_SPEAKER if POCKET_SPEAKER in speech.speakers else next(iter(speech.speakers), None)


def _pieces(first_frames: int) -> tuple[int, ...]:
    from toolkit.synthesis.streaming import CHUNK_FRAMES

    return (first_frames, *(count for count in CHUNK_FRAMES if count > first_frames))
