"""The codec's causal layers against PyTorch's own convolutions and against rules written out one position at a time."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from toolkit.synthesis import codec_layers
from toolkit.synthesis.codec_config import CodecStack
from toolkit.synthesis.codec_layers import (
    CausalConv,
    History,
    HistoryLayout,
    SnakeBeta,
    TransposedConv,
    codec_angles,
    codec_turns,
    divided_codebook,
    prepare_all,
    window_mask,
)

STACK = CodecStack(layers=1, hidden=8, intermediate=8, heads=1, head_dim=8, norm_eps=1e-5, rope_theta=10000.0)
TURNS = codec_turns(STACK, torch.device("cpu"))


def filled(layer: nn.Module, *, pack: bool = False) -> dict[str, Tensor]:
    """Give a layer random weights as a file would, prepare it, and return the weights as they were."""
    generator = torch.Generator().manual_seed(7)
    weights = {}
    for name, parameter in list(layer.named_parameters()):
        weights[name] = torch.randn(parameter.shape, generator=generator)
        setattr(layer, name, nn.Parameter(weights[name].clone(), requires_grad=False))
    prepare_all(nn.ModuleList([layer]), pack=pack)
    return weights


def run(layer: nn.Module, layout: HistoryLayout, pieces: list[Tensor]) -> Tensor:
    history = History(layout.zeros(pieces[0].shape[0], dtype=pieces[0].dtype, device=pieces[0].device))
    return torch.cat([layer(piece, history) for piece in pieces], 1)


@pytest.mark.parametrize(
    ("kernel", "dilation", "stride", "groups"), [(7, 9, 1, 1), (6, 1, 3, 1), (7, 1, 1, 6), (1, 1, 1, 1)]
)
@pytest.mark.parametrize("sizes", [[24], [3, 6, 12, 3]])
def test_a_causal_convolution_is_one_with_zeros_before_it(
    kernel: int, dilation: int, stride: int, groups: int, sizes: list[int]
) -> None:
    layout = HistoryLayout()
    layer = CausalConv(layout, 6, 12, kernel, dilation=dilation, stride=stride, groups=groups)
    weights = filled(layer)
    x = torch.randn(2, 24, 6, generator=torch.Generator().manual_seed(1))
    padded = functional.pad(x.transpose(1, 2), ((kernel - 1) * dilation + 1 - stride, 0))
    wanted = functional.conv1d(padded, weights["weight"], weights["bias"], stride, 0, dilation, groups)
    torch.testing.assert_close(run(layer, layout, list(x.split(sizes, 1))), wanted.transpose(1, 2), atol=2e-5, rtol=0)


@pytest.mark.parametrize("overlaps", [True, False])
@pytest.mark.parametrize("sizes", [[9], [1, 1, 2, 5]])
def test_a_transposed_convolution_is_trimmed_on_the_right_and_only_there(overlaps: bool, sizes: list[int]) -> None:
    layout = HistoryLayout()
    layer = TransposedConv(layout, 6, 4, 5, overlaps=overlaps)
    weights = filled(layer)
    x = torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(2))
    whole = functional.conv_transpose1d(x.transpose(1, 2), weights["weight"], weights["bias"], stride=5)
    wanted = whole[..., : 9 * 5].transpose(1, 2)
    torch.testing.assert_close(run(layer, layout, list(x.split(sizes, 1))), wanted, atol=2e-5, rtol=0)


@pytest.mark.parametrize("columns", [1, 5, 64])
def test_a_packed_convolution_is_the_plain_one(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr(codec_layers, "_PACKED_ELEMENTS", 1)
    x = torch.randn(1, columns, 32, generator=torch.Generator().manual_seed(3))
    found = []
    for pack in (False, True):
        layout = HistoryLayout()
        layer = CausalConv(layout, 32, 48, 7, dilation=3)
        filled(layer, pack=pack)
        assert (layer.taps._packed is not None) is pack
        found.append(run(layer, layout, [x]))
    torch.testing.assert_close(found[1], found[0], atol=1e-4, rtol=0)


def test_snake_is_the_formula() -> None:
    layer = SnakeBeta(3)
    weights = filled(layer)
    x = torch.linspace(-4.0, 4.0, 30).view(1, 10, 3)
    wanted = x + torch.sin(x * weights["alpha"].exp()) ** 2 / (weights["beta"].exp() + 1e-9)
    torch.testing.assert_close(layer(x), wanted)


def test_what_the_past_holds_is_a_copy_of_its_last_columns() -> None:
    layout = HistoryLayout()
    place = layout.add(2, 3)
    zeros = layout.zeros(1, dtype=torch.float32, device=torch.device("cpu"))
    history = History(zeros)
    new = torch.arange(30.0).view(1, 10, 3)
    assert history.extend(place, new).shape == (1, 12, 3)
    assert torch.equal(history.tensors[place], new[:, -2:])
    assert history.tensors[place].untyped_storage().nbytes() == 2 * 3 * 4
    assert not zeros[place].any()


@pytest.mark.parametrize(("before", "time"), [(0, 1), (0, 9), (2, 5), (4, 3), (100, 7)])
def test_a_position_sees_itself_and_the_window_behind_it(before: int, time: int) -> None:
    window = 4
    mask = window_mask(before + torch.arange(time), window)
    for row in range(time):
        seen = [before - (window - 1) + column for column in range(window - 1 + time) if mask[row, column]]
        position = before + row
        assert seen == list(range(max(0, position - window + 1), position + 1))


def test_rows_at_different_places_see_what_each_sees_alone() -> None:
    positions = torch.tensor([[0], [2], [100]]) + torch.arange(5)
    mask, angles = window_mask(positions, 4), codec_angles(TURNS, positions, torch.float32)
    assert mask.shape == (3, 1, 5, 8)
    for row, own in enumerate(positions):
        assert torch.equal(mask[row, 0], window_mask(own, 4))
        alone = codec_angles(TURNS, own, torch.float32)
        assert torch.equal(angles.cos[row], alone.cos[0])
        assert torch.equal(angles.sin[row], alone.sin[0])


def test_a_past_can_be_kept_where_it_lies() -> None:
    layout = HistoryLayout()
    place = layout.add(2, 3)
    static = layout.zeros(1, dtype=torch.float32, device=torch.device("cpu"))
    history = History(static, in_place=True)
    for new in (torch.ones(1, 1, 3), torch.full((1, 4, 3), 2.0)):
        history.extend(place, new)
    assert history.tensors[place] is static[place]
    assert torch.equal(static[place], torch.full((1, 2, 3), 2.0))


def test_angles_stay_exact_at_any_position() -> None:
    far = 30_000
    near = codec_angles(TURNS, torch.arange(3), torch.float32)
    angles = codec_angles(TURNS, torch.arange(far, far + 3), torch.float32)
    half = STACK.head_dim // 2
    sines = -angles.sin[0, :, 0, :half]
    cosines = angles.cos[0, :, 0, :half]
    turned = cosines[0] * cosines[2] + sines[0] * sines[2]
    assert (turned - near.cos[0, 2, 0, :half]).abs().max() < 1e-6


def test_angles_near_the_start_are_those_of_float32() -> None:
    angles = codec_angles(TURNS, torch.arange(300), torch.float32)
    turns = torch.arange(300.0)[:, None] * (1.0 / 10000.0 ** (torch.arange(0, 8, 2) / 8))
    assert (angles.cos[0, :, 0, :4] - turns.cos()).abs().max() < 2e-5


def test_an_unused_codebook_entry_is_divided_by_the_floor() -> None:
    sums, usage = torch.tensor([[2.0, 4.0], [1e-5, 2e-5]]), torch.tensor([2.0, 1e-9])
    torch.testing.assert_close(divided_codebook(sums, usage), torch.tensor([[1.0, 2.0], [1.0, 2.0]]))


def test_a_codebook_is_divided_in_its_own_dtype() -> None:
    sums, usage = torch.tensor([[1.0078125]]).bfloat16(), torch.tensor([3.0]).bfloat16()
    assert torch.equal(divided_codebook(sums, usage), sums / usage[:, None])
    assert divided_codebook(sums, usage).dtype == torch.bfloat16
