"""Fakes for the probes: modules, programs and interpreters in a temporary folder, and targets that see only them."""

from __future__ import annotations

import importlib.util
import os
import sys
import textwrap
import venv
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from toolkit.probe import nvidia_smi
from toolkit.probe.contract import Target
from toolkit.probe.interpreter import Interpreter, resolve_interpreter

RTX_4090: dict[str, object] = {
    "Name": "NVIDIA GeForce RTX 4090",
    "UUID": "GPU-11111111-2222-3333-4444-555555555555",
    "CudaComputeCapability": [8, 9],
    "MemoryInfo": {"total": 24564 * 2**20, "used": 1500 * 2**20, "free": 23064 * 2**20},
    "UtilizationRates": {"gpu": 3},
    "Temperature": 41,
    "ClockInfo": 2520,
    "MaxClockInfo": 3105,
    "PowerUsage": 61_500,
    "EnforcedPowerLimit": 450_000,
    "PowerManagementDefaultLimit": 450_000,
    "CurrentClocksEventReasons": 0x1,
    "PerformanceState": 8,
    "CurrPcieLinkGeneration": 4,
    "CurrPcieLinkWidth": 16,
    "MaxPcieLinkGeneration": 4,
    "MaxPcieLinkWidth": 16,
    "PersistenceMode": 0,
    "MigMode": {"error": 3},
    "DisplayActive": 1,
    "DriverModel": {"error": 3},
    "PciInfo": {"busId": "00000000:01:00.0"},
    "ComputeRunningProcesses": [{"pid": 4242, "usedGpuMemory": 900 * 2**20}],
    "GraphicsRunningProcesses": [{"pid": 77, "usedGpuMemory": None}],
}
TESLA_T4: dict[str, object] = {
    **RTX_4090,
    "Name": "Tesla T4",
    "UUID": "GPU-99999999-2222-3333-4444-555555555555",
    "CudaComputeCapability": [7, 5],
    "MemoryInfo": {"total": 15360 * 2**20, "used": 0, "free": 15360 * 2**20},
    "CurrentClocksEventReasons": 0x4 | 0x20,
    "DisplayActive": 0,
    "ComputeRunningProcesses": [],
    "GraphicsRunningProcesses": [],
}
_NVML = """
import json, time
STATE = json.loads({state!r})
MESSAGES = {{3: "Not Supported", 9: "Driver Not Loaded", 12: "NVML Shared Library Not Found",
            15: "GPU is lost", 18: "RM has detected an NVML/RM version mismatch.", 999: "Unknown Error"}}

class NVMLError(Exception):
    def __init__(self, value):
        super().__init__(MESSAGES.get(value, "error %d" % value))
        self.value = value

class Record:
    def __init__(self, table):
        self.__dict__.update(table)

def given(value):
    if isinstance(value, dict):
        if "error" in value:
            raise NVMLError(value["error"])
        return Record(value)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [Record(entry) for entry in value]
    return value

def nvmlInit():
    time.sleep(STATE["init_s"])
    given(STATE["init"])

def nvmlSystemGetDriverVersion():
    return STATE["driver"].encode()

def nvmlSystemGetCudaDriverVersion_v2():
    return given(STATE["cuda"])

def nvmlSystemGetProcessName(pid):
    return given(STATE["processes"].get(str(pid), {{"error": 3}}))

def nvmlDeviceGetMemoryInfo(handle, version=1):
    card = STATE["cards"][handle]
    return given(card.get("MemoryInfo_v2", card["MemoryInfo"]) if version == 2 else card["MemoryInfo"])

def nvmlDeviceGetCount():
    return given(len(STATE["cards"]))

def nvmlDeviceGetHandleByIndex(index):
    given(STATE["cards"][index].get("Handle"))
    return index

def __getattr__(name):
    prefix = "nvmlDeviceGet"
    key = name[len(prefix):]
    if name == "nvmlMemory_v2" and any("MemoryInfo_v2" in card for card in STATE["cards"]):
        return 2
    if not name.startswith(prefix) or not any(key in card for card in STATE["cards"]):
        raise AttributeError("module 'pynvml' has no attribute %r" % name)
    return lambda handle, *arguments: given(STATE["cards"][handle][key])
"""


