"""Batches on the fast path: a row says what it says alone, sequences come and go, and no accident spoils the engine."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from golden_set import GoldenCase, GoldenSet, make_prompts
from loaded_model import Loaded
from tape import ForcedOperations, TapeRecorder
from torch import Tensor

from toolkit.errors import UsageError
from toolkit.synthesis.decoding import NO_FRAME, generate
from toolkit.synthesis.fast.backend import FastBackend
from toolkit.synthesis.fast.batch import ContinuousBatch, Heard
from toolkit.synthesis.fast.engine import Engine
from toolkit.synthesis.fast.path import choose_path
from toolkit.synthesis.fast.state import StateSize
from toolkit.synthesis.fast.weights import FrameWeights
from toolkit.synthesis.prompt import Prompt
from toolkit.synthesis.sampling import DecodeSettings, Sampling

Load = Callable[..., Loaded]
SAMPLED = DecodeSettings(Sampling(top_p=0.9), Sampling(temperature=0.7), max_new_tokens=9)
GREEDY = SAMPLED.greedy()
SETTINGS = {"greedy": GREEDY, "sampled": SAMPLED}


@pytest.fixture(scope="module")
def model(load: Load) -> Loaded:
    return load("cv_1b7_a")


@pytest.fixture(scope="module")
def prompts(goldens: GoldenSet, model: Loaded) -> list[Prompt]:
    """Three of unequal length, one of them with a trail of text."""
    found = make_prompts(model.prompts, goldens.case("cv_1b7_a", "batch3"), GoldenCase.stored_voice)
    return [*found[:2], model.prompts.custom_voice("Hello there, you.", "ryan", non_streaming=False)]


class Bench:
    """A continuous batch over forced operations, and what was heard of each sequence."""

    def __init__(self, model: Loaded, rows: int, ends: dict[int, int] | None = None, ahead: int = 0) -> None:
        talker = model.config.talker
        self.operations = ForcedOperations(talker.codec_eos, talker.vocab, ends)
        self.engine = Engine(
            model.talker, FrameWeights.of(model.talker), self.operations, StateSize(rows, 96, 24),
            choose_path("cpu", None, None),
        )  # fmt: skip
        self.batch = ContinuousBatch(self.engine, ahead=ahead)
        self.codes: dict[int, list[Tensor]] = defaultdict(list)
        self.reasons: dict[int, str] = {}

    def hear(self, heard: Heard) -> None:
        if heard.codes is not None:
            self.codes[heard.sequence].append(heard.codes)
        if heard.finish_reason is not None:
            self.reasons[heard.sequence] = heard.finish_reason

    def steps(self, count: int) -> None:
        for _ in range(count):
            for heard in self.batch.step():
                self.hear(heard)

    def said(self, number: int) -> Tensor:
        return torch.stack(self.codes[number])


@pytest.fixture(scope="module")
def alone(model: Loaded, prompts: list[Prompt]) -> Callable[..., Tensor]:
    """``alone(prompt's number, settings' name, seed)``: eight frames of a prompt by itself, never ended."""
    talker = model.config.talker
    backend = FastBackend(model.talker, lambda: ForcedOperations(talker.codec_eos, talker.vocab))
    known: dict[tuple[int, str, int], Tensor] = {}

    def codes(index: int, name: str, seed: int) -> Tensor:
        key = (index, name, seed)
        if key not in known:
            known[key] = generate(model.talker, [prompts[index]], SETTINGS[name], seed=seed, backend=backend).collect()[
                0
            ]
        return known[key]

    return codes


@pytest.mark.parametrize("name", ["greedy", "sampled"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0), (1, 1, 0, 2, 2)])
def test_a_row_says_what_it_says_alone_whatever_the_batch(
    model: Loaded, prompts: list[Prompt], alone: Callable[..., Tensor], name: str, order: tuple[int, ...]
) -> None:
    talker = model.config.talker
    backend = FastBackend(model.talker, lambda: ForcedOperations(talker.codec_eos, talker.vocab))
    seeds = [index + 40 for index in order]
    rows = [prompts[index] for index in order]
    together = generate(model.talker, rows, SETTINGS[name], seed=seeds, backend=backend).collect()
    for index, codes in zip(order, together, strict=True):
        assert torch.equal(codes, alone(index, name, index + 40))


def test_a_large_batch_says_the_same(model: Loaded, prompts: list[Prompt], alone: Callable[..., Tensor]) -> None:
    """Above 32 rows the first two positions of the code predictor no longer share a product."""
    talker = model.config.talker
    backend = FastBackend(model.talker, lambda: ForcedOperations(talker.codec_eos, talker.vocab))
    together = generate(
        model.talker, [prompts[1]] * 34, replace(SAMPLED, max_new_tokens=4), seed=[41] * 34, backend=backend
    ).collect()
    for codes in together:
        assert torch.equal(codes, alone(1, "sampled", 41)[:3])
    with pytest.raises(UsageError, match="up to 64 prompts side by side, found 65"):
        generate(model.talker, prompts[:1] * 65, SAMPLED, backend=backend)


def test_rows_that_end_early_hold_no_frames_and_do_not_disturb(
    model: Loaded, prompts: list[Prompt], alone: Callable[..., Tensor]
) -> None:
    talker = model.config.talker
    operations = ForcedOperations(talker.codec_eos, talker.vocab, {40: 2, 42: 4})
    for ahead in (0, 2):
        backend = FastBackend(model.talker, lambda: operations, ahead=ahead)
        stream = generate(model.talker, prompts, SAMPLED, seed=[40, 41, 42], frame_limits=[8, 5, 8], backend=backend)
        frames = list(stream)
        assert [(frame == NO_FRAME).all(1).tolist() for frame in frames] == [
            *[[False, False, False]] * 2,
            *[[True, False, False]] * 2,
            [True, False, True],
        ]
        assert stream.frame_counts == [2, 5, 4]
        assert stream.finish_reasons == ["eos", "length", "eos"]
        assert torch.equal(torch.stack(frames)[:, 1], alone(1, "sampled", 41)[:5])


def test_generations_in_turns_do_not_mix(model: Loaded, prompts: list[Prompt], alone: Callable[..., Tensor]) -> None:
    talker = model.config.talker
    backend = FastBackend(model.talker, lambda: ForcedOperations(talker.codec_eos, talker.vocab))
    streams = [
        generate(model.talker, [prompts[index]], SAMPLED, seed=index + 40, backend=backend) for index in range(2)
    ]
    turns = [[next(stream)[0] for stream in streams] for _ in range(5)]
    for index in range(2):
        assert torch.equal(torch.stack([turn[index] for turn in turns]), alone(index, "sampled", index + 40)[:5])


def test_who_stops_listening_leaves_the_buffers_to_the_next(
    model: Loaded, prompts: list[Prompt], alone: Callable[..., Tensor]
) -> None:
    talker = model.config.talker
    recorder = TapeRecorder()
    backend = FastBackend(
        model.talker, lambda: ForcedOperations(talker.codec_eos, talker.vocab), recorder=recorder, ahead=2
    )

    def listen_and_fail() -> None:
        for count, _ in enumerate(generate(model.talker, [prompts[1]], SAMPLED, seed=1, backend=backend)):
            if count == 2:
                raise ValueError("in the listener's own code")

    for _ in range(2):
        next(generate(model.talker, [prompts[0]], SAMPLED, seed=1, backend=backend))
        with pytest.raises(ValueError, match="own code"):
            listen_and_fail()
    gc.collect()
    found = generate(model.talker, [prompts[2]], SAMPLED, seed=42, backend=backend).collect()[0]
    assert torch.equal(found, alone(2, "sampled", 42))
    assert recorder.recorded == 3, "the frame, and the reading of two lengths of prompts"


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), KeyboardInterrupt()])
def test_an_error_in_a_frame_ends_its_generation_and_no_other(
    model: Loaded, prompts: list[Prompt], alone: Callable[..., Tensor], error: BaseException
) -> None:
    talker = model.config.talker
    operations = ForcedOperations(talker.codec_eos, talker.vocab)
    backend = FastBackend(model.talker, lambda: operations)
    other = generate(model.talker, [prompts[1]], SAMPLED, seed=41, backend=backend)
    begun = [next(other)]
    stream = generate(model.talker, [prompts[0]], SAMPLED, seed=40, backend=backend)
    next(stream)
    operations.broken = error
    with pytest.raises(type(error)):
        next(stream)
    assert torch.equal(torch.cat([*begun, *other]), alone(1, "sampled", 41))
    again = generate(model.talker, [prompts[0]], SAMPLED, seed=40, backend=backend).collect()[0]
    assert torch.equal(again, alone(0, "sampled", 40))


@pytest.mark.parametrize("ahead", [0, 3])
def test_sequences_join_and_leave_between_frames(
    model: Loaded, prompts: list[Prompt], alone: Callable[..., Tensor], ahead: int
) -> None:
    bench = Bench(model, 4, {40: 3}, ahead)
    first = bench.batch.join(prompts[0], SAMPLED, 40)
    bench.steps(2)
    late = bench.batch.join(prompts[1], SAMPLED, 41)
    other = bench.batch.join(prompts[2], GREEDY, 42, frame_limit=5)
    bench.batch.run(bench.hear)
    assert bench.reasons == {first: "eos", late: "length", other: "length"}
    assert torch.equal(bench.said(first), alone(0, "sampled", 40)[:3])
    assert torch.equal(bench.said(late), alone(1, "sampled", 41))
    assert torch.equal(bench.said(other), alone(2, "greedy", 42)[:5])
    assert bench.batch.step() == []


@pytest.mark.parametrize("ahead", [0, 2])
def test_who_finds_no_row_waits_for_one(
    model: Loaded, prompts: list[Prompt], alone: Callable[..., Tensor], ahead: int
) -> None:
    bench = Bench(model, 2, {50: 2, 52: 4}, ahead)
    numbers = [bench.batch.join(prompts[index % 3], SAMPLED, 50 + index) for index in range(5)]
    assert (bench.batch.active, bench.batch.waiting) == ((), tuple(numbers))
    bench.steps(1)
    assert (bench.batch.active, bench.batch.waiting) == ((0, 1), (2, 3, 4))
    bench.batch.run(bench.hear)
    assert (bench.batch.active, bench.batch.waiting) == ((), ())
    assert [len(bench.codes[number]) for number in numbers] == [2, 8, 4, 8, 8]
    for number in numbers:
        whole = alone(number % 3, "sampled", 50 + number)
        assert torch.equal(bench.said(number), whole[: len(bench.codes[number])])


@pytest.mark.parametrize("ahead", [0, 2])
def test_the_few_that_are_left_move_together_and_say_the_same(
    model: Loaded, prompts: list[Prompt], alone: Callable[..., Tensor], ahead: int
) -> None:
    bench = Bench(model, 4, {60: 2, 61: 2, 62: 3}, ahead)
    sizes: list[int] = []
    launch = bench.engine.launch
    bench.engine.launch = lambda rows: sizes.append(bench.engine.bucket(rows)) or launch(rows)  # type: ignore[method-assign, assignment, func-returns-value]
    numbers = [bench.batch.join(prompts[index % 3], SAMPLED, 60 + index) for index in range(4)]
    bench.batch.run(bench.hear)
    assert sizes[0] == 4
    assert sizes[-1] == 1
    assert torch.equal(bench.said(numbers[3]), alone(0, "sampled", 63))
    assert [bench.reasons[number] for number in numbers] == ["eos", "eos", "eos", "length"]


def test_nothing_more_is_heard_of_who_leaves(
    model: Loaded, prompts: list[Prompt], alone: Callable[..., Tensor]
) -> None:
    bench = Bench(model, 2, ahead=2)
    one, two, three = (bench.batch.join(prompts[index], SAMPLED, 40 + index) for index in range(3))
    bench.steps(3)
    bench.batch.leave(one)
    bench.batch.leave(one)
    four = bench.batch.join(prompts[0], SAMPLED, 40)
    bench.batch.leave(four)
    bench.batch.run(bench.hear)
    assert len(bench.codes[one]) == 3
    assert one not in bench.reasons
    assert four not in bench.codes
    assert torch.equal(bench.said(two), alone(1, "sampled", 41))
    assert torch.equal(bench.said(three), alone(2, "sampled", 42))


def test_an_error_in_the_listener_leaves_the_batch_as_it_is(
    model: Loaded, prompts: list[Prompt], alone: Callable[..., Tensor]
) -> None:
    bench = Bench(model, 2, ahead=1)
    number = bench.batch.join(prompts[0], SAMPLED, 40)

    def failing(heard: Heard) -> None:
        bench.hear(heard)
        if len(bench.codes[number]) == 3:
            raise ValueError("in the listener's own code")

    with pytest.raises(ValueError, match="own code"):
        bench.batch.run(failing)
    bench.batch.run(bench.hear)
    assert torch.equal(bench.said(number), alone(0, "sampled", 40))


def test_an_error_in_a_frame_empties_the_rows_and_the_batch_goes_on(
    model: Loaded, prompts: list[Prompt], alone: Callable[..., Tensor]
) -> None:
    bench = Bench(model, 2, ahead=1)
    lost = [bench.batch.join(prompts[index], SAMPLED, 40 + index) for index in range(2)]
    waits = bench.batch.join(prompts[2], SAMPLED, 42)
    bench.steps(2)
    # As an overflow would, which leaves its traces in the cache.
    bench.engine.buffers.values[:, 0].fill_(float("nan"))
    bench.operations.broken = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(torch.OutOfMemoryError):
        bench.batch.step()
    assert (bench.batch.active, bench.batch.waiting) == ((), (waits,))
    bench.batch.run(bench.hear)
    assert torch.equal(bench.said(waits), alone(2, "sampled", 42))
    assert not set(lost) & set(bench.reasons)


def test_an_error_in_reading_a_prompt_takes_only_those_who_join(
    model: Loaded, prompts: list[Prompt], alone: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(model, 2)
    number = bench.batch.join(prompts[0], SAMPLED, 40)
    bench.steps(2)
    bench.batch.join(replace(prompts[1], rows=prompts[1].rows[:, :-1]), SAMPLED, 41)
    with pytest.raises(RuntimeError):
        bench.batch.step()
    assert (bench.batch.active, bench.batch.waiting) == ((number,), ())
    late = bench.batch.join(prompts[1], SAMPLED, 41)
    bench.batch.run(bench.hear)
    assert torch.equal(bench.said(number), alone(0, "sampled", 40))
    assert torch.equal(bench.said(late), alone(1, "sampled", 41))


def test_what_does_not_fit_is_refused_before_it_waits(model: Loaded, prompts: list[Prompt]) -> None:
    bench = Bench(model, 1)
    with pytest.raises(UsageError) as caught:
        bench.batch.join(prompts[0], replace(SAMPLED, max_new_tokens=100), 1)
    need = prompts[0].rows.shape[0] + 99
    assert str(caught.value) == (
        f"the buffers of this batch hold 96 positions and 24 text vectors a row; this sequence needs {need} and 1"
    )
    with pytest.raises(UsageError, match="frame_limit must be at least 1, not 0"):
        bench.batch.join(prompts[0], SAMPLED, 1, frame_limit=0)
    with pytest.raises(UsageError, match="ahead must be a number from 0 to 7, not 8"):
        ContinuousBatch(bench.engine, ahead=8)
    assert bench.batch.waiting == ()


def test_the_plain_path_takes_one_seed_for_all_rows(model: Loaded, prompts: list[Prompt]) -> None:
    with pytest.raises(UsageError, match=r"takes one seed, not \[1, 2\]"):
        generate(model.talker, prompts[:2], SAMPLED, seed=[1, 2])
