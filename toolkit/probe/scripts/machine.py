"""The machine: system, WSL, container, processor, memory, disk, display adapters and, for information, nvcc.

Runs in a child of the toolkit's own interpreter, for a dead network drive can hang a simple question about free space.
Standard library only. Functions take the text they read, so that other machines can be tried out in tests.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
import sys

TYPE_CHECKING = False  # typing itself would cost the import of typing
if TYPE_CHECKING:
    from toolkit.probe.scripts.child import Child

__all__ = ["collect", "container_kind", "libcuda_of_loader", "linux_adapters", "linux_memory", "wsl_version"]

_GIB = 1024.0**3
# PCI vendor numbers of makers of graphics cards (pcisig.com), and of the display class.
_VENDORS = {"0x10de": "nvidia", "0x1002": "amd", "0x8086": "intel"}
_DISPLAY_CLASS = "0x03"
_ADAPTER_KEY = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}"
_COMMAND_TIMEOUT_S = 5.0
_WSL_FOLDER = "/usr/lib/wsl/"


def _na(reason: str) -> dict[str, str]:
    return {"na": reason}


def _read(path: str, limit: int = 200_000) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(limit)
    except OSError:
        return ""


def _output(*argv: str) -> str:
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_COMMAND_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace")


def wsl_version(kernel: str, has_dxg: bool) -> int | None:
    """1 or 2 from the kernel's own text; ``None`` outside WSL. WSL 1 has no kernel and no ``/dev/dxg``."""
    if "microsoft" not in kernel.lower():
        return None
    return 2 if has_dxg or "wsl2" in kernel.lower() or "microsoft-standard" in kernel.lower() else 1


def container_kind(cgroups: str, environment: dict[str, str], exists: set[str]) -> str | None:
    """docker, podman, kubernetes, lxc, ... or ``None``; ``exists`` holds the marker files that are there."""
    if "KUBERNETES_SERVICE_HOST" in environment:
        return "kubernetes"
    if "/run/.containerenv" in exists:
        return "podman"
    if "/.dockerenv" in exists:
        return "docker"
    found = re.search(r"docker|kubepods|containerd|libpod|lxc", cgroups)
    names = {"kubepods": "kubernetes", "libpod": "podman"}
    return names.get(found.group(), found.group()) if found else environment.get("container") or None


def libcuda_of_loader(cache: str, library_path: str, holders: dict[str, str]) -> str | None:
    """The libcuda.so.1 that the loader takes: first along LD_LIBRARY_PATH, then the first of ``ldconfig -p``.

    ``holders`` maps folders to the real path of the libcuda.so.1 in them, for those that have one.
    """
    for folder in library_path.split(":"):
        if folder and folder.rstrip("/") in holders:
            return holders[folder.rstrip("/")]
    found = re.search(r"^\s*libcuda\.so\.1 \([^)]*\) => (\S+)", cache, re.MULTILINE)
    if not found:
        return None
    place = found.group(1)
    return holders.get(os.path.dirname(place), place)


def linux_memory(meminfo: str, cgroup_limit: str) -> dict[str, object]:
    """total_gb and available_gb (GiB), and limit_gb when the container may use less than the machine has."""
    values = {name: int(kb) / 1024.0**2 for name, kb in re.findall(r"^(\w+):\s+(\d+) kB", meminfo, re.MULTILINE)}
    facts: dict[str, object] = {}
    for name, key in (("total_gb", "MemTotal"), ("available_gb", "MemAvailable"), ("swap_gb", "SwapTotal")):
        facts[name] = round(values[key], 2) if key in values else _na("/proc/meminfo does not say")
    limit = cgroup_limit.strip()
    if limit.isdigit() and "MemTotal" in values and int(limit) / _GIB < values["MemTotal"]:
        facts["limit_gb"] = round(int(limit) / _GIB, 2)
    return facts


def linux_adapters(devices: dict[str, tuple[str, str]]) -> list[str]:
    """Vendors of the display adapters among PCI devices, given as address -> (class, vendor)."""
    found = [_VENDORS.get(vendor) for kind, vendor in devices.values() if kind.startswith(_DISPLAY_CLASS)]
    return [vendor for vendor in found if vendor]


def _system() -> dict[str, object]:
    system = platform.system()
    family = {"Linux": "linux", "Windows": "windows", "Darwin": "macos"}.get(system, system.lower())
    name = f"{platform.system()} {platform.release()}"
    if family == "linux":
        found = re.search(r'^PRETTY_NAME="?([^"\n]+)', _read("/etc/os-release"), re.MULTILINE)
        name = found.group(1) if found else name
    elif family == "windows":
        name = f"Windows {platform.release()} ({platform.version()})"
    elif family == "macos":
        name = f"macOS {platform.mac_ver()[0]}"
    return {"family": family, "name": name, "kernel": platform.release(), "machine": platform.machine()}


def _wsl(kernel: str) -> dict[str, object]:
    version = wsl_version(kernel, os.path.exists("/dev/dxg"))
    cache = _output(shutil.which("ldconfig") or "/sbin/ldconfig", "-p")
    library_path = os.environ.get("LD_LIBRARY_PATH", "")
    listed = re.findall(r"libcuda\.so\.1 \([^)]*\) => (\S+)", cache)
    folders = [folder.rstrip("/") for folder in library_path.split(":") if folder]
    places = [os.path.join(folder, "libcuda.so.1") for folder in folders] + listed
    holders = {os.path.dirname(place): os.path.realpath(place) for place in places if os.path.exists(place)}
    taken = libcuda_of_loader(cache, library_path, holders)
    own = os.path.join(_WSL_FOLDER, "lib", "libcuda.so.1")
    facts: dict[str, object] = {"wsl": version is not None, "libcuda": taken or _na("the loader knows no libcuda.so.1")}
    if version is None:
        return facts
    facts["wsl_version"] = version
    if taken is None and os.path.exists(own):
        facts["libcuda"] = own
        facts["libcuda_in_cache"] = False
    shadowed = taken is not None and not taken.startswith(_WSL_FOLDER)
    facts["libcuda_shadowed"] = shadowed if taken or os.path.exists(own) else _na("no libcuda.so.1 was found")
    return facts


