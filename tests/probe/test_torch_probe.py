"""Whatever `import torch` does is a fact, and what was known before it stays known."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from toolkit.probe.contract import ProbeReport
from toolkit.probe.torch_import import likely_cause, probe_torch
from troubleshoot.facts import NA

SEGFAULT = "import ctypes; ctypes.string_at(0)"
FakeTorch = Callable[..., None]


def probe(fakes: Any, **more: object) -> ProbeReport:
    return probe_torch(fakes.target(**more))


def facts_of(report: ProbeReport, *names: str) -> tuple[object, ...]:
    return tuple(report.facts[f"torch.{name}"] for name in names)


def test_a_healthy_torch_tells_its_build(fakes: Any, fake_torch: FakeTorch) -> None:
    fake_torch()
    report = probe(fakes)
    assert report.state == "ok"
    assert facts_of(report, "state", "version", "build", "cuda") == ("ok", "2.8.0", "cu126", "12.6")
    assert facts_of(report, "copies", "user_site", "error") == (1, False, "")
    assert facts_of(report, "cuda_available", "cuda_state", "cuda_message") == (True, "ok", "")
    assert report.facts["torch.sdpa_backends"] == ["flash", "mem_efficient", "math"]
    assert report.facts["cudnn.version"] == "9.10.2"
    assert report.facts["flash_attn.state"] == "missing"
    devices: Any = report.facts["torch.devices"]
    assert devices[0]["cc"] == "8.9"
    assert 0 <= float(str(report.facts["torch.import_s"])) < 20


def test_a_build_without_cuda_has_reasons_in_place_of_values(fakes: Any, fake_torch: FakeTorch) -> None:
    fake_torch("2.8.0+cpu", None, arch=None, cudnn=None)
    report = probe(fakes)
    assert facts_of(report, "build", "cuda_available", "cuda_state") == ("cpu", False, "unavailable")
    assert facts_of(report, "cuda") == (NA("this build has no CUDA in it"),)
    assert report.facts["torch.arch_list"] == []
    assert report.facts["cudnn.version"] == NA("this build has no cuDNN in it")


def test_no_torch_is_missing_not_a_failure(fakes: Any) -> None:
    report = probe(fakes)
    assert (report.state, report.reason) == ("missing", "torch is not installed in this interpreter")
    assert facts_of(report, "state", "copies") == ("missing", 0)
    assert report.facts["torch.version"] == NA("torch is not installed in this interpreter")


@pytest.mark.parametrize(
    ("at_import", "signal"),
    [(SEGFAULT, "SIGSEGV"), ("import os; os.abort()", "SIGABRT"), ("import os; os.kill(os.getpid(), 4)", "SIGILL")],
)
def test_a_crash_of_the_import_keeps_version_and_build(
    fakes: Any, fake_torch: FakeTorch, at_import: str, signal: str
) -> None:
    fake_torch(at_import=at_import)
    report = probe(fakes)
    assert (report.state, report.signal) == ("crashed", signal)
    assert facts_of(report, "state", "version", "build", "cuda") == ("crashed", "2.8.0", "cu126", "12.6")
    assert f"ended by {signal} during 'import torch'" in str(report.facts["torch.error"])
    assert any("torch/__init__.py" in line for line in report.last_lines)
    assert isinstance(report.facts["torch.cuda_available"], NA)


def test_a_hang_of_the_import_ends_at_the_deadline(fakes: Any, fake_torch: FakeTorch) -> None:
    fake_torch(at_import="import time; time.sleep(60)")
    report = probe(fakes, deadlines_s={"torch": 1.5})
    assert (report.state, report.signal) == ("timed-out", None)
    assert 1.5 <= report.elapsed_s < 5
    assert facts_of(report, "state", "version") == ("timed-out", "2.8.0")


def test_a_hang_of_cuda_is_not_a_hang_of_the_import(fakes: Any, fake_torch: FakeTorch) -> None:
    fake_torch(at_cuda="import time; time.sleep(60)")
    report = probe(fakes, deadlines_s={"torch": 2.0})
    assert report.state == "timed-out"
    assert facts_of(report, "state", "version", "cuda_state") == ("ok", "2.8.0", "timed-out")
    assert "during 'cuda'" in str(report.facts["torch.cuda_available"])


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("libcudart.so.13: cannot open shared object file", "CUDA libraries of the wheel are missing"),
        ("/lib/libm.so.6: version `GLIBC_2.38' not found", "C library is older"),
        ("numpy.core.multiarray failed to import", "another NumPy"),
        ("[WinError 126] The specified module could not be found", "DLL that torch needs"),
        ("libtorch_cuda.so: undefined symbol: _ZN3c10", "two different torch builds"),
    ],
)
def test_an_error_of_the_import_has_its_text_and_a_cause(
    fakes: Any, fake_torch: FakeTorch, text: str, cause: str
) -> None:
    fake_torch(at_import=f"raise ImportError({text!r})")
    report = probe(fakes)
    assert report.state == "failed"
    assert report.reason == f"ImportError: {text}"
    assert facts_of(report, "state", "version") == ("error", "2.8.0")
    assert cause in str(report.facts["torch.likely_cause"])


def test_an_unknown_error_has_no_invented_cause(fakes: Any, fake_torch: FakeTorch) -> None:
    fake_torch(at_import="raise ImportError('blue moon')")
    assert probe(fakes).facts["torch.likely_cause"] == NA("the last lines fit no known cause")
    assert likely_cause("SIGILL") == "the processor lacks an instruction that this build uses"


def test_two_copies_on_the_path_are_counted_and_the_first_is_used(fakes: Any, fake_torch: FakeTorch) -> None:
    other = fakes.root / "other"
    fake_torch("2.5.1+cu121", "12.1")
    fake_torch("2.8.0+cpu", None, site=other)
    paths = f"{other}:{fakes.site}"
    report = probe(fakes, environment=fakes.environment(PYTHONPATH=paths))
    assert facts_of(report, "copies", "build") == (2, "cpu")
    assert report.facts["torch.paths"] == [str(other / "torch"), str(fakes.site / "torch")]


def test_a_torch_in_the_user_site_is_told(fakes: Any, fake_torch: FakeTorch) -> None:
    query = [sys.executable, "-c", "import site; print(site.getusersitepackages())"]
    environment = fakes.environment(PYTHONUSERBASE=str(fakes.root / "user"))
    user_site = subprocess.run(query, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    from pathlib import Path

    fake_torch(site=Path(user_site))
    # A venv switches the user site off; the service of somebody without a venv has it, as PYTHONPATH makes it here.
    environment["PYTHONPATH"] = user_site
    assert facts_of(probe(fakes, environment=environment), "user_site") == (True,)


def test_a_folder_left_behind_by_an_uninstall_is_not_a_torch(fakes: Any) -> None:
    (fakes.site / "torch" / "lib").mkdir(parents=True)
    report = probe(fakes)
    assert report.state == "failed"
    assert "a folder without a package" in report.reason
    assert facts_of(report, "state", "copies") == ("error", 0)


def test_a_file_of_the_service_named_torch_is_found_out(fakes: Any, fake_torch: FakeTorch) -> None:
    fake_torch()
    service = fakes.root / "service"
    fakes.module("torch.py", "from torch import nn", site=service)
    report = probe(fakes, service=service)
    assert facts_of(report, "state", "copies") == ("error", 2)
    assert "hides the real one" in str(report.facts["torch.likely_cause"])


def test_the_warning_about_an_old_driver_is_kept(fakes: Any, fake_torch: FakeTorch) -> None:
    told = "The NVIDIA driver on your system is too old (found version 11040)."
    fake_torch(at_cuda=f"warnings.warn({told!r}); return False")
    report = probe(fakes)
    assert facts_of(report, "cuda_available", "cuda_state", "cuda_message") == (False, "unavailable", told)


def test_an_error_of_cuda_is_a_fact(fakes: Any, fake_torch: FakeTorch) -> None:
    fake_torch(at_cuda="raise RuntimeError('CUDA unknown error')")
    report = probe(fakes)
    assert report.state == "ok"
    assert facts_of(report, "cuda_available", "cuda_state") == (False, "error")
    assert report.facts["torch.cuda_message"] == "RuntimeError: CUDA unknown error"


@pytest.mark.parametrize(
    ("package", "compiled", "state", "told"),
    [
        ("", "", "ok", None),
        ("", "raise ImportError('undefined symbol: _ZN3c104')", "error", "undefined symbol"),
        ("raise ImportError('DLL load failed')", "", "error", "DLL load failed"),
        (SEGFAULT, "", "crashed", "SIGSEGV"),
    ],
)
def test_flash_attn_is_imported_beside_torch_and_cannot_hurt_its_facts(
    fakes: Any, fake_torch: FakeTorch, package: str, compiled: str, state: str, told: str | None
) -> None:
    fake_torch()
    fakes.module("flash_attn/__init__.py", package)
    fakes.module("flash_attn_2_cuda.py", compiled)
    report = probe(fakes)
    assert report.state == "ok"
    assert report.facts["torch.cuda_available"] is True
    assert report.facts["flash_attn.state"] == state
    assert told is None or told in str(report.facts["flash_attn.error"])
