"""Reads a service's config.yaml: the settings that bound memory, and where it listens."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.probe.finding import Finding, read_bounded
from toolkit.probe.plain_yaml import duplicate_keys, load_plain_yaml
from troubleshoot.facts import NA

__all__ = ["ServiceConfig", "read_service_config"]

_RANGES: Mapping[str, tuple[int, int]] = {
    "audio_chunk_size": (1, 65_536),
    "max_text_length": (1, 1_000_000),
    "port": (1, 65_535),
}
_MAX_LEVEL = 3


@dataclass(frozen=True)
class ServiceConfig:
    """``values`` maps ``audio_chunk_size``, ``max_text_length``, ``host`` and ``port`` to a value or NA."""

    values: Mapping[str, object]
    findings: tuple[Finding, ...] = field(default=())


def read_service_config(folder: Path) -> ServiceConfig:
    """Read config.yaml or config.yml of a service folder. Unknown keys are left alone; never raises."""
    path = next((folder / name for name in ("config.yaml", "config.yml") if os.path.isfile(folder / name)), None)
    names = (*_RANGES, "host")
    if path is None:
        return ServiceConfig({name: NA("there is no config.yaml") for name in names})
    data = load_plain_yaml(path)
    if isinstance(data, str):
        finding = Finding(path.name, 1, f"was not used: it {data}")
        return ServiceConfig({name: NA(f"{path.name} {data}") for name in names}, (finding,))
    lines = (read_bounded(path) or "").splitlines()
    findings = [
        Finding(path.name, line, f"the key {key} stands twice; loaders take the last")
        for key, line in duplicate_keys(path)
    ]
    values: dict[str, object] = {}
    for name in names:
        found = _find(data, name, 0)
        if found is None:
            values[name] = NA(f"{path.name} does not set it")
            continue
        values[name], fault = _checked(name, found)
        if fault:
            findings.append(Finding(path.name, _line_of(lines, name), fault))
    return ServiceConfig(values, tuple(findings))


def _find(data: object, name: str, level: int) -> object | None:
    if not isinstance(data, dict):
        return None
    if data.get(name) is not None:
        value: object = data[name]
        return value
    if level == _MAX_LEVEL:
        return None
    return next((found for part in data.values() if (found := _find(part, name, level + 1)) is not None), None)


def _checked(name: str, value: object) -> tuple[object, str | None]:
    if name == "host":
        if isinstance(value, str) and 0 < len(value) <= 253:
            return value, None
        return NA("host is not a text"), f"host is {str(value)[:40]!r}, which is not an address"
    low, high = _RANGES[name]
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value, None
    fault = f"{name} is {str(value)[:40]!r}; a whole number from {low} to {high} is wanted"
    return NA(fault), fault


def _line_of(lines: list[str], name: str) -> int:
    return next((number for number, line in enumerate(lines, 1) if line.strip().startswith(name)), 1)
