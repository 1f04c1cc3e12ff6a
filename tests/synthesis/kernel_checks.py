"""What is claimed of the Triton kernels, to be run under Triton's interpreter or with its compiler; prints what failed.

``python kernel_checks.py interpreted`` needs TRITON_INTERPRET=1, ``python kernel_checks.py compiled`` its absence:
Triton decides when it is imported, so that each takes a process of its own.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor

from toolkit.synthesis.fast.kernel_sizes import KernelSizes
from toolkit.synthesis.fast.operations import ChoiceRules, Operations, PlainOperations
from toolkit.synthesis.layers import rotary_table
from toolkit.synthesis.sampling import GREEDY, Sampling

PLAIN = PlainOperations()
FLOAT, BRAIN = torch.float32, torch.bfloat16
EPS = 1e-6
# Sums in another order, of numbers near 1; and, in bfloat16, results that fall on the other side of a rounding.
TOLERANCE = {FLOAT: (1e-5, 4e-6), BRAIN: (2.0**-7, 2.0**-8)}
Check = Callable[[], None]


def registry() -> tuple[dict[str, Check], Callable[[Check], Check]]:
    """A table of checks by name, empty yet, and the decorator that adds to it."""
    table: dict[str, Check] = {}

    def register(check: Check) -> Check:
        table[check.__name__] = check
        return check

    return table, register


INTERPRETED, interpreted = registry()
COMPILED, compiled = registry()


def kernels(**sizes: Any) -> Operations:
    from toolkit.synthesis.fast.triton_operations import TritonOperations

    return TritonOperations("cpu", KernelSizes(**sizes))


class Draw:
    """Random tensors, one after the other."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, dtype: torch.dtype = FLOAT, scale: float = 1.0) -> Tensor:
        return (torch.randn(*shape, generator=self.generator) * scale).to(dtype)

    def coin(self, *shape: int, odds: float) -> Tensor:
        return torch.rand(*shape, generator=self.generator) < odds

    def whole(self, low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=self.generator)


def assert_close(found: Tensor, wanted: Tensor, what: object) -> None:
    relative, absolute = TOLERANCE[wanted.dtype]
    assert found.dtype == wanted.dtype, what
    worst = float((found.float() - wanted.float()).abs().max())
    assert torch.allclose(found.float(), wanted.float(), rtol=relative, atol=absolute), f"{what}: off by {worst}"


def products(rows: int, outputs: int, inputs: int, dtype: torch.dtype, **sizes: Any) -> None:
    """All products of one shape against the plain ones."""
    draw, ops = Draw(rows), kernels(**sizes)
    x, gain = draw.normal(rows, inputs, dtype=dtype), draw.normal(inputs, dtype=dtype)
    weight = draw.normal(2 * outputs, inputs, dtype=dtype, scale=inputs**-0.5)
    residual = draw.normal(rows, outputs, dtype=dtype)
    single = weight[:outputs].contiguous()
    calls: tuple[tuple[str, tuple[Any, ...]], ...] = (
        ("norm", (x, gain, EPS)),
        ("norm_linear", (x, gain, EPS, single)),
        ("linear_residual", (x, single, residual)),
        ("norm_gate_up", (x, gain, EPS, weight)),
    )
    for name, given in calls:
        found, wanted = getattr(ops, name)(*given), getattr(PLAIN, name)(*given)
        assert_close(found, wanted, (name, rows, outputs, inputs, dtype))
        # A rounding too many or too few moves far more results than sums in another order do.
        moved = float((found != wanted).float().mean())
        assert dtype == FLOAT or moved < 0.05, f"{name}: {moved:.0%} of the results are other numbers"


@interpreted
def products_of_few_rows_agree_at_even_sizes() -> None:
    for rows, dtype in product((1, 4), (FLOAT, BRAIN)):
        products(rows, 16, 64, dtype, programs=2, row_inputs=32)


@interpreted
def products_of_few_rows_agree_at_odd_sizes_and_in_one_read() -> None:
    for rows, dtype in product((1, 3), (FLOAT, BRAIN)):
        products(rows, 19, 51, dtype, programs=2)
        products(rows, 13, 77, dtype, programs=2, row_inputs=32)
        # Of three rows a tile of 8 outputs and 1,024 inputs is more than a warp's registers hold.
        products(rows, 9, 1100, dtype, programs=1, row_outputs=32, row_inputs=1024, row_warps=1)


