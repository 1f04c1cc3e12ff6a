"""The way in: load a model, then speak, stream, clone and design with it."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any, Literal

from toolkit.errors import UsageError
from toolkit.synthesis.autocast import AutocastBackend
from toolkit.synthesis.config import Kind
from toolkit.synthesis.decoding import Backend
from toolkit.synthesis.fast.backend import FastBackend
from toolkit.synthesis.fast.kernel_shelf import Tuning
from toolkit.synthesis.fast.path import FAST, AskedPath
from toolkit.synthesis.hub import FoundModel, Source, find_model
from toolkit.synthesis.loading import LoadedModel, LoadOptions, load_model
from toolkit.synthesis.pocket_voice import POCKET_TEXT_LENGTH, is_pocket
from toolkit.synthesis.precision import Choice
from toolkit.synthesis.reference import APPENDED_SILENCE_S, ReferenceSource
from toolkit.synthesis.request_builder import RequestBuilder, SomeVoice
from toolkit.synthesis.result import SpeechResult, SpeechWarning
from toolkit.synthesis.sampling import DecodeSettings
from toolkit.synthesis.speaking import OnProgress, Pipeline, Request, SpeakOptions
from toolkit.synthesis.splitting import DEFAULT_MAX_TEXT_LENGTH, split_text
from toolkit.synthesis.streaming import CHUNK_FRAMES, SpeechStream
from toolkit.synthesis.text import Unsafe
from toolkit.synthesis.tokenizer import WordRule
from toolkit.synthesis.voices import Voice

__all__ = ["Speech", "load"]


def load(
    model: str | PathLike[str] | FoundModel,
    *,
    device: str = "auto",
    dtype: str = "auto",
    codec_dtype: str = "auto",
    text_embedding_on_cpu: bool | Literal["auto"] = "auto",
    audio_chunk_size: int = 300,
    max_text_length: int | None = None,
    enable_cleanup: bool = False,
    vram_limit: str | float | int | None = None,
    seed: int | None = None,
    revision: str | None = None,
    source: Source = "hf",
    offline_first: bool = True,
    word_rule: WordRule | Literal["official"] = "official",
    path: AskedPath = "auto",
    autocast: bool = False,
) -> Speech:
    """Load a Qwen3-TTS model of the 12 Hz family.

    Args:
        model: a folder, a repository such as ``Qwen/Qwen3-TTS-12Hz-1.7B-CustomVoice``, its end (``1.7B-Base``), or
            ``pocket``, the small voice that comes with the toolkit; or what
            :func:`toolkit.synthesis.drawn_model.drawn_model` makes, for measuring speed.
        device: "auto" (the first CUDA card, else the CPU), "cuda:1", "cpu".
        dtype: "auto" (BF16 where the card has it in hardware, else float32), "bfloat16", "float16", "float32".
        codec_dtype: "auto" (on a card from compute capability 8.0 on "tf32", else "float32"; "bfloat16" where that does
            not fit), "float32", "bfloat16", "tf32" (float32 whose factors are rounded to 10 bits of mantissa where
            matrices are multiplied: several times as fast).
        text_embedding_on_cpu: whether the text embedding table (622 MB) stays on the CPU; "auto": below 10 GB.
        audio_chunk_size: frames that the codec decodes at once; 128 for small cards. The sound does not depend on it.
        max_text_length: most characters of a part that is spoken in one go; None: 300, and 80 for the pocket voice,
            which has learnt nothing longer.
        enable_cleanup: give the allocator's cache back after each result. For cards that others use as well; it costs
            a few milliseconds a call.
        vram_limit: most memory that this process may take on the card, such as "6GB", 0.8 or "80%".
        seed: of every call that gives none; None draws a new one a call. Each result names its seed.
        revision: commit, tag or branch; the pinned commit unless given.
        source: "hf", or "modelscope" when its package is installed.
        offline_first: ask the hub only when the model is not on this machine.
        word_rule: how words are split; see docs/parity.md.
        path: "fast" (whole frames as CUDA graphs; on a CPU one by one, for tests), "plain" (operations one by one, with
            the draws of the official package), "auto" (fast on a card in BF16 or float32, else plain).
        autocast: run the talker inside ``torch.autocast``, for comparison only: on BF16 weights it only costs time.

    Raises:
        BadModelFolder: no such model, or damaged files.
        DownloadFailed: the hub cannot be reached.
        OutOfMemory: it would not fit, or did not.
        GpuUnavailable: a card was asked for and there is none.
        UsageError: an option that is none.
    """
    if max_text_length is None:
        max_text_length = POCKET_TEXT_LENGTH if is_pocket(model) else DEFAULT_MAX_TEXT_LENGTH
    split_text("", max_text_length)  # refuses a limit that is none before anything is loaded
    options = LoadOptions(
        device=device,
        dtype=dtype,
        codec_dtype=codec_dtype,
        text_embedding_on_cpu=text_embedding_on_cpu,
        audio_chunk_size=audio_chunk_size,
        max_text_length=max_text_length,
        vram_limit=vram_limit,
        word_rule=word_rule,
        path=_path_beside(autocast, path),
    )
    _seed_or_new(seed)
    found = find_model(model, revision=revision, source=source, offline_first=offline_first)
    loaded = load_model(found, options)
    speech = Speech(
        loaded,
        audio_chunk_size=audio_chunk_size,
        max_text_length=max_text_length,
        enable_cleanup=enable_cleanup,
        seed=seed,
        backend=_backend(loaded, autocast),
    )
    for note in loaded.notes:
        warnings.warn(note, SpeechWarning, stacklevel=2)
    return speech


class Speech:
    """A loaded model. Not for several threads at once: a card speaks one call after the other anyway.

    Common arguments of the methods that speak:

    * ``language``: "auto", or one of :attr:`languages`. A dialect comes with its speaker.
    * ``seed``: the same seed, call, device and versions give the same sound.
    * ``settings``: from :meth:`sampling`; the model's own unless given.
    * ``non_streaming_text``: the whole text in the prompt, or fed in step by step; another reading of the same text.
    * ``parallel_parts``: parts of a long text side by side instead of one after the other; faster, takes more memory.
      True: 8 at a time; or a number.
    * ``max_frames``: most frames (80 ms) of a part, in place of the cap that follows from the text.
    * ``official_chunking``: the codec starts afresh every 300 frames, as the official package does.
    * ``unsafe_text``: "refuse" or "escape" control characters and special tokens.
    * ``on_progress``: called with a :class:`~toolkit.synthesis.speaking.Progress` after each frame.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        audio_chunk_size: int = 300,
        max_text_length: int = DEFAULT_MAX_TEXT_LENGTH,
        enable_cleanup: bool = False,
        seed: int | None = None,
        backend: Backend[Any] | None = None,
    ) -> None:
        self.model = model
        self._requests = RequestBuilder(model, max_text_length)
        self._cleanup = enable_cleanup
        self._seed = seed
        self._backend = backend
        self._pipeline = Pipeline(model, audio_chunk_size, backend)

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """What could not be built or captured so far, a sentence each: since then speech is the same, but slower."""
        return self._pipeline.fallbacks

    @property
    def path(self) -> Choice:
        """How frames run, and why: "plain"; or the way of the fast path, "triton graph", "torch graph" or "eager"."""
        return self._backend.path if isinstance(self._backend, FastBackend) else self.model.path

    @property
    def tuning(self) -> Tuning | None:
        """Sizes of the fused kernels and where they come from; None where frames run without them."""
        return self._backend.tuning if isinstance(self._backend, FastBackend) else None

    @property
    def kind(self) -> Kind:
        """ "custom_voice", "voice_design" or "base"."""
        return self.model.config.kind

    @property
    def speakers(self) -> tuple[str, ...]:
        """Names for ``speaker``; in any case."""
        return self.model.config.speakers

    @property
    def languages(self) -> tuple[str, ...]:
        """Names for ``language``; in any case."""
        return self.model.config.languages

    def sampling(self, **changes: Any) -> DecodeSettings:
        """Settings of the model with changes: ``temperature``, ``top_k``, ``top_p``, ``repetition_penalty``,
        ``do_sample``, the same with ``subtalker_`` before, ``max_new_tokens``. ``.greedy()`` on it draws nothing.

        Raises:
            UsageError: a value that is no setting.
        """
        return DecodeSettings.of(self.model.config.generation, **changes)

    def speak(
        self,
        text: str,
        *,
        speaker: str | None = None,
        language: str | None = "auto",
        instruct: str | None = None,
        seed: int | None = None,
        settings: DecodeSettings | None = None,
        non_streaming_text: bool = True,
        parallel_parts: bool | int = False,
        max_frames: int | None = None,
        official_chunking: bool = False,
        unsafe_text: Unsafe = "refuse",
        on_progress: OnProgress | None = None,
    ) -> SpeechResult:
        """Speak with one of the model's own speakers (custom voice models).

        Args:
            text: at most 50,000 characters.
            speaker: one of :attr:`speakers`; None leaves the voice to the model.
            instruct: how to speak, for 1.7B models ("in a whisper"); a 0.6B model gets a warning.

        Raises:
            BadText: empty, nothing to speak in it, too long, or with characters of a template.
            UsageError: no such speaker or language, or a model of another kind.
            OutOfMemory: also after halving.
        """
        maker, notes = self._requests.own_voice(speaker, language, instruct, non_streaming_text, unsafe_text)
        request = self._requests.request(text, maker, unsafe_text, notes=notes)
        options = self._options(seed, settings, max_frames, parallel_parts, official_chunking, on_progress)
        return self._run([request], options)[0]

    def design(
        self,
        text: str,
        instruct: str,
        *,
        language: str | None = "auto",
        seed: int | None = None,
        settings: DecodeSettings | None = None,
        non_streaming_text: bool = True,
        parallel_parts: bool | int = False,
        max_frames: int | None = None,
        official_chunking: bool = False,
        unsafe_text: Unsafe = "refuse",
        on_progress: OnProgress | None = None,
    ) -> SpeechResult:
        """Speak with a voice made from its description (voice design models).

        Each part of a long text designs the voice anew; for one voice through many texts, design a sentence, take the
        result as ``reference`` of :meth:`clone` of a base model.

        Raises:
            BadText: as :meth:`speak`, for the text and for the description.
            UsageError: no such language, or a model of another kind.
            OutOfMemory: also after halving.
        """
        maker = self._requests.designed_voice(instruct, language, non_streaming_text, unsafe_text)
        request = self._requests.request(text, maker, unsafe_text)
        options = self._options(seed, settings, max_frames, parallel_parts, official_chunking, on_progress)
        return self._run([request], options)[0]

    def clone(
        self,
        text: str,
        reference: ReferenceSource | None = None,
        *,
        voice: SomeVoice | None = None,
        ref_text: str | None = None,
        x_vector_only: bool = False,
        append_silence_s: float = APPENDED_SILENCE_S,
        language: str | None = "auto",
        seed: int | None = None,
        settings: DecodeSettings | None = None,
        non_streaming_text: bool = False,
        parallel_parts: bool | int = False,
        max_frames: int | None = None,
        official_chunking: bool = False,
        unsafe_text: Unsafe = "refuse",
        on_progress: OnProgress | None = None,
    ) -> SpeechResult:
        """Speak with the voice of a recording (base models).

        Args:
            text: at most 50,000 characters.
            reference: the recording, 3 to 30 s of clear speech.
            voice: from :meth:`make_voice`, or a file of a saved one, in place of ``reference``.
            ref_text: what the recording says, word for word; needed for in-context cloning, which is closest.
            x_vector_only: take the voice's vector alone; no ``ref_text`` needed.
            append_silence_s: seconds of silence behind the recording, so that its end does not leak into the speech.

        Raises:
            BadAudio: the recording cannot serve.
            BadVoice: a saved voice is damaged, or of a model of another size.
            BadText: as :meth:`speak`, for the text and for ``ref_text``.
            UsageError: no ``ref_text``, no such language, or a model of another kind.
            OutOfMemory: also after halving.
        """
        if reference is not None and voice is None:
            taken, notes = self._requests.take_voice(
                "unsaved", reference, ref_text, x_vector_only, append_silence_s, unsafe_text
            )
        elif voice is None or reference is not None:
            raise UsageError("clone() needs a reference recording or a voice, one of them")
        elif ref_text is not None:
            raise UsageError("a voice carries its own ref_text; leave it out")
        else:
            taken, notes = self._requests.saved_voice(voice, x_vector_only), ()
        maker = self._requests.cloned_voice(taken, language, non_streaming_text)
        request = self._requests.request(text, maker, unsafe_text, taken.cloned.codes, notes)
        options = self._options(seed, settings, max_frames, parallel_parts, official_chunking, on_progress)
        return self._run([request], options)[0]

    def make_voice(
        self,
        name: str,
        reference: ReferenceSource,
        *,
        ref_text: str | None = None,
        x_vector_only: bool = False,
        append_silence_s: float = APPENDED_SILENCE_S,
    ) -> Voice:
        """Take a voice from a recording once, to speak with it often; keep it with
        :func:`toolkit.synthesis.voices.save_voice`. Arguments and errors as for :meth:`clone`.
        """
        taken, notes = self._requests.take_voice(name, reference, ref_text, x_vector_only, append_silence_s, "refuse")
        for note in notes:
            warnings.warn(note, SpeechWarning, stacklevel=2)
        return taken

    def speak_many(
        self,
        texts: Iterable[str],
        *,
        speaker: str | list[str | None] | None = None,
        voice: SomeVoice | list[SomeVoice | None] | None = None,
        language: str | list[str | None] | None = "auto",
        instruct: str | list[str | None] | None = None,
        batch: int = 8,
        seed: int | None = None,
        settings: DecodeSettings | None = None,
        non_streaming_text: bool | None = None,
        max_frames: int | None = None,
        official_chunking: bool = False,
        unsafe_text: Unsafe = "refuse",
        on_progress: OnProgress | None = None,
    ) -> list[SpeechResult]:
        """Speak several texts, ``batch`` parts side by side, with what the model's kind takes: ``speaker`` and
        ``instruct``, ``instruct`` alone, or ``voice``. Each may be one for all, or one a text.

        Raises:
            UsageError: lists of another length than the texts; and all that the single methods raise.
        """
        wanted = list(texts)
        if not wanted:
            raise UsageError("nothing to speak: the list of texts is empty")
        count = len(wanted)
        rows = zip(
            wanted,
            _each(speaker, count, "speaker"),
            _each(voice, count, "voice"),
            _each(language, count, "language"),
            _each(instruct, count, "instruct"),
            strict=True,
        )
        whole = non_streaming_text if non_streaming_text is not None else self.kind != "base"
        requests = [self._requests.any_voice(*row, whole, unsafe_text) for row in rows]
        options = self._options(seed, settings, max_frames, batch, official_chunking, on_progress)
        return self._run(requests, options)

    def stream(
        self,
        text: str,
        *,
        speaker: str | None = None,
        voice: SomeVoice | None = None,
        language: str | None = "auto",
        instruct: str | None = None,
        seed: int | None = None,
        settings: DecodeSettings | None = None,
        chunk_frames: Sequence[int] = CHUNK_FRAMES,
        non_streaming_text: bool | None = None,
        max_frames: int | None = None,
        unsafe_text: Unsafe = "refuse",
        on_progress: OnProgress | None = None,
    ) -> SpeechStream:
        """Speak in pieces, each handed out as soon as it is made; takes texts of any length in constant memory.

        The model's kind decides what is taken, as for :meth:`speak_many`. ``chunk_frames`` are the frames of the
        pieces; the last number stands for all that follow.

        Raises:
            UsageError: see the single methods; before the first piece is made.
        """
        whole = non_streaming_text if non_streaming_text is not None else self.kind != "base"
        request = self._requests.any_voice(text, speaker, voice, language, instruct, whole, unsafe_text, bounded=False)
        options = self._options(seed, settings, max_frames, False, False, on_progress)
        return SpeechStream(self._pipeline, request, options, chunk_frames)

    def __repr__(self) -> str:
        model = self.model
        return f"Speech({model.name!r}, {self.kind}, {model.dtype.value} on {model.device})"

    def _options(
        self,
        seed: int | None,
        settings: DecodeSettings | None,
        max_frames: int | None,
        batch: bool | int,
        official_chunking: bool,
        on_progress: OnProgress | None,
    ) -> SpeakOptions:
        rows = 8 if batch is True else 1 if batch is False else batch
        return SpeakOptions(
            settings=settings or self.sampling(),
            seed=_seed_or_new(self._seed if seed is None else seed),
            max_frames=max_frames,
            batch=rows,
            official_chunking=official_chunking,
            on_progress=on_progress,
        )

    def _run(self, requests: Sequence[Request], options: SpeakOptions) -> list[SpeechResult]:
        try:
            return self._pipeline.say(requests, options)
        finally:
            # Here the results lie on the CPU and nothing refers to the tensors of the run any more; earlier, the
            # allocator would have nothing to give back.
            if self._cleanup:
                self.model.memory.release()


def _path_beside(autocast: bool, path: AskedPath) -> AskedPath:
    if not autocast:
        return path
    if path == FAST:
        raise UsageError("autocast compares with the plain path; leave one of autocast=True and path='fast' out")
    return "plain"


def _backend(model: LoadedModel, autocast: bool) -> Backend[Any] | None:
    if autocast:
        return AutocastBackend(model.talker)
    return FastBackend(model.talker) if model.path.value == FAST else None


def _seed_or_new(seed: int | None) -> int:
    if seed is None:
        return secrets.randbelow(2**31)  # short enough to be read out
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise UsageError(f"seed must be a whole number from 0 to 2**63 - 1, not {seed!r}")
    return seed


def _each(value: object, count: int, name: str) -> list[Any]:
    if isinstance(value, list):
        if len(value) != count:
            raise UsageError(f"{name} has {len(value)} entries for {count} texts; give one for all, or one a text")
        return list(value)
    return [value] * count
