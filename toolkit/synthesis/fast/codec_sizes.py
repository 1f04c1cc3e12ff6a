"""Block sizes of the codec's Triton kernels, chosen by the shape of a convolution."""

from __future__ import annotations

from dataclasses import dataclass, fields

from toolkit.errors import UsageError
from toolkit.synthesis.fast.kernel_sizes import power_of_two

__all__ = ["CodecSizes", "Tile"]

_LEAST = 16  # below, no matrix unit multiplies


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
        programs: programs that a convolution is to have at least, as far as its size allows.
        most_rows, most_outputs: of one program; powers of two.
        input_bytes: bytes of each row that are read at a time.
        shared_bytes: shared memory that the reads under way may take; 99 KB is all there is on the cards of the RTX 30
            and 40 series.
        most_stages: most reads under way at a time.
        most_splits: most parts that a sum is cut into.
        unit_width: most channels of a residual unit that is one kernel.
        unit_programs: programs below which such a unit is two kernels after all, which can be cut finer.
        unit_rows: most rows of one program of such a unit.
        keep_rows: columns that one program writes for the next call.
        last_rows, last_inputs, last_warps: of the convolution to samples.
    """

    programs: int = 128
    most_rows: int = 128
    most_outputs: int = 128
    input_bytes: int = 128
    shared_bytes: int = 98304
    most_stages: int = 4
    most_splits: int = 8
    unit_width: int = 192
    unit_programs: int = 96
    unit_rows: int = 128
    keep_rows: int = 16
    last_rows: int = 64
    last_inputs: int = 32
    last_warps: int = 4

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise UsageError(f"{field.name} must be a whole number above 0, not {value!r}")
        for name in ("most_rows", "most_outputs", "input_bytes", "unit_rows", "keep_rows", "last_rows", "last_inputs"):
            if getattr(self, name) != power_of_two(getattr(self, name)):
                raise UsageError(f"{name} must be a power of two, not {getattr(self, name)}")

    def tile(self, rows: int, outputs: int, inputs: int, taps: int, itemsize: int) -> Tile:
        """The cut of a convolution of ``rows`` columns of time in all."""
        block_inputs = self._inputs(inputs, itemsize)
        block_rows = min(self.most_rows, max(_LEAST, power_of_two(rows)))
        block_outputs = self._outputs(outputs)
        while _tiles(rows, block_rows) * _tiles(outputs, block_outputs) < self.programs:
            # Wide before high: an output's weights are read once for all rows of a program.
            if block_outputs > 32 and block_outputs >= block_rows:
                block_outputs //= 2
            elif block_rows > 32:
                block_rows //= 2
            elif block_outputs > 32:
                block_outputs //= 2
            else:
                break
        tiles = _tiles(rows, block_rows) * _tiles(outputs, block_outputs)
        steps, splits = taps * _tiles(inputs, block_inputs), 1
        # A part below eight reads is over before its loads flow.
        while splits * 2 <= self.most_splits and tiles * splits < self.programs and steps >= 16 * splits:
            splits *= 2
        stages = self._stages((block_rows + block_outputs) * block_inputs * itemsize)
        warps = 8 if block_rows * block_outputs >= 128 * 128 else 4
        return Tile(block_rows, block_outputs, 0, block_inputs, splits, stages, warps)

    def unit(self, rows: int, width: int, itemsize: int) -> Tile | None:
        """The cut of a residual unit as one kernel; None where two are faster, or one does not fit."""
        if width > self.unit_width:
            return None
        block_rows = self.unit_rows
        while block_rows > _LEAST and _tiles(rows, block_rows) < self.programs:
            block_rows //= 2
        if _tiles(rows, block_rows) < self.unit_programs:
            return None
        first = max(_LEAST, power_of_two(width + 1) // 2)
        rest = max(_LEAST, power_of_two(width - first)) if width > first else 0
        block_inputs = self._inputs(width, itemsize)
        stages = self._stages((block_rows + first + rest) * block_inputs * itemsize)
        warps = 8 if block_rows * (first + rest) >= 128 * 96 else 4
        return Tile(block_rows, first, rest, block_inputs, 1, stages, warps)

    def _inputs(self, inputs: int, itemsize: int) -> int:
        """As many as divide the channels, so that none has to be masked; at least 16."""
        even = inputs & -inputs
        block = self.input_bytes // itemsize
        return max(_LEAST, min(block, even)) if even >= _LEAST else min(block, max(_LEAST, power_of_two(inputs)))

    def _outputs(self, outputs: int) -> int:
        """The widest block that leaves no more than a tenth of its last tile's work to nothing."""
        block = min(self.most_outputs, max(_LEAST, power_of_two(outputs)))
        while block > 32 and _tiles(outputs, block) * block > 1.12 * outputs:
            block //= 2
        return block

    def _stages(self, stage_bytes: int) -> int:
        return max(2, min(self.most_stages, self.shared_bytes // stage_bytes))


def _tiles(items: int, block: int) -> int:
    return -(-items // block)
