"""Triton kernels of the products: norm, product, gate and residual of a step's few rows in one pass over a weight."""

from __future__ import annotations

import triton
import triton.language as tl

from toolkit.synthesis.fast.kernel_arithmetic import add_product, begin, follow, rounded, wide

__all__ = ["dot_products", "norm_rows", "row_products", "sum_frames"]


@triton.jit
def _finish(
    first,
    second,
    residual,
    place,
    row,
    rows,
    out,
    outputs: tl.constexpr,
    gated: tl.constexpr,
    added: tl.constexpr,
):
    """Round sums of products, apply the gate or the residual, and store."""
    dtype = out.dtype.element_ty
    mask = (row < rows) & (place < outputs)
    where = row * outputs + place
    value = rounded(first, dtype)
    if gated:
        active = rounded(value / (1.0 + tl.exp(-value)), dtype)
        value = rounded(active * rounded(second, dtype), dtype)
    if added:
        value = rounded(value + residual, dtype)
    tl.store(out + where, value.to(dtype), mask=mask)


@triton.jit
def _weights(
    weight,
    place,
    column,
    outputs: tl.constexpr,
    inputs: tl.constexpr,
    block_outputs: tl.constexpr,
    block_inputs: tl.constexpr,
):
    pointers = weight + place * inputs + column
    # Without a mask where none is needed: only then are the loads as wide as they can be.
    if outputs % block_outputs == 0 and inputs % block_inputs == 0:
        tile = tl.load(pointers)
    else:
        tile = tl.load(pointers, mask=(place < outputs) & (column < inputs), other=0.0)
    return tile


@triton.jit
def _normed(x, gain, scale, dtype: tl.constexpr):
    return rounded(rounded(x * scale, dtype) * gain, dtype)


@triton.jit(do_not_specialize=["rows"])
def row_products(
    x,
    gain,
    weight,
    residual,
    out,
    rows,
    eps,
    outputs: tl.constexpr,
    inputs: tl.constexpr,
    padded_rows: tl.constexpr,
    block_outputs: tl.constexpr,
    block_inputs: tl.constexpr,
    normed: tl.constexpr,
    gated: tl.constexpr,
    added: tl.constexpr,
    kept: tl.constexpr,
    chained: tl.constexpr,
):
    """Products of few rows, by multiplying and adding. Grid: blocks of outputs.

    Tiles are ``[rows, outputs, inputs]`` from the load on, so that no step has to move values between threads.

    Args:
        kept: whether the registers hold the products of a whole tile; else each read of inputs ends with sums, for
            which threads wait for each other.
    """
    dtype = x.dtype.element_ty
    begin(chained)
    row = tl.arange(0, padded_rows)[:, None, None]
    place = tl.program_id(0) * block_outputs + tl.arange(0, block_outputs)[None, :, None]
    column = tl.arange(0, block_inputs)[None, None, :]
    # The first weights need nothing of the kernel before, nor of the norm: they are under way while both are awaited.
    first = _weights(weight, place, column, outputs, inputs, block_outputs, block_inputs)
    if gated:
        second = _weights(weight + outputs * inputs, place, column, outputs, inputs, block_outputs, block_inputs)
    if normed:
        gains = wide(gain + column, column < inputs)
    follow(chained)
    value = wide(x + row * inputs + column, (row < rows) & (column < inputs))
    beside = 0.0
    if added:
        beside = wide(residual + row * outputs + place, (row < rows) & (place < outputs))
    scale = 1.0
    if normed:
        squares = tl.sum(value * value, axis=2, keep_dims=True)
        for start in tl.static_range(block_inputs, inputs, block_inputs):
            later = start + column
            more = wide(x + row * inputs + later, (row < rows) & (later < inputs))
            squares += tl.sum(more * more, axis=2, keep_dims=True)
        scale = tl.rsqrt(squares * (1.0 / inputs) + eps)
        value = _normed(value, gains, scale, dtype)
    products = value * first.to(tl.float32)
    if gated:
        others = value * second.to(tl.float32)
    if not kept:
        products = tl.sum(products, axis=2, keep_dims=True)
        if gated:
            others = tl.sum(others, axis=2, keep_dims=True)
    for start in tl.static_range(block_inputs, inputs, block_inputs):
        later = start + column
        first = _weights(weight, place, later, outputs, inputs, block_outputs, block_inputs)
        value = wide(x + row * inputs + later, (row < rows) & (later < inputs))
        if normed:
            value = _normed(value, wide(gain + later, later < inputs), scale, dtype)
        if not kept:
            products += tl.sum(value * first.to(tl.float32), axis=2, keep_dims=True)
        else:
            products += value * first.to(tl.float32)
        if gated:
            second = _weights(weight + outputs * inputs, place, later, outputs, inputs, block_outputs, block_inputs)
            if not kept:
                others += tl.sum(value * second.to(tl.float32), axis=2, keep_dims=True)
            else:
                others += value * second.to(tl.float32)
    total = tl.sum(products, axis=2, keep_dims=True)
    rest = total
    if gated:
        rest = tl.sum(others, axis=2, keep_dims=True)
    _finish(total, rest, beside, place, row, rows, out, outputs, gated, added)


