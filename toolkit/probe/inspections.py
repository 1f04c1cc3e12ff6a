"""Probes `model`, `service` and `forecast`: the folders given, read in children, and what follows for the memory."""

from __future__ import annotations

from toolkit.probe.contract import ProbeReport, Target
from toolkit.probe.derived import derived_facts
from toolkit.probe.forecast import forecast_facts
from toolkit.probe.module_probe import run_module_probe

__all__ = [
    "FORECAST_DEADLINE_S",
    "MODEL_DEADLINE_S",
    "SERVICE_DEADLINE_S",
    "probe_forecast",
    "probe_model",
    "probe_service",
]

# Only headers and small files are read; the time is for a network drive.
MODEL_DEADLINE_S = 30.0
SERVICE_DEADLINE_S = 20.0
FORECAST_DEADLINE_S = 10.0


def probe_model(target: Target) -> ProbeReport:
    """Facts ``model.*`` of the model folder, repository or cache folder that the target names."""
    if target.model is None:
        return ProbeReport("model", "not-applicable", reason="no model was given")
    deadline_s = target.deadline_s("model", MODEL_DEADLINE_S)
    return run_module_probe("model", "toolkit.probe.model_child", [str(target.model)], target, deadline_s=deadline_s)


def probe_service(target: Target) -> ProbeReport:
    """Facts ``service.*`` and ``run.*`` of the service folder that the target names."""
    if target.service is None:
        return ProbeReport("service", "not-applicable", reason="no service folder was given")
    deadline_s = target.deadline_s("service", SERVICE_DEADLINE_S)
    return run_module_probe(
        "service", "toolkit.probe.service_child", [str(target.service)], target, deadline_s=deadline_s
    )


def probe_forecast(target: Target) -> ProbeReport:
    """Facts ``forecast.*`` from the known facts of the card and the model; arithmetic alone, so without a child."""
    return ProbeReport("forecast", "ok", forecast_facts(derived_facts(target.known, gpu_index=target.gpu_index)))
