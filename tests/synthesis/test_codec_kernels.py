"""The codec's Triton kernels: against its plain layers under the interpreter; through the compiler without a card."""

from __future__ import annotations

import codec_kernel_checks
import pytest
from kernel_children import Outcome, needs_triton, outcomes

from toolkit.synthesis.fast.codec_sizes import CodecSizes


@pytest.fixture(scope="session")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return outcomes("codec_kernel_checks.py", tmp_path_factory)


@needs_triton
@pytest.mark.parametrize("name", codec_kernel_checks.INTERPRETED)
def test_under_the_interpreter(name: str, outcome: Outcome) -> None:
    assert outcome("interpreted")[name] == ""


@needs_triton
@pytest.mark.parametrize("name", codec_kernel_checks.COMPILED)
def test_through_the_compiler(name: str, outcome: Outcome) -> None:
    assert outcome("compiled")[name] == ""


@pytest.mark.parametrize("itemsize", [2, 4])
@pytest.mark.parametrize("frames", [1, 4, 12, 100, 1200])
def test_reads_under_way_fit_the_shared_memory_of_every_card(frames: int, itemsize: int) -> None:
    sizes, rows, width = CodecSizes(), 4 * frames, 1536
    for rate in (8, 5, 4, 3):
        head = sizes.tile(rows, rate * width // 2, width, 2, itemsize)
        assert width % head.inputs == 0
        rows, width = rows * rate, width // 2
        tiles = [sizes.tile(rows, width, width, taps, itemsize) for taps in (7, 1)]
        tiles += [tile for tile in [sizes.unit(rows, width, 7, itemsize)] if tile is not None]
        assert all(width % tile.inputs == 0 for tile in tiles)
        for tile in (head, *tiles):
            columns = tile.outputs + tile.rest
            assert tile.stages * (tile.rows + columns) * tile.inputs * itemsize <= 98304, (width, tile)


def test_a_step_of_few_columns_is_cut_into_as_many_programs_as_there_are_multiprocessors() -> None:
    sizes = CodecSizes()
    for rows, outputs, inputs, taps in ((4, 1536, 1024, 7), (4, 6144, 1536, 2), (32, 768, 768, 7), (160, 384, 384, 7)):
        tile = sizes.tile(rows, outputs, inputs, taps, 4)
        programs = -(-rows // tile.rows) * -(-outputs // tile.outputs) * tile.splits
        assert 90 <= programs <= 600, (rows, outputs, tile)


def test_many_columns_are_cut_into_large_tiles_and_no_sum_into_parts() -> None:
    tile = CodecSizes().tile(32 * 160 * 12, 384, 384, 7, 4)
    assert (tile.rows, tile.outputs, tile.splits, tile.warps) == (128, 128, 1, 8)


def test_a_narrow_unit_is_one_kernel_where_there_are_enough_columns() -> None:
    sizes = CodecSizes()
    assert sizes.unit(160, 384, 7, 4) is None
    assert sizes.unit(640, 192, 7, 4) is None
    wide, narrow = sizes.unit(32 * 4 * 640, 192, 7, 4), sizes.unit(32 * 4 * 1920, 96, 7, 4)
    assert wide is not None
    assert narrow is not None
    assert (wide.rows, wide.outputs, wide.rest) == (64, 128, 64)
    assert (narrow.rows, narrow.outputs, narrow.rest) == (128, 64, 32)
