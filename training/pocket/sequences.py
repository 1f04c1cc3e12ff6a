"""Utterances as sequences for the talker: a prompt in the layout of the inference core, then the frames.

All sequences lie in a few flat arrays. A batch is rows of a fixed length that are filled with whole sequences; which
ones is planned for a whole epoch at once, and everything else about a batch happens on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolkit.synthesis.demo_shapes import ADDED_TOKENS, CODE_GROUPS
from training.pocket.attention import Layout, sequence_mask
from training.pocket.bpe import Vocabulary, plain_tokenizer
from training.pocket.shape import ModelShape, talker_ids, text_rows
from training.pocket.talker_net import Batch

__all__ = ["Batches", "Choices", "Example", "Plan", "Sequences", "lay_out", "plan_epoch", "segments_per_row"]

FRAME_S = 0.08
_DEFAULT_SPEAKER = "serena"
_POOL = 8192

_Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Example:
    """One utterance.

    Attributes:
        text, instruct: what is spoken, and how; an empty instruction is none.
        language: one of the two, whether or not the prompt will name it.
        speaker: name; None leaves the slot of the speaker out.
        codes: uint8 ``[frames, 16]``.
        times_s: when each character of the text is spoken, ``[characters]``, never falling.
    """

    text: str
    instruct: str
    language: Literal["english", "chinese"]
    speaker: str | None
    codes: NDArray[np.uint8]
    times_s: NDArray[np.float32]


@dataclass(frozen=True)
class Choices:
    """Shares of the utterances that are laid out in one of two ways.

    Attributes:
        in_steps: text in steps; the others have their whole text before the first frame.
        automatic: the language is left to the model.
        unnamed: no speaker; these are always utterances of the voice serena, so that nobody in particular is her.
    """

    in_steps: float = 0.4
    automatic: float = 0.35
    unnamed: float = 0.05


@dataclass(frozen=True, eq=False)
class Sequences:
    """All sequences, end to end, and one more position that holds nothing.

    Attributes:
        starts, lengths: of each sequence, int64.
        text, control, frame, target, guide: per position: id of the text, id of the talker's vocabulary that is no
            code, row of ``codes``, what comes next (code of group 0 or end of speech), and the position, counted from
            the start of the sequence, whose text is being spoken in the frame that comes next. -1 is none.
        codes: uint8 ``[frames, 16]``.
        dropped: utterances that were longer than the longest sequence allowed.
    """

    starts: _Ints
    lengths: _Ints
    text: NDArray[np.int16]
    control: NDArray[np.int16]
    frame: NDArray[np.int32]
    target: NDArray[np.int16]
    guide: NDArray[np.int16]
    codes: NDArray[np.uint8]
    text_rows: int
    pad: int
    dropped: int

    def __len__(self) -> int:
        return len(self.starts)


def lay_out(
    examples: Sequence[Example],
    vocabulary: Vocabulary,
    shape: ModelShape,
    *,
    seed: int,
    choices: Choices = Choices(),
    longest: int = 512,
) -> Sequences:
    """Lay every utterance out once, by choices that the seed decides.

    Raises:
        ValueError: an utterance without text or frames, or whose times do not fit its text.
    """
    ids, added = talker_ids(shape), len(vocabulary)
    marks = {text: added + index for index, (text, _) in enumerate(ADDED_TOKENS)}
    pad, begin, end = marks["<tts_pad>"], marks["<tts_text_bos>"], marks["<tts_text_eod>"]
    newline = vocabulary.id_of("\u010a")
    source = np.random.default_rng(seed)
    in_steps, auto, named = _draw_choices(examples, choices, source)

    words, word_counts = _encode([f"assistant\n{item.text}" for item in examples], vocabulary)
    told, told_counts = _encode([f"user\n{item.instruct}" if item.instruct else "" for item in examples], vocabulary)
    role_only = np.repeat(np.cumsum(word_counts) - word_counts, 2) + np.tile((0, 1), len(examples))
    words, word_counts = np.delete(words, role_only), word_counts - 2
    frames = np.array([len(item.codes) for item in examples], np.int64)
    if word_counts.min(initial=1) < 1 or frames.min(initial=1) < 1:
        raise ValueError("an utterance has no text or no frames")

    told_spans = np.where(told_counts > 0, told_counts + 3, 0)
    tags = 3 + ~auto + named
    prompt = told_spans + 3 + tags + 1 + np.where(in_steps, 0, word_counts + 1)
    lengths = prompt + 1 + frames
    kept = lengths <= longest
    starts = np.cumsum(lengths) - lengths
    total = int(lengths.sum())
    text, control, frame, target, guide = (np.full(total + 1, -1, np.int64) for _ in range(5))

    has = told_spans > 0
    text[starts[has]] = marks["<|im_start|>"]
    text[_spans(starts + 1, told_counts)] = told
    text[(starts + told_counts + 1)[has]] = marks["<|im_end|>"]
    text[(starts + told_counts + 2)[has]] = newline
    role = starts + told_spans
    text[role], text[role + 1], text[role + 2] = marks["<|im_start|>"], vocabulary.id_of("assistant"), newline
    at = role + 3
    text[_spans(at, tags)] = pad
    control[at], control[at + 1] = np.where(auto, ids.nothink, ids.think), ids.think_bos
    control[(at + 2)[~auto]] = np.array([ids.languages[item.language] for item in examples])[~auto]
    control[at + 2 + ~auto] = ids.think_eos
    speakers = np.array([ids.speakers[item.speaker] if item.speaker else 0 for item in examples])
    control[(at + 3 + ~auto)[named]] = speakers[named]
    at = at + tags
    text[at], control[at] = begin, ids.pad

    # Where frame 0 is predicted; in steps its text is the first token, otherwise all of the text lies before it.
    opening = starts + prompt
    whole = ~in_steps
    everything = np.where(whole, word_counts, 0)
    control[_spans(at + 1, everything)] = ids.pad
    text[(at + 1 + word_counts)[whole]], control[(at + 1 + word_counts)[whole]] = end, ids.pad
    text[_spans(opening, 1 + frames)] = pad
    control[opening] = ids.bos
    first_word = np.where(in_steps, opening, at + 1)
    limits = np.where(in_steps, np.minimum(word_counts, 1 + frames), word_counts)
    number = _ramp(word_counts)
    seen = number < np.repeat(limits, word_counts)
    text[(np.repeat(first_word, word_counts) + number)[seen]] = words[seen]
    ended = in_steps & (word_counts <= frames)
    text[(opening + word_counts)[ended]] = end

    count = np.repeat(frames, frames)
    index = _ramp(frames)
    before = np.repeat(opening, frames) + index
    codes = np.concatenate([item.codes for item in examples]) if examples else np.zeros((0, CODE_GROUPS), np.uint8)
    frame[before + 1] = np.arange(len(count))
    target[before] = codes[:, 0]
    target[opening + frames] = ids.eos
    token = _spoken_tokens(examples, vocabulary, words, word_counts, frames)
    known = ~np.repeat(in_steps, frames) | (token <= index)  # in steps a token may not have been read yet
    guide[before] = np.where(known, np.repeat(first_word - starts, frames) + token, -1)

    return Sequences(
        starts=starts[kept],
        lengths=lengths[kept],
        text=text.astype(np.int16),
        control=control.astype(np.int16),
        frame=frame.astype(np.int32),
        target=target.astype(np.int16),
        guide=guide.astype(np.int16),
        codes=codes,
        text_rows=text_rows(added),
        pad=pad,
        dropped=int((~kept).sum()),
    )


def _draw_choices(
    examples: Sequence[Example], choices: Choices, source: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Which utterances have their text in steps, no language, and a named speaker."""
    count = len(examples)
    in_steps = source.random(count) < choices.in_steps
    auto = source.random(count) < choices.automatic
    default = np.array([item.speaker == _DEFAULT_SPEAKER for item in examples], bool)
    share = choices.unnamed * count / max(1, int(default.sum()))
    unnamed = default & (source.random(count) < min(0.5, share))
    return in_steps, auto, np.array([item.speaker is not None for item in examples], bool) & ~unnamed


