"""Seats on the fast path: a recorded reading is the eager one, wherever in the batch, and costs the host few calls."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from loaded_model import Loaded
from tape import ForcedOperations, TapeRecorder
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit.errors import UsageError
from toolkit.synthesis.decoding import generate
from toolkit.synthesis.fast import admission
from toolkit.synthesis.fast.admission import Admission
from toolkit.synthesis.fast.backend import FastBackend
from toolkit.synthesis.fast.batch import ContinuousBatch
from toolkit.synthesis.fast.capture import EagerRecorder, Recorder
from toolkit.synthesis.fast.engine import Engine
from toolkit.synthesis.fast.operations import PlainOperations
from toolkit.synthesis.fast.path import choose_path
from toolkit.synthesis.fast.state import SEAT_NUMBERS, FrameBuffers, Seat, StateSize, seat_numbers
from toolkit.synthesis.fast.weights import FrameWeights
from toolkit.synthesis.layers import rotary_table
from toolkit.synthesis.prompt import Prompt
from toolkit.synthesis.sampling import DecodeSettings, Sampling

Load = Callable[..., Loaded]
SETTINGS = DecodeSettings(
    Sampling(temperature=0.7, top_k=2**40, top_p=0.9), Sampling(do_sample=False, top_k=3), 1.25, max_new_tokens=9
)
SIZE = StateSize(5, 96, 24)


@pytest.fixture(scope="module")
def model(load: Load) -> Loaded:
    return load("cv_1b7_a")


@pytest.fixture(scope="module")
def prompts(model: Loaded) -> list[Prompt]:
    """Of 15 to 40 positions; the second has a trail of text."""
    build = model.prompts.custom_voice
    return [
        build("你好，很高兴认识你。", "vivian"),
        build("Hello there, you.", "ryan", non_streaming=False),
        build("It is a long way to the coast, they say, and so on.", "eric", instruct="Softly."),
    ]


def seats_of(prompts: list[Prompt], seed: int = 2**63 - 5) -> list[Seat]:
    return [Seat(one.rows, one.trail, one.pad, SETTINGS, seed + index, 8) for index, one in enumerate(prompts)]


class Room:
    """Buffers full of what earlier sequences left, and the admission to them."""

    def __init__(self, model: Loaded, size: StateSize = SIZE) -> None:
        talker = model.talker
        shape = talker.config.talker.decoder
        self.buffers = FrameBuffers.make(talker, size)
        generator = torch.Generator().manual_seed(0)
        for table in (self.buffers.keys, self.buffers.values, self.buffers.last, self.buffers.trail):
            table.normal_(generator=generator)
        self.buffers.frames.fill_(7)
        self.buffers.seen.fill_(True)
        angles = rotary_table(shape.head_dim, shape.rope_theta, size.slots, dtype=talker.dtype, device=talker.device)
        self.admission = Admission(talker, FrameWeights.of(talker).talker, angles, self.buffers)
        self.before = {name: value.clone() for name, value in self.named()}

    def named(self) -> list[tuple[str, Tensor]]:
        """All buffers, with the rows as their first axis."""
        buffers = self.buffers
        by_row = (
            "last", "lengths", "frames", "limits", "alive", "seeds", "seen", "penalty", "no_penalty", "trail",
            "trail_ends", "row_numbers",
        )  # fmt: skip
        found = [(name, getattr(buffers, name)) for name in by_row]
        found += [(name, getattr(buffers, name).transpose(0, 1)) for name in ("keys", "values", "codes", "status")]
        for stage, rules in (("talker", buffers.talker_rules), ("predictor", buffers.predictor_rules)):
            names = ("greedy", "temperature", "top_k", "top_p")
            found += [(f"{stage} {name}", table) for name, table in zip(names, rules.tensors(), strict=True)]
        return found

    def admit(self, start: int, seats: list[Seat], recorder: Recorder) -> None:
        with torch.inference_mode():
            self.admission.admit(start, seats, recorder, PlainOperations())


@pytest.mark.parametrize(("chosen", "start"), [((0,), 0), ((1,), 4), ((2, 1, 0), 0), ((0, 2, 1), 2), ((0, 1), 3)])
def test_a_recorded_reading_is_the_eager_one_and_touches_no_other_row(
    model: Loaded, prompts: list[Prompt], chosen: tuple[int, ...], start: int
) -> None:
    seats = seats_of([prompts[index] for index in chosen])
    eager, taped, recorder = Room(model), Room(model), TapeRecorder()
    eager.admit(start, seats, EagerRecorder())
    for _ in range(2):
        taped.admit(start, seats, recorder)
    assert recorder.recorded == 1
    rows = range(start, start + len(seats))
    others = [row for row in range(SIZE.rows) if row not in rows]
    for (name, found), (_, wanted) in zip(taped.named(), eager.named(), strict=True):
        assert torch.equal(found[others], taped.before[name][others]), name
        assert torch.equal(wanted[others], eager.before[name][others]), name
        for row, seat in zip(rows, seats, strict=True):
            one, two = found[row], wanted[row]
            if name in ("keys", "values"):
                length = seat.rows.shape[0]
                one, two = one[:, :, :length], two[:, :, :length]
            if name in ("keys", "values", "last"):
                torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5, msg=lambda told, of=name: f"{of}: {told}")
            else:
                assert torch.equal(one, two), name


def test_what_a_seat_says_lies_in_its_row(model: Loaded, prompts: list[Prompt]) -> None:
    room, seat = Room(model), seats_of(prompts)[1]
    room.admit(3, [seat], TapeRecorder())
    found = {name: value[3] for name, value in room.named()}
    assert int(found["lengths"]) == prompts[1].rows.shape[0]
    assert (int(found["seeds"]), int(found["limits"]), int(found["frames"])) == (2**63 - 4, 8, 0)
    assert (bool(found["alive"]), bool(found["seen"].any())) == (True, False)
    assert float(found["penalty"]) == 1.25
    assert not bool(found["talker greedy"])
    assert float(found["talker temperature"]) == pytest.approx(0.7)
    assert float(found["talker top_p"]) == pytest.approx(0.9)
    assert int(found["talker top_k"]) == 2**31 - 1, "so many are all there are, and must not turn round to none"
    assert (bool(found["predictor greedy"]), int(found["predictor top_k"])) == (True, 3)
    end = prompts[1].trail.shape[0]
    assert int(found["trail_ends"]) == end
    assert torch.equal(found["trail"][: end + 1], torch.cat((prompts[1].trail, prompts[1].pad[None])))


def test_spare_columns_repeat_the_first_seat_and_show_nothing_of_it(prompts: list[Prompt]) -> None:
    table = seat_numbers(4, seats_of(prompts[:2]), 4)
    assert len(table) == SEAT_NUMBERS
    assert table[0] == [4, 5, 4, 4]
    assert table[1] == [prompts[0].rows.shape[0], prompts[1].rows.shape[0], 0, 0]
    assert all(row[2] == row[3] == row[0] for row in table[2:])
    assert struct.unpack("=d", struct.pack("=q", table[10][0])) == (1.25,)


def test_what_an_earlier_prompt_left_in_the_input_does_not_matter(model: Loaded, prompts: list[Prompt]) -> None:
    """Not even when it was no number: 0 times NaN is NaN."""
    room, clean, recorder = Room(model), Room(model), TapeRecorder()
    broken = replace(prompts[0], rows=prompts[0].rows.new_full((31, prompts[0].rows.shape[1]), float("nan")))
    room.admit(4, seats_of([broken]), recorder)
    room.admit(0, seats_of(prompts[:1]), recorder)
    clean.admit(0, seats_of(prompts[:1]), TapeRecorder())
    assert recorder.recorded == 1
    length = prompts[0].rows.shape[0]
    assert torch.equal(room.buffers.last[0], clean.buffers.last[0])
    assert torch.equal(room.buffers.keys[:, 0, :, :length], clean.buffers.keys[:, 0, :, :length])
    assert bool(torch.isfinite(room.buffers.values[:, 0]).all())


def test_few_recordings_are_kept_and_the_oldest_goes_first(
    model: Loaded, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "_MOST_PASSES", 2)
    room, recorder = Room(model), TapeRecorder()
    short, pair, long = seats_of(prompts[:1]), seats_of(prompts[:2]), seats_of(prompts[2:])
    recorded = []
    for seats in (short, pair, short, long, short, pair):
        room.admit(0, seats, recorder)
        recorded.append(recorder.recorded)
    assert recorded == [1, 2, 2, 3, 3, 4]


def test_readings_can_be_recorded_beforehand(model: Loaded, prompts: list[Prompt]) -> None:
    recorder, size = TapeRecorder(), StateSize(2, 96, 24)
    engine = Engine(
        model.talker, FrameWeights.of(model.talker), PlainOperations(), size, choose_path("cpu", None, None),
        recorder=recorder,
    )  # fmt: skip
    engine.prepare_prompts(2)
    assert recorder.recorded == 2, "of 32 and of 64 positions"
    assert not bool(engine.buffers.alive.any())
    for pair in (prompts[:2], prompts[1:]):
        engine.admit(0, seats_of(pair))
    assert recorder.recorded == 2


@pytest.mark.parametrize("limit", ["LONGEST_RECORDED", "MOST_RECORDED"])
def test_longer_prompts_and_larger_batches_are_read_eagerly(
    model: Loaded, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(admission, limit, 32)
    room, recorder = Room(model), TapeRecorder()
    room.admit(0, seats_of(prompts[:1]), recorder)
    assert recorder.recorded == 1
    room.admit(1, seats_of(prompts[2:]), recorder)
    assert recorder.recorded == 1
    assert room.buffers.alive.tolist() == [True, True, False, False, False]


def test_a_prompt_up_to_the_last_slot_is_read_eagerly(model: Loaded, prompts: list[Prompt]) -> None:
    """A recorded reading needs the last slot for what is no prompt."""
    length = prompts[0].rows.shape[0]
    for slots, recorded in ((length, 0), (32, 1)):
        room, recorder = Room(model, StateSize(1, slots)), TapeRecorder()
        room.admit(0, seats_of(prompts[:1]), recorder)
        assert recorder.recorded == recorded
    full = [replace(prompts[2], rows=prompts[2].rows[:32])] * 3
    room, eager = Room(model, StateSize(3, 32)), Room(model, StateSize(3, 32))
    room.admit(0, seats_of(full), TapeRecorder())
    eager.admit(0, seats_of(full), EagerRecorder())
    torch.testing.assert_close(room.buffers.keys, eager.buffers.keys, atol=1e-5, rtol=1e-5)
    with pytest.raises(UsageError, match=f"1 to {length - 1} positions"):
        Room(model, StateSize(1, length - 1)).admit(0, seats_of(prompts[:1]), TapeRecorder())


class Failing:
    """As a driver that captures frames and nothing else."""

    def __init__(self, error: Exception, frames: int = 0) -> None:
        self.error, self.frames, self.asked = error, frames, 0

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        self.asked += 1
        work()
        if self.asked > self.frames:
            # A new one: an error that was raised holds on to all that was under way.
            raise type(self.error)(*self.error.args)
        return work


def test_a_reading_that_cannot_be_recorded_is_done_eagerly_from_then_on(model: Loaded, prompts: list[Prompt]) -> None:
    wanted = generate(model.talker, prompts[:1], SETTINGS.greedy()).collect()[0]
    recorder = Failing(RuntimeError("operation not permitted when stream is capturing\nmore"), frames=1)
    backend = FastBackend(model.talker, recorder=recorder)
    for _ in range(2):
        found = generate(model.talker, prompts[:1], SETTINGS.greedy(), backend=backend).collect()[0]
        assert torch.equal(found, wanted)
    assert recorder.asked == 2
    room = Room(model)
    room.admit(1, seats_of(prompts[:1]), Failing(ValueError("no C compiler")))
    assert room.admission.fault == "no C compiler"
    assert room.buffers.alive.tolist() == [False, True, False, False, False]


def test_full_memory_while_recording_is_told(model: Loaded, prompts: list[Prompt]) -> None:
    room = Room(model)
    with pytest.raises(torch.OutOfMemoryError):
        room.admit(0, seats_of(prompts[:1]), Failing(torch.OutOfMemoryError("CUDA out of memory")))
    assert room.admission.fault is None
    assert not bool(room.buffers.alive.any())


def test_who_joins_by_a_recorded_reading_disturbs_nobody(model: Loaded, prompts: list[Prompt]) -> None:
    talker, settings = model.config.talker, replace(SETTINGS, max_new_tokens=12)

    def operations() -> PlainOperations:
        return ForcedOperations(talker.codec_eos, talker.vocab)

    alone = [
        generate(
            model.talker, [prompt], settings, seed=number, backend=FastBackend(model.talker, operations)
        ).collect()[0]
        for number, prompt in enumerate(prompts)
    ]
    recorder = TapeRecorder()
    engine = Engine(
        model.talker, FrameWeights.of(model.talker), operations(), StateSize(4, 96, 24),
        choose_path("cpu", None, None), recorder=recorder,
    )  # fmt: skip
    engine.prepare_all()
    frames = recorder.recorded
    batch, said = ContinuousBatch(engine, ahead=2), [[], [], []]  # type: ignore[var-annotated]
    for number, prompt in enumerate(prompts):
        assert batch.join(prompt, settings, number) == number
        for _ in range(3):
            for heard in batch.step():
                said[heard.sequence] += [] if heard.codes is None else [heard.codes]
    batch.run(lambda heard: said[heard.sequence].extend([] if heard.codes is None else [heard.codes]))
    assert recorder.recorded - frames == 2, "one row of 32 positions, and one of 64"
    for found, wanted in zip(said, alone, strict=True):
        assert torch.equal(torch.stack(found), wanted)


class Calls(TorchDispatchMode):
    """Counts what the host asks of the device."""

    def __init__(self) -> None:
        super().__init__()
        self.made: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view:
            self.made[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


class Free(TapeRecorder):
    """A replay that costs the host nothing, as one launch of a graph nearly does."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        super().record(work)
        return lambda: None


