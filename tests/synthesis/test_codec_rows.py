"""Rows of a batch decoded together: each as if it were alone, beside the frames or after them, whatever goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from codec_models import decoder_at, random_codes
from numpy.typing import NDArray
from test_codec_runner import Unwilling
from test_reference import speech as noise
from test_speech import Full, without_ends

from toolkit.errors import ToolkitFault, UsageError
from toolkit.synthesis.fast.backend import FastBackend
from toolkit.synthesis.fast.capture import EagerRecorder, Recorder
from toolkit.synthesis.fast.codec_channel import HostChannel
from toolkit.synthesis.fast.codec_rows import RowSound, frames_at_once, sound_of
from toolkit.synthesis.fast.codec_runner import GRAPH, STEPS, CodecRunner
from toolkit.synthesis.precision import Choice
from toolkit.synthesis.result import SpeechWarning
from toolkit.synthesis.speaker import Speech, load
from toolkit.synthesis.speaking import Pipeline, Progress

TINY = "base_1b7_a"
TOGETHER = 1e-5
TEXT = "Hello there."
TEXTS = ["Hello there.", "One more, a little longer than that.", "And this."]


class Beside(HostChannel):
    """A channel of a device of its own pace, whose samples are there when they are read."""

    beside_caller = True


def runner_at(folder: Path, path: str = GRAPH, recorder: Callable[[], Recorder] = EagerRecorder) -> CodecRunner:
    return CodecRunner(decoder_at(folder), Choice(path, "a test"), channel=Beside(), recorder=recorder)


@pytest.mark.parametrize("path", [GRAPH, STEPS])
@pytest.mark.parametrize("chunk", [300, 40])
def test_each_row_sounds_as_it_does_alone(checkpoint: Callable[[str], Path], path: str, chunk: int) -> None:
    run = runner_at(checkpoint(TINY), path)
    lengths = (30, 12, 0, 47, 30, 1)
    codes = [random_codes(length + 1)[0].T[:length] for length in lengths]
    voices = [None, random_codes(33)[0].T, None, None, random_codes(80)[0].T, random_codes(33)[0].T]
    together = sound_of(run, codes, voices, chunk)
    assert [wave.size for wave in together] == [1920 * length for length in lengths]
    for wave, own, voice in zip(together, codes, voices, strict=True):
        alone = sound_of(run, [own], [voice], chunk)[0]
        assert wave == pytest.approx(alone, abs=TOGETHER)


def test_the_frames_of_all_rows_together_are_what_memory_was_planned_for(checkpoint: Callable[[str], Path]) -> None:
    plain, recorded = runner_at(checkpoint(TINY), STEPS), runner_at(checkpoint(TINY))
    assert [frames_at_once(plain, rows, 300) for rows in (1, 7, 32, 500)] == [300, 42, 9, 1]
    assert [frames_at_once(recorded, rows, 300) for rows in (1, 7, 17, 32, 64)] == [24, 24, 12, 8, 4]
    assert [frames_at_once(recorded, rows, 8) for rows in (1, 3, 5, 64)] == [8, 2, 1, 1]


def test_no_step_takes_more_frames_than_were_planned(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runner_at(checkpoint(TINY), STEPS)
    taken: list[int] = []
    step = run.decoder.step

    def watched(codes: torch.Tensor, state: object) -> object:
        taken.append(codes.shape[0] * codes.shape[2])
        return step(codes, state)  # type: ignore[arg-type]

    monkeypatch.setattr(run.decoder, "step", watched)
    codes = [random_codes(length)[0].T for length in (9, 3, 20, 9, 2)]
    sound_of(run, codes, [None] * 5, 4)
    assert max(taken) <= 4
    assert sum(taken) < 2 * sum(len(row) for row in codes)


def test_frames_that_come_one_by_one_make_the_same_sound(checkpoint: Callable[[str], Path]) -> None:
    run, lengths = runner_at(checkpoint(TINY)), (31, 8, 25, 60)
    whole = random_codes(60, 4)
    sound = RowSound(run, [None] * 4, 32)
    for number in range(60):
        frame = whole[..., number].clone()
        counts = [min(length, number + 1) for length in lengths]
        frame[[row for row, count in enumerate(counts) if count <= number]] = -1
        sound.add(frame, counts)
    waves = sound.finish(lengths)
    sound.close()
    assert sound.waited_s > 0
    for row, (wave, length) in enumerate(zip(waves, lengths, strict=True)):
        alone = run.decoder.decode(whole[row : row + 1, :, :length]).numpy()[0]
        assert np.abs(wave - alone).max() < 5e-5


def test_codes_and_waves_that_are_none_are_errors(checkpoint: Callable[[str], Path]) -> None:
    decoder = decoder_at.__wrapped__(checkpoint(TINY))  # not the one that other tests share
    run = CodecRunner(decoder, Choice(STEPS, "a test"), channel=Beside(), recorder=EagerRecorder)
    with pytest.raises(UsageError, match="codes must lie between 0 and 255, found -1"):
        sound_of(run, [torch.full((2, 16), -1)], [None], 300)
    decoder.codebook = torch.nn.Parameter(decoder.codebook * float("nan"), requires_grad=False)
    with pytest.raises(ToolkitFault, match="not finite"):
        sound_of(run, [random_codes(2)[0].T], [None], 300)


@pytest.fixture(scope="module")
def model(demo: Callable[..., Path]) -> Speech:
    return load(demo(), dtype="float32", device="cpu", path="fast")


@pytest.fixture(scope="module")
def cloner(demo: Callable[..., Path]) -> Speech:
    return load(demo("base"), dtype="float32", device="cpu", path="fast")


def beside(speech: Speech, recorder: Callable[[], Recorder] = EagerRecorder, chunk: int = 300) -> Speech:
    """The same model with a codec that runs beside the frames."""
    found = Speech(speech.model, backend=FastBackend(speech.model.talker), audio_chunk_size=chunk)
    codec = CodecRunner(speech.model.decoder, Choice(GRAPH, "a test"), channel=Beside(), recorder=recorder)
    found._pipeline = Pipeline(speech.model, chunk, found._backend, codec)
    return found


def assert_same(found: Sequence[NDArray[np.float32]], wanted: Sequence[NDArray[np.float32]]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= 1e-4


def test_a_batch_beside_the_frames_sounds_as_after_them(model: Speech, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = model.speak_many(TEXTS * 2, speaker="Ryan", seed=5, batch=6, max_frames=30)
    voice = beside(model)
    monkeypatch.setattr(voice._pipeline, "waveforms", lambda *_: pytest.fail("decoded afterwards"))
    found = voice.speak_many(TEXTS * 2, speaker="Ryan", seed=5, batch=6, max_frames=30)
    assert len({result.frames for result in found}) > 1
    assert_same([result.samples for result in found], [result.samples for result in wanted])
    for one, other in zip(found, wanted, strict=True):
        assert np.array_equal(one.codes, other.codes)
        times = one.timings_s
        assert sum(times[name] for name in ("prompt", "decode", "codec")) <= times["total"]
        assert times["codec"] > 0
        assert one.first_audio_s > 0


def test_clones_of_several_voices_are_spoken_side_by_side(cloner: Speech) -> None:
    with pytest.warns(SpeechWarning):
        anna = cloner.make_voice("anna", (noise(1.5, 16000), 16000), ref_text="What was said.")
    with pytest.warns(SpeechWarning):
        bert = cloner.make_voice("bert", (noise(2.5, 16000), 16000), ref_text="And something else.")
    voices = [anna, bert, anna.vector_only()]
    common = {"voice": voices, "seed": 3, "batch": 3, "max_frames": 12}
    wanted = cloner.speak_many(TEXTS, **common)  # type: ignore[arg-type]
    alone = cloner.speak_many(TEXTS, **{**common, "batch": 1})  # type: ignore[arg-type]
    found = beside(cloner).speak_many(TEXTS, **common)  # type: ignore[arg-type]
    assert_same([result.samples for result in found], [result.samples for result in wanted])
    assert_same([result.samples for result in alone], [result.samples for result in wanted])
    assert all(result.samples.size == 1920 * result.frames for result in found)
    pieces = [samples for samples, _ in beside(cloner).stream(TEXTS[0], voice=anna, seed=3, max_frames=12)]
    assert np.abs(np.concatenate(pieces) - wanted[0].samples).max() <= 1e-4


def test_a_part_that_is_tried_again_has_the_sound_of_the_last_attempt(
    model: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = without_ends(monkeypatch, 1)
    found = beside(model).speak(TEXT, speaker="Ryan", seed=4)
    assert found.parts[0].attempts == len(seeds) > 1
    assert found.finish_reason == "eos"
    monkeypatch.undo()
    wanted = model.speak(TEXT, speaker="Ryan", seed=found.parts[0].seed, max_frames=found.frames + 1)
    assert_same([found.samples], [wanted.samples])


def test_official_chunking_stays_as_it_is(model: Speech) -> None:
    common = {"speaker": "Ryan", "seed": 4, "max_frames": 10, "official_chunking": True}
    found, wanted = (voice.speak(TEXT, **common) for voice in (beside(model), model))  # type: ignore[arg-type]
    assert np.array_equal(found.samples, wanted.samples)


def test_leaving_in_the_middle_leaves_a_voice_that_speaks(model: Speech) -> None:
    def stop(progress: Progress) -> None:
        if progress.frames >= 30:
            raise KeyboardInterrupt

    voice = beside(model)
    wanted = voice.speak(TEXT, speaker="Ryan", seed=3, max_frames=40)
    with pytest.raises(KeyboardInterrupt):
        voice.speak_many(TEXTS, speaker="Ryan", seed=3, batch=3, max_frames=40, on_progress=stop)
    left = voice.stream(TEXT, speaker="Ryan", seed=9, max_frames=12)
    next(left)
    left.close()
    found = voice.speak(TEXT, speaker="Ryan", seed=3, max_frames=40)
    assert np.array_equal(found.samples, wanted.samples)


def test_a_stream_beside_the_frames_is_the_whole(model: Speech) -> None:
    voice = beside(model)
    whole = voice.speak(TEXT, speaker="Ryan", seed=3, max_frames=33)
    for chunks in ((1, 2, 4, 8, 12), (5,)):
        pieces = list(voice.stream(TEXT, speaker="Ryan", seed=3, max_frames=33, chunk_frames=chunks))
        assert np.abs(np.concatenate([samples for samples, _ in pieces]) - whole.samples).max() <= 1e-4


def test_memory_that_runs_out_in_the_codec_halves_piece_and_batch(model: Speech) -> None:
    full: list[Recorder] = [Unwilling(torch.OutOfMemoryError("CUDA out of memory")), EagerRecorder()]
    voice = beside(model, lambda: full.pop(0))
    found = voice.speak_many(TEXTS + TEXTS[:1], speaker="Ryan", seed=5, batch=4, max_frames=40)
    wanted = model.speak_many(TEXTS + TEXTS[:1], speaker="Ryan", seed=5, batch=4, max_frames=40)
    assert_same([result.samples for result in found], [result.samples for result in wanted])
    assert found[0].notes[0] == (
        "Memory ran out once; from now on it is audio_chunk_size 150, batch 2 at most, until the model is loaded again."
    )
    assert (voice._pipeline.audio_chunk_size, voice._pipeline.most_rows) == (150, 2)
    assert voice._pipeline.codec.path.value == GRAPH


def test_memory_that_runs_out_after_the_frames_halves_the_piece_alone(
    demo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = load(demo(), device="cpu")
    step = Full(plain.model.decoder.step, 1)
    monkeypatch.setattr(plain.model.decoder, "step", step)
    results = plain.speak_many(TEXTS, batch=3, max_frames=8, seed=1)
    assert len(results) == 3
    assert (plain._pipeline.audio_chunk_size, plain._pipeline.most_rows) == (150, 256)
