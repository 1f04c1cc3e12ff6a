"""The environment of probe children: the service's own, without network and without leaving anything behind."""

from __future__ import annotations

import os
from collections.abc import Mapping

from toolkit.probe.interpreter import Interpreter

__all__ = ["child_environment"]

_QUIET = {
    "CUDA_CACHE_DISABLE": "1",  # kernels compiled for the check are not written to ~/.nv
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONIOENCODING": "utf-8",
    "PYTHONUNBUFFERED": "1",
    "TRANSFORMERS_OFFLINE": "1",
}
# Set by our own interpreter's launcher; in a child they would make another interpreter take our prefix.
_OURS = ("__PYVENV_LAUNCHER__",)


def child_environment(
    interpreter: Interpreter, *, base: Mapping[str, str] | None = None, gpu_index: int | None = None
) -> dict[str, str]:
    """Environment for a child of ``interpreter``, made of ``base`` (``None``: ours).

    PYTHONPATH, the user site and LD_LIBRARY_PATH stay as they are: what they do to the service is what is looked for.
    ``gpu_index`` makes that card (as nvidia-smi counts) the only one, so that it is ``cuda:0``.
    """
    environment = {name: value for name, value in (os.environ if base is None else base).items() if name not in _OURS}
    environment.update(_QUIET)
    if gpu_index is not None:
        environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        environment["CUDA_VISIBLE_DEVICES"] = str(gpu_index)
    if interpreter.kind == "conda" and os.name == "nt" and interpreter.folder is not None:
        # An environment that is not activated finds its DLLs only when these folders are on PATH.
        folders = [interpreter.folder, interpreter.folder / "Library" / "bin", interpreter.folder / "Scripts"]
        environment["PATH"] = os.pathsep.join([*map(str, folders), _path_of(environment)])
    return environment


def _path_of(environment: Mapping[str, str]) -> str:
    return next((value for name, value in environment.items() if name.upper() == "PATH"), "")
