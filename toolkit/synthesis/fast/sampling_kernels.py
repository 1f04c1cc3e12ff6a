"""Triton kernel that chooses a token: penalty, ban, temperature, top-k, top-p and the draw, one program a row."""

from __future__ import annotations

import triton
import triton.language as tl

from toolkit.synthesis.fast.kernel_arithmetic import begin, follow
from toolkit.synthesis.fast.philox import PHILOX_KEYS, PHILOX_MULTIPLIERS, PHILOX_ROUNDS

__all__ = ["choose_tokens"]

_M0, _M1 = tl.constexpr(PHILOX_MULTIPLIERS[0]), tl.constexpr(PHILOX_MULTIPLIERS[1])
_K0, _K1 = tl.constexpr(PHILOX_KEYS[0]), tl.constexpr(PHILOX_KEYS[1])
_ROUNDS = tl.constexpr(PHILOX_ROUNDS)
_INFINITY = tl.constexpr(float("inf"))
_LOWEST = tl.constexpr(-2139095041)
"""Key of minus infinity."""
_NEAR = tl.constexpr(1 << 15)
"""Keys this close belong, if the logits come from a bfloat16 product, to one value at most: bfloat16 values lie 2**16
keys apart, and no temperature brings them closer than half of that."""


@triton.jit
def _noise(seed, counter, block: tl.constexpr):
    """Gumbel noise of every token, from the words of :mod:`toolkit.synthesis.fast.philox`."""
    c0 = tl.arange(0, block // 4).to(tl.uint32)
    none = c0 * 0
    c1, c2, c3 = none + counter.to(tl.uint32), none + (counter >> 32).to(tl.uint32), none
    k0, k1 = none + seed.to(tl.uint32), none + (seed >> 32).to(tl.uint32)
    for _ in tl.static_range(_ROUNDS):
        even_high, even = tl.umulhi(c0, none + _M0), c0 * _M0
        odd_high, odd = tl.umulhi(c2, none + _M1), c2 * _M1
        c0, c1, c2, c3 = odd_high ^ c1 ^ k0, odd, even_high ^ c3 ^ k1, even
        k0 += _K0
        k1 += _K1
    words = tl.interleave(tl.interleave(c0, c2), tl.interleave(c1, c3))
    uniform = ((words >> 9).to(tl.float32) + 0.5) * 1.1920928955078125e-07
    return -tl.log(-tl.log(uniform))


@triton.jit
def _keys(logits):
    """Whole numbers in the order of the logits; both zeros are one."""
    bits = tl.where(logits == 0.0, 0.0, logits).to(tl.int32, bitcast=True)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def _middle(low, high):
    """Halfway, without a sum that could pass the largest whole number."""
    return (low >> 1) + (high >> 1) + (low & high & 1)


@triton.jit
def _top_k_key(keys, k):
    """A key that exactly the ``k`` largest reach, or, where others tie with the last of them, that one's key."""
    low, high = tl.full((), _LOWEST, tl.int32), tl.max(keys, axis=0) + 1
    count = k + 1
    while (low + _NEAR < high) & (count != k):
        middle = _middle(low, high)
        count = tl.sum((keys >= middle).to(tl.int32), axis=0)
        if count >= k:
            low = middle
        else:
            high = middle
    if count == k:
        high = low + 1
    else:
        # Whatever keys are left between the bounds, often a single one: see _NEAR.
        high = tl.max(tl.where(keys < high, keys, _LOWEST), axis=0) + 1
        low = tl.min(tl.where(keys >= low, keys, high - 1), axis=0)
    while low + 1 < high:
        middle = _middle(low, high)
        if tl.sum((keys >= middle).to(tl.int32), axis=0) >= k:
            low = middle
        else:
            high = middle
    return low


@triton.jit
def _nucleus(logits, top_p):
    """Drop the least likely tokens that make up at most ``1 - top_p``; of equal ones at the bound, the first ones."""
    keys = _keys(logits)
    odds = tl.exp(logits - tl.max(logits, axis=0))
    odds = tl.div_rn(odds, tl.zeros_like(odds) + tl.sum(odds, axis=0))
    bound = 1.0 - top_p
    # The largest key below which there is no more than the bound: that of the token at which the sum crosses it.
    low, high = tl.full((), _LOWEST, tl.int32), tl.max(keys, axis=0) + 1
    while low + 1 < high:
        middle = _middle(low, high)
        if tl.sum(tl.where(keys < middle, odds, 0.0), axis=0) <= bound:
            low = middle
        else:
            high = middle
    below = tl.sum(tl.where(keys < low, odds, 0.0), axis=0)
    tied = (keys == low).to(tl.int32)
    each = tl.max(tl.where(keys == low, odds, 0.0), axis=0)
    spare = tl.minimum(tl.floor((bound - below) / each), tl.sum(tied, axis=0).to(tl.float32) - 1.0)
    dropped = (keys < low) | ((keys == low) & (tl.cumsum(tied, axis=0).to(tl.float32) <= spare))
    return tl.where(dropped, -_INFINITY, logits)


@triton.jit
def _drawn(value, noise, k):
    """The token with the largest sum of logit and noise among those that top-k leaves: fewer than ``k`` logits are
    larger than theirs.

    The bound is not looked for; the token with the largest sum of all is asked for its rank. If it has to go, so has
    each whose logit is no larger. Of a peaked distribution the first is nearly always one that may stay; of a flat one
    each round leaves about half of those that are to go.
    """
    token = tl.arange(0, value.shape[0])
    noisy = value + noise
    chosen = tl.argmax(noisy, axis=0)
    logit = tl.max(tl.where(token == chosen, value, -_INFINITY), axis=0)
    while tl.sum((value > logit).to(tl.int32), axis=0) >= k:
        noisy = tl.where(value <= logit, -_INFINITY, noisy)
        chosen = tl.argmax(noisy, axis=0)
        logit = tl.max(tl.where(token == chosen, value, -_INFINITY), axis=0)
    return chosen


@triton.jit(do_not_specialize=["banned_stride", "offset"])
def choose_tokens(
    logits,
    seen,
    banned,
    penalty,
    greedy,
    temperature,
    top_k,
    top_p,
    seeds,
    counters,
    out,
    table,
    vectors,
    offset,
    out_stride,
    banned_stride,
    vocab: tl.constexpr,
    block: tl.constexpr,
    has_seen: tl.constexpr,
    has_banned: tl.constexpr,
    width: tl.constexpr,
    padded_width: tl.constexpr,
    chained: tl.constexpr,
):
    """One token of each row, see ``Operations.choose``. Grid: rows.

    Args:
        seen, banned, greedy: bytes, 0 or 1.
        table, vectors: a row of ``width`` of the one is copied to the other for the token; not if ``width`` is 0.
        offset: added to the counters.
        out_stride: numbers from one row's token to the next one's.
        banned_stride: bytes from one row's bans to the next one's; 0 where all rows share them.
    """
    begin(chained)
    row = tl.program_id(0)
    token = tl.arange(0, block)
    inside = token < vocab
    # The noise needs nothing of the kernel before, and takes about as long to make as a token to choose.
    drawn = tl.load(greedy + row) == 0
    noise = tl.zeros((block,), tl.float32)
    if drawn:
        noise = _noise(tl.load(seeds + row), tl.load(counters + row) + offset, block)
    follow(chained)
    value = tl.load(logits + row * vocab + token, mask=inside, other=-_INFINITY).to(tl.float32)
    if has_seen:
        again = tl.load(seen + row * vocab + token, mask=inside, other=0) != 0
        factor = tl.zeros_like(value) + tl.load(penalty + row)
        value = tl.where(again, tl.where(value < 0, value * factor, tl.div_rn(value, factor)), value)
    if has_banned:
        ban = tl.load(banned + row * banned_stride + token, mask=inside, other=0) != 0
        value = tl.where(ban, -_INFINITY, value)
    if drawn:
        value = tl.div_rn(value, tl.zeros_like(value) + tl.load(temperature + row))
        k = tl.load(top_k + row)
        k = tl.where(k > 0, k, block)
        p = tl.load(top_p + row)
        if p < 1.0:
            if k < vocab:
                keys = _keys(value)
                value = tl.where(keys >= _top_k_key(keys, k), value, -_INFINITY)
            chosen = tl.argmax(_nucleus(value, p) + noise, axis=0)
        else:
            chosen = _drawn(value, noise, k)
    else:
        chosen = tl.argmax(value, axis=0)
    # A row of NaN must not point behind the table that its token is looked up in.
    chosen = tl.minimum(chosen, vocab - 1)
    tl.store(out + row * out_stride, chosen.to(tl.int64))
    if width > 0:
        column = tl.arange(0, padded_width)
        vector = tl.load(table + chosen.to(tl.int64) * width + column, mask=column < width, other=0.0)
        tl.store(vectors + row * width + column, vector, mask=column < width)