@interpreted
def products_of_few_rows_agree_at_sizes_of_their_own_shape() -> None:
    for rows, dtype in product((1, 2), (FLOAT, BRAIN)):
        products(rows, 19, 51, dtype, products={"19x51": [2, 16, 1], "19x51g": [4, 64, 2]})


@interpreted
def products_on_matrix_units_agree_whether_whole_or_in_parts() -> None:
    for rows, dtype, splits in ((5, FLOAT, 1), (5, BRAIN, 4), (17, FLOAT, 4), (17, BRAIN, 1)):
        products(rows, 37, 147, dtype, dot_outputs=16, dot_input_bytes=64, dot_splits=splits)


@interpreted
def a_product_of_64_rows_agrees() -> None:
    draw = Draw(64)
    x, weight = draw.normal(64, 64, dtype=BRAIN), draw.normal(32, 64, dtype=BRAIN, scale=0.125)
    residual = draw.normal(64, 32, dtype=BRAIN)
    given = (x, weight, residual)
    assert_close(kernels().linear_residual(*given), PLAIN.linear_residual(*given), "64 rows")


@interpreted
def parts_of_a_sum_leave_their_counters_at_zero() -> None:
    ops = kernels(dot_outputs=16, dot_input_bytes=32, attend_slots=4, short_limit=1)
    draw = Draw(3)
    x, weight, residual = draw.normal(6, 64), draw.normal(32, 64), draw.normal(6, 32)
    first = ops.linear_residual(x, weight, residual)
    assert not ops._arrived.any()  # type: ignore[attr-defined]
    assert torch.equal(ops.linear_residual(x, weight, residual), first)


def attention(slots: list[int], limit: int, heads: int, kv_heads: int, dim: int, dtype: torch.dtype, **sizes: int):  # type: ignore[no-untyped-def]
    """One step of attention against the plain one, on a cache that is a slice of a larger one."""
    draw, rows, ops = Draw(limit), len(slots), kernels(**sizes)
    angles = rotary_table(dim, 1e6, limit, dtype=dtype, device=torch.device("cpu"))
    cache = draw.normal(2, 3, rows, kv_heads, limit, dim, dtype=dtype)
    qkv = draw.normal(rows, (heads + 2 * kv_heads) * dim, dtype=dtype)
    gains = draw.normal(2, dim, dtype=dtype)
    where = torch.tensor(slots, dtype=torch.int32)
    results = []
    for each in (ops, PLAIN):
        keys, values = cache[:, 1].clone()
        fixed = (qkv, gains[0], gains[1], EPS, angles.cos, angles.sin, where)
        results.append((each.attend(*fixed, keys, values, heads), keys, values))
    for found, wanted, what in zip(*results, ("result", "keys", "values"), strict=True):
        assert_close(found, wanted, (what, slots, limit, heads, kv_heads, dim, dtype))
    assert not ops._arrived.any()  # type: ignore[attr-defined]


@interpreted
def attention_in_one_part_agrees_at_ragged_lengths() -> None:
    for dtype in (FLOAT, BRAIN):
        attention([0, 1, 16, 9], 17, 4, 2, 16, dtype)
        attention([0], 16, 2, 2, 8, dtype)


@interpreted
def attention_at_one_slot_of_all_rows_agrees_and_fills_what_it_is_given() -> None:
    draw, ops = Draw(11), kernels()
    angles = rotary_table(16, 1e6, 16, dtype=BRAIN, device=torch.device("cpu"))
    qkv, gain = draw.normal(2, 8 * 16, dtype=BRAIN), draw.normal(16, dtype=BRAIN)
    for slot in (0, 9):
        keys, values = draw.normal(2, 2, 2, 16, 16, dtype=BRAIN)
        fixed = (qkv, gain, gain, EPS, angles.cos, angles.sin)
        where = torch.full((2,), slot, dtype=torch.int32)
        wanted = ops.attend(*fixed, where, keys.clone(), values.clone(), 4)
        for each in (ops, PLAIN):
            out = torch.full((2, 64), torch.nan, dtype=BRAIN)
            found = each.attend(*fixed, slot, keys.clone(), values.clone(), 4, out)
            assert found is out
            assert_close(found, wanted, slot)


