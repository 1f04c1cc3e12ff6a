"""The plain operations of the fast path against the layers and the sampling they stand for; and the random numbers."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import chisquare

from toolkit.errors import UsageError
from toolkit.synthesis import sampling
from toolkit.synthesis.config import DecoderShape
from toolkit.synthesis.fast.kernel_sizes import KernelSizes, power_of_two
from toolkit.synthesis.fast.operations import ChoiceRules, PlainOperations
from toolkit.synthesis.fast.philox import philox, token_uniforms, uniforms
from toolkit.synthesis.layers import Angles, DecoderLayer, DecoderStack, KeyValueCache, rotary_table
from toolkit.synthesis.sampling import GREEDY, Sampling

PLAIN = PlainOperations()
SHAPE = DecoderShape(
    hidden=32, intermediate=48, layers=2, heads=4, kv_heads=2, head_dim=16, rms_eps=1e-6, rope_theta=1e6
)
SLOTS = 12


def words(text: str) -> list[torch.Tensor]:
    return [torch.tensor(int(word, 16)) for word in text.split()]


@pytest.mark.parametrize(
    ("counter", "key", "wanted"),
    [
        ("0 0 0 0", "0 0", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_the_published_words(counter: str, key: str, wanted: str) -> None:
    """``kat_vectors`` of Random123."""
    c0, c1, c2, c3 = words(counter)
    k0, k1 = words(key)
    assert philox((c0, c1, c2, c3), (k0, k1)).tolist() == [int(word, 16) for word in wanted.split()]


def test_each_token_takes_its_word_of_its_block() -> None:
    seed, counter = -3 * 2**40 + 17, 5 * 2**32 + 9
    found = token_uniforms(torch.tensor([seed]), torch.tensor([counter]), 11)
    for token in range(11):
        block = torch.tensor([token // 4, counter % 2**32, counter >> 32, 0])
        key = torch.tensor([seed % 2**32, (seed >> 32) % 2**32])
        word = philox(tuple(block), tuple(key))[token % 4]  # type: ignore[arg-type]
        assert found[0, token] == uniforms(word)


def test_uniforms_lie_strictly_between_zero_and_one() -> None:
    found = uniforms(torch.tensor([0, 2**32 - 1])).double()
    assert found.tolist() == [2.0**-24, 1 - 2.0**-24]
    assert bool(torch.isfinite(-torch.log(-torch.log(uniforms(torch.tensor([0, 2**32 - 1]))))).all())


def test_a_row_draws_the_same_numbers_whatever_stands_beside_it() -> None:
    seeds, counters = torch.tensor([4, -9, 2**62]), torch.tensor([16, 17, 2**40])
    together = token_uniforms(seeds, counters, 50)
    for row in range(3):
        assert torch.equal(token_uniforms(seeds[row : row + 1], counters[row : row + 1], 50)[0], together[row])
    assert len(set(together.flatten().tolist())) == 150


def weights(dtype: torch.dtype) -> DecoderStack:
    """A small stack of random weights."""
    generator = torch.Generator().manual_seed(3)
    stack = DecoderStack(SHAPE)
    for name, tensor in list(stack.named_parameters()):
        scale = tensor.shape[1] ** -0.5 if tensor.dim() == 2 else 1.0
        values = (torch.randn(tensor.shape, generator=generator) * scale).to(dtype)
        owner, _, leaf = name.rpartition(".")
        setattr(stack.get_submodule(owner), leaf, torch.nn.Parameter(values, requires_grad=False))
    stack.prepare()
    return stack


def stepped(stack: DecoderStack, x: torch.Tensor, starts: list[int], angles: Angles) -> torch.Tensor:
    """Rows whose sequences begin at different steps, through the operations: ``[rows, steps, hidden]``, normed."""
    rows, steps, _ = x.shape
    size = (SHAPE.layers, rows, SHAPE.kv_heads, SLOTS, SHAPE.head_dim)
    keys, values = torch.zeros(size, dtype=x.dtype), torch.zeros(size, dtype=x.dtype)
    out = torch.zeros_like(x)
    for step in range(steps):
        # A row that has not begun writes slot 0 again and again, until what belongs there is written.
        slots = torch.tensor([max(0, step - start) for start in starts], dtype=torch.int32)
        state = x[:, step]
        for index, layer in enumerate(stack.layers):
            assert isinstance(layer, DecoderLayer)
            eps = SHAPE.rms_eps
            qkv = PLAIN.norm_linear(state, layer.input_norm, eps, layer.qkv.weight)
            found = PLAIN.attend(
                qkv,
                layer.q_norm,
                layer.k_norm,
                eps,
                angles.cos,
                angles.sin,
                slots,
                keys[index],
                values[index],
                SHAPE.heads,
            )
            state = PLAIN.linear_residual(found, layer.out.weight, state)
            inner = PLAIN.norm_gate_up(state, layer.post_norm, eps, layer.gate_up.weight)
            state = PLAIN.linear_residual(inner, layer.down.weight, state)
        out[:, step] = PLAIN.norm(state, stack.norm, SHAPE.rms_eps)
    return out


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.06)])
def test_the_operations_make_up_the_layers_for_rows_of_unequal_length(dtype: torch.dtype, tolerance: float) -> None:
    stack, starts = weights(dtype), [0, 3, 7]
    angles = rotary_table(SHAPE.head_dim, SHAPE.rope_theta, SLOTS, dtype=dtype, device=torch.device("cpu"))
    x = torch.randn(3, 9, SHAPE.hidden, generator=torch.Generator().manual_seed(5)).to(dtype)
    found = stepped(stack, x, starts, angles)
    for row, start in enumerate(starts):
        cache = KeyValueCache(SHAPE, 1, SLOTS, SLOTS, dtype=dtype, device=torch.device("cpu"))
        length = 9 - start
        wanted = stack.normed(stack(x[row : row + 1, start:], angles.span(0, length), cache, None))[0]
        assert torch.allclose(found[row, start:].float(), wanted.float(), rtol=0, atol=tolerance), row


def attended(fill: float, slots: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    rows = len(slots)
    cache = torch.randn(2, rows, 2, 8, 16, generator=generator)
    for row, slot in enumerate(slots):
        cache[:, row, :, slot:] = fill
    keys, values = cache[0].clone(), cache[1].clone()
    qkv, gains = torch.randn(rows, 8 * 16, generator=generator), torch.randn(2, 16, generator=generator)
    angles = rotary_table(16, 1e4, 8, dtype=torch.float32, device=torch.device("cpu"))
    where = torch.tensor(slots, dtype=torch.int32)
    out = PLAIN.attend(qkv, gains[0], gains[1], 1e-6, angles.cos, angles.sin, where, keys, values, 4)
    return out, keys


def test_attention_looks_at_no_slot_behind_its_own_and_writes_no_other() -> None:
    first, keys = attended(0.0, [0, 5])
    second, _ = attended(1e4, [0, 5])
    assert torch.equal(first, second)
    assert bool((keys[0, :, 0] != 0).any())
    assert bool((keys[0, :, 1:] == 0).all())
    assert bool((keys[1, :, 6:] == 0).all())


def test_a_frames_vectors_are_added_in_float32_and_rounded_once_before_the_text_comes() -> None:
    generator = torch.Generator().manual_seed(8)
    table = torch.randn(60, 24, generator=generator).bfloat16()
    starts = torch.arange(16) * 3
    codes = torch.randint(0, 3, (2, 16), generator=generator)
    text = torch.randn(2, 24, generator=generator).bfloat16()
    wanted = torch.stack([table[code + starts].float().sum(0) for code in codes]).bfloat16() + text
    assert torch.equal(PLAIN.frame_input(codes, table, starts, text), wanted)


SETTINGS = [
    Sampling(temperature=0.9, top_k=0),
    Sampling(temperature=1.0, top_k=12),
    Sampling(temperature=0.7, top_k=0, top_p=0.8),
    Sampling(temperature=1.3, top_k=20, top_p=0.6),
    Sampling(temperature=0.9, top_k=5, top_p=1.0),
]


def reference_odds(
    logits: torch.Tensor, seen: torch.Tensor, banned: torch.Tensor, setting: Sampling, penalty: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits behind penalty and ban, and what the slow path's own code makes of them for its draw."""
    taken: list[torch.Tensor] = []

    def multinomial(odds: torch.Tensor, count: int, generator: object = None) -> torch.Tensor:
        taken.append(odds)
        return torch.zeros(odds.shape[0], count, dtype=torch.int64)

    logits = sampling.penalised(logits, seen, penalty).masked_fill(banned, -math.inf)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "multinomial", multinomial)
        sampling.choose(logits, setting)
    return logits[0], taken[0][0]


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "tied"])
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_a_hundred_thousand_draws_follow_the_order_of_operations_of_the_slow_path(
    setting: Sampling, ties: bool
) -> None:
    generator = torch.Generator().manual_seed(11)
    vocab, draws = 40, 100_000
    logits = torch.randn(1, vocab, generator=generator) * 1.5
    if ties:
        logits = logits.mul(2).round().div(2)
    seen, banned = torch.rand(1, vocab, generator=generator) < 0.3, torch.rand(vocab, generator=generator) < 0.2
    warped, odds = reference_odds(logits, seen, banned, setting, 1.3)
    rules = ChoiceRules.of(
        [setting] * draws, "cpu", penalties=[1.3] * draws, seen=seen.expand(draws, -1), banned=banned
    )
    chosen = PLAIN.choose(logits.expand(draws, -1), rules, torch.full((draws,), 77), torch.arange(draws) * 16)
    # Which of equal tokens go at the top-p bound is left open by an unstable sort, how many go is not.
    values, kind = warped.unique(return_inverse=True)
    counts = torch.zeros(len(values)).index_add(0, kind, torch.bincount(chosen, minlength=vocab).float())
    expected = torch.zeros(len(values), dtype=torch.float64).index_add(0, kind, odds.double()) * draws
    possible = expected > 0
    assert int(counts[~possible].sum()) == 0
    assert float(expected[possible].min()) > 5
    wanted = expected[possible] / expected.sum() * draws
    assert chisquare(counts[possible].double().numpy(), wanted.numpy()).pvalue > 1e-3


