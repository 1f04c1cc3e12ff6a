"""Sequences of the talker's training: what stands where, what is aligned with what, and how rows are filled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from talker_samples import examples, vocabulary

from toolkit.synthesis.demo_shapes import ADDED_TOKENS
from training.pocket.bpe import plain_tokenizer
from training.pocket.sequences import (
    Batches,
    Choices,
    Example,
    Plan,
    Sequences,
    lay_out,
    plan_epoch,
    segments_per_row,
)
from training.pocket.shape import CODE_GROUPS, SMOKE, talker_ids
from training.pocket.talker_net import Batch

IDS = talker_ids(SMOKE)
MARKS = {text: len(vocabulary()) + index for index, (text, _) in enumerate(ADDED_TOKENS)}
WHOLE, STEPS = Choices(0.0, 0.0, 0.0), Choices(1.0, 0.0, 0.0)


def example(text: str, frames: int, seconds: list[float], **changes: object) -> Example:
    codes = np.arange(frames)[:, None] + np.zeros(CODE_GROUPS, np.int64)
    made = Example(text, "", "chinese", "vivian", codes.astype(np.uint8), np.array(seconds, np.float32))
    return replace(made, **changes)  # type: ignore[arg-type]


def laid(item: Example, choices: Choices) -> Sequences:
    return lay_out([item], vocabulary(), SMOKE, seed=0, choices=choices)


def text_ids(text: str) -> list[int]:
    ids: list[int] = plain_tokenizer(vocabulary()).encode(f"assistant\n{text}").ids
    return ids[2:]


def test_the_whole_text_comes_before_the_frames() -> None:
    found = laid(example("你好。", 4, [0.0, 0.1, 0.25]), WHOLE)
    pad, begin, end = MARKS["<tts_pad>"], MARKS["<tts_text_bos>"], MARKS["<tts_text_eod>"]
    role = [MARKS["<|im_start|>"], vocabulary().id_of("assistant"), vocabulary().id_of("\u010a")]
    assert found.text[:-1].tolist() == [*role, *[pad] * 5, begin, *text_ids("你好。"), end, *[pad] * 5]
    tags = [IDS.think, IDS.think_bos, IDS.languages["chinese"], IDS.think_eos, IDS.speakers["vivian"], IDS.pad]
    assert found.control[:-1].tolist() == [-1] * 3 + tags + [IDS.pad] * 4 + [IDS.bos] + [-1] * 4
    assert found.frame[:-1].tolist() == [-1] * 14 + [0, 1, 2, 3]
    assert found.target[:-1].tolist() == [-1] * 13 + [0, 1, 2, 3, IDS.eos]
    assert found.guide[:-1].tolist() == [-1] * 13 + [9, 10, 10, 11, -1]  # 0.04, 0.12, 0.20 and 0.28 s
    assert [array[-1] for array in (found.text, found.control, found.frame, found.target, found.guide)] == [-1] * 5
    assert (found.starts.tolist(), found.lengths.tolist()) == ([0], [18])


def test_text_in_steps_runs_beside_the_frames() -> None:
    item = example("你好。", 5, [0.0, 0.02, 0.25], instruct="speak faster", speaker=None)
    found = laid(item, replace(STEPS, automatic=1.0))
    pad, end = MARKS["<tts_pad>"], MARKS["<tts_text_eod>"]
    told = plain_tokenizer(vocabulary()).encode("user\nspeak faster").ids
    prompt = [MARKS["<|im_start|>"], *told, MARKS["<|im_end|>"], vocabulary().id_of("\u010a")]
    assert found.text[: len(prompt)].tolist() == prompt
    opening = len(prompt) + 3 + 3 + 1
    assert found.control[:opening].tolist() == [-1] * (len(prompt) + 3) + [
        IDS.nothink, IDS.think_bos, IDS.think_eos, IDS.pad,
    ]  # fmt: skip
    assert found.text[opening:-1].tolist() == [*text_ids("你好。"), end, pad, pad]
    assert found.control[opening:-1].tolist() == [IDS.bos, -1, -1, -1, -1, -1]
    assert found.target[opening:-1].tolist() == [0, 1, 2, 3, 4, IDS.eos]
    # In frame 0 the second character is spoken already, but it has not been read yet.
    assert found.guide[opening:-1].tolist() == [-1, opening + 1, opening + 1, opening + 2, opening + 2, -1]


def test_text_that_outlasts_the_speech_is_cut_in_steps() -> None:
    found = laid(example("你好你好你好", 3, [0.0] * 6), STEPS)
    assert found.text[-5:-1].tolist() == text_ids("你好你好你好")[:4]


def test_letters_are_aligned_with_their_pieces() -> None:
    text = "Weather 你!"
    item = example(text, len(text), [0.08 * index for index in range(len(text))], language="english")
    found = laid(item, WHOLE)
    pieces = plain_tokenizer(vocabulary()).encode(text)
    piece_of = [
        next(number for number, (start, stop) in enumerate(pieces.offsets) if start <= index < stop)
        for index in range(len(text))
    ]
    first = found.text.tolist().index(MARKS["<tts_text_bos>"]) + 1
    assert found.guide[found.guide >= 0].tolist() == [first + piece for piece in piece_of]


def test_choices_are_drawn_in_their_shares_and_by_the_seed() -> None:
    items = [replace(item, speaker=item.speaker or "serena") for item in examples(600)]
    found = lay_out(items, vocabulary(), SMOKE, seed=3)
    again = lay_out(items, vocabulary(), SMOKE, seed=3)
    assert all(np.array_equal(getattr(found, name), getattr(again, name)) for name in ("text", "control", "guide"))
    assert 0.3 < (found.control == IDS.nothink).sum() / 600 < 0.4
    named = np.isin(found.control, list(IDS.speakers.values())).sum()
    assert 0.03 < 1 - named / 600 < 0.07
    speakers = [item.speaker for item in items]
    for name in ("vivian", "ryan", "dylan"):  # only utterances of one speaker go without her name
        assert (found.control == IDS.speakers[name]).sum() == speakers.count(name)
    opened = found.text[(found.control == IDS.bos).nonzero()[0]] == MARKS["<tts_pad>"]
    assert 0.55 < opened.mean() < 0.65
    assert found.text.max() < found.text_rows


def test_what_is_too_long_is_left_out() -> None:
    items = examples(30)
    everything = lay_out(items, vocabulary(), SMOKE, seed=0)
    longest = int(np.median(everything.lengths))
    found = lay_out(items, vocabulary(), SMOKE, seed=0, longest=longest)
    assert found.lengths.max() <= longest
    assert len(found) + found.dropped == 30
    assert found.dropped > 5


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (example("你好。", 3, [0.0, 0.1]), "'你好。' has 3 characters and 2 times"),
        (example("e\u0301!", 3, [0.0, 0.1, 0.2]), "must be composed"),
        (example("你好。", 3, [0.0, 0.2, 0.1]), "the times of the characters of an utterance fall"),
        (example("", 3, []), "no text or no frames"),
        (example("你", 0, [0.0]), "no text or no frames"),
    ],
)
def test_utterances_that_do_not_fit_together_are_refused(item: Example, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        laid(item, WHOLE)


@pytest.fixture(scope="module")
def sequences() -> Sequences:
    return lay_out(examples(500), vocabulary(), SMOKE, seed=0)


def planned(sequences: Sequences, seed: int = 0, rows: int = 4, row: int = 512) -> Plan:
    segments = segments_per_row(sequences.lengths, row)
    members = np.arange(len(sequences))
    return plan_epoch(sequences, members, rows=rows, row=row, segments=segments, source=np.random.default_rng(seed))


def test_rows_are_filled_with_whole_sequences(sequences: Sequences) -> None:
    plan = planned(sequences)
    assert plan.fill >= 0.95
    seen = []
    for starts, bounds in zip(plan.starts, plan.bounds, strict=True):
        assert bounds[0] == 0
        assert bounds[-1] == 4 * 512
        assert (np.diff(bounds) >= 0).all()
        for start, first, last in zip(starts, bounds, bounds[1:], strict=False):
            if start >= 0:
                assert first // 512 == (last - 1) // 512
                number = int(np.searchsorted(sequences.starts, start))
                assert (sequences.starts[number], sequences.lengths[number]) == (start, last - first)
                seen.append(number)
    assert len(set(seen)) == len(seen) > 450  # the rest would not fill a batch


def test_another_epoch_has_another_order(sequences: Sequences) -> None:
    assert np.array_equal(planned(sequences).starts, planned(sequences).starts)
    assert not np.array_equal(planned(sequences).starts[:5], planned(sequences, 1).starts[:5])


def test_few_sequences_are_repeated(sequences: Sequences) -> None:
    source = np.random.default_rng(0)
    plan = plan_epoch(sequences, np.arange(3), rows=4, row=512, segments=8, source=source)
    assert len(plan) >= 1
    assert len(set(plan.starts[plan.starts >= 0].tolist())) == 3


def batches(sequences: Sequences, plan: Plan, *, noise: float = 0.0, flash: bool = False) -> Batches:
    flat = Batches.on_device(sequences, torch.device("cpu"))
    return Batches(flat, plan, rows=4, row=512, frames=64, flash=flash, longest=256, noise=noise)


def taken(found: Batches, number: int) -> Batch:
    return found.take(torch.tensor([number]))


def test_a_batch_holds_what_was_planned(sequences: Sequences) -> None:
    plan = planned(sequences)
    batch = taken(batches(sequences, plan), 2)
    holding = torch.zeros(4 * 512, dtype=torch.bool)
    for start, first, last in zip(plan.starts[2], plan.bounds[2], plan.bounds[2][1:], strict=False):
        if start < 0:
            continue
        here, there = slice(first, last), slice(start, start + last - first)
        holding[here] = True
        for name in ("text", "control", "target"):
            assert np.array_equal(getattr(batch, name)[here].numpy(), getattr(sequences, name)[there])
        assert batch.order[here].tolist() == list(range(last - first))
        assert len(set(batch.sequence[here].tolist())) == 1
        guide, wanted = batch.guide[here], torch.from_numpy(sequences.guide[there]).long()
        assert torch.equal(guide[wanted >= 0], wanted[wanted >= 0] + first % 512)
        assert (guide[wanted < 0] == -1).all()
        frame = sequences.frame[there]
        assert np.array_equal(batch.codes[here][frame >= 0].numpy(), sequences.codes[frame[frame >= 0]])
        assert (batch.codes[here][frame < 0] == -1).all()
    for name in ("text", "control", "target", "guide"):
        assert (getattr(batch, name)[~holding] == -1).all()
    assert (batch.codes[~holding] == -1).all()


def test_the_predictor_gets_frames_from_all_over_the_batch(sequences: Sequences) -> None:
    batch = taken(batches(sequences, planned(sequences), noise=0.06), 0)
    assert torch.equal(batch.target[batch.frame_at], batch.frame_codes[:, 0])
    assert len(set(batch.frame_at.tolist())) > 60
    assert (batch.frame_at.diff() >= 0).all()
    assert batch.frame_at[-1] > 3 * 512


def test_some_frames_are_read_wrongly_and_none_is_written_wrongly(sequences: Sequences) -> None:
    plan = planned(sequences)
    torch.manual_seed(0)
    clean, noisy = taken(batches(sequences, plan), 1), taken(batches(sequences, plan, noise=0.06), 1)
    frames = clean.codes[:, 0] >= 0
    changed = (clean.codes != noisy.codes).any(1)
    assert not changed[~frames].any()
    assert 0.03 < changed[frames].float().mean() < 0.09
    assert torch.equal(clean.target, noisy.target)
    assert (noisy.codes[frames] >= 0).all()


def test_plans_are_replaced_in_place(sequences: Sequences) -> None:
    found = batches(sequences, planned(sequences).first(6))
    before = taken(found, 0).text
    other = planned(sequences, 1)
    found.replace_plan(other)
    assert len(found) == 6
    assert not torch.equal(taken(found, 0).text, before)
    assert torch.equal(taken(found, 5).text, taken(batches(sequences, other), 5).text)


def test_the_flash_form_needs_no_mask(sequences: Sequences) -> None:
    plan = planned(sequences)
    layout = taken(batches(sequences, plan, flash=True), 3).layout
    assert layout.mask is None
    assert layout.bounds is not None
    assert layout.bounds.tolist() == plan.bounds[3].tolist()
    assert layout.bounds.dtype == torch.int32
