"""A child process cannot hang, crash, flood or outlive the call that runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from toolkit.errors import ToolkitFault
from toolkit.probe import runner
from toolkit.probe.runner import ChildOutcome, kill_live_children, run_child


def python(source: str, *, deadline_s: float = 20.0, **more: object) -> ChildOutcome:
    return run_child([sys.executable, "-c", source], deadline_s=deadline_s, **more)  # type: ignore[arg-type]


def wait_for(file: Path, timeout_s: float = 10.0) -> str:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if file.exists() and file.read_text().strip():
            return file.read_text().strip()
        time.sleep(0.02)
    raise AssertionError(f"{file.name} was not written")


def is_gone(pid: int, timeout_s: float = 5.0) -> bool:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_a_good_child_gives_its_output() -> None:
    outcome = python("print('facts'); import sys; print('noise', file=sys.stderr)")
    assert (outcome.state, outcome.exit_code, outcome.signal) == ("ok", 0, None)
    assert outcome.stdout == "facts\n"
    assert outcome.last_lines == ("noise",)
    assert 0 < outcome.elapsed_s < 20


def test_an_exit_code_is_a_failure_with_the_last_lines() -> None:
    outcome = python("raise SystemExit('no such option')")
    assert (outcome.state, outcome.exit_code, outcome.last_lines) == ("failed", 1, ("no such option",))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("import os; os.abort()", "SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "SIGILL"),
    ],
)
def test_a_crash_names_its_signal(source: str, name: str) -> None:
    outcome = python(source)
    assert (outcome.state, outcome.signal) == ("crashed", name)


def test_a_shell_that_reports_a_crash_of_its_program_is_understood() -> None:
    outcome = python("raise SystemExit(139)")
    assert (outcome.state, outcome.exit_code, outcome.signal) == ("crashed", 139, "SIGSEGV")
    assert python("raise SystemExit(130)").state == "failed"


def test_a_hanging_child_is_killed_at_its_deadline() -> None:
    outcome = python("print('begun', flush=True); import time; time.sleep(60)", deadline_s=1.0)
    assert outcome.state == "timed-out"
    assert outcome.stdout == "begun\n"
    assert 1.0 <= outcome.elapsed_s < 5.0
    assert not outcome.abandoned


def test_ignoring_sigterm_does_not_help_a_child() -> None:
    source = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    outcome = python(source, deadline_s=1.0)
    assert (outcome.state, outcome.abandoned) == ("timed-out", False)
    assert outcome.pid is not None
    assert is_gone(outcome.pid)


def test_the_deadline_also_ends_what_the_child_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    source = f"""
import subprocess, sys, time
inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
open({str(note)!r}, 'w').write(str(inner.pid))
time.sleep(60)
"""
    assert python(source, deadline_s=1.5).state == "timed-out"
    assert is_gone(int(wait_for(note)))


def test_what_a_finished_child_left_behind_is_ended_too(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    source = f"""
import subprocess, sys
inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
open({str(note)!r}, 'w').write(str(inner.pid))
"""
    begun = time.monotonic()
    assert python(source).state == "ok"
    assert time.monotonic() - begun < 10
    assert is_gone(int(wait_for(note)))


def test_a_chatty_child_neither_blocks_nor_fills_memory() -> None:
    source = "import sys\nfor n in range(40): sys.stdout.write('x' * 200_000); sys.stderr.write('y' * 99)\nprint('end')"
    outcome = python(source, output_limit_bytes=100_000)
    assert outcome.state == "ok"
    assert len(outcome.stdout) == 100_000
    assert outcome.stdout.endswith("xend\n")


def test_input_reaches_the_child_and_an_unread_one_is_no_error() -> None:
    assert python("print(input()[::-1])", input=b"stcaf\n").stdout == "facts\n"
    assert python("pass", input=b"x" * 5_000_000).state == "ok"
    assert python("import sys; print(repr(sys.stdin.read()))").stdout == "''\n"


@pytest.mark.parametrize("kind", ["absent", "not executable", "no program", "no folder"])
def test_a_program_that_cannot_be_started_is_missing(tmp_path: Path, kind: str) -> None:
    program, cwd = tmp_path / "python", None
    if kind != "absent":
        program.write_text("not a program")
        program.chmod(0o644 if kind == "not executable" else 0o755)
    if kind == "no folder":
        cwd = tmp_path / "gone"
    outcome = run_child([str(program)], deadline_s=5.0, cwd=cwd)
    assert (outcome.state, outcome.exit_code, outcome.pid) == ("missing", None, None)
    assert ("gone" if kind == "no folder" else "could not be started") in outcome.last_lines[0]


def test_a_child_that_will_not_die_is_reported_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_kill_group", lambda process, job: None)
    monkeypatch.setattr(runner, "_KILL_GRACE_S", 0.1)
    monkeypatch.setattr(runner, "_DRAIN_GRACE_S", 0.05)
    outcome = python("import time; time.sleep(2)", deadline_s=0.3)
    assert (outcome.state, outcome.exit_code, outcome.abandoned) == ("timed-out", None, True)
    assert outcome.elapsed_s < 2
    assert outcome.pid is not None
    assert is_gone(outcome.pid)


def test_children_of_other_threads_can_be_killed_by_the_main_thread() -> None:
    outcomes: list[ChildOutcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(python("import time; time.sleep(60)")))
    thread.start()
    end = time.monotonic() + 5
    while thread.is_alive() and time.monotonic() < end:
        kill_live_children()
        time.sleep(0.05)
    thread.join(1)
    assert [outcome.signal for outcome in outcomes] == ["SIGKILL"]


def test_control_c_kills_the_child(tmp_path: Path) -> None:
    note, program = tmp_path / "pid", tmp_path / "program.py"
    inner = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    program.write_text(
        "import sys\nfrom toolkit.probe.runner import run_child\n"
        f"run_child([sys.executable, '-c', {inner!r}], deadline_s=60.0)\n"
    )
    root = str(Path(runner.__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, program], env={**os.environ, "PYTHONPATH": root}, stderr=subprocess.PIPE
    )
    try:
        child = int(wait_for(note))
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=10)
    finally:
        process.kill()
    assert b"KeyboardInterrupt" in told
    assert is_gone(child)


@pytest.mark.parametrize("given", [{"argv": [], "deadline_s": 1.0}, {"argv": ["x"], "deadline_s": 0.0}])
def test_nonsense_is_our_own_fault(given: dict[str, object]) -> None:
    with pytest.raises(ToolkitFault, match="run_child"):
        run_child(**given)  # type: ignore[arg-type]


def test_an_unknown_state_is_refused() -> None:
    with pytest.raises(ToolkitFault, match="'fine'"):
        ChildOutcome("fine", 0, None, "", (), 0.0)