def test_neighbouring_counters_and_seeds_draw_independently() -> None:
    """Pairs of draws, of one seed at two counters and of two seeds at one counter, fill the square evenly."""
    draws, vocab = 40_000, 4
    rules = ChoiceRules.of([Sampling(temperature=1.0, top_k=0)] * draws, "cpu")
    logits, steps = torch.zeros(draws, vocab), torch.arange(draws)
    first = PLAIN.choose(logits, rules, torch.full((draws,), 1), steps)
    for seeds, counters in ((torch.full((draws,), 1), steps + draws), (torch.full((draws,), 2), steps)):
        pairs = first * vocab + PLAIN.choose(logits, rules, seeds, counters)
        assert chisquare(torch.bincount(pairs, minlength=vocab * vocab).numpy()).pvalue > 1e-3


def test_rows_keep_their_own_rules() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(5, 30, generator=generator) * 3
    settings = [GREEDY, *SETTINGS[:4]]
    seeds, counters = torch.arange(5) + 100, torch.arange(5) * 16
    seen, banned = torch.rand(5, 30, generator=generator) < 0.5, torch.rand(5, 30, generator=generator) < 0.5
    penalties = [1.0, 1.1, 2.0, 0.8, 1.0]
    together = PLAIN.choose(
        logits, ChoiceRules.of(settings, "cpu", penalties=penalties, seen=seen, banned=banned), seeds, counters
    )
    for row in range(5):
        one = slice(row, row + 1)
        rules = ChoiceRules.of(settings[one], "cpu", penalties=penalties[one], seen=seen[one], banned=banned[row])
        assert PLAIN.choose(logits[one], rules, seeds[one], counters[one]) == together[row]


