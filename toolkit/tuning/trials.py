"""Speaks and measures the trials of a plan, batch by batch: kept in a journal, resumed, and stopped at will."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from toolkit.errors import BadOutput, UsageError
from toolkit.synthesis.whole_file import check_output
from toolkit.tuning.answers import answers_of
from toolkit.tuning.book import Book, Line, Machine, Plan, Trial, load_book, save_book
from toolkit.tuning.journal import Journal
from toolkit.tuning.takes import Stopped, Take
from toolkit.tuning.trial_measures import measure_clip

__all__ = ["OpenVoice", "Step", "TrialVoice", "journal_of", "run_plan", "speak_trials", "take_to_trial", "with_results"]


class TrialVoice(Protocol):
    """What speaks trials; see :class:`toolkit.tuning.trial_voice.ModelVoice`."""

    @property
    def machine(self) -> Machine:
        """What the trials run on."""

    def speak(
        self, instruction: str, first_run: int, runs: int, should_stop: Callable[[], bool] | None = None
    ) -> list[Take]:
        """Some runs, side by side."""


OpenVoice = Callable[[Plan, str], TrialVoice]


@dataclass(frozen=True)
class Step:
    """A finished trial: the ``done``-th of ``total``; ``left_s`` is a guess, None while there is nothing to guess from.

    ``resumed`` trials were there from an earlier run.
    """

    done: int
    total: int
    trial: Trial
    left_s: float | None = None
    resumed: bool = False


def speak_trials(
    plan: Plan,
    path: str | Path | None = None,
    *,
    keep_audio: str | Path | None = None,
    overwrite: bool = False,
    should_stop: Callable[[], bool] | None = None,
    open_voice: OpenVoice | None = None,
) -> Generator[Step, None, Book]:
    """Speak each trial of a plan once; a generator of a :class:`Step` a trial, which returns the book.

    Trials are written to a journal beside ``path`` as soon as they are measured, and the book at the end. With a book
    or a journal of the same plan there, only what is missing is spoken, and the trials are the same as if nothing had
    come between. Closing the generator stops it between batches, ``should_stop`` also between frames; the book that it
    returns then is not ``finished``.

    Args:
        path: the book; None keeps everything in memory.
        keep_audio: folder for a WAV file a trial, named by precision, variant and run; made when it is missing.
        overwrite: start afresh where ``path`` holds another plan.
        open_voice: what loads the model of a plan at a precision.

    Raises:
        UsageError: ``path`` holds another plan, was begun on another machine, or is being written.
        BadOutput, DiskFull: the book or the sound cannot be written.
        OutOfMemory, BadModelFolder, ...: as loading and speaking do.
    """
    book = _begun(plan, None if path is None else Path(path), overwrite)
    if book.finished:
        for number, trial in enumerate(book.trials, 1):
            yield Step(number, plan.total, trial, resumed=True)
        return book
    folder = None if keep_audio is None else _made(Path(keep_audio))
    with Journal(None if path is None else journal_of(Path(path)), plan, afresh=overwrite) as journal:
        yield from _Runner(plan, journal, folder, open_voice or _load, should_stop).steps()
        ordered = tuple(journal.trials[key] for key in _keys(plan) if key in journal.trials)
        finished = len(ordered) == plan.total
        book = with_results(Book(plan=plan, machine=journal.machine, trials=ordered, finished=finished))
        if path is not None and finished:
            save_book(book, path)
            journal.remove()
    return book


def run_plan(
    plan: Plan,
    path: str | Path | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
    keep_audio: str | Path | None = None,
    overwrite: bool = False,
    should_stop: Callable[[], bool] | None = None,
    open_voice: OpenVoice | None = None,
) -> Book:
    """:func:`speak_trials` to its end; ``on_step`` is called after each trial."""
    steps = speak_trials(
        plan, path, keep_audio=keep_audio, overwrite=overwrite, should_stop=should_stop, open_voice=open_voice
    )
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            book: Book = end.value
            return book
        if on_step is not None:
            on_step(step)


def take_to_trial(plan: Plan, take: Take, precision: str, variant: int, run: int, audio: str | None = None) -> Trial:
    """A take, measured."""
    samples = take.samples
    return Trial(
        variant=variant,
        precision=precision,  # type: ignore[arg-type]
        run=run,
        seed=take.seed,
        finish=take.finish,
        failure=take.failure,
        seconds=0.0 if samples is None else round(samples.size / take.sample_rate_hz, 4),
        values={} if samples is None else measure_clip(samples, take.sample_rate_hz, plan.text),
        audio=audio,
    )


def with_results(book: Book) -> Book:
    """The book with its results in words, made from its trials."""
    if book.plan.kind != "emotion":
        return book
    lines = tuple(
        Line(
            place=answer.place,
            variant=answer.variant.number,
            precision=answer.precision,  # type: ignore[arg-type]
            told=answer.told(),
            checks=tuple(check.told() for check in answer.checks),
        )
        for answer in answers_of(book)
    )
    return book.model_copy(update={"results": lines})


def journal_of(path: Path) -> Path:
    """Where the trials of an unfinished book lie."""
    return path.with_name(path.name + ".journal")


class _Runner:
    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        folder: Path | None,
        open_voice: OpenVoice,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self._plan = plan
        self._journal = journal
        self._folder = folder
        self._open = open_voice
        self._should_stop = should_stop
        self._done = 0
        self._spoken = 0
        self._began = 0.0

    def steps(self) -> Iterator[Step]:
        """A step a trial; ends early when asked to stop."""
        self._began = time.perf_counter()
        voice: TrialVoice | None = None
        for precision in self._plan.precisions:
            voice = None  # the memory of one model at a time
            for number, first, runs in self._batches():
                keys = [(precision, number, run) for run in range(first, first + runs)]
                there = {key for key in keys if key in self._journal.trials}
                if len(there) < runs:
                    if self._should_stop is not None and self._should_stop():
                        return
                    if voice is None:
                        voice = self._open(self._plan, precision)
                        self._journal.begin(voice.machine)
                    try:
                        self._speak(voice, precision, number, first, runs)
                    except Stopped:
                        return
                for key in keys:
                    self._done += 1
                    yield Step(self._done, self._plan.total, self._journal.trials[key], self._left_s(), key in there)

    def _batches(self) -> Iterator[tuple[int, int, int]]:
        plan = self._plan
        for variant in plan.variants:
            for first in range(0, plan.seeds, plan.batch):
                yield variant.number, first, min(plan.batch, plan.seeds - first)

    def _speak(self, voice: TrialVoice, precision: str, number: int, first: int, runs: int) -> None:
        """A whole batch, also where some of it is there: who sits beside whom changes the last bits."""
        takes = voice.speak(self._plan.variants[number].instruction, first, runs, self._should_stop)
        self._journal.append([self._trial(take, precision, number, run) for run, take in enumerate(takes, first)])
        self._spoken += runs

    def _trial(self, take: Take, precision: str, number: int, run: int) -> Trial:
        audio = None
        if self._folder is not None and take.save is not None:
            audio = f"{precision}-v{number:02}-r{run:02}.wav"
            take.save(self._folder / audio)
        return take_to_trial(self._plan, take, precision, number, run, audio)

    def _left_s(self) -> float | None:
        if not self._spoken:
            return None
        return (time.perf_counter() - self._began) / self._spoken * (self._plan.total - self._done)


def _begun(plan: Plan, path: Path | None, overwrite: bool) -> Book:
    """The book that is there, when it is of this plan, else a new one."""
    if path is None:
        return Book(plan=plan)
    if path.exists():
        try:
            there = load_book(path)
        except UsageError:
            if not overwrite:
                raise
            return Book(plan=plan)
        if there.plan == plan:
            return there
        if not overwrite:
            raise UsageError(f"{path} holds another plan; choose another --book, or give --overwrite")
        return Book(plan=plan)
    check_output(path)
    return Book(plan=plan)


def _keys(plan: Plan) -> Iterator[tuple[str, int, int]]:
    for precision in plan.precisions:
        for variant in plan.variants:
            for run in range(plan.seeds):
                yield precision, variant.number, run


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadOutput(f"the folder {folder} cannot be made: {error.strerror or error}") from None
    return folder


def _load(plan: Plan, precision: str) -> TrialVoice:
    from toolkit.tuning.trial_voice import open_voice

    return open_voice(plan, precision)