@pytest.mark.parametrize("count", [1, 3])
def test_the_host_makes_two_copies_for_any_number_of_seats(model: Loaded, prompts: list[Prompt], count: int) -> None:
    room, recorder, seats = Room(model), Free(), seats_of(prompts[:count])
    room.admit(0, seats, recorder)
    with Calls() as calls:
        room.admit(0, seats, recorder)
    del calls.made["detach_"]  # part of making a tensor from a list; nothing is done
    assert calls.made == {"copy_": 1, "_foreach_copy_": 1}


@pytest.mark.parametrize(("ahead", "under_way"), [(0, 0), (2, 3)])
def test_a_device_of_its_own_pace_has_its_first_frames_before_the_caller_asks(
    model: Loaded, prompts: list[Prompt], ahead: int, under_way: int
) -> None:
    backend = FastBackend(model.talker, ahead=ahead)
    stream = generate(model.talker, prompts[:1], SETTINGS.greedy(), backend=backend)
    assert stream.state.lease.engine.under_way == under_way
    wanted = generate(model.talker, prompts[:1], SETTINGS.greedy()).collect()[0]
    assert torch.equal(stream.collect()[0], wanted)


def test_an_error_in_those_first_frames_leaves_a_backend_that_speaks(model: Loaded, prompts: list[Prompt]) -> None:
    operations = ForcedOperations(model.config.talker.codec_eos, model.config.talker.vocab)
    backend = FastBackend(model.talker, lambda: operations, ahead=2)
    wanted = generate(model.talker, prompts[:1], SETTINGS, seed=1, backend=backend).collect()[0]
    operations.broken = ValueError("a frame that failed")
    with pytest.raises(ValueError, match="a frame that failed"):
        generate(model.talker, prompts[:1], SETTINGS, seed=1, backend=backend)
    again = generate(model.talker, prompts[:1], SETTINGS, seed=1, backend=backend).collect()[0]
    assert torch.equal(again, wanted)
