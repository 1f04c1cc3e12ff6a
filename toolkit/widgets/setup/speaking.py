"""Task of the worker: the first sentence, in pieces as they are made, and the proof of how it was made."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from toolkit.errors import GpuUnavailable, ToolkitFault, UsageError
from toolkit.widgets.jobs import Work
from troubleshoot.facts import NA

if TYPE_CHECKING:
    from toolkit.probe.gpu_sample import Reader, Sample
    from toolkit.synthesis.speaker import Speech

__all__ = ["CardWatch", "card_proof", "speak", "weight_bytes"]

_BEAT_S = 0.05


def speak(
    work: Work,
    text: str,
    load: Mapping[str, Any],
    speaker: str | None = None,
    language: str = "auto",
    instruct: str | None = None,
    reference: str = "",
    reference_text: str = "",
    gpu_index: int | None = None,
) -> dict[str, Any]:
    """Load a model, once, and speak. Pieces come as partial results ``audio``: float32 at 24 kHz.

    Args:
        load: arguments of :func:`toolkit.load`.
        reference, reference_text: a recording and its words, for a base model.
        gpu_index: the card to watch, None where there is none.

    Returns the report of the speech, ``load_s``, ``weights`` (see :func:`weight_bytes`) and ``card`` (see
    :func:`card_proof`; None without a card).
    """
    began = time.perf_counter()
    work.progress(None, "setup.sentence.loading", name=load["model"])
    speech = _loaded(work, load)
    load_s = time.perf_counter() - began
    voice = None
    if speech.kind == "base":
        if not reference.strip():
            raise UsageError("this model speaks with the voice of a recording: give a WAV file of a few seconds")
        words = reference_text.strip() or None
        voice = speech.make_voice("first", reference.strip(), ref_text=words, x_vector_only=words is None)
    work.progress(None, "setup.sentence.speaking", seconds="0.0")
    with CardWatch(gpu_index) as watched:
        stream = speech.stream(
            text,
            speaker=speaker if speech.kind == "custom_voice" else None,
            voice=voice,
            language=language,
            instruct=instruct or None,
        )
        try:
            for samples, timing in stream:
                work.partial("audio", samples)
                work.progress(None, "setup.sentence.speaking", seconds=f"{timing.audio_s:.1f}")
        finally:
            stream.close()
    if stream.report is None:
        raise ToolkitFault("the stream ended without a report")
    weights = {"talker": weight_bytes(speech.model.talker), "codec": weight_bytes(speech.model.decoder)}
    return {
        **stream.report.to_json(),
        "load_s": round(load_s, 2),
        "weights": weights,
        "path": str(speech.path),
        "card": None if gpu_index is None else watched.proof(),
    }


def weight_bytes(module: Any) -> dict[str, int]:
    """Bytes of a module's weights by dtype, as they lie in memory."""
    counts: dict[str, int] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            name = str(tensor.dtype).removeprefix("torch.")
            counts[name] = counts.get(name, 0) + tensor.numel() * tensor.element_size()
    return counts


class CardWatch:
    """Samples a card beside the speech, 20 times a second; without one it does nothing.

    ``open_reader`` is :func:`toolkit.probe.gpu_sample.open_reader` unless given.
    """

    def __init__(self, gpu_index: int | None, open_reader: Callable[[int], Reader] | None = None) -> None:
        self.samples: list[Sample] = []
        self.problem = ""
        self._index = gpu_index
        self._open = open_reader
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> CardWatch:
        if self._index is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._index is not None:
            self._thread.join()

    def proof(self) -> dict[str, Any]:
        """See :func:`card_proof`; with ``problem`` where the card could not be watched."""
        return {**card_proof(self.samples), "problem": self.problem}

    def _run(self) -> None:
        from toolkit.probe.gpu_sample import open_reader

        try:
            reader = (self._open or open_reader)(self._index or 0)
        except (GpuUnavailable, UsageError) as error:
            self.problem = str(error)
            return
        try:
            while True:
                self.samples.append(reader.read())
                if self._stop.wait(_BEAT_S):
                    break
        finally:
            reader.close()


def card_proof(samples: Iterable[Sample]) -> dict[str, Any]:
    """What a card did while it was watched: mean utilisation in percent, the share of the working time between 60 and
    95 %, the verdict with its reason, and the most memory in bytes; None where no sample had it."""
    from toolkit.probe.watch import UtilizationVerdict, summarise

    seen = summarise(samples)
    verdict = seen.verdict if isinstance(seen.verdict, UtilizationVerdict) else None
    return {
        "sample_count": seen.sample_count,
        "mean_percent": _known(seen.utilization_mean_percent),
        "healthy_share": _known(seen.share_healthy),
        "memory_peak_bytes": _known(seen.memory_peak_bytes),
        "verdict": verdict.value if verdict else "",
        "reason": verdict.reason if verdict else "",
    }


def _known(value: Any) -> Any:
    return None if isinstance(value, NA) else value


def _loaded(work: Work, load: Mapping[str, Any]) -> Speech:
    from toolkit.synthesis.speaker import load as load_model

    key = tuple(sorted((name, str(value)) for name, value in load.items()))
    held = work.kept.get("speech")
    if held is not None and held[0] == key:
        speech: Speech = held[1]
        return speech
    work.kept.pop("speech", None)  # so that two models never lie in memory
    del held
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it would warn of is in the report's notes, and was told before
        speech = load_model(**load)
    work.kept["speech"] = (key, speech)
    return speech
