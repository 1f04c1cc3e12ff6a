"""Memory: forecasts, limits, and the one retry when it runs out."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from toolkit.errors import OutOfMemory, UsageError
from toolkit.synthesis.codec_config import CodecConfig
from toolkit.synthesis.config import ModelConfig
from toolkit.synthesis.memory import (
    CONTEXT_BYTES,
    CudaMemory,
    HostMemory,
    MemoryLine,
    MemoryPlan,
    Workload,
    check_fits,
    device_memory,
    is_out_of_memory,
    parse_limit,
    plan_memory,
    retry_when_full,
)
from toolkit.synthesis.weights import SafetensorsFile

GB = 10**9


@dataclass
class FakeMemory:
    """Counts what is asked of it."""

    peak: int | None = 5 * GB
    releases: int = 0
    caps: list[int] = field(default_factory=list)

    def reset_peak(self) -> None:
        """Nothing to do."""

    def peak_bytes(self) -> int | None:
        return self.peak

    def release(self) -> None:
        self.releases += 1

    def total_bytes(self) -> int | None:
        return 8 * GB

    def cap(self, limit_bytes: int) -> bool:
        self.caps.append(limit_bytes)
        return True


@pytest.mark.parametrize(
    ("limit", "found"),
    [
        (None, None),
        ("6GB", 6 * GB),
        ("6 g", 6 * GB),
        ("5.5 GiB", int(5.5 * 2**30)),
        ("6000MB", 6 * GB),
        ("80%", int(6.4 * GB)),
        (0.8, int(6.4 * GB)),
        (1, 8 * GB),
        (6 * GB, 6 * GB),
        ("6000000000", 6 * GB),
    ],
)
def test_a_limit_is_a_size_or_a_share(limit: str | float | None, found: int | None) -> None:
    assert parse_limit(limit, 8 * GB) == found


@pytest.mark.parametrize("limit", ["", "much", "-1GB", "0", 0, -1, "150%", "6 XB", True, 3.5, "6e9"])
def test_what_is_no_limit_is_refused(limit: str | float) -> None:
    with pytest.raises(UsageError, match=r"vram_limit must be a size such as '6GB', or a share such as 0\.8, not"):
        parse_limit(limit, 8 * GB)


def test_a_share_needs_a_known_size() -> None:
    with pytest.raises(UsageError, match="size is not known"):
        parse_limit("80%", None)


def test_the_forecast_counts_each_part_in_its_width(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("base_1b7_a")
    config, codec = ModelConfig.read(folder), CodecConfig.read(folder / "speech_tokenizer")
    model_file = SafetensorsFile(folder / "model.safetensors")
    codec_file = SafetensorsFile(folder / "speech_tokenizer" / "model.safetensors")

    def plan(dtype: torch.dtype, codec_dtype: torch.dtype, batch: int = 1, table: bool = True) -> dict[str, int]:
        found = plan_memory(
            model_file.tensors, codec_file.tensors, config, codec.decoder, dtype=dtype, codec_dtype=codec_dtype,
            text_table_on_device=table, positions=1000, workload=Workload(300, batch), on_card=True,
        )  # fmt: skip
        assert found.total_bytes == sum(line.byte_count for line in found.lines)
        return {line.label: line.byte_count for line in found.lines}

    wide, narrow = plan(torch.float32, torch.float32), plan(torch.bfloat16, torch.bfloat16)
    stored = sum(entry.element_count for entry in model_file.tensors.values())
    speaker = sum(
        entry.element_count for name, entry in model_file.tensors.items() if name.startswith("speaker_encoder.")
    )
    parts = ("talker", "code predictor", "text embedding")
    inputs = (config.talker.vocab + 15 * config.predictor.vocab) * config.predictor.decoder.hidden
    assert sum(wide[part] for part in parts) == 4 * (stored - speaker + inputs)
    assert sum(narrow[part] for part in parts) == 2 * (stored - speaker + inputs)
    assert narrow["voice encoders"] == wide["voice encoders"]
    assert wide["codec"] == 2 * narrow["codec"]
    shape = config.talker.decoder
    per_position = shape.layers * 2 * shape.kv_heads * shape.head_dim
    assert wide["cache of 1000 positions"] == 4 * 1000 * per_position
    assert plan(torch.float32, torch.float32, batch=8)["cache of 1000 positions"] == 32 * 1000 * per_position
    assert "text embedding" not in plan(torch.float32, torch.float32, table=False)
    half = plan(torch.float16, torch.float32)
    assert half["code predictor"] == wide["code predictor"]
    assert half["talker"] == narrow["talker"]
    assert wide["CUDA itself"] == CONTEXT_BYTES


def test_what_would_not_fit_is_shown_before_loading() -> None:
    lines = (MemoryLine("talker", 3 * GB), MemoryLine("codec", GB // 2), MemoryLine("CUDA itself", 4 * 10**8))
    plan = MemoryPlan(lines)
    check_fits(plan, None)
    check_fits(plan, 4 * GB)
    with pytest.raises(OutOfMemory) as caught:
        check_fits(plan, 3 * GB)
    assert str(caught.value).startswith(
        "the model would need 3.9 GB, the limit is 3.0 GB: talker 3.0 GB, codec 0.5 GB, CUDA itself 400.0 MB; "
    )
    assert (caught.value.exit_code, caught.value.http_status) == (3, 507)


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:114] . DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (MemoryError(), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_running_out_is_told_from_other_errors(error: Exception, is_full: bool) -> None:
    assert is_out_of_memory(error) is is_full


def failing(times: int, seen: list[Workload]) -> Callable[[Workload], str]:
    def run(workload: Workload) -> str:
        seen.append(workload)
        if len(seen) <= times:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore lines")
        return "done"

    return run


def test_enough_memory_changes_nothing() -> None:
    memory, seen = FakeMemory(), list[Workload]()
    assert retry_when_full(failing(0, seen), Workload(300, 8), memory, GB) == ("done", Workload(300, 8))
    assert memory.releases == 0


def test_the_work_is_halved_once_after_everything_was_let_go() -> None:
    memory, seen = FakeMemory(), list[Workload]()
    assert retry_when_full(failing(1, seen), Workload(300, 8), memory, GB) == ("done", Workload(150, 4))
    assert seen == [Workload(300, 8), Workload(150, 4)]
    assert memory.releases == 1


def test_a_second_time_is_one_error_with_forecast_and_actual() -> None:
    memory, seen = FakeMemory(), list[Workload]()
    with pytest.raises(OutOfMemory) as caught:
        retry_when_full(failing(2, seen), Workload(300, 8), memory, 4 * GB)
    assert str(caught.value) == (
        "out of memory, also after halving (audio_chunk_size 300, batch 8, then audio_chunk_size 150, batch 4): 4.0 GB "
        "were forecast, 5.0 GB were in use. Close other programs on the card, or take a shorter max_text_length, a "
        "smaller audio_chunk_size, or a smaller model. (CUDA out of memory. Tried to allocate 2.00 GiB.)"
    )
    assert len(seen) == 2
    assert memory.releases == 2


def test_nothing_of_the_failed_run_is_alive_when_memory_is_released() -> None:
    class Big:
        """Stands for a tensor of the failed run."""

    alive: list[weakref.ref[Big]] = []

    class Watching(FakeMemory):
        def release(self) -> None:
            gc.collect()
            assert alive[0]() is None
            super().release()

    def run(workload: Workload) -> str:
        if not alive:
            held = Big()
            alive.append(weakref.ref(held))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "done"

    memory = Watching()
    assert retry_when_full(run, Workload(2), memory, None)[0] == "done"
    assert memory.releases == 1


def test_other_errors_pass_at_once() -> None:
    def run(workload: Workload) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        retry_when_full(run, Workload(1), FakeMemory(), None)


def test_halving_ends_at_one() -> None:
    assert Workload(1, 1).halved() == Workload(1, 1)


def test_the_host_knows_its_peak_and_cannot_be_capped() -> None:
    memory = device_memory(torch.device("cpu"))
    assert isinstance(memory, HostMemory)
    peak, total = memory.peak_bytes(), memory.total_bytes()
    assert peak is not None
    assert total is not None
    assert 10**7 < peak < total
    assert memory.cap(GB) is False


def test_a_card_is_asked_through_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, object]] = []
    device = torch.device("cuda:1")

    class Properties:
        total_memory = 8 * GB

    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda where: asked.append(("reset", where)))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda where: 3 * GB)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: asked.append(("empty", None)))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda where: Properties())
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, where: asked.append((f"{share:.3f}", where))
    )
    memory = device_memory(device)
    assert isinstance(memory, CudaMemory)
    memory.reset_peak()
    memory.release()
    assert memory.peak_bytes() == 3 * GB
    assert memory.cap(6 * GB)
    # The allocator's share leaves out what CUDA itself takes.
    assert asked == [("reset", device), ("empty", None), (f"{(6 * GB - CONTEXT_BYTES) / (8 * GB):.3f}", device)]
