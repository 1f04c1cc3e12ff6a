"""The model that speaks trials: loaded once a precision, each batch the same rows with the same seeds."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from toolkit import __version__
from toolkit.errors import UsageError
from toolkit.synthesis.config import ModelConfig
from toolkit.synthesis.drawn_model import drawn_model
from toolkit.synthesis.hub import find_model
from toolkit.synthesis.limits import expected_frames
from toolkit.synthesis.loading import choose_device
from toolkit.synthesis.pocket_voice import POCKET_SPEAKER, is_pocket
from toolkit.synthesis.precision import choose_dtype
from toolkit.synthesis.result import SpeechResult, SpeechWarning
from toolkit.synthesis.speaker import Speech, load
from toolkit.tuning.book import Machine, Plan
from toolkit.tuning.takes import Stopped, Take

if TYPE_CHECKING:
    from toolkit.synthesis.demo_shapes import Size

__all__ = ["SEED_STEP", "ModelVoice", "kind_and_size", "open_voice", "usual_precision"]

SEED_STEP = 1_000_003
"""From the seed of a run to that of the next: what a batch gives its rows."""

_SMALL_BYTES = 2**29
_RANDOM: dict[str, tuple[Size, Literal["real", "tiny"]]] = {
    "random": ("1b7", "real"),
    "random-0b6": ("0b6", "real"),
    "random-tiny": ("1b7", "tiny"),
}


class ModelVoice:
    """Speaks the runs of a plan at one precision."""

    def __init__(self, plan: Plan, speech: Speech) -> None:
        self.speech = speech
        self._plan = plan
        self._speaker = _speaker(plan, speech)
        # Drawn weights never end a sentence: without a bound each run would be tried three times up to the cap.
        self._max_frames = expected_frames(plan.text) if plan.model in _RANDOM else None

    @property
    def machine(self) -> Machine:
        """What the trials run on."""
        import torch

        device = self.speech.model.device
        card = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
        card = str(card or platform.machine() or "cpu")
        return Machine(device=str(device), card=card, torch=str(torch.__version__), toolkit=__version__)

    def speak(
        self, instruction: str, first_run: int, runs: int, should_stop: Callable[[], bool] | None = None
    ) -> list[Take]:
        """Runs ``first_run`` and the following, side by side; one that fails does not take the others with it.

        Raises:
            Stopped: ``should_stop`` said so.
            OutOfMemory, UsageError: as speaking does.
        """
        try:
            return self._together(instruction, first_run, runs, should_stop)
        except (RuntimeError, UsageError) as error:
            told = _overflow(error)
            if told is None:
                raise
            if runs == 1:
                return [Take(self.seed_of(first_run), "failed", told)]
        takes: list[Take] = []
        for run in range(first_run, first_run + runs):
            takes += self.speak(instruction, run, 1, should_stop)
        return takes

    def seed_of(self, run: int) -> int:
        """Seed of a run, where it is spoken alone or rows of a batch draw by themselves (the fast path)."""
        return self._plan.first_seed + SEED_STEP * run

    def _together(
        self, instruction: str, first_run: int, runs: int, should_stop: Callable[[], bool] | None
    ) -> list[Take]:
        def look(_: object) -> None:
            if should_stop is not None and should_stop():
                raise Stopped

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SpeechWarning)
            results = self.speech.speak_many(
                [self._plan.text] * runs,
                speaker=self._speaker,
                language=self._plan.language,
                instruct=instruction or None,
                batch=runs,
                seed=self.seed_of(first_run),
                max_frames=self._max_frames,
                on_progress=look,
            )
        return [_take(result) for result in results]


def open_voice(plan: Plan, precision: str) -> ModelVoice:
    """Load the model of a plan.

    Raises:
        UsageError: a model that takes no instruction, or no such speaker or language.
        BadModelFolder, DownloadFailed, OutOfMemory, GpuUnavailable: see :func:`toolkit.load`.
    """
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", SpeechWarning)
        drawn = _RANDOM.get(plan.model)
        found = stack.enter_context(drawn_model(*drawn, seed=plan.first_seed)) if drawn else find_model(plan.model)
        # The bare word tells load() what the pocket voice can bear.
        speech = load(
            plan.model if is_pocket(plan.model) else found, device=plan.device, dtype=precision, path=plan.path
        )
    if speech.kind != "custom_voice":
        raise UsageError(
            f"{speech.model.name} is a {speech.kind} model, which cannot speak with and without an instruction; take a "
            "CustomVoice model, or pocket"
        )
    if speech.model.device.type == "cpu" and speech.model.plan.total_bytes < _SMALL_BYTES:
        import torch

        torch.set_num_threads(1)  # as `qwen-audio speak` does: a second thread costs small products more than it gives
    return ModelVoice(plan, speech)


def kind_and_size(model: str, speaker: str | None = None, language: str = "auto") -> tuple[str, str]:
    """Kind and size of a model as the linter takes them, from its configuration alone; checks the names on the way.

    Raises:
        BadModelFolder, DownloadFailed: no such model.
        UsageError: no such speaker or language, or a model that takes no instruction.
    """
    if model in _RANDOM:
        return "custom_voice", _RANDOM[model][0]
    config = ModelConfig.read(find_model(model).folder)
    if config.kind != "custom_voice":
        raise UsageError(
            f"{Path(model).name} is a {config.kind} model, which cannot speak with and without an instruction; take a "
            "CustomVoice model, or pocket"
        )
    config.language(language)
    if speaker is not None:
        config.speaker(speaker)
    return config.kind, "pocket" if is_pocket(model) else config.size


def usual_precision(device: str) -> str:
    """What ``speak`` takes on a device. Raises GpuUnavailable or UsageError for a device that is none."""
    import torch

    found = choose_device(device)
    capability = torch.cuda.get_device_capability(found) if found.type == "cuda" else None
    return choose_dtype("auto", capability, found.type).value


def _speaker(plan: Plan, speech: Speech) -> str | None:
    if plan.speaker is not None:
        return plan.speaker
    return POCKET_SPEAKER if POCKET_SPEAKER in speech.speakers else next(iter(speech.speakers), None)


def _take(result: SpeechResult) -> Take:
    seed = result.parts[0].seed if result.parts else result.seed
    if not np.isfinite(result.samples).all():
        return Take(seed, "failed", "the sound is not finite (NaN)")
    finish: Literal["eos", "length"] = "eos" if result.finish_reason == "eos" else "length"
    return Take(seed, finish, "", result.samples, result.sample_rate, partial(result.save, overwrite=True))


def _overflow(error: Exception) -> str | None:
    """What an overflow says of itself, None for other errors."""
    text = str(error)
    if isinstance(error, UsageError):
        return text if "overflowed" in text else None
    # What drawing from a distribution without finite numbers says.
    return "the probabilities are not finite (NaN)" if "nan" in text and "probability" in text else None