@interpreted
def attention_in_parts_agrees_at_ragged_lengths() -> None:
    for dtype in (FLOAT, BRAIN):
        attention([69, 0, 31], 70, 4, 2, 16, dtype, attend_slots=8, short_limit=1)
        attention([20], 32, 2, 1, 16, dtype, attend_slots=4, attend_splits=4, short_limit=1)


@interpreted
def attention_agrees_at_odd_heads_and_widths() -> None:
    for dtype in (FLOAT, BRAIN):
        attention([12, 30], 40, 6, 2, 24, dtype, attend_slots=8, short_limit=1)
        attention([7, 0], 9, 5, 1, 6, dtype, attend_slots=2, attend_splits=2, short_limit=1)


@interpreted
def attention_looks_at_no_slot_behind_its_own_even_if_it_holds_nan() -> None:
    ops, draw = kernels(attend_slots=4, short_limit=1), Draw(7)
    angles = rotary_table(16, 1e6, 24, dtype=FLOAT, device=torch.device("cpu"))
    keys, values = draw.normal(2, 2, 2, 24, 16)
    for row, slot in enumerate((5, 0)):
        keys[row, :, slot:], values[row, :, slot:] = torch.nan, torch.nan
    where = torch.tensor([5, 0], dtype=torch.int32)
    qkv, gain = draw.normal(2, 8 * 16), torch.ones(16)
    found = ops.attend(qkv, gain, gain, EPS, angles.cos, angles.sin, where, keys, values, 4)
    assert bool(torch.isfinite(found).all())
    assert bool(keys[0, :, 6:].isnan().all())
    assert bool(torch.isfinite(keys[1, :, 0]).all())


@interpreted
def large_scores_do_not_overflow() -> None:
    ops, draw = kernels(attend_slots=4, short_limit=1), Draw(9)
    angles = rotary_table(16, 1e6, 24, dtype=FLOAT, device=torch.device("cpu"))
    keys, values = draw.normal(2, 1, 1, 24, 16) * 300
    given = (draw.normal(1, 4 * 16) * 50, torch.full((16,), 90.0), torch.full((16,), 90.0), EPS, angles.cos, angles.sin)
    where = torch.tensor([20], dtype=torch.int32)
    found = ops.attend(*given, where, keys, values, 2)
    wanted = PLAIN.attend(*given, where, keys, values, 2)
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-2)


@interpreted
def a_frames_input_is_the_same_bit_for_bit_in_bfloat16() -> None:
    draw = Draw(4)
    for width, dtype in product((64, 51), (FLOAT, BRAIN)):
        table, text = draw.normal(80, width, dtype=dtype), draw.normal(3, width, dtype=dtype)
        codes, starts = draw.whole(0, 5, 3, 16), torch.arange(16) * 5
        found = kernels(frame_columns=32).frame_input(codes, table, starts, text)
        wanted = PLAIN.frame_input(codes, table, starts, text)
        if dtype == BRAIN:
            assert torch.equal(found, wanted)
        else:
            assert_close(found, wanted, width)


SETTINGS = [
    GREEDY,
    Sampling(),
    Sampling(top_k=0),
    Sampling(temperature=1.0, top_k=0, top_p=0.8),
    Sampling(top_k=5, top_p=0.5),
    Sampling(temperature=0.3, top_k=3),
    Sampling(top_k=9999, top_p=0.01),
    Sampling(temperature=2.5, top_k=1),
]
PENALTIES = [1.0, 1.05, 1.3, 1.0, 2.0, 0.7, 1.1, 1.05]


def same_choices(logits: Tensor, draw: Draw, seen: Tensor | None, banned: Tensor | None) -> None:
    """Greedy and sampled rows side by side choose what they do in plain PyTorch."""
    rows = len(SETTINGS)
    rules = ChoiceRules.of(SETTINGS, "cpu", penalties=PENALTIES, seen=seen, banned=banned)
    seeds, counters = draw.whole(-(2**62), 2**62, rows), draw.whole(0, 2**40, rows)
    found, wanted = (each.choose(logits, rules, seeds, counters) for each in (kernels(), PLAIN))
    assert found.dtype == torch.int64
    assert found.tolist() == wanted.tolist()
    table = draw.normal(logits.shape[1] + 3, 24, dtype=BRAIN)
    column = torch.zeros(rows, 5, dtype=torch.int64)
    given = logits.to(BRAIN), rules, seeds, counters
    kept = [each.choose(*given, offset=11, out=column[:, at]) for at, each in enumerate((kernels(), PLAIN))]
    vectors = [
        each.choose_vectors(*given, table, offset=11, out=column[:, at])
        for at, each in enumerate((kernels(), PLAIN), 2)
    ]
    assert kept[0].tolist() == kept[1].tolist() == column[:, 2].tolist() == column[:, 3].tolist()
    assert torch.equal(vectors[0], vectors[1])
    assert torch.equal(vectors[0], table[kept[0]])


