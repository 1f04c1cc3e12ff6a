"""What is claimed of the codec's Triton kernels; to be run as :mod:`kernel_checks` is, which this one uses."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from kernel_checks import Draw, cards, compile_kernel, registry, run_checks
from torch import Tensor, nn

from toolkit.errors import QwenAudioError, ToolkitFault, UsageError
from toolkit.synthesis.codec_config import CodecDecoderConfig, CodecStack
from toolkit.synthesis.codec_decoder import CodecDecoder
from toolkit.synthesis.codec_layers import History, SnakeBeta
from toolkit.synthesis.fast.codec_sizes import CodecSizes

INTERPRETED, interpreted = registry()
COMPILED, compiled = registry()

# The interpreter takes a millisecond a step of a program, so that these are few and large unless a check is about that.
FEW = {"multiprocessors": 1, "most_rows": 1024, "most_numbers": 2**20, "unit_numbers": 2**20, "last_rows": 1024}
LATENT = 12
GAINS = {"conv1": 0.7, "conv2": 0.3, "6": 0.25}


def decoder(channels: int, seed: int = 0) -> CodecDecoder:
    """Random weights that keep activations near 1 through all layers; the rates are the published ones."""
    stack = CodecStack(layers=1, hidden=8, intermediate=8, heads=2, head_dim=4, norm_eps=1e-5, rope_theta=1e4)
    config = CodecDecoderConfig(stack, 4, 8, 8, LATENT, channels, rates=(8, 5, 4, 3), ratios=(2, 2))
    found, draw = CodecDecoder(config), Draw(seed)
    for path, part in found.named_modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            shape = parameter.shape
            # A transposed convolution has its inputs first, of which two columns meet in an output.
            fan = 2 * shape[0] if path.endswith("block.1") else shape[1:].numel()
            fan = fan if len(shape) > 1 else 30
            gain = GAINS.get(path.rpartition(".")[2], 1.0)
            setattr(part, name, nn.Parameter(draw.normal(*shape, scale=gain * fan**-0.5), requires_grad=False))
    for part in found.modules():
        if isinstance(part, SnakeBeta):
            part.beta.add_(0.7)
    found.usage.abs_().add_(1.0)
    found.prepare(pack=False)
    return found.eval()


def blocks(plain: CodecDecoder, products: Any = "ieee", **sizes: int) -> Any:
    from toolkit.synthesis.fast.codec_blocks import CodecBlocks

    return CodecBlocks(plain, products, sizes=CodecSizes(**{**FEW, **sizes}))


def run_plain(plain: CodecDecoder, x: Tensor, past: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The same stages of the plain decoder."""
    before = [torch.empty(0)] * (len(plain.layout.columns) - len(past))
    history = History(before + past)
    return plain.decoder(x, history).clamp(-1.0, 1.0), history.tensors[len(before) :]


def worst(found: Tensor, wanted: Tensor) -> float:
    assert found.shape == wanted.shape
    return float((found.float() - wanted).abs().max())


def agree(plain: CodecDecoder, fast: Any, batch: int, steps: tuple[int, ...], tolerance: float) -> None:
    """Samples and histories of several steps, one after the other, in columns of 50 Hz."""
    draw, past = Draw(batch), list(fast.zeros(batch))
    wanted_past = [part.float() for part in past]
    for time in steps:
        x = draw.normal(batch, time, LATENT)
        found, past = fast.step(x, past)
        wanted, wanted_past = run_plain(plain, x, wanted_past)
        assert 0.05 < float(wanted.abs().mean()) < 0.9, "the samples are too quiet or too loud to compare"
        assert found.dtype == torch.float32
        off = [worst(found, wanted), *map(worst, past, wanted_past)]
        assert max(off) < tolerance, (batch, time, off)


@interpreted
def one_frame_of_one_row_is_that_of_the_plain_decoder() -> None:
    plain = decoder(64)
    agree(plain, blocks(plain), 1, (4, 4), 2e-5)


