"""The machines of the exact-text tests: facts as the probes give them, each a change of one healthy RTX 4090.

``python tests/doctor/machines.py`` writes ``facts/NAME.json`` anew, and ``reports/NAME.txt`` with what the doctor says
of them. Read the difference before it is committed: a text that nobody has read proves nothing.

What several probes agree on (architectures against the card, companions, the memory forecast) is worked out here by the
probes' own functions, so that a machine cannot contradict itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from toolkit.probe.catalogue import PROBES
from toolkit.probe.derived import derived_facts
from toolkit.probe.facts_file import FactsFile, ProbeEntry
from toolkit.probe.forecast import forecast_facts
from toolkit.probe.gpu import card_facts
from toolkit.probe.operation import bf16_verdict, unknown_facts
from troubleshoot.facts import NA

__all__ = ["FACTS", "MACHINES", "REPORTS", "Facts", "machine"]

Facts = dict[str, object]
FACTS = Path(__file__).parent / "facts"
REPORTS = Path(__file__).parent / "reports"

_CREATED = "2026-11-24T09:30:00Z"
_HOME = "/home/ann/tts"
_MIB = 2**20
_ABSENT = NA("not installed in this interpreter")
_NOT_WSL = NA("not running under WSL")
_NO_CARD = NA("no card was found (NVML: library-not-found, nvidia-smi: missing)")
_ELAPSED_S = {
    "machine": 0.21, "python": 0.13, "gpu": 0.34, "torch": 3.18, "operation": 5.9, "packages": 0.62, "model": 0.11,
    "service": 0.2, "forecast": 0.0,
}  # fmt: skip
_PACKAGES = {
    "accelerate": "1.12.0", "ctranslate2": None, "fastapi": "0.116.1", "faster_qwen3_tts": None, "flash_attn": None,
    "gradio": "5.49.1", "huggingface_hub": "0.36.0", "librosa": "0.11.0", "numpy": "2.2.6", "onnxruntime": "1.22.1",
    "pydantic": "2.11.7", "qwen_tts": "0.1.1", "safetensors": "0.6.2", "soundfile": "0.13.1", "sox": "1.5.0",
    "tokenizers": "0.22.1", "torchaudio": "2.8.0", "torchcodec": None, "torchvision": None, "transformers": "4.57.3",
    "triton": "3.4.0", "vllm": None, "vllm_omni": None,
}  # fmt: skip


def _card(name: str, cc: str, memory_mib: int, used_mib: int, **more: object) -> Facts:
    """A card in the keys of the NVML script, idle on a desktop."""
    return {
        "index": 0, "name": name, "uuid": "GPU-11111111-2222-3333-4444-555555555555", "bus_id": "00000000:01:00.0",
        "cc": cc, "memory_bytes": memory_mib * _MIB, "used_bytes": used_mib * _MIB,
        "free_bytes": (memory_mib - used_mib) * _MIB, "utilization_percent": 2, "temperature_c": 41,
        "sm_clock_mhz": 210, "sm_clock_max_mhz": 3105, "memory_clock_mhz": 405, "power_draw_mw": 22_400,
        "power_limit_mw": 450_000, "power_default_mw": 450_000, "throttle_reasons": ["idle"], "pstate": "P8",
        "pcie": {"generation": 1, "width": 16, "generation_max": 4, "width_max": 16}, "persistence": False,
        "mig": False, "display": True, "driver_model": NA("NVML: Not Supported"),
        "processes": [{"pid": 2210, "name": "/usr/bin/gnome-shell", "used_bytes": used_mib * _MIB, "kind": "graphics"}],
        **more,
    }  # fmt: skip


def _gpu(card: Facts, driver: str, cuda: str) -> Facts:
    shown = {"index": 0, "name": card["name"], "cc": card["cc"]}
    return {
        "gpu.source": "nvml", "gpu.nvml": "ok", "gpu.nvidia_smi": "not-asked", "gpu.count": 1, "gpu.list": [shown],
        "gpu.vendor": "nvidia", "driver.version": driver, "driver.cuda": cuda, "driver.fake": False,
        **card_facts(card, "nvml"),
    }  # fmt: skip


def _no_gpu(problem: str, nvml: str, smi: str) -> Facts:
    reason = NA(f"NVML: {problem}")
    return {
        "gpu.source": "none", "gpu.nvml": nvml, "gpu.nvidia_smi": smi, "gpu.count": 0, "gpu.list": [],
        "gpu.problem": f"NVML: {problem}; nvidia-smi: nvidia-smi is neither on PATH nor where drivers put it",
        "driver.version": reason, "driver.cuda": reason, "driver.fake": NA("no driver answered"),
    }  # fmt: skip


def _torch(version: str, cuda: str | None, arch: str, *, available: bool = True, message: str = "") -> Facts:
    public, _, tag = version.partition("+")
    folder = f"{_HOME}/.venv/lib/python3.11/site-packages/torch"
    return {
        "torch.state": "ok", "torch.import_s": 2.9, "torch.error": "", "torch.copies": 1, "torch.paths": [folder],
        "torch.user_site": False, "torch.version": public, "torch.full_version": version, "torch.build": tag,
        "torch.cuda": cuda or NA("this build has no CUDA in it"), "torch.hip": NA("this build has no ROCm in it"),
        "torch.arch_list": arch.split(), "torch.sdpa_backends": ["flash", "mem_efficient", "cudnn", "math"],
        "cudnn.version": "9.10.2" if cuda else NA("this build has no cuDNN in it"), "torch.cuda_available": available,
        "torch.cuda_state": "ok" if available else "unavailable", "torch.cuda_message": message,
        "flash_attn.state": "missing",
    }  # fmt: skip


def _operation(device: str, cc: str, bf16_ms: float, fp16_ms: float, fp32_ms: float) -> Facts:
    verdict, reason = bf16_verdict(cc, bf16_ms, fp16_ms)
    checks = {name: {"ok": True, "difference": 0.0041} for name in ("matmul", "sdpa", "conv1d")}
    return {
        "operation.state": "ok", "operation.error": "", "operation.bf16_works": True, "operation.checks": checks,
        "operation.device": device, "operation.bf16_reported": True, "operation.bf16_ms": bf16_ms,
        "operation.fp16_ms": fp16_ms, "operation.fp32_ms": fp32_ms, "operation.bf16_native": verdict == "native",
        "operation.bf16_verdict": verdict, "operation.bf16_reason": reason,
        "operation.sdpa_backends": dict.fromkeys(("flash", "efficient", "cudnn", "math"), "ok"),
    }  # fmt: skip


def _no_operation(reason: str, state: str = "not-applicable") -> Facts:
    return {"operation.state": state, "operation.reason": reason, **unknown_facts(NA(reason))}


def _packages(**changed: str | None) -> Facts:
    versions = {**_PACKAGES, **changed}
    companions = {
        name: {"version": version, "requires": [f"torch=={version}"] if name == "torchaudio" else []}
        for name in ("torchaudio", "torchvision", "torchcodec")
        if (version := versions[name])
    }
    facts: Facts = {f"{name}.version": (version or "").split("+")[0] or _ABSENT for name, version in versions.items()}
    site = f"{_HOME}/.venv/lib/python3.11/site-packages"
    for name in ("qwen_tts", "transformers"):
        facts.update({f"{name}.file": f"{site}/{name}/__init__.py", f"{name}.metadata": True})
    return {
        **facts, "flash_attn.file": _ABSENT, "sox.module": True, "numpy.state": "ok", "soundfile.state": "ok",
        "soundfile.libsndfile": "1.2.2", "packages.count": 118, "packages.leftovers": [], "packages.conflicts": "",
        "packages.torch_companions": companions,
    }  # fmt: skip


def _model(folder: str) -> Facts:
    return {
        "model.path": folder, "model.source": "folder", "model.revision": NA("the folder does not name one"),
        "model.name": "Qwen3-TTS-12Hz-1.7B-CustomVoice", "model.size": "1.7B", "model.type": "custom-voice",
        "model.state": "complete", "model.problem": "none", "model.problem_text": "", "model.missing_files": "",
        "model.speech_tokenizer": True, "model.pickle_files": [], "model.warnings": [], "model.dtype": "bfloat16",
        "model.nonfinite_tensors": NA("the values were not scanned"),
    }  # fmt: skip


def _service() -> Facts:
    return {
        "service.folder": _HOME, "service.start_script": "start.sh", "service.host": "0.0.0.0", "service.port": 5000,
        "service.cleanup_flag": True, "service.cleanup_in_code": True, "service.cleanup_placement": "after-generation",
        "service.cleanup_declared": True, "service.half_call": False, "service.bf16_write_uncast": False,
        "service.audio_chunk_size": 256, "service.max_text_length": 120, "service.listening": False,
        "service.bound_address": NA("nothing listens"), "service.port_owner": "none",
        "service.port_process": NA("nothing listens"), "service.processes": [], "service.published_ports": "",
        "service.findings": [], "run.dtype": "bfloat16", "run.attention": "sdpa", "run.device": "cuda",
    }  # fmt: skip


def _linux() -> Facts:
    return {
        "os.family": "linux", "os.name": "Ubuntu 24.04.3 LTS", "os.kernel": "6.14.0-36-generic", "os.machine": "x86_64",
        "os.wsl": False, "os.container": False, "wsl.libcuda": _NOT_WSL, "wsl.libcuda_shadowed": _NOT_WSL,
        "driver.libcuda": "/usr/lib/x86_64-linux-gnu/libcuda.so.570.133.07",
        "cpu.model": "AMD Ryzen 9 7950X 16-Core Processor", "cpu.cores": 32, "cpu.usable_cores": 32,
        "memory.total_gb": 62.6, "memory.available_gb": 51.3, "memory.swap_gb": 2.0, "disk.free_gb": 412.6,
        "disk.folder": _HOME, "shm.free_gb": 31.3, "nvcc.note": "for information only", "sox.binary": True,
        "nvcc.version": NA("nvcc is not on PATH; PyTorch wheels carry their own CUDA and do not need it"),
        "ffmpeg.binary": True, "gpu.adapters": ["nvidia"],
    }  # fmt: skip


def _python(executable: str = f"{_HOME}/.venv/bin/python", version: str = "3.11.9") -> Facts:
    return {
        "python.version": version, "python.bits": 64, "python.executable": executable,
        "python.implementation": "CPython", "python.prefix": f"{_HOME}/.venv", "python.environment": "venv",
        "python.user_site": False, "python.path_variable": False,
    }  # fmt: skip


def _states(**changed: Mapping[str, object]) -> tuple[ProbeEntry, ...]:
    """How the probes ended: well, but for those in ``changed`` (fields of the entry)."""
    given: dict[str, Mapping[str, object]] = {
        "model": {"state": "not-applicable", "elapsed_s": 0.0, "reason": "no model was given"},
        "service": {"state": "not-applicable", "elapsed_s": 0.0, "reason": "no service folder was given"},
        **changed,
    }
    entries = []
    for probe in PROBES:
        fields: Facts = {"state": "ok", "elapsed_s": _ELAPSED_S[probe.name], **given.get(probe.name, {})}
        entries.append(ProbeEntry(name=probe.name, provides=probe.provides, **fields))  # type: ignore[arg-type]
    return tuple(entries)


def _file(probes: tuple[ProbeEntry, ...], *parts: Facts) -> FactsFile:
    facts: Facts = {}
    for part in parts:
        facts.update(part)
    facts = derived_facts(facts, gpu_index=None)
    facts.update(forecast_facts(facts))
    return FactsFile(
        created=_CREATED, toolkit="0.1.0", interpreter=str(facts["python.executable"]), probes=probes, facts=facts
    )


_CU128 = "sm_70 sm_75 sm_80 sm_86 sm_90 sm_100 sm_120"
_CU126 = "sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90"
_RTX_4090 = _card("NVIDIA GeForce RTX 4090", "8.9", 24_564, 540)
_NO_DRIVER = (
    "CUDA initialization: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and "
    "installed a driver from http://www.nvidia.com/Download/index.aspx"
)


def _healthy_rtx_4090() -> FactsFile:
    """Everything as it should be, with a model and a service folder given."""
    ok: Mapping[str, object] = {"state": "ok"}
    return _file(
        _states(model=ok, service=ok),
        _linux(), _python(), _gpu(_RTX_4090, "570.133.07", "12.8"), _torch("2.8.0+cu128", "12.8", _CU128), _packages(),
        _operation("NVIDIA GeForce RTX 4090", "8.9", 0.1213, 0.1198, 0.3342),
        _model("/home/ann/models/Qwen3-TTS-12Hz-1.7B-CustomVoice"), _service(),
    )  # fmt: skip


def _no_gpu_machine() -> FactsFile:
    """A desktop with Intel graphics and the wheel that PyPI gives, which is one with CUDA."""
    reason = "PyTorch sees no CUDA device: " + _NO_DRIVER
    return _file(
        _states(operation={"state": "not-applicable", "elapsed_s": 0.0, "reason": reason}),
        _linux(), {"gpu.adapters": ["intel"], "driver.libcuda": NA("the loader knows no libcuda.so.1")}, _python(),
        _no_gpu("NVMLError_LibraryNotFound: NVML Shared Library Not Found", "library-not-found", "missing"),
        _torch("2.8.0+cu128", "12.8", _CU128, available=False, message=_NO_DRIVER), _packages(), _no_operation(reason),
    )  # fmt: skip


def _rtx_2060() -> FactsFile:
    """Turing: no native BF16, and 6 GB."""
    card = _card("NVIDIA GeForce RTX 2060", "7.5", 6_144, 310, sm_clock_max_mhz=2100, power_limit_mw=160_000)
    return _file(
        _states(),
        _linux(), _python(), _gpu(card, "570.133.07", "12.8"), _torch("2.8.0+cu126", "12.6", _CU126), _packages(),
        _operation("NVIDIA GeForce RTX 2060", "7.5", 5.3127, 0.6514, 2.7411),
    )  # fmt: skip


def _rtx_5090_cu121() -> FactsFile:
    """Blackwell with a wheel from before it."""
    card = _card("NVIDIA GeForce RTX 5090", "12.0", 32_607, 880, power_limit_mw=575_000)
    error = (
        "RuntimeError: CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might "
        "be asynchronously reported at some other API call, so the stacktrace below might be incorrect."
    )
    told = (
        "NVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not compatible with the current PyTorch installation.\n"
        "The current PyTorch install supports CUDA capabilities sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90."
    )
    checks = {"matmul": {"ok": False, "error": error}}
    failed: Facts = {
        **unknown_facts(NA("not reached, an earlier step failed")), "operation.state": "failed",
        "operation.error": error, "operation.bf16_works": False, "operation.checks": checks,
        "operation.device": "NVIDIA GeForce RTX 5090", "operation.bf16_reported": True, "operation.bf16_native": True,
        "operation.bf16_verdict": "native", "operation.bf16_reason": "compute capability 12.0 is 8.0 or higher",
        "operation.sdpa_backends": NA("not reached"),
    }  # fmt: skip
    return _file(
        _states(operation={"state": "failed", "elapsed_s": 3.4, "reason": error}),
        _linux(), _python(), _gpu(card, "580.95.05", "13.0"), _torch("2.5.1+cu121", "12.1", _CU126, message=told),
        {"cudnn.version": "9.1.0"}, _packages(torchaudio="2.5.1+cu121", triton="3.1.0"), failed,
    )  # fmt: skip


def _cpu_wheel_on_windows() -> FactsFile:
    """The plain `pip install torch` of Windows, on a machine with an RTX 3080 that also draws the desktop."""
    home = r"C:\Users\ann\tts"
    site = rf"{home}\.venv\Lib\site-packages"
    card = _card(
        "NVIDIA GeForce RTX 3080", "8.6", 10_240, 1_180, power_limit_mw=320_000, driver_model="WDDM",
        persistence=NA("NVML: Not Supported"),
        processes=[{"pid": 4120, "name": r"C:\Windows\System32\dwm.exe", "kind": "graphics",
                    "used_bytes": NA("the driver does not tell it (WDDM)")}],
    )  # fmt: skip
    windows: Facts = {
        "os.family": "windows", "os.name": "Windows 11 (10.0.26100)", "os.kernel": "11", "os.machine": "AMD64",
        "driver.libcuda": NA("the loader knows no libcuda.so.1"), "shm.free_gb": NA("only Linux has /dev/shm"),
        "disk.folder": home, "disk.free_gb": 88.1, "cpu.model": "Intel(R) Core(TM) i7-12700K", "cpu.cores": 20,
        "memory.total_gb": 31.8, "memory.available_gb": 19.4, "sox.binary": False,
        "python.prefix": rf"{home}\.venv", "torch.paths": [rf"{site}\torch"],
    }  # fmt: skip
    reason = "this PyTorch was built without CUDA"
    return _file(
        _states(operation={"state": "not-applicable", "elapsed_s": 0.0, "reason": reason}),
        _linux(), _python(rf"{home}\.venv\Scripts\python.exe", "3.12.10"), _gpu(card, "581.29", "13.0"),
        _torch("2.8.0+cpu", None, "", available=False), _packages(torchaudio="2.8.0+cpu", triton=None), windows,
        {f"{name}.file": rf"{site}\{name}\__init__.py" for name in ("qwen_tts", "transformers")},
        _no_operation(reason),
    )  # fmt: skip


def _driver_too_old() -> FactsFile:
    """A driver of the 470 branch, which runs CUDA 11.4, below a wheel of CUDA 12.6."""
    card = _card("NVIDIA GeForce RTX 3090", "8.6", 24_576, 420, power_limit_mw=350_000)
    told = (
        "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please update your "
        "GPU driver by downloading and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx"
    )
    reason = "PyTorch sees no CUDA device: " + told[:200]
    return _file(
        _states(operation={"state": "not-applicable", "elapsed_s": 0.0, "reason": reason}),
        _linux(), {"driver.libcuda": "/usr/lib/x86_64-linux-gnu/libcuda.so.470.256.02"}, _python(),
        _gpu(card, "470.256.02", "11.4"), _torch("2.8.0+cu126", "12.6", _CU126, available=False, message=told),
        _packages(), _no_operation(reason),
    )  # fmt: skip


def _broken_torch() -> FactsFile:
    """`import torch` ends in a segmentation fault; the build is read from its files."""
    why = "ended by SIGSEGV during 'import torch' after 1.4 s"
    site = f"{_HOME}/.venv/lib/python3.11/site-packages/torch"
    lines = (
        "Fatal Python error: Segmentation fault",
        "Stack (most recent call first):",
        '  File "/usr/lib/python3.11/ctypes/__init__.py", line 376 in __init__',
        f'  File "{site}/__init__.py", line 288 in _load_global_deps',
        f'  File "{site}/__init__.py", line 367 in <module>',
        '  File "/usr/lib/python3.11/importlib/__init__.py", line 126 in import_module',
    )
    missing = NA(why)
    skipped = "not tried, because the probe torch ended crashed"
    torch = _torch("2.8.0+cu128", "12.8", "")
    torch.update(
        dict.fromkeys(
            ("torch.import_s", "torch.arch_list", "torch.sdpa_backends", "torch.cuda_available", "torch.cuda_state",
             "cudnn.version"),
            missing,
        )
    )  # fmt: skip
    del torch["torch.cuda_message"]
    torch["torch.state"], torch["torch.error"] = "crashed", "\n".join((why, *lines))
    torch["torch.likely_cause"] = NA("the last lines fit no known cause")
    return _file(
        _states(
            torch={"state": "crashed", "elapsed_s": 1.4, "signal": "SIGSEGV", "reason": why, "last_lines": lines},
            operation={"state": "skipped", "elapsed_s": 0.0, "reason": skipped},
        ),
        _linux(), _python(), _gpu(_RTX_4090, "570.133.07", "12.8"), torch, _packages(),
        _no_operation(skipped, "skipped"),
    )  # fmt: skip


def _wsl_with_shadowed_libcuda() -> FactsFile:
    """WSL 2 in which somebody installed a Linux driver: its libcuda comes before the Windows driver's."""
    told = (
        "CUDA initialization: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before "
        "calling NumCudaDevices() that might have already set an error? Error 500: named symbol not found"
    )
    reason = "PyTorch sees no CUDA device: " + told[:200]
    wsl: Facts = {
        "os.name": "Ubuntu 22.04.5 LTS", "os.kernel": "6.6.87.2-microsoft-standard-WSL2", "os.wsl": True,
        "wsl.version": 2, "wsl.libcuda": "/usr/lib/x86_64-linux-gnu/libcuda.so.535.183.01",
        "wsl.libcuda_shadowed": True,
        "gpu.adapters": NA("WSL reaches the card through /dev/dxg and shows no PCI devices"),
    }  # fmt: skip
    linux = {name: value for name, value in _linux().items() if name != "driver.libcuda"}
    nvml = "NVMLError_DriverNotLoaded: Driver Not Loaded"
    return _file(
        _states(operation={"state": "not-applicable", "elapsed_s": 0.0, "reason": reason}),
        linux, wsl, _python(version="3.10.12"), _no_gpu(nvml, "driver-not-loaded", "failed"),
        _torch("2.8.0+cu128", "12.8", _CU128, available=False, message=told), _packages(), _no_operation(reason),
    )  # fmt: skip


