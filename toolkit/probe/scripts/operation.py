"""Real work on the card: a matrix product, attention and a convolution in BF16 against float32, then a timing.

Runs inside the service's interpreter, with its PyTorch. Python 3.8 or newer.
"""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False  # typing itself would cost the import of typing
if TYPE_CHECKING:
    from typing import Any

    from toolkit.probe.scripts.child import Child

__all__ = ["collect"]

# BF16 keeps 8 bits of mantissa: single values differ by up to 2**-8, sums of several hundred by about as much again.
_TOLERANCE = 0.03
_SIDE = 2048  # of the timed matrices: 17 GFLOP a product, long beside a kernel launch on every card, 8 to 16 MB each
_SHARE_S = 0.3  # of the second of timing, for each dtype
_DTYPES = (("bf16", "bfloat16"), ("fp16", "float16"), ("fp32", "float32"))
_ATTENTION = (
    ("flash", "FLASH_ATTENTION"),
    ("efficient", "EFFICIENT_ATTENTION"),
    ("cudnn", "CUDNN_ATTENTION"),
    ("math", "MATH"),
)


def _operation(torch: Any, name: str) -> tuple[Any, list[Any]]:
    """The function of that name and its inputs, the same on every machine, in float32 on the processor."""
    functional = torch.nn.functional
    function, shapes = {
        "matmul": (torch.matmul, ((256, 512), (512, 256))),
        "sdpa": (functional.scaled_dot_product_attention, ((1, 4, 64, 64),) * 3),
        "conv1d": (functional.conv1d, ((1, 64, 256), (64, 64, 7))),
    }[name]
    source = torch.Generator().manual_seed(0)
    return function, [torch.randn(*shape, generator=source) for shape in shapes]


def _check(torch: Any, name: str) -> dict[str, object]:
    """Relative error (largest difference over largest value) of one operation in BF16 on the card."""
    operation, inputs = _operation(torch, name)
    expected = operation(*inputs)
    result = operation(*[tensor.to("cuda:0", torch.bfloat16) for tensor in inputs]).float().cpu()
    if not bool(torch.isfinite(result).all()):
        return {"ok": False, "error": f"{name} in BF16 gives values that are not finite"}
    difference = float((result - expected).abs().max() / expected.abs().max())
    if difference > _TOLERANCE:
        told = f"{name} in BF16 is off by {difference:.1%} of the largest value"
        return {"ok": False, "difference": difference, "error": told}
    return {"ok": True, "difference": difference}


def _attention_back_ends(torch: Any) -> dict[str, str]:
    """For each SDPA back end that this PyTorch knows: "ok", or the first line of why it does not run in BF16."""
    from torch.nn.attention import SDPBackend, sdpa_kernel  # type: ignore[import-not-found,unused-ignore]

    query = torch.randn(1, 4, 64, 64, device="cuda:0", dtype=torch.bfloat16)
    told: dict[str, str] = {}
    for name, member in _ATTENTION:
        if not hasattr(SDPBackend, member):
            continue
        try:
            with sdpa_kernel(getattr(SDPBackend, member)):
                torch.nn.functional.scaled_dot_product_attention(query, query, query)
                torch.cuda.synchronize()
            told[name] = "ok"
        except RuntimeError as error:
            told[name] = str(error).splitlines()[0][:200] if str(error) else "RuntimeError"
    return told


def _time_ms(torch: Any, dtype: Any) -> float:
    """Milliseconds of one product of square matrices: the median of batches that fill the dtype's share of time."""
    left = torch.randn(_SIDE, _SIDE, device="cuda:0").to(dtype)
    right = torch.randn(_SIDE, _SIDE, device="cuda:0").to(dtype)
    for _ in range(3):
        torch.matmul(left, right)
    torch.cuda.synchronize()
    batches = []
    begun = time.perf_counter()
    while time.perf_counter() - begun < _SHARE_S:
        batch = time.perf_counter()
        for _ in range(5):
            torch.matmul(left, right)
        torch.cuda.synchronize()
        batches.append((time.perf_counter() - batch) * 200.0)  # five products, in milliseconds
    return float(sorted(batches)[len(batches) // 2])


def _error(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:2_000]


def collect(child: Child, arguments: dict[str, object]) -> None:
    """Report every check by its name as soon as it is done; after an error of the card nothing further is tried."""
    child.stage("import torch")
    state = child.try_import("torch")
    if state["state"] != "ok":
        child.add({"import": state})
        return
    torch = sys.modules["torch"]
    child.stage("initialise CUDA")
    try:
        major, minor = torch.cuda.get_device_capability(0)
        child.add({"device": torch.cuda.get_device_name(0), "cc": f"{major}.{minor}", "hip": bool(torch.version.hip)})
        child.add({"bf16_reported": bool(torch.cuda.is_bf16_supported())})
    except (RuntimeError, AssertionError) as error:
        child.add({"error": _error(error)})
        return
    for name in ("matmul", "sdpa", "conv1d"):
        child.stage(name)
        try:
            child.add({name: _check(torch, name)})
        except RuntimeError as error:
            # After an error of the card every later call of this process fails too and would hide the first.
            child.add({name: {"ok": False, "error": _error(error)}})
            return
    child.stage("attention back ends")
    try:
        child.add({"sdpa_backends": _attention_back_ends(torch)})
    except ImportError:
        child.add({"sdpa_backends": None})  # torch.nn.attention came with 2.3
    times: dict[str, object] = {}
    for short, name in _DTYPES:
        child.stage("time " + short)
        try:
            times[short] = round(_time_ms(torch, getattr(torch, name)), 4)
        except RuntimeError as error:
            times[short] = {"error": _error(error)}
        child.add({"times_ms": times})
