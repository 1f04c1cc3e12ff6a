"""A script in somebody else's interpreter shadows nothing, loses nothing and dies with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from toolkit.probe.child import na_tree, run_script, telling_lines
from toolkit.probe.machine import probe_python
from toolkit.probe.scripts import child as child_module
from troubleshoot.facts import NA

SEGFAULT = "import ctypes; ctypes.string_at(0)"


def found(fakes: Any, *names: str, **more: object) -> dict[str, object]:
    target = fakes.target(**more)
    result = run_script("packages", target, deadline_s=20.0, arguments={"find": list(names), "import": []})
    assert result.finished, result.outcome
    places = result.values["found"]
    assert isinstance(places, dict)
    return places


def test_our_scripts_hide_nothing(fakes: Any) -> None:
    places = found(fakes, "child", "machine", "packages", "operation", "torch_facts")
    assert set(places.values()) == {None}


def test_the_service_folder_is_first_on_the_path_when_given(fakes: Any) -> None:
    service = fakes.root / "service"
    fakes.module("sox.py", "", site=service)
    fakes.module("sox.py", "")
    assert found(fakes, "sox")["sox"] == str(fakes.site / "sox.py")
    assert found(fakes, "sox", service=service)["sox"] == str(service / "sox.py")


def test_a_module_in_the_working_folder_is_not_on_the_path(fakes: Any) -> None:
    fakes.module("sox.py", "", site=fakes.root)
    assert found(fakes, "sox")["sox"] is None


def test_what_imports_print_does_not_disturb_the_facts(fakes: Any) -> None:
    fakes.module("numpy.py", "import os; print('banner ' * 9000); os.write(1, b'@@probe-facts@@ {\"states\": 1}')")
    result = run_script("packages", fakes.target(), deadline_s=20.0, arguments={"find": [], "import": ["numpy"]})
    assert result.finished
    assert isinstance(result.values["states"], dict)


@pytest.mark.parametrize("end", [SEGFAULT, "import os; os._exit(7)", "import os, signal; os.kill(os.getpid(), 9)"])
def test_what_was_reported_before_the_end_is_kept(fakes: Any, end: str) -> None:
    fakes.module("numpy.py", end)
    result = run_script("packages", fakes.target(), deadline_s=20.0, arguments={"find": [], "import": ["numpy"]})
    assert not result.finished
    assert result.stage == "import numpy"
    assert "distributions" in result.values
    assert "during 'import numpy'" in result.report("packages", {}).reason


def test_an_exit_with_success_in_the_middle_is_a_failure(fakes: Any) -> None:
    fakes.module("numpy.py", "import os; os._exit(0)")
    result = run_script("packages", fakes.target(), deadline_s=20.0, arguments={"find": [], "import": ["numpy"]})
    assert result.report("packages", {}).state == "failed"


@pytest.mark.parametrize("error", ["raise SystemExit(0)", "raise KeyError('x')", "syntax error here"])
def test_every_exception_of_an_import_is_a_value(fakes: Any, error: str) -> None:
    fakes.module("numpy.py", error)
    result = run_script("packages", fakes.target(), deadline_s=20.0, arguments={"find": [], "import": ["numpy"]})
    assert result.finished
    states: Any = result.values["states"]
    assert states["numpy"]["state"] == "error"


def test_a_hang_leaves_the_place_where_it_hung(fakes: Any) -> None:
    fakes.module("numpy.py", "import time\ndef waits_for_the_driver():\n    time.sleep(60)\nwaits_for_the_driver()\n")
    result = run_script("packages", fakes.target(), deadline_s=1.5, arguments={"find": [], "import": ["numpy"]})
    report = result.report("packages", {})
    assert report.state == "timed-out"
    assert any("waits_for_the_driver" in line for line in report.last_lines)
    assert not any("probe/scripts" in line or "<frozen" in line for line in report.last_lines)


def test_children_die_when_we_are_killed(fakes: Any) -> None:
    note = fakes.root / "pid"
    fakes.module(
        "torch/__init__.py", f"import os, time\nopen({str(note)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    )
    program = (
        "from pathlib import Path\nfrom toolkit.probe import Target, resolve_interpreter\n"
        "from toolkit.probe.torch_import import probe_torch\nprobe_torch(Target(resolve_interpreter(None)))\n"
    )
    root = str(Path(child_module.__file__).parents[3])
    environment = fakes.environment(PYTHONPATH=os.pathsep.join([str(fakes.site), root]))
    process = subprocess.Popen([sys.executable, "-c", program], env=environment)
    try:
        end = time.monotonic() + 10
        while not (note.exists() and note.read_text()) and time.monotonic() < end:
            time.sleep(0.02)
        inner = psutil.Process(int(note.read_text()))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    inner.wait(timeout=5)


def test_python_tells_of_itself(fakes: Any) -> None:
    report = probe_python(fakes.target())
    assert report.state == "ok"
    assert report.facts["python.version"] == ".".join(map(str, sys.version_info[:3]))
    assert report.facts["python.executable"] == str(fakes.python)
    assert report.facts["python.bits"] == 64
    assert report.facts["python.path_variable"] is True
    markers: Any = report.facts["python.markers"]
    assert markers["sys_platform"] == sys.platform


def test_an_interpreter_that_crashes_at_its_start_is_a_report(fakes: Any) -> None:
    from toolkit.probe.interpreter import resolve_interpreter

    broken = fakes.program("python3.12", SEGFAULT)
    report = probe_python(fakes.target(interpreter=resolve_interpreter(str(broken))))
    assert (report.state, report.signal) == ("crashed", "SIGSEGV")
    assert report.facts["python.executable"] == str(broken)
    assert isinstance(report.facts["python.version"], NA)


def test_an_interpreter_that_ignores_being_asked_to_end_is_killed(fakes: Any) -> None:
    from toolkit.probe.interpreter import resolve_interpreter

    deaf = fakes.program("python", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)")
    target = fakes.target(interpreter=resolve_interpreter(str(deaf)), deadlines_s={"python": 1.0})
    report = probe_python(target)
    assert report.state == "timed-out"
    assert 1.0 <= report.elapsed_s < 4.0
    assert report.reason.startswith("no answer within 1.")


def test_a_python_too_old_says_so(fakes: Any) -> None:
    from toolkit.probe.interpreter import resolve_interpreter

    old = fakes.program("python2", "import sys; sys.exit('SyntaxError: future feature annotations is not defined')")
    report = probe_python(fakes.target(interpreter=resolve_interpreter(str(old))))
    assert report.reason == "this Python is too old to be looked at: the probes need 3.8 or newer"


def test_telling_lines_start_at_the_stack_and_keep_the_last_words() -> None:
    lines = ("banner", "loading", "libfoo: cannot open", "Fatal Python error: Segmentation fault", "Current thread 0x1")
    frames = tuple(f'  File "/env/torch/m{n}.py", line {n} in f' for n in range(40))
    told = telling_lines((*lines, '  File "<frozen importlib>", line 1', *frames))
    assert told[:4] == (
        "loading",
        "libfoo: cannot open",
        "Fatal Python error: Segmentation fault",
        "Current thread 0x1",
    )
    assert len(told) == 20
    assert telling_lines(("one", "two")) == ("one", "two")


def test_reasons_are_found_at_any_depth() -> None:
    assert na_tree({"a": [{"b": {"na": "why"}}], "c": 1}) == {"a": [{"b": NA("why")}], "c": 1}