@interpreted
def choices_agree_with_penalties_bans_and_mixed_rules() -> None:
    draw = Draw(21)
    for vocab, bans in ((3, (3,)), (50, (len(SETTINGS), 50)), (300, (len(SETTINGS), 300)), (2048, (2048,))):
        logits = draw.normal(len(SETTINGS), vocab, scale=3.0)
        same_choices(logits, draw, draw.coin(len(SETTINGS), vocab, odds=0.5), draw.coin(*bans, odds=0.3))


@interpreted
def choices_agree_where_tokens_tie_with_the_last_of_the_top_k() -> None:
    draw = Draw(22)
    for rounding in (torch.round, lambda logits: logits.to(BRAIN).float(), lambda logits: logits * 0.0):
        same_choices(rounding(draw.normal(len(SETTINGS), 129, scale=3.0)), draw, None, None)
    # Both zeros are one value.
    zeros = torch.where(draw.coin(len(SETTINGS), 64, odds=0.5), 0.0, -0.0)
    same_choices(zeros, draw, None, None)


@interpreted
def choices_agree_where_fewer_tokens_are_left_than_top_k_asks_for() -> None:
    draw = Draw(23)
    banned = torch.ones(70, dtype=torch.bool)
    banned[[3, 69]] = False
    same_choices(draw.normal(len(SETTINGS), 70), draw, None, banned)


@interpreted
def every_number_of_kept_tokens_is_found() -> None:
    """Top-k keeps as many as it says: the noise of a flat row settles the rest, so that a wrong cut shows."""
    draw, vocab, rows = Draw(24), 40, 20
    logits = draw.normal(rows, vocab, scale=0.01)
    rules = ChoiceRules.of([Sampling(temperature=1.0, top_k=row + 1) for row in range(rows)], "cpu")
    seeds, counters = torch.full((rows,), 5), torch.arange(rows)
    found, wanted = (each.choose(logits, rules, seeds, counters) for each in (kernels(), PLAIN))
    assert found.tolist() == wanted.tolist()


@interpreted
def the_noise_is_that_of_plain_pytorch_for_any_seed_and_counter() -> None:
    """Flat logits: the choice is the largest noise of all tokens, for one seed and counter a row."""
    draw, rows = Draw(25), 12
    rules = ChoiceRules.of([Sampling(temperature=1.0, top_k=0)] * rows, "cpu")
    seeds = torch.cat((torch.tensor([0, 1, -1, 2**32, 2**63 - 1, -(2**63)]), draw.whole(-(2**62), 2**62, rows - 6)))
    counters = torch.cat((torch.tensor([0, 0, 2**32, 2**32 - 1, -1, 7]), draw.whole(0, 2**62, rows - 6)))
    for vocab in (3, 1000, 4096):
        logits = torch.zeros(rows, vocab)
        found, wanted = (each.choose(logits, rules, seeds, counters) for each in (kernels(), PLAIN))
        assert found.tolist() == wanted.tolist()


@interpreted
def a_row_of_nan_still_points_into_the_vocabulary() -> None:
    rules = ChoiceRules.of([GREEDY, Sampling(), Sampling(top_p=0.5)], "cpu")
    zeros = torch.zeros(3, dtype=torch.int64)
    found = kernels().choose(torch.full((3, 5), torch.nan), rules, zeros, zeros)
    assert bool(((found >= 0) & (found < 5)).all())


