"""The decoder: equal to the official package, and the same in any pieces."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from codec_models import WAVE_TOLERANCE, clone_wave, codec_file, decoder_at, in_steps, random_codes, wave_error
from golden_set import GoldenSet
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from toolkit.errors import BadModelFolder, ToolkitFault, UsageError
from toolkit.synthesis.codec_config import CodecConfig
from toolkit.synthesis.codec_decoder import (
    CodecDecoder,
    DecoderState,
    decoder_tensors,
    pad_code_rows,
    reference_samples,
)
from toolkit.synthesis.demo_shapes import codec_json, model_shape
from toolkit.synthesis.demo_tensors import codec_plan
from toolkit.synthesis.weights import SafetensorsFile

Checkpoints = Callable[[str], Path]
TINY = "base_1b7_a"
SEAM_TOLERANCE = 5e-5
"""float32 sums in another order differ by 2e-5 at most here; see the test in float64 for what the pieces differ by."""


def growing() -> Iterator[int]:
    """1, 1, 2, 3, 5, 8, ..."""
    size, following = 1, 1
    while True:
        yield size
        size, following = following, size + following


def at_random() -> Iterator[int]:
    source = random.Random(5)
    while True:
        yield source.randint(1, 60)


SCHEDULES: dict[str, Callable[[], Iterator[int]]] = {
    "growing": growing,
    "300": lambda: itertools.repeat(300),
    "128": lambda: itertools.repeat(128),
    "random": at_random,
}


def test_codes_alone_give_the_official_wave(goldens: GoldenSet, checkpoint: Checkpoints) -> None:
    for case in goldens.codec_cases("codec_decode"):
        decoder = decoder_at(checkpoint(case.checkpoint))
        rows = [torch.from_numpy(codes.astype(np.int64)) for codes in _codes(goldens, case.id)]
        waves = decoder.decode_official(pad_code_rows(rows))
        for row, codes in enumerate(rows):
            assert wave_error(case, row, waves[row, : len(codes) * 1920]) < WAVE_TOLERANCE, case.id


def _codes(goldens: GoldenSet, case_id: str) -> list[np.ndarray]:
    arrays = goldens.arrays("codec")
    return [arrays[f"{case_id}.{row}.codes"] for row in range(9) if f"{case_id}.{row}.codes" in arrays]


def test_codes_of_every_mode_give_the_official_wave(goldens: GoldenSet, checkpoint: Checkpoints) -> None:
    compared = 0
    for name in goldens.checkpoints:
        for case in goldens.cases(name):
            for row in range(case.batch):
                wave = clone_wave(decoder_at(checkpoint(name)), case, row)
                assert wave_error(case, row, wave) < WAVE_TOLERANCE, (name, case.id, row)
                compared += 1
    assert compared > 100


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_pieces_join_to_the_undivided_wave(checkpoint: Checkpoints, schedule: str) -> None:
    decoder = decoder_at(checkpoint(TINY))
    codes = random_codes(400)
    joined = in_steps(decoder, codes, SCHEDULES[schedule]())
    assert (joined - decoder.decode(codes)).abs().max() < SEAM_TOLERANCE


def test_one_frame_at_a_time_joins_to_the_undivided_wave(checkpoint: Checkpoints) -> None:
    decoder = decoder_at(checkpoint(TINY))
    codes = random_codes(90)
    joined = in_steps(decoder, codes, itertools.repeat(1))
    assert (joined - decoder.decode(codes)).abs().max() < SEAM_TOLERANCE


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_in_float64_pieces_differ_by_rounding_alone(checkpoint: Checkpoints, schedule: str) -> None:
    # Waves are float32; the last layer's output before that is compared, and it is what carries the precision.
    decoder = decoder_at(checkpoint(TINY), torch.float64)
    codes = random_codes(310)
    waves: list[torch.Tensor] = []
    hook = decoder.decoder.register_forward_hook(lambda _module, _inputs, output: waves.append(output))
    try:
        decoder.decode(codes)
        undivided = torch.cat(waves, 1)
        waves.clear()
        in_steps(decoder, codes, SCHEDULES[schedule]())
    finally:
        hook.remove()
    assert undivided.dtype == torch.float64
    assert (torch.cat(waves, 1) - undivided).abs().max() < 1e-11


@pytest.mark.parametrize("size", [1, 7, 60, 300])
def test_decoding_in_chunks_is_decoding(checkpoint: Checkpoints, size: int) -> None:
    decoder = decoder_at(checkpoint(TINY))
    codes = random_codes(80, batch=2)
    assert (decoder.decode_in_chunks(codes, size) - decoder.decode(codes)).abs().max() < SEAM_TOLERANCE
    pieces = [piece.shape[1] // 1920 for piece in decoder.pieces(codes, size)]
    assert sum(pieces) == 80
    assert all(piece == size for piece in pieces[:-1])


@pytest.mark.parametrize("frames", [None, 1, 5])
def test_how_many_frames_the_last_stages_take_changes_nothing(
    checkpoint: Checkpoints, monkeypatch: pytest.MonkeyPatch, frames: int | None
) -> None:
    decoder = decoder_at(checkpoint(TINY))
    codes = random_codes(23)
    usual = decoder.decode(codes)
    monkeypatch.setattr(decoder, "waveform_frames", frames)
    assert (decoder.decode(codes) - usual).abs().max() < SEAM_TOLERANCE


def test_packed_weights_give_the_same_wave(checkpoint: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint(TINY)
    codes = random_codes(40)
    plain = decoder_at(folder, pack=False).decode(codes)
    monkeypatch.setattr("toolkit.synthesis.codec_layers._PACKED_ELEMENTS", 1)
    config = CodecConfig.read(folder / "speech_tokenizer").decoder
    packed = CodecDecoder.load(config, codec_file(folder)).decode(codes)
    assert (packed - plain).abs().max() < SEAM_TOLERANCE


def test_official_chunking_restarts_every_300_frames_and_is_another_wave(checkpoint: Checkpoints) -> None:
    decoder = decoder_at(checkpoint(TINY))
    codes = random_codes(330)
    official, undivided = decoder.decode_official(codes), decoder.decode(codes)
    assert (official - undivided)[:, : 300 * 1920].abs().max() < SEAM_TOLERANCE
    assert (official - undivided)[:, 300 * 1920 :].abs().max() > 0.01
    again = decoder.decode(codes[..., 275:])[:, 25 * 1920 :]
    assert torch.equal(official[:, 300 * 1920 :], again)
    assert torch.equal(decoder.decode_official(codes[..., :300]), decoder.decode(codes[..., :300]))


def test_a_state_can_be_continued_more_than_once(checkpoint: Checkpoints) -> None:
    decoder = decoder_at(checkpoint(TINY))
    codes = random_codes(20)
    _, state = decoder.step(codes[..., :10], decoder.initial_state())
    before = [part.clone() for part in state.history]
    first, _ = decoder.step(codes[..., 10:], state)
    second, _ = decoder.step(codes[..., 10:], state)
    assert torch.equal(first, second)
    assert all(torch.equal(kept, part) for kept, part in zip(before, state.history, strict=True))
    assert int(state.position) == 10


def test_a_state_does_not_grow_and_keeps_nothing_else_alive(checkpoint: Checkpoints) -> None:
    decoder = decoder_at(checkpoint(TINY))
    state = decoder.initial_state()
    size = state.byte_count
    for frames in (1, 90, 40):
        _, state = decoder.step(random_codes(frames), state)
        assert state.byte_count == size
        assert sum(part.untyped_storage().nbytes() for part in state.history) == size


class PeakBytes(TorchDispatchMode):
    """The most bytes of tensors made inside it that were alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for item in tree_leaves(result):
            if isinstance(item, torch.Tensor) and item.layout == torch.strided:
                storage = item.untyped_storage()
                self._alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._alive = {key: entry for key, entry in self._alive.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return result


def test_memory_does_not_grow_with_the_length(checkpoint: Checkpoints) -> None:
    decoder = decoder_at(checkpoint(TINY))

    def peak(frames: int) -> int:
        codes = random_codes(frames)
        with PeakBytes() as mode:
            for _ in decoder.pieces(codes, 16):
                pass
        return mode.peak

    short, long = peak(32), peak(160)
    assert short > 200_000
    assert long <= short + 16 * 8 * 160


def test_rows_of_a_batch_do_not_depend_on_one_another(checkpoint: Checkpoints) -> None:
    decoder = decoder_at(checkpoint(TINY))
    rows = [random_codes(frames)[0].T for frames in (12, 30, 5)]
    together = decoder.decode(pad_code_rows(rows))
    for row, codes in enumerate(rows):
        alone = decoder.decode(codes.T[None])[0]
        assert (together[row, : len(alone)] - alone).abs().max() < SEAM_TOLERANCE


def test_code_zero_is_a_code_and_no_padding(checkpoint: Checkpoints) -> None:
    decoder = decoder_at(checkpoint(TINY))
    codes = random_codes(6)
    codes[:, 0, 3:] = 0
    assert decoder.decode_official(codes).shape == (1, 6 * 1920)
    changed = codes.clone()
    changed[:, 0, 3:] = 1
    assert (decoder.decode(codes) - decoder.decode(changed)).abs().max() > 0.01


def test_no_sample_depends_on_a_later_frame(checkpoint: Checkpoints) -> None:
    decoder = decoder_at(checkpoint(TINY))
    codes = random_codes(20)
    changed = codes.clone()
    changed[..., 10:] = (changed[..., 10:] + 1) % 256
    found, other = decoder.decode(codes), decoder.decode(changed)
    assert torch.equal(found[:, : 10 * 1920], other[:, : 10 * 1920])
    assert not torch.equal(found[:, 10 * 1920 : 10 * 1920 + 8], other[:, 10 * 1920 : 10 * 1920 + 8])


def test_positions_beyond_the_configured_limit_are_as_good_as_others(checkpoint: Checkpoints) -> None:
    # Behind a full window only distances count, so that the same frames at another place sound the same.
    decoder = decoder_at(checkpoint(TINY))
    codes = random_codes(100)
    fresh = decoder.initial_state()
    waves = [decoder.step(codes, DecoderState(fresh.position + start, fresh.history))[0] for start in (100, 50_000)]
    assert (waves[0] - waves[1]).abs().max() < SEAM_TOLERANCE


def test_samples_are_float32_and_clipped_whatever_the_dtype(checkpoint: Checkpoints) -> None:
    codes = random_codes(30)
    exact = decoder_at(checkpoint(TINY)).decode(codes)
    rough = decoder_at(checkpoint(TINY), torch.bfloat16).decode(codes)
    assert exact.dtype == rough.dtype == torch.float32
    assert exact.abs().max() == 1.0
    assert 0.0 < (exact - rough).abs().mean() < 0.1
    assert torch.nn.functional.cosine_similarity(exact, rough)[0] > 0.98


@pytest.mark.parametrize("tf32", [False, True])
def test_its_arithmetic_is_its_own_and_is_put_back(
    checkpoint: Checkpoints, monkeypatch: pytest.MonkeyPatch, tf32: bool
) -> None:
    decoder, cuda = decoder_at(checkpoint(TINY)), torch.backends.cuda.matmul
    monkeypatch.setattr(decoder, "tf32", tf32)
    seen: list[tuple[bool, bool]] = []
    hook = decoder.pre_conv.register_forward_hook(
        lambda *_: seen.append((torch.backends.cudnn.allow_tf32, cuda.allow_tf32))
    )
    before = (torch.backends.cudnn.allow_tf32, cuda.allow_tf32)
    try:
        decoder.decode(random_codes(2))
    finally:
        hook.remove()
    assert seen == [(tf32, tf32)]
    assert (torch.backends.cudnn.allow_tf32, cuda.allow_tf32) == before == (True, False)


def test_no_frames_make_no_samples(checkpoint: Checkpoints) -> None:
    decoder = decoder_at(checkpoint(TINY))
    nothing = torch.zeros(2, 16, 0, dtype=torch.int64)
    assert decoder.decode(nothing).shape == decoder.decode_official(nothing).shape == (2, 0)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (
            torch.zeros(1, 15, 3, dtype=torch.int64),
            r"codes must be whole numbers \[batch, 16, frames\], found \[1, 15, 3\]",
        ),
        (torch.zeros(16, 3, dtype=torch.int64), r"found \[16, 3\]"),
        (torch.zeros(1, 16, 3), "whole numbers"),
        (torch.full((1, 16, 3), 256), "codes must lie between 0 and 255, found 256"),
        (torch.full((1, 16, 3), -1), "codes must lie between 0 and 255, found -1"),
    ],
)
def test_what_is_no_code_is_refused(checkpoint: Checkpoints, codes: torch.Tensor, message: str) -> None:
    decoder = decoder_at(checkpoint(TINY))
    for decode in (decoder.decode, decoder.decode_in_chunks, decoder.decode_official, decoder.pieces):
        with pytest.raises(UsageError, match=message):
            decode(codes)