def _cuda_init_hangs() -> FactsFile:
    """`import torch` comes through, and the first question to CUDA never comes back."""
    why = "no answer within 60.0 s during 'cuda'; killed"
    site = f"{_HOME}/.venv/lib/python3.11/site-packages/torch"
    lines = (
        "Timeout (0:00:51)!",
        "Thread 0x00007f3f2c6d1740 (most recent call first):",
        f'  File "{site}/cuda/__init__.py", line 182 in is_available',
    )
    skipped = "not tried, because the probe torch ended timed-out"
    torch = _torch("2.8.0+cu128", "12.8", _CU128)
    torch["torch.cuda_available"] = NA(why)
    torch["torch.cuda_state"], torch["torch.cuda_message"] = "timed-out", "\n".join(lines)
    torch["cudnn.version"] = torch["flash_attn.state"] = NA(why)
    card = _card("NVIDIA A100-SXM4-40GB", "8.0", 40_960, 0, display=False, processes=[], sm_clock_max_mhz=1410)
    return _file(
        _states(
            torch={"state": "timed-out", "elapsed_s": 60.0, "reason": why, "last_lines": lines},
            operation={"state": "skipped", "elapsed_s": 0.0, "reason": skipped},
        ),
        _linux(), _python(), _gpu(card, "570.133.07", "12.8"), torch, _packages(), _no_operation(skipped, "skipped"),
    )  # fmt: skip


MACHINES: Mapping[str, Callable[[], FactsFile]] = {
    "no-gpu": _no_gpu_machine,
    "healthy-rtx-4090": _healthy_rtx_4090,
    "rtx-2060": _rtx_2060,
    "rtx-5090-cu121": _rtx_5090_cu121,
    "cpu-wheel-windows": _cpu_wheel_on_windows,
    "driver-too-old": _driver_too_old,
    "broken-torch": _broken_torch,
    "wsl-shadowed-libcuda": _wsl_with_shadowed_libcuda,
    "cuda-init-hangs": _cuda_init_hangs,
}


def machine(name: str) -> FactsFile:
    """The facts of one machine, as built here."""
    return MACHINES[name]()


def _write() -> None:
    from toolkit.doctor import matcher_of
    from toolkit.doctor.report import build_report, document_of
    from toolkit.doctor.text import render_text

    for name in MACHINES:
        file = machine(name)
        (FACTS / f"{name}.json").write_text(file.to_text(), encoding="utf-8")
        text = render_text(document_of(build_report(matcher_of(), file)))
        (REPORTS / f"{name}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    _write()
