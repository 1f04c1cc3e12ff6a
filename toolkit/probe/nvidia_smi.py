"""Reads the cards from nvidia-smi, for machines where NVML cannot be asked directly."""

from __future__ import annotations

import csv
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.probe.runner import ChildOutcome, run_child
from troubleshoot.facts import NA

__all__ = ["SmiAnswer", "ask_nvidia_smi", "find_nvidia_smi"]

# Query field -> key of our card table and the factor that brings it to the table's unit (bytes, milliwatts, MHz).
_MIB = 2**20
_FIELDS: tuple[tuple[str, str, float], ...] = (
    ("index", "index", 1),
    ("name", "name", 0),
    ("uuid", "uuid", 0),
    ("pci.bus_id", "bus_id", 0),
    ("driver_version", "driver", 0),
    ("compute_cap", "cc", 0),
    ("memory.total", "memory_bytes", _MIB),
    ("memory.used", "used_bytes", _MIB),
    ("memory.free", "free_bytes", _MIB),
    ("utilization.gpu", "utilization_percent", 1),
    ("temperature.gpu", "temperature_c", 1),
    ("clocks.sm", "sm_clock_mhz", 1),
    ("clocks.max.sm", "sm_clock_max_mhz", 1),
    ("clocks.mem", "memory_clock_mhz", 1),
    ("power.draw", "power_draw_mw", 1000),
    ("power.limit", "power_limit_mw", 1000),
    ("power.default_limit", "power_default_mw", 1000),
    ("pstate", "pstate", 0),
    ("pcie.link.gen.current", "generation", 1),
    ("pcie.link.width.current", "width", 1),
    ("pcie.link.gen.max", "generation_max", 1),
    ("pcie.link.width.max", "width_max", 1),
    ("persistence_mode", "persistence", 0),
    ("mig.mode.current", "mig", 0),
    ("display_active", "display", 0),
    ("driver_model.current", "driver_model", 0),
    ("clocks_throttle_reasons.active", "throttle_reasons", 0),
)
_PCIE = ("generation", "width", "generation_max", "width_max")
_FLAGS = {"enabled": True, "disabled": False, "yes": True, "no": False, "on": True, "off": False}
_UNKNOWN_FIELD = re.compile(r'Field "([^"]+)" is not a valid field')
# Same bits as NVML's clock event reasons; see scripts/gpu_nvml.py.
_REASONS = {
    0x1: "idle", 0x2: "application-clocks", 0x4: "power-cap", 0x8: "hardware-slowdown", 0x10: "sync-boost",
    0x20: "thermal", 0x40: "hardware-thermal", 0x80: "power-brake", 0x100: "display-clocks",
}  # fmt: skip
_MAX_UNKNOWN = 6
_PLACES = (
    "/usr/lib/wsl/lib/nvidia-smi",
    "/usr/bin/nvidia-smi",
    r"C:\Windows\System32\nvidia-smi.exe",
    r"C:\Program Files\NVIDIA Corporation\NVSMI\nvidia-smi.exe",
)


@dataclass(frozen=True)
class SmiAnswer:
    """Cards in the same keys and units as the NVML script's, or ``problem`` and ``state`` when there are none.

    ``state``: ok, missing, timed-out, crashed, driver-not-loaded, version-mismatch, no-devices or error.
    """

    state: str
    cards: tuple[Mapping[str, object], ...] = ()
    driver: object = NA("nvidia-smi did not answer")
    cuda: object = NA("nvidia-smi did not answer")
    problem: str = ""


def find_nvidia_smi(environment: Mapping[str, str]) -> str | None:
    """Path of nvidia-smi: on PATH, else where drivers put it."""
    on_path = shutil.which("nvidia-smi", path=environment.get("PATH"))
    return on_path or next((place for place in _PLACES if os.access(place, os.X_OK)), None)