@interpreted
def what_a_kernel_cannot_read_is_refused() -> None:
    from toolkit.errors import ToolkitFault

    ops, x = kernels(), torch.zeros(4, 8)
    refused: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: ops.norm(x.t(), torch.ones(4), EPS), "a kernel reads contiguous tensors; found shape (8, 4), "),
        (lambda: ops.linear_residual(torch.zeros(65, 8), x, torch.zeros(65, 4)), "a product takes up to 64 rows"),
        (
            lambda: ops.choose(torch.zeros(1, 4097), ChoiceRules.of([GREEDY], "cpu"), *torch.zeros(2, 1).long()),
            "a row of 4097 logits is too long for one program; 4096 fit",
        ),
    )
    for call, message in refused:
        try:
            call()
        except ToolkitFault as fault:
            assert str(fault).startswith(message), fault
        else:
            raise AssertionError(message)


def compile_kernel(
    kernel: Any, capability: int, types: dict[str, str], options: dict[str, int], **fixed: object
) -> Any:
    """Compile for a card that need not be there; types of pointers are aligned as PyTorch's tensors are."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    names = kernel.arg_names
    assert set(names) == set(types) | set(fixed), set(names) ^ (set(types) | set(fixed))
    signature = {name: "constexpr" if name in fixed else types[name] for name in names}
    aligned = [place for place, name in enumerate(names) if signature[name].startswith("*") or name.startswith("key_")]
    source = ASTSource(kernel, signature, fixed, {(place,): [["tt.divisibility", 16]] for place in aligned})
    return compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def cards() -> Iterator[tuple[int, bool]]:
    """Compute capabilities times ten, and whether kernels may overlap there: only from 9.0 on."""
    yield from ((80, False), (90, True))


@compiled
def products_compile_without_a_card_and_load_16_bytes_at_a_time() -> None:
    from toolkit.synthesis.fast.linear_kernels import dot_products, norm_rows, row_products, sum_frames

    half = "*bf16"
    ends = {"x": half, "weight": half, "residual": half, "out": half, "rows": "i32"}
    options = {"num_warps": 4}
    for capability, chained in cards():
        common = {"chained": chained}
        made = compile_kernel(
            row_products, capability, {**ends, "gain": half, "eps": "fp32"}, options, **common, outputs=4096,
            inputs=2048, padded_rows=1, block_outputs=8, block_inputs=1024, normed=True, gated=False,
            added=False, kept=True,
        )  # fmt: skip
        # Eight bfloat16 numbers a load: all of a layer's weights pass through these.
        assert made.asm["ptx"].count(".v4.b32") >= 16
        made = compile_kernel(
            dot_products, capability, {**ends, "partial": "*fp32", "arrived": "*i32"}, {**options, "num_stages": 4},
            **common, outputs=3072, inputs=1024, padded_rows=32, block_outputs=32, block_inputs=128, splits=2,
            gated=True, added=True,
        )  # fmt: skip
        assert "mma.sync" in made.asm["ptx"]
        assert "cp.async" in made.asm["ptx"]
    compile_kernel(
        row_products, 80, {**ends, "gain": half, "eps": "fp32"}, options, chained=False, outputs=3072,
        inputs=1024, padded_rows=4, block_outputs=8, block_inputs=1024, normed=True, gated=True, added=True, kept=False,
    )  # fmt: skip
    compile_kernel(
        norm_rows, 90, {"x": half, "gain": half, "out": half, "eps": "fp32"}, options, chained=True,
        inputs=2048, block=2048,
    )  # fmt: skip
    compile_kernel(
        sum_frames, 90, {"codes": "*i64", "table": half, "starts": "*i64", "text": half, "out": half}, options,
        chained=True, width=2048, groups=16, padded_groups=16, block=256,
    )  # fmt: skip


@compiled
def products_of_many_rows_fit_into_the_shared_memory_of_the_card() -> None:
    from toolkit.synthesis.fast.kernel_table import shipped_for
    from toolkit.synthesis.fast.linear_kernels import dot_products

    types = dict.fromkeys(("x", "weight", "residual", "out"), "*bf16")
    types |= {"rows": "i32", "partial": "*fp32", "arrived": "*i32"}
    # Most that one program may have, by compute capability (CUDA C++ programming guide, technical specifications).
    for capability, most_bytes in (((8, 6), 101_376), ((9, 0), 232_448)):
        _, shipped = shipped_for(capability)
        for rows, (outputs, inputs, gated) in product((32, 64), ((2048, 6144, False), (6144, 2048, True))):
            sizes = shipped.sizes.dot_sizes(outputs, inputs, gated, 2, rows)
            made = compile_kernel(
                dot_products, capability[0] * 10 + capability[1], types,
                {"num_warps": sizes.warps, "num_stages": sizes.stages}, chained=shipped.chained, outputs=outputs,
                inputs=inputs, padded_rows=rows, block_outputs=sizes.outputs, block_inputs=sizes.inputs,
                splits=sizes.splits, gated=gated, added=not gated,
            )  # fmt: skip
            assert made.metadata.shared <= min(most_bytes, shipped.sizes.shared_bytes), (capability, rows, sizes)


@compiled
def attention_compiles_without_a_card() -> None:
    from toolkit.synthesis.fast.attention_kernels import attend_slots

    half = ("qkv", "q_gain", "k_gain", "cos", "sin", "keys", "values", "out")
    types = dict.fromkeys(half, "*bf16") | dict.fromkeys(("slots", "arrived"), "*i32")
    types |= dict.fromkeys(("partial", "tops"), "*fp32") | dict.fromkeys(("eps", "scale"), "fp32")
    types |= dict.fromkeys(("slot_of_all", "key_rows", "key_heads"), "i32")
    for (capability, chained), splits in zip(cards(), (1, 32), strict=True):
        compile_kernel(
            attend_slots, capability, types, {"num_warps": 4}, heads=16, kv_heads=8, head_dim=128, padded_dim=128,
            padded_group=2, block_slots=16, splits=splits, together=splits == 1, chained=chained,
        )  # fmt: skip


@compiled
def choices_compile_without_a_card() -> None:
    from toolkit.synthesis.fast.sampling_kernels import choose_tokens

    types = dict.fromkeys(("penalty", "temperature", "top_p"), "*fp32")
    types |= dict.fromkeys(("logits", "table", "vectors"), "*bf16")
    types |= dict.fromkeys(("seen", "banned", "greedy"), "*u8") | dict.fromkeys(("seeds", "counters", "out"), "*i64")
    types |= {"top_k": "*i32"} | dict.fromkeys(("banned_stride", "offset", "out_stride"), "i32")
    for (capability, chained), vocab in zip(cards(), (2048, 3072), strict=True):
        compile_kernel(
            choose_tokens, capability, types, {"num_warps": 4}, vocab=vocab, block=4096, has_seen=True,
            has_banned=True, width=1024, padded_width=1024, chained=chained,
        )  # fmt: skip


@compiled
def kernels_compile_side_by_side_and_are_not_launched() -> None:
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    from toolkit.bench.tune_compile import DescribedCard
    from toolkit.synthesis.fast import triton_operations
    from toolkit.synthesis.fast.compile_ahead import FRAME_KERNELS, compile_ahead

    driver.set_active(DescribedCard(GPUTarget("cuda", 90, 32)))
    operations = triton_operations.TritonOperations("meta", chained=True)
    x, gain = torch.empty(1, 256, dtype=BRAIN, device="meta"), torch.empty(256, dtype=BRAIN, device="meta")
    weights = [torch.empty(outputs, 256, dtype=BRAIN, device="meta") for outputs in (256, 512)]

    def work() -> None:
        for weight in weights:
            operations.linear_residual(operations.norm_linear(x, gain, EPS, weights[0]), weights[0], x)
            operations.norm_gate_up(x, gain, EPS, weight)

    known = triton_operations.row_products
    before = len(known.device_caches[0][0])
    assert compile_ahead(work, FRAME_KERNELS, threads=2)
    assert triton_operations.row_products is known
    made = list(known.device_caches[0][0].values())[before:]
    assert len(made) == 4, len(made)
    assert all(kernel.asm["ptx"] for kernel in made)

    def fails() -> None:
        operations.norm(x, gain, EPS)
        raise ValueError("in the middle")

    assert not compile_ahead(fails, FRAME_KERNELS, threads=2)
    assert triton_operations.row_products is known


def run_checks(interpreted: dict[str, Check], compiled: dict[str, Check]) -> int:
    """Run one kind of check; a JSON object of names and what went wrong, empty where nothing did, is the last line."""
    torch.set_num_threads(1)
    found = {}
    for name, check in (interpreted if sys.argv[1] == "interpreted" else compiled).items():
        try:
            check()
            found[name] = ""
        except Exception:  # noqa: BLE001 - a check that crashes must not hide what the others find
            found[name] = traceback.format_exc()
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(run_checks(INTERPRETED, COMPILED))
