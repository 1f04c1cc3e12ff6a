"""Sweeps of the chunk tuner: killed and resumed as if undisturbed, one process a file, and files of something else."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import optuna
import pytest
from sweep_child import PRECISIONS, forecast, measure, study_of

from toolkit.errors import UsageError
from toolkit.tuning.chunk_knobs import Measured, Settings, Tried, objectives, propose, space_for
from toolkit.tuning.chunk_study import ChunkStudy

TRIALS = 40
CHILD = Path(__file__).with_name("sweep_child.py")


def started(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(CHILD), str(path), str(TRIALS)], stdout=subprocess.PIPE, text=True)


def test_a_sweep_killed_five_times_ends_with_the_trials_of_an_undisturbed_one(tmp_path: Path) -> None:
    undisturbed = study_of(tmp_path / "whole.sqlite3").run(TRIALS, measure, forecast)
    path = tmp_path / "killed.sqlite3"
    source = random.Random(11)
    for number in range(5):
        with started(path) as process:
            assert process.stdout is not None
            for _ in range(source.randint(1, 6) if number else 2):
                process.stdout.readline()
            time.sleep(source.uniform(0.0, 0.12))  # somewhere inside of a later trial
            process.kill()
        assert process.returncode == -9
    with started(path) as process:
        process.communicate(timeout=60)
    assert process.returncode == 0
    resumed = study_of(path).run(TRIALS, not_again, not_again)
    assert resumed == undisturbed
    assert len({trial.settings for trial in resumed}) == TRIALS
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    kept = optuna.load_study(study_name="tune-chunks", storage=storage).get_trials()
    storage.engine.dispose()
    ended = [trial for trial in kept if trial.state.name in ("COMPLETE", "PRUNED")]
    assert sorted(trial.user_attrs["slot"] for trial in ended) == list(range(TRIALS))
    assert {trial.state.name for trial in kept} <= {"COMPLETE", "PRUNED", "FAIL"}
    calls = Counter(line.split(" ", 1)[1] for line in Path(f"{path}.calls").read_text().splitlines())
    assert len(calls) == sum(not trial.forecast for trial in resumed)
    assert sum(calls.values()) <= len(calls) + 5  # what a kill cut off is measured once more, nothing else is


def not_again(settings: Settings) -> Measured:
    raise AssertionError(f"measured again: {settings}")


def test_more_trials_go_on_where_fewer_ended(tmp_path: Path) -> None:
    path = tmp_path / "sweep.sqlite3"
    first = study_of(path).run(4, measure, forecast)
    assert study_of(path).run(6, measure, forecast)[:4] == first
    assert [trial.slot for trial in first] == [0, 1, 2, 3]
    assert first[0].settings == Settings(text_table="card", precision="bfloat16")
    assert (first[1].settings.audio_chunk_size, first[2].settings.audio_chunk_size) == (256, 128)
    assert first[2].settings.max_text_length == 80


def test_what_cannot_fit_is_not_measured_and_keeps_its_sentence(tmp_path: Path) -> None:
    def told(settings: Settings) -> str | None:
        return "needs 11 GB of 8 GB" if settings.audio_chunk_size == 256 else None

    def only_others(settings: Settings) -> Measured:
        assert settings.audio_chunk_size != 256
        return Measured(fault="the process ended by SIGKILL") if settings.max_text_length == 80 else measure(settings)

    found = study_of(tmp_path / "sweep.sqlite3").run(3, only_others, told)
    assert (found[1].fault, found[1].forecast, found[1].values) == ("needs 11 GB of 8 GB", True, None)
    assert (found[2].fault, found[2].forecast, found[2].values) == ("the process ended by SIGKILL", False, None)
    assert found[0].values == (found[0].measured.s_per_s, found[0].measured.start_s, found[0].measured.peak_bytes)


def test_two_processes_do_not_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sweep.sqlite3"

    def meanwhile(settings: Settings) -> Measured:
        with pytest.raises(UsageError, match="another sweep works with it"):
            study_of(path).run(2, measure)
        return measure(settings)

    assert len(study_of(path).run(1, meanwhile)) == 1


def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "sweep.sqlite3"
    study_of(path).run(1, measure)
    with pytest.raises(UsageError, match="made with model 'made up', not 'another'"):
        study_of(path, "another").run(1, measure)
    path.write_text("no database, but a text that is long enough " * 9)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="holds no sweep of tune chunks"):
        study_of(path).run(1, measure)
    assert path.read_bytes() == before
    other = tmp_path / "other.sqlite3"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    connection.close()
    with pytest.raises(UsageError, match="holds no sweep of tune chunks"):
        study_of(other).run(1, measure)
    with pytest.raises(UsageError, match="there is no folder"):
        study_of(tmp_path / "none" / "sweep.sqlite3").run(1, measure)
    with pytest.raises(UsageError, match="trials must be from 1"):
        study_of(tmp_path / "new.sqlite3").run(10**6, measure)
    assert not (tmp_path / "new.sqlite3").exists()


def test_a_proposal_depends_on_the_trials_before_it_alone() -> None:
    space = space_for("both", card=True, longest=300, precisions=PRECISIONS)
    done = []
    for slot in range(14):
        settings = propose(space, done, slot, aim="both", seed=5)
        found = measure(settings)
        values = None if found.fault else tuple(float(getattr(found, name)) for name in objectives("both"))
        done.append(Tried(slot, settings, values))
    shuffled = random.Random(2).sample(done, len(done))
    assert propose(space, shuffled, 12, aim="both", seed=5) == done[12].settings
    assert [propose(space, done, 13, aim="both", seed=seed) for seed in (5, 5)] == [done[13].settings] * 2
    assert len({tuple(asdict(trial.settings).values()) for trial in done}) == 14


def test_a_space_that_is_used_up_says_so() -> None:
    space = space_for("time", card=False, longest=40, precisions=("float32",))
    assert space.values["chunk_frames"] == ("1,2,4,8,12",)
    assert space.values["text_table"] == ("cpu",)
    assert max(space.values["max_text_length"]) == 40
    assert space_for("first-audio", card=False, longest=40, precisions=("float32",)).values["batch"] == (1,)
    everything = [
        Tried(number, Settings(audio_chunk_size=chunk, max_text_length=length, batch=batch), None)
        for number, (chunk, length, batch) in enumerate(
            (chunk, length, batch)
            for chunk in space.values["audio_chunk_size"]
            for length in space.values["max_text_length"]
            for batch in space.values["batch"]
        )
    ]
    assert len(everything) == space.size
    with pytest.raises(UsageError, match="sets of values were tried"):
        propose(space, everything, space.size, aim="time", seed=1)


def test_a_study_keeps_nothing_half_made(tmp_path: Path) -> None:
    path = tmp_path / "sweep.sqlite3"
    (tmp_path / ".sweep.sqlite3.part").write_text("left by a killed process")
    space = space_for("time", card=False, longest=80, precisions=("float32",))
    ChunkStudy(path, space, "time", {}).run(1, measure)
    assert sorted(file.name for file in tmp_path.iterdir()) == [".sweep.sqlite3.lock", "sweep.sqlite3"]