class Fakes:
    """A temporary folder with fake modules (``site``) and programs (``bin``), and targets that see only them."""

    def __init__(self, root: Path, python: Path) -> None:
        self.root = root
        self.python = python
        self.site = root / "site"
        self.bin = root / "bin"
        self.site.mkdir()
        self.bin.mkdir()

    def module(self, place: str, source: str, *, site: Path | None = None) -> Path:
        """Write ``place`` (``torch/__init__.py``) below the fake site folder."""
        file = (site or self.site) / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source))
        return file

    def borrow(self, *names: str) -> None:
        """Make real modules of our own environment visible in the fake site folder."""
        for name in names:
            spec = importlib.util.find_spec(name)
            assert spec is not None
            assert spec.origin is not None
            origin = Path(spec.origin)
            source = origin.parent if origin.name == "__init__.py" else origin
            for place in (source, *source.parent.glob(f"{name}.libs"), *source.parent.glob(f"_{name}_data")):
                (self.site / place.name).symlink_to(place)

    def program(self, name: str, source: str) -> Path:
        """An executable Python script on the fake PATH."""
        file = self.bin / name
        file.write_text(f"#!{sys.executable}\n{textwrap.dedent(source)}")
        file.chmod(0o755)
        return file

    def distribution(self, name: str, version: str, *requires: str, site: Path | None = None) -> None:
        """Metadata of an installed distribution."""
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {line}" for line in requires]
        folder = f"{name.replace('-', '_')}-{version}.dist-info"
        self.module(f"{folder}/METADATA", "\n".join([*lines, "", "A description: with a colon"]), site=site)

    def nvml(
        self,
        *cards: Mapping[str, object],
        init: object = None,
        init_s: float = 0.0,
        cuda: object = 12040,
        driver: str = "550.54.14",
    ) -> None:
        """A fake ``pynvml`` with these cards; ``{"error": N}`` in place of a value raises NVML's error N."""
        import json

        state = {
            "init": init, "init_s": init_s, "cards": cards, "cuda": cuda, "driver": driver,
            "processes": {"4242": "/opt/ollama/ollama"},
        }  # fmt: skip
        self.module("pynvml.py", _NVML.format(state=json.dumps(state)))

    def environment(self, **more: str) -> dict[str, str]:
        """An environment whose PATH and PYTHONPATH hold the fakes only."""
        kept = {name: os.environ[name] for name in ("HOME", "SYSTEMROOT", "TMPDIR", "LANG") if name in os.environ}
        return {**kept, "PATH": str(self.bin), "PYTHONPATH": str(self.site), **more}

    def target(self, *, interpreter: Interpreter | None = None, **more: object) -> Target:
        """A target that sees the fakes; further arguments are those of :class:`Target`."""
        settings: dict[str, object] = {"environment": self.environment(), "cwd": self.root, **more}
        return Target(interpreter or resolve_interpreter(str(self.python)), **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a venv with nothing in it, so that only the fakes are found, whatever is installed here."""
    folder = tmp_path_factory.mktemp("bare") / "env"
    venv.create(folder, symlinks=True, with_pip=False)
    return folder / "bin" / "python"


@pytest.fixture
def fakes(tmp_path: Path, bare_python: Path) -> Fakes:
    return Fakes(tmp_path, bare_python)


@pytest.fixture(autouse=True)
def _only_fake_nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia_smi, "_PLACES", ())


@pytest.fixture
def rtx_4090() -> dict[str, object]:
    return dict(RTX_4090)


@pytest.fixture
def tesla_t4() -> dict[str, object]:
    return dict(TESLA_T4)


_TORCH = """
import types, warnings
from torch.version import __version__
from torch import version
_C = types.SimpleNamespace(_cuda_getArchFlags=lambda: {arch!r})

class _Card(types.SimpleNamespace):
    pass

def _is_available():
    {at_cuda}
    return bool({cards!r})

cuda = types.SimpleNamespace(
    is_available=_is_available,
    device_count=lambda: len({cards!r}),
    get_device_properties=lambda index: _Card(**{cards!r}[index]),
    get_arch_list=lambda: [],
)
backends = types.SimpleNamespace(
    cudnn=types.SimpleNamespace(version=lambda: {cudnn!r}),
    cuda=types.SimpleNamespace(flash_sdp_enabled=lambda: True, mem_efficient_sdp_enabled=lambda: True,
                               math_sdp_enabled=lambda: True, cudnn_sdp_enabled=lambda: False),
)
"""


@pytest.fixture
def fake_torch(fakes: Fakes) -> Callable[..., None]:
    """Writes a fake torch: by default 2.8.0+cu126 on a machine with one RTX 4090."""
    card = {"name": "NVIDIA GeForce RTX 4090", "major": 8, "minor": 9, "total_memory": 25_757_220_864}

    def write(
        version: str = "2.8.0+cu126",
        cuda: str | None = "12.6",
        *,
        arch: str | None = "sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90",
        cards: list[dict[str, object]] | None = None,
        cudnn: int | None = 91002,
        at_import: str = "",
        at_cuda: str = "pass",
        site: Path | None = None,
    ) -> None:
        cards = [card] if cards is None and cuda else cards or []
        source = _TORCH.format(arch=arch, cards=cards, cudnn=cudnn, at_cuda=at_cuda)
        fakes.module("torch/__init__.py", f"{at_import}\n{source}", site=site)
        told = f"__version__ = '{version}'\ncuda: Optional[str] = {cuda!r}\nhip: Optional[str] = None\n"
        fakes.module("torch/version.py", f"from typing import Optional\n{told}", site=site)
        fakes.distribution("torch", version, site=site)

    return write
