"""Speaking with a loaded model: the official codes through the front door, seeds, parts, batches, retries, memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from codec_models import wave_error
from golden_set import GoldenCase, GoldenSet
from test_reference import speech as noise

import toolkit
from toolkit.errors import BadAudio, BadText, BadVoice, OutOfMemory, UsageError
from toolkit.synthesis import speaking
from toolkit.synthesis.decoding import FrameStream
from toolkit.synthesis.limits import MAX_CHARACTERS, expected_frames, frame_cap, part_seed
from toolkit.synthesis.result import SpeechResult, SpeechWarning
from toolkit.synthesis.speaker import Speech, load
from toolkit.synthesis.speaking import Progress
from toolkit.synthesis.voices import Voice, save_voice

Speeches = Callable[..., Speech]
TEXT = "Hello there, how are you today?"
LONG = "One sentence is spoken here. " * 12


def official(case: GoldenCase, speech: Speech, goldens: GoldenSet) -> list[SpeechResult]:
    """A golden case through the front door."""
    common: dict[str, Any] = {
        "settings": speech.sampling(max_new_tokens=case.max_new_tokens).greedy(),
        "max_frames": case.max_new_tokens - 1,
        "non_streaming_text": case.non_streaming,
        "official_chunking": True,
    }
    rows = range(case.batch)
    languages = [case.text_argument("language", row) for row in rows]
    if case.method == "voice_clone":
        assert case.batch == 1
        return [
            speech.clone(
                case.texts[0],
                goldens.recording(case.reference(0)),
                ref_text=case.text_argument("ref_text", 0),
                x_vector_only=case.vector_only(0),
                append_silence_s=0.0,
                language=languages[0],
                **common,
            )
        ]
    styles = [case.text_argument("instruct", row) or None for row in rows]
    speakers = [case.text_argument("speaker", row) for row in rows]
    return speech.speak_many(
        case.texts, speaker=speakers, language=languages, instruct=styles, batch=case.batch, **common
    )


@pytest.mark.parametrize(
    ("checkpoint_name", "case_id"),
    [
        ("cv_1b7_a", "zh_auto_vivian"),
        ("cv_1b7_a", "zh_chinese_eric_dialect_stream"),
        ("cv_1b7_a", "en_instruct_aiden_stream"),
        ("cv_1b7_a", "batch3"),
        ("cv_1b7_a", "two_new_tokens"),
        ("cv_0b6_a", "instruct_is_ignored"),
        ("vd_1b7_a", "zh_instruct_zh"),
        ("base_1b7_a", "xvec_zh"),
        ("base_1b7_a", "icl_short_text"),
        ("base_1b7_a", "icl_16k"),
        ("base_0b6_a", "icl_cut_rounding"),
    ],
)
@pytest.mark.filterwarnings("ignore::toolkit.synthesis.result.SpeechWarning")
def test_the_front_door_says_what_the_official_package_says(
    goldens: GoldenSet, checkpoint: Callable[[str], Path], checkpoint_name: str, case_id: str
) -> None:
    case = next(case for case in goldens.cases(checkpoint_name) if case.id == case_id)
    speech = load(checkpoint(checkpoint_name), device="cpu", max_text_length=1000)
    for row, result in enumerate(official(case, speech, goldens)):
        assert np.array_equal(result.codes, case.needed(row, "codes"))
        assert wave_error(case, row, torch.from_numpy(result.samples)) < 1e-4


def test_a_seed_gives_the_same_speech_again(speech: Speeches) -> None:
    model = speech()
    first = model.speak(TEXT, speaker="vivian", max_frames=12)
    again = model.speak(TEXT, speaker="VIVIAN", max_frames=12, seed=first.seed)
    other = model.speak(TEXT, speaker="vivian", max_frames=12, seed=first.seed + 1)
    assert np.array_equal(first.samples, again.samples)
    assert np.array_equal(first.codes, again.codes)
    assert not np.array_equal(first.codes, other.codes)


def test_a_seed_of_the_model_counts_for_every_call(demo: Callable[..., Path]) -> None:
    model = load(demo(), device="cpu", seed=5)
    found = [model.speak(TEXT, max_frames=6) for _ in range(2)]
    assert [result.seed for result in found] == [5, 5]
    assert np.array_equal(found[0].codes, found[1].codes)
    assert model.speak(TEXT, max_frames=6, seed=6).seed == 6


def test_the_result_tells_all_about_itself(speech: Speeches) -> None:
    result = speech().speak(TEXT, speaker="ryan", language="English", instruct="calmly", max_frames=20, seed=1)
    assert result.samples.dtype == np.float32
    assert result.codes.dtype == np.int16
    assert result.codes.shape == (result.frames, 16)
    assert result.samples.size == 1920 * result.frames
    assert float(np.abs(result.samples).max()) <= 1.0
    assert result.seconds == result.samples.size / 24000
    assert (result.device, result.dtype.value, result.dtype.reason) == ("cpu", "float32", "asked for")
    assert set(result.timings_s) == {"prompt", "decode", "codec", "join", "total"}
    assert 0 < result.first_audio_s <= result.timings_s["total"]
    assert sum(result.timings_s[name] for name in ("prompt", "decode", "codec")) <= result.timings_s["total"]
    assert result.x_real_time == pytest.approx(result.seconds / result.timings_s["total"])
    assert result.peak_bytes is not None
    assert result.text == TEXT
    assert [part.text for part in result.parts] == [TEXT]


def test_a_chunk_size_does_not_change_the_sound(demo: Callable[..., Path]) -> None:
    waves = []
    for size in (300, 128, 7, 1):
        result = load(demo(), device="cpu", audio_chunk_size=size).speak(TEXT, max_frames=20, seed=2)
        waves.append(result.samples)
    assert all(float(np.abs(wave - waves[0]).max()) < 1e-4 for wave in waves)


def test_a_long_text_is_spoken_in_parts_with_pauses(demo: Callable[..., Path]) -> None:
    model = load(demo(), device="cpu", max_text_length=100)
    result = model.speak(LONG, max_frames=6, seed=1)
    assert [len(part.text) for part in result.parts] == [86, 86, 86, 86]
    assert [part.pause_s for part in result.parts] == [0.45, 0.45, 0.45, 0.0]
    assert [part.seed for part in result.parts] == [part_seed(1, index, 0) for index in range(4)]
    assert result.parts[0].seed == 1
    assert result.frames == sum(part.frames for part in result.parts)
    alone = model.speak(result.parts[1].text, max_frames=6, seed=result.parts[1].seed)
    start = result.parts[0].frames
    assert np.array_equal(result.codes[start : start + alone.frames], alone.codes)


def test_parts_side_by_side_say_the_same_when_nothing_is_drawn(demo: Callable[..., Path]) -> None:
    model = load(demo(), device="cpu", max_text_length=100)
    greedy = model.sampling().greedy()
    one = model.speak(LONG, max_frames=8, settings=greedy)
    other = model.speak(LONG, max_frames=8, settings=greedy, parallel_parts=True)
    assert np.array_equal(one.codes, other.codes)
    assert one.samples == pytest.approx(other.samples, abs=1e-5)


def test_parts_without_anything_to_speak_are_passed_over(demo: Callable[..., Path]) -> None:
    model = load(demo(), device="cpu", max_text_length=20)
    result = model.speak("Hello there my friend. " + "!? " * 40, max_frames=3)
    assert [part.text for part in result.parts] == ["Hello there", "my friend. !? !? !?"]


def test_many_texts_give_one_result_each_in_order(speech: Speeches) -> None:
    texts = ["The first text.", "A second text, which is longer.", "The third one."]
    results = speech().speak_many(texts, speaker=["ryan", "vivian", "eric"], max_frames=10, batch=2, seed=3)
    assert [result.text for result in results] == texts
    assert [result.seed for result in results] == [3, 3, 3]
    again = speech().speak_many(texts, speaker=["ryan", "vivian", "eric"], max_frames=10, batch=2, seed=3)
    assert all(np.array_equal(one.codes, two.codes) for one, two in zip(results, again, strict=True))


def test_lists_must_fit_the_texts(speech: Speeches) -> None:
    with pytest.raises(UsageError, match="speaker has 1 entries for 2 texts; give one for all, or one a text"):
        speech().speak_many(["One text.", "Two texts."], speaker=["ryan"])
    with pytest.raises(UsageError, match="the list of texts is empty"):
        speech().speak_many([])
    with pytest.raises(UsageError, match="batch must be a whole number from 1 to 256"):
        speech().speak_many(["One text."], batch=0)


def test_progress_is_told_for_each_frame(speech: Speeches) -> None:
    seen: list[Progress] = []
    result = speech().speak(TEXT, max_frames=8, seed=1, on_progress=seen.append)
    assert [step.frames for step in seen] == list(range(1, result.frames + 1))
    assert seen[0] == Progress(1, 1, 1, expected_frames(TEXT))


def without_ends(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int | None]:
    """Lets the first generations run into their cap; returns the seeds of all."""
    seeds: list[int | None] = []
    whole = FrameStream.__init__

    def begin(self: FrameStream, backend: Any, batch: Any, settings: Any, seed: int | None, limits: Any) -> None:
        seeds.append(seed)
        few = [2] * batch.size if len(seeds) <= times else limits
        whole(self, backend, batch, settings, seed, few)

    monkeypatch.setattr(FrameStream, "__init__", begin)
    return seeds


def test_a_missed_end_is_tried_again_with_another_seed(speech: Speeches, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = without_ends(monkeypatch, 1)
    result = speech().speak(TEXT, seed=4)
    assert seeds[:2] == [4, part_seed(4, 0, 1)]
    assert result.finish_reason == "eos"
    assert (result.parts[0].attempts, result.parts[0].seed) == (2, part_seed(4, 0, 1))
    assert result.notes == (f"Part 1 of 1 missed its end and was spoken again with seed {part_seed(4, 0, 1)}.",)


def test_after_three_missed_ends_the_first_attempt_stays(speech: Speeches, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = without_ends(monkeypatch, 99)
    result = speech().speak(TEXT, seed=4)
    assert len(seeds) == 3
    assert (result.finish_reason, result.frames) == ("length", 2)
    assert (result.parts[0].attempts, result.parts[0].seed) == (3, 4)
    assert result.notes == ("Part 1 of 1 ran into its length cap of 2 frames in 3 attempts; listen to it.",)


def test_a_cap_of_the_callers_own_is_not_tried_again(speech: Speeches, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = without_ends(monkeypatch, 99)
    assert speech().speak(TEXT, seed=4, max_frames=2).parts[0].attempts == 1
    speech().speak(TEXT, settings=speech().sampling().greedy())
    speech().speak(TEXT, settings=speech().sampling(max_new_tokens=3))
    assert len(seeds) == 3


def test_the_cap_follows_from_the_text() -> None:
    assert frame_cap("好") == 50 + 3 * expected_frames("好")
    ordinary = "The quick brown fox jumps over the lazy dog."
    assert 2.5 < expected_frames(ordinary) / 12.5 < 4
    assert 3 < expected_frames("今天我们一起去公园里散步看花好不好") / 12.5 < 5
    assert frame_cap(ordinary * 10) < 3.2 * expected_frames(ordinary * 10) + 50


class Full:
    """A pipeline's step that runs out of memory so many times."""

    def __init__(self, whole: Callable[..., Any], times: int) -> None:
        self.whole = whole
        self.times = times
        self.sizes: list[object] = []

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.sizes.append(arguments)
        if len(self.sizes) <= self.times:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return self.whole(*arguments, **options)


