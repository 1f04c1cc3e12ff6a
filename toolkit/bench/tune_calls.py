"""What the tuner runs for each task: the calls that a frame makes, each on weights or a cache of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from toolkit.bench.seated_row import POSITION, SLOTS
from toolkit.bench.tune_tasks import (
    MANY_ROWS,
    Attention,
    Choosing,
    DotProduct,
    ManyAttention,
    Product,
    ShortAttention,
    Task,
)
from toolkit.errors import ToolkitFault
from toolkit.synthesis.config import CODE_GROUPS, DecoderShape, ModelConfig
from toolkit.synthesis.fast.operations import ChoiceRules, Operations
from toolkit.synthesis.layers import rotary_table
from toolkit.synthesis.sampling import DecodeSettings

__all__ = ["Call", "Shapes", "TaskCalls", "Timed"]

_EPS = 1e-6
_CACHE_TIMES = 4
_LEAST_CALLS, _MOST_COPIES = 24, 64

Call = Callable[[Operations], Tensor]


@dataclass(frozen=True)
class Shapes:
    """Sizes of the two stacks of layers and of their vocabularies."""

    talker: DecoderShape
    predictor: DecoderShape
    talker_vocab: int
    predictor_vocab: int

    @classmethod
    def of(cls, config: ModelConfig) -> Shapes:
        """Those of a model."""
        return cls(config.talker.decoder, config.predictor.decoder, config.talker.vocab, config.predictor.vocab)


@dataclass(frozen=True)
class Timed:
    """Calls whose time is taken together, one round after the other; ``runs`` is what the time is divided by."""

    calls: Sequence[Call]
    rounds: int = 1
    runs: int = 1


class TaskCalls:
    """Makes the calls of tasks. On the device "meta" their tensors have shapes and nothing in them."""

    def __init__(self, shapes: Shapes, device: torch.device, dtype: torch.dtype) -> None:
        self._shapes, self._device, self._dtype = shapes, device, dtype
        self._generator = torch.Generator().manual_seed(0)

    def checks(self, task: Task) -> list[Call]:
        """One call of each kind that the task is made of, whose results are compared.

        Raises:
            ToolkitFault: a task that has no calls of its own.
        """
        if isinstance(task, Product):
            # The code predictor's first pass has two rows; and a batch of fewer rows than its tile must not read more.
            rows = (MANY_ROWS, MANY_ROWS // 2 + 1) if isinstance(task, DotProduct) else (1, 2)
            weight = self._weight(task)
            return [self._product(task, weight, count) for count in rows]
        if isinstance(task, Attention):
            return [self._attention(self._shapes.talker, 1)]
        if isinstance(task, ManyAttention):
            return [self._attention(self._shapes.talker, MANY_ROWS)]
        if isinstance(task, ShortAttention):
            # Without and with slots in front of the new one.
            return [self._short(*self._short_cache(), position) for position in (0, CODE_GROUPS - 1)]
        if isinstance(task, Choosing):
            return [self._first_choice(), self._next_choice(1)]
        raise ToolkitFault(f"{task.name} has no calls of its own")

    def timed(self, task: Task, cache_bytes: int) -> Timed:
        """Calls like the first of the checks, so many that what they read is more than a cache of that size holds; of
        attention and of the choice all those of a frame.

        Raises:
            ToolkitFault: a task that has no calls of its own.
        """
        if isinstance(task, Product):
            weight = self._weight(task)
            copies = _copies(weight.nbytes, cache_bytes, _MOST_COPIES)
            rows = MANY_ROWS if isinstance(task, DotProduct) else 1
            calls = [self._product(task, weight if copy == 0 else weight.clone(), rows) for copy in range(copies)]
            rounds = -(-_LEAST_CALLS // copies)
            return Timed(calls, rounds, rounds * copies)
        if isinstance(task, Attention):
            return Timed([self._attention(self._shapes.talker, 1) for _ in range(self._shapes.talker.layers)])
        if isinstance(task, ManyAttention):
            shape = self._shapes.talker
            read = 2 * MANY_ROWS * shape.kv_heads * POSITION * shape.head_dim * self._dtype.itemsize
            copies = _copies(read, cache_bytes, shape.layers)
            calls = _repeated([self._attention(shape, MANY_ROWS) for _ in range(copies)])
            return Timed(calls, runs=len(calls))
        if isinstance(task, ShortAttention):
            caches = [self._short_cache() for _ in range(self._shapes.predictor.layers)]
            return Timed([self._short(*cache, position) for position in range(CODE_GROUPS) for cache in caches])
        if isinstance(task, Choosing):
            return Timed([self._first_choice(), *(self._next_choice(group) for group in range(1, CODE_GROUPS))])
        raise ToolkitFault(f"{task.name} has no calls of its own")

    def _weight(self, task: Product) -> Tensor:
        return self._normal(task.outputs * (2 if task.gated else 1), task.inputs, scale=task.inputs**-0.5)

    def _product(self, task: Product, weight: Tensor, rows: int) -> Call:
        x, gain = self._normal(rows, task.inputs), self._normal(task.inputs)
        if task.role == "added":
            residual = self._normal(rows, task.outputs)
            return lambda operations: operations.linear_residual(x, weight, residual)
        if task.role == "gated":
            return lambda operations: operations.norm_gate_up(x, gain, _EPS, weight)
        return lambda operations: operations.norm_linear(x, gain, _EPS, weight)

    def _attention(self, shape: DecoderShape, rows: int) -> Call:
        """With a cache of its own, in the middle of a speech."""
        angles = rotary_table(shape.head_dim, shape.rope_theta, SLOTS, dtype=self._dtype, device=self._device)
        keys, values = (self._normal(rows, shape.kv_heads, SLOTS, shape.head_dim) for _ in range(2))
        slots = torch.full((rows,), POSITION, dtype=torch.int32, device=self._device)
        qkv, gain = self._normal(rows, shape.qkv_rows), self._normal(shape.head_dim)
        given = (qkv, gain, gain, shape.rms_eps, angles.cos, angles.sin, slots, keys, values, shape.heads)
        return lambda operations: operations.attend(*given)

    def _short_cache(self) -> tuple[Tensor, Tensor]:
        shape = self._shapes.predictor
        keys, values = (self._normal(1, shape.kv_heads, CODE_GROUPS, shape.head_dim) for _ in range(2))
        return keys, values

    def _short(self, keys: Tensor, values: Tensor, position: int) -> Call:
        shape = self._shapes.predictor
        angles = rotary_table(shape.head_dim, shape.rope_theta, CODE_GROUPS, dtype=self._dtype, device=self._device)
        qkv, gain = self._normal(1, shape.qkv_rows), self._normal(shape.head_dim)
        given = (qkv, gain, gain, shape.rms_eps, angles.cos, angles.sin, position, keys, values, shape.heads)
        return lambda operations: operations.attend(*given)

    def _first_choice(self) -> Call:
        """The talker's, behind a penalty and bans."""
        vocab, settings = self._shapes.talker_vocab, DecodeSettings()
        logits, seed, counter = self._normal(1, vocab), self._integer(1), self._integer(0)
        marks = torch.zeros(2, 1, vocab, dtype=torch.bool, device=self._device)
        marks[0, :, : vocab // 2], marks[1, :, vocab - vocab // 4 :] = True, True
        rules = ChoiceRules.of(
            [settings.talker], self._device, penalties=[settings.repetition_penalty], seen=marks[0], banned=marks[1]
        )
        return lambda operations: operations.choose(logits, rules, seed, counter).float()

    def _next_choice(self, group: int) -> Call:
        """The code predictor's, with the vector of what it chose."""
        shape, vocab = self._shapes.predictor, self._shapes.predictor_vocab
        logits, seed, counter = self._normal(1, vocab), self._integer(1), self._integer(0)
        rules = ChoiceRules.of([DecodeSettings().predictor], self._device)
        table = self._normal(vocab, shape.hidden)
        return lambda operations: operations.choose_vectors(logits, rules, seed, counter, table, offset=group)

    def _integer(self, value: int) -> Tensor:
        return torch.tensor([value], device=self._device)

    def _normal(self, *shape: int, scale: float = 1.0) -> Tensor:
        if self._device.type == "meta":
            return torch.empty(shape, device=self._device, dtype=self._dtype)
        drawn = torch.randn(*shape, generator=self._generator) * scale
        return drawn.to(device=self._device, dtype=self._dtype)


def _copies(read_bytes: int, cache_bytes: int, most: int) -> int:
    return max(1, min(most, -(-_CACHE_TIMES * cache_bytes // read_bytes) + 1))


def _repeated(calls: list[Call]) -> list[Call]:
    """At least eight calls, in turns: of fewer, a launch more or less would be seen in their time."""
    return calls * -(-8 // len(calls))