def test_a_greedy_row_takes_the_first_of_the_largest_that_are_not_banned() -> None:
    logits = torch.tensor([[1.0, 5.0, 3.0, 3.0, 5.0]])
    rules = ChoiceRules.of([GREEDY], "cpu", banned=torch.tensor([False, True, False, False, True]))
    assert PLAIN.choose(logits, rules, torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)) == 2


def test_of_equal_tokens_at_the_top_p_bound_the_first_ones_go() -> None:
    # Four equal tokens: at most half of the probability is dropped, which is that of two of them.
    rules = ChoiceRules.of([Sampling(temperature=1.0, top_k=0, top_p=0.5)] * 4000, "cpu")
    found = PLAIN.choose(torch.zeros(4000, 4), rules, torch.full((4000,), 3), torch.arange(4000))
    assert set(found.tolist()) == {2, 3}


def test_powers_of_two() -> None:
    assert [power_of_two(least) for least in (1, 2, 3, 4, 5, 1000, 1024)] == [1, 2, 4, 4, 8, 1024, 1024]


def test_work_is_cut_into_enough_programs_but_no_finer() -> None:
    sizes = KernelSizes()
    assert [sizes.row_block(outputs) for outputs in (4096, 2048, 1024, 300, 7)] == [8, 8, 4, 1, 1]
    # Two bytes a number; the predictor's products, and one that has tiles enough.
    assert [sizes.dot_sizes(*size, False, 2) for size in ((4096, 1024), (1024, 3072), (9000, 64))] == [
        (32, 128, 2, 4, 4),
        (32, 128, 8, 4, 4),
        (32, 64, 1, 4, 4),
    ]
    cut = [sizes.attend(*size) for size in ((8, 4096), (8, 128), (8, 33), (512, 4096))]
    assert cut == [(8, 2, 16), (8, 2, 8), (8, 2, 2), (8, 2, 1)]
    # A short cache stays whole.
    assert [sizes.attend(*size) for size in ((8, 32), (8, 5))] == [(8, 1, 1), (8, 1, 1)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"row_outputs": 6}, "row_outputs must be a power of two, not 6"),
        ({"dot_rows": 0}, "dot_rows must be a whole number above 0, not 0"),
        ({"attend_warps": True}, "attend_warps must be a whole number above 0, not True"),
    ],
)
def test_block_sizes_that_cannot_be_are_refused(given: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        KernelSizes(**given)
    assert str(caught.value) == message
