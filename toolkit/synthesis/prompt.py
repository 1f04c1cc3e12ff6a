"""From a request to the vectors that the talker reads: the prompt, and what is added while it speaks.

A prompt is a sum of two tracks, text and codec, one vector per position; the layouts of all official modes are here.
Each sum is one addition in the dtype of the model.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from toolkit.errors import UsageError
from toolkit.synthesis.config import CODE_GROUPS, Kind, ModelConfig
from toolkit.synthesis.talker import Talker
from toolkit.synthesis.tokenizer import TemplateIds, TextTokenizer
from toolkit.synthesis.transfer import host_integers, moved

__all__ = ["ClonedVoice", "Prompt", "PromptBatch", "PromptBuilder", "join_prompts"]

_KIND_WORDS: dict[Kind, str] = {
    "custom_voice": "speaks with built-in speakers",
    "voice_design": "designs a voice from a description",
    "base": "clones a voice from a recording",
}

_KEPT_BYTES = 4 * 2**20
"""Of vectors that later prompts need again: at the published width 100 instructions of ten tokens."""


@dataclass(frozen=True)
class ClonedVoice:
    """A voice taken from a recording.

    ``speaker`` is the speaker encoder's vector, ``[hidden]``. With ``codes`` (int64 ``[frames, 16]``) and a
    ``transcript`` the recording itself goes before the text (in-context cloning); else only the vector is used.
    """

    speaker: Tensor
    codes: Tensor | None = None
    transcript: str | None = None

    def __post_init__(self) -> None:
        if self.speaker.ndim != 1:
            raise UsageError(f"the speaker vector must have one axis, found shape {list(self.speaker.shape)}")
        if self.codes is None:
            return
        if self.codes.ndim != 2 or self.codes.shape[1] != CODE_GROUPS or self.codes.shape[0] == 0:
            raise UsageError(f"reference codes must be [frames, {CODE_GROUPS}], found {list(self.codes.shape)}")
        if not self.transcript:
            raise UsageError("in-context cloning needs the transcript of the recording; without it use the voice only")


@dataclass(frozen=True)
class Prompt:
    """One request, ready for the talker.

    ``rows`` are the vectors of the prompt, ``[positions, hidden]``; ``trail[k]`` is added to the embedding of frame
    ``k``, and ``pad`` (``[hidden]``) after the trail has ended. ``notes`` are sentences for the person who asked.
    """

    rows: Tensor
    trail: Tensor
    pad: Tensor
    ids: TemplateIds
    instruct_ids: tuple[int, ...] = ()
    reference_ids: TemplateIds | None = None
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class PromptBatch:
    """Prompts side by side. They are laid out when somebody asks for it: a backend may read each where it lies."""

    prompts: tuple[Prompt, ...]

    @property
    def size(self) -> int:
        """Number of prompts."""
        return len(self.prompts)

    @property
    def pad(self) -> Tensor:
        """What is added after a trail has ended, ``[hidden]``."""
        return self.prompts[0].pad

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Positions of each prompt."""
        return tuple(prompt.rows.shape[0] for prompt in self.prompts)

    @cached_property
    def padding(self) -> Tensor:
        """How many rows of zeros lie before each prompt, int64 ``[batch]``."""
        longest, device = max(self.lengths), self.pad.device
        return moved(host_integers([longest - length for length in self.lengths], device), device)

    @cached_property
    def rows(self) -> Tensor:
        """The vectors, ``[batch, positions, hidden]``, with zeros before the shorter prompts."""
        longest = max(self.lengths)
        rows = self.pad.new_zeros((self.size, longest, self.pad.shape[0]))
        for index, prompt in enumerate(self.prompts):
            rows[index, longest - self.lengths[index] :] = prompt.rows
        return rows

    @cached_property
    def trail(self) -> Tensor:
        """The trails, ``[batch, steps, hidden]``, filled up with the pad vector."""
        trail = self.pad.repeat(self.size, max(prompt.trail.shape[0] for prompt in self.prompts), 1)
        for index, prompt in enumerate(self.prompts):
            trail[index, : prompt.trail.shape[0]] = prompt.trail
        return trail


