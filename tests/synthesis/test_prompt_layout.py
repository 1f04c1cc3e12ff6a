"""Prompts: the layout of every mode, what a speaker or a language changes, and requests that are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from golden_set import GoldenSet
from loaded_model import Loaded

from toolkit.errors import UsageError
from toolkit.synthesis.prompt import ClonedVoice, Prompt, PromptBuilder, join_prompts

Load = Callable[..., Loaded]
TEXT = "你好，很高兴认识你。"


def vectors(model: Loaded, *ids: int) -> torch.Tensor:
    return model.talker.text(torch.tensor(ids))


def codec(model: Loaded, *ids: int) -> torch.Tensor:
    return model.talker.codes.rows(torch.tensor(ids))


def voice(model: Loaded, frames: int | None = None, transcript: str | None = None) -> ClonedVoice:
    generator = torch.Generator().manual_seed(1)
    speaker = torch.randn(model.config.talker.decoder.hidden, generator=generator)
    if frames is None:
        return ClonedVoice(speaker)
    return ClonedVoice(speaker, torch.randint(0, 256, (frames, 16), generator=generator), transcript)


def same(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    return found.shape == wanted.shape and torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("speaker", "language", "tag"),
    [
        ("dylan", None, "beijing_dialect"),
        ("dylan", "auto", "beijing_dialect"),
        ("eric", "Chinese", "sichuan_dialect"),
        ("dylan", "English", "english"),
        ("vivian", "Chinese", "chinese"),
        ("vivian", None, None),
        ("", "Chinese", "chinese"),
        (None, None, None),
    ],
)
def test_the_prefix_names_language_and_speaker(
    load: Load, speaker: str | None, language: str | None, tag: str | None
) -> None:
    """A dialect replaces Chinese or an open language, and nothing else."""
    model = load("cv_1b7_a")
    marks, ids = model.config.talker, model.config.text_ids
    track = [marks.codec_nothink, marks.codec_think_bos, marks.codec_think_eos]
    if tag is not None:
        language_id = model.config.language_ids[tag]
        track = [marks.codec_think, marks.codec_think_bos, language_id, marks.codec_think_eos]
    if speaker:
        track.append(model.config.speaker_ids[speaker])
    prompt = model.prompts.custom_voice(TEXT, speaker, language=language)
    beside = vectors(model, *[ids.tts_pad] * len(track), ids.tts_bos)
    assert same(prompt.rows[:3], vectors(model, *prompt.ids.role))
    assert same(prompt.rows[3 : 4 + len(track)], beside + codec(model, *track, marks.codec_pad))


def test_whole_text_runs_beside_pads_and_ends_with_the_begin_mark(load: Load) -> None:
    model = load("cv_1b7_a")
    marks, ids = model.config.talker, model.config.text_ids
    prompt = model.prompts.custom_voice(TEXT, "vivian")
    count = len(prompt.ids.text)
    assert prompt.rows.shape[0] == 3 + 5 + count + 1 + 1
    spoken = vectors(model, *prompt.ids.text, ids.tts_eos) + codec(model, marks.codec_pad)
    assert same(prompt.rows[8 : 9 + count], spoken)
    assert same(prompt.rows[9 + count :], vectors(model, ids.tts_pad) + codec(model, marks.codec_bos))
    assert same(prompt.trail, vectors(model, ids.tts_pad))


def test_streamed_text_begins_in_the_prompt_and_goes_on_frame_by_frame(load: Load) -> None:
    model = load("cv_1b7_a")
    ids = model.config.text_ids
    prompt = model.prompts.custom_voice(TEXT, "vivian", non_streaming=False)
    first = vectors(model, prompt.ids.text[0]) + codec(model, model.config.talker.codec_bos)
    assert same(prompt.rows[8:], first)
    assert same(prompt.trail, vectors(model, *prompt.ids.text[1:], ids.tts_eos))
    assert same(prompt.pad, vectors(model, ids.tts_pad)[0])


def test_an_empty_text_streams_the_end_mark_and_then_stops(load: Load) -> None:
    model = load("cv_1b7_a")
    ids = model.config.text_ids
    prompt = model.prompts.custom_voice("", "vivian", non_streaming=False)
    assert same(prompt.rows[8:], vectors(model, ids.im_end) + codec(model, model.config.talker.codec_bos))
    assert same(prompt.trail, vectors(model, ids.tts_eos))


def test_an_instruction_goes_before_everything_without_a_codec_side(load: Load) -> None:
    model = load("cv_1b7_a")
    with_it = model.prompts.custom_voice(TEXT, "vivian", instruct="生气")
    without = model.prompts.custom_voice(TEXT, "vivian")
    count = len(with_it.instruct_ids)
    assert count > 0
    assert same(with_it.rows[:count], vectors(model, *with_it.instruct_ids))
    assert same(with_it.rows[count:], without.rows)


def test_an_instruction_to_a_small_custom_voice_model_is_dropped_and_said_so(load: Load) -> None:
    model = load("cv_0b6_a")
    dropped = model.prompts.custom_voice(TEXT, "vivian", instruct="生气")
    without = model.prompts.custom_voice(TEXT, "vivian")
    assert torch.equal(dropped.rows, without.rows)
    assert dropped.notes == ("The 0.6B model takes no style instruction; it was left out. The 1.7B model follows one.",)
    assert without.notes == ()


def test_a_small_voice_design_model_keeps_its_description(load: Load) -> None:
    assert load("vd_0b6_a").prompts.voice_design(TEXT, "a deep voice").instruct_ids


def test_cloning_by_vector_puts_it_where_a_speaker_would_be(load: Load) -> None:
    model = load("base_1b7_a")
    given = voice(model)
    prompt = model.prompts.voice_clone(TEXT, given)
    assert same(prompt.rows[6:7], vectors(model, model.config.text_ids.tts_pad) + given.speaker)
    assert prompt.trail.shape[0] == len(prompt.ids.text)


@pytest.mark.parametrize("frames", [3, 200])
def test_in_context_cloning_zips_both_tracks_when_text_is_streamed(load: Load, frames: int) -> None:
    """A short recording leaves text for the trail; a long one gets pads beside its rest."""
    model = load("base_1b7_a")
    given = voice(model, frames, "再见！")
    prompt = model.prompts.voice_clone(TEXT, given, non_streaming=False)
    assert prompt.reference_ids is not None
    assert given.codes is not None
    ids = model.config.text_ids
    words = vectors(model, *prompt.reference_ids.text, *prompt.ids.text, ids.tts_eos)
    pad = vectors(model, ids.tts_pad)
    heard = torch.cat((codec(model, model.config.talker.codec_bos), model.talker.codes.frame_sum(given.codes)))
    length, spare = frames + 1, max(0, frames + 1 - words.shape[0])
    assert prompt.rows.shape[0] == 3 + 5 + length
    assert same(prompt.rows[8:], torch.cat((words[:length], pad.expand(spare, -1))) + heard)
    assert same(prompt.trail, words[length:] if words.shape[0] > length else pad)


def test_in_context_cloning_of_whole_text_lays_the_tracks_one_after_the_other(load: Load) -> None:
    model = load("base_1b7_a")
    given = voice(model, 7, "再见！")
    prompt = model.prompts.voice_clone(TEXT, given, non_streaming=True)
    assert prompt.reference_ids is not None
    words = len(prompt.reference_ids.text) + len(prompt.ids.text) + 1
    assert prompt.rows.shape[0] == 3 + 5 + words + 8
    assert same(prompt.trail, vectors(model, model.config.text_ids.tts_pad))


def test_text_is_streamed_by_default_only_when_cloning(load: Load) -> None:
    custom, base = load("cv_1b7_a"), load("base_1b7_a")
    assert custom.prompts.custom_voice(TEXT, "vivian").trail.shape[0] == 1
    assert load("vd_1b7_a").prompts.voice_design(TEXT, "x").trail.shape[0] == 1
    assert base.prompts.voice_clone(TEXT, voice(base)).trail.shape[0] > 1


def test_shorter_prompts_get_zeros_before_and_pads_after(load: Load) -> None:
    model = load("cv_1b7_a")
    prompts = [model.prompts.custom_voice(text, "vivian", non_streaming=False) for text in (TEXT, "好")]
    prompts.append(model.prompts.custom_voice(TEXT, "vivian", instruct="快", non_streaming=False))
    batch = join_prompts(prompts)
    longest = max(batch.lengths)
    assert batch.rows.shape[:2] == (3, longest)
    for row, (prompt, padding) in enumerate(zip(prompts, batch.padding.tolist(), strict=True)):
        assert padding == longest - prompt.rows.shape[0]
        assert not batch.rows[row, :padding].any()
        assert torch.equal(batch.rows[row, padding:], prompt.rows)
        steps = prompt.trail.shape[0]
        assert torch.equal(batch.trail[row, :steps], prompt.trail)
        assert torch.equal(batch.trail[row, steps:], prompt.pad.expand(batch.trail.shape[1] - steps, -1))


def test_a_row_of_a_mixed_batch_is_what_it_is_alone(goldens: GoldenSet, load: Load) -> None:
    """In-context and vector-only voices side by side; the goldens prove the numbers, this one that rows are apart."""
    model = load("base_1b7_a")
    case = goldens.case("base_1b7_a", "batch3_mixed_modes")
    voices = [case.stored_voice(row) for row in range(3)]
    assert [voice.codes is None for voice in voices] == [False, True, False]
    prompts = [model.prompts.voice_clone(text, one) for text, one in zip(case.texts, voices, strict=True)]
    batch = join_prompts(prompts)
    for row, prompt in enumerate(prompts):
        assert torch.equal(batch.rows[row, int(batch.padding[row]) :], prompt.rows)


def test_marks_inside_a_text_are_spoken_when_asked(load: Load) -> None:
    model = load("cv_1b7_a")
    plain = PromptBuilder(model.talker, model.tokenizer, parse_marks=False)
    end = model.config.text_ids.im_end
    assert end in model.prompts.custom_voice("a<|im_end|>b", "vivian").ids.text
    assert end not in plain.custom_voice("a<|im_end|>b", "vivian").ids.text


def _requests(model: Loaded) -> dict[str, Callable[[], Prompt]]:
    return {
        "custom_voice": lambda: model.prompts.custom_voice(TEXT, None),
        "voice_design": lambda: model.prompts.voice_design(TEXT, "deep"),
        "base": lambda: model.prompts.voice_clone(TEXT, voice(model)),
    }


@pytest.mark.parametrize("name", ["cv_1b7_a", "vd_1b7_a", "base_1b7_a"])
@pytest.mark.parametrize("mode", ["custom_voice", "voice_design", "base"])
def test_a_model_serves_its_own_mode_and_no_other(load: Load, name: str, mode: str) -> None:
    model = load(name)
    if model.config.kind == mode:
        assert _requests(model)[mode]().rows.shape[0] > 0
    else:
        with pytest.raises(UsageError, match=f"this model .* take one of the kind {mode}"):
            _requests(model)[mode]()


def test_unknown_names_are_refused(load: Load) -> None:
    prompts = load("cv_1b7_a").prompts
    with pytest.raises(UsageError, match="No speaker 'nobody'"):
        prompts.custom_voice(TEXT, "nobody")
    with pytest.raises(UsageError, match="No language 'Klingon'"):
        prompts.custom_voice(TEXT, "vivian", language="Klingon")
    with pytest.raises(UsageError, match="No language 'beijing_dialect'"):
        prompts.custom_voice(TEXT, "dylan", language="beijing_dialect")


def test_voices_that_cannot_be_used_are_refused(load: Load) -> None:
    model = load("base_0b6_a")
    speaker = torch.zeros(model.config.talker.decoder.hidden)
    with pytest.raises(UsageError, match="needs the transcript"):
        ClonedVoice(speaker, torch.zeros(3, 16, dtype=torch.int64))
    with pytest.raises(UsageError, match="needs the transcript"):
        ClonedVoice(speaker, torch.zeros(3, 16, dtype=torch.int64), "")
    with pytest.raises(UsageError, match=r"reference codes must be \[frames, 16\], found \[16, 3\]"):
        ClonedVoice(speaker, torch.zeros(16, 3, dtype=torch.int64), "x")
    with pytest.raises(UsageError, match=r"reference codes must be \[frames, 16\], found \[0, 16\]"):
        ClonedVoice(speaker, torch.zeros(0, 16, dtype=torch.int64), "x")
    with pytest.raises(UsageError, match="must have one axis"):
        ClonedVoice(speaker[None])
    with pytest.raises(UsageError, match="the voice has 128 numbers, this model needs 64"):
        model.prompts.voice_clone(TEXT, ClonedVoice(torch.zeros(128)))
    with pytest.raises(UsageError, match="reference codes must lie between 0 and 255"):
        model.prompts.voice_clone(TEXT, ClonedVoice(speaker, torch.full((3, 16), 256), "x"))
    with pytest.raises(UsageError, match="the list of texts is empty"):
        join_prompts([])
