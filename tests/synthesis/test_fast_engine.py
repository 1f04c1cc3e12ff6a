"""The fast path: the codes of the plain one, a frame that a graph can hold, buffers that stay, and which way runs."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from golden_set import GoldenCase, GoldenSet, make_prompts, settings_of
from loaded_model import Loaded
from tape import ForcedOperations, TapeRecorder

from toolkit.errors import ToolkitFault, UsageError
from toolkit.synthesis.decoding import DecodeState, TorchBackend, generate
from toolkit.synthesis.fast.backend import FastBackend, row_seeds
from toolkit.synthesis.fast.capture import bucket_of, buckets_of
from toolkit.synthesis.fast.engine import Engine
from toolkit.synthesis.fast.mailbox import HostMailbox
from toolkit.synthesis.fast.operations import PlainOperations
from toolkit.synthesis.fast.path import choose_backend, choose_path
from toolkit.synthesis.fast.prefill import padded_length
from toolkit.synthesis.fast.state import ENDED, FRAME, IDLE, OUT_OF_ROOM, FrameBuffers, Seat, StateSize
from toolkit.synthesis.fast.weights import FrameWeights
from toolkit.synthesis.precision import Choice
from toolkit.synthesis.prompt import Prompt, join_prompts
from toolkit.synthesis.sampling import DecodeSettings, Sampling
from toolkit.synthesis.speaker import load as load_speech
from toolkit.synthesis.talker import Talker

Load = Callable[..., Loaded]
GREEDY = DecodeSettings(max_new_tokens=6).greedy()
EAGER = choose_path("cpu", None, None)


@pytest.fixture(scope="module")
def model(load: Load) -> Loaded:
    return load("cv_1b7_a")


@pytest.fixture(scope="module")
def prompts(model: Loaded) -> list[Prompt]:
    build = model.prompts.custom_voice
    return [build("你好，很高兴认识你。", "vivian"), build("Hello there, you.", "ryan", non_streaming=False)]


def forced(model: Loaded, ends: dict[int, int] | None = None) -> ForcedOperations:
    talker = model.config.talker
    return ForcedOperations(talker.codec_eos, talker.vocab, ends)


def seat(prompt: Prompt, limit: int, seed: int = 0, settings: DecodeSettings = GREEDY) -> Seat:
    return Seat(prompt.rows, prompt.trail, prompt.pad, settings, seed, limit)


def engine_of(model: Loaded, operations: PlainOperations, size: StateSize, recorder: object = None) -> Engine:
    weights = FrameWeights.of(model.talker)
    return Engine(model.talker, weights, operations, size, EAGER, recorder=recorder)  # type: ignore[arg-type]


def frame(engine: Engine, rows: int) -> tuple[list[int], torch.Tensor]:
    engine.launch(rows)
    report = engine.read(rows)[1]
    return list(report.status), report.codes


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("cv_1b7_a", "mix_auto_serena_stream"),
        ("cv_0b6_a", "batch3"),
        ("base_1b7_a", "batch3_mixed_modes"),
    ],
)
def test_its_greedy_codes_are_those_of_the_official_package(
    goldens: GoldenSet, load: Load, name: str, case: str
) -> None:
    model, wanted = load(name), goldens.case(name, case)
    prompts = make_prompts(model.prompts, wanted, GoldenCase.stored_voice)
    found = generate(model.talker, prompts, settings_of(wanted), backend=FastBackend(model.talker)).collect()
    for row, codes in enumerate(found):
        assert codes.tolist() == wanted.needed(row, "codes").tolist()


def assert_same(talker: Talker, prompt: Prompt, frames: int = 300) -> None:
    eos, settings = talker.config.talker.codec_eos, replace(GREEDY, max_new_tokens=frames + 1)

    class Endless(TorchBackend):
        def logits(self, state: DecodeState) -> torch.Tensor:
            logits = super().logits(state).clone()
            logits[:, eos] = -1e4
            return logits

    operations = ForcedOperations(eos, talker.config.talker.vocab, draws=False)
    plain = generate(talker, [prompt], settings, backend=Endless(talker)).collect()[0]
    fast = generate(talker, [prompt], settings, backend=FastBackend(talker, lambda: operations)).collect()[0]
    assert plain.shape == (frames, 16)
    assert torch.equal(fast, plain)


def test_three_hundred_greedy_frames_are_those_of_the_plain_path(model: Loaded) -> None:
    assert_same(model.talker, model.prompts.custom_voice("你好，很高兴认识你。今天天气真好。", "vivian"))


def test_a_hundred_greedy_frames_of_the_pocket_voice_are_those_of_the_plain_path() -> None:
    loaded = load_speech("pocket", device="cpu", dtype="float32").model
    prompt = loaded.prompts.custom_voice("The train to the coast leaves at nine.", "serena")
    assert_same(loaded.talker, prompt, 100)


def test_its_draws_have_the_models_settings(model: Loaded, prompts: list[Prompt]) -> None:
    """Top-k 1 leaves one token, whatever the draw; and each of the two stages has settings of its own."""
    greedy = generate(model.talker, prompts[:1], GREEDY, backend=FastBackend(model.talker)).collect()[0]
    narrow, wide = Sampling(top_k=1), Sampling(temperature=50.0, top_k=0)
    runs = []
    for talker, predictor in ((narrow, narrow), (narrow, wide), (wide, narrow)):
        settings = DecodeSettings(talker, predictor, max_new_tokens=3)
        stream = generate(model.talker, prompts[:1], settings, seed=1, backend=FastBackend(model.talker))
        runs.append(stream.collect()[0])
    assert torch.equal(runs[0], greedy[:2])
    assert runs[1][0, 0] == greedy[0, 0]
    assert not torch.equal(runs[1][0], greedy[0])
    assert runs[2][0, 0] != greedy[0, 0]


@pytest.mark.parametrize("tokens", [2, 3, 6])
def test_n_tokens_give_one_frame_less(model: Loaded, prompts: list[Prompt], tokens: int) -> None:
    backend = FastBackend(model.talker, lambda: forced(model))
    stream = generate(model.talker, prompts[:1], replace(GREEDY, max_new_tokens=tokens), backend=backend)
    assert [codes.shape for codes in stream.collect()] == [(tokens - 1, 16)]
    assert (stream.frame_counts, stream.finish_reasons) == ([tokens - 1], ["length"])


@pytest.mark.parametrize(("end", "frames"), [(0, 2), (3, 3), (5, 5)])
def test_the_end_of_speech_comes_after_two_frames_at_the_earliest_and_also_at_the_last_token(
    model: Loaded, prompts: list[Prompt], end: int, frames: int
) -> None:
    backend = FastBackend(model.talker, lambda: forced(model, {4: end}))
    stream = generate(model.talker, prompts[:1], GREEDY, seed=4, backend=backend)
    assert len(stream.collect()[0]) == frames
    assert stream.finish_reasons == ["eos"]


def test_a_frame_can_be_recorded_and_repeated(model: Loaded, prompts: list[Prompt]) -> None:
    """Nothing in it waits for the device, and Python decides nothing: the tape of a frame of empty rows makes all."""
    settings = DecodeSettings(talker=Sampling(top_p=0.9), max_new_tokens=9)
    recorder = TapeRecorder()
    eager = generate(model.talker, prompts, settings, seed=3, backend=FastBackend(model.talker)).collect()
    backend = FastBackend(model.talker, recorder=recorder, ahead=2)
    for _ in range(2):
        taped = generate(model.talker, prompts, settings, seed=3, backend=backend).collect()
        assert all(torch.equal(one, two) for one, two in zip(eager, taped, strict=True))
    assert recorder.recorded == 2, "the frame, and the reading of two prompts"


def test_rows_that_have_ended_or_are_empty_change_nothing(model: Loaded, prompts: list[Prompt]) -> None:
    engine = engine_of(model, forced(model, {7: 2}), StateSize(4, 64, 16))
    engine.prepare(4)
    engine.admit(1, [seat(prompts[0], 9, seed=7), seat(prompts[1], 9)])
    states = [frame(engine, 4)[0] for _ in range(3)]
    assert states == [[IDLE, FRAME, FRAME, IDLE]] * 2 + [[IDLE, ENDED, FRAME, IDLE]]
    watched = ("last", "lengths", "frames", "seen", "alive", "trail")
    kept = {name: getattr(engine.buffers, name)[[0, 1, 3]].clone() for name in watched}
    caches = [table[:, [0, 1, 3], :, 1:].clone() for table in (engine.buffers.keys, engine.buffers.values)]
    states = [frame(engine, 4)[0] for _ in range(3)]
    assert states == [[IDLE, IDLE, FRAME, IDLE]] * 3
    for name, value in kept.items():
        assert torch.equal(getattr(engine.buffers, name)[[0, 1, 3]], value), name
    for table, old in zip((engine.buffers.keys, engine.buffers.values), caches, strict=True):
        assert torch.equal(table[:, [0, 1, 3], :, 1:], old)


def test_a_row_with_all_its_frames_says_so_once(model: Loaded, prompts: list[Prompt]) -> None:
    engine = engine_of(model, forced(model), StateSize(1, 64))
    engine.prepare(1)
    engine.admit(0, [seat(prompts[0], 2)])
    assert [frame(engine, 1)[0] for _ in range(4)] == [[FRAME], [FRAME], [OUT_OF_ROOM], [IDLE]]


def test_prompts_lie_in_the_cache_as_the_plain_path_reads_them(model: Loaded, prompts: list[Prompt]) -> None:
    engine = engine_of(model, PlainOperations(), StateSize(4, 80, 16))
    engine.admit(2, [seat(prompt, 5) for prompt in prompts])
    with torch.inference_mode():
        for row, prompt in enumerate(prompts, 2):
            plain = TorchBackend(model.talker).prefill(join_prompts([prompt]), GREEDY, None)
            length = prompt.rows.shape[0]
            assert int(engine.buffers.lengths[row]) == length
            for found, wanted in ((engine.buffers.keys, plain.cache.keys), (engine.buffers.values, plain.cache.values)):
                torch.testing.assert_close(found[:, row, :, :length], wanted[:, 0, :, :length], atol=1e-5, rtol=1e-5)
            hidden = model.talker.stack.normed(engine.buffers.last[row])
            torch.testing.assert_close(hidden, plain.hidden[0], atol=1e-5, rtol=1e-5)


def test_prompts_run_in_few_lengths() -> None:
    assert [padded_length(length) for length in (1, 32, 33, 100, 512, 513, 1025)] == [32, 32, 64, 128, 512, 1024, 1536]


def test_batches_run_in_few_sizes() -> None:
    assert [bucket_of(rows) for rows in (1, 2, 3, 5, 33, 64)] == [1, 2, 4, 8, 64, 64]
    assert buckets_of(6) == (1, 2, 4, 6)


def test_the_text_of_each_frame_is_the_trail_and_then_the_pad_vector(model: Loaded, prompts: list[Prompt]) -> None:
    heard: list[torch.Tensor] = []

    class Listening(ForcedOperations):
        def frame_input(self, codes, table, starts, text):  # type: ignore[no-untyped-def]
            heard.append(text.clone())
            return super().frame_input(codes, table, starts, text)

    prompt, talker = prompts[1], model.config.talker
    count = prompt.trail.shape[0]
    operations = Listening(talker.codec_eos, talker.vocab)
    generate(
        model.talker,
        [prompt],
        replace(GREEDY, max_new_tokens=count + 4),
        backend=FastBackend(model.talker, lambda: operations),
    ).collect()
    said = torch.cat(heard)
    assert torch.equal(said[:count], prompt.trail)
    assert torch.equal(said[count : count + 3], prompt.pad.expand(3, -1))


def test_no_buffer_ever_moves_and_nothing_piles_up(model: Loaded, prompts: list[Prompt]) -> None:
    engine = engine_of(model, forced(model), StateSize(2, 96, 16))
    engine.prepare_all()
    places = [tensor.data_ptr() for tensor in engine.buffers.tensors()]
    engine.admit(0, [seat(prompt, 50) for prompt in prompts])
    for _ in range(4):
        frame(engine, 2)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(30):
        frame(engine, 2)
    engine.vacate(0, 2)
    engine.admit(1, [seat(prompts[0], 50)])
    frame(engine, 2)
    gc.collect()
    assert len(gc.get_objects()) - before <= 5
    assert [tensor.data_ptr() for tensor in engine.buffers.tensors()] == places


def test_the_views_of_a_bucket_are_the_buffers_themselves(model: Loaded) -> None:
    buffers = FrameBuffers.make(model.talker, StateSize(4, 32))
    view = buffers.first(2)
    for whole, part in zip(buffers.tensors(), view.tensors(), strict=True):
        assert part.data_ptr() == whole.data_ptr()
    assert view.keys.shape[1] == view.alive.shape[0] == view.codes.shape[1] == view.predictor_rules.top_k.shape[0] == 2
    assert view.keys[0].is_contiguous()


def test_later_generations_use_the_same_buffers_until_a_larger_one_comes(
    model: Loaded, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[StateSize] = []
    original = FrameBuffers.make.__func__  # type: ignore[attr-defined]

    def counting(cls, talker, size):  # type: ignore[no-untyped-def]
        made.append(size)
        return original(cls, talker, size)

    monkeypatch.setattr(FrameBuffers, "make", classmethod(counting))
    backend = FastBackend(model.talker)
    for rows, tokens in ((2, 5), (1, 3), (2, 4), (1, 300), (2, 5)):
        stream = generate(model.talker, prompts[:rows], replace(GREEDY, max_new_tokens=tokens), backend=backend)
        next(stream)
        del stream
    assert [(size.rows, size.slots) for size in made] == [(2, 256), (2, 512)]
    backend.release()
    generate(model.talker, prompts[:1], GREEDY, backend=backend)
    assert len(made) == 3


def test_buffers_are_given_up_only_when_nothing_writes_to_them(
    model: Loaded, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[HostMailbox] = []
    monkeypatch.setattr(HostMailbox, "settle", lambda mailbox: settled.append(mailbox))
    backend = FastBackend(model.talker, ahead=2)
    for tokens in (5, 4, 300):
        next(generate(model.talker, prompts[:1], replace(GREEDY, max_new_tokens=tokens), backend=backend))
    assert len(settled) == 1
    backend.release()
    assert len(settled) == 2


def test_an_engine_refuses_what_would_spoil_its_buffers(model: Loaded, prompts: list[Prompt]) -> None:
    engine = engine_of(model, PlainOperations(), StateSize(1, 48, 1, ring=2))
    engine.prepare(1)
    with pytest.raises(ToolkitFault, match="hold no sequence"):
        engine.admit(0, [seat(prompts[0], 48)])
    with pytest.raises(ToolkitFault, match="hold no sequence"):
        engine.admit(1, [seat(prompts[0], 4)])
    with pytest.raises(ToolkitFault, match="no frame is under way"):
        engine.read(1)
    engine.launch(1)
    engine.launch(1)
    with pytest.raises(ToolkitFault, match="2 frames are under way, the ring holds no more"):
        engine.launch(1)


class Uncapturable:
    """As a driver that cannot capture."""

    def __init__(self, error: RuntimeError) -> None:
        self._error = error

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        raise self._error


def test_a_frame_that_cannot_be_captured_runs_eagerly_and_says_why(model: Loaded, prompts: list[Prompt]) -> None:
    recorder = Uncapturable(RuntimeError("operation not permitted when stream is capturing\nmore"))
    backend = FastBackend(model.talker, path=Choice("torch graph", "a test"), recorder=recorder)
    found = generate(model.talker, prompts, GREEDY, backend=backend).collect()
    wanted = generate(model.talker, prompts, GREEDY).collect()
    assert all(torch.equal(one, two) for one, two in zip(found, wanted, strict=True))
    assert backend.path.value == "eager"
    told = choose_path("cuda", (9, 0), None, capture_fault="operation not permitted when stream is capturing")
    assert told == Choice(
        "eager",
        "a frame could not be captured as a CUDA graph: operation not permitted when stream is capturing",
        "a frame could not be captured as a CUDA graph: operation not permitted when stream is capturing. "
        "Speech is the same, but slower.",
    )


def test_kernels_that_fail_give_way_to_pytorchs_own(model: Loaded, prompts: list[Prompt]) -> None:
    made: list[ForcedOperations] = []

    def broken() -> ForcedOperations:
        made.append(forced(model))
        made[-1].broken = ValueError("no C compiler")
        return made[-1]

    backend = FastBackend(model.talker, broken, path=Choice("triton graph", "a test"), recorder=TapeRecorder())
    found = generate(model.talker, prompts, GREEDY, backend=backend).collect()
    wanted = generate(model.talker, prompts, GREEDY).collect()
    assert all(torch.equal(one, two) for one, two in zip(found, wanted, strict=True))
    assert backend.path.value != "triton graph"
    assert len(made) == 1


def test_full_memory_while_capturing_is_no_reason_to_go_on_eagerly(model: Loaded, prompts: list[Prompt]) -> None:
    recorder = Uncapturable(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        generate(model.talker, prompts, GREEDY, backend=FastBackend(model.talker, recorder=recorder))


@pytest.mark.parametrize(
    ("facts", "value", "reason"),
    [
        (("cpu", None, "3.4.0"), "eager", "a CPU has no CUDA graphs"),
        (("mps", None, None), "eager", "mps has no CUDA graphs"),
        (("cuda", (9, 0), "3.4.0"), "triton graph", "compute capability 9.0, Triton 3.4.0"),
        (("cuda", (8, 0), "3.3.1+git"), "triton graph", "compute capability 8.0, Triton 3.3.1+git"),
        (("cuda", (8, 9), None), "torch graph", "Triton is not installed"),
        (("cuda", (7, 5), "3.4.0"), "torch graph", "compute capability 7.5: the fused kernels need 8.0"),
        (
            ("cuda", (8, 6), "3.2.0"),
            "torch graph",
            "Triton 3.2.0 is too old for the fused kernels; 3.3 is the oldest that will do",
        ),
    ],
)
def test_the_way_follows_from_the_facts(
    facts: tuple[str, tuple[int, int] | None, str | None], value: str, reason: str
) -> None:
    assert choose_path(*facts) == Choice(value, reason)


def test_kernels_that_cannot_be_built_leave_pytorchs_own_in_the_graph() -> None:
    found = choose_path("cuda", (9, 0), "3.4.0", kernel_fault="no C compiler")
    assert (found.value, found.reason) == ("torch graph", "the fused kernels could not be built: no C compiler")
    assert found.warning.endswith("Speech is the same, but slower.")


@pytest.mark.parametrize(
    ("asked", "device", "dtype", "told"),
    [
        ("auto", "cuda", "bfloat16", "fast (the same greedy speech as on the plain path, many times as fast)"),
        ("auto", "cuda", "float16", "plain (only it looks for the overflows of float16)"),
        ("auto", "cpu", "float32", "plain (on a CPU a seed gives what it gives in the official package)"),
        ("fast", "cpu", "float32", "fast (asked for)"),
        ("plain", "cuda", "bfloat16", "plain (asked for)"),
    ],
)
def test_the_fast_path_is_taken_when_it_is_asked_for(asked: str, device: str, dtype: str, told: str) -> None:
    assert str(choose_backend(asked, device, dtype)) == told


def test_a_path_that_is_none_or_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="path must be 'auto', 'fast' or 'plain', not 'quick'"):
        choose_backend("quick", "cpu", "float32")
    with pytest.raises(UsageError, match="only the plain path looks for float16's overflows"):
        choose_backend("fast", "cuda", "float16")


def test_rows_have_seeds_of_their_own() -> None:
    assert row_seeds(5, 3) == [5, 6, 7]
    assert row_seeds([9, 2], 2) == [9, 2]
    assert row_seeds(2**63 - 1, 2) == [2**63 - 1, 0]
    torch.manual_seed(0)
    drawn = row_seeds(None, 1)
    torch.manual_seed(0)
    assert row_seeds(None, 1) == drawn
    with pytest.raises(UsageError, match="3 prompts need 3 seeds, found 1"):
        row_seeds([1], 3)


def test_weights_that_it_cannot_read_are_refused(load: Load) -> None:
    with pytest.raises(UsageError, match="load with pack=False"):
        FastBackend(load("cv_1b7_small", dtype=torch.bfloat16, pack=True).talker)
    with pytest.raises(UsageError, match="float16 overflows"):
        FastBackend(load("cv_1b7_small", dtype=torch.float16).talker)


def test_bfloat16_keeps_close_to_the_plain_path(load: Load) -> None:
    model = load("cv_1b7_small", dtype=torch.bfloat16)
    prompt = model.prompts.custom_voice("你好，很高兴认识你。", "vivian")
    fast = generate(model.talker, [prompt], GREEDY, backend=FastBackend(model.talker)).collect()[0]
    plain = generate(model.talker, [prompt], GREEDY).collect()[0]
    assert torch.equal(fast[0], plain[0])
