"""The machine is described by what it says of itself, on systems that are not at hand too."""

from __future__ import annotations

import os
from typing import Any

import pytest

from toolkit.probe import machine as machine_probe
from toolkit.probe.child import ScriptResult
from toolkit.probe.machine import probe_machine
from toolkit.probe.runner import ChildOutcome
from toolkit.probe.scripts import machine
from troubleshoot.facts import NA

WSL2 = "Linux version 5.15.153.1-microsoft-standard-WSL2 (root@abc) (gcc 11.2.0)"
OUTSIDE = NA("not running under WSL")
CACHE = """
\tlibcuda.so.1 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libcuda.so.1
\tlibcuda.so.1 (libc6,x86-64) => /usr/lib/wsl/lib/libcuda.so.1
\tlibcublas.so.12 (libc6,x86-64) => /usr/lib/libcublas.so.12
"""


def test_this_machine_is_described(fakes: Any) -> None:
    fakes.program("sox", "")
    fakes.program("nvcc", "print('Cuda compilation tools, release 12.1, V12.1.105')")
    report = probe_machine(fakes.target())
    assert report.state == "ok"
    assert report.facts["os.family"] in ("linux", "macos", "windows")
    assert report.facts["cpu.cores"] == os.cpu_count()
    for name in ("memory.total_gb", "memory.available_gb", "disk.free_gb"):
        assert isinstance(report.facts[name], float)
    assert report.facts["disk.folder"] == str(fakes.root)
    assert (report.facts["sox.binary"], report.facts["ffmpeg.binary"]) == (True, False)
    assert report.facts["nvcc.version"] == "12.1"
    assert "never use nvcc" in str(report.facts["nvcc.note"])


def test_no_nvcc_is_no_fault(fakes: Any) -> None:
    assert "do not need it" in str(probe_machine(fakes.target()).facts["nvcc.version"])


def test_the_drive_is_that_of_the_model_also_before_it_exists(fakes: Any) -> None:
    report = probe_machine(fakes.target(model=fakes.root / "models" / "not yet"))
    assert report.facts["disk.folder"] == str(fakes.root)


def test_a_dead_drive_costs_the_deadline_and_leaves_the_rest(monkeypatch: pytest.MonkeyPatch, fakes: Any) -> None:
    outcome = ChildOutcome("timed-out", None, None, "", (), 20.0)
    values: dict[str, object] = {"os": {"family": "linux"}, "shm": 8.0, "container": None}
    result = ScriptResult(outcome, values, "free space of /mnt/dead")
    monkeypatch.setattr(machine_probe, "run_script", lambda *given, **more: result)
    report = probe_machine(fakes.target())
    assert report.state == "timed-out"
    assert (report.facts["os.family"], report.facts["shm.free_gb"], report.facts["os.container"]) == (
        "linux",
        8.0,
        False,
    )
    reason = NA("no answer within 20.0 s during 'free space of /mnt/dead'; killed")
    assert (report.facts["disk.free_gb"], report.facts["cpu.model"], report.facts["os.wsl"]) == (reason, reason, reason)


@pytest.mark.parametrize(
    ("kernel", "has_dxg", "version"),
    [
        (WSL2, True, 2),
        ("Linux version 4.4.0-19041-Microsoft (Microsoft@Microsoft.com)", False, 1),
        ("Linux version 6.6.0-custom-microsoft", True, 2),
        ("Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org)", False, None),
    ],
)
def test_wsl_is_known_by_its_kernel(kernel: str, has_dxg: bool, version: int | None) -> None:
    assert machine.wsl_version(kernel, has_dxg) == version


@pytest.mark.parametrize(
    ("library_path", "holders", "taken"),
    [
        ("", {}, "/usr/lib/x86_64-linux-gnu/libcuda.so.1"),
        # a link into the folder of WSL is the right library after all
        ("", {"/usr/lib/x86_64-linux-gnu": "/usr/lib/wsl/lib/libcuda.so.1"}, "/usr/lib/wsl/lib/libcuda.so.1"),
        (
            "/usr/lib/wsl/lib/:/x",
            {"/usr/lib/wsl/lib": "/usr/lib/wsl/lib/libcuda.so.1"},
            "/usr/lib/wsl/lib/libcuda.so.1",
        ),
        ("/opt/stubs", {"/opt/stubs": "/opt/stubs/libcuda.so"}, "/opt/stubs/libcuda.so"),
    ],
)
def test_the_libcuda_that_the_loader_takes(library_path: str, holders: dict[str, str], taken: str) -> None:
    assert machine.libcuda_of_loader(CACHE, library_path, holders) == taken


