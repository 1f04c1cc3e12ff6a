"""Puts a sweep of the chunk tuner together: device, model, limit, forecast, trials in children, and what is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import OutOfMemory, UsageError
from toolkit.tuning.chunk_knobs import AIMS, Aim, Measured, Settings, Space, Tried, space_for
from toolkit.tuning.chunk_meter import RANDOM_MODELS, ChunkTask, describe_device, found_for, measure_apart
from toolkit.tuning.chunk_report import best_of
from toolkit.tuning.chunk_study import ChunkStudy

__all__ = ["CPU_TEXT", "EMULATED", "TEXT", "ChunkPlan", "ChunkTuner"]

TEXT = (
    "周末的市集从早上七点开始，卖花的、卖面包的、修旧收音机的都在。小林买了三支向日葵，又问摊主要一张地图。"
    "摊主笑着说，地图没有，不过从这里往东走二百米就是码头，十分钟，能赶上那班船。她道了谢，转身走进薄雾里。"
    "船上的人不多，海面很静。她把花放在窗边，打开本子，写下今天的第一句话：出门的时候，天还没有亮。"
    "写到第三行，汽笛响了，岸上的灯一盏一盏地退到后面去，像有人在远处慢慢合上一本书。"
)
"""What a card says: 170 characters, in parts of any length."""

CPU_TEXT = "周末的市集从早上七点开始，卖花的、卖面包的都在。小林买了三支向日葵，又问摊主要一张地图。"
"""What a CPU says, which takes seconds for it."""

EMULATED = "only memory is emulated: times are those of the card that is here, not of a smaller one"

_PRECISIONS = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
_LONGEST, _POCKET_LONGEST = 300, 80


@dataclass(frozen=True, kw_only=True)
class ChunkPlan:
    """Options of a sweep.

    Attributes:
        model: as :func:`toolkit.load` takes it, or one of "1b7", "0b6", "tiny": random weights of those shapes.
        device: "auto", "cpu", "cuda:1".
        precisions: those to compare; none: bfloat16 on a card, float32 and bfloat16 on a CPU.
        limit: most memory, "8GB" or a share; of a card a hard cap, of a CPU the resident memory of a trial's process.
        aim: what is made small beside memory.
        trials: how many sets of values.
        runs: calls in a row that each has to pass.
        text: what is said.
        deadline_s: after which a trial is ended.
    """

    model: str = "pocket"
    device: str = "auto"
    precisions: tuple[str, ...] = ()
    limit: str | None = None
    aim: Aim = "time"
    trials: int = 40
    runs: int = 5
    text: str | None = None
    speaker: str | None = None
    seed: int = 1
    deadline_s: float = 600.0

    def __post_init__(self) -> None:
        if self.aim not in AIMS:
            raise UsageError(f"aim must be one of {', '.join(AIMS)}, not {self.aim!r}")
        for name, value, most in (("trials", self.trials, 10_000), ("runs", self.runs, 1000)):
            if type(value) is not int or not 1 <= value <= most:
                raise UsageError(f"{name} must be a whole number from 1 to {most}, not {value!r}")
        if not 1 <= self.deadline_s <= 86_400:
            raise UsageError(f"deadline_s must be from 1 to 86400 seconds, not {self.deadline_s!r}")
        if self.text is not None and not self.text.strip():
            raise UsageError("the text is empty; leave it out for the standard text")
        named = tuple(_PRECISIONS.get(name, name) for name in self.precisions)
        wrong = [name for name in named if name not in _PRECISIONS.values()]
        if wrong or len(set(named)) != len(named):
            raise UsageError(f"precision takes bf16, fp16, fp32 between commas, each once, not {','.join(named)!r}")
        object.__setattr__(self, "precisions", named)


class ChunkTuner:
    """A sweep on a device that was looked at.

    Raises:
        GpuUnavailable, UsageError, BadModelFolder: before anything is measured.
    """

    def __init__(self, plan: ChunkPlan) -> None:
        from toolkit.synthesis.memory import parse_limit

        self.plan = plan
        self.device: dict[str, Any] = describe_device(plan.device)
        self.card = str(self.device["device"]).startswith("cuda")
        self.limit_bytes = parse_limit(plan.limit, self.device["total_bytes"])
        if self.limit_bytes is not None and self.limit_bytes > self.device["total_bytes"]:
            told = f"{self.limit_bytes / 1e9:.1f} GB of {self.device['total_bytes'] / 1e9:.1f} GB"
            raise UsageError(f"the limit is more than there is: {told}; give less, or leave it out")
        with found_for(plan.model) as found:
            self.model_name = found.name
        own = ("bfloat16",) if self.card else ("float32", "bfloat16")
        self.space: Space = space_for(
            plan.aim,
            card=self.card,
            longest=_POCKET_LONGEST if plan.model.lower() == "pocket" else _LONGEST,
            precisions=plan.precisions or own,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be known about the figures, a sentence each."""
        told = []
        if self.plan.limit is not None and self.card:
            told.append(EMULATED)
        if not self.card:
            told.append(
                "on a CPU memory is that of the whole process, Python and PyTorch with it, and is not held down"
            )
            if self.plan.model in RANDOM_MODELS:
                told.append("random weights: times count, the sound does not")
        return tuple(told)

    def forecast(self, settings: Settings) -> str | None:
        """Why the settings cannot fit; None when they may. Of a CPU the model alone is counted, not Python."""
        from toolkit.synthesis.forecasting import forecast_speech
        from toolkit.synthesis.loading import LoadOptions
        from toolkit.synthesis.memory import check_fits

        options = LoadOptions(
            dtype=settings.precision,
            text_embedding_on_cpu=settings.text_table == "cpu",
            audio_chunk_size=settings.audio_chunk_size,
            max_text_length=settings.max_text_length,
        )
        capability = self.device["capability"]
        with found_for(self.plan.model) as found:
            plan = forecast_speech(
                found,
                options,
                device="cuda" if self.card else "cpu",
                capability=None if capability is None else (capability[0], capability[1]),
                rows=settings.batch,
            )
        try:
            check_fits(plan, self.limit_bytes or (self.device["total_bytes"] if self.card else None))
        except OutOfMemory as error:
            return str(error)
        return None

    def run(
        self,
        study: Path,
        on_trial: Callable[[Tried], None] = lambda _: None,
        on_begin: Callable[[Settings], None] = lambda _: None,
    ) -> tuple[Tried, ...]:
        """All trials, those of the file first; see :class:`toolkit.tuning.chunk_study.ChunkStudy`."""
        plan = self.plan
        text = plan.text or (TEXT if self.card else CPU_TEXT)
        task = ChunkTask(
            model=plan.model,
            device=str(self.device["device"]),
            limit_bytes=self.limit_bytes,
            text=text,
            runs=plan.runs,
            aim=plan.aim,
            speaker=plan.speaker,
            seed=plan.seed,
        )

        def measure(settings: Settings) -> Measured:
            on_begin(settings)
            return measure_apart(task, settings, plan.deadline_s)

        about = {
            "model": plan.model,
            "device": self.device["name"],
            "limit_bytes": self.limit_bytes,
            "text": text,
            "runs": plan.runs,
            "speaker": plan.speaker,
        }
        sweep = ChunkStudy(study, self.space, plan.aim, about, plan.seed)
        return sweep.run(min(plan.trials, self.space.size), measure, self.forecast, on_trial)

    def origin(self, trials: tuple[Tried, ...]) -> str:
        """Where the best settings come from, in a sentence for config.yaml."""
        best = best_of(trials, self.plan.aim)
        if best is None or best.measured is None:
            faults = {trial.fault for trial in trials if trial.fault}
            raise OutOfMemory(f"none of {len(trials)} trials passed; the first said: {next(iter(sorted(faults)), '?')}")
        found = best.measured
        peak = f"{(found.peak_bytes or 0) / 1e9:.2f} GB"
        speed = f"{found.s_per_s:.3f} s for a second of speech" if found.s_per_s is not None else ""
        start = f", start without a halt after {found.start_s:.3f} s" if found.start_s is not None else ""
        limit = f" of {self.limit_bytes / 1e9:.1f} GB" if self.limit_bytes else ""
        return (
            f"trial {best.slot} of {len(trials)} on {self.device['name']}, {self.plan.runs} runs in a row, aim "
            f"{self.plan.aim}: {speed}{start}, peak {peak}{limit}"
        )
