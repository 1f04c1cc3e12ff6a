"""A CUDA graph for the CPU: records the operations of a frame with their tensors, and repeats just those."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from toolkit.synthesis.fast.operations import PlainOperations
from toolkit.synthesis.sampling import penalised

__all__ = ["ForcedOperations", "TapeRecorder"]

# What a graph cannot hold: shapes or numbers that the host must read from the device.
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal", "is_nonzero", "repeat_interleave")


class Tape(TorchDispatchMode):
    """Keeps each operation with the very tensors that it read and wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in WAITS, f"{name} waits for the device"
        if name in ("index", "index_put_"):
            assert all(index is None or index.dtype != torch.bool for index in args[1]), (
                "a mask as an index has no shape"
            )
        out = func(*args, **(kwargs or {}))
        results = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        # `to`, `reshape` and the like may be a view, and then need no repeating, or a copy.
        read = {leaf.untyped_storage().data_ptr() for leaf in tree_leaves(args) if isinstance(leaf, Tensor)}
        if not (func.is_view and all(result.untyped_storage().data_ptr() in read for result in results)):
            self.steps.append((func, args, kwargs or {}, results))
        return out

    def replay(self) -> None:
        """All operations again, on the same memory: what Python computed in between is as it was."""
        for func, args, kwargs, results in self.steps:
            again = [leaf for leaf in tree_leaves(func(*args, **kwargs)) if isinstance(leaf, Tensor)]
            for old, new in zip(results, again, strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class TapeRecorder:
    """As the recorder of CUDA graphs: runs the work to warm up, then records it."""

    def __init__(self) -> None:
        self.recorded = 0

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        work()
        tape = Tape()
        with tape:
            work()
        self.recorded += 1
        return tape.replay


class ForcedOperations(PlainOperations):
    """Makes rows end at chosen frames: a row with seed ``n`` at ``ends[n]``, one without never.

    ``draws`` False leaves out the draws, which greedy rows make as well and do not use, to save time; ``broken`` is
    raised in the middle of the next frame.
    """

    def __init__(self, eos: int, vocab: int, ends: dict[int, int] | None = None, *, draws: bool = True) -> None:
        self._eos, self._vocab, self._ends, self._draws = eos, vocab, ends or {}, draws
        self.broken: BaseException | None = None

    def choose(
        self, logits: Tensor, rules: Any, seeds: Tensor, counters: Tensor, *, offset: int = 0, out: Tensor | None = None
    ) -> Tensor:
        if self.broken is not None:
            broken, self.broken = self.broken, None
            raise broken
        if logits.shape[1] == self._vocab:
            ends = torch.zeros_like(seeds, dtype=torch.bool)
            for seed, frame in self._ends.items():
                ends |= (seeds == seed) & (counters // 16 >= frame)
            logits = logits.clone()
            logits[:, self._eos] = torch.where(ends, 1e4, -1e4)
        if self._draws:
            return super().choose(logits, rules, seeds, counters, offset=offset, out=out)
        if rules.seen is not None:
            logits = penalised(logits, rules.seen, float(rules.penalty[0]))
        chosen = (logits if rules.banned is None else logits.masked_fill(rules.banned, -math.inf)).argmax(-1)
        return chosen if out is None else out.copy_(chosen)
