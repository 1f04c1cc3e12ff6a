"""Block sizes of the codec's Triton kernels: of all cuts of a convolution the one that should take the least time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache

from toolkit.errors import UsageError
from toolkit.synthesis.fast.kernel_sizes import power_of_two

__all__ = ["CodecSizes", "Tile"]

_LEAST = 16  # below, no matrix unit multiplies
_POWERS = ("most_rows", "most_outputs", "most_splits", "input_bytes", "keep_rows", "last_rows", "last_inputs")


@dataclass(frozen=True)
class Tile:
    """How one convolution is cut.

    Attributes:
        rows, outputs: of one program. For a residual unit, ``outputs`` are those of its first tile.
        rest: outputs of a residual unit's second tile, 0 where the first has all.
        inputs: channels that are read at a time.
        splits: parts that the sum is cut into.
        stages: reads under way at a time.
        warps: of one program.
    """

    rows: int
    outputs: int
    rest: int
    inputs: int
    splits: int
    stages: int
    warps: int


@dataclass(frozen=True)
class CodecSizes:
    """How the kernels cut their work. The defaults follow from the widths of the codec and from what a multiprocessor
    of compute capability 8.0 to 9.0 has; they were not tuned on any card.

    Attributes:
        multiprocessors: of the card; 132 are those of an H100.
        most_rows, most_outputs: of one program.
        most_numbers: sums that a program of 8 warps holds; half as many are left to 4 warps. Beyond, registers do not
            reach.
        unit_numbers: the same for a residual unit as one kernel, which holds two sets of them at its end.
        unit_width: most channels of such a unit.
        most_splits: most parts that a sum is cut into.
        input_bytes: bytes of each row that are read at a time.
        shared_bytes: shared memory that the reads under way may take; 99 KB is all there is on the cards of the RTX 30
            and 40 series.
        most_stages: most reads under way at a time.
        bytes_per_clock: that a multiprocessor reads from the second-level cache while all others do.
        bits_per_clock: of one factor of the products that it computes, in thousands: 16 are 1024 products of bfloat16
            or 512 of TF32, about half of what an H100 can.
        step_clocks: that one read takes at least, with the others under way.
        launch_clocks: that one more kernel takes.
        keep_rows: columns that one program writes for the next call.
        last_rows, last_inputs, last_warps: of the convolution to samples.
    """

    multiprocessors: int = 132
    most_rows: int = 128
    most_outputs: int = 128
    most_numbers: int = 16384
    unit_numbers: int = 16384
    unit_width: int = 192
    most_splits: int = 8
    input_bytes: int = 128
    shared_bytes: int = 98304
    most_stages: int = 4
    bytes_per_clock: int = 32
    bits_per_clock: int = 16
    step_clocks: int = 230
    launch_clocks: int = 3000
    keep_rows: int = 16
    last_rows: int = 64
    last_inputs: int = 32
    last_warps: int = 4

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise UsageError(f"{field.name} must be a whole number above 0, not {value!r}")
            if field.name in _POWERS and value != power_of_two(value):
                raise UsageError(f"{field.name} must be a power of two, not {value}")

    def tile(self, rows: int, outputs: int, inputs: int, taps: int, itemsize: int) -> Tile:
        """The cut of a convolution of ``rows`` columns of time in all."""
        return _best_tile(self, rows, outputs, inputs, taps, itemsize)[1]

    def unit(self, rows: int, width: int, taps: int, itemsize: int) -> Tile | None:
        """The cut of a residual unit as one kernel; None where two should be faster, or one does not fit."""
        if width > self.unit_width:
            return None
        clocks, tile = _best_unit(self, rows, width, taps, itemsize)
        apart = self.launch_clocks
        for kernel in (taps, 1):
            apart += _best_tile(self, rows, width, width, kernel, itemsize)[0]
        return tile if clocks <= apart else None

    def clocks(self, tile: Tile, rows: int, outputs: int, inputs: int, taps: int, itemsize: int) -> int:
        """What a convolution should take on the multiprocessor with the most of it.

        Of loads and products the shorter one counts half, since it does not hide behind the other one altogether.
        """
        columns = tile.outputs + tile.rest
        tiles = _parts(rows, tile.rows) * _parts(outputs, columns)
        programs = _parts(tiles * tile.splits, self.multiprocessors)
        steps = _parts(taps * _parts(inputs, tile.inputs), tile.splits)
        loads = (tile.rows + columns) * tile.inputs * itemsize // self.bytes_per_clock
        products = tile.rows * columns * tile.inputs * itemsize // (128 * self.bits_per_clock)
        total = steps * max(programs * (max(loads, products) + min(loads, products) // 2), self.step_clocks)
        # Bias, residual and two results; of a cut sum, its parts are written and read besides, one after the other.
        numbers = tile.rows * columns
        total += programs * numbers * 12 // self.bytes_per_clock
        if tile.splits > 1:
            total += 1500 + (programs + tile.splits) * numbers * 4 // self.bytes_per_clock
        return total

    def inputs(self, inputs: int, itemsize: int) -> int:
        """Channels that are read at a time: as many as divide all, so that none has to be masked, but at least 16."""
        block = max(_LEAST, self.input_bytes // itemsize)
        even = inputs & -inputs
        return min(block, even if even >= _LEAST else max(_LEAST, power_of_two(inputs)))

    def stages(self, stage_bytes: int) -> int:
        """Reads of so many bytes that may be under way."""
        return max(2, min(self.most_stages, self.shared_bytes // stage_bytes))


def _parts(items: int, block: int) -> int:
    return -(-items // block)


def _blocks(items: int, least: int, most: int) -> Iterator[int]:
    """Powers of two from ``least`` up to the first one that holds all items."""
    block = least
    while block <= most:
        yield block
        if block >= items:
            break
        block *= 2


@cache
def _best_tile(sizes: CodecSizes, rows: int, outputs: int, inputs: int, taps: int, itemsize: int) -> tuple[int, Tile]:
    found: list[tuple[int, int, Tile]] = []
    block_inputs = sizes.inputs(inputs, itemsize)
    for block_rows in _blocks(rows, _LEAST, sizes.most_rows):
        for block_outputs in _blocks(outputs, min(32, max(_LEAST, power_of_two(outputs))), sizes.most_outputs):
            numbers = block_rows * block_outputs
            stages = sizes.stages((block_rows + block_outputs) * block_inputs * itemsize)
            for splits in _blocks(taps * _parts(inputs, block_inputs) // 8, 1, sizes.most_splits):
                if numbers <= sizes.most_numbers:
                    warps = 8 if numbers > sizes.most_numbers // 2 else 4
                    tile = Tile(block_rows, block_outputs, 0, block_inputs, splits, stages, warps)
                    clocks = sizes.clocks(tile, rows, outputs, inputs, taps, itemsize)
                    found.append((clocks, len(found), tile))
    clocks, _, tile = min(found)
    return clocks, tile


@cache
def _best_unit(sizes: CodecSizes, rows: int, width: int, taps: int, itemsize: int) -> tuple[int, Tile]:
    found: list[tuple[int, int, Tile]] = []
    first = max(_LEAST, power_of_two(width + 1) // 2)
    rest = max(_LEAST, power_of_two(width - first)) if width > first else 0
    block_inputs = sizes.inputs(width, itemsize)
    for block_rows in _blocks(rows, _LEAST, sizes.most_rows):
        numbers = block_rows * (first + rest)
        if numbers <= sizes.unit_numbers or block_rows == _LEAST:
            stages = sizes.stages((block_rows + first + rest) * block_inputs * itemsize)
            # The second weight passes through the registers, a tile of it at a time.
            warps = 8 if first >= 128 or numbers > sizes.unit_numbers // 2 else 4
            tile = Tile(block_rows, first, rest, block_inputs, 1, stages, warps)
            found.append((sizes.clocks(tile, rows, width, width, taps + 1, itemsize), len(found), tile))
    clocks, _, tile = min(found)
    return clocks, tile
