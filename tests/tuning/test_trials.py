"""Trials: each spoken once, kept through kills, the same after going on as without a break; stopped at will."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tone_voice
from tone_voice import ToneVoice, plan_of

from toolkit.errors import BadOutput, UsageError
from toolkit.tuning.book import Book, Machine, load_book
from toolkit.tuning.trials import Step, journal_of, run_plan, speak_trials

PLAN = plan_of("20% faster", "6 dB softer", seeds=10, batch=2)


@pytest.fixture(scope="module")
def undisturbed() -> Book:
    return run_plan(PLAN, open_voice=ToneVoice)


def test_each_trial_is_spoken_once_and_told(tmp_path: Path) -> None:
    voices: list[ToneVoice] = []

    def opened(plan: object, precision: str) -> ToneVoice:
        voices.append(ToneVoice(PLAN, precision))
        return voices[-1]

    steps: list[Step] = []
    book = run_plan(PLAN, tmp_path / "a.yaml", on_step=steps.append, open_voice=opened)
    assert [step.done for step in steps] == list(range(1, 31))
    assert {step.total for step in steps} == {30}
    assert [len(voice.calls) for voice in voices] == [15]
    assert len({trial.key for trial in book.trials}) == 30
    assert book.finished
    assert load_book(tmp_path / "a.yaml") == book
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.yaml"]
    again = run_plan(PLAN, tmp_path / "a.yaml", on_step=steps.append, open_voice=opened)
    assert again == book
    assert len(voices) == 1
    assert all(step.resumed for step in steps[30:])


def test_killed_at_any_moment_it_ends_with_the_same_trials(tmp_path: Path, undisturbed: Book) -> None:
    path = tmp_path / "a.yaml"
    draw = random.Random(5)
    kills = 0
    for _ in range(5):
        child = subprocess.Popen([sys.executable, tone_voice.__file__, str(path)], env=_environment())
        before = _size(path)
        while _size(path) == before and child.poll() is None:
            time.sleep(0.005)
        time.sleep(draw.uniform(0.0, 0.1))
        child.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
        kills += child.wait(20) != 0
    assert kills == 5
    assert not path.exists()
    journal = journal_of(path).read_bytes()
    assert journal.count(b"\n") >= 6
    resumed: list[Step] = []
    assert run_plan(PLAN, path, open_voice=ToneVoice, on_step=resumed.append) == undisturbed
    assert 0 < sum(step.resumed for step in resumed) < 30
    assert load_book(path) == undisturbed


def _size(path: Path) -> int:
    journal = journal_of(path)
    return journal.stat().st_size if journal.exists() else 0


def _environment() -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}


def test_a_journal_cut_anywhere_is_gone_on_with(tmp_path: Path, undisturbed: Book) -> None:
    path = tmp_path / "a.yaml"
    steps = speak_trials(PLAN, path, open_voice=ToneVoice)
    for _ in range(5):
        next(steps)
    steps.close()
    whole = journal_of(path).read_bytes()
    draw = random.Random(1)
    for cut in (0, 1, 70, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(4))):
        path.unlink(missing_ok=True)
        journal_of(path).write_bytes(whole[:cut])
        assert run_plan(PLAN, path, open_voice=ToneVoice) == undisturbed, cut
    journal_of(path).write_bytes(whole[:-9] + b"garbage\xff\n")
    path.unlink()
    assert run_plan(PLAN, path, open_voice=ToneVoice) == undisturbed


def test_a_journal_damaged_in_its_middle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    steps = speak_trials(PLAN, path, open_voice=ToneVoice)
    for _ in range(5):
        next(steps)
    steps.close()
    whole = journal_of(path).read_bytes()
    journal_of(path).write_bytes(whole.replace(b'"run":1', b'"run":7', 1))
    with pytest.raises(UsageError, match=r"line 4 is damaged; delete the file"):
        run_plan(PLAN, path, open_voice=ToneVoice)
    assert run_plan(PLAN, path, open_voice=ToneVoice, overwrite=True).finished


def test_stopped_between_frames_nothing_of_the_batch_is_kept(tmp_path: Path, undisturbed: Book) -> None:
    path = tmp_path / "a.yaml"
    steps: list[Step] = []
    book = run_plan(PLAN, path, on_step=steps.append, should_stop=lambda: len(steps) >= 4, open_voice=ToneVoice)
    assert len(steps) == len(book.trials) == 4
    assert not book.finished
    assert not path.exists()
    assert run_plan(PLAN, path, open_voice=ToneVoice) == undisturbed


def test_another_plan_another_machine_and_another_writer_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    other = plan_of("whisper")
    steps = speak_trials(PLAN, path, open_voice=ToneVoice)
    next(steps)
    with pytest.raises(UsageError, match="another run writes this book"):
        run_plan(PLAN, path, open_voice=ToneVoice)
    steps.close()

    class Elsewhere(ToneVoice):
        machine = Machine(device="cuda:0", card="another card", torch="none", toolkit="test")

    with pytest.raises(UsageError, match=r"come from tone, torch none, toolkit test \(cpu\); go on there"):
        run_plan(PLAN, path, open_voice=Elsewhere)
    with pytest.raises(UsageError, match="another plan; choose another book, or give --overwrite"):
        run_plan(other, path, open_voice=ToneVoice)
    run_plan(PLAN, path, open_voice=ToneVoice)
    with pytest.raises(UsageError, match="holds another plan"):
        run_plan(other, path, open_voice=ToneVoice)
    assert run_plan(other, path, overwrite=True, open_voice=ToneVoice).plan == other
    with pytest.raises(BadOutput, match="there is no folder"):
        run_plan(other, tmp_path / "none" / "a.yaml", open_voice=ToneVoice)


def test_sound_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    plan = plan_of("whisper", seeds=3)
    book = run_plan(plan, tmp_path / "a.yaml", keep_audio=tmp_path / "wavs", open_voice=ToneVoice)
    assert {trial.audio for trial in book.trials} == {path.name for path in (tmp_path / "wavs").iterdir()}
    assert (tmp_path / "wavs" / "float32-v01-r02.wav").read_bytes() == b"RIFF"
