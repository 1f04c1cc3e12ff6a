"""Triton kernel of a step's attention: norms, rotation, cache write and attention over the real length of each row."""

from __future__ import annotations

import triton
import triton.language as tl

from toolkit.synthesis.fast.kernel_arithmetic import begin, follow, rounded, wide

__all__ = ["attend_slots"]

_NOTHING = tl.constexpr(-3.0e38)
"""Largest score of no slot at all; finite, so that differences of two of it are numbers."""


@triton.jit
def _roped(here, there, gain, other_gain, cos, sin, eps, head_dim: tl.constexpr, dtype: tl.constexpr):
    """Norm and rotation of heads, ``[1, heads, columns]``."""
    scale = tl.rsqrt(tl.sum(here * here, axis=2, keep_dims=True) * (1.0 / head_dim) + eps)
    here = rounded(rounded(here * scale, dtype) * gain, dtype)
    there = rounded(rounded(there * scale, dtype) * other_gain, dtype)
    return rounded(rounded(here * cos, dtype) + rounded(there * sin, dtype), dtype)


@triton.jit(do_not_specialize=["slot_of_all"])
def attend_slots(
    qkv,
    q_gain,
    k_gain,
    cos,
    sin,
    slots,
    keys,
    values,
    out,
    partial,
    tops,
    arrived,
    eps,
    scale,
    slot_of_all,
    key_rows,
    key_heads,
    heads: tl.constexpr,
    kv_heads: tl.constexpr,
    head_dim: tl.constexpr,
    padded_dim: tl.constexpr,
    padded_group: tl.constexpr,
    block_slots: tl.constexpr,
    splits: tl.constexpr,
    together: tl.constexpr,
    chained: tl.constexpr,
):
    """Attention of one new position a row. Grid: rows, key heads, splits of the slots.

    Every lane of slots keeps a softmax of its own, so that the loop has no step in which all threads wait for each
    other; the lanes are merged behind it. With more than one split, the program that arrives last merges them.

    Args:
        partial, tops: float32, room for sums, and for maxima and weights, of every split.
        arrived: int32 per row and key head, zeros; zeros again afterwards.
        slot_of_all: the slot of every row if ``together``; else each has its own in ``slots``.
        key_rows, key_heads: strides of the caches' rows and key heads, in numbers.
    """
    dtype = qkv.dtype.element_ty
    begin(chained)
    group: tl.constexpr = heads // kv_heads
    row, key_head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    member = tl.arange(0, padded_group)[None, :, None]
    lane = tl.arange(0, block_slots)[:, None, None]
    column = tl.arange(0, padded_dim)[None, None, :]
    inside = column < head_dim
    other = (column + head_dim // 2) % head_dim
    head = key_head * group + member
    query_mask = (member < group) & inside
    # Gains and angles are never written: they need not wait for the kernel before.
    gains = wide(q_gain + column, inside), wide(q_gain + other, inside)
    key_gains = wide(k_gain + column, inside), wide(k_gain + other, inside)
    if together:
        position = slot_of_all
        cosine = wide(cos + position * head_dim + column, inside)
        sine = wide(sin + position * head_dim + column, inside)
        follow(chained)
    else:
        follow(chained)
        position = tl.load(slots + row)
        cosine = wide(cos + position * head_dim + column, inside)
        sine = wide(sin + position * head_dim + column, inside)
    span = ((position + splits - 1) // splits + block_slots - 1) // block_slots * block_slots
    first = split * span
    end = tl.minimum(first + span, position)
    cache = row.to(tl.int64) * key_rows + key_head.to(tl.int64) * key_heads
    # All that is read comes first, also the first slots: loads behind a reduction would wait for it.
    slot = first + lane
    key = tl.load(keys + cache + slot * head_dim + column, mask=(slot < end) & inside, other=0.0)
    value = tl.load(values + cache + slot * head_dim + column, mask=(slot < end) & inside, other=0.0)
    line = qkv + row * ((heads + 2 * kv_heads) * head_dim)
    new = line + (heads + key_head) * head_dim
    asking = line + head * head_dim
    query, other_query = wide(asking + column, query_mask), wide(asking + other, query_mask)
    new_key, other_key = wide(new + column, inside), wide(new + other, inside)
    new_value = wide(new + kv_heads * head_dim + column, inside)
    query = _roped(query, other_query, gains[0], gains[1], cosine, sine, eps, head_dim, dtype)
    new_key = _roped(new_key, other_key, key_gains[0], key_gains[1], cosine, sine, eps, head_dim, dtype)
    written = cache + position * head_dim + column
    own_columns = tl.where(split == 0, head_dim, 0)
    tl.store(keys + written, new_key.to(dtype), mask=column < own_columns)
    tl.store(values + written, new_value.to(dtype), mask=column < own_columns)
    # The new position is seen by the first lane of the first split, from the registers.
    here = split * block_slots + lane == 0
    top = tl.where(here, tl.sum(query * new_key, axis=2, keep_dims=True) * scale, _NOTHING)
    mass = tl.where(here & (member >= 0), 1.0, 0.0)
    found = tl.where(here & (member >= 0), new_value, 0.0)
    for start in range(first, end, block_slots):
        slot = start + lane
        ahead = slot + block_slots
        next_key = tl.load(keys + cache + ahead * head_dim + column, mask=(ahead < end) & inside, other=0.0)
        next_value = tl.load(values + cache + ahead * head_dim + column, mask=(ahead < end) & inside, other=0.0)
        score = tl.sum(query * key.to(tl.float32), axis=2, keep_dims=True) * scale
        score = tl.where(slot < end, score, _NOTHING)
        higher = tl.maximum(top, score)
        fade = tl.exp(top - higher)
        # Where a lane has seen no slot yet, this is 1, and nothing once the lanes are merged.
        weight = tl.exp(score - higher)
        mass = mass * fade + weight
        found = found * fade + weight * value.to(tl.float32)
        top = higher
        key, value = next_key, next_value
    highest = tl.max(top, axis=0, keep_dims=True)
    fade = tl.exp(top - highest)
    mass = tl.sum(mass * fade, axis=0, keep_dims=True)
    found = tl.sum(found * fade, axis=0, keep_dims=True)

    place = out + (row * heads + head) * head_dim + column
    if splits == 1:
        tl.store(place, rounded(found / mass, dtype).to(dtype), mask=query_mask)
    else:
        pair = row * kv_heads + key_head
        cell = pair * splits + tl.arange(0, splits)[:, None, None]
        mine = pair * splits + split
        tl.store(partial + (mine * padded_group + member) * padded_dim + column, found)
        tl.store(tops + (mine * padded_group + member) * 2, highest)
        tl.store(tops + (mine * padded_group + member) * 2 + 1, mass)
        tl.debug_barrier()
        if tl.atomic_add(arrived + pair, 1, sem="acq_rel") == splits - 1:
            # Past the first-level cache, which does not see what other multiprocessors write.
            tops_of = tl.load(tops + (cell * padded_group + member) * 2, cache_modifier=".cg")
            masses = tl.load(tops + (cell * padded_group + member) * 2 + 1, cache_modifier=".cg")
            sums = tl.load(partial + (cell * padded_group + member) * padded_dim + column, cache_modifier=".cg")
            shares = tl.exp(tops_of - tl.max(tops_of, axis=0, keep_dims=True))
            whole = tl.sum(masses * shares, axis=0, keep_dims=True)
            merged = tl.sum(sums * shares, axis=0, keep_dims=True) / whole
            tl.store(place, rounded(merged, dtype).to(dtype), mask=query_mask)
            tl.store(arrived + pair, 0)
