"""The command line as a process: what it imports, how it is interrupted, what a foreign interpreter does to it."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import FACTS, LOG, ROOT, Run, command_line, spawn

HEAVY = ("torch", "transformers", "pandas", "numpy", "scipy", "soundfile", "matplotlib", "pydantic", "re2", "yaml")
# The promise is 0.3 s; a busy machine of a few cores gets three times as long.
HELP_S, GENEROSITY = 0.3, 3


def test_the_help_imports_nothing_heavy_and_comes_at_once() -> None:
    program = (
        "import sys\nfrom toolkit.cli.main import app\n"
        "try:\n    app(['--help'], standalone_mode=False)\nfinally:\n"
        f"    print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr.strip() == "HEAVY []"
    assert "Usage:" in done.stdout
    times_s = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run(command_line("--help"), capture_output=True, check=True, cwd=ROOT)
        times_s.append(time.perf_counter() - begun)
    assert statistics.median(times_s) < HELP_S * GENEROSITY


@pytest.mark.parametrize(
    "words", [["rules", "list"], ["diagnose", "--words", "noisy"], ["doctor", "--facts", FACTS / "no-gpu.json"]]
)
def test_no_command_loads_torch_into_our_own_process(words: list[object]) -> None:
    program = (
        "import sys\nfrom toolkit.cli.main import app\n"
        f"app({[str(word) for word in words]!r}, standalone_mode=False)\n"
        "print('HEAVY', [name for name in ('torch', 'transformers', 'pandas') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr.strip() == "HEAVY []"


def test_a_real_process_reads_its_standard_input_and_prints_json() -> None:
    ran = spawn("diagnose", "-", "--json", stdin=LOG.encode())
    assert (ran.code, ran.err) == (3, "")
    assert ran.json["findings"][0]["rule"] == "cpu-only-torch-wheel"


@pytest.mark.parametrize("module", ["toolkit.cli", "toolkit.cli.main"])
def test_either_module_is_the_command_line(module: str) -> None:
    words = [sys.executable, "-m", module, "rules", "show", "none-such"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert "none-such" in done.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    with subprocess.Popen(
        command_line("rules", "list"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        error = process.stderr.read()
        assert (process.wait(timeout=30), error) == (0, b"")


def test_ctrl_c_gives_130_and_one_line(tmp_path: Path) -> None:
    slow = tmp_path / "pipe"
    os.mkfifo(slow)
    with subprocess.Popen(
        command_line("diagnose", slow), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=30)
    assert (process.returncode, out, error) == (130, b"", b"qwen-audio: interrupted\n")


def test_a_mistake_of_ours_is_one_line_and_a_traceback_only_on_request(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("toolkit.doctor.diagnose", broken)
    monkeypatch.delenv("QWEN_AUDIO_DEBUG", raising=False)
    ran = run("diagnose", "--words", "x")
    assert (ran.code, ran.out) == (1, "")
    assert ran.line.startswith("qwen-audio: ZeroDivisionError: division by zero. This is a mistake of version 0.1.0")
    monkeypatch.setenv("QWEN_AUDIO_DEBUG", "1")
    ran = run("diagnose", "--words", "x")
    assert ran.code == 1
    assert "Traceback (most recent call last)" in ran.err


def test_a_console_in_an_old_code_page_still_gets_its_report() -> None:
    ran = spawn("rules", "show", "cpu-only-torch-wheel", PYTHONIOENCODING="ascii")
    assert ran.code == 0
    assert "\\u" in ran.out
    ran = spawn("rules", "show", "cpu-only-torch-wheel", "--json", PYTHONIOENCODING="ascii")
    assert (
        ran.json["rule"]["title_zh"]
        == spawn("rules", "show", "cpu-only-torch-wheel", "--json").json["rule"]["title_zh"]
    )


def interpreter(folder: Path, body: str) -> Path:
    """A program that stands where a Python should be."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("import sys; print('no such library', file=sys.stderr); sys.exit(127)", "exit code 127"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
    ],
)
def test_a_python_that_cannot_start_is_a_fact_of_the_report(tmp_path: Path, body: str, told: str) -> None:
    ran = spawn("doctor", "--python", interpreter(tmp_path, body), "--json")
    assert ran.code == 3
    assert "Traceback" not in ran.err
    rows = {row["id"]: row for row in ran.json["rows"]}
    assert rows["torch-version"]["verdict"] in ("fail", "crashed")
    states = {probe["name"]: probe for probe in ran.json["facts_file"]["probes"]}
    assert states["python"]["state"] in ("failed", "crashed")
    assert told in json.dumps(states["python"])


def test_a_slow_probe_announces_itself_by_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.probe import catalogue
    from toolkit.probe.contract import Probe, ProbeReport, Target

    def slow(target: Target) -> ProbeReport:
        time.sleep(0.3)
        return ProbeReport("torch", "ok", {"torch.state": "ok"})

    def quick(target: Target) -> ProbeReport:
        return ProbeReport("python", "ok", {"python.version": "3.11.9"})

    probes = (
        Probe("python", "Python of the service", ("python.",), 20.0, 5.0, quick),
        Probe("torch", "PyTorch", ("torch.",), 60.0, 0.05, slow),
    )
    monkeypatch.setattr(catalogue, "PROBES", probes)
    ran = run("doctor", "--json")
    assert ran.line == "still running: PyTorch (up to 60 s)"
    assert ran.json["facts_file"]["facts"]["torch.state"] == "ok"


def test_the_doctor_changes_nothing_where_it_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        command_line("doctor", "--json"), capture_output=True, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode in (0, 3, 4)
    assert json.loads(done.stdout)["kind"] == "doctor"
    assert list(tmp_path.iterdir()) == []
