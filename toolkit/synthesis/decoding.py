"""The decode loop: from prompts to frames of codes, one frame at a time, until the end of speech or the length cap.

One loop serves streaming and whole-text use: a frame is handed out as soon as it exists. What happens inside a step is
the business of a :class:`Backend`; :class:`TorchBackend` is the plain one, against which faster ones are checked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from toolkit.errors import UsageError
from toolkit.synthesis.config import CODE_GROUPS, CONTROL_IDS
from toolkit.synthesis.layers import Angles, KeyValueCache, rotary_table
from toolkit.synthesis.prompt import Prompt, PromptBatch, join_prompts
from toolkit.synthesis.sampling import MIN_NEW_TOKENS, DecodeSettings, choose, penalised
from toolkit.synthesis.talker import Talker
from toolkit.synthesis.transfer import moved

__all__ = [
    "NO_FRAME",
    "Backend",
    "DecodeState",
    "FinishReason",
    "FrameStream",
    "Seed",
    "Step",
    "TorchBackend",
    "generate",
]

NO_FRAME = -1
"""Stands in all sixteen places of a row that has ended while others of its batch go on."""

FinishReason = Literal["eos", "length"]
"""The model ended the speech, or the length cap did."""

Seed = int | Sequence[int] | None
"""Of all draws of a batch; or one for each row, which a backend takes that draws row by row; None fixes none."""

S = TypeVar("S")


@dataclass(frozen=True)
class Step:
    """What one step yields: ``codes`` int64 ``[batch, 16]``, and ``alive`` bool ``[batch]``, false from the step on at
    which a row chose the end of speech, on any device. ``codes`` is None when no frame was made; rows not alive hold
    anything."""

    codes: Tensor | None
    alive: Tensor


class Backend(Protocol[S]):
    """What runs the network. ``S`` is whatever it keeps between steps. One that draws row by row, so that a row's
    draws do not hang on the others, says so by an attribute ``draws_by_row``; one that takes fewer rows than others
    by ``most_rows``."""

    def prefill(self, batch: PromptBatch, settings: DecodeSettings, seed: Seed) -> S:
        """Read the prompts."""

    def step(self, state: S, last: bool) -> Step:
        """Choose the first code of every row, make the frame, and read it in turn. After the ``last`` choice, and when
        every row has ended, no frame is made."""


@dataclass
class DecodeState:
    """State of :class:`TorchBackend` between steps."""

    batch: PromptBatch
    settings: DecodeSettings
    generator: torch.Generator | None
    cache: KeyValueCache
    angles: Angles
    visible: Tensor | None
    hidden: Tensor
    seen: Tensor
    alive: Tensor
    count: int = 0


class TorchBackend:
    """Plain PyTorch, on any device."""

    def __init__(self, talker: Talker) -> None:
        self._talker = talker
        codec = talker.config.talker
        suppressed = torch.zeros(codec.vocab, dtype=torch.bool)
        suppressed[codec.vocab - CONTROL_IDS :] = True
        suppressed[codec.codec_eos] = False
        self._suppressed = suppressed.to(talker.device)
        early = suppressed.clone()
        early[codec.codec_eos] = True
        self._suppressed_early = early.to(talker.device)

    def prefill(self, batch: PromptBatch, settings: DecodeSettings, seed: Seed) -> DecodeState:
        """Read the prompts; a seed makes every draw of this generation reproducible on the same device.

        Raises:
            UsageError: a seed for each row; here one draw is made for all rows, as in the official package.
        """
        if seed is not None and not isinstance(seed, int):
            raise UsageError(f"the plain path draws for all rows at once and takes one seed, not {list(seed)}")
        talker, shape = self._talker, self._talker.config.talker.decoder
        length = batch.rows.shape[1]
        limit = length + settings.max_new_tokens - 1
        dtype, device = talker.dtype, talker.device
        cache = KeyValueCache(shape, batch.size, length + 256, limit, dtype=dtype, device=device)
        angles = rotary_table(shape.head_dim, shape.rope_theta, limit, dtype=dtype, device=device)
        slots = torch.arange(limit, device=talker.device)
        ragged = len(set(batch.lengths)) > 1
        visible = slots >= batch.padding[:, None] if ragged else None
        mask = None
        here = angles.span(0, length)
        if visible is not None:
            causal = slots[:length, None] >= slots[:length]
            # A padding slot sees itself, since a row of softmax without any key would be NaN and spoil the cache.
            own = torch.eye(length, dtype=torch.bool, device=talker.device)
            mask = ((visible[:, None, :length] & causal) | own)[:, None]
            here = angles.at((slots[:length] - batch.padding[:, None]).clamp(min=0))
        out = talker.stack(batch.rows, here, cache, mask)
        vocab = talker.config.talker.vocab
        return DecodeState(
            batch=batch,
            settings=settings,
            generator=None if seed is None else torch.Generator(talker.device).manual_seed(seed),
            cache=cache,
            angles=angles,
            visible=visible,
            hidden=talker.stack.normed(out[:, -1]),
            seen=torch.zeros(batch.size, vocab, dtype=torch.bool, device=talker.device),
            alive=torch.ones(batch.size, dtype=torch.bool, device=talker.device),
        )

    def step(self, state: DecodeState, last: bool) -> Step:
        """One frame; see :class:`Backend`."""
        talker = self._talker
        first = self._first_code(state)
        state.alive = state.alive & (first != talker.config.talker.codec_eos)
        if last or not bool(state.alive.any()):
            return Step(None, state.alive)
        sampling, generator = state.settings.predictor, state.generator
        codes = talker.predictor.frame(state.hidden, first, lambda logits: choose(logits, sampling, generator))
        self._read(state, codes)
        state.count += 1
        return Step(codes, state.alive)

    def logits(self, state: DecodeState) -> Tensor:
        """Logits of the next first code before any processing, float32 ``[batch, vocabulary]``."""
        logits: Tensor = self._talker.head(state.hidden)
        return logits.float()

    def _first_code(self, state: DecodeState) -> Tensor:
        settings, eos = state.settings, self._talker.config.talker.codec_eos
        logits = penalised(self.logits(state), state.seen, settings.repetition_penalty)
        suppressed = self._suppressed_early if state.count < MIN_NEW_TOKENS else self._suppressed
        logits = logits.masked_fill(suppressed, -math.inf)
        first = choose(logits, settings.talker, state.generator).masked_fill(~state.alive, eos)
        state.seen.scatter_(1, first[:, None], True)
        return first

    def _read(self, state: DecodeState, codes: Tensor) -> None:
        """Feed a frame and the text vector of its step back into the talker."""
        talker, batch, slot = self._talker, state.batch, state.cache.length
        text = batch.trail[:, state.count] if state.count < batch.trail.shape[1] else batch.pad
        x = (talker.codes.frame_sum(codes) + text)[:, None]
        if state.visible is None:
            angles, mask = state.angles.span(slot, slot + 1), None
        else:
            angles = state.angles.at((slot - batch.padding)[:, None])
            mask = state.visible[:, None, None, : slot + 1]
        state.hidden = talker.stack.normed(talker.stack(x, angles, state.cache, mask)[:, -1])


class FrameStream(Iterator[Tensor]):
    """Frames of a generation, made when they are asked for: int64 ``[batch, 16]``, on the device of the model.

    A row that has ended while others go on holds :data:`NO_FRAME`. ``frame_counts`` and ``finish_reasons`` grow along
    and are final after the last frame; a reason is None while its row goes on. ``state`` is the backend's.
    """

    def __init__(
        self,
        backend: Backend[Any],
        batch: PromptBatch,
        settings: DecodeSettings,
        seed: Seed,
        frame_limits: Sequence[int] | None,
    ) -> None:
        self._backend = backend
        most = settings.max_new_tokens - 1
        self._limits = [most] * batch.size if frame_limits is None else [min(most, limit) for limit in frame_limits]
        self._over = False
        self.frame_counts: list[int] = [0] * batch.size
        self.finish_reasons: list[FinishReason | None] = [None] * batch.size
        with torch.inference_mode():
            self.state = backend.prefill(batch, settings, seed)

    def __iter__(self) -> FrameStream:
        return self

    @torch.inference_mode()
    def __next__(self) -> Tensor:
        if self._over:
            raise StopIteration
        last = all(
            reason is not None or count >= limit
            for reason, count, limit in zip(self.finish_reasons, self.frame_counts, self._limits, strict=True)
        )
        step = self._backend.step(self.state, last)
        going = [self._goes_on(row, alive, step) for row, alive in enumerate(step.alive.tolist())]
        if step.codes is None or not any(going):
            self._over = True
            raise StopIteration
        return step.codes if all(going) else _masked(step.codes, going)

    def collect(self) -> list[Tensor]:
        """Run to the end; int64 ``[frames, 16]`` per row, each cut at its own end of speech."""
        frames = list(self)
        if not frames:
            return [torch.empty(0, CODE_GROUPS, dtype=torch.int64) for _ in self.frame_counts]
        whole = torch.stack(frames, 1)
        return [row[:count] for row, count in zip(whole, self.frame_counts, strict=True)]

    def _goes_on(self, row: int, alive: bool, step: Step) -> bool:
        """Whether a row got a frame in this step; keeps its count and says why it ended."""
        if self.finish_reasons[row] is not None:
            return False
        if not alive:
            self.finish_reasons[row] = "eos"
            return False
        if step.codes is None or self.frame_counts[row] >= self._limits[row]:
            self.finish_reasons[row] = "length"
            return False
        self.frame_counts[row] += 1
        return True


def _masked(codes: Tensor, going: list[bool]) -> Tensor:
    return codes.masked_fill(moved(~torch.tensor(going), codes.device)[:, None], NO_FRAME)


def generate(
    talker: Talker,
    prompts: Sequence[Prompt],
    settings: DecodeSettings,
    *,
    seed: Seed = None,
    frame_limits: Sequence[int] | None = None,
    backend: Backend[Any] | None = None,
) -> FrameStream:
    """Start speaking; the prompts are read at once, the frames are made while the result is iterated over.

    Args:
        prompts: one or more, of any lengths; they run side by side.
        seed: makes the draws reproducible on the same device and batch; None draws from PyTorch's global generator.
        frame_limits: most frames of each row, where that is less than ``max_new_tokens - 1``.
        backend: what runs the network; the plain one unless given.

    Raises:
        UsageError: no prompt, a prompt that leaves no room below the model's position limit, or limits that are not
            one positive number per prompt.
    """
    batch = join_prompts(prompts)
    if frame_limits is not None and (len(frame_limits) != batch.size or min(frame_limits) < 1):
        raise UsageError(f"frame limits must be {batch.size} numbers above 0, found {list(frame_limits)}")
    room = talker.config.talker.max_positions - max(batch.lengths)
    if room < settings.max_new_tokens - 1:
        raise UsageError(
            f"a prompt of {max(batch.lengths)} positions leaves room for {max(room, 0)} frames; "
            f"max_new_tokens {settings.max_new_tokens} asks for {settings.max_new_tokens - 1}"
        )
    return FrameStream(backend or TorchBackend(talker), batch, settings, seed, frame_limits)
