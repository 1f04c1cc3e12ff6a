"""What the fast path takes on a card beside the weights: buffers that are made once, and the memory of its graphs."""

from __future__ import annotations

import torch

from toolkit.synthesis.codec_config import QUANTIZERS, SAMPLES_PER_FRAME, CodecDecoderConfig
from toolkit.synthesis.codec_decoder import CodecDecoder
from toolkit.synthesis.config import CODE_GROUPS, DecoderShape, ModelConfig
from toolkit.synthesis.fast.codec_steps import STEP_FRAMES, longest_step, rows_run
from toolkit.synthesis.fast.state import StateSize
from toolkit.synthesis.memory import MemoryLine

__all__ = ["GRAPH_POOL_BYTES", "codec_footprint", "footprint"]

GRAPH_POOL_BYTES = 64 * 2**20
"""Memory that all graphs of an engine share: cuBLAS's workspace (32 MiB on the largest cards) and one large and a few
small blocks of the allocator (20 and 2 MiB), which hold what a frame makes on its way. Reckoned, not yet measured."""

_RULE_BYTES = 2 * (1 + 4 + 4 + 4)
_COUNTER_BYTES = 4 + 5 * 8 + 2 * 4 + 1
"""A row's sampling rules of talker and predictor; its length, five int64 numbers (frames, limit, seed, end of the
trail, its own), two penalties and flag."""
_TICK_BYTES = 8


def footprint(
    config: ModelConfig, size: StateSize, dtype: torch.dtype, predictor_dtype: torch.dtype, *, on_card: bool
) -> tuple[MemoryLine, ...]:
    """Bytes of the buffers of :class:`toolkit.synthesis.fast.state.FrameBuffers` of a size, the angles of its
    positions, and, on a card, of the graphs."""
    talker, predictor = config.talker.decoder, config.predictor.decoder
    cache = size.rows * size.slots * _position_bytes(talker, dtype)
    frame_cache = size.rows * CODE_GROUPS * _position_bytes(predictor, predictor_dtype)
    vectors = size.rows * (size.trail + 2) * talker.hidden * dtype.itemsize
    ring = size.ring * size.rows * (CODE_GROUPS * 8 + 1)
    rows = size.rows * (config.talker.vocab + _RULE_BYTES + _COUNTER_BYTES) + _TICK_BYTES
    angles = 2 * size.slots * talker.head_dim * dtype.itemsize
    lines = [
        MemoryLine(f"cache of {size.rows} x {size.slots} positions", cache),
        MemoryLine("other buffers of frames", frame_cache + vectors + ring + rows + angles),
    ]
    if on_card:
        lines.append(MemoryLine("graphs", GRAPH_POOL_BYTES))
    return tuple(lines)


def codec_footprint(
    config: CodecDecoderConfig, rows: int, audio_chunk_size: int, dtype: torch.dtype
) -> tuple[MemoryLine, ...]:
    """Bytes that recorded steps of the codec hold for so many rows: the past that the decoder looks back on (5 MB a row
    at the published sizes in float32), and codes and samples of each step up to the longest.

    Args:
        dtype: of the codec.
    """
    run = rows_run(rows)
    columns = CodecDecoder(config).layout.columns
    state = run * (sum(count * width for count, width in columns) * dtype.itemsize + 8)
    longest = longest_step(rows, audio_chunk_size)
    frames = sum(size for size in STEP_FRAMES if size <= longest)
    steps = run * frames * (QUANTIZERS * 8 + SAMPLES_PER_FRAME * 4)
    return (MemoryLine(f"codec's buffers of {run} rows" if run > 1 else "codec's buffers", state + steps),)


def _position_bytes(shape: DecoderShape, dtype: torch.dtype) -> int:
    return shape.layers * 2 * shape.kv_heads * shape.head_dim * dtype.itemsize
