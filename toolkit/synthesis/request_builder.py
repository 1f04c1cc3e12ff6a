"""From the arguments of a call to requests: what the model's kind takes, texts cleaned and divided, voices taken."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from os import PathLike

import torch

from toolkit.errors import BadText, UsageError
from toolkit.synthesis.config import Kind
from toolkit.synthesis.limits import check_length
from toolkit.synthesis.loading import LoadedModel
from toolkit.synthesis.prompt import ClonedVoice, Prompt
from toolkit.synthesis.reference import ReferenceSource, read_reference
from toolkit.synthesis.result import SpeechWarning
from toolkit.synthesis.speaking import Request
from toolkit.synthesis.splitting import split_text
from toolkit.synthesis.text import Unsafe, clean_text
from toolkit.synthesis.voices import Voice, load_voice

__all__ = ["MakePrompt", "RequestBuilder", "SomeVoice"]

MakePrompt = Callable[[str], Prompt]
SomeVoice = Voice | str | PathLike[str]
"""A voice, or the file of a saved one."""

_MODES: dict[Kind, tuple[str, str]] = {
    "custom_voice": ("speak", "Qwen/Qwen3-TTS-12Hz-{size}-CustomVoice"),
    "voice_design": ("design", "Qwen/Qwen3-TTS-12Hz-1.7B-VoiceDesign"),  # published in this size only
    "base": ("clone", "Qwen/Qwen3-TTS-12Hz-{size}-Base"),
}
_NO_INSTRUCTION = "The 0.6B model takes no style instruction; it was left out. The 1.7B model follows one."


class RequestBuilder:
    """Makes requests for one model; everything that a call can get wrong is found here, before the network runs."""

    def __init__(self, model: LoadedModel, max_text_length: int) -> None:
        self._model = model
        self._config = model.config
        self._max_text_length = max_text_length

    def any_voice(
        self,
        text: str,
        speaker: str | None,
        voice: SomeVoice | None,
        language: str | None,
        instruct: str | None,
        whole_text: bool,
        unsafe: Unsafe,
        *,
        bounded: bool = True,
    ) -> Request:
        """What the model's own kind makes of the arguments; one that it cannot take is refused."""
        if self._config.kind == "base":
            _refuse_extra(self._config.kind, speaker=speaker, instruct=instruct)
            if voice is None:
                raise UsageError("a base model needs voice=, from make_voice() or a file of a saved voice")
            taken = self.saved_voice(voice, vector_only=False)
            maker = self.cloned_voice(taken, language, whole_text)
            return self.request(text, maker, unsafe, taken.cloned.codes, bounded=bounded)
        if self._config.kind == "voice_design":
            _refuse_extra(self._config.kind, speaker=speaker, voice=voice)
            maker = self.designed_voice(instruct, language, whole_text, unsafe)
            return self.request(text, maker, unsafe, bounded=bounded)
        _refuse_extra(self._config.kind, voice=voice)
        maker, notes = self.own_voice(speaker, language, instruct, whole_text, unsafe)
        return self.request(text, maker, unsafe, notes=notes, bounded=bounded)

    def own_voice(
        self, speaker: str | None, language: str | None, instruct: str | None, whole_text: bool, unsafe: Unsafe
    ) -> tuple[MakePrompt, tuple[str, ...]]:
        """Maker of prompts for one of the model's own speakers, and notes.

        Raises:
            UsageError: another kind of model, no such speaker or language.
            BadText: an instruction that cannot be read.
        """
        self._require("custom_voice")
        config = self._config
        config.language(language)
        if speaker is not None:
            config.speaker(speaker)
        notes: tuple[str, ...] = ()
        style = clean_text(instruct, unsafe=unsafe) if instruct and instruct.strip() else None
        if style and not config.instructs:
            warnings.warn(_NO_INSTRUCTION, SpeechWarning, stacklevel=4)
            style, notes = None, (_NO_INSTRUCTION,)

        def make(text: str) -> Prompt:
            return self._model.prompts.custom_voice(
                text, speaker, language=language, instruct=style, non_streaming=whole_text
            )

        return make, notes

    def designed_voice(
        self, instruct: str | None, language: str | None, whole_text: bool, unsafe: Unsafe
    ) -> MakePrompt:
        """Maker of prompts for a voice made from its description.

        Raises:
            UsageError: another kind of model, or no such language.
            BadText: no description, or one that cannot be read.
        """
        self._require("voice_design")
        self._config.language(language)
        if not instruct or not instruct.strip():
            raise BadText("voice design needs instruct: a description of the voice, such as 'a calm old man'")
        style = clean_text(instruct, unsafe=unsafe)

        def make(text: str) -> Prompt:
            return self._model.prompts.voice_design(text, style, language=language, non_streaming=whole_text)

        return make

    def cloned_voice(self, voice: Voice, language: str | None, whole_text: bool) -> MakePrompt:
        """Maker of prompts for a voice from a recording.

        Raises:
            UsageError: another kind of model, or no such language.
            BadVoice: a voice of a model of another size.
        """
        self._require("base")
        self._config.language(language)
        voice.check_model(self._config)

        def make(text: str) -> Prompt:
            return self._model.prompts.voice_clone(text, voice.cloned, language=language, non_streaming=whole_text)

        return make

    def saved_voice(self, voice: SomeVoice, vector_only: bool) -> Voice:
        """A voice, read from its file if it is a path.

        Raises:
            UsageError: another kind of model.
            BadVoice: a damaged file.
        """
        self._require("base")
        found = voice if isinstance(voice, Voice) else load_voice(os.fspath(voice))
        return found.vector_only() if vector_only else found

    @torch.inference_mode()
    def take_voice(
        self,
        name: str,
        reference: ReferenceSource,
        ref_text: str | None,
        x_vector_only: bool,
        append_silence_s: float,
        unsafe: Unsafe,
    ) -> tuple[Voice, tuple[str, ...]]:
        """Take a voice from a recording, with notes about the recording.

        Raises:
            UsageError: another kind of model, or no transcript for in-context cloning.
            BadAudio: a recording that cannot serve.
            BadText: a transcript that cannot be read.
        """
        self._require("base")
        if not x_vector_only and not (ref_text and ref_text.strip()):
            raise UsageError(
                "in-context cloning needs ref_text, what the recording says word for word; "
                "without it give x_vector_only=True, which takes the voice's vector alone"
            )
        transcript = None if x_vector_only or ref_text is None else clean_text(ref_text, unsafe=unsafe)
        heard = read_reference(reference, append_silence_s=append_silence_s)
        wave = torch.from_numpy(heard.samples)[None]
        speaker = self._model.speaker_encoder.embed(wave)[0].float().cpu()
        codes = None if transcript is None else self._model.codec_encoder.encode(wave)[0].T.contiguous().cpu()
        cloned = ClonedVoice(speaker.clone(), codes, transcript)
        return Voice(name, cloned, self._config.size, heard.sha256, heard.seconds), heard.notes

    def request(
        self,
        text: str,
        make: MakePrompt,
        unsafe: Unsafe,
        codes: torch.Tensor | None = None,
        notes: tuple[str, ...] = (),
        *,
        bounded: bool = True,
    ) -> Request:
        """A request: the text cleaned, measured and divided.

        Raises:
            BadText: it cannot be spoken, or is too long for one result (if ``bounded``).
        """
        cleaned = clean_text(text, unsafe=unsafe)
        if bounded:
            check_length(cleaned)
        return Request(cleaned, split_text(cleaned, self._max_text_length), make, codes, notes)

    def _require(self, kind: Kind) -> None:
        if self._config.kind == kind:
            return
        size = "0.6B" if self._config.size == "0b6" else "1.7B"
        method, repository = _MODES[kind]
        raise UsageError(
            f"{method}() needs a model of the kind {kind}, {self._model.name} is a {self._config.kind} model: use "
            f"{_MODES[self._config.kind][0]}() with it, or load {repository.format(size=size)}"
        )


def _refuse_extra(kind: Kind, **given: object) -> None:
    extra = [name for name, value in given.items() if value is not None]
    if extra:
        raise UsageError(f"a {kind} model takes no {' and no '.join(extra)}; leave it out, or load another model")
