"""One frame of a whole batch: choose, predict, read back, count; nothing in it waits for the host or depends on data.

The rows that have ended or are empty run along, since shapes are fixed, but change nothing: their counters, masks and
outputs stay. They work on slot 0 of their own cache, which costs least and which nobody reads any more.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from toolkit.synthesis.config import CODE_GROUPS
from toolkit.synthesis.fast.operations import ChoiceRules, Operations
from toolkit.synthesis.fast.state import FrameBuffers, RuleBuffers
from toolkit.synthesis.fast.weights import FrameWeights, LayerWeights, StackWeights
from toolkit.synthesis.layers import Angles
from toolkit.synthesis.sampling import MIN_NEW_TOKENS

__all__ = ["MOST_ROWS", "advance_talker", "predict_codes", "run_frame"]

MOST_ROWS = 64
"""Rows of one product at most: what the fused kernels take in one tile."""


def run_frame(operations: Operations, weights: FrameWeights, angles: Angles, buffers: FrameBuffers) -> None:
    """Advance every living row by one frame, in place.

    The result lies in ``codes`` and ``status`` of the buffers, at the place ``tick % ring``. A row that chooses the end
    of speech, or has all its frames, is not alive afterwards.

    Args:
        angles: of the talker's positions, at least as many as the cache has slots.
        buffers: views of as many rows as are to run.
    """
    alive, norm = buffers.alive, weights.talker.norm
    logits = operations.norm_linear(buffers.last, norm, weights.talker.eps, weights.head)
    banned = weights.bans.index_select(0, (buffers.frames < MIN_NEW_TOKENS).long())
    rules = _rules(buffers.talker_rules, buffers.penalty, buffers.seen, banned)
    counters = buffers.frames * CODE_GROUPS
    chosen = operations.choose(logits, rules, buffers.seeds, counters)
    first = chosen.masked_fill(~alive, weights.eos)
    place = first[:, None]
    buffers.seen.scatter_(1, place, buffers.seen.gather(1, place) | alive[:, None])

    goes_on = alive & (first != weights.eos)
    made = goes_on & (buffers.frames < buffers.limits)
    hidden = operations.norm(buffers.last, norm, weights.talker.eps)
    codes = predict_codes(operations, weights, buffers, hidden, first, counters)
    _report(buffers, codes, made, goes_on)
    advance_talker(operations, weights, angles, buffers, codes, made)
    buffers.lengths.add_(made)
    buffers.frames.add_(made)
    buffers.alive.copy_(made)
    buffers.tick.add_(1)


def advance_talker(
    operations: Operations, weights: FrameWeights, angles: Angles, buffers: FrameBuffers, codes: Tensor, made: Tensor
) -> None:
    """Run the talker's layers on the codes of a frame and the text beside it; the output goes to ``last``.

    Args:
        angles: as of :func:`run_frame`.
        codes: int64 ``[rows, 16]``.
        made: rows that made a frame, bool ``[rows]``; ``last`` of the others stays.
    """
    text = buffers.trail[buffers.row_numbers, torch.minimum(buffers.frames, buffers.trail_ends)]
    x = operations.frame_input(codes, weights.table, weights.starts, text)
    slots = buffers.lengths * made
    for layer, keys, values in zip(weights.talker.layers, buffers.keys, buffers.values, strict=True):
        x = _layer(operations, weights.talker, layer, x, angles, slots, keys, values)
    buffers.last.copy_(torch.where(made[:, None], x, buffers.last))


def predict_codes(
    operations: Operations,
    weights: FrameWeights,
    buffers: FrameBuffers,
    hidden: Tensor,
    first: Tensor,
    counters: Tensor,
) -> Tensor:
    """The sixteen codes of a frame, of which the code predictor chooses all but the first.

    Args:
        buffers: of whose predictor's caches all slots are written.
        hidden: the talker's normed output ``[rows, hidden]``.
        first: the first codes, int64 ``[rows]``.
        counters: where the draws of the frame begin, int64 ``[rows]``.

    Returns:
        int64 ``[rows, 16]``.
    """
    stack, last = weights.predictor, CODE_GROUPS - 1
    rules = _rules(buffers.predictor_rules, buffers.no_penalty, None, None)
    codes = first.new_empty(first.shape[0], CODE_GROUPS)
    codes[:, 0] = first
    x = _first_pass(operations, weights, buffers, hidden, first)
    for group, head in enumerate(weights.heads, 1):
        if group > 1:
            for layer, keys, values in zip(stack.layers, buffers.predictor_keys, buffers.predictor_values, strict=True):
                x = _layer(operations, stack, layer, x, weights.angles, group, keys, values)
        logits = operations.norm_linear(x, stack.norm, stack.eps, head)
        asked = logits, rules, buffers.seeds, counters
        if group < last:
            x = operations.choose_vectors(*asked, weights.following[group], offset=group, out=codes[:, group])
        else:
            operations.choose(*asked, offset=group, out=codes[:, group])
    return codes


def _first_pass(
    operations: Operations, weights: FrameWeights, buffers: FrameBuffers, hidden: Tensor, first: Tensor
) -> Tensor:
    """Slots 0 and 1, the hidden state and the first code: at once where a product takes as many rows, so that the
    weights are read once for both."""
    stack, count, angles = weights.predictor, first.shape[0], weights.angles
    start = hidden.to(weights.inputs.dtype)
    if weights.projection is not None:
        start = weights.projection(start)
    second = functional.embedding(first, weights.inputs)
    if 2 * count > MOST_ROWS:
        for x, at in ((start, 0), (second, 1)):
            for layer, keys, values in zip(stack.layers, buffers.predictor_keys, buffers.predictor_values, strict=True):
                x = _layer(operations, stack, layer, x, angles, at, keys, values)
        return x
    x = torch.cat((start, second))
    for layer, keys, values in zip(stack.layers, buffers.predictor_keys, buffers.predictor_values, strict=True):
        qkv = operations.norm_linear(x, layer.input_gain, stack.eps, layer.qkv)
        found = qkv.new_empty(2 * count, layer.out.shape[1])
        for at, rows in enumerate((slice(0, count), slice(count, 2 * count))):
            operations.attend(
                qkv[rows],
                layer.q_gain,
                layer.k_gain,
                stack.eps,
                angles.cos,
                angles.sin,
                at,
                keys,
                values,
                stack.heads,
                found[rows],
            )
        if layer is stack.layers[-1]:
            # Of the last layer nothing is read at slot 0 but its key and value.
            x = _rest(operations, stack, layer, x[count:], found[count:])
        else:
            x = _rest(operations, stack, layer, x, found)
    return x


def _layer(
    operations: Operations,
    stack: StackWeights,
    layer: LayerWeights,
    x: Tensor,
    angles: Angles,
    slots: Tensor | int,
    keys: Tensor,
    values: Tensor,
) -> Tensor:
    qkv = operations.norm_linear(x, layer.input_gain, stack.eps, layer.qkv)
    found = operations.attend(
        qkv, layer.q_gain, layer.k_gain, stack.eps, angles.cos, angles.sin, slots, keys, values, stack.heads
    )
    return _rest(operations, stack, layer, x, found)


def _rest(operations: Operations, stack: StackWeights, layer: LayerWeights, x: Tensor, found: Tensor) -> Tensor:
    """A layer from the output product on."""
    x = operations.linear_residual(found, layer.out, x)
    inner = operations.norm_gate_up(x, layer.post_gain, stack.eps, layer.gate_up)
    return operations.linear_residual(inner, layer.down, x)


def _report(buffers: FrameBuffers, codes: Tensor, made: Tensor, goes_on: Tensor) -> None:
    """Leave codes and status where the host reads them."""
    # Each of the three implies those before it, and the numbers of the states count how many hold.
    status = buffers.alive.to(torch.int8) + goes_on + made
    place = buffers.tick % buffers.status.shape[0]
    buffers.codes.index_copy_(0, place, codes[None])
    buffers.status.index_copy_(0, place, status[None])


def _rules(rules: RuleBuffers, penalty: Tensor, seen: Tensor | None, banned: Tensor | None) -> ChoiceRules:
    return ChoiceRules(
        seen=seen,
        penalty=penalty,
        banned=banned,
        greedy=rules.greedy,
        temperature=rules.temperature,
        top_k=rules.top_k,
        top_p=rules.top_p,
    )