def _processor() -> dict[str, object]:
    model: object = platform.processor() or _na("the system does not tell the processor's model")
    if sys.platform.startswith("linux"):
        found = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
        model = found.group(1).strip() if found else platform.machine()
    elif sys.platform == "darwin":
        model = _output("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string").strip() or model
    elif sys.platform == "win32":
        model = _registry(r"HARDWARE\DESCRIPTION\System\CentralProcessor\0", "ProcessorNameString") or model
    cores = os.cpu_count()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    return {"model": model, "cores": cores or _na("the system does not tell"), "usable_cores": usable or _na("unknown")}


def _registry(key: str, value: str) -> str:
    if sys.platform == "win32":
        import winreg

        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:
                return str(winreg.QueryValueEx(opened, value)[0]).strip()
        except OSError:
            return ""
    return ""


def _memory() -> dict[str, object]:
    if sys.platform.startswith("linux"):
        limit = _read("/sys/fs/cgroup/memory.max") or _read("/sys/fs/cgroup/memory/memory.limit_in_bytes")
        return linux_memory(_read("/proc/meminfo"), limit)
    if sys.platform == "win32":
        return _windows_memory()
    if sys.platform == "darwin":
        total = _output("/usr/sbin/sysctl", "-n", "hw.memsize").strip()
        if total.isdigit():
            return {"total_gb": round(int(total) / _GIB, 2), "available_gb": _na("not asked on macOS")}
    return {"total_gb": _na("no way to ask this system"), "available_gb": _na("no way to ask this system")}


def _windows_memory() -> dict[str, object]:
    class MemoryStatus(ctypes.Structure):  # MEMORYSTATUSEX of sysinfoapi.h
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong)
            for name in ("total", "available", "page", "page_free", "virtual", "virtual_free", "extended")
        ]

    status = MemoryStatus()
    status.length = ctypes.sizeof(MemoryStatus)
    if sys.platform == "win32" and ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return {"total_gb": round(status.total / _GIB, 2), "available_gb": round(status.available / _GIB, 2)}
    return {"total_gb": _na("GlobalMemoryStatusEx failed"), "available_gb": _na("GlobalMemoryStatusEx failed")}


def _free_gb(path: str) -> object:
    try:
        return round(shutil.disk_usage(path).free / _GIB, 2)
    except OSError as error:
        return _na(f"{path}: {error.strerror or error}")


def _shared_memory() -> object:
    if sys.platform.startswith("linux"):
        return _free_gb("/dev/shm")  # noqa: S108 - only measured
    return _na("only Linux has /dev/shm")


def _adapters() -> object:
    if sys.platform.startswith("linux"):
        devices = {}
        root = "/sys/bus/pci/devices"
        for address in os.listdir(root) if os.path.isdir(root) else []:
            kind = _read(os.path.join(root, address, "class")).strip()
            devices[address] = (kind, _read(os.path.join(root, address, "vendor")).strip())
        found = linux_adapters(devices)
        if not found and os.path.exists("/dev/dxg"):
            return _na("WSL reaches the card through /dev/dxg and shows no PCI devices")
        return found
    if sys.platform == "win32":
        names = [_registry(rf"{_ADAPTER_KEY}\{number:04d}", "DriverDesc").lower() for number in range(8)]
        known = (("nvidia", "nvidia"), ("geforce", "nvidia"), ("radeon", "amd"), ("amd", "amd"), ("intel", "intel"))
        return [vendor for name in names for word, vendor in known if word in name][:8]
    return ["apple"] if sys.platform == "darwin" and platform.machine() == "arm64" else []


def _nvcc() -> object:
    place = shutil.which("nvcc")
    if place is None:
        return _na("nvcc is not on PATH; PyTorch wheels carry their own CUDA and do not need it")
    found = re.search(r"release (\d+\.\d+)", _output(place, "--version"))
    return found.group(1) if found else _na(f"{place} --version does not answer as expected")


def collect(child: Child, arguments: dict[str, str]) -> None:
    """Report one part after the other; ``disk`` in the arguments is the folder whose drive is asked for free space."""
    kernel = _read("/proc/version")
    for stage, read in (
        ("os", _system),
        ("wsl", lambda: _wsl(kernel)),
        ("cpu", _processor),
        ("memory", _memory),
        ("adapters", _adapters),
        ("shm", _shared_memory),
        ("nvcc", _nvcc),
        ("sox", lambda: shutil.which("sox")),
        ("ffmpeg", lambda: shutil.which("ffmpeg")),
        ("driver_file", lambda: _read("/proc/driver/nvidia/version", 500)),
    ):
        child.stage(stage)
        child.add({stage: read()})
    child.stage("container")
    exists = {path for path in ("/.dockerenv", "/run/.containerenv") if os.path.exists(path)}
    child.add({"container": container_kind(_read("/proc/1/cgroup"), dict(os.environ), exists)})
    child.stage("free space of " + arguments["disk"])
    child.add({"disk": _free_gb(arguments["disk"])})
