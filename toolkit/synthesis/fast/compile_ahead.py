"""Compiles all kernels of a piece of work side by side, before they are needed one after the other.

A kernel takes about a second to compile, a frame has some fifteen, and Triton leaves Python's lock while it compiles.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from torch import Tensor

__all__ = ["FRAME_KERNELS", "CompiledOnly", "compile_ahead", "compiled_only"]

FRAME_KERNELS = "toolkit.synthesis.fast.triton_operations"
"""The module that launches the kernels of frames."""

_MOST_THREADS = 16
_LOG = logging.getLogger(__name__)


class CompiledOnly:
    """A kernel that compiles for arguments of the same types and sizes, and runs nothing."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def compiled(*arguments: object, **options: object) -> None:
            types = (given.dtype if isinstance(given, Tensor) else given for given in arguments)
            self._kernel.warmup(*types, grid=grid, **options)

        return compiled


@contextmanager
def compiled_only(module: ModuleType) -> Iterator[None]:
    """The kernels of a module are compiled and not launched inside; of every thread, so that none may launch any."""
    found = {name: value for name, value in vars(module).items() if hasattr(value, "warmup")}
    try:
        for name, kernel in found.items():
            setattr(module, name, CompiledOnly(kernel))
        yield
    finally:
        for name, kernel in found.items():
            setattr(module, name, kernel)


def compile_ahead(work: Callable[[], None], *names: str, threads: int | None = None) -> bool:
    """Run ``work`` once with kernels that are compiled in threads and not launched; what they would write holds
    anything.

    Nothing that goes wrong here is an error: the work itself meets it again, compiles what is missing, and says what
    cannot be.

    Args:
        names: of modules that launch kernels.
        threads: as many as there are cores, at most 16, unless given; with one there is nothing to gain.

    Returns:
        Whether the work was gone through.
    """
    count = min(_MOST_THREADS, os.cpu_count() or 1) if threads is None else threads
    if not names or count < 2:
        return False
    mode = getattr(import_module("triton"), "AsyncCompileMode", None)  # which older versions do not have
    if mode is None:
        return False
    try:
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(count, thread_name_prefix="compile"))
            for name in names:
                stack.enter_context(compiled_only(import_module(name)))
            # The mode is left by its end alone, also when a kernel could not be compiled.
            stack.enter_context(mode(pool, ignore_errors=True))
            work()
    except Exception as error:  # noqa: BLE001 - of any kind, see above
        _LOG.debug("kernels are compiled one by one: %s", error)
        return False
    return True
