"""The card is believed only after it has done real work in BF16, and only capability makes BF16 native."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from toolkit.probe.contract import ProbeReport
from toolkit.probe.operation import bf16_verdict, probe_operation
from troubleshoot.facts import NA

# A PyTorch on NumPy with just the operations of the probe. BF16 is made by cutting the mantissa of float32.
TORCH = """
import time, types
import numpy as np
__version__ = "2.8.0+cu126"
version = types.SimpleNamespace(cuda="12.6", hip=None)
bfloat16, float16, float32 = "bf16", "fp16", "fp32"
SECONDS = {{"bf16": {bf16_s}, "fp16": {fp16_s}, "fp32": 0.004}}
WRONG = {wrong!r}

def rounded(array):
    bits = np.asarray(array, dtype=np.float32).view(np.uint32)
    return ((bits + 0x8000) & 0xFFFF0000).astype(np.uint32).view(np.float32)

class Tensor:
    def __init__(self, array, dtype="fp32", device="cpu"):
        self.array, self.dtype, self.device = array, dtype, device
    def to(self, *given):
        dtype = next((name for name in given if name in SECONDS), self.dtype)
        if "cuda:0" in given and dtype == "bf16":
            {at_copy}
        return Tensor(self.array if dtype == "fp32" else rounded(self.array), dtype, "cuda")
    def float(self): return self
    def cpu(self): return self
    def abs(self): return Tensor(np.abs(self.array))
    def max(self): return float(self.array.max())
    def all(self): return bool(self.array.all())
    def __sub__(self, other): return Tensor(self.array - other.array)

class Generator:
    def manual_seed(self, seed):
        self.random = np.random.default_rng(seed)
        return self

def randn(*shape, generator=None, device="cpu", dtype="fp32"):
    if shape == (2048, 2048):
        return Tensor(np.zeros(1, np.float32), dtype, device)
    random = generator.random if generator else np.random.default_rng(1)
    return Tensor(random.standard_normal(shape).astype(np.float32), dtype, device)

def isfinite(tensor): return Tensor(np.isfinite(tensor.array))

def spoilt(name, array, tensor):
    if tensor.device == "cuda" and name == WRONG:
        return Tensor(array * {factor}, tensor.dtype, tensor.device)
    return Tensor(array, tensor.dtype, tensor.device)

def matmul(left, right):
    if left.array.shape == (1,):
        time.sleep(SECONDS[left.dtype])
        return left
    return spoilt("matmul", left.array @ right.array, left)

def scaled_dot_product_attention(q, k, v):
    scores = q.array @ np.swapaxes(k.array, -1, -2) / q.array.shape[-1] ** 0.5
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return spoilt("sdpa", weights / weights.sum(-1, keepdims=True) @ v.array, q)

def conv1d(signal, kernel):
    windows = np.lib.stride_tricks.sliding_window_view(signal.array[0], kernel.array.shape[-1], axis=-1)
    return spoilt("conv1d", np.einsum("ctk,ock->ot", windows, kernel.array)[None], signal)

nn = types.SimpleNamespace(functional=types.SimpleNamespace(
    scaled_dot_product_attention=scaled_dot_product_attention, conv1d=conv1d))

def capability(device):
    {at_start}
    return {capability!r}

cuda = types.SimpleNamespace(get_device_capability=capability, get_device_name=lambda device: "Fake card",
                             is_bf16_supported=lambda: True, synchronize=lambda: None)
