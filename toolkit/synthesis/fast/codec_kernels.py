"""Triton kernels of the codec's convolutions: products over a few columns of time, with snake and residual behind them.

All activations are ``[batch, time, channels]``, and rows are columns of time, of one sequence after the other. A
convolution reads what the kernel before has put through its snake already, so that each sine is computed once, and
columns before the first from the past, which is kept in the same form: a snake leaves zeros alone.
"""

from __future__ import annotations

import triton
import triton.language as tl

from toolkit.synthesis.fast.kernel_arithmetic import INTERPRETED, begin, follow, rounded, wide

__all__ = ["convolve", "last_convolution", "residual_unit"]

# Pi in three parts, the first two with so few bits that their products with a whole number are exact (Cody and Waite;
# the parts are those of the Cephes library, for pi / 4, times 4).
_PI_HIGH = tl.constexpr(3.140625)
_PI_MIDDLE = tl.constexpr(9.67502593994140625e-4)
_PI_LOW = tl.constexpr(1.50995799097837643e-7)
_HALF_PI_SQUARED = tl.constexpr(2.4674011)

# sin(r) / r as a polynomial of r ** 2 up to (pi / 2) ** 2, fitted at 400 Chebyshev nodes: off by 1.4e-8 at most.
_SINE_0 = tl.constexpr(0.999999995713716)
_SINE_1 = tl.constexpr(-0.16666657966461793)
_SINE_2 = tl.constexpr(0.008333050533611962)
_SINE_3 = tl.constexpr(-0.00019809040024365473)
_SINE_4 = tl.constexpr(2.6051516100939377e-06)


@triton.jit
def _snake(x, frequency, strength):
    """``x + strength * sin(x * frequency) ** 2``.

    The square has the period pi. The sine of the compiler's own library has a branch for large numbers that takes
    registers from everything around it.
    """
    turned = x * frequency
    whole = tl.floor(turned * 0.3183098861837907 + 0.5)
    rest = ((turned - whole * _PI_HIGH) - whole * _PI_MIDDLE) - whole * _PI_LOW
    # The bound is for numbers beyond 1e7, whose float32 neighbours are whole turns apart.
    square = tl.minimum(rest * rest, _HALF_PI_SQUARED, propagate_nan=tl.PropagateNan.ALL)
    sine = _SINE_0 + square * (_SINE_1 + square * (_SINE_2 + square * (_SINE_3 + square * _SINE_4)))
    return x + strength * (square * (sine * sine))


@triton.jit
def _operand(x, dtype: tl.constexpr, tf32: tl.constexpr):
    """float32 as matrix units shall read it: rounded to ``dtype``, or to the 10 bits of TF32, which they would cut."""
    if tf32:
        bits = x.to(tl.uint32, bitcast=True)
        near = ((bits + 0x1000) & 0xFFFFE000).to(tl.float32, bitcast=True)
        # The bits of a NaN can run over into a zero.
        x = tl.where(x == x, near, x)
    return rounded(x, dtype).to(dtype)


@triton.jit
def _add_product(left, right, total, tf32: tl.constexpr):
    if INTERPRETED:
        total = tl.dot(left.to(tl.float32), right.to(tl.float32), total, input_precision="ieee")
    elif tf32:
        total = tl.dot(left, right, total, input_precision="tf32")
    else:
        total = tl.dot(left, right, total, input_precision="ieee")
    return total


@triton.jit
def _columns(x, past, row, sequence, column, columns, inputs: tl.constexpr, looks_back: tl.constexpr):
    """Where columns begin, ``column`` being counted from the first new one and ``row`` the same over all sequences."""
    start = x + row * inputs
    if looks_back:
        before = past + (sequence * columns + columns + column) * inputs
        start = tl.where(column >= 0, start, before)
    return start


