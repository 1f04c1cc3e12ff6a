"""Kernels compiled ahead: gone through once, launched never, put back whatever happens, and never an error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from kernel_children import needs_triton

from toolkit.synthesis.fast.compile_ahead import compile_ahead

NAME = "kernels_of_a_test"


class Kernel:
    """Keeps what it is asked to compile; a launch is an error."""

    def __init__(self) -> None:
        self.compiled: list[tuple[object, ...]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> object:
        raise AssertionError("launched")

    def warmup(self, *arguments: object, grid: tuple[int, ...], **options: object) -> None:
        self.compiled.append((*arguments, grid, options))


@pytest.fixture
def module() -> Iterator[ModuleType]:
    made = ModuleType(NAME)
    made.kernel, made.number = Kernel(), 3  # type: ignore[attr-defined]
    sys.modules[NAME] = made
    yield made
    del sys.modules[NAME]


@needs_triton
def test_work_is_gone_through_with_kernels_that_compile(module: ModuleType) -> None:
    kernel = module.kernel

    def work() -> None:
        module.kernel[(4, 1)](torch.zeros(3, dtype=torch.bfloat16), 7, num_warps=2)

    assert compile_ahead(work, NAME, threads=2)
    assert kernel.compiled == [(torch.bfloat16, 7, (4, 1), {"num_warps": 2})]
    assert (module.kernel, module.number) == (kernel, 3)


@needs_triton
@pytest.mark.parametrize("error", [ValueError("no"), torch.OutOfMemoryError("CUDA out of memory")])
def test_what_goes_wrong_is_left_to_the_work_itself(module: ModuleType, error: Exception) -> None:
    kernel = module.kernel

    def work() -> None:
        raise error

    assert not compile_ahead(work, NAME, threads=2)
    assert module.kernel is kernel
    assert not compile_ahead(work, "no_such_module_of_kernels", threads=2)


def test_with_one_thread_or_no_kernels_nothing_is_done() -> None:
    def work() -> None:
        raise AssertionError("gone through")

    assert not compile_ahead(work, NAME, threads=1)
    assert not compile_ahead(work, threads=4)