"""
NO_KERNEL = "raise RuntimeError('CUDA error: no kernel image is available for execution on the device')"


@pytest.fixture
def working_torch(fakes: Any) -> Callable[..., None]:
    def write(capability: tuple[int, int] = (8, 9), **more: object) -> None:
        settings: dict[str, object] = {
            "bf16_s": 0.001, "fp16_s": 0.001, "wrong": "", "factor": "1.0", "at_copy": "pass", "at_start": "pass",
        }  # fmt: skip
        if not (fakes.site / "numpy").exists():
            fakes.borrow("numpy")
        fakes.module("torch/__init__.py", TORCH.format(**{**settings, **more, "capability": capability}))

    return write


def probe(fakes: Any, **more: object) -> ProbeReport:
    return probe_operation(fakes.target(known={"torch.cuda_available": True}, **more))


def of(report: ProbeReport, *names: str) -> tuple[object, ...]:
    return tuple(report.facts[f"operation.{name}"] for name in names)


def test_native_bf16_on_a_card_of_8_9(fakes: Any, working_torch: Callable[..., None]) -> None:
    working_torch()
    report = probe(fakes)
    assert report.state == "ok"
    assert of(report, "state", "bf16_works", "bf16_native", "bf16_verdict", "error") == ("ok", True, True, "native", "")
    assert all(1.0 <= float(str(value)) < 60 for value in of(report, "bf16_ms", "fp16_ms", "fp32_ms"))
    (checks,) = of(report, "checks")
    assert list(checks) == ["matmul", "sdpa", "conv1d"]  # type: ignore[call-overload]
    assert all(0 < check["difference"] < 0.03 for check in checks.values())  # type: ignore[attr-defined]
    assert of(report, "sdpa_backends") == (NA("this torch is older than 2.3 and cannot be asked for one back end"),)


def test_a_t4_reports_support_but_only_emulates(fakes: Any, working_torch: Callable[..., None]) -> None:
    working_torch((7, 5), bf16_s=0.012, fp16_s=0.002)
    report = probe(fakes)
    assert of(report, "bf16_reported", "bf16_works", "bf16_native") == (True, True, False)
    (reason,) = of(report, "bf16_reason")
    assert str(reason).startswith("compute capability 7.5 is below 8.0; a product takes ")
    assert float(str(report.facts["operation.bf16_ms"])) > 2 * float(str(report.facts["operation.fp16_ms"]))


@pytest.mark.parametrize(
    ("name", "factor", "told"),
    [
        ("matmul", "1.2", "matmul in BF16 is off by 2"),
        ("sdpa", "float('nan')", "sdpa in BF16 gives values that are not finite"),
        ("conv1d", "0.0", "conv1d in BF16 is off by 100"),
    ],
)
def test_a_wrong_result_is_a_failure(
    fakes: Any, working_torch: Callable[..., None], name: str, factor: str, told: str
) -> None:
    working_torch(wrong=name, factor=factor)
    report = probe(fakes)
    assert report.state == "failed"
    assert of(report, "state", "bf16_works") == ("failed", False)
    assert str(of(report, "error")[0]).startswith(told)


def test_no_kernel_for_this_card_stops_at_the_first_operation(fakes: Any, working_torch: Callable[..., None]) -> None:
    working_torch((12, 0), at_copy=NO_KERNEL)
    report = probe(fakes)
    assert report.state == "failed"
    assert "no kernel image is available" in report.reason
    assert of(report, "bf16_works", "bf16_native") == (False, True)
    assert list(of(report, "checks")[0]) == ["matmul"]  # type: ignore[call-overload]
    assert of(report, "bf16_ms") == (NA("not reached, an earlier step failed"),)


def test_cuda_that_does_not_start_is_an_error(fakes: Any, working_torch: Callable[..., None]) -> None:
    working_torch(at_start="raise RuntimeError('CUDA driver initialization failed')")
    report = probe(fakes)
    assert of(report, "state", "bf16_works", "error") == (
        "failed", False, "RuntimeError: CUDA driver initialization failed",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("at_copy", "state"),
    [("import ctypes; ctypes.string_at(0)", "crashed"), ("time.sleep(60)", "timed-out")],
)
def test_a_crash_and_a_hang_of_the_card_are_reports(
    fakes: Any, working_torch: Callable[..., None], at_copy: str, state: str
) -> None:
    working_torch(at_copy=at_copy)
    report = probe(fakes, deadlines_s={"operation": 3.0})
    assert report.state == state
    assert of(report, "state", "bf16_works", "bf16_native") == (state, False, True)
    assert "during 'matmul'" in str(report.facts["operation.error"])


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({"torch.build": "cpu", "torch.cuda_available": False}, "this PyTorch was built without CUDA"),
        ({"torch.cuda_available": False, "torch.cuda_message": "driver too old\nmore"},
         "PyTorch sees no CUDA device: driver too old"),
        ({}, "PyTorch sees no CUDA device"),
    ],
)  # fmt: skip
def test_without_cuda_nothing_is_tried(fakes: Any, known: dict[str, object], reason: str) -> None:
    report = probe_operation(fakes.target(known=known))
    assert (report.state, report.reason, report.elapsed_s) == ("not-applicable", reason, 0.0)
    assert of(report, "state", "bf16_native", "error") == ("not-applicable", NA(reason), NA(reason))


@pytest.mark.parametrize(
    ("capability", "bf16_ms", "fp16_ms", "verdict"),
    [
        ("8.0", 1.0, 1.0, "native"),
        ("12.0", NA("x"), NA("x"), "native"),
        ("7.5", 60.0, 15.0, "emulated"),
        ("7.5", 15.0, 15.0, "emulated"),
        ("6.1", NA("x"), 1.0, "emulated"),
    ],
)
def test_the_capability_decides(capability: str, bf16_ms: object, fp16_ms: object, verdict: str) -> None:
    assert bf16_verdict(capability, bf16_ms, fp16_ms)[0] == verdict


def test_a_native_card_that_is_slow_is_doubted_in_words() -> None:
    assert "unusual" in bf16_verdict("8.6", 9.0, 1.0)[1]
    assert bf16_verdict("9.0", 1.0, 1.0, hip=True)[0] == "unknown"