def test_a_chunk_has_at_least_one_frame(checkpoint: Checkpoints) -> None:
    with pytest.raises(UsageError, match="audio_chunk_size must be at least 1 frame, found 0"):
        decoder_at(checkpoint(TINY)).decode_in_chunks(random_codes(3), 0)


def test_a_wave_that_is_not_finite_is_an_error(checkpoint: Checkpoints) -> None:
    decoder = decoder_at.__wrapped__(checkpoint(TINY))  # not the one that other tests share
    decoder.codebook = torch.nn.Parameter(decoder.codebook * float("nan"), requires_grad=False)
    with pytest.raises(ToolkitFault, match="not finite"):
        decoder.decode(random_codes(2))


def test_the_reference_is_cut_by_a_product_of_floats(goldens: GoldenSet, checkpoint: Checkpoints) -> None:
    case = goldens.case("base_0b6_a", "icl_cut_rounding")
    reference, codes = case.needed(0, "ref_code"), case.needed(0, "codes")
    total = len(reference) + len(codes)
    cut = reference_samples(len(reference), total, total * 1920)
    assert cut == len(reference) * 1920 - 1
    assert len(clone_wave(decoder_at(checkpoint("base_0b6_a")), case, 0)) == len(codes) * 1920 + 1
    assert reference_samples(29, 49, 49 * 1920) == 29 * 1920
    assert reference_samples(0, 0, 0) == 0