def test_without_a_libcuda_there_is_none() -> None:
    assert machine.libcuda_of_loader("", "/opt/lib", {}) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"wsl": False, "libcuda": "/usr/lib/libcuda.so.1"}, (False, OUTSIDE, OUTSIDE)),
        ({"wsl": True, "wsl_version": 2, "libcuda": "/usr/lib/x/libcuda.so.1", "libcuda_shadowed": True},
         (True, "/usr/lib/x/libcuda.so.1", True)),
        ({"wsl": True, "wsl_version": 2, "libcuda": "/usr/lib/wsl/lib/libcuda.so.1", "libcuda_shadowed": False,
          "libcuda_in_cache": False}, (True, "/usr/lib/wsl/lib/libcuda.so.1", False)),
    ],
)  # fmt: skip
def test_facts_of_wsl(
    monkeypatch: pytest.MonkeyPatch, fakes: Any, values: dict[str, object], expected: tuple[object, ...]
) -> None:
    result = ScriptResult(ChildOutcome("ok", 0, None, "", (), 0.1), {"wsl": values}, "done")
    monkeypatch.setattr(machine_probe, "run_script", lambda *given, **more: result)
    facts = probe_machine(fakes.target()).facts
    assert (facts["os.wsl"], facts["wsl.libcuda"], facts["wsl.libcuda_shadowed"]) == expected


def test_the_whole_wsl_question_with_a_fake_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_output", lambda *argv: CACHE)
    monkeypatch.setenv("LD_LIBRARY_PATH", "")
    told = machine._wsl(WSL2)
    assert (told["wsl"], told["wsl_version"], told["libcuda_shadowed"]) == (True, 2, True)
    monkeypatch.setattr(machine, "_output", lambda *argv: "\tlibcuda.so.1 (libc6) => /usr/lib/wsl/lib/libcuda.so.1\n")
    assert machine._wsl(WSL2)["libcuda_shadowed"] is False


@pytest.mark.parametrize(
    ("cgroups", "environment", "exists", "kind"),
    [
        ("", {}, {"/.dockerenv"}, "docker"),
        ("", {}, {"/run/.containerenv"}, "podman"),
        ("", {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, {"/.dockerenv"}, "kubernetes"),
        ("12:pids:/docker/3f2c", {}, set(), "docker"),
        ("0::/kubepods.slice/pod1", {}, set(), "kubernetes"),
        ("0::/", {"container": "lxc"}, set(), "lxc"),
        ("0::/init.scope", {}, set(), None),
    ],
)
def test_containers(cgroups: str, environment: dict[str, str], exists: set[str], kind: str | None) -> None:
    assert machine.container_kind(cgroups, environment, exists) == kind


def test_memory_knows_the_limit_of_a_container() -> None:
    meminfo = "MemTotal:       32000000 kB\nMemFree: 1 kB\nMemAvailable:   16000000 kB\nSwapTotal:             0 kB\n"
    assert machine.linux_memory(meminfo, "max\n") == {"total_gb": 30.52, "available_gb": 15.26, "swap_gb": 0.0}
    assert machine.linux_memory(meminfo, str(8 * 2**30))["limit_gb"] == 8.0
    assert machine.linux_memory("", "")["total_gb"] == {"na": "/proc/meminfo does not say"}


def test_adapters_are_the_pci_devices_of_the_display_class() -> None:
    devices = {
        "0000:00:02.0": ("0x030000", "0x8086"),
        "0000:01:00.0": ("0x030200", "0x10de"),
        "0000:01:00.1": ("0x040300", "0x10de"),  # its sound function
        "0000:02:00.0": ("0x030000", "0x1a03"),  # a server's console
    }
    assert machine.linux_adapters(devices) == ["intel", "nvidia"]
