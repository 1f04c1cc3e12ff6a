"""The static buffers of a batch: all that a frame reads and writes, at addresses that never change."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from toolkit.synthesis.config import CODE_GROUPS, DecoderShape
from toolkit.synthesis.fast.capture import bucket_of
from toolkit.synthesis.sampling import DecodeSettings
from toolkit.synthesis.talker import Talker

__all__ = [
    "ENDED",
    "FRAME",
    "IDLE",
    "OUT_OF_ROOM",
    "SEAT_LENGTH",
    "SEAT_NUMBERS",
    "SEAT_ROW",
    "SEAT_SHOWN",
    "FrameBuffers",
    "RuleBuffers",
    "Seat",
    "StateSize",
    "seat_numbers",
]

IDLE, ENDED, OUT_OF_ROOM, FRAME = 0, 1, 2, 3
"""How far a frame got with a row: nobody sits there; it chose the end of speech; it chose a code, but has all its
frames; it made a frame. After the second and third it is idle."""

_SLOT_STEP = 256
_TRAIL_STEP = 64
_INT32_MOST = 2**31 - 1
_AXIS = {"keys": 1, "values": 1, "predictor_keys": 1, "predictor_values": 1, "codes": 1, "status": 1, "tick": None}


@dataclass(frozen=True)
class StateSize:
    """Sizes of the buffers.

    ``rows`` sequences side by side; ``slots`` positions each, prompt and frames together; ``trail`` text vectors each,
    without the pad vector; ``ring`` frames that are kept for the host to read.
    """

    rows: int
    slots: int
    trail: int = 1
    ring: int = 8

    def rounded(self) -> StateSize:
        """The size that buffers for it are made in: rows of a frame that is recorded, and steps of slots and trail, so
        that the next generation, a little longer, finds room."""
        return replace(
            self,
            rows=bucket_of(self.rows),
            slots=-(-self.slots // _SLOT_STEP) * _SLOT_STEP,
            trail=-(-self.trail // _TRAIL_STEP) * _TRAIL_STEP,
        )

    def holds(self, other: StateSize) -> bool:
        """Whether a batch of another size fits."""
        return self.rows >= other.rows and self.slots >= other.slots and self.trail >= other.trail


@dataclass(frozen=True)
class RuleBuffers:
    """Sampling rules per row: ``greedy`` bool, ``temperature`` float32, ``top_k`` int32, ``top_p`` float32."""

    greedy: Tensor
    temperature: Tensor
    top_k: Tensor
    top_p: Tensor

    @classmethod
    def make(cls, rows: int, device: torch.device) -> RuleBuffers:
        """Greedy rows."""
        return cls(
            torch.ones(rows, dtype=torch.bool, device=device),
            torch.ones(rows, dtype=torch.float32, device=device),
            torch.zeros(rows, dtype=torch.int32, device=device),
            torch.ones(rows, dtype=torch.float32, device=device),
        )

    def first(self, count: int) -> RuleBuffers:
        """Views of the first rows."""
        return RuleBuffers(*(table[:count] for table in self.tensors()))

    def tensors(self) -> Iterator[Tensor]:
        """All buffers."""
        yield from (self.greedy, self.temperature, self.top_k, self.top_p)


@dataclass(frozen=True)
class Seat:
    """One sequence that takes a row.

    ``rows`` are the vectors of its prompt ``[positions, hidden]``, ``trail`` and ``pad`` what is added while it speaks
    (see :class:`toolkit.synthesis.prompt.Prompt`), ``limit`` the most frames it may make.
    """

    rows: Tensor
    trail: Tensor
    pad: Tensor
    settings: DecodeSettings
    seed: int
    limit: int

    @property
    def size(self) -> StateSize:
        """What it needs: each frame takes one position behind the prompt."""
        return StateSize(1, self.rows.shape[0] + self.limit, self.trail.shape[0])


SEAT_ROW, SEAT_SHOWN, SEAT_LENGTH = 0, 1, 5
_WIDE, _SHORT, _FLAGS, _REALS = slice(2, 5), slice(5, 8), slice(8, 10), slice(10, 15)
SEAT_NUMBERS = 15
"""Places of a seat's numbers, all in one table so that they travel in one copy: its row; the positions of its prompt
that lie in the input; limit, seed and end of the trail; length of the prompt and the two top-k; whether the stages are
greedy; and, as the bits of float64, penalty, temperature and top-p of the talker, and both of the predictor."""


def seat_numbers(start: int, seats: Sequence[Seat], columns: int) -> list[list[int]]:
    """Numbers of sequences for the rows from ``start`` on, ``[15][columns]``.

    Columns beyond the seats repeat the first one, which changes nothing, but show no position of a prompt.
    """
    table = [_numbers(row, seat) for row, seat in enumerate(seats, start)]
    spare = list(table[0])
    spare[SEAT_SHOWN] = 0
    table += [spare] * (columns - len(seats))
    return [list(numbers) for numbers in zip(*table, strict=True)]


def _numbers(row: int, seat: Seat) -> list[int]:
    length, settings = seat.rows.shape[0], seat.settings
    ours, theirs = settings.talker, settings.predictor
    reals = (settings.repetition_penalty, ours.temperature, ours.top_p, theirs.temperature, theirs.top_p)
    return [
        row,
        length,
        seat.limit,
        seat.seed,
        seat.trail.shape[0],
        length,
        min(ours.top_k, _INT32_MOST),
        min(theirs.top_k, _INT32_MOST),
        not ours.do_sample,
        not theirs.do_sample,
        *struct.unpack("=5q", struct.pack("=5d", *reals)),
    ]


@dataclass(frozen=True)
class FrameBuffers:
    """Buffers of ``rows`` sequences, each in its own row.

    Slot ``p`` of a row holds position ``p`` of its sequence. ``last`` is the talker's newest output ``[rows, hidden]``
    before its final norm; ``lengths`` (int32) counts filled slots, ``frames`` (int64) finished frames, ``limits``
    (int64) the most of them; ``no_penalty`` is all ones. ``trail`` ``[rows, steps + 1, hidden]`` holds the text vectors
    and behind them the pad vector, which lies at ``trail_ends`` (int64). ``codes`` int64 ``[ring, rows, 16]`` and
    ``status`` int8 ``[ring, rows]`` take turns by ``tick`` (int64 ``[1]``, the frames of the whole batch so far).
    """

    keys: Tensor
    values: Tensor
    predictor_keys: Tensor
    predictor_values: Tensor
    last: Tensor
    lengths: Tensor
    frames: Tensor
    limits: Tensor
    alive: Tensor
    seeds: Tensor
    seen: Tensor
    penalty: Tensor
    no_penalty: Tensor
    talker_rules: RuleBuffers
    predictor_rules: RuleBuffers
    trail: Tensor
    trail_ends: Tensor
    row_numbers: Tensor
    codes: Tensor
    status: Tensor
    tick: Tensor

    @classmethod
    def make(cls, talker: Talker, size: StateSize) -> FrameBuffers:
        """Empty buffers on the device of the talker; nobody sits there."""
        config, device, rows = talker.config, talker.device, size.rows
        wide, narrow = talker.dtype, talker.predictor.stack.norm.dtype

        def zeros(*shape: int, dtype: torch.dtype) -> Tensor:
            # Not empty memory: a slot that no row may see yet is multiplied by a weight of 0, and 0 * NaN is NaN.
            return torch.zeros(shape, dtype=dtype, device=device)

        cache = _cache_shape(config.talker.decoder, rows, size.slots)
        frame_cache = _cache_shape(config.predictor.decoder, rows, CODE_GROUPS)
        with torch.inference_mode(False):
            return cls(
                keys=zeros(*cache, dtype=wide),
                values=zeros(*cache, dtype=wide),
                predictor_keys=zeros(*frame_cache, dtype=narrow),
                predictor_values=zeros(*frame_cache, dtype=narrow),
                last=zeros(rows, config.talker.decoder.hidden, dtype=wide),
                lengths=zeros(rows, dtype=torch.int32),
                frames=zeros(rows, dtype=torch.int64),
                limits=zeros(rows, dtype=torch.int64),
                alive=zeros(rows, dtype=torch.bool),
                seeds=zeros(rows, dtype=torch.int64),
                seen=zeros(rows, config.talker.vocab, dtype=torch.bool),
                penalty=torch.ones(rows, dtype=torch.float32, device=device),
                no_penalty=torch.ones(rows, dtype=torch.float32, device=device),
                talker_rules=RuleBuffers.make(rows, device),
                predictor_rules=RuleBuffers.make(rows, device),
                trail=zeros(rows, size.trail + 1, config.talker.decoder.hidden, dtype=wide),
                trail_ends=zeros(rows, dtype=torch.int64),
                row_numbers=torch.arange(rows, device=device),
                codes=zeros(size.ring, rows, CODE_GROUPS, dtype=torch.int64),
                status=zeros(size.ring, rows, dtype=torch.int8),
                tick=zeros(1, dtype=torch.int64),
            )

    @property
    def size(self) -> StateSize:
        """Sizes of the buffers."""
        ring, rows = self.status.shape
        return StateSize(rows, self.keys.shape[3], self.trail.shape[1] - 1, ring)

    def first(self, count: int) -> FrameBuffers:
        """Views of the first ``count`` rows."""
        cut = {name: value.narrow(_axis(name), 0, count) for name, value in self._by_row()}
        return replace(
            self,
            **cut,
            talker_rules=self.talker_rules.first(count),
            predictor_rules=self.predictor_rules.first(count),
        )

    def tensors(self) -> Iterator[Tensor]:
        """All buffers."""
        yield from (value for _, value in self._by_row())
        yield from self.talker_rules.tensors()
        yield from self.predictor_rules.tensors()
        yield self.tick

    def seat(self, numbers: Tensor) -> None:
        """Give rows to sequences whose prompts and trails lie there; they are alive from now on.

        Args:
            numbers: int64 ``[15, seats]``, see :func:`seat_numbers`; a seat may be there twice.
        """
        rows = numbers[SEAT_ROW]
        wide, short, flags = numbers[_WIDE], numbers[_SHORT].to(torch.int32), numbers[_FLAGS].to(torch.bool)
        reals = numbers.view(torch.float64)[_REALS].to(torch.float32)
        ours, theirs = self.talker_rules, self.predictor_rules
        columns = (
            (wide, (self.limits, self.seeds, self.trail_ends)),
            (short, (self.lengths, ours.top_k, theirs.top_k)),
            (flags, (ours.greedy, theirs.greedy)),
            (reals, (self.penalty, ours.temperature, ours.top_p, theirs.temperature, theirs.top_p)),
        )
        for found, tables in columns:
            for column, table in zip(found, tables, strict=True):
                table.index_copy_(0, rows, column)
        self.frames.index_fill_(0, rows, 0)
        self.seen.index_fill_(0, rows, False)
        self.alive.index_fill_(0, rows, True)

    def trails(self, start: int, seats: Sequence[Seat]) -> tuple[list[Tensor], list[Tensor]]:
        """Where the text vectors of the rows from ``start`` on are to lie, and the vectors, in pairs."""
        places, vectors = [], []
        for row, seat in enumerate(seats, start):
            end = seat.trail.shape[0]
            places += [self.trail[row, :end], self.trail[row, end]]
            vectors += [seat.trail, seat.pad]
        return places, vectors

    def vacate(self, start: int, stop: int) -> None:
        """Take the rows ``start .. stop - 1`` back; a frame does nothing with them from now on."""
        self.alive[start:stop].zero_()

    def move(self, source: int, target: int) -> None:
        """Let the sequence of one row go on in another, and take the first one back."""
        for name, value in self._by_row():
            if name not in ("codes", "status", "row_numbers", "no_penalty", "predictor_keys", "predictor_values"):
                axis = _axis(name)
                value.select(axis, target).copy_(value.select(axis, source))
        for rules in (self.talker_rules, self.predictor_rules):
            for table in rules.tensors():
                table[target].copy_(table[source])
        self.vacate(source, source + 1)

    def wipe(self) -> None:
        """Empty all rows, with what a failed computation may have left in the caches."""
        for table in (self.keys, self.values, self.predictor_keys, self.predictor_values, self.last):
            table.zero_()
        self.alive.zero_()
        self.tick.zero_()

    def _by_row(self) -> Iterator[tuple[str, Tensor]]:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor) and field.name != "tick":
                yield field.name, value


def _axis(name: str) -> int:
    return _AXIS.get(name) or 0


def _cache_shape(shape: DecoderShape, rows: int, slots: int) -> tuple[int, ...]:
    return shape.layers, rows, shape.kv_heads, slots, shape.head_dim
