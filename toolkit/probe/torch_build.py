"""Reads a PyTorch build: its tag, the architectures in it, and whether its companions belong to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

__all__ = [
    "Architectures",
    "architectures",
    "build_tag",
    "companion_mismatches",
    "driver_covers",
    "driver_runs",
    "public_version",
]

_TAG = re.compile(r"cpu|cu\d{2,3}|rocm\d+(?:\.\d+)*|xpu")
_ARCH = re.compile(r"(sm|compute)_(\d{2,3})([af]?)")

# README of meta-pytorch/torchcodec, table of compatible versions, read Nov 2026: torchcodec -> torch.
_TORCHCODEC = {
    "0.0": ("2.4",), "0.1": ("2.5",), "0.2": ("2.6",), "0.3": ("2.7",), "0.4": ("2.7",), "0.5": ("2.7",),
    "0.6": ("2.8",), "0.7": ("2.8",), "0.8": ("2.9",), "0.9": ("2.9",), "0.10": ("2.10",),
}  # fmt: skip


@dataclass(frozen=True)
class Architectures:
    """The machine code in a build: lowest and highest capability as text, and whether a card can run it."""

    lowest: str | None
    highest: str | None
    has_card: bool | None


def public_version(version: str) -> str:
    """The version without its local tag: ``2.6.0`` of ``2.6.0+cu124``."""
    return version.split("+", 1)[0]


def driver_covers(wheel_cuda: str, driver_cuda: str) -> bool:
    """Whether the driver's highest CUDA is at least the one that the wheel was built with."""
    return _pair(driver_cuda) >= _pair(wheel_cuda)


def driver_runs(wheel_cuda: str, driver_cuda: str) -> bool:
    """Whether the driver can run the wheel at all.

    From CUDA 11 on a driver runs every minor version of its own major version (NVIDIA, "CUDA Compatibility", minor
    version compatibility); only code that has to be translated from PTX still needs the newer driver.
    """
    wheel, driver = _pair(wheel_cuda), _pair(driver_cuda)
    return driver >= wheel or (driver[0] == wheel[0] and wheel[0] >= 11)


def build_tag(version: str, cuda: str | None, hip: str | None) -> str:
    """``cpu``, ``cu126``, ``rocm6.4`` or ``xpu``: from the local tag, else from what the build says it was made with.

    Wheels of PyPI and of conda carry no tag; those of NVIDIA's containers carry a commit, which is not a build.
    """
    local = version.partition("+")[2]
    found = _TAG.match(local)
    if found:
        return found.group(0)
    if cuda:
        return "cu" + "".join(cuda.split(".")[:2])
    return "rocm" + ".".join(hip.split(".")[:2]) if hip else "cpu"


def architectures(arch_list: Sequence[str], capability: str | None) -> Architectures:
    """What an arch list such as ``["sm_80", "sm_90", "compute_90"]`` means for a card of ``capability`` (``"8.9"``).

    Machine code runs on cards of its own major version with at least its minor one; ``sm_90a`` only on that very
    version; PTX (``compute_``) is compiled by the driver for every later card. CUDA C++ Programming Guide, "Application
    Compatibility".
    """
    parts = [found.groups() for name in arch_list if (found := _ARCH.fullmatch(name))]
    code = [(int(number[:-1]), int(number[-1]), suffix, kind) for kind, number, suffix in parts]
    binaries = sorted((major, minor) for major, minor, _, kind in code if kind == "sm")
    if not binaries:
        return Architectures(None, None, None)
    has_card = None
    if capability is not None:
        card = tuple(int(part) for part in capability.split("."))
        has_card = any(_runs(entry, card) for entry in code)
    (low_major, low_minor), (high_major, high_minor) = binaries[0], binaries[-1]
    return Architectures(f"{low_major}.{low_minor}", f"{high_major}.{high_minor}", has_card)


def _runs(entry: tuple[int, int, str, str], card: tuple[int, ...]) -> bool:
    major, minor, suffix, kind = entry
    if suffix == "a":
        return (major, minor) == card
    if kind == "compute" and not suffix:
        return (major, minor) <= card
    return major == card[0] and minor <= card[1]


def companion_mismatches(torch: str, companions: Mapping[str, str], requires: Mapping[str, Sequence[str]]) -> list[str]:
    """One sentence for each companion (torchaudio, torchvision, torchcodec) that was not made for this torch.

    ``torch`` and ``companions`` are full versions; ``requires`` holds each companion's own requirements.
    """
    told: list[str] = []
    try:
        own = Version(torch)
    except InvalidVersion:
        return told
    for name, text in companions.items():
        try:
            version = Version(text)
        except InvalidVersion:
            continue
        wanted = _wanted(name, version, requires.get(name, ()))
        if wanted and not any(_same_release(own, release) for release in wanted):
            told.append(f"{name} {text} belongs to torch {' or '.join(wanted)}, torch {torch} is installed")
        elif _tags_differ(own.local, version.local):
            told.append(f"{name} {text} is another build than torch {torch}")
    return told


def _wanted(name: str, version: Version, requires: Sequence[str]) -> tuple[str, ...]:
    """Releases of torch (``2.6`` or ``2.6.0``) that a companion was made for; empty when not known."""
    for line in requires:  # torchaudio and torchvision pin torch exactly, which beats every table
        pin = re.match(r"torch\s*\(?\s*==\s*([0-9.]+)", line)
        if pin:
            return (pin.group(1).rstrip("."),)
    major, minor = version.release[0], version.release[1] if len(version.release) > 1 else 0
    if name == "torchaudio" and major == 2:
        return (f"2.{minor}",)
    if name == "torchvision" and major == 0 and minor >= 15:
        return (f"2.{minor - 15}",)
    return _TORCHCODEC.get(f"{major}.{minor}", ()) if name == "torchcodec" else ()


def _same_release(own: Version, release: str) -> bool:
    wanted = tuple(int(part) for part in release.split("."))
    return own.release[: len(wanted)] == wanted


def _tags_differ(torch: str | None, companion: str | None) -> bool:
    if torch is None or companion is None or not _TAG.fullmatch(torch) or not _TAG.fullmatch(companion):
        return False
    return torch != companion


def _pair(version: str) -> tuple[int, int]:
    parts = [int(part) for part in re.findall(r"\d+", version)[:2]]
    return (parts[0], parts[1] if len(parts) > 1 else 0) if parts else (0, 0)
