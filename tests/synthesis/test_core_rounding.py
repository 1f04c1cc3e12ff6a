"""Where BF16 rounds and where it does not, and layers against a plain restatement of their formulas."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from loaded_model import Loaded

from toolkit.synthesis.config import DecoderShape, ModelConfig
from toolkit.synthesis.decoding import generate
from toolkit.synthesis.layers import Linear, attention, packing_supported, rms_norm, rotary_table, rotate
from toolkit.synthesis.sampling import DecodeSettings
from toolkit.synthesis.talker import Talker, load_talker

Load = Callable[..., Loaded]
CPU = torch.device("cpu")
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_norm_rounds_before_and_after_its_gain(dtype: torch.dtype) -> None:
    x, gain = (noise(3, 64) * 7).to(dtype), noise(64, seed=1).to(dtype)
    wide = x.double()
    normed = (wide / (wide.square().mean(-1, keepdim=True) + 1e-6).sqrt()).float().to(dtype)
    found = rms_norm(x, gain, 1e-6)
    assert found.dtype == dtype
    assert torch.allclose(found, gain * normed, rtol=1e-6 if dtype == torch.float32 else 0, atol=0)


def test_the_statistics_of_a_norm_do_not_overflow_in_float16() -> None:
    x = torch.full((1, 8), 300.0, dtype=torch.float16)
    assert torch.equal(rms_norm(x, torch.ones(8, dtype=torch.float16), 1e-6), torch.ones(1, 8, dtype=torch.float16))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rotation_rounds_both_products_and_their_sum(dtype: torch.dtype) -> None:
    table = rotary_table(32, 1e6, 50, dtype=dtype, device=CPU)
    x = noise(2, 50, 4, 32).to(dtype)
    inverse = 1.0 / 1e6 ** (torch.arange(0, 32, 2) / 32)
    turns = torch.arange(50)[:, None] * inverse
    cos = torch.cat((turns.cos(), turns.cos()), -1).to(dtype)[None, :, None]
    sin = torch.cat((turns.sin(), turns.sin()), -1).to(dtype)[None, :, None]
    turned = torch.cat((-x[..., 16:], x[..., :16]), -1)
    assert torch.equal(rotate(x, table.span(0, 50)), (x * cos).to(dtype) + (turned * sin).to(dtype))


def test_angles_are_float32_before_they_are_rounded() -> None:
    """In bfloat16 position 1001 would be position 1000."""
    table = rotary_table(8, 1e6, 1002, dtype=torch.bfloat16, device=CPU)
    assert torch.equal(table.cos[1001, 0], torch.tensor(1001.0).cos().bfloat16())
    assert not torch.equal(table.cos[1000], table.cos[1001])


@pytest.mark.parametrize("length", [1, 5])
@pytest.mark.parametrize("masked", [False, True])
def test_heads_of_a_group_share_keys_and_values(length: int, masked: bool) -> None:
    queries, keys, values = noise(2, length, 6, 8), noise(2, 2, 5, 8, seed=1), noise(2, 2, 5, 8, seed=2)
    mask = None
    allowed = torch.ones(length, 5).tril(5 - length).bool()
    if masked:
        allowed = allowed & torch.tensor([False, True, True, True, True]) | torch.eye(5, dtype=torch.bool)[-length:]
        mask = allowed.expand(2, 1, length, 5)
    found = attention(queries, keys, values, mask)
    for head in range(6):
        key, value = keys[:, head // 3], values[:, head // 3]
        scores = queries[:, :, head] @ key.transpose(1, 2) / 8**0.5
        wanted = torch.softmax(scores.masked_fill(~allowed, -torch.inf), -1) @ value
        assert torch.allclose(found[:, :, head * 8 : head * 8 + 8], wanted, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_a_packed_product_is_the_plain_one(dtype: torch.dtype, rows: int) -> None:
    assert packing_supported(torch.float32), "the CPU builds of PyTorch come with oneDNN"
    if not packing_supported(dtype):
        assert dtype == torch.bfloat16
        return
    linear = Linear(96, 64, bias=True)
    linear.weight = torch.nn.Parameter(noise(96, 64).to(dtype), requires_grad=False)
    linear.bias = torch.nn.Parameter(noise(96, seed=1).to(dtype), requires_grad=False)
    x = noise(1, rows, 64, seed=2).to(dtype)
    plain = linear(x)
    linear.pack()
    linear.pack()
    assert linear.weight.is_meta is (dtype == torch.bfloat16)
    tolerance = 1e-5 if dtype == torch.float32 else 0.13
    assert torch.allclose(linear(x), plain, atol=tolerance, rtol=0)


def test_float16_is_never_packed() -> None:
    assert not packing_supported(torch.float16)


@pytest.mark.parametrize("name", ["cv_1b7_a", "cv_0b6_a"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_weight_has_the_dtype_that_was_asked_for(load: Load, name: str, dtype: torch.dtype) -> None:
    talker = load(name, dtype).talker
    assert {part.dtype for part in talker.parameters()} == {dtype}
    assert talker.dtype == dtype


@pytest.mark.parametrize("name", ["cv_1b7_a", "cv_0b6_a"])
def test_a_float16_talker_speaks_with_a_float32_predictor(load: Load, name: str) -> None:
    model = load(name)
    half = load_talker(model.folder, model.config, dtype=torch.float16, predictor_dtype=torch.float32)
    assert half.dtype == torch.float16
    assert {part.dtype for part in half.predictor.parameters()} == {torch.float32}
    prompts = type(model.prompts)(half, model.tokenizer)
    settings = DecodeSettings(max_new_tokens=4).greedy()
    text = "你好，很高兴认识你。"
    found = generate(half, [prompts.custom_voice(text, "vivian")], settings).collect()[0]
    wanted = generate(model.talker, [model.prompts.custom_voice(text, "vivian")], settings).collect()[0]
    assert torch.equal(found[0, :1], wanted[0, :1])
    assert found.shape == wanted.shape


def test_the_text_table_can_stay_behind_in_the_dtype_of_the_file(load: Load) -> None:
    """ "cpu:0" is a device of its own as far as the loader is concerned."""
    model = load("cv_1b7_a")
    apart = load_talker(model.folder, model.config, text_table_device="cpu:0", pack=False)
    assert apart.text.table.dtype == torch.bfloat16
    assert model.talker.text.table.dtype == torch.float32
    ids = torch.tensor([5, 6, 7])
    assert torch.equal(apart.text(ids), model.talker.text(ids))


def test_a_network_is_built_without_memory_and_without_losing_its_angles(load: Load) -> None:
    """Angles are computed when they are used, so that no way of loading can leave them uninitialised."""
    config: ModelConfig = load("cv_1b7_a").config
    built = Talker(config)
    assert all(part.is_meta for part in built.parameters())
    assert not any("inv_freq" in name for name, _ in load("cv_1b7_a").talker.named_buffers())


def test_frame_sums_are_rounded_once(load: Load) -> None:
    tables = load("cv_1b7_a", torch.bfloat16).talker.codes
    codes = torch.randint(0, 256, (5, 16), generator=torch.Generator().manual_seed(4))
    rows = [tables.table[start + codes[:, group]].double() for group, start in enumerate(tables.starts)]
    assert torch.equal(tables.frame_sum(codes), torch.stack(rows).sum(0).float().bfloat16())


def test_projected_tables_are_the_projection_of_each_row(load: Load) -> None:
    talker = load("cv_1b7_a").talker
    rows = talker.codes.table[[3, 300, 2000, 4000]]
    assert talker.predictor.projection is not None
    assert torch.allclose(talker.predictor.inputs[[3, 300, 2000, 4000]], talker.predictor.projection(rows), atol=1e-5)
    small = load("cv_0b6_a").talker
    assert small.predictor.projection is None
    assert small.predictor.inputs.data_ptr() == small.codes.table.data_ptr()


def test_query_heads_must_divide_among_key_heads() -> None:
    shape = DecoderShape(1, 8, 8, 4, 2, 4, 1e-6, 1e6)
    assert shape.qkv_rows == 32