def join_prompts(prompts: Sequence[Prompt]) -> PromptBatch:
    """Lay prompts of any lengths side by side.

    Raises:
        UsageError: there is none.
    """
    if not prompts:
        raise UsageError("nothing to speak: the list of texts is empty")
    return PromptBatch(tuple(prompts))


class _Kept:
    """Vectors by what they are made of, within a number of bytes; the least recently used go first."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._found: OrderedDict[Hashable, Tensor] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = make()
            self._bytes += found.nbytes
            while self._bytes > self._most_bytes:
                self._bytes -= self._found.popitem(last=False)[1].nbytes
        else:
            self._found.move_to_end(key)
        return found


class PromptBuilder:
    """Builds the prompts of one model, by mode. A mode that the model was not made for is refused.

    ``parse_marks`` decides whether special tokens written inside a text are obeyed (as officially) or spoken. What does
    not depend on the text (instruction, role, language, speaker) is projected once and kept; the tokens of a text are
    one product, always of its own, so that its vectors do not depend on what was said before.
    """

    def __init__(self, talker: Talker, tokenizer: TextTokenizer, *, parse_marks: bool = True) -> None:
        self._talker = talker
        self._config: ModelConfig = talker.config
        self._tokenizer = tokenizer
        self._parse_marks = parse_marks
        ids, codec = self._config.text_ids, self._config.talker
        fixed = self._text((ids.tts_pad, ids.tts_bos, ids.tts_eos))
        self._pad, self._bos, self._eos = fixed[0:1], fixed[1:2], fixed[2:3]
        self._codec_pad, self._codec_bos = self._codec((codec.codec_pad,)), self._codec((codec.codec_bos,))
        self._opening = self._bos + self._codec_pad
        self._ending = torch.cat((self._eos + self._codec_pad, self._pad + self._codec_bos))
        self._kept = _Kept(_KEPT_BYTES)

    def custom_voice(
        self,
        text: str,
        speaker: str | None,
        *,
        language: str | None = None,
        instruct: str | None = None,
        non_streaming: bool = True,
    ) -> Prompt:
        """A built-in speaker; an empty speaker leaves the voice to the model.

        A speaker with a dialect speaks it when the language is Chinese or left open. A 0.6B model has no use for
        ``instruct``: the official code drops it, so it is dropped here, with a note.

        Raises:
            UsageError: another kind of model, no such speaker or language.
        """
        self._require("custom_voice")
        name = self._config.speaker(speaker) if speaker and speaker.strip() else None
        notes: tuple[str, ...] = ()
        if instruct and not self._config.instructs:
            notes = ("The 0.6B model takes no style instruction; it was left out. The 1.7B model follows one.",)
            instruct = None
        slot = None if name is None else self._config.speaker_ids[name]
        dialect = None if name is None else self._config.dialects.get(name)
        return self._assemble(text, language, dialect, slot, instruct, non_streaming, notes)

    def voice_design(
        self, text: str, instruct: str, *, language: str | None = None, non_streaming: bool = True
    ) -> Prompt:
        """A voice made from its description.

        Raises:
            UsageError: another kind of model, or no such language.
        """
        self._require("voice_design")
        return self._assemble(text, language, None, None, instruct, non_streaming, ())

    def voice_clone(
        self, text: str, voice: ClonedVoice, *, language: str | None = None, non_streaming: bool = False
    ) -> Prompt:
        """A voice from a recording, by its vector alone or in context.

        Raises:
            UsageError: another kind of model, no such language, or a voice of a model of another size.
        """
        self._require("base")
        talker = self._talker
        hidden = self._config.talker.decoder.hidden
        if voice.speaker.shape[0] != hidden:
            raise UsageError(
                f"the voice has {voice.speaker.shape[0]} numbers, this model needs {hidden}: "
                "it was made with a model of another size"
            )
        slot = moved(voice.speaker.detach().to(talker.dtype), talker.device)[None]
        if voice.codes is None:
            return self._assemble(text, language, None, slot, None, non_streaming, ())
        return self._in_context(text, voice, voice.codes, language, slot, non_streaming)

    def _assemble(
        self,
        text: str,
        language: str | None,
        dialect: str | None,
        slot: Tensor | int | None,
        instruct: str | None,
        non_streaming: bool,
        notes: tuple[str, ...],
    ) -> Prompt:
        ids = self._tokenizer.assistant(text, parse_marks=self._parse_marks)
        instruct_ids = self._tokenizer.instruct(instruct, parse_marks=self._parse_marks) if instruct else ()
        parts = self._prefix(ids, self._tags(language, dialect), slot)
        if instruct_ids:
            parts.insert(0, self._kept.get(("instruct", instruct_ids), lambda: self._text(instruct_ids)))
        if non_streaming:
            parts += [self._text(ids.text) + self._codec_pad, self._ending] if ids.text else [self._ending]
            trail = self._pad
        else:
            said = self._text((ids.first, *ids.text[1:]))
            parts.append(said[:1] + self._codec_bos)
            trail = torch.cat((said[1:], self._eos)) if len(said) > 1 else self._eos
        return Prompt(torch.cat(parts), trail, self._pad[0], ids, instruct_ids, notes=notes)

    def _in_context(
        self, text: str, voice: ClonedVoice, codes: Tensor, language: str | None, slot: Tensor, non_streaming: bool
    ) -> Prompt:
        ids = self._tokenizer.assistant(text, parse_marks=self._parse_marks)
        reference = self._tokenizer.reference(voice.transcript or "", parse_marks=self._parse_marks)
        words = torch.cat((self._text(reference.text + ids.text), self._eos))
        heard = torch.cat((self._codec_bos, self._frames(codes)))
        parts = self._prefix(ids, self._tags(language, None), slot)
        if non_streaming:
            parts += [words + self._codec_pad, heard + self._pad]
            trail = self._pad
        else:
            count = heard.shape[0]
            missing = max(0, count - words.shape[0])
            parts.append(torch.cat((words[:count], self._pad.expand(missing, -1))) + heard)
            trail = words[count:] if words.shape[0] > count else self._pad
        return Prompt(torch.cat(parts), trail, self._pad[0], ids, reference_ids=reference)

    def _prefix(self, ids: TemplateIds, tags: tuple[int, ...], slot: Tensor | int | None) -> list[Tensor]:
        """Role, language and speaker: the codec track runs beside pad vectors and ends beside the begin vector."""
        track = (*tags, slot) if isinstance(slot, int) else tags

        def make() -> Tensor:
            return torch.cat((self._text(ids.role), self._pad + self._codec(track)))

        lead = self._kept.get(("lead", ids.role, track), make)
        between = [self._pad + slot] if isinstance(slot, Tensor) else []
        return [lead, *between, self._opening]

    def _tags(self, language: str | None, dialect: str | None) -> tuple[int, ...]:
        codec, name = self._config.talker, self._config.language(language)
        if dialect is not None and name in ("auto", "chinese"):
            name = dialect
        if name == "auto":
            return (codec.codec_nothink, codec.codec_think_bos, codec.codec_think_eos)
        return (codec.codec_think, codec.codec_think_bos, self._config.language_ids[name], codec.codec_think_eos)

    def _frames(self, codes: Tensor) -> Tensor:
        size = min(self._config.codebook_size, self._config.predictor.vocab)
        # Where they lie, which is the host for a voice from a file: there nothing has to be waited for.
        if bool(((codes < 0) | (codes >= size)).any()):
            raise UsageError(f"reference codes must lie between 0 and {size - 1}")
        return self._talker.codes.frame_sum(moved(codes.to(torch.int64), self._talker.device))

    def _text(self, ids: Sequence[int]) -> Tensor:
        vectors: Tensor = self._talker.text(host_integers(ids, self._talker.text.table.device))
        return vectors

    def _codec(self, ids: Sequence[int]) -> Tensor:
        device = self._talker.device
        return self._talker.codes.rows(moved(host_integers(ids, device), device))

    def _require(self, kind: Kind) -> None:
        if self._config.kind != kind:
            raise UsageError(
                f"this model {_KIND_WORDS[self._config.kind]} ({self._config.kind}); "
                f"for a model that {_KIND_WORDS[kind]} take one of the kind {kind}"
            )