@pytest.fixture
def published(tmp_path: Path) -> CodecConfig:
    (tmp_path / "config.json").write_text(json.dumps(codec_json("real")), "utf-8")
    return CodecConfig.read(tmp_path)


def test_the_decoder_knows_every_published_tensor(published: CodecConfig) -> None:
    table = decoder_tensors(published.decoder)
    planned = {plan.name: plan.shape for plan in codec_plan(model_shape("real", "1b7"))}
    assert {name: shape for name, (shape, _) in table.items()} == {
        name: shape for name, shape in planned.items() if name.startswith("decoder.")
    }
    assert len(table) == 271
    assert sorted(name for name, (_, slot) in table.items() if slot is None) == [
        "decoder.quantizer.rvq_first.input_proj.weight",
        "decoder.quantizer.rvq_rest.input_proj.weight",
    ]


def test_the_published_state_is_as_large_as_the_layers_need(published: CodecConfig) -> None:
    network = CodecDecoder(published.decoder)
    assert sum(count * width for count, width in network.layout.columns) == 1_298_496


def test_a_file_of_another_codec_is_refused(checkpoint: Checkpoints) -> None:
    config = CodecConfig.read(checkpoint(TINY) / "speech_tokenizer").decoder
    other = SafetensorsFile(checkpoint("base_0b6_small") / "speech_tokenizer" / "model.safetensors")
    with pytest.raises(BadModelFolder, match="tensors have another shape"):
        CodecDecoder.load(config, other)
