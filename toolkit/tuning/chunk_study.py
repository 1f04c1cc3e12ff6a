"""A sweep of the chunk tuner in a file: each trial once, also when the process is killed at any moment and resumed."""

from __future__ import annotations

import json
import os
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import UsageError
from toolkit.tuning.chunk_knobs import Aim, Measured, Settings, Space, Tried, objectives, propose

if TYPE_CHECKING:
    import optuna

__all__ = ["ChunkStudy", "Forecast", "Measure"]

Measure = Callable[[Settings], Measured]
"""Measures a set of values; a fault is part of the result and not raised."""

Forecast = Callable[[Settings], str | None]
"""Why a set of values cannot fit, in a sentence; None when it may."""

_NAME = "tune-chunks"
_HEARTBEAT_S = 10


class ChunkStudy:
    """The trials of one sweep in an SQLite file, which one process at a time goes on with.

    A trial is kept as soon as it is over. What a killed process had begun is marked as failed, and its number is tried
    again with the same values. The values of a trial depend on the trials before it alone.

    Args:
        path: the file; made, whole or not at all, when it is not there.
        space: values of the knobs.
        aim: what is made small.
        about: what the results depend on, as JSON values; a file of another sweep is refused.
        seed: of the values that are drawn.
    """

    def __init__(self, path: Path, space: Space, aim: Aim, about: Mapping[str, object], seed: int = 1) -> None:
        self.path, self.space, self.aim, self.seed = path, space, aim, seed
        self._about = {**about, "aim": aim, "seed": seed, "space": space.to_json()}

    def run(
        self,
        trials: int,
        measure: Measure,
        forecast: Forecast = lambda _: None,
        on_trial: Callable[[Tried], None] = lambda _: None,
    ) -> tuple[Tried, ...]:
        """Go on until there are so many trials; at once when there are.

        Raises:
            UsageError: the file is another's, another process works with it, or there are fewer sets than trials.
        """
        if trials < 1 or trials > self.space.size:
            raise UsageError(f"trials must be from 1 to {self.space.size}, the number of sets of values, not {trials}")
        with self._locked(), self._opened() as study:
            self._bury(study)
            for slot in range(trials):
                done = self._done(study)
                if slot in done:
                    continue
                self._one(study, slot, [*done.values()], measure, forecast)
                on_trial(self._done(study)[slot])
            done = self._done(study)
            return tuple(done[slot] for slot in range(trials))

    def _one(self, study: optuna.Study, slot: int, done: list[Tried], measure: Measure, forecast: Forecast) -> None:
        import optuna

        waiting = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,))
        if not any(trial.user_attrs.get("slot") == slot for trial in waiting):
            settings = propose(self.space, done, slot, aim=self.aim, seed=self.seed)
            study.enqueue_trial(asdict(settings), user_attrs={"slot": slot})

        def objective(trial: optuna.Trial) -> tuple[float, ...]:
            picked = {name: trial.suggest_categorical(name, list(own)) for name, own in self._choices().items()}
            settings = Settings(**picked)  # type: ignore[arg-type]
            told = forecast(settings)
            if told is not None:
                trial.set_user_attr("fault", told)
                trial.set_user_attr("forecast", True)
                raise optuna.TrialPruned(told)
            found = measure(settings)
            trial.set_user_attr("measured", asdict(found))
            values = [getattr(found, name) for name in objectives(self.aim)]
            if found.fault is not None or None in values:
                trial.set_user_attr("fault", found.fault or "a figure is missing")
                raise optuna.TrialPruned(found.fault)
            return tuple(float(value) for value in values)

        study.optimize(objective, n_trials=1)

    def _choices(self) -> dict[str, tuple[int | str, ...]]:
        """Values of the space and of the settings that are compared whatever the search finds."""
        return {
            name: tuple(dict.fromkeys([*values, *(getattr(each, name) for each in self.space.first)]))
            for name, values in self.space.values.items()
        }

    def _done(self, study: optuna.Study) -> dict[int, Tried]:
        import optuna

        over = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
        found: dict[int, Tried] = {}
        for trial in study.get_trials(deepcopy=False, states=over):
            attributes = trial.user_attrs
            measured = attributes.get("measured")
            found[attributes["slot"]] = Tried(
                slot=attributes["slot"],
                settings=Settings(**trial.params),
                values=tuple(trial.values) if trial.values is not None else None,
                fault=attributes.get("fault"),
                forecast=bool(attributes.get("forecast")),
                measured=None if measured is None else Measured(**measured),
            )
        return found

    def _bury(self, study: optuna.Study) -> None:
        """Trials that a killed process left running; the lock says that it is gone."""
        import optuna

        for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    @contextmanager
    def _opened(self) -> Iterator[optuna.Study]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        about = json.dumps(self._about, sort_keys=True, ensure_ascii=False)
        if not self.path.exists():
            beside = self.path.with_name(f".{self.path.name}.part")
            beside.unlink(missing_ok=True)
            with closing(_Storage(beside)) as storage:
                directions = [optuna.study.StudyDirection.MINIMIZE for _ in objectives(self.aim)]
                study = optuna.create_study(storage=storage.opened, study_name=_NAME, directions=directions)
                study.set_user_attr("about", about)
            os.replace(beside, self.path)
        _check_file(self.path)
        with closing(_Storage(self.path)) as storage:
            study = optuna.load_study(study_name=_NAME, storage=storage.opened)
            kept = study.user_attrs.get("about")
            if kept != about:
                told = _difference(kept, self._about)
                raise UsageError(f"{self.path}: {told}; name another file, or give the same options")
            yield study

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process a file. The system lets go of the lock when its holder dies, however it dies."""
        if not self.path.parent.is_dir():
            raise UsageError(f"{self.path}: there is no folder {self.path.parent}")
        place = self.path.with_name(f".{self.path.name}.lock")
        try:
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise UsageError(f"{place}: cannot be written: {error.strerror or error}") from None
        try:
            try:
                _lock(descriptor)
            except OSError:
                raise UsageError(f"{self.path}: another sweep works with it; wait for it, or end it") from None
            yield
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _check_file(path: Path) -> None:
    """That it is one of ours, before the library writes its tables into it."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            names = [row[0] for row in connection.execute("SELECT study_name FROM studies")]
    except (sqlite3.Error, OSError) as error:
        raise UsageError(f"{path}: holds no sweep of tune chunks ({error}); name another file") from None
    if names != [_NAME]:
        raise UsageError(f"{path}: holds no sweep of tune chunks, but {names or 'nothing'}; name another file")


class _Storage:
    """The library's storage, which leaves one file behind when it is closed."""

    def __init__(self, path: Path) -> None:
        import optuna

        if not path.exists():
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.opened = optuna.storages.RDBStorage(
                f"sqlite:///{path}",
                engine_kwargs={"connect_args": {"timeout": 60, "factory": _Connection}},
                heartbeat_interval=_HEARTBEAT_S,
            )

    def close(self) -> None:
        self.opened.remove_session()
        self.opened.engine.dispose()


class _Connection(sqlite3.Connection):
    """Waits for the disk at checkpoints only: seven hundred commits of a sweep are too many to wait for. A killed
    process loses nothing by that, a machine without power the last trials."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.execute("PRAGMA synchronous=NORMAL")


def _difference(kept: object, wanted: Mapping[str, object]) -> str:
    if not isinstance(kept, str):
        return "it holds a sweep of something else"
    before = json.loads(kept)
    name = next((name for name in wanted if before.get(name) != json.loads(json.dumps(wanted[name]))), "options")
    told = before.get(name)
    return f"its sweep was made with {name} {told!r}"[:200] + f", not {wanted.get(name)!r}"[:200]
