"""A whole run of the doctor's probes on fake machines: one broken part costs its own facts only."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toolkit.probe
from toolkit.errors import UsageError
from toolkit.probe import PROBES, FactsFile, collect, probe_named
from toolkit.probe.derived import derived_facts
from toolkit.probe.module_probe import run_module_probe
from troubleshoot.facts import NA

SEGFAULT = "import ctypes; ctypes.string_at(0)"
Card = dict[str, object]


def states(file: FactsFile) -> dict[str, str]:
    return {probe.name: probe.state for probe in file.probes}


def test_a_healthy_machine(fakes: Any, fake_torch: Callable[..., None], rtx_4090: Card) -> None:
    fakes.nvml(rtx_4090)
    # Without numbers in it this torch cannot work on the card, which is the operation probe's own matter.
    fake_torch()
    fakes.distribution("torchaudio", "2.8.0+cu126", "torch==2.8.0")
    file = collect(fakes.target())
    assert states(file) == {
        "machine": "ok", "python": "ok", "gpu": "ok", "torch": "ok", "operation": "failed", "packages": "ok",
        "model": "not-applicable", "service": "not-applicable", "forecast": "ok",
    }  # fmt: skip
    for name, value in (
        ("gpu.source", "nvml"), ("gpu.cc", "8.9"), ("torch.build", "cu126"), ("torch.arch_min", "5.0"),
        ("torch.arch_max", "9.0"), ("torch.arch_has_card", True), ("torch.companions_match", True),
        ("torch.companions_problem", ""), ("packages.conflicts", ""), ("os.wsl", False),
        ("operation.bf16_works", False), ("forecast.free_gb", 22.52),
    ):  # fmt: skip
        assert file.facts[name] == value, name
    assert not [name for name in file.facts if name in ("gpu.cards", "torch.devices", "python.markers")]
    assert FactsFile.from_json(file.to_text()) == file


def test_a_torch_that_crashes_is_not_waited_for_twice(fakes: Any, fake_torch: Callable[..., None]) -> None:
    fake_torch(at_import=SEGFAULT)
    file = collect(fakes.target(), only=["operation", "packages"])
    assert states(file) == {"python": "ok", "torch": "crashed", "operation": "skipped", "packages": "ok"}
    assert all(entry.provides == probe_named(entry.name).provides for entry in file.probes)
    reason = "not tried, because the probe torch ended crashed"
    assert file.facts["operation.bf16_works"] == NA(reason)
    assert (file.facts["torch.state"], file.facts["torch.build"]) == ("crashed", "cu126")
    (entry,) = [probe for probe in file.probes if probe.name == "torch"]
    assert (entry.signal, entry.reason.split(" after")[0]) == ("SIGSEGV", "ended by SIGSEGV during 'import torch'")


def test_an_interpreter_that_never_answers_costs_its_deadlines_side_by_side(fakes: Any) -> None:
    from toolkit.probe.interpreter import resolve_interpreter

    deaf = fakes.program("python", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)")
    deadlines = dict.fromkeys(("python", "torch"), 1.0)
    begun = time.monotonic()
    file = collect(fakes.target(interpreter=resolve_interpreter(str(deaf)), deadlines_s=deadlines))
    assert time.monotonic() - begun < 8
    ended = states(file)
    assert (ended["machine"], ended["python"], ended["torch"]) == ("ok", "timed-out", "timed-out")
    assert (ended["operation"], ended["packages"]) == ("skipped", "skipped")
    assert file.interpreter == str(deaf)


def test_a_wheel_without_code_for_the_card(fakes: Any, fake_torch: Callable[..., None], rtx_4090: Card) -> None:
    fakes.nvml({**rtx_4090, "Name": "NVIDIA GeForce RTX 5090", "CudaComputeCapability": [12, 0]})
    fake_torch(cards=[{"name": "NVIDIA GeForce RTX 5090", "major": 12, "minor": 0, "total_memory": 1}])
    file = collect(fakes.target(), only=["gpu", "torch"])
    assert (file.facts["torch.arch_max"], file.facts["torch.arch_has_card"]) == ("9.0", False)
    assert file.facts["gpu.architecture"] == "blackwell"


def test_torch_tells_the_card_where_nvml_and_nvidia_smi_do_not(fakes: Any, fake_torch: Callable[..., None]) -> None:
    fakes.nvml(init={"error": 12})
    fake_torch()
    file = collect(fakes.target(), only=["gpu", "torch"])
    assert [file.facts[f"gpu.{name}"] for name in ("source", "name", "cc")] == [
        "torch",
        "NVIDIA GeForce RTX 4090",
        "8.9",
    ]
    assert file.facts["torch.arch_has_card"] is True


def test_mixed_companions_are_told(fakes: Any, fake_torch: Callable[..., None]) -> None:
    fake_torch()
    fakes.distribution("torchaudio", "2.5.1+cu121", "torch==2.5.1")
    file = collect(fakes.target(), only=["torch", "packages"])
    assert file.facts["torch.companions_match"] is False
    assert "torchaudio 2.5.1+cu121 belongs to torch 2.5.1" in str(file.facts["torch.companions_problem"])


def test_a_cpu_build_has_nothing_to_try_on_the_card(fakes: Any, fake_torch: Callable[..., None]) -> None:
    fake_torch("2.8.0+cpu", None, arch=None, cudnn=None)
    file = collect(fakes.target(), only=["operation"])
    assert states(file) == {"torch": "ok", "operation": "not-applicable"}
    assert file.facts["torch.arch_min"] == NA("this build has no CUDA code in it")


def test_the_checked_folders_are_left_as_they_were(fakes: Any, fake_torch: Callable[..., None]) -> None:
    fake_torch()
    fakes.module("soundfile.py", "")
    before = sorted(fakes.root.rglob("*"))
    collect(fakes.target())
    assert sorted(fakes.root.rglob("*")) == before


def test_a_slow_probe_is_named(fakes: Any, fake_torch: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from toolkit.probe import catalogue

    quick = tuple(replace(probe, slow_after_s=0.2) if probe.name == "torch" else probe for probe in PROBES)
    monkeypatch.setattr(catalogue, "PROBES", quick)
    fake_torch(at_import="import time; time.sleep(1)")
    told: list[str] = []
    collect(fakes.target(), only=["torch"], on_slow=lambda probe: told.append(probe.title))
    assert told == ["PyTorch"]


def test_a_probe_asked_for_alone_brings_what_completes_it(fakes: Any) -> None:
    assert set(states(collect(fakes.target(), only=["gpu"]))) == {"machine", "gpu"}
    assert set(states(collect(fakes.target(), only=["torch"]))) == {"python", "gpu", "torch", "packages"}
    assert set(states(collect(fakes.target(), only=["operation"]))) == {"torch", "operation"}
    assert set(states(collect(fakes.target(), only=["service"]))) == {"service"}


def test_an_unknown_probe_is_refused_with_the_names_there_are(fakes: Any) -> None:
    with pytest.raises(UsageError, match=r"no probe 'cuda'.*machine, python, gpu, torch"):
        collect(fakes.target(), only=["cuda"])


def test_the_catalogue_is_sound() -> None:
    names = [probe.name for probe in PROBES]
    assert len(set(names)) == len(names)
    for probe in PROBES:
        assert probe_named(probe.name) is probe
        assert probe.title
        assert {*probe.after, *probe.needs} <= set(names[: names.index(probe.name)])
        assert all(name.endswith(".") or "." in name for name in probe.provides)


def test_facts_of_a_probe_stay_within_what_it_provides(fakes: Any, rtx_4090: Card) -> None:
    fakes.nvml(rtx_4090)
    fakes.module("flash_attn.py", "")
    for probe in PROBES:
        report = probe.run(fakes.target(known={"python.markers": {}}))
        assert not [name for name in report.facts if not name.startswith(probe.provides)], probe.name


def test_facts_without_their_probes_stay_out() -> None:
    assert derived_facts({"os.wsl": False}, gpu_index=None) == {"os.wsl": False}


def test_a_module_probe_reports_whatever_its_child_does(fakes: Any) -> None:
    def run(source: str) -> Any:
        fakes.module("fake_child.py", source)
        environment = fakes.environment()
        return run_module_probe("model", "fake_child", [], fakes.target(environment=environment), deadline_s=1.5)

    assert run('print(\'noise\'); print(\'{"model.size": {"na": "why"}}\')').facts == {"model.size": NA("why")}
    assert (run("print('{')").state, run("print('[]')").state, run("pass").state) == ("failed", "failed", "failed")
    assert run("raise SystemExit('no such model')").reason == "no such model"
    assert (run(SEGFAULT).state, run(SEGFAULT).signal) == ("crashed", "SIGSEGV")
    assert run("import time; time.sleep(60)").reason.startswith("no answer within 1.")


def test_a_model_and_a_service_that_are_given_are_looked_at(fakes: Any) -> None:
    service = fakes.root / "service"
    service.mkdir()
    file = collect(fakes.target(model=fakes.root / "gone", service=service), only=["model", "service"])
    assert states(file) == {"model": "ok", "service": "ok"}
    assert file.facts["model.state"] == "missing"


def test_the_public_names_are_there_and_importing_costs_no_probe() -> None:
    for name in toolkit.probe.__all__:
        assert getattr(toolkit.probe, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = toolkit.probe.nothing_like_this
    root = str(Path(toolkit.probe.__file__).parents[2])
    source = "import sys, toolkit.probe.catalogue; print([m for m in ('torch', 'pynvml', 'numpy') if m in sys.modules])"
    told = subprocess.run(
        [sys.executable, "-c", source], env={"PYTHONPATH": root}, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "[]"


def test_every_module_says_what_it_gives_and_scripts_stay_in_the_standard_library() -> None:
    folder = Path(toolkit.probe.__file__).parent / "scripts"
    allowed = {"pynvml", "torch", "toolkit", "__future__", *sys.stdlib_module_names}
    for file in folder.glob("*.py"):
        module = importlib.import_module(f"toolkit.probe.scripts.{file.stem}")
        assert all(hasattr(module, name) for name in module.__all__)
        lines = [line.split() for line in file.read_text().splitlines()]
        imported = {words[1].split(".")[0] for words in lines if words[:1] in (["import"], ["from"])}
        assert imported <= allowed, file.name
