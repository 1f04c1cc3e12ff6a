"""Buffers of one row that is in the middle of its speech, for measuring what a frame is made of."""

from __future__ import annotations

import torch

from toolkit.synthesis.fast.state import FrameBuffers, Seat, StateSize, seat_numbers
from toolkit.synthesis.layers import Angles, rotary_table
from toolkit.synthesis.sampling import DecodeSettings
from toolkit.synthesis.talker import Talker

__all__ = ["POSITION", "SLOTS", "seated_row"]

SLOTS, POSITION = 1024, 600
"""Slots of the cache, and a position in the middle of an ordinary text's speech."""


def seated_row(talker: Talker, settings: DecodeSettings) -> tuple[FrameBuffers, Angles]:
    """Buffers on the device of the talker, 1,024 slots, with 600 of them filled; and the angles of all positions.

    The row may make 424 frames. Its last output is drawn, the same each time; its cache holds zeros, which cost what
    others do.
    """
    shape, device, dtype = talker.config.talker.decoder, talker.device, talker.dtype
    buffers = FrameBuffers.make(talker, StateSize(1, SLOTS))
    angles = rotary_table(shape.head_dim, shape.rope_theta, SLOTS, dtype=dtype, device=device)
    empty = torch.zeros(POSITION, shape.hidden, dtype=dtype, device=device)
    seats = [Seat(empty, empty[:1], empty[0], settings, 0, SLOTS - POSITION)]
    buffers.seat(torch.tensor(seat_numbers(0, seats, 1), device=device))
    for place, vectors in zip(*buffers.trails(0, seats), strict=True):
        place.copy_(vectors)
    generator = torch.Generator().manual_seed(1)
    buffers.last.copy_(torch.randn(1, shape.hidden, generator=generator))
    return buffers, angles
