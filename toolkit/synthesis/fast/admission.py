"""Seats sequences in rows of a batch: prompts read in one recorded pass, all numbers in one copy.

A recorded pass takes the rows that it is for from its input, so that one recording serves every place of the batch,
also in the middle of running sequences, and needs no cache of its own to copy from.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

from toolkit.synthesis.fast.capture import EagerRecorder, Recorder, bucket_of
from toolkit.synthesis.fast.operations import Operations
from toolkit.synthesis.fast.prefill import padded_length, read_prompts
from toolkit.synthesis.fast.state import (
    SEAT_LENGTH,
    SEAT_NUMBERS,
    SEAT_ROW,
    SEAT_SHOWN,
    FrameBuffers,
    Seat,
    seat_numbers,
)
from toolkit.synthesis.fast.weights import StackWeights
from toolkit.synthesis.layers import Angles, attention, rotate
from toolkit.synthesis.memory import is_out_of_memory
from toolkit.synthesis.talker import Talker
from toolkit.synthesis.transfer import host_integers, moved

__all__ = ["LONGEST_RECORDED", "MOST_RECORDED", "Admission", "run_prompts"]

LONGEST_RECORDED = 512
"""Positions of the longest prompt that is read in a recorded pass."""

MOST_RECORDED = 2048
"""Positions of all rows of a recorded pass together. Beyond, the device is busy for longer than the host needs to
launch operation after operation, and a recording would only hold memory."""

_MOST_PASSES = 12


class Admission:
    """Reads prompts into the rows of one set of buffers and seats their sequences.

    Passes are recorded when a shape (a bucket of rows, a padded length) is first met; the twelve that were used last
    are kept. Longer prompts, larger batches and a device that records nothing take :func:`read_prompts`. So does
    everything once a recording has failed; ``fault`` says why.

    Args:
        weights: of the talker's layers.
        angles: of the talker's positions, as many as the cache has slots.
    """

    def __init__(self, talker: Talker, weights: StackWeights, angles: Angles, buffers: FrameBuffers) -> None:
        self._talker, self._weights, self._angles, self._buffers = talker, weights, angles, buffers
        self._passes: OrderedDict[tuple[int, int], Callable[[], None]] = OrderedDict()
        self._inputs: tuple[Tensor, Tensor] | None = None
        self.fault: str | None = None

    @property
    def warning(self) -> str:
        """What a failed recording means, in a sentence; empty where none failed."""
        if self.fault is None:
            return ""
        return (
            f"the reading of prompts could not be captured as a CUDA graph: {self.fault}. Speech is the same, but "
            "begins later."
        )

    def admit(self, start: int, seats: Sequence[Seat], recorder: Recorder, operations: Operations) -> None:
        """Read prompts and give them the rows from ``start`` on, which must be free. When reading fails, they stay so.

        Call it where the frames are queued, and keep the tensors of the seats until the work is done.

        Raises:
            UsageError: a prompt that does not fit.
        """
        lengths = [seat.rows.shape[0] for seat in seats]
        shape = self._shape(lengths) if self.fault is None and not isinstance(recorder, EagerRecorder) else None
        if shape is not None and self._admit_recorded(start, seats, shape, recorder, operations):
            return
        read_prompts(self._talker, self._angles, self._buffers, start, [seat.rows for seat in seats])
        places, vectors = self._buffers.trails(start, seats)
        torch._foreach_copy_(places, vectors)
        device = self._buffers.last.device
        self._buffers.seat(moved(host_integers(seat_numbers(start, seats, len(seats)), device), device))

    def _shape(self, lengths: Sequence[int]) -> tuple[int, int] | None:
        """Rows and positions of the recorded pass; None where there is none."""
        slots = self._buffers.keys.shape[3]
        # The last slot takes what is no prompt, so that no prompt may reach it.
        if not 0 < min(lengths) <= max(lengths) < slots:
            return None
        rows, length = bucket_of(len(lengths)), padded_length(max(lengths))
        if length > LONGEST_RECORDED or rows * length > MOST_RECORDED or length > self._angles.cos.shape[0]:
            return None
        return rows, length

    def _admit_recorded(
        self, start: int, seats: Sequence[Seat], shape: tuple[int, int], recorder: Recorder, operations: Operations
    ) -> bool:
        """Whether that went well; if not, nothing has been seated."""
        rows, length = shape
        numbers, prompts = self._input(rows, length)
        places, vectors = self._buffers.trails(start, seats)
        places += [prompts[row, : seat.rows.shape[0]] for row, seat in enumerate(seats)]
        vectors += [seat.rows for seat in seats]
        numbers.copy_(host_integers(seat_numbers(start, seats, rows), numbers.device), non_blocking=True)
        torch._foreach_copy_(places, vectors)
        known = self._passes.get(shape)
        if known is None:
            parts = operations, self._weights, self._angles, self._buffers, numbers, prompts

            def work() -> None:
                run_prompts(*parts)

            try:
                # What recording runs is this very admission; once more does not change it.
                known = self._passes[shape] = recorder.record(work)
            except Exception as error:
                # It may have gone well once before it failed, and nobody may sit where nobody is known to.
                self._buffers.vacate(start, start + len(seats))
                if is_out_of_memory(error):
                    raise
                self.fault = (str(error).strip() or type(error).__name__).split("\n")[0][:160]
                self._passes.clear()
                return False
            if len(self._passes) > _MOST_PASSES:
                self._passes.popitem(last=False)
        self._passes.move_to_end(shape)
        known()
        return True

    def _input(self, rows: int, length: int) -> tuple[Tensor, Tensor]:
        """The static input of a shape: numbers ``[15, rows]`` and prompts ``[rows, length, hidden]``."""
        if self._inputs is None:
            hidden, most = self._buffers.last.shape[1], bucket_of(self._buffers.size.rows)
            positions = min(MOST_RECORDED, most * LONGEST_RECORDED)
            with torch.inference_mode(False):
                self._inputs = (
                    self._buffers.seeds.new_zeros(SEAT_NUMBERS * most),
                    self._buffers.last.new_zeros((positions, hidden)),
                )
        numbers, prompts = self._inputs
        return (
            numbers[: SEAT_NUMBERS * rows].view(SEAT_NUMBERS, rows),
            prompts[: rows * length].view(rows, length, prompts.shape[1]),
        )


def run_prompts(
    operations: Operations,
    weights: StackWeights,
    angles: Angles,
    buffers: FrameBuffers,
    numbers: Tensor,
    prompts: Tensor,
) -> None:
    """Read right-padded prompts and seat their sequences; shapes follow from shapes, and nothing waits for the host.

    The same as :func:`read_prompts` and :meth:`FrameBuffers.seat`, but what is no prompt goes to the last slot of a
    row, which the frame that uses it writes before anybody reads it.

    Args:
        numbers: int64 ``[15, rows]``, see :func:`seat_numbers`; a prompt must leave the last slot free.
        prompts: ``[rows, length, hidden]``; behind each prompt anything.
    """
    rows, length, hidden = prompts.shape
    heads, head_dim = weights.heads, buffers.keys.shape[4]
    roped_heads, eps = heads + buffers.keys.shape[2], weights.eps
    row, shown = numbers[SEAT_ROW][:, None], numbers[SEAT_SHOWN][:, None]
    position = torch.arange(length, device=prompts.device)
    there = position < shown
    # Filled, since `where` copies a number of the host to the device, which a graph cannot hold.
    slot = position.masked_fill(~there, buffers.keys.shape[3] - 1)
    # Zeros, since whatever an earlier prompt left behind would spoil the sums if it were not finite.
    x = prompts.masked_fill(~there[:, :, None], 0.0).view(rows * length, hidden)
    here = angles.span(0, length)
    for layer, keys, values in zip(weights.layers, buffers.keys, buffers.values, strict=True):
        qkv = functional.linear(operations.norm(x, layer.input_gain, eps), layer.qkv).view(rows, length, -1, head_dim)
        queries = operations.norm(qkv[:, :, :heads].reshape(-1, head_dim), layer.q_gain, eps)
        ours = operations.norm(qkv[:, :, heads:roped_heads].reshape(-1, head_dim), layer.k_gain, eps)
        both = (queries.view(rows, length, -1, head_dim), ours.view(rows, length, -1, head_dim))
        roped = rotate(torch.cat(both, 2), here)
        key, value = roped[:, :, heads:], qkv[:, :, roped_heads:]
        keys[row, :, slot] = key
        values[row, :, slot] = value
        found = _attention(roped[:, :, :heads], key.transpose(1, 2), value.transpose(1, 2))
        x = x + functional.linear(found.view(rows * length, -1), layer.out)
        gated = functional.linear(operations.norm(x, layer.post_gain, eps), layer.gate_up)
        inner = gated.shape[1] // 2
        x = x + functional.linear(functional.silu(gated[:, :inner]) * gated[:, inner:], layer.down)
    # A column without a prompt repeats what the first one writes.
    first = (torch.arange(rows, device=prompts.device) * length).masked_fill(numbers[SEAT_SHOWN] == 0, 0)
    source = first + numbers[SEAT_LENGTH] - 1
    buffers.last.index_copy_(0, numbers[SEAT_ROW], x.index_select(0, source))
    buffers.seat(numbers)


def _attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    if queries.dtype == torch.float32:
        # No float32 kernel shares heads; PyTorch's way around that makes a mask from numbers of the host.
        group = queries.shape[2] // keys.shape[1]
        keys, values = (table[:, :, None].expand(-1, -1, group, -1, -1).flatten(1, 2) for table in (keys, values))
    return attention(queries, keys, values, None)