def _encode(texts: Sequence[str], vocabulary: Vocabulary) -> tuple[_Ints, _Ints]:
    """Ids of all texts end to end, and their numbers."""
    encoded = plain_tokenizer(vocabulary).encode_batch_fast(list(texts), add_special_tokens=False)
    counts = np.array([len(item) for item in encoded], np.int64)
    flat = np.fromiter(chain.from_iterable(item.ids for item in encoded), np.int64, int(counts.sum()))
    return flat, counts


def _ramp(counts: _Ints) -> _Ints:
    """0, 1, ... ``counts[i] - 1`` for each i, end to end."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


def _spans(first: _Ints, counts: _Ints) -> _Ints:
    """``first[i]``, ``first[i] + 1``, ... (``counts[i]`` of them) for each i, end to end."""
    return np.repeat(first, counts) + _ramp(counts)


def _spoken_tokens(
    examples: Sequence[Example], vocabulary: Vocabulary, words: _Ints, word_counts: _Ints, frames: _Ints
) -> _Ints:
    """For each frame, the token of its text that is spoken in the middle of it."""
    heads = np.array([_characters_begun(token) for token in vocabulary.tokens], np.int64)[words]
    characters = np.array([len(item.text) for item in examples], np.int64)
    begun = np.add.reduceat(heads, np.cumsum(word_counts) - word_counts) if len(words) else characters
    times = [len(item.times_s) for item in examples]
    if (begun != characters).any() or (characters != times).any():
        worst = examples[int(np.argmax((begun != characters) | (characters != times)))]
        raise ValueError(
            f"{worst.text!r} has {len(worst.text)} characters and {len(worst.times_s)} times; "
            "the text must be composed (NFC)"
        )
    token_of_character = np.repeat(_ramp(word_counts), heads)
    apart = 1e4  # no utterance is that long, so that one sorted array serves all
    clock = np.concatenate([item.times_s for item in examples]).astype(np.float64)
    keys = clock + apart * np.repeat(np.arange(len(examples)), characters)
    if (np.diff(keys) < 0).any():
        raise ValueError("the times of the characters of an utterance fall")
    middles = (_ramp(frames) + 0.5) * FRAME_S + apart * np.repeat(np.arange(len(examples)), frames)
    last = np.searchsorted(keys, middles, side="right") - 1
    return token_of_character[np.maximum(last, np.repeat(np.cumsum(characters) - characters, frames))]


def _characters_begun(token: str) -> int:
    """Characters whose first byte lies in a token. In the alphabet of byte-level tokenizers the continuation bytes
    0x80 to 0xBF are U+0122 to U+0143 (those that cannot be printed), and U+00A1 to U+00BF without U+00AD."""
    following = sum(
        0x0122 <= ord(symbol) <= 0x0143 or (0x00A1 <= ord(symbol) <= 0x00BF and symbol != "\u00ad") for symbol in token
    )
    return len(token) - following


@dataclass(frozen=True, eq=False)
class Plan:
    """Batches of one epoch.

    Attributes:
        starts: first position of each sequence in the flat arrays, -1 for an empty end of a row, int32
            ``[batches, segments]``.
        bounds: where they lie in the batch, int32 ``[batches, segments + 1]``.
        fill: share of the positions that hold something.
    """

    starts: NDArray[np.int32]
    bounds: NDArray[np.int32]
    fill: float

    def __len__(self) -> int:
        return len(self.starts)

    def first(self, count: int) -> Plan:
        """The first batches."""
        return Plan(self.starts[:count], self.bounds[:count], self.fill)


def segments_per_row(lengths: _Ints, row: int) -> int:
    """How many sequences a row may hold: more than most rows need, since a batch is planned for the most."""
    return max(4, round(1.6 * row / float(lengths.mean())) + 1)


def plan_epoch(
    sequences: Sequences, members: _Ints, *, rows: int, row: int, segments: int, source: np.random.Generator
) -> Plan:
    """Fill rows with sequences in random order: from a pool of thousands, the longest first, each into the fullest row
    that has room for it. What does not fill the last batch is left out.

    Args:
        members: numbers of the sequences.
        rows, row: rows of a batch, positions of a row.
        segments: see :func:`segments_per_row`.
    """
    order = source.permutation(members)
    filled: list[list[int]] = []
    while len(filled) < rows:  # few sequences are repeated until they fill a batch
        for first in range(0, len(order), _POOL):
            pool = order[first : first + _POOL]
            pool = pool[np.argsort(-sequences.lengths[pool], kind="stable")]
            filled += _fill_rows(pool.tolist(), sequences.lengths[pool].tolist(), row, segments)
    batches = len(filled) // rows
    chosen = source.permutation(len(filled))[: batches * rows]
    counts = np.array([len(filled[number]) for number in chosen])
    numbers = np.fromiter(chain.from_iterable(filled[number] for number in chosen), np.int64, int(counts.sum()))
    width = rows * (segments + 1)
    starts = np.full((batches, width), -1, np.int32)
    bounds = np.full((batches, width + 1), rows * row, np.int32)
    batch, place = np.divmod(np.repeat(np.arange(batches * rows), counts), rows)
    within = _ramp(counts)
    inner = np.cumsum(sequences.lengths[numbers]) - sequences.lengths[numbers]
    inner = inner - np.repeat(inner[np.cumsum(counts) - counts], counts)
    # Behind the sequences of a row comes one empty segment, up to the end of the row.
    used = (counts + 1).reshape(batches, rows)
    base = (np.cumsum(used, 1) - used).reshape(-1)
    at = np.repeat(base, counts) + within
    starts[batch, at] = sequences.starts[numbers]
    bounds[batch, at] = place * row + inner
    total = np.add.reduceat(sequences.lengths[numbers], np.cumsum(counts) - counts)
    number = np.arange(batches * rows)
    bounds[number // rows, base + counts] = number % rows * row + total
    return Plan(starts, bounds, float(total.sum() / (batches * rows * row)))


def _fill_rows(numbers: list[int], lengths: list[int], row: int, segments: int) -> list[list[int]]:
    """Best fit; bit ``n`` of ``rooms`` says that some row has room for exactly ``n`` more positions."""
    rows: list[list[int]] = []
    by_room: dict[int, list[list[int]]] = {}
    rooms = 0
    for number, length in zip(numbers, lengths, strict=True):
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            waiting = by_room[room]
            target = waiting.pop()
            if not waiting:
                rooms ^= 1 << room
        else:
            room, target = row, []
            rows.append(target)
        target.append(number)
        room -= length
        if len(target) < segments and room > 0:
            by_room.setdefault(room, []).append(target)
            rooms |= 1 << room
    return rows


class Batches:
    """Builds batches on the device from a plan that can be replaced in place.

    Args:
        flat: arrays of the sequences on the device, see :meth:`on_device`.
        plan: gives the number of batches; later plans are cut to it.
        rows, row: as the plan was made.
        frames: how many frames the predictor is trained on.
        flash: the form of attention.
        longest: positions of the longest sequence.
        noise: share of the frames that are read as another frame of the batch; 0 also makes the choice of the
            predictor's frames the same each time.
    """

    def __init__(
        self,
        flat: dict[str, Tensor],
        plan: Plan,
        *,
        rows: int,
        row: int,
        frames: int,
        flash: bool,
        longest: int,
        noise: float,
    ) -> None:
        self._flat = flat
        self._rows, self._row, self._frames = rows, row, frames
        self._flash, self._longest, self._noise = flash, longest, noise
        device = flat["text"].device
        self._starts = torch.from_numpy(plan.starts).to(device)
        self._bounds = torch.from_numpy(plan.bounds).to(device)
        self._slots = torch.arange(rows * row, dtype=torch.int32, device=device)

    @staticmethod
    def on_device(sequences: Sequences, device: torch.device) -> dict[str, Tensor]:
        """The flat arrays as tensors."""
        names = ("text", "control", "frame", "target", "guide", "codes")
        return {name: torch.from_numpy(getattr(sequences, name)).to(device) for name in names}

    def __len__(self) -> int:
        return len(self._starts)

    def replace_plan(self, plan: Plan) -> None:
        """Take the batches of another epoch. A plan with fewer batches leaves the last ones of the old one."""
        count = min(len(plan), len(self))
        starts, bounds = torch.from_numpy(plan.starts[:count]), torch.from_numpy(plan.bounds[:count])
        if self._starts.is_cuda:
            starts, bounds = starts.pin_memory(), bounds.pin_memory()
        self._starts[:count].copy_(starts, non_blocking=True)
        self._bounds[:count].copy_(bounds, non_blocking=True)

    def take(self, number: Tensor) -> Batch:
        """One batch, by its number (int64 ``[1]``); nothing here waits for the device."""
        flat, slots = self._flat, self._slots
        starts, bounds = self._starts.index_select(0, number)[0], self._bounds.index_select(0, number)[0]
        segment = torch.searchsorted(bounds, slots, right=True) - 1
        offset = bounds[segment]
        order = slots - offset
        first = starts[segment]
        at = torch.where(first >= 0, first + order, flat["text"].shape[0] - 1)
        frame = flat["frame"][at]
        is_frame = frame >= 0
        running = is_frame.cumsum(0)

        def picked(shares: Tensor) -> Tensor:
            """Positions of frames, from numbers below 1."""
            wanted = (shares * running[-1]).long().clamp(max=running[-1] - 1) + 1
            return torch.searchsorted(running, wanted).clamp(max=slots.shape[0] - 1)

        even = torch.arange(self._frames, device=slots.device)
        jitter = torch.rand(self._frames, device=slots.device) if self._noise else 0.5
        frame_at = picked((even + jitter) / self._frames)
        read = frame
        if self._noise:
            other = frame[picked(torch.rand(slots.shape[0], device=slots.device))]
            noisy = is_frame & (torch.rand(slots.shape[0], device=slots.device) < self._noise)
            read = torch.where(noisy, other, frame)
        codes = torch.where(is_frame[:, None], flat["codes"][read.clamp(min=0)].long(), -1)
        guide = flat["guide"][at].long()
        shape = (self._rows, self._row)
        layout = Layout(
            *shape,
            mask=None if self._flash else sequence_mask(segment.view(shape)),
            bounds=bounds,
            longest=self._longest,
        )
        return Batch(
            text=flat["text"][at].long(),
            control=flat["control"][at].long(),
            codes=codes,
            order=order,
            sequence=segment,
            target=flat["target"][at].long(),
            guide=torch.where(guide >= 0, (guide + offset) % self._row, -1),
            layout=layout,
            frame_at=(frame_at - 1).clamp(min=0),
            frame_codes=flat["codes"][frame[frame_at].clamp(min=0)].long(),
        )