def test_memory_that_runs_out_in_the_codec_halves_the_chunk(
    demo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(demo(), device="cpu", audio_chunk_size=300)
    calm = model.speak(TEXT, max_frames=10, seed=1)
    step = Full(model._pipeline.waveforms, 1)
    monkeypatch.setattr(model._pipeline, "waveforms", step)
    result = model.speak(TEXT, max_frames=10, seed=1)
    assert [arguments[2] for arguments in step.sizes] == [300, 150]  # type: ignore[index]
    assert result.samples == pytest.approx(calm.samples, abs=1e-4)
    assert result.notes[0] == (
        "Memory ran out once; from now on it is audio_chunk_size 150, batch 1 at most, until the model is loaded again."
    )
    model.speak(TEXT, max_frames=4)
    assert step.sizes[-1][2] == 150  # type: ignore[index]


def test_memory_that_runs_out_while_decoding_halves_the_batch(
    demo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(demo(), device="cpu")
    step = Full(model._pipeline._decode_rows, 1)
    monkeypatch.setattr(model._pipeline, "_decode_rows", step)
    results = model.speak_many(["The first text."] * 4, batch=4, max_frames=4)
    assert [len(arguments[0]) for arguments in step.sizes] == [4, 2, 2]  # type: ignore[index]
    assert len(results) == 4


def test_memory_that_runs_out_twice_is_one_error(demo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(demo(), device="cpu")
    monkeypatch.setattr(model._pipeline, "waveforms", Full(model._pipeline.waveforms, 2))
    told = r"out of memory, also after halving .* were forecast, .* were in use"
    with pytest.raises(OutOfMemory, match=told) as caught:
        model.speak(TEXT, max_frames=4)
    assert "\n" not in str(caught.value)


def test_cleaning_up_comes_after_the_result_is_on_the_cpu(
    demo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[int] = []
    for cleans in (True, False):
        model = load(demo(), device="cpu", enable_cleanup=cleans)
        ours = {id(stream) for stream in _streams()}

        def release(ours: set[int] = ours) -> None:
            alive.append(len([stream for stream in _streams() if id(stream) not in ours]))

        monkeypatch.setattr(model.model.memory, "release", release)
        model.speak(TEXT, max_frames=3)
    assert alive == [0]


def _streams() -> Iterator[object]:
    import gc

    return (item for item in gc.get_objects() if type(item) is FrameStream)


def test_a_limit_below_the_forecast_is_told_before_loading(
    demo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolkit.synthesis import loading

    monkeypatch.setattr(loading, "load_talker", lambda *_, **__: pytest.fail("weights were read"))
    with pytest.raises(OutOfMemory, match=r"the model would need .* the limit is 10\.0 MB: talker"):
        load(demo(), device="cpu", vram_limit="10MB")


def test_a_limit_cannot_be_held_on_a_cpu_and_says_so(demo: Callable[..., Path]) -> None:
    with pytest.warns(SpeechWarning, match="only a CUDA card's memory can be capped"):
        load(demo(), device="cpu", vram_limit="4GB")


def test_float16_warns_and_an_overflow_is_found(demo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(SpeechWarning, match="65,504"):
        model = load(demo(), device="cpu", dtype="float16")
    assert model.model.talker.predictor.stack.norm.dtype == torch.float32
    assert model.model.dtype.value == "float16"
    model.speak(TEXT, max_frames=3)
    start = speaking.generate

    def spoiled(*arguments: Any, **options: Any) -> FrameStream:
        stream = start(*arguments, **options)
        stream.state.hidden[:] = float("nan")
        return stream

    monkeypatch.setattr(speaking, "generate", torch.inference_mode()(spoiled))
    with pytest.raises(UsageError, match="float16 overflowed at frame 0"):
        model.speak(TEXT, max_frames=3)


def test_bfloat16_speaks(demo: Callable[..., Path]) -> None:
    model = load(demo(), device="cpu", dtype="bf16")
    result = model.speak(TEXT, max_frames=4)
    assert (result.dtype.value, result.codec_dtype.value) == ("bfloat16", "float32")
    assert np.isfinite(result.samples).all()


def test_a_designed_voice_speaks(speech: Speeches) -> None:
    result = speech("voice_design").design(TEXT, "a calm old man", language="english", max_frames=5)
    assert result.frames <= 5
    with pytest.raises(BadText, match="voice design needs instruct"):
        speech("voice_design").design(TEXT, " ")


@pytest.fixture(scope="module")
def anna(speech: Speeches) -> Voice:
    """A voice of a second and a half."""
    with pytest.warns(SpeechWarning, match="is 1.5 s long"):
        return speech("base").make_voice("anna", (noise(1.5, 16000), 16000), ref_text="What was said.")


def test_a_voice_is_taken_once_and_speaks_like_the_recording(speech: Speeches, anna: Voice, tmp_path: Path) -> None:
    model = speech("base")
    path = save_voice(anna, tmp_path)
    direct = model.clone(TEXT, (noise(1.5, 16000), 16000), ref_text="What was said.", max_frames=5, seed=1)
    kept = model.clone(TEXT, voice=path, max_frames=5, seed=1)
    assert np.array_equal(direct.samples, kept.samples)
    assert direct.notes[0].startswith("the reference is 1.5 s long")
    vector = model.clone(TEXT, voice=anna, x_vector_only=True, max_frames=5, seed=1)
    alone = model.clone(TEXT, (noise(1.5, 16000), 16000), x_vector_only=True, max_frames=5, seed=1)
    assert np.array_equal(vector.codes, alone.codes)
    many = model.speak_many([TEXT, TEXT], voice=[anna, path], max_frames=3)
    assert len(many) == 2


def test_a_voice_of_another_size_is_refused(speech: Speeches, anna: Voice) -> None:
    with pytest.raises(BadVoice, match=r"taken with a 1\.7B model \(128 numbers\), this one is 0\.6B and needs 64"):
        speech("base", "0b6").clone(TEXT, voice=anna)


def test_cloning_needs_one_voice_and_what_it_said(speech: Speeches, anna: Voice) -> None:
    model = speech("base")
    with pytest.raises(UsageError, match="needs ref_text, what the recording says word for word"):
        model.clone(TEXT, (noise(4.0), 24000))
    with pytest.raises(UsageError, match="needs ref_text"):
        model.clone(TEXT, (noise(4.0), 24000), ref_text="  ")
    with pytest.raises(UsageError, match="needs a reference recording or a voice, one of them"):
        model.clone(TEXT)
    with pytest.raises(UsageError, match="needs a reference recording or a voice, one of them"):
        model.clone(TEXT, (noise(4.0), 24000), voice=anna, ref_text="Said.")
    with pytest.raises(UsageError, match="carries its own ref_text"):
        model.clone(TEXT, voice=anna, ref_text="Said.")
    with pytest.raises(BadAudio, match="is silent"):
        model.clone(TEXT, (np.zeros(96000, np.float32), 24000), ref_text="Said.")
    with pytest.raises(UsageError, match="a base model needs voice="):
        model.speak_many([TEXT])
    with pytest.raises(UsageError, match="a base model takes no speaker and no instruct"):
        model.speak_many([TEXT], speaker="ryan", instruct="calmly", voice=anna)


@pytest.mark.parametrize(
    ("kind", "size", "method", "repository"),
    [
        ("base", "1b7", "speak", "Qwen/Qwen3-TTS-12Hz-1.7B-CustomVoice"),
        ("base", "0b6", "speak", "Qwen/Qwen3-TTS-12Hz-0.6B-CustomVoice"),
        ("base", "0b6", "design", "Qwen/Qwen3-TTS-12Hz-1.7B-VoiceDesign"),
        ("custom_voice", "1b7", "design", "Qwen/Qwen3-TTS-12Hz-1.7B-VoiceDesign"),
        ("custom_voice", "1b7", "clone", "Qwen/Qwen3-TTS-12Hz-1.7B-Base"),
        ("voice_design", "1b7", "clone", "Qwen/Qwen3-TTS-12Hz-1.7B-Base"),
        ("voice_design", "1b7", "speak", "Qwen/Qwen3-TTS-12Hz-1.7B-CustomVoice"),
    ],
)
def test_the_wrong_kind_of_model_names_the_right_one(
    speech: Speeches, kind: str, size: str, method: str, repository: str
) -> None:
    arguments: dict[str, tuple[Any, ...]] = {
        "speak": (TEXT,), "design": (TEXT, "a calm voice"), "clone": (TEXT, (noise(4.0), 24000)),
    }  # fmt: skip
    with pytest.raises(UsageError) as caught:
        getattr(speech(kind, size), method)(*arguments[method])
    told = str(caught.value)
    assert told.startswith(f"{method}() needs a model of the kind ")
    assert told.endswith(f"or load {repository}")


def test_unknown_names_are_answered_with_the_nearest(speech: Speeches) -> None:
    model = speech()
    with pytest.raises(UsageError, match=r"No speaker 'Vivan'. Did you mean vivian\?"):
        model.speak(TEXT, speaker="Vivan")
    with pytest.raises(UsageError, match=r"No language 'Englisch'. Did you mean english\?"):
        model.speak(TEXT, language="Englisch")
    with pytest.raises(UsageError, match="A dialect comes with its speaker"):
        model.speak(TEXT, language="beijing_dialect")


def test_an_instruction_to_a_small_model_is_a_warning(speech: Speeches) -> None:
    with pytest.warns(SpeechWarning, match=r"The 0\.6B model takes no style instruction"):
        result = speech(size="0b6").speak(TEXT, instruct="in a whisper", max_frames=3)
    assert result.notes[0].startswith("The 0.6B model takes no style instruction")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"seed": 1.5}, "seed must be a whole number from 0"),
        ({"max_frames": 0}, "max_frames must be a whole number of at least 1"),
        ({"max_frames": True}, "max_frames must be a whole number of at least 1"),
    ],
)
def test_options_that_are_none_are_refused(speech: Speeches, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        speech().speak(TEXT, **options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"device": "gpu"}, "device must be 'auto'"),
        ({"device": "mps"}, "device 'mps' is not supported"),
        ({"dtype": "int8"}, "dtype must be one of"),
        ({"codec_dtype": "float16"}, "codec_dtype float16 overflows"),
        ({"codec_dtype": "tf32"}, "codec_dtype tf32 needs a CUDA card"),
        ({"audio_chunk_size": 0}, "audio_chunk_size must be a whole number of frames"),
        ({"max_text_length": 5}, "max_text_length must be a whole number of at least 20"),
        ({"vram_limit": "lots"}, "vram_limit must be a size"),
        ({"text_embedding_on_cpu": "maybe"}, "text_embedding_on_cpu must be"),
        ({"word_rule": "gpt"}, "word_rule must be"),
        ({"seed": "x"}, "seed must be"),
    ],
)
def test_load_refuses_options_that_are_none(demo: Callable[..., Path], options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        load(demo(), **{"device": "cpu", **options})


def test_a_card_that_is_not_there_is_named(demo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.errors import GpuUnavailable

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(GpuUnavailable, match="PyTorch sees no CUDA card; `qwen-audio doctor` says why"):
        load(demo(), device="cuda")
    assert str(load(demo()).model.device) == "cpu"


def test_an_hour_of_text_is_for_streams_and_lines(speech: Speeches) -> None:
    with pytest.raises(BadText, match=r"the text has 100,000 characters; one result holds 50,000 at most\. Stream it"):
        speech().speak("字" * 100_000)
    assert len("字" * MAX_CHARACTERS) == 50_000


def test_the_front_door_of_the_package_opens_here() -> None:
    assert toolkit.load is load


def test_the_name_of_a_model_says_what_it_is(speech: Speeches) -> None:
    assert repr(speech("base")).endswith("base, float32 on cpu)")
    assert speech().kind == "custom_voice"
    assert "vivian" in speech().speakers
    assert "english" in speech().languages
