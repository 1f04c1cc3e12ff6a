"""A catalogue of two rules whose texts stay as they are, recordings, and samples of a card."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.probe.gpu_sample import Sample
from troubleshoot.catalogue import Catalogue, load_rule
from troubleshoot.evidence import Matcher
from troubleshoot.facts import NA

RULES = Path(__file__).parent / "rules"
FAILING_LOG = """\
INFO starting on 127.0.0.1:5000
Traceback (most recent call last):
  File "app.py", line 12, in <module>
RuntimeError: CUDA error: no kernel image is available for execution on the device
"""


@pytest.fixture(scope="session")
def small() -> Matcher:
    """The two rules of ``rules/``."""
    paths = sorted(RULES.glob("*/*.yaml"))
    rules = tuple(load_rule(path) for path in paths)
    return Matcher(Catalogue(rules, {rule.id: path for rule, path in zip(rules, paths, strict=True)}))


@pytest.fixture
def failing_log(tmp_path: Path) -> Path:
    path = tmp_path / "service.log"
    path.write_text(FAILING_LOG, encoding="utf-8")
    return path


@pytest.fixture
def wav(tmp_path: Path) -> Callable[[str, int], Path]:
    """Writes half a second at 24 kHz whose samples are plus and minus ``level``."""

    def write(name: str, level: int) -> Path:
        path = tmp_path / name
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(24_000)
            frame = level.to_bytes(2, "little", signed=True) + (-level).to_bytes(2, "little", signed=True)
            file.writeframes(frame * 6_000)
        return path

    return write


@pytest.fixture
def card_sample() -> Callable[..., Sample]:
    """A sample of an RTX 4090 at a second and a utilisation; other sensors by name."""

    def make(time_s: float, utilization_percent: float | NA, **more: object) -> Sample:
        sensors: dict[str, object] = {
            "time_s": time_s, "utc": "2026-11-24T09:30:00Z", "gpu_index": 0, "utilization_percent": utilization_percent,
            "memory_busy_percent": 20.0, "memory_used_bytes": 6 * 2**30, "memory_total_bytes": 24 * 2**30,
            "sm_clock_mhz": 2520.0, "memory_clock_mhz": 10501.0, "power_w": 210.5, "power_limit_w": 450.0,
            "temperature_c": 61.0, "pstate": "P2", "throttle_reasons": (),
        }  # fmt: skip
        return Sample(**{**sensors, **more})  # type: ignore[arg-type]

    return make