@triton.jit
def _keep(
    x,
    past,
    kept,
    part,
    rows,
    time,
    columns,
    inputs: tl.constexpr,
    block_rows: tl.constexpr,
    block_inputs: tl.constexpr,
):
    """Write the columns that the next call will need: the last ones of the past and the new together."""
    place = part * block_rows + tl.arange(0, block_rows)
    sequence = place // columns
    column = place % columns + time - columns
    source = _columns(x, past, sequence * time + column, sequence, column, columns, inputs, True)
    there = (place < rows // time * columns)[:, None]
    for start in range(0, inputs, block_inputs):
        channel = (start + tl.arange(0, block_inputs))[None, :]
        mask = there & (channel < inputs)
        value = tl.load(source[:, None] + channel, mask=mask, other=0.0)
        tl.store(kept + place[:, None] * inputs + channel, value, mask=mask)


@triton.jit
def _weights(
    weight,
    output,
    start,
    outputs: tl.constexpr,
    inputs: tl.constexpr,
    stride: tl.constexpr,
    block_inputs: tl.constexpr,
):
    """A tile ``[inputs, outputs]`` of a weight whose outputs are ``stride`` apart; only the inputs have to be masked.

    Outputs behind the last one are read as the last one: what they give is not stored.
    """
    channel = start + tl.arange(0, block_inputs)
    pointers = weight + tl.minimum(output, outputs - 1)[None, :] * stride + channel[:, None]
    if inputs % block_inputs == 0:
        tile = tl.load(pointers)
    else:
        tile = tl.load(pointers, mask=channel[:, None] < inputs, other=0.0)
    return tile


@triton.jit
def _finish(
    total,
    bias,
    residual,
    frequency,
    strength,
    out,
    active,
    row,
    output,
    rows,
    stored,
    outputs: tl.constexpr,
    added: tl.constexpr,
    tf32: tl.constexpr,
):
    """Add bias and residual; store the result, and the result behind the next snake."""
    known = output < outputs
    value = total + wide(bias + output, known)[None, :]
    mask = (row < rows)[:, None] & known[None, :]
    where = row[:, None] * outputs + output[None, :]
    if added:
        value += wide(residual + where, mask)
    if stored != 0:
        tl.store(out + where, rounded(value, out.dtype.element_ty).to(out.dtype.element_ty), mask=mask)
    turned = _snake(value, wide(frequency + output, known)[None, :], wide(strength + output, known)[None, :])
    tl.store(active + where, _operand(turned, active.dtype.element_ty, tf32), mask=mask)


@triton.jit(do_not_specialize=["rows", "time", "dilation", "splits", "stored"])
def convolve(
    x,
    past,
    kept,
    weight,
    bias,
    residual,
    frequency,
    strength,
    out,
    active,
    partial,
    arrived,
    rows,
    time,
    dilation,
    splits,
    stored,
    inputs: tl.constexpr,
    outputs: tl.constexpr,
    taps: tl.constexpr,
    block_rows: tl.constexpr,
    block_outputs: tl.constexpr,
    block_inputs: tl.constexpr,
    keep_rows: tl.constexpr,
    split: tl.constexpr,
    added: tl.constexpr,
    tf32: tl.constexpr,
    chained: tl.constexpr,
):
    """A causal convolution, then bias, residual and the next snake. Grid: tiles and programs of ``_keep``, splits.

    A transposed convolution is one of two taps whose outputs are all columns that an input column gives.

    Args:
        x, past: what it reads, behind its snake; ``past`` has ``(taps - 1) * dilation`` columns a sequence.
        kept: takes the past of the next call; not the memory of ``past``, which other programs still read.
        weight: ``[outputs, taps, inputs]``.
        residual, out: of one dtype; may be the same memory. Used if ``added``, ``stored``.
        frequency, strength, active: of the next snake, and what comes out of it, in the dtype of ``x``.
        partial: float32, room for a tile of every program; used if ``split``.
        arrived: int32 per tile, zeros; zeros again afterwards.
        rows, time: new columns of all sequences, and of each.
        splits: parts of the sum; 1 without ``split``.

    What differs between layers of one width is no constant, since each constant more is a kernel more to compile.
    """
    begin(chained)
    columns = (taps - 1) * dilation
    output_tiles: tl.constexpr = (outputs + block_outputs - 1) // block_outputs
    tile = tl.program_id(0)
    tiles = (rows + block_rows - 1) // block_rows * output_tiles
    if tile >= tiles:
        follow(chained)
        # Two conditions, since the first one decides what is compiled.
        if taps > 1:  # noqa: SIM102
            if tl.program_id(1) == 0:
                _keep(x, past, kept, tile - tiles, rows, time, columns, inputs, keep_rows, block_inputs)
    else:
        output = tile % output_tiles * block_outputs + tl.arange(0, block_outputs)
        row = tile // output_tiles * block_rows + tl.arange(0, block_rows)
        # Rows behind the last one are read as the last one: what they give is not stored.
        read = tl.minimum(row, rows - 1)
        sequence = read // time
        moment = read - sequence * time
        channel = tl.arange(0, block_inputs)[None, :]
        parts: tl.constexpr = (inputs + block_inputs - 1) // block_inputs
        share = (taps * parts + splits - 1) // splits
        first = tl.program_id(1) * share
        total = tl.zeros((block_rows, block_outputs), tl.float32)
        follow(chained)
        for step in range(first, tl.minimum(first + share, taps * parts)):
            tap = step // parts
            start = step % parts * block_inputs
            back = (taps - 1 - tap) * dilation
            source = _columns(x, past, read - back, sequence, moment - back, columns, inputs, taps > 1)
            pointers = source[:, None] + (start + channel)
            if inputs % block_inputs == 0:
                value = tl.load(pointers)
            else:
                value = tl.load(pointers, mask=start + channel < inputs, other=0.0)
            weights = _weights(weight + tap * inputs, output, start, outputs, inputs, taps * inputs, block_inputs)
            total = _add_product(value, weights, total, tf32)
        if not split:
            _finish(
                total, bias, residual, frequency, strength, out, active, row, output, rows, stored, outputs, added,
                tf32,
            )  # fmt: skip
        else:
            area: tl.constexpr = block_rows * block_outputs
            cell = partial + tile * (splits * area)
            cell += tl.arange(0, block_rows)[:, None] * block_outputs + tl.arange(0, block_outputs)[None, :]
            tl.store(cell + tl.program_id(1) * area, total)
            tl.debug_barrier()
            # The last to arrive adds up all splits, in their order, so that the sum does not depend on who that is.
            if tl.atomic_add(arrived + tile, 1, sem="acq_rel") == splits - 1:
                total = tl.zeros((block_rows, block_outputs), tl.float32)
                for part in range(splits):
                    # Past the first-level cache, which does not see what other multiprocessors write.
                    total += tl.load(cell + part * area, cache_modifier=".cg")
                _finish(
                    total, bias, residual, frequency, strength, out, active, row, output, rows, stored, outputs, added,
                    tf32,
                )  # fmt: skip
                tl.store(arrived + tile, 0)


@triton.jit
def _between(total, bias, frequency, strength, output, width: tl.constexpr, dtype: tl.constexpr, tf32: tl.constexpr):
    """What lies between the two convolutions of a unit; zeros for outputs that there are not."""
    known = output < width
    value = total + wide(bias + output, known)[None, :]
    value = _snake(value, wide(frequency + output, known)[None, :], wide(strength + output, known)[None, :])
    return _operand(tl.where(known[None, :], value, 0.0), dtype, tf32)


@triton.jit(do_not_specialize=["rows", "time", "dilation", "stored"])
def residual_unit(
    x,
    past,
    kept,
    weight,
    bias,
    inner_frequency,
    inner_strength,
    second_weight,
    second_bias,
    residual,
    frequency,
    strength,
    out,
    active,
    rows,
    time,
    dilation,
    stored,
    width: tl.constexpr,
    taps: tl.constexpr,
    block_rows: tl.constexpr,
    block_first: tl.constexpr,
    block_rest: tl.constexpr,
    block_inputs: tl.constexpr,
    keep_rows: tl.constexpr,
    tf32: tl.constexpr,
    chained: tl.constexpr,
):
    """A whole residual unit, whose middle stays on the chip. Grid: blocks of rows and programs of ``_keep``.

    All channels of a row are in one program, as two tiles: their number may lie between powers of two.

    Args:
        weight, second_weight: ``[width, taps, width]`` and ``[width, width]``, outputs first.
        block_first, block_rest: channels of the two tiles, together at least ``width``; 0: there is no second one.

    See :func:`convolve` for the others.
    """
    begin(chained)
    dtype = x.dtype.element_ty
    columns = (taps - 1) * dilation
    block = tl.program_id(0)
    blocks = (rows + block_rows - 1) // block_rows
    if block >= blocks:
        follow(chained)
        _keep(x, past, kept, block - blocks, rows, time, columns, width, keep_rows, block_inputs)
    else:
        row = block * block_rows + tl.arange(0, block_rows)
        read = tl.minimum(row, rows - 1)
        sequence = read // time
        moment = read - sequence * time
        channel = tl.arange(0, block_inputs)[None, :]
        parts: tl.constexpr = (width + block_inputs - 1) // block_inputs
        first = tl.arange(0, block_first)
        total = tl.zeros((block_rows, block_first), tl.float32)
        if block_rest > 0:
            rest = block_first + tl.arange(0, block_rest)
            others = tl.zeros((block_rows, block_rest), tl.float32)
        follow(chained)
        for step in range(taps * parts):
            tap = step // parts
            start = step % parts * block_inputs
            back = (taps - 1 - tap) * dilation
            source = _columns(x, past, read - back, sequence, moment - back, columns, width, True)
            pointers = source[:, None] + (start + channel)
            if width % block_inputs == 0:
                value = tl.load(pointers)
            else:
                value = tl.load(pointers, mask=start + channel < width, other=0.0)
            here = weight + tap * width
            weights = _weights(here, first, start, width, width, taps * width, block_inputs)
            total = _add_product(value, weights, total, tf32)
            if block_rest > 0:
                weights = _weights(here, rest, start, width, width, taps * width, block_inputs)
                others = _add_product(value, weights, others, tf32)
        middle = _between(total, bias, inner_frequency, inner_strength, first, width, dtype, tf32)
        if block_rest > 0:
            later = _between(others, bias, inner_frequency, inner_strength, rest, width, dtype, tf32)
        # The second tile of the inputs begins at the first tile's length, whatever the width is.
        result = tl.zeros((block_rows, block_first), tl.float32)
        weights = _weights(second_weight, first, 0, width, width, width, block_first)
        result = _add_product(middle, weights, result, tf32)
        if block_rest > 0:
            weights = _weights(second_weight, first, block_first, width, width, width, block_rest)
            result = _add_product(later, weights, result, tf32)
        _finish(
            result, second_bias, residual, frequency, strength, out, active, row, first, rows, stored, width, True,
            tf32,
        )  # fmt: skip
        if block_rest > 0:
            result = tl.zeros((block_rows, block_rest), tl.float32)
            weights = _weights(second_weight, rest, 0, width, width, width, block_first)
            result = _add_product(middle, weights, result, tf32)
            weights = _weights(second_weight, rest, block_first, width, width, width, block_rest)
            result = _add_product(later, weights, result, tf32)
            _finish(
                result, second_bias, residual, frequency, strength, out, active, row, rest, rows, stored, width, True,
                tf32,
            )  # fmt: skip


@triton.jit(do_not_specialize=["rows", "time"])
def last_convolution(
    x,
    past,
    kept,
    weight,
    bias,
    out,
    rows,
    time,
    inputs: tl.constexpr,
    taps: tl.constexpr,
    block_rows: tl.constexpr,
    block_inputs: tl.constexpr,
    keep_rows: tl.constexpr,
    chained: tl.constexpr,
):
    """The convolution to one channel, held to [-1, 1]. Grid: blocks of rows and programs of ``_keep``.

    Args:
        weight: ``[taps, inputs]``.
        out: float32 ``[rows]``.

    See :func:`convolve` for the others.
    """
    begin(chained)
    columns: tl.constexpr = taps - 1
    block = tl.program_id(0)
    blocks = (rows + block_rows - 1) // block_rows
    follow(chained)
    if block >= blocks:
        _keep(x, past, kept, block - blocks, rows, time, columns, inputs, keep_rows, block_inputs)
    else:
        row = block * block_rows + tl.arange(0, block_rows)
        read = tl.minimum(row, rows - 1)
        sequence = read // time
        moment = read - sequence * time
        products = tl.zeros((block_rows, block_inputs), tl.float32)
        for start in tl.static_range(0, inputs, block_inputs):
            channel = start + tl.arange(0, block_inputs)
            known = channel < inputs
            for tap in tl.static_range(taps):
                back = taps - 1 - tap
                source = _columns(x, past, read - back, sequence, moment - back, columns, inputs, True)
                value = wide(source[:, None] + channel[None, :], known[None, :])
                products += value * wide(weight + tap * inputs + channel, known)[None, :]
        value = tl.sum(products, axis=1) + tl.load(bias).to(tl.float32)
        # A NaN has to come through: it is looked for in the waveform.
        value = tl.maximum(value, -1.0, propagate_nan=tl.PropagateNan.ALL)
        value = tl.minimum(value, 1.0, propagate_nan=tl.PropagateNan.ALL)
        tl.store(out + row, value, mask=row < rows)
