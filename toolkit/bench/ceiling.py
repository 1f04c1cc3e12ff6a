"""The memory's bandwidth, measured by a large copy on the same device, and the bytes of weights that a frame reads."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import torch

from toolkit.synthesis.config import CODE_GROUPS
from toolkit.synthesis.talker import Talker

__all__ = ["bandwidth_shares", "copy_bytes_per_s", "weight_bytes_per_frame"]

_CARD_BYTES, _HOST_BYTES = 2 * 2**30, 128 * 2**20
_COPIES = 10
_PREDICTOR_PASSES = CODE_GROUPS - 1
_TALKER = ("talker.model.layers.", "talker.model.norm.", "talker.codec_head.")
_PREDICTOR = ("talker.code_predictor.model.layers.", "talker.code_predictor.model.norm.")
_HEADS = "talker.code_predictor.lm_head."
_PROJECTION = "talker.code_predictor.small_to_mtp_projection."


def copy_bytes_per_s(device: torch.device, size_bytes: int | None = None) -> float:
    """Bytes read plus bytes written in a second by copies inside the memory of a device; the best of ten.

    Args:
        device: where.
        size_bytes: of the block. 2 GiB on a card (at most a quarter of what is free) and 128 MiB on a CPU, more than
            any cache, unless given.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        size_bytes = size_bytes or min(_CARD_BYTES, int(free) // 4)
    size = size_bytes or _HOST_BYTES
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = math.inf
    for _ in range(_COPIES + 1):  # the first one maps the pages
        if device.type == "cuda":
            began, over = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            began.record()
            target.copy_(source)
            over.record()
            torch.cuda.synchronize(device)
            best = min(best, began.elapsed_time(over) / 1000)
        else:
            start = time.perf_counter()
            target.copy_(source)
            best = min(best, time.perf_counter() - start)
    return 2 * size / best


def weight_bytes_per_frame(talker: Talker) -> int:
    """Bytes of weights that one step of any batch has to read: talker layers and head once, the code predictor's layers
    fifteen times, each of its heads once. Tables (a row each), the cache and the codec are not counted; the small
    projection before the predictor is counted once, since its other inputs can be projected beforehand."""
    talker_item = talker.stack.norm.element_size()
    predictor_item = talker.predictor.stack.norm.element_size()
    total = 0
    for name, shape in talker.expected_shapes().items():
        count = math.prod(shape)
        if name.startswith(_TALKER):
            total += count * talker_item
        elif name.startswith(_PREDICTOR):
            total += count * predictor_item * _PREDICTOR_PASSES
        elif name.startswith((_HEADS, _PROJECTION)):
            total += count * predictor_item
    return total


def bandwidth_shares(run: Mapping[str, object], ceiling_bytes_per_s: float) -> dict[str, object]:
    """``bandwidth`` of the figures of one precision: what part of the ceiling the weights of its warm frames make up.

    Empty where no warm call passed. The time is that of the whole call, codec and prompt included.
    """
    warm, needed = run.get("warm"), run.get("weight_bytes_per_frame")
    if not isinstance(warm, dict) or not isinstance(needed, int) or not warm["ms_per_frame"]:
        return {}
    used = needed / (warm["ms_per_frame"] / 1000)
    return {
        "bandwidth": {
            "copy_bytes_per_s": round(ceiling_bytes_per_s),
            "weight_bytes_per_frame": needed,
            "floor_ms_per_frame": round(needed / ceiling_bytes_per_s * 1000, 4),
            "used_bytes_per_s": round(used),
            "share": round(used / ceiling_bytes_per_s, 4),
        }
    }