def ask_nvidia_smi(environment: Mapping[str, str], *, deadline_s: float) -> SmiAnswer:
    """Query the cards; all calls together take at most ``deadline_s`` seconds. Never raises for what it answers."""
    program = find_nvidia_smi(environment)
    if program is None:
        return SmiAnswer("missing", problem="nvidia-smi is neither on PATH nor where drivers put it")
    end = time.monotonic() + deadline_s
    fields = list(_FIELDS)
    for _ in range(_MAX_UNKNOWN + 1):
        query = ",".join(name for name, _, _ in fields)
        outcome = _call(program, environment, end, f"--query-gpu={query}", "--format=csv,noheader,nounits")
        unknown = _UNKNOWN_FIELD.search(outcome.stdout + "\n".join(outcome.last_lines))
        if not unknown:
            break
        # A driver from before a field refuses the whole query and names only the first field it does not know.
        fields = [field for field in fields if field[0] != unknown.group(1)]
    if outcome.state != "ok":
        return SmiAnswer(_state(outcome), problem=_problem(outcome))
    keys = [(key, factor) for _, key, factor in fields]
    cards = [_card(row, keys) for row in csv.reader(outcome.stdout.splitlines(), skipinitialspace=True) if row]
    cards = [card for card in cards if card]
    if not cards:
        return SmiAnswer("no-devices", problem=outcome.stdout.strip()[:200] or "nvidia-smi lists no card")
    table = _processes(program, environment, end)
    for card in cards:
        held = table if isinstance(table, NA) else [dict(row) for row in table if row.pop("uuid") == card["uuid"]]
        card["processes"] = held
    header = _call(program, environment, end)
    # The last word of driver releases: "CUDA Version" is now "CUDA UMD Version".
    cuda = re.search(r"CUDA (?:UMD )?Version\s*:\s*(\d+\.\d+)", header.stdout)
    version = cuda.group(1) if cuda else NA("the header of nvidia-smi names no CUDA version")
    return SmiAnswer("ok", tuple(cards), cards[0].get("driver", NA("not listed")), version)


def _call(program: str, environment: Mapping[str, str], end: float, *options: str) -> ChildOutcome:
    return run_child([program, *options], deadline_s=max(0.05, end - time.monotonic()), env=environment)


def _card(row: list[str], keys: list[tuple[str, float]]) -> dict[str, object]:
    if len(row) != len(keys):
        return {}
    card: dict[str, object] = {}
    for (key, factor), text in zip(keys, row, strict=True):
        card[key] = _value(key, factor, text.strip())
    card["pcie"] = {key: card.pop(key, NA("not asked")) for key in _PCIE}
    if isinstance(card.get("mig"), NA):
        card["mig"] = False  # a card without MIG is not in MIG mode
    return card


def _value(key: str, factor: float, text: str) -> object:
    # [N/A], [Not Supported], [Unknown Error], [GPU requires reset], [Insufficient Permissions]
    if text.startswith("[") or text in ("N/A", "", "Unknown"):
        return NA(f"nvidia-smi: {text.strip('[]') or 'empty'}")
    if key == "throttle_reasons":
        mask = int(text, 16) if re.fullmatch(r"0[xX][0-9a-fA-F]+", text) else 0
        return [name for bit, name in _REASONS.items() if mask & bit]
    if key in ("persistence", "mig", "display"):
        return _FLAGS.get(text.lower(), NA(f"nvidia-smi: {text}"))
    if not factor:
        return text
    try:
        number = float(text)
    except ValueError:
        return NA(f"nvidia-smi: {text}")
    return int(number * factor)


def _processes(program: str, environment: Mapping[str, str], end: float) -> list[dict[str, object]] | NA:
    query = "--query-compute-apps=gpu_uuid,pid,process_name,used_memory"
    outcome = _call(program, environment, end, query, "--format=csv,noheader,nounits")
    if outcome.state != "ok":
        return NA(f"nvidia-smi: {_problem(outcome)}")
    found: list[dict[str, object]] = []
    for row in csv.reader(outcome.stdout.splitlines(), skipinitialspace=True):
        if len(row) >= 4 and row[1].strip().isdigit():
            name = ", ".join(row[2:-1])  # nvidia-smi does not quote a comma in a path
            used = _value("used_bytes", _MIB, row[-1].strip())
            found.append({"uuid": row[0], "pid": int(row[1]), "name": name, "used_bytes": used, "kind": "compute"})
    return found


def _state(outcome: ChildOutcome) -> str:
    text = outcome.stdout + "\n".join(outcome.last_lines)
    for pattern, state in (
        (r"couldn't communicate with the NVIDIA driver", "driver-not-loaded"),
        (r"[Dd]river/library version mismatch", "version-mismatch"),
        (r"No devices were found", "no-devices"),
        (r"couldn't find libnvidia-ml|NVML library", "library-not-found"),
    ):
        if re.search(pattern, text):
            return state
    return outcome.state if outcome.state in ("timed-out", "crashed", "missing") else "error"


def _problem(outcome: ChildOutcome) -> str:
    if outcome.state == "timed-out":
        return f"no answer within {outcome.elapsed_s:.1f} s"
    if outcome.state == "crashed":
        return f"ended by {outcome.signal}"
    lines = [line.strip() for line in (*outcome.stdout.splitlines(), *outcome.last_lines) if line.strip()]
    return lines[0][:200] if lines else f"exit code {outcome.exit_code}"
