"""What `import torch` does in this interpreter: which copy it takes, its build, what it sees of CUDA.

Standard library only, Python 3.8 or newer. The stages are reported one by one, for each of them may crash or hang.
"""

from __future__ import annotations

import os
import re
import site
import sys
import time
import warnings

TYPE_CHECKING = False  # typing itself would cost the import of typing
if TYPE_CHECKING:
    from types import ModuleType

    from toolkit.probe.scripts.child import Child

__all__ = ["collect", "copies_on_path", "read_version_file"]

_SDPA = ("flash", "mem_efficient", "cudnn", "math")  # torch.backends.cuda.<name>_sdp_enabled


def copies_on_path(path: list[str]) -> list[str]:
    """Folders of all torch packages on ``path``, in the order in which an import would meet them."""
    copies: list[str] = []
    for entry in path:
        folder = os.path.realpath(os.path.join(entry or os.getcwd(), "torch"))
        if os.path.isfile(os.path.join(folder, "__init__.py")) and folder not in copies:
            copies.append(folder)
        elif os.path.isfile(folder + ".py") and folder + ".py" not in copies:
            copies.append(folder + ".py")
    return copies


def read_version_file(folder: str) -> dict[str, object]:
    """version, cuda and hip from ``torch/version.py`` as text, for a torch that cannot be imported."""
    try:
        with open(os.path.join(folder, "version.py"), encoding="utf-8", errors="replace") as file:
            text = file.read(20_000)
    except OSError:
        return {}
    values: dict[str, object] = {}
    for name, key in (("__version__", "version"), ("cuda", "cuda"), ("hip", "hip")):
        found = re.search(rf"^{name}\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
        if found:
            values[key] = found.group(1)
    return values


def _in_user_site(file: str) -> bool:
    folder = site.getusersitepackages() if hasattr(site, "getusersitepackages") else None
    return bool(folder) and os.path.realpath(file).startswith(os.path.realpath(str(folder)) + os.sep)


def _built(torch: ModuleType) -> dict[str, object]:
    version = getattr(torch, "version", None)
    flags = getattr(getattr(torch, "_C", None), "_cuda_getArchFlags", None)
    # torch.cuda.get_arch_list() is empty without a usable card; the flags below it are what the wheel was built for.
    arch = flags() if flags is not None else None
    if arch is None and getattr(version, "cuda", None):
        arch = " ".join(torch.cuda.get_arch_list())
    return {
        "cuda": getattr(version, "cuda", None),
        "hip": getattr(version, "hip", None),
        "arch_list": arch.split() if arch else [],
        "sdpa_enabled": [name for name in _SDPA if _sdpa_enabled(torch, name)],
    }


def _sdpa_enabled(torch: ModuleType, name: str) -> bool:
    query = getattr(getattr(torch.backends, "cuda", None), name + "_sdp_enabled", None)
    return bool(query()) if query is not None else False


def _cuda(torch: ModuleType) -> dict[str, object]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = bool(torch.cuda.is_available())
        devices = [_device(torch, index) for index in range(torch.cuda.device_count())] if available else []
    return {
        "available": available,
        "devices": devices,
        "message": "\n".join(str(warning.message) for warning in caught)[:2_000],
    }


def _device(torch: ModuleType, index: int) -> dict[str, object]:
    card = torch.cuda.get_device_properties(index)
    return {
        "name": card.name,
        "cc": f"{card.major}.{card.minor}",
        "memory_bytes": card.total_memory,
        "uuid": str(getattr(card, "uuid", "")) or None,
        "bus_id": getattr(card, "pci_bus_id", None),
    }


def collect(child: Child, arguments: dict[str, object]) -> None:
    """Report the copies on the path, the import, the build, cuDNN, CUDA, and the packages that load beside torch."""
    child.stage("find torch")
    copies = copies_on_path(sys.path)
    child.add({"copies": copies, "found": child.find("torch"), "flash_attn_found": child.find("flash_attn")})
    if copies:
        child.add({"file_says": read_version_file(copies[0]), "user_site": _in_user_site(copies[0])})
    child.stage("import torch")
    begun = time.perf_counter()
    state = child.try_import("torch")
    child.add({"import": state, "import_s": round(time.perf_counter() - begun, 3)})
    if state["state"] != "ok":
        return
    torch = sys.modules["torch"]
    if not hasattr(torch, "__version__"):
        lines = ["import torch gives a folder without a package: " + str(child.find("torch"))]
        child.add({"import": {"state": "error", "error": lines}})
        return
    child.add({"version": str(torch.__version__), "user_site": _in_user_site(str(torch.__file__))})
    for stage, read in (("build", _built), ("cuda", _cuda), ("cudnn", _cudnn)):
        child.stage(stage)
        try:
            child.add({stage: read(torch)})
        except Exception as error:  # a broken build raises what it likes, and the text is the fact
            child.add({stage: {"error": f"{type(error).__name__}: {error}"[:2_000]}})
    child.stage("import flash_attn")
    child.add({"flash_attn": _extension(child, "flash_attn")})


def _cudnn(torch: ModuleType) -> dict[str, object]:
    return {"version": torch.backends.cudnn.version()}


def _extension(child: Child, name: str) -> dict[str, object]:
    state = child.try_import(name)
    if state["state"] == "ok" and child.find(name + "_2_cuda") is not None:
        # The package alone can be imported while its compiled half, built for another torch, cannot.
        compiled = child.try_import(name + "_2_cuda")
        if compiled["state"] == "error":
            state.update(state="error", error=compiled["error"])
    return state