@interpreted
def frames_of_several_rows_are_those_of_the_plain_decoder() -> None:
    plain = decoder(32, 1)
    agree(plain, blocks(plain), 3, (4,), 2e-5)
    agree(plain, blocks(plain), 1, (10,), 2e-5)


@interpreted
def steps_shorter_than_the_past_that_a_layer_keeps_join() -> None:
    """One column is 8 behind the first block, whose units look back 6, 18 and 54."""
    plain = decoder(48, 2)
    agree(plain, blocks(plain), 3, (1, 2, 1, 3), 2e-5)


@interpreted
def odd_widths_agree_in_one_kernel_a_unit_and_in_two() -> None:
    for channels, width in ((80, 192), (144, 1)):
        plain = decoder(channels, 3)
        agree(plain, blocks(plain, unit_width=width, launch_clocks=10**9), 1, (2, 1), 2e-5)


@interpreted
def small_tiles_and_sums_in_parts_agree_and_leave_their_counters_at_zero() -> None:
    plain = decoder(96, 4)
    sizes = {"most_rows": 64, "most_outputs": 32, "multiprocessors": 64, "input_bytes": 64, "keep_rows": 4}
    fast = blocks(plain, "ieee", unit_width=1, last_rows=16, last_inputs=8, **sizes)
    assert fast._sizes.tile(2 * 8, 48, 48, 7, 4).splits > 1
    agree(plain, fast, 2, (1,), 2e-5)
    assert not fast._arrived.any()


@interpreted
def rounded_products_are_near_and_not_the_same() -> None:
    plain = decoder(64, 5)
    x = Draw(6).normal(1, 2, LATENT)
    wanted, _ = run_plain(plain, x, [part.float() for part in blocks(plain).zeros(1)])
    for products, low, high in (("tf32", 1e-5, 4e-3), ("bf16", 2e-4, 4e-2)):
        fast = blocks(plain, products)
        samples, past = fast.step(x, fast.zeros(1))
        assert low < worst(samples, wanted) < high, products
        assert all(part.dtype == fast.dtype for part in past)
        if products == "tf32":
            # All but what comes in from outside was rounded to 10 bits of mantissa.
            assert not any(bool((part.view(torch.int32) & 0x1FFF).any()) for part in past[1:])


@interpreted
def a_residual_of_bfloat16_is_rounded_and_no_more() -> None:
    from toolkit.synthesis.fast.codec_blocks import CodecBlocks

    plain = decoder(32, 7)
    fast = CodecBlocks(plain, "bf16", residuals=torch.bfloat16, sizes=CodecSizes(**FEW))
    x = Draw(8).normal(1, 1, LATENT)
    samples, _ = fast.step(x, fast.zeros(1))
    wanted, _ = run_plain(plain, x, [part.float() for part in fast.zeros(1)])
    assert worst(samples, wanted) < 6e-2


@interpreted
def pieces_in_time_change_nothing() -> None:
    from toolkit.synthesis.fast.codec_blocks import CodecBlocks

    plain = decoder(32, 9)
    x = Draw(10).normal(2, 3, LATENT)
    whole, pieces = (CodecBlocks(plain, "ieee", sizes=CodecSizes(**FEW), rows_at_once=frames) for frames in (128, 1))
    first, second = (each.step(x, each.zeros(2)) for each in (whole, pieces))
    assert worst(second[0], first[0]) < 1e-6
    assert max(map(worst, second[1], first[1])) < 1e-6


@interpreted
def a_step_in_place_fills_the_history_and_a_step_leaves_it() -> None:
    plain = decoder(32, 11)
    fast = blocks(plain)
    x = Draw(12).normal(2, 1, LATENT)
    past = [part + 0.1 for part in fast.zeros(2)]
    before = [part.clone() for part in past]
    samples, new = fast.step(x, past)
    assert all(map(torch.equal, past, before))
    assert torch.equal(fast.step_in_place(x, past), samples)
    assert all(map(torch.equal, past, new))


