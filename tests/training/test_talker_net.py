"""The network that is trained computes what the inference core computes from its weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from talker_samples import examples, model_folder, talker_net, vocabulary
from torch import Tensor
from torch.nn import functional

import toolkit
from toolkit.synthesis.config import CODE_GROUPS, ModelConfig
from toolkit.synthesis.demo_tensors import model_plan
from toolkit.synthesis.layers import KeyValueCache, rotary_table
from toolkit.synthesis.prompt import PromptBuilder
from toolkit.synthesis.talker import Talker, load_talker
from toolkit.synthesis.tokenizer import TextTokenizer
from training.pocket.attention import Layout, attend, choose_attention, sequence_mask
from training.pocket.sequences import Batches, Choices, Example, lay_out, plan_epoch
from training.pocket.shape import SMOKE, talker_ids
from training.pocket.talker_net import Batch, Losses, TalkerNet, group_weights


@pytest.fixture(scope="module")
def net() -> TalkerNet:
    """Weights rounded to BF16, as the file holds them."""
    torch.set_num_threads(1)
    made = talker_net()
    with torch.no_grad():
        for value in made.parameters():
            value.copy_(value.bfloat16().float())
    return made


@pytest.fixture(scope="module")
def folder(net: TalkerNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("pocket"), net)


def batch_of(items: list[Example], choices: Choices, *, rows: int = 4, row: int = 160, noise: float = 0.0) -> Batch:
    sequences = lay_out(items, vocabulary(), SMOKE, seed=1, choices=choices, longest=row)
    assert not sequences.dropped
    plan = plan_epoch(sequences, np.arange(len(items)), rows=rows, row=row, segments=8, source=np.random.default_rng(0))
    flat = Batches.on_device(sequences, torch.device("cpu"))
    batches = Batches(flat, plan, rows=rows, row=row, frames=24, flash=False, longest=row, noise=noise)
    return batches.take(torch.tensor([0]))


def core_logits(talker: Talker, rows: Tensor, codes: Tensor, trail: Tensor, pad: Tensor) -> tuple[Tensor, Tensor]:
    """Teacher-forced logits of the inference core: of group 0 at each position from the last of the prompt on, and of
    the other groups of each frame."""
    config = talker.config
    frames = codes.shape[0]
    added = torch.stack([trail[step] if step < len(trail) else pad for step in range(frames)])
    x = torch.cat((rows, talker.codes.frame_sum(codes) + added))[None]
    shape = config.talker.decoder
    cpu, f32 = torch.device("cpu"), torch.float32
    cache = KeyValueCache(shape, 1, x.shape[1], x.shape[1], dtype=f32, device=cpu)
    table = rotary_table(shape.head_dim, shape.rope_theta, x.shape[1], dtype=f32, device=cpu)
    hidden = talker.stack.normed(talker.stack(x, table.span(0, x.shape[1]), cache, None))[0, rows.shape[0] - 1 :]
    found: list[Tensor] = []

    def forced(logits: Tensor) -> Tensor:
        found.append(logits)
        return codes[:, len(found)]

    talker.predictor.frame(hidden[:-1], codes[:, 0], forced)
    return talker.head(hidden), torch.stack(found, 1)


@pytest.mark.parametrize("in_steps", [False, True])
@pytest.mark.parametrize("instruct", ["", "speak faster"])
@pytest.mark.parametrize("speaker", ["dylan", None])
@pytest.mark.parametrize("automatic", [False, True])
def test_logits_are_those_of_the_inference_core(
    net: TalkerNet, folder: Path, in_steps: bool, instruct: str, speaker: str | None, automatic: bool
) -> None:
    items = [replace(item, instruct=instruct, speaker=speaker) for item in examples(5, seed=8)]
    batch = batch_of(items, Choices(in_steps=float(in_steps), automatic=float(automatic), unnamed=0.0))
    config = ModelConfig.read(folder)
    talker = load_talker(folder, config, pack=False)
    prompts = PromptBuilder(talker, TextTokenizer(folder, config))
    opening = (batch.control == talker_ids(SMOKE).bos).nonzero()[:, 0]
    assert len(opening) >= len(items)
    frames_by_codes = {item.codes.tobytes(): item for item in items}
    seen = set()
    for start in opening.tolist():
        end = start
        while batch.target[end] != talker_ids(SMOKE).eos:
            end += 1
        codes = batch.codes[start + 1 : end + 1]
        item = frames_by_codes[codes.to(torch.uint8).numpy().tobytes()]
        seen.add(item.text)
        prompt = prompts.custom_voice(
            item.text,
            speaker,
            language=None if automatic else item.language,
            instruct=instruct,
            non_streaming=not in_steps,
        )
        with torch.no_grad():
            wanted, wanted_others = core_logits(talker, prompt.rows, codes, prompt.trail, prompt.pad)
            places = replace(batch, frame_at=torch.arange(start, end), frame_codes=codes)
            ours, others = net.logits(places)
        torch.testing.assert_close(ours[start : end + 1], wanted, atol=1e-4, rtol=0)
        torch.testing.assert_close(others, wanted_others, atol=1e-4, rtol=0)
    assert seen == {item.text for item in items}


def test_the_whole_folder_speaks(folder: Path) -> None:
    speech = toolkit.load(str(folder), device="cpu", dtype="float32")
    result = speech.speak(
        "Good morning.", speaker="vivian", language="english", instruct="speak faster", seed=1, max_frames=4
    )
    assert result.codes.shape[1] == CODE_GROUPS
    assert len(result.samples) == 1920 * len(result.codes) > 0


def test_names_and_shapes_are_the_released_ones(net: TalkerNet) -> None:
    rows = net.talker.model.text_embedding.weight.shape[0]
    planned = {plan.name: plan.shape for plan in model_plan("custom_voice", SMOKE, rows, 0.0)}
    assert {name: tuple(value.shape) for name, value in net.state_dict().items()} == planned


def test_another_width_of_the_predictor_is_refused() -> None:
    with pytest.raises(ValueError, match="as wide as the talker"):
        TalkerNet(replace(SMOKE, predictor=replace(SMOKE.predictor, hidden=32)), 96, 3)


def test_losses_are_the_cross_entropies_of_the_logits(net: TalkerNet) -> None:
    batch = batch_of(examples(12, seed=2), Choices())
    with torch.no_grad():
        losses = net.losses(batch)
        first, others = net.logits(batch)
    ids = talker_ids(SMOKE)
    written = [*range(SMOKE.codebook), *range(ids.eos // 8 * 8, ids.eos // 8 * 8 + 8)]
    known = batch.target >= 0
    target = torch.tensor([written.index(value) for value in batch.target[known].tolist()])
    group0 = functional.cross_entropy(first[known][:, written], target)
    groups = [functional.cross_entropy(others[:, group], batch.frame_codes[:, group + 1]) for group in range(15)]
    torch.testing.assert_close(losses.groups, torch.stack((group0, *groups)), atol=1e-4, rtol=0)
    weighted = (torch.stack(groups) * group_weights(torch.device("cpu"))).sum()
    torch.testing.assert_close(losses.total, group0 + weighted + 0.3 * losses.guide, atol=1e-4, rtol=0)
    right = (first[known][:, written].argmax(-1) == target).float().mean()
    assert losses.accuracy.item() == pytest.approx(right.item())


def test_all_that_prompts_and_speech_need_gets_a_gradient(net: TalkerNet) -> None:
    batch = batch_of(examples(12, seed=2), Choices(), noise=0.5)
    losses = net.losses(batch, drop=0.1, predictor_drop=0.1)
    gradients = torch.autograd.grad(losses.total, list(net.parameters()))
    for (name, _), gradient in zip(net.named_parameters(), gradients, strict=True):
        assert gradient.isfinite().all(), name
        assert gradient.any(), name
    written = gradients[[name for name, _ in net.named_parameters()].index("talker.codec_head.weight")].abs().sum(1) > 0
    ids = talker_ids(SMOKE)
    assert written[: SMOKE.codebook].all()
    assert written[ids.eos]
    assert not written[ids.languages["english"]]


def test_the_loss_of_the_talkers_guide_reaches_only_what_is_below_it(net: TalkerNet) -> None:
    batch = batch_of(examples(6, seed=3), Choices())
    assert 0.2 < (batch.guide >= 0).sum() / (batch.target >= 0).sum() < 1.0

    def losses(guide: float) -> Losses:
        return net.losses(batch, guide_weight=guide)

    layers = net.talker.model.layers
    weights = [layer.get_submodule("self_attn").get_submodule("q_proj").get_parameter("weight") for layer in layers]
    with_guide = torch.autograd.grad(losses(1.0).total, weights)
    without = torch.autograd.grad(losses(0.0).total, weights)
    differs = [not torch.allclose(a, b, atol=1e-7) for a, b in zip(with_guide, without, strict=True)]
    assert differs == [index <= net.guided_layer for index in range(len(layers))]


def test_attention_stays_within_a_sequence() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(12, 2, 8) for _ in range(3))
    numbers = torch.tensor([[0, 0, 0, 1, 1, 2], [3, 3, 3, 3, 4, 4]])
    found = attend(q, k, v, Layout(2, 6, mask=sequence_mask(numbers)))
    for first, last in ((0, 3), (3, 5), (5, 6), (6, 10), (10, 12)):
        alone = attend(
            q[first:last],
            k[first:last],
            v[first:last],
            Layout(1, last - first, mask=sequence_mask(torch.zeros(1, last - first))),
        )
        torch.testing.assert_close(found[first:last], alone)


def test_attention_is_masked_where_there_is_no_gpu() -> None:
    assert choose_attention("auto", torch.device("cpu")) == ("masked", "the device is cpu")
    assert choose_attention("flash", torch.device("cpu")) == ("flash", "asked for")
