"""The probes of the doctor, in the order in which their rows are shown, and the run that collects their facts."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection

from toolkit import __version__
from toolkit.errors import UsageError
from toolkit.probe.collection import run_probes
from toolkit.probe.contract import Probe, ProbeReport, Target
from toolkit.probe.derived import derived_facts
from toolkit.probe.facts_file import FactsFile, ProbeEntry, utc_now
from toolkit.probe.gpu import GPU_DEADLINE_S
from toolkit.probe.inspections import FORECAST_DEADLINE_S, MODEL_DEADLINE_S, SERVICE_DEADLINE_S
from toolkit.probe.machine import MACHINE_DEADLINE_S, PYTHON_DEADLINE_S
from toolkit.probe.operation import OPERATION_DEADLINE_S
from toolkit.probe.packages import PACKAGE_FACTS, PACKAGES_DEADLINE_S
from toolkit.probe.torch_import import TORCH_DEADLINE_S

__all__ = ["PROBES", "Probe", "ProbeReport", "Target", "collect", "probe_named"]


def _lazily(module: str, function: str) -> Callable[[Target], ProbeReport]:
    """A probe's function, imported when it is first run: listing the catalogue stays free."""

    def run(target: Target) -> ProbeReport:
        report = getattr(importlib.import_module(f"toolkit.probe.{module}"), function)(target)
        return report if isinstance(report, ProbeReport) else ProbeReport(function, "failed", reason="gave no report")

    return run


PROBES: tuple[Probe, ...] = (
    Probe(
        name="machine",
        title="System, memory and disk",
        provides=(
            "os.",
            "wsl.",
            "cpu.",
            "memory.",
            "disk.",
            "shm.",
            "nvcc.",
            "sox.binary",
            "ffmpeg.",
            "gpu.adapters",
            "driver.libcuda",
        ),
        deadline_s=MACHINE_DEADLINE_S,
        slow_after_s=5.0,
        run=_lazily("machine", "probe_machine"),
    ),
    Probe(
        name="python",
        title="Python of the service",
        provides=("python.",),
        deadline_s=PYTHON_DEADLINE_S,
        slow_after_s=5.0,
        run=_lazily("machine", "probe_python"),
    ),
    Probe(
        name="gpu",
        title="Graphics card and driver",
        provides=("gpu.", "driver."),
        deadline_s=GPU_DEADLINE_S,
        slow_after_s=5.0,
        run=_lazily("gpu", "probe_gpu"),
        completed_by=("machine",),
    ),
    Probe(
        name="torch",
        title="PyTorch",
        provides=("torch.", "cudnn.version", "flash_attn.state", "flash_attn.error"),
        deadline_s=TORCH_DEADLINE_S,
        slow_after_s=10.0,
        run=_lazily("torch_import", "probe_torch"),
        # PyTorch's start of CUDA takes memory on the card, which must not be counted as somebody else's.
        after=("gpu",),
        completed_by=("gpu", "packages"),
    ),
    Probe(
        name="operation",
        title="Real work on the card in BF16",
        provides=("operation.",),
        deadline_s=OPERATION_DEADLINE_S,
        slow_after_s=10.0,
        run=_lazily("operation", "probe_operation"),
        needs=("torch",),
    ),
    Probe(
        name="packages",
        title="Packages beside PyTorch",
        provides=("packages.", "numpy.", "soundfile.", "sox.module", "transformers.", "qwen_tts.", *PACKAGE_FACTS),
        deadline_s=PACKAGES_DEADLINE_S,
        slow_after_s=10.0,
        run=_lazily("packages", "probe_packages"),
        needs=("python",),
    ),
    Probe(
        name="model",
        title="Model folder",
        provides=("model.",),
        deadline_s=MODEL_DEADLINE_S,
        slow_after_s=5.0,
        run=_lazily("inspections", "probe_model"),
    ),
    Probe(
        name="service",
        title="Service folder",
        provides=("service.", "run."),
        deadline_s=SERVICE_DEADLINE_S,
        slow_after_s=5.0,
        run=_lazily("inspections", "probe_service"),
    ),
    Probe(
        name="forecast",
        title="Memory on the card",
        provides=("forecast.",),
        deadline_s=FORECAST_DEADLINE_S,
        slow_after_s=5.0,
        run=_lazily("inspections", "probe_forecast"),
        after=("machine", "gpu", "torch", "model", "service"),
        completed_by=("gpu", "model", "service"),
    ),
)


def probe_named(name: str) -> Probe:
    """The probe of that name; raises :class:`UsageError` that lists the names there are."""
    found = next((probe for probe in PROBES if probe.name == name), None)
    if found is None:
        raise UsageError(f"there is no probe {name!r}: give one of {', '.join(probe.name for probe in PROBES)}")
    return found


def collect(
    target: Target,
    *,
    only: Collection[str] | None = None,
    on_slow: Callable[[Probe], None] | None = None,
) -> FactsFile:
    """Run the probes (or those named in ``only`` and the company they need) and give their facts as a file.

    Changes nothing on the machine and uses no network. Never raises for what a probe finds or does; raises
    :class:`UsageError` for a name in ``only`` that is no probe's.
    """
    chosen = _with_company(only) if only is not None else {probe.name for probe in PROBES}
    probes = {probe.name: probe for probe in PROBES if probe.name in chosen}
    reports = run_probes(list(probes.values()), target, on_slow)
    facts: dict[str, object] = {}
    for report in reports.values():
        facts.update(report.facts)
    return FactsFile(
        created=utc_now(),
        toolkit=__version__,
        interpreter=str(target.interpreter.executable),
        probes=tuple(ProbeEntry.of(report, probes[name].provides) for name, report in reports.items()),
        facts=derived_facts(facts, gpu_index=target.gpu_index),
    )


def _with_company(names: Collection[str]) -> set[str]:
    """These probes, what they need, and what completes those that were asked for themselves."""
    chosen = set(names)
    waiting = [other for name in names for other in probe_named(name).completed_by]
    waiting += [other for name in names for other in probe_named(name).needs]
    while waiting:
        name = waiting.pop()
        chosen.add(name)
        waiting += [other for other in probe_named(name).needs if other not in chosen]
    return chosen
