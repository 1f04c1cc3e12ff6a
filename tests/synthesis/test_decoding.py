"""The decode loop: when it stops, what it hands out, and that one generation never touches another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from golden_set import GoldenCase, GoldenSet, make_prompts, settings_of
from loaded_model import Loaded

from toolkit.errors import ToolkitFault, UsageError
from toolkit.synthesis.decoding import NO_FRAME, DecodeState, Step, TorchBackend, generate
from toolkit.synthesis.layers import KeyValueCache
from toolkit.synthesis.prompt import Prompt, PromptBatch
from toolkit.synthesis.sampling import DecodeSettings, Sampling

Load = Callable[..., Loaded]
SAMPLED = DecodeSettings(max_new_tokens=6)
GREEDY = SAMPLED.greedy()


@pytest.fixture
def model(load: Load) -> Loaded:
    return load("cv_1b7_a")


@pytest.fixture
def prompt(model: Loaded) -> Prompt:
    return model.prompts.custom_voice("你好，很高兴认识你。今天的天气真不错。", "vivian")


def batch_of(goldens: GoldenSet, model: Loaded, name: str) -> tuple[GoldenCase, list[Prompt]]:
    case = goldens.case("cv_1b7_a", name)
    return case, make_prompts(model.prompts, case, GoldenCase.stored_voice)


class ForcedBackend(TorchBackend):
    """Makes chosen rows end at chosen steps."""

    def __init__(self, model: Loaded, ends: dict[int, int]) -> None:
        super().__init__(model.talker)
        self._eos = model.config.talker.codec_eos
        self._ends = ends
        self.steps = 0

    def logits(self, state: DecodeState) -> torch.Tensor:
        logits = super().logits(state).clone()
        logits[:, self._eos] = -100.0
        for row, step in self._ends.items():
            if self.steps >= step:
                logits[row, self._eos] = 100.0
        self.steps += 1
        return logits


@pytest.mark.parametrize("tokens", [2, 3, 6])
def test_n_tokens_give_one_frame_less(model: Loaded, prompt: Prompt, tokens: int) -> None:
    settings = replace(GREEDY, max_new_tokens=tokens)
    stream = generate(model.talker, [prompt], settings, backend=ForcedBackend(model, {}))
    assert [codes.shape for codes in stream.collect()] == [(tokens - 1, 16)]
    assert (stream.frame_counts, stream.finish_reasons) == ([tokens - 1], ["length"])


def test_the_end_of_speech_cannot_come_before_two_frames(model: Loaded, prompt: Prompt) -> None:
    stream = generate(model.talker, [prompt], GREEDY, backend=ForcedBackend(model, {0: 0}))
    assert len(stream.collect()[0]) == 2
    assert stream.finish_reasons == ["eos"]


def test_an_end_of_speech_at_the_very_last_token_is_reported_and_cuts_nothing(model: Loaded, prompt: Prompt) -> None:
    stream = generate(model.talker, [prompt], GREEDY, backend=ForcedBackend(model, {0: 5}))
    assert len(stream.collect()[0]) == 5
    assert stream.finish_reasons == ["eos"]


def test_control_ids_are_never_codes(model: Loaded, prompt: Prompt) -> None:
    stream = generate(model.talker, [prompt], replace(SAMPLED, talker=Sampling(True, 100.0, 0, 1.0)), seed=3)
    codes = stream.collect()[0]
    assert int(codes.min()) >= 0
    assert int(codes.max()) < model.config.codebook_size


def test_frames_are_handed_out_one_by_one_and_are_those_of_a_whole_run(model: Loaded, prompt: Prompt) -> None:
    whole = generate(model.talker, [prompt], GREEDY).collect()[0]
    stream = generate(model.talker, [prompt], GREEDY)
    for index, frame in enumerate(stream):
        assert frame.shape == (1, 16)
        assert frame.dtype == torch.int64
        assert torch.equal(frame[0], whole[index])
        assert stream.frame_counts == [index + 1]
        assert stream.finish_reasons == [None]
    assert stream.finish_reasons != [None]
    with pytest.raises(StopIteration):
        next(stream)


def test_a_row_that_has_ended_holds_no_frames_while_others_go_on(goldens: GoldenSet, model: Loaded) -> None:
    _, prompts = batch_of(goldens, model, "batch3")
    stream = generate(model.talker, prompts, GREEDY, backend=ForcedBackend(model, {0: 2, 2: 4}))
    frames = list(stream)
    assert [(frame == NO_FRAME).all(1).tolist() for frame in frames] == [
        [False, False, False],
        [False, False, False],
        [True, False, False],
        [True, False, False],
        [True, False, True],
    ]
    assert stream.frame_counts == [2, 5, 4]
    assert stream.finish_reasons == ["eos", "length", "eos"]


def test_what_a_row_says_does_not_hang_on_when_others_end(goldens: GoldenSet, model: Loaded) -> None:
    _, prompts = batch_of(goldens, model, "batch3")
    free = generate(model.talker, prompts, GREEDY, backend=ForcedBackend(model, {})).collect()
    cut = generate(model.talker, prompts, GREEDY, backend=ForcedBackend(model, {0: 2})).collect()
    assert torch.equal(cut[1], free[1])
    assert torch.equal(cut[2], free[2])
    assert torch.equal(cut[0], free[0][:2])


@pytest.mark.parametrize("name", ["batch3", "batch3_stream"])
def test_a_padded_row_says_what_it_says_alone(goldens: GoldenSet, model: Loaded, name: str) -> None:
    case, prompts = batch_of(goldens, model, name)
    together = generate(model.talker, prompts, settings_of(case)).collect()
    for row, prompt in enumerate(prompts):
        alone = generate(model.talker, [prompt], settings_of(case)).collect()[0]
        assert torch.equal(together[row], alone)


def test_two_generations_in_turns_do_not_mix(model: Loaded, prompt: Prompt) -> None:
    """The official model keeps the position offset of the last prompt on itself; here all state is in the stream."""
    other = model.prompts.custom_voice("Hello", "ryan", language="English", instruct="quick")
    alone = [generate(model.talker, [one], GREEDY).collect()[0] for one in (prompt, other)]
    first, second = generate(model.talker, [prompt], GREEDY), generate(model.talker, [other], GREEDY)
    turns = [(next(first), next(second)) for _ in range(5)]
    assert torch.equal(torch.cat([one for one, _ in turns]), alone[0])
    assert torch.equal(torch.cat([two for _, two in turns]), alone[1])


def test_each_row_can_have_a_limit_of_its_own(goldens: GoldenSet, model: Loaded) -> None:
    _, prompts = batch_of(goldens, model, "batch3")
    backend = ForcedBackend(model, {1: 2})
    stream = generate(model.talker, prompts, GREEDY, frame_limits=[1, 9, 4], backend=backend)
    codes = stream.collect()
    assert [len(row) for row in codes] == stream.frame_counts == [1, 2, 4]
    assert stream.finish_reasons == ["length", "eos", "length"]
    assert backend.steps == 5


@pytest.mark.parametrize("limits", [[1], [1, 1, 0], [1, 1, 1, 1]])
def test_limits_are_one_positive_number_a_prompt(goldens: GoldenSet, model: Loaded, limits: list[int]) -> None:
    _, prompts = batch_of(goldens, model, "batch3")
    with pytest.raises(UsageError, match="frame limits must be 3 numbers above 0"):
        generate(model.talker, prompts, GREEDY, frame_limits=limits)


def test_a_seed_gives_the_same_codes_again_and_another_seed_others(model: Loaded, prompt: Prompt) -> None:
    runs = [generate(model.talker, [prompt], SAMPLED, seed=seed).collect()[0] for seed in (11, 11, 12)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_a_seed_draws_as_the_global_generator_does(model: Loaded, prompt: Prompt) -> None:
    """So that ``torch.manual_seed`` before an official call and a seed here start the same stream of draws."""
    seeded = generate(model.talker, [prompt], SAMPLED, seed=21).collect()[0]
    torch.manual_seed(21)
    assert torch.equal(generate(model.talker, [prompt], SAMPLED).collect()[0], seeded)


def test_draws_come_in_the_official_order(model: Loaded, prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    """One draw of the talker over the batch, then fifteen of the predictor, frame by frame."""
    shapes: list[tuple[int, ...]] = []
    original = torch.multinomial

    def spy(probabilities: torch.Tensor, *args: object, **more: object) -> torch.Tensor:
        shapes.append(tuple(probabilities.shape))
        return original(probabilities, *args, **more)  # type: ignore[arg-type, call-overload, no-any-return]

    monkeypatch.setattr(torch, "multinomial", spy)
    generate(model.talker, [prompt, prompt], replace(SAMPLED, max_new_tokens=3), seed=1).collect()
    frame = [(2, model.config.talker.vocab), *[(2, model.config.predictor.vocab)] * 15]
    assert shapes == frame + frame + frame[:1]


def test_the_predictor_has_settings_of_its_own(model: Loaded, prompt: Prompt) -> None:
    mixed = replace(SAMPLED, talker=Sampling(do_sample=False), max_new_tokens=2)
    runs = [generate(model.talker, [prompt], mixed, seed=seed).collect()[0][0] for seed in range(3)]
    assert len({int(run[0]) for run in runs}) == 1
    assert len({tuple(run[1:].tolist()) for run in runs}) == 3


def test_a_prompt_beyond_the_position_limit_is_refused(model: Loaded, prompt: Prompt) -> None:
    with pytest.raises(UsageError) as caught:
        generate(model.talker, [prompt], replace(GREEDY, max_new_tokens=32768))
    length = prompt.rows.shape[0]
    assert str(caught.value) == (
        f"a prompt of {length} positions leaves room for {32768 - length} frames; max_new_tokens 32768 asks for 32767"
    )


def test_a_full_cache_is_an_error_and_never_wraps_around(model: Loaded) -> None:
    shape = model.config.talker.decoder
    cache = KeyValueCache(shape, 1, 4, 10, dtype=torch.float32, device=torch.device("cpu"))
    cache.reserve(10)
    with pytest.raises(ToolkitFault, match="the key/value cache ends at 10 positions, 11 were asked for"):
        cache.reserve(11)


def test_a_cache_that_grows_keeps_what_it_holds(model: Loaded) -> None:
    shape = model.config.talker.decoder
    cache = KeyValueCache(shape, 2, 3, 2000, dtype=torch.float32, device=torch.device("cpu"))
    cache.keys.normal_()
    cache.values.normal_()
    keys, values = cache.keys.clone(), cache.values.clone()
    cache.length = 3
    for stop, capacity in ((4, 512), (512, 512), (513, 1024), (1999, 2000)):
        cache.reserve(stop)
        assert cache.capacity == capacity
    assert torch.equal(cache.keys[:, :, :, :3], keys)
    assert torch.equal(cache.values[:, :, :, :3], values)


def test_a_generation_longer_than_its_first_cache_is_the_same(
    model: Loaded, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = generate(model.talker, [prompt], GREEDY, backend=ForcedBackend(model, {})).collect()[0]

    class Tight(ForcedBackend):
        def prefill(self, batch: PromptBatch, settings: DecodeSettings, seed: int | None) -> DecodeState:
            state = super().prefill(batch, settings, seed)
            used = state.cache.length
            state.cache.keys = state.cache.keys[:, :, :, :used].clone()
            state.cache.values = state.cache.values[:, :, :, :used].clone()
            return state

    found = generate(model.talker, [prompt], GREEDY, backend=Tight(model, {})).collect()[0]
    assert torch.equal(found, wanted)


def test_another_backend_can_stand_in(model: Loaded, prompt: Prompt) -> None:
    """The seam: a prompt goes in, frames and living rows come out; the loop keeps counts, limits and reasons."""

    class Counting:
        def prefill(self, batch: PromptBatch, settings: DecodeSettings, seed: int | None) -> list[int]:
            return [batch.size, 0]

        def step(self, state: list[int], last: bool) -> Step:
            state[1] += 1
            codes = torch.full((state[0], 16), state[1])
            return Step(None if last else codes, torch.ones(state[0], dtype=torch.bool))

    stream = generate(model.talker, [prompt, prompt], GREEDY, backend=Counting())
    assert [int(frame[0, 0]) for frame in stream] == [1, 2, 3, 4, 5]
    assert (stream.frame_counts, stream.finish_reasons) == ([5, 5], ["length", "length"])