@triton.jit(do_not_specialize=["rows"])
def dot_products(
    x,
    weight,
    residual,
    out,
    partial,
    arrived,
    rows,
    outputs: tl.constexpr,
    inputs: tl.constexpr,
    padded_rows: tl.constexpr,
    block_outputs: tl.constexpr,
    block_inputs: tl.constexpr,
    splits: tl.constexpr,
    gated: tl.constexpr,
    added: tl.constexpr,
    chained: tl.constexpr,
):
    """Products of more rows, on the matrix units, transposed: ``[outputs, rows]``. Grid: blocks of outputs, splits.

    With more than one split, the program that arrives last at a block adds up all its splits, in their order, so that
    the sum does not depend on who that is.

    Args:
        partial: float32, room for a tile (two with a gate) of every program.
        arrived: int32 per block of outputs, zeros; zeros again afterwards.
    """
    begin(chained)
    tile = tl.program_id(0)
    place = tile * block_outputs + tl.arange(0, block_outputs)[:, None]
    row = tl.arange(0, padded_rows)[None, :]
    column = tl.arange(0, block_inputs)
    share: tl.constexpr = ((inputs + block_inputs - 1) // block_inputs + splits - 1) // splits * block_inputs
    first = tl.program_id(1) * share
    # The first weights need nothing of the kernel before. A split behind the end reads the last ones, times zeros.
    across = tl.minimum(first, inputs - block_inputs if inputs % block_inputs == 0 else first) + column[None, :]
    weights = _weights(weight, place, across, outputs, inputs, block_outputs, block_inputs)
    if gated:
        others = _weights(weight + outputs * inputs, place, across, outputs, inputs, block_outputs, block_inputs)
    follow(chained)
    beside = 0.0
    if added:
        beside = wide(residual + row * outputs + place, (row < rows) & (place < outputs))
    here = first + column
    value = tl.load(x + row * inputs + here[:, None], mask=(row < rows) & (here[:, None] < inputs), other=0.0)
    total = add_product(weights, value, tl.zeros((block_outputs, padded_rows), tl.float32))
    rest = total
    if gated:
        rest = add_product(others, value, tl.zeros((block_outputs, padded_rows), tl.float32))
    for start in range(first + block_inputs, tl.minimum(first + share, inputs), block_inputs):
        here = start + column
        value = tl.load(x + row * inputs + here[:, None], mask=(row < rows) & (here[:, None] < inputs), other=0.0)
        across = here[None, :]
        weights = _weights(weight, place, across, outputs, inputs, block_outputs, block_inputs)
        total = add_product(weights, value, total)
        if gated:
            weights = _weights(weight + outputs * inputs, place, across, outputs, inputs, block_outputs, block_inputs)
            rest = add_product(weights, value, rest)
    if splits == 1:
        _finish(total, rest, beside, place, row, rows, out, outputs, gated, added)
    else:
        area: tl.constexpr = block_outputs * padded_rows
        tiles: tl.constexpr = 2 if gated else 1
        cell = partial + tile * (splits * tiles * area)
        cell += tl.arange(0, block_outputs)[:, None] * padded_rows + row
        mine = cell + tl.program_id(1) * (tiles * area)
        tl.store(mine, total)
        if gated:
            tl.store(mine + area, rest)
        tl.debug_barrier()
        if tl.atomic_add(arrived + tile, 1, sem="acq_rel") == splits - 1:
            total = tl.zeros((block_outputs, padded_rows), tl.float32)
            rest = total
            for split in tl.static_range(splits):
                # Past the first-level cache, which does not see what other multiprocessors write.
                total += tl.load(cell + split * (tiles * area), cache_modifier=".cg")
                if gated:
                    rest += tl.load(cell + (split * tiles + 1) * area, cache_modifier=".cg")
            _finish(total, rest, beside, place, row, rows, out, outputs, gated, added)
            tl.store(arrived + tile, 0)


@triton.jit
def norm_rows(x, gain, out, eps, inputs: tl.constexpr, block: tl.constexpr, chained: tl.constexpr):
    """RMS norm. Grid: rows."""
    dtype = x.dtype.element_ty
    begin(chained)
    column = tl.arange(0, block)
    here = tl.program_id(0) * inputs + column
    gains = wide(gain + column, column < inputs)
    follow(chained)
    value = wide(x + here, column < inputs)
    scale = tl.rsqrt(tl.sum(value * value, axis=0) * (1.0 / inputs) + eps)
    tl.store(out + here, _normed(value, gains, scale, dtype).to(dtype), mask=column < inputs)


@triton.jit
def sum_frames(
    codes,
    table,
    starts,
    text,
    out,
    width: tl.constexpr,
    groups: tl.constexpr,
    padded_groups: tl.constexpr,
    block: tl.constexpr,
    chained: tl.constexpr,
):
    """Sum of the embeddings of a frame's codes, plus the text vector. Grid: rows, blocks of columns."""
    dtype = table.dtype.element_ty
    begin(chained)
    row = tl.program_id(0)
    column = tl.program_id(1) * block + tl.arange(0, block)
    group = tl.arange(0, padded_groups)
    start = tl.load(starts + group, mask=group < groups, other=0)
    follow(chained)
    code = tl.load(codes + row * groups + group, mask=group < groups, other=0)
    pointers = table + (start + code)[:, None] * width + column[None, :]
    vectors = wide(pointers, (group < groups)[:, None] & (column < width)[None, :])
    value = rounded(tl.sum(vectors, axis=0), dtype) + wide(text + row * width + column, column < width)
    tl.store(out + row * width + column, rounded(value, dtype).to(dtype), mask=column < width)
