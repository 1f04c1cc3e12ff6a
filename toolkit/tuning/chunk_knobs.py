"""The knobs of the chunk tuner: their values, what a measurement of them gave, and which to try next."""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Literal, TypeAlias

from toolkit.errors import UsageError

__all__ = [
    "AIMS",
    "SCHEDULES",
    "Aim",
    "Measured",
    "Settings",
    "Space",
    "Tried",
    "objectives",
    "propose",
    "space_for",
]

Aim: TypeAlias = Literal["time", "first-audio", "both"]
AIMS: tuple[Aim, ...] = ("time", "first-audio", "both")

SCHEDULES = ("1,2,4,8,12", "1", "2,4,8,12", "4,8,12", "8,12", "12", "24")
"""Frames of a stream's pieces; the first is the toolkit's own."""

_STARTUP = 10


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One set of values. Frames are of 80 ms; ``chunk_frames`` is a schedule such as "1,2,4,8,12"."""

    audio_chunk_size: int = 300
    max_text_length: int = 300
    batch: int = 1
    chunk_frames: str = SCHEDULES[0]
    text_table: str = "cpu"
    precision: str = "float32"

    @property
    def schedule(self) -> tuple[int, ...]:
        """``chunk_frames`` as numbers."""
        return tuple(int(word) for word in self.chunk_frames.split(","))


KNOBS = tuple(each.name for each in fields(Settings))


@dataclass(frozen=True)
class Measured:
    """What a measurement found. Without ``fault`` all runs passed.

    Attributes:
        s_per_s: seconds of work for a second of speech, median of the runs.
        start_s: sound that a player has to hold back from the call on so that the stream never halts.
        peak_bytes: most memory, of the card with CUDA itself, or of the process.
        fault: why it does not count, in a sentence.
        details: whatever else, as JSON values.
    """

    s_per_s: float | None = None
    start_s: float | None = None
    peak_bytes: int | None = None
    fault: str | None = None
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Tried:
    """A finished trial. ``values`` in the order of :func:`objectives`; None: it does not count, ``fault`` says why."""

    slot: int
    settings: Settings
    values: tuple[float, ...] | None
    fault: str | None = None
    forecast: bool = False
    measured: Measured | None = None


@dataclass(frozen=True)
class Space:
    """Values of each knob that are tried, and the settings that are compared whatever the search finds."""

    values: Mapping[str, tuple[int | str, ...]]
    first: tuple[Settings, ...] = ()

    def __post_init__(self) -> None:
        if tuple(self.values) != KNOBS or not all(self.values.values()):
            raise UsageError(f"a space names {', '.join(KNOBS)} with at least one value each, not {dict(self.values)}")

    @property
    def size(self) -> int:
        """How many sets of values there are."""
        count = 1
        for values in self.values.values():
            count *= len(values)
        return count

    def to_json(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "values": {name: list(values) for name, values in self.values.items()},
            "first": [asdict(settings) for settings in self.first],
        }


def objectives(aim: Aim) -> tuple[str, ...]:
    """Names of what is made small; fields of :class:`Measured`."""
    return {
        "time": ("s_per_s", "peak_bytes"),
        "first-audio": ("start_s", "peak_bytes"),
        "both": ("s_per_s", "start_s", "peak_bytes"),
    }[aim]


def space_for(aim: Aim, *, card: bool, longest: int, precisions: Sequence[str]) -> Space:
    """The knobs that bear on an aim; the others stay at one value.

    Args:
        aim: a stream speaks one part at a time, so that batches do not bear on first audio, nor schedules on time.
        card: on a CPU the text table has one place.
        longest: most characters of a part that the model takes well; the tutorial's 80 is tried where it is less.
        precisions: those to compare.
    """
    lengths = tuple(sorted({max(20, longest // 4), max(20, longest // 2), min(80, longest), longest}, reverse=True))
    tables = ("card", "cpu") if card else ("cpu",)
    values: dict[str, tuple[int | str, ...]] = {
        "audio_chunk_size": (300, 256, 128, 64, 24, 8),
        "max_text_length": lengths,
        "batch": (1,) if aim == "first-audio" else (1, 2, 4, 8),
        "chunk_frames": SCHEDULES[:1] if aim == "time" else SCHEDULES,
        "text_table": tables,
        "precision": tuple(precisions),
    }
    own = Settings(max_text_length=longest, text_table=tables[0], precision=precisions[0])
    small, large = min(80, longest), longest
    tutorial = [
        Settings(audio_chunk_size=256, max_text_length=large, text_table=tables[0], precision=precisions[0]),
        Settings(audio_chunk_size=128, max_text_length=small, text_table=tables[0], precision=precisions[0]),
    ]
    return Space(values, (own, *tutorial))


def propose(space: Space, done: Sequence[Tried], slot: int, *, aim: Aim, seed: int) -> Settings:
    """What trial ``slot`` tries: a function of the trials before it alone, so that a sweep that was cut off goes the
    way of one that was not.

    The first ones are given by the space, then some are drawn, then the tree-structured Parzen estimator decides. What
    was tried before is not tried again; another set is drawn for it.

    Raises:
        UsageError: the space has no set left.
    """
    before = sorted((trial for trial in done if trial.slot < slot), key=lambda trial: trial.slot)
    tried = {trial.settings for trial in before}
    if len(tried) >= space.size:
        raise UsageError(f"all {space.size} sets of values were tried; ask for fewer trials")
    for settings in space.first:
        if settings not in tried:
            return settings
    asked = _asked(space, before, slot, aim, seed)
    source = random.Random(seed * 1_000_003 + slot)  # noqa: S311 - nothing secret
    while asked in tried:
        asked = Settings(**{name: source.choice(values) for name, values in space.values.items()})  # type: ignore[arg-type]
    return asked


def _asked(space: Space, before: Sequence[Tried], slot: int, aim: Aim, seed: int) -> Settings:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    known: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.CategoricalDistribution(values)
        for name, values in space.values.items()
        if len(values) > 1
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(seed=seed * 1_000_003 + slot, n_startup_trials=_STARTUP, multivariate=True)
        study = optuna.create_study(
            directions=[optuna.study.StudyDirection.MINIMIZE for _ in objectives(aim)], sampler=sampler
        )
    for trial in before:
        params = {name: getattr(trial.settings, name) for name in known}
        if trial.values is None:
            state = optuna.trial.TrialState.PRUNED
            study.add_trial(optuna.trial.create_trial(state=state, params=params, distributions=known))
        else:
            values = list(trial.values)
            study.add_trial(optuna.trial.create_trial(values=values, params=params, distributions=known))
    asked = study.ask(known).params
    return Settings(**{name: asked.get(name, values[0]) for name, values in space.values.items()})
