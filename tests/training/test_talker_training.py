"""The training of the talker: it learns, ends in time, counts right, and keeps its result."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from talker_samples import examples, talker_net, vocabulary

from training.pocket import talker_training as module
from training.pocket.sequences import Sequences, lay_out
from training.pocket.shape import SMOKE
from training.pocket.talker_training import Settings, load_checkpoint, save_checkpoint, train

SMALL = Settings(
    rows=2, row=256, predictor_frames=32, warm_up=5, peak_rate=1e-2, log_every=10, evaluate_every=20, average=0.9
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data() -> Sequences:
    return lay_out(examples(60, learnable=True), vocabulary(), SMOKE, seed=0, longest=256)


def trained(data: Sequences, lines: list[str], steps: int, seed: int = 0, **more: object) -> dict[str, torch.Tensor]:
    return train(
        data,
        SMOKE,
        time_limit_s=60,
        device="cpu",
        seed=seed,
        log=lines.append,
        settings=SMALL,
        most_steps=steps,
        **more,
    )  # type: ignore[arg-type]


def test_it_learns_and_says_so(data: Sequences) -> None:
    lines: list[str] = []
    state = trained(data, lines, 40)
    assert lines[0] == "attention: masked, since the device is cpu"
    assert re.fullmatch(r"60 sequences \(0 too long\), 1 held out; \d+ batches an epoch, 9\d\.\d% filled; .*", lines[1])
    pattern = r"step (\d+), .*: code 0 ([\d.]+) \(([\d.]+)% right\), 1-3 ([\d.]+), 4-7 .*, guide ([\d.]+), gradient .*"
    steps = [found for line in lines if (found := re.fullmatch(pattern, line))]
    assert [int(found[1]) for found in steps] == [10, 20, 30, 40]
    first, last = steps[0], steps[-1]
    assert float(last[2]) < 0.6 * float(first[2])
    assert float(last[3]) > float(first[3])
    assert float(last[4]) < 0.6 * float(first[4])
    held = [line for line in lines if line.startswith("  held out: code 0")]
    assert len(held) == 3  # at the steps 20 and 40, and of the result
    assert set(state) == set(talker_net().state_dict())
    assert all(value.isfinite().all() and value.dtype == torch.float32 for value in state.values())


def test_the_seed_decides_the_result(data: Sequences) -> None:
    first, again, other = (trained(data, [], 3, seed) for seed in (1, 1, 2))
    assert all(torch.allclose(first[name], again[name], atol=1e-6) for name in first)
    assert not torch.allclose(first["talker.codec_head.weight"], other["talker.codec_head.weight"], atol=1e-3)


def test_it_ends_in_time_and_the_rate_follows_the_clock(data: Sequences) -> None:
    lines: list[str] = []
    begin = time.monotonic()
    train(data, SMOKE, time_limit_s=1.5, device="cpu", seed=0, log=lines.append, settings=SMALL)
    assert time.monotonic() - begin < 4.0
    rates = [float(found[1]) for line in lines if (found := re.search(r"rate ([\d.e-]+)", line))]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.5 * SMALL.peak_rate


def test_the_rate_rises_then_falls() -> None:
    usual = Settings()
    assert usual.rate(0, 0.0) == pytest.approx(1.2e-3 / 300)
    assert usual.rate(299, 0.0) == pytest.approx(1.2e-3)
    assert usual.rate(5000, 0.5) == pytest.approx((1.2e-3 + 3e-5) / 2)
    assert usual.rate(5000, 1.0) == usual.rate(5000, 1.1) == pytest.approx(3e-5)


def test_a_piece_goes_on_where_the_last_one_ended(data: Sequences, tmp_path: Path) -> None:
    lines: list[str] = []
    trained(data, lines, 40, checkpoint=tmp_path)
    kept = load_checkpoint(tmp_path)
    more: list[str] = []
    trained(data, more, 10, resume=kept, piece=(0.5, 1.0))
    last = next(line for line in reversed(lines) if line.startswith("step 40"))
    first = next(line for line in more if line.startswith("step 10"))
    assert re.search(r"step 10, 5\d\.\d%", first)
    found = [float(re.search(r"code 0 ([\d.]+)", line)[1]) for line in (last, first)]  # type: ignore[index]
    assert found[1] < 1.5 * found[0]


def test_rows_must_hold_the_longest_sequence(data: Sequences) -> None:
    with pytest.raises(ValueError, match=r"a sequence has \d+ positions, a row has 64"):
        train(data, SMOKE, time_limit_s=1, device="cpu", seed=0, log=print, settings=replace(SMALL, row=64))


def test_a_checkpoint_lies_in_files_of_a_limited_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FILE_BYTES", 100_000)
    state = talker_net().state_dict()
    (tmp_path / "talker-99.safetensors").write_bytes(b"of a former run")
    save_checkpoint(tmp_path, state)
    files = sorted(tmp_path.iterdir())
    assert len(files) > 3
    assert max(file.stat().st_size for file in files) < 200_000  # the largest weight, or the limit and a header
    assert sum(file.stat().st_size for file in files) < 2.2 * sum(value.numel() for value in state.values())
    found = load_checkpoint(tmp_path)
    assert set(found) == set(state)
    assert all(torch.equal(found[name], state[name].bfloat16().float()) for name in state)


def test_a_folder_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no talker-\*.safetensors in"):
        load_checkpoint(tmp_path)


def test_the_update_is_that_of_adamw() -> None:
    torch.manual_seed(0)
    start, gradients = torch.randn(50), [torch.randn(50) for _ in range(4)]
    theirs = start.clone().requires_grad_()
    optimizer = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.98), weight_decay=0.05)
    ours, mean, square, average = start.clone(), torch.zeros(50), torch.zeros(50), start.clone()
    rate = torch.tensor(0.01)
    for tick, gradient in enumerate(gradients):
        norm = gradient.norm()
        module._update(ours, gradient, mean, square, average, norm, rate, torch.tensor([tick]), 2.0, 0.05, 0.999)
        theirs.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_([theirs], 2.0)
        optimizer.step()
    torch.testing.assert_close(ours, theirs.detach())
    assert not torch.equal(average, ours)
    assert (average - ours).abs().max() < (start - ours).abs().max()


def test_a_step_that_is_not_finite_changes_nothing() -> None:
    arrays = [torch.randn(9), torch.full((9,), torch.nan), torch.randn(9), torch.rand(9), torch.randn(9)]
    before = arrays[0].clone()
    norm = torch.linalg.vector_norm(arrays[1])
    module._update(*arrays, norm, torch.tensor(0.1), torch.tensor([3]), 1.0, 0.1, 0.9)
    assert torch.equal(arrays[0], before)
    assert all(array.isfinite().all() for array in (arrays[2], arrays[3], arrays[4]))


def test_all_weights_lie_in_one_array() -> None:
    net = talker_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    flat = module._FlatWeights(net)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    (decays, decayed), (stays, others) = flat.sections()
    assert (decays, stays) == (True, False)
    assert len(decayed[0]) + len(others[0]) == len(flat.values) == flat.values.numel()
    flat.values.add_(1.0)
    after = net.state_dict()
    assert all(torch.equal(after[name], value + 1.0) for name, value in before.items())
    flat.values[: flat.split].zero_()
    zero = {name for name, value in net.state_dict().items() if not value.any()}
    assert zero == net.matrices()
    with flat.using_average():
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not net.state_dict()["talker.codec_head.weight"].any()
    assert np.array_equal(flat.averaged()["talker.model.norm.weight"], before["talker.model.norm.weight"])
