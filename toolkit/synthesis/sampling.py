"""From logits to one token per row: penalty, suppression, temperature, top-k, top-p and the draw, all in float32.

Order and ties are those of the official pipeline: repetition penalty, minimum length and suppression, temperature,
top-k, top-p, one multinomial draw per step over all rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from toolkit.errors import UsageError
from toolkit.synthesis.config import GenerationDefaults

__all__ = ["GREEDY", "MIN_NEW_TOKENS", "DecodeSettings", "Sampling", "choose", "penalised"]

T = TypeVar("T")

MIN_NEW_TOKENS = 2
"""First codes before the end of speech may be chosen; fixed in the official code."""


def _first(given: T | None, default: T) -> T:
    return default if given is None else given


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _require(holds: bool, name: str, wanted: str, found: object) -> None:
    if not holds:
        raise UsageError(f"{name} must be {wanted}, not {found!r}")


@dataclass(frozen=True)
class Sampling:
    """How one token is chosen: greedy, or a draw from what temperature, top-k and top-p leave.

    ``top_k`` 0, ``top_p`` 1.0 and ``temperature`` 1.0 switch the respective step off.
    """

    do_sample: bool = True
    temperature: float = 0.9
    top_k: int = 50
    top_p: float = 1.0

    def __post_init__(self) -> None:
        hot = _is_number(self.temperature) and self.temperature > 0
        _require(hot, "temperature", "a number above 0", self.temperature)
        _require(type(self.top_k) is int and self.top_k >= 0, "top_k", "a whole number of at least 0", self.top_k)
        partial = _is_number(self.top_p) and 0 < self.top_p <= 1
        _require(partial, "top_p", "a number above 0 and at most 1", self.top_p)


GREEDY = Sampling(do_sample=False)
"""The most likely token, always."""


@dataclass(frozen=True)
class DecodeSettings:
    """Settings of one generation. ``max_new_tokens`` counts first codes and gives one frame less at most: the last
    one is chosen, since it may be the end of speech, but no frame is made from it."""

    talker: Sampling = Sampling()
    predictor: Sampling = Sampling()
    repetition_penalty: float = 1.05
    max_new_tokens: int = 8192

    def __post_init__(self) -> None:
        penalty = self.repetition_penalty
        _require(_is_number(penalty) and penalty > 0, "repetition_penalty", "a number above 0", penalty)
        limit = self.max_new_tokens
        _require(type(limit) is int and limit >= 2, "max_new_tokens", "at least 2 (2 give one frame)", limit)

    @classmethod
    def of(
        cls,
        defaults: GenerationDefaults,
        *,
        do_sample: bool | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float | None = None,
        subtalker_do_sample: bool | None = None,
        subtalker_temperature: float | None = None,
        subtalker_top_k: int | None = None,
        subtalker_top_p: float | None = None,
        max_new_tokens: int | None = None,
    ) -> DecodeSettings:
        """What the caller gives wins over the model's ``generation_config.json``; None means what the file says.

        Raises:
            UsageError: a value that is no setting.
        """
        return cls(
            talker=Sampling(
                _first(do_sample, defaults.do_sample),
                _first(temperature, defaults.temperature),
                _first(top_k, defaults.top_k),
                _first(top_p, defaults.top_p),
            ),
            predictor=Sampling(
                _first(subtalker_do_sample, defaults.subtalker_do_sample),
                _first(subtalker_temperature, defaults.subtalker_temperature),
                _first(subtalker_top_k, defaults.subtalker_top_k),
                _first(subtalker_top_p, defaults.subtalker_top_p),
            ),
            repetition_penalty=_first(repetition_penalty, defaults.repetition_penalty),
            max_new_tokens=_first(max_new_tokens, defaults.max_new_tokens),
        )

    def greedy(self) -> DecodeSettings:
        """The same without any draw."""
        return replace(
            self, talker=replace(self.talker, do_sample=False), predictor=replace(self.predictor, do_sample=False)
        )


def penalised(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Divide positive and multiply negative logits of the tokens already chosen, each token once.

    Args:
        logits: float32 ``[batch, vocabulary]``.
        seen: bool of the same shape.
    """
    if penalty == 1.0:
        return logits
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator | None = None) -> Tensor:
    """One token per row, int64 ``[batch]``, from float32 logits ``[batch, vocabulary]``; -inf is never chosen.

    The draw is one ``torch.multinomial`` over all rows, so that a seed gives what the official package gives with the
    same build of PyTorch on the same device.
    """
    if not sampling.do_sample:
        return logits.argmax(-1)
    if sampling.temperature != 1.0:
        logits = logits / sampling.temperature
    if sampling.top_k:
        smallest = logits.topk(min(sampling.top_k, logits.shape[-1])).values[..., -1:]
        logits = logits.masked_fill(logits < smallest, -math.inf)
    if sampling.top_p < 1.0:
        logits = _nucleus(logits, sampling.top_p)
    return torch.multinomial(torch.softmax(logits, -1), 1, generator=generator).squeeze(-1)


def _nucleus(logits: Tensor, top_p: float) -> Tensor:
    """Drop the least likely tokens whose probabilities add up to at most ``1 - top_p``; the most likely one stays.

    The token at which the sum crosses the bound is kept.
    """
    ascending, order = logits.sort(-1)
    dropped = torch.softmax(ascending, -1).cumsum(-1) <= 1 - top_p
    dropped[..., -1] = False
    return logits.masked_fill(torch.zeros_like(dropped).scatter(-1, order, dropped), -math.inf)