@interpreted
def a_nan_in_one_row_reaches_its_samples_and_no_other_row() -> None:
    plain = decoder(32, 13)
    x = Draw(14).normal(2, 1, LATENT)
    x[0, 0, 3] = torch.nan
    for products in ("ieee", "tf32", "bf16"):
        fast = blocks(plain, products)
        samples, _ = fast.step(x, fast.zeros(2))
        assert bool(samples[0].isnan().any()), products
        assert bool(torch.isfinite(samples[1]).all()), products


@interpreted
def a_snake_is_that_of_the_plain_decoder_however_far_it_turns() -> None:
    """One column through a convolution that hands it on as it is, of which the snake behind is compared."""
    from toolkit.synthesis.fast.codec_kernels import convolve

    rows, width = 64, 16
    draw = Draw(15)
    sizes = torch.logspace(-6, 4, rows)[:, None]
    x = draw.normal(1, rows, width) * sizes
    zeros, ones = torch.zeros(width), torch.ones(width)
    out, active = torch.empty_like(x), torch.empty_like(x)
    unused = torch.zeros(1, dtype=torch.int32)
    convolve[(1, 1)](
        x, x, x, torch.eye(width), zeros, x, ones * 3.0, ones, out, active, zeros, unused, rows, rows, 1, 1, 1,
        width, width, 1, 64, 16, 16, 16, False, False, False, False,
    )  # fmt: skip
    exact = x.double() + (x * 3.0).double().sin().square()
    assert torch.equal(out, x)
    assert torch.allclose(active.double(), exact, rtol=2e-7, atol=2e-7), worst(active, exact.float())


@interpreted
def what_a_kernel_cannot_read_is_refused() -> None:
    plain = decoder(32)
    fast = blocks(plain)
    x = torch.zeros(2, 1, LATENT)
    packed = decoder(32)
    first: Any = packed.decoder[0]
    first.taps._weight = first.taps._weight.to("meta")
    refused: tuple[tuple[Callable[[], object], type[QwenAudioError], str], ...] = (
        (lambda: fast.step(x, fast.zeros(1)), ToolkitFault, "a history of 18 tensors is needed for 2 rows"),
        (lambda: fast.step(x, fast.zeros(2)[1:]), ToolkitFault, "a history of 18 tensors is needed for 2 rows"),
        (
            lambda: fast.step(x, [part.bfloat16() for part in fast.zeros(2)]),
            ToolkitFault,
            "a history must be contiguous and torch.float32, found torch.bfloat16",
        ),
        (lambda: blocks(plain, "fp8"), UsageError, "products must be one of ieee, tf32, bf16, not 'fp8'"),
        (lambda: blocks(packed), ToolkitFault, "the codec's weights were packed for a CPU"),
        (lambda: CodecSizes(most_rows=48), UsageError, "most_rows must be a power of two, not 48"),
        (lambda: CodecSizes(keep_rows=0), UsageError, "keep_rows must be a whole number above 0, not 0"),
    )
    for call, kind, message in refused:
        try:
            call()
        except kind as error:
            assert str(error).startswith(message), error
        else:
            raise AssertionError(message)


CONVOLUTIONS = (
    # inputs, outputs, taps, frames of all rows together times columns a frame
    (1024, 1536, 7, 4),
    (1536, 6144, 2, 4),
    (768, 768, 7, 32),
    (768, 768, 1, 32 * 32),
    (384, 384, 7, 32 * 160),
    (192, 288, 2, 32 * 640),
)
UNITS = ((192, 32 * 640), (96, 32 * 1920), (96, 1920))
ENDS = ("x", "past", "kept", "weight", "active")


def arguments(products: str) -> dict[str, str]:
    half = dict.fromkeys(ENDS, "*bf16" if products == "bf16" else "*fp32")
    single = dict.fromkeys(("bias", "residual", "frequency", "strength", "out"), "*fp32")
    return {**half, **single, **dict.fromkeys(("rows", "time", "dilation", "stored"), "i32")}


