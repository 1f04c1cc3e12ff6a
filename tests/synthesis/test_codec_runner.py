"""The codec in recorded steps: the samples of the plain step for any pieces, turns and batches; and its way back."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from codec_models import codec_file, decoder_at, in_steps, random_codes
from numpy.typing import NDArray
from tape import TapeRecorder

from toolkit.errors import ToolkitFault, UsageError
from toolkit.synthesis.codec_config import CodecConfig
from toolkit.synthesis.codec_decoder import CodecDecoder
from toolkit.synthesis.fast import codec_steps
from toolkit.synthesis.fast.capture import EagerRecorder, Recorder
from toolkit.synthesis.fast.codec_channel import HostArrival, HostChannel
from toolkit.synthesis.fast.codec_runner import (
    GRAPH,
    MOST_REFERENCES,
    STEPS,
    CodecRunner,
    CodecSession,
    choose_codec_path,
)
from toolkit.synthesis.fast.codec_steps import MOST_STEPS, STEP_FRAMES, piece_sizes, rows_run
from toolkit.synthesis.precision import Choice
from toolkit.synthesis.streaming import CHUNK_FRAMES

TINY = "base_1b7_a"
TOLERANCE = 5e-5
"""Between steps of other sizes float32 sums are in another order; 2e-5 at most here."""

Wave = NDArray[np.float32]
Runners = Callable[..., CodecRunner]


@pytest.fixture
def runner(checkpoint: Callable[[str], Path]) -> Runners:
    """A runner with recorded steps on a CPU."""

    def made(recorder: Callable[[], Recorder] = EagerRecorder, channel: HostChannel | None = None) -> CodecRunner:
        decoder = decoder_at(checkpoint(TINY))
        return CodecRunner(decoder, Choice(GRAPH, "a test"), channel=channel, recorder=recorder)

    return made


def fed(session: CodecSession, codes: torch.Tensor, sizes: list[int], *, ends: bool = True) -> Wave:
    parts = torch.split(codes, [*sizes, codes.shape[2] - sum(sizes)], 2)
    pieces = [session.feed(part, last=ends and part is parts[-1]) for part in parts if part.shape[2]]
    return np.concatenate([piece.read() for piece in pieces], 1)


def plain(decoder: CodecDecoder, codes: torch.Tensor, sizes: list[int]) -> Wave:
    return in_steps(decoder, codes, [*sizes, codes.shape[2]]).numpy()


@pytest.mark.parametrize("rows", [1, 3, 5])
@pytest.mark.parametrize("sizes", [list(CHUNK_FRAMES), [3, 7, 1, 5], [30], [24, 24, 1]])
def test_recorded_steps_give_the_samples_of_plain_ones(runner: Runners, rows: int, sizes: list[int]) -> None:
    run, codes = runner(), random_codes(57, rows)
    wanted = plain(run.decoder, codes, sizes)
    for ends in (True, False):
        found = fed(run.open([None] * rows), codes, sizes, ends=ends)
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() < TOLERANCE


def test_a_recorded_step_is_the_same_when_it_is_repeated_as_a_graph_would(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint(TINY)
    config = CodecConfig.read(folder / "speech_tokenizer").decoder
    decoder = CodecDecoder.load(config, codec_file(folder), pack=False)
    run, codes = CodecRunner(decoder, Choice(GRAPH, "a test"), recorder=TapeRecorder), random_codes(21, 2)
    for _ in range(2):
        found = fed(run.open([None] * 2), codes, [4, 4, 2, 2, 1])
        assert np.abs(found - plain(decoder, codes, [4, 4, 2, 2, 1])).max() < TOLERANCE
    assert run.step_count == 4


@pytest.mark.parametrize("frames", range(1, 80))
def test_a_piece_is_divided_among_the_recorded_sizes(frames: int) -> None:
    whole, end = list(piece_sizes(frames, last=False)), list(piece_sizes(frames, last=True))
    assert all(size in STEP_FRAMES and size == used for size, used in whole)
    assert sum(used for _, used in whole) == sum(used for _, used in end) == frames
    assert all(size == used for size, used in end[:-1])
    assert sum(size for size, _ in end) <= 1.5 * frames
    assert len(end) <= len(whole)


def test_sessions_in_turns_do_not_mix(runner: Runners) -> None:
    run = runner()
    codes = [random_codes(20), random_codes(21, 2), random_codes(22)]
    sessions = [run.open([None] * part.shape[0]) for part in codes]
    found: list[list[Wave]] = [[], [], []]
    for start in range(0, 20, 4):
        for index, session in enumerate(sessions):
            found[index].append(session.feed(codes[index][..., start : start + 4]).read())
    for index, part in enumerate(codes):
        wanted = plain(run.decoder, part[..., :20], [4] * 4)
        assert np.abs(np.concatenate(found[index], 1) - wanted).max() < TOLERANCE


def test_a_speech_that_is_left_in_the_middle_leaves_nothing_to_the_next(runner: Runners) -> None:
    run, codes = runner(), random_codes(12)
    first = fed(run.open(), codes, [4, 8])
    left = run.open()
    left.feed(random_codes(9))
    left.close()
    with pytest.raises(ToolkitFault, match="none after it was closed"):
        left.feed(random_codes(1))
    dropped = run.open()
    dropped.feed(random_codes(8))
    del dropped
    assert np.array_equal(fed(run.open(), codes, [4, 8]), first)


def test_rows_that_end_are_left_out(runner: Runners) -> None:
    run, codes = runner(), random_codes(16, 6)
    session = run.open([None] * 6)
    first = session.feed(codes[..., :8]).read()
    assert not run.shrinks(6, 5)
    assert run.shrinks(6, 2)
    session.keep([4, 1])
    second = session.feed(codes[[4, 1], :, 8:], last=True).read()
    for place, row in enumerate((4, 1)):
        found = np.concatenate((first[row], second[place]))
        assert np.abs(found - plain(run.decoder, codes[row : row + 1], [8])[0]).max() < TOLERANCE


@pytest.mark.parametrize("path", [GRAPH, STEPS])
def test_rows_begin_behind_their_references(checkpoint: Callable[[str], Path], path: str) -> None:
    decoder = decoder_at(checkpoint(TINY))
    run = CodecRunner(decoder, Choice(path, "a test"), recorder=EagerRecorder)
    voices = [random_codes(90)[0].T, None, random_codes(5)[0].T, random_codes(90)[0].T, torch.zeros(0, 16).long()]
    codes = random_codes(10, 5)
    found = fed(run.open(voices, 40), codes, [4])
    for row, voice in enumerate(voices):
        before = torch.zeros(0, 16).long() if voice is None else voice
        alone = decoder.decode(torch.cat((before, codes[row].T)).T[None]).numpy()[0, len(before) * 1920 :]
        assert np.abs(found[row] - alone).max() < TOLERANCE


def test_a_reference_is_read_once(runner: Runners, monkeypatch: pytest.MonkeyPatch) -> None:
    run, voice, codes = runner(), random_codes(24)[0].T, random_codes(4)
    first = fed(run.open([voice, voice]), codes.expand(2, -1, -1), [])
    read: list[int] = []
    advance = CodecSession.advance

    def watched(self: CodecSession, codes: torch.Tensor, **named: bool) -> object:
        read.append(codes.shape[2])
        return advance(self, codes, **named)

    monkeypatch.setattr(CodecSession, "advance", watched)
    again = fed(run.open([voice.clone()]), codes, [])
    assert read == [4]
    assert np.abs(again[0] - first[0]).max() < TOLERANCE
    for frames in range(1, MOST_REFERENCES + 1):
        run.open([random_codes(frames)[0].T])
    read.clear()
    run.open([voice])
    assert read == [24]


def test_references_that_are_none_are_refused(runner: Runners) -> None:
    with pytest.raises(UsageError, match=r"codes of a reference must be \[frames, 16\], found \[3, 15\]"):
        runner().open([torch.zeros(3, 15).long()])
    with pytest.raises(UsageError, match="codes must lie between 0 and 255, found 256"):
        runner().open([torch.full((3, 16), 256)])
    with pytest.raises(ToolkitFault, match=r"codes \[1, 16, 2\] instead of \[2, 16, frames\]"):
        runner().open([None] * 2).feed(random_codes(2))


class Unwilling:
    """A recorder that fails from the given call on."""

    def __init__(self, error: Exception, good: int = 0) -> None:
        self.error, self.good = error, good

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        work()  # as a warm-up would, which spoils the buffers
        if self.good:
            self.good -= 1
            return work
        raise self.error


def test_where_nothing_can_be_captured_plain_steps_go_on_with_the_same_speech(runner: Runners) -> None:
    run, codes = runner(lambda: Unwilling(RuntimeError("no graph today\nmore"), good=1)), random_codes(20)
    found = fed(run.open(), codes, [8])
    assert np.abs(found - plain(run.decoder, codes, [8])).max() < TOLERANCE
    assert run.path == choose_codec_path("cuda", fast=True, capture_fault="no graph today")
    assert (run.path.value, run.step_count) == (STEPS, 0)
    assert run.path.warning.endswith("no graph today. Speech is the same, but slower.")


def test_memory_that_runs_out_passes_and_leaves_a_runner_that_works(runner: Runners) -> None:
    full = [Unwilling(torch.OutOfMemoryError("CUDA out of memory")), EagerRecorder()]
    run, codes = runner(lambda: full.pop(0)), random_codes(12)
    session = run.open()
    with pytest.raises(torch.OutOfMemoryError):
        session.feed(codes)
    session.close()
    run.release()
    assert run.path.value == GRAPH
    assert np.abs(fed(run.open(), codes, [4]) - plain(run.decoder, codes, [4])).max() < TOLERANCE


def test_a_session_goes_on_after_everything_was_released_and_after_larger_batches(runner: Runners) -> None:
    run, codes = runner(), random_codes(24)
    session = run.open()
    parts = [session.feed(codes[..., :8]).read()]
    run.release()
    assert run.step_count == 0
    parts.append(session.feed(codes[..., 8:16]).read())
    run.open([None] * 3).feed(random_codes(4, 3))
    parts.append(session.feed(codes[..., 16:], last=True).read())
    assert np.abs(np.concatenate(parts, 1) - plain(run.decoder, codes, [8, 8])).max() < TOLERANCE


def test_few_steps_are_kept_and_the_oldest_goes(runner: Runners, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec_steps, "MOST_STEPS", 3)
    run = runner()
    for frames in (1, 2, 4, 1, 8):
        run.open().feed(random_codes(frames))
    assert run._steps is not None
    assert [shape in run._steps for shape in ((1, 1), (1, 2), (1, 4), (1, 8))] == [True, False, True, True]


def test_steps_can_be_recorded_ahead(runner: Runners) -> None:
    recorded: list[int] = []

    class Counting(EagerRecorder):
        def record(self, work: Callable[[], None]) -> Callable[[], None]:
            recorded.append(1)
            return work

    run = runner(Counting)
    run.prepare(3)
    assert (run.step_count, len(recorded)) == (len(STEP_FRAMES), len(STEP_FRAMES))
    fed(run.open([None] * 3), random_codes(30, 3), [1, 2, 4, 8])
    assert len(recorded) == len(STEP_FRAMES)


class Ordered(HostChannel):
    """Notes what is done inside of the queue, and makes nothing ready before it is read."""

    def __init__(self) -> None:
        self.depth, self.sent, self.settled = 0, 0, 0

    @contextmanager
    def queue(self) -> Iterator[None]:
        self.depth += 1
        yield
        self.depth -= 1

    def send(self, samples: torch.Tensor) -> HostArrival:
        assert self.depth == 1
        self.sent += 1
        return super().send(samples)

    def settle(self) -> None:
        self.settled += 1


def test_all_work_is_in_its_queue_and_is_over_before_the_buffers_go(runner: Runners) -> None:
    channel = Ordered()

    class Inside(EagerRecorder):
        def record(self, work: Callable[[], None]) -> Callable[[], None]:
            def repeat() -> None:
                assert channel.depth == 1
                work()

            return repeat

    run = runner(Inside, channel)
    fed(run.open([random_codes(6)[0].T]), random_codes(12), [8])
    assert channel.sent == 2  # nothing of the reference
    before = channel.settled
    del run
    gc.collect()
    assert channel.settled == before + 1


def test_twenty_speeches_leave_memory_flat(runner: Runners) -> None:
    run, process = runner(), psutil.Process()
    for rows in (3, 2, 1):
        run.prepare(rows)
    levels, counts = [], []
    for number in range(20):
        rows = 1 + number % 3
        fed(run.open([None] * rows), random_codes(20 + number, rows), [1, 2, 4, 8])
        levels.append(process.memory_info().rss)
        counts.append(run.step_count)
    assert max(levels[8:]) - levels[8] < 8 * 2**20
    assert set(counts) == {3 * len(STEP_FRAMES)}
    assert counts[0] <= MOST_STEPS
    gc.collect()
    assert len([item for item in gc.get_objects() if type(item) is CodecSession]) == 0


def test_rows_run_with_the_next_number() -> None:
    assert [rows_run(rows) for rows in (1, 3, 5, 9, 13, 33, 64, 65, 200)] == [1, 4, 8, 12, 16, 48, 64, 65, 200]


def test_the_way_follows_from_facts() -> None:
    assert str(choose_codec_path("cuda", fast=True)) == "graph (the codec runs beside the talker's frames)"
    assert str(choose_codec_path("cuda", fast=False)) == "steps (as on the plain path)"
    assert str(choose_codec_path("cpu", fast=True)) == "steps (a CPU has no CUDA graphs)"