def assert_fast(made: Any, capability: int, products: str, most_rows: int, what: object) -> None:
    """Matrix units, reads of 16 bytes past the registers, and no more shared memory than there is."""
    ptx: str = made.asm["ptx"]
    unit = "wgmma.mma_async" if capability >= 90 and most_rows >= 64 else "mma.sync"
    kind = "bf16" if products == "bf16" else "tf32"
    assert re.search(rf"{re.escape(unit)}[\w.]*{kind}\.{kind}", ptx), what
    assert len(re.findall(r"cp\.async\.cg\.shared\.global [^;]*0x10", ptx)) >= 8, what
    assert made.metadata.shared <= (101376 if capability < 90 else 233472), (what, made.metadata.shared)


@compiled
def convolutions_of_the_published_widths_compile_for_matrix_units() -> None:
    from toolkit.synthesis.fast.codec_kernels import convolve

    for number, ((inputs, outputs, taps, rows), products) in enumerate(product(CONVOLUTIONS, ("tf32", "bf16"))):
        tile = CodecSizes().tile(rows, outputs, inputs, taps, 2 if products == "bf16" else 4)
        # Shapes and products take turns on the cards: all of them on both take twice as long and have shown no more.
        for capability, chained in list(cards())[(number + number // 2) % 2 :][:1]:
            made = compile_kernel(
                convolve, capability, {**arguments(products), "partial": "*fp32", "arrived": "*i32", "splits": "i32"},
                {"num_warps": tile.warps, "num_stages": tile.stages}, inputs=inputs, outputs=outputs, taps=taps,
                block_rows=tile.rows, block_outputs=tile.outputs, block_inputs=tile.inputs,
                keep_rows=16, split=tile.splits > 1, added=taps == 1, tf32=products == "tf32",
                chained=chained,
            )  # fmt: skip
            assert_fast(made, capability, products, tile.rows, (inputs, outputs, taps, capability, tile))


@compiled
def residual_units_of_the_published_widths_compile_for_matrix_units() -> None:
    from toolkit.synthesis.fast.codec_kernels import residual_unit

    for number, ((width, rows), products) in enumerate(product(UNITS, ("tf32", "bf16"))):
        tile = CodecSizes(launch_clocks=10**9).unit(rows, width, 7, 2 if products == "bf16" else 4)
        assert tile is not None
        names = dict.fromkeys(("inner_frequency", "inner_strength", "second_bias"), "*fp32")
        types = {**arguments(products), **names, "second_weight": "*bf16" if products == "bf16" else "*fp32"}
        for capability, chained in list(cards())[(number + number // 2) % 2 :][:1]:
            made = compile_kernel(
                residual_unit, capability, types, {"num_warps": tile.warps, "num_stages": tile.stages}, width=width,
                taps=7, block_rows=tile.rows, block_first=tile.outputs, block_rest=tile.rest,
                block_inputs=tile.inputs, keep_rows=16, tf32=products == "tf32", chained=chained,
            )  # fmt: skip
            assert_fast(made, capability, products, tile.rows, (width, capability, tile))


@compiled
def exact_products_and_the_last_convolution_compile() -> None:
    from toolkit.synthesis.fast.codec_kernels import convolve, last_convolution

    types = arguments("ieee")
    made = compile_kernel(
        convolve, 80, {**types, "partial": "*fp32", "arrived": "*i32", "splits": "i32"},
        {"num_warps": 8, "num_stages": 3},
        inputs=96, outputs=96, taps=7, block_rows=64, block_outputs=32, block_inputs=32, keep_rows=16,
        split=False, added=False, tf32=False, chained=False,
    )  # fmt: skip
    assert "tf32" not in made.asm["ptx"]
    wanted = {name: types[name] for name in ("x", "past", "kept", "weight", "bias", "out", "rows", "time")}
    made = compile_kernel(
        last_convolution, 90, wanted, {"num_warps": 4}, inputs=96, taps=7, block_rows=64, block_inputs=32,
        keep_rows=16, chained=True,
    )  # fmt: skip
    assert made.asm["ptx"].count(".v4.b32") >= 3 * 7


if __name__ == "__main__":
    raise SystemExit(run_checks(INTERPRETED, COMPILED))
