"""``qwen-audio speak``: text from the command line, a file or a pipe to one file, or one file a line."""

from __future__ import annotations

import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from toolkit.cli.configured import configured
from toolkit.cli.output import JsonOption, PathOption, json_text, note
from toolkit.cli.speech_tasks import Task, read_text, tasks_of
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from toolkit.synthesis.fast.path import AskedPath
    from toolkit.synthesis.reference import ReferenceSource
    from toolkit.synthesis.result import SpeechReport
    from toolkit.synthesis.speaker import Speech
    from toolkit.synthesis.speaking import OnProgress
    from toolkit.synthesis.speech_config import SpeechConfig
    from toolkit.synthesis.voices import Voice

__all__ = ["speak"]

_TINY_BYTES = 2**29
_CALL = ("model", "speaker", "language")


def speak(
    context: typer.Context,
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="What to say. Without it: --file, or standard input.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Folder, repository, or its end, such as 1.7B-CustomVoice; "
            "pocket, the small voice that comes with the toolkit.",
        ),
    ] = "pocket",
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="A config.yaml, as `qwen-audio tune chunks` writes it; options of the command line win over it.",
        ),
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="Read the text from a file; - is standard input.")
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="File (.wav, .flac, .ogg); a folder (ending in /) for one file a line, named by line numbers; "
            "- with --stream for raw 16-bit samples on standard output.",
        ),
    ] = "speech.wav",
    speaker: Annotated[str | None, typer.Option("--speaker", help="Speaker of a custom voice model.")] = None,
    language: Annotated[str, typer.Option("--language", help="Language, or auto.")] = "auto",
    instruct: Annotated[
        str | None, typer.Option("--instruct", metavar="TEXT", help="How to speak, or the voice to design.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option("--reference", metavar="WAV", help="Recording of the voice to clone (base models).")
    ] = None,
    ref_text: Annotated[
        str | None, typer.Option("--ref-text", metavar="TEXT", help="What the recording says, word for word.")
    ] = None,
    x_vector_only: Annotated[
        bool, typer.Option("--x-vector-only", help="Clone by the voice's vector alone, without --ref-text.")
    ] = False,
    voice: Annotated[
        Path | None, typer.Option("--voice", metavar="FILE", help="Saved voice, in place of --reference.")
    ] = None,
    save_voice: Annotated[
        Path | None,
        typer.Option("--save-voice", metavar="FILE", help="Keep the cloned voice as NAME.voice.safetensors."),
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Write while speaking; for long texts.")] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Makes the result reproducible.")] = None,
    greedy: Annotated[bool, typer.Option("--greedy", help="No drawing; mostly for comparisons.")] = False,
    temperature: Annotated[float | None, typer.Option("--temperature", help="The model's own unless given.")] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="auto, bfloat16, float32, float16.")] = "auto",
    codec_dtype: Annotated[
        str,
        typer.Option(
            "--codec-dtype", help="auto, float32, bfloat16; tf32: faster on a card, rounds inside of products alone."
        ),
    ] = "auto",
    device: Annotated[str, typer.Option("--device", help="auto, cuda, cuda:1, cpu.")] = "auto",
    path: PathOption = "auto",
    audio_chunk_size: Annotated[
        int, typer.Option("--audio-chunk-size", metavar="FRAMES", help="Frames decoded at once; 128 for small cards.")
    ] = 300,
    max_text_length: Annotated[
        int | None,
        typer.Option(
            "--max-text-length", metavar="N", help="Characters of a part spoken in one go: 300, for pocket 80."
        ),
    ] = None,
    parallel_parts: Annotated[
        bool,
        typer.Option(
            "--parallel-parts/--no-parallel-parts", help="Speak the parts of a long text side by side, 8 at a time."
        ),
    ] = False,
    enable_cleanup: Annotated[
        bool,
        typer.Option("--enable-cleanup/--no-enable-cleanup", help="Give cached card memory back after each result."),
    ] = False,
    vram_limit: Annotated[
        str | None, typer.Option("--vram-limit", metavar="SIZE", help="Most card memory to take: 6GB, 80%.")
    ] = None,
    escape: Annotated[
        bool, typer.Option("--escape", help="Speak special tokens in the text instead of refusing them.")
    ] = False,
    sidecar: Annotated[bool, typer.Option("--sidecar", help="Also write OUT.json.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="With a folder: leave finished files as they are, go on after them.")
    ] = False,
    audio_format: Annotated[str, typer.Option("--format", help="With a folder: wav, flac or ogg.")] = "wav",
    revision: Annotated[str | None, typer.Option("--revision", help="Another revision than the pinned one.")] = None,
    source: Annotated[str, typer.Option("--source", help="hf, or modelscope.")] = "hf",
    as_json: JsonOption = False,
) -> None:
    """Speak with a Qwen3-TTS model.

    A file appears whole or not at all; after Ctrl-C the finished ones stay.
    """
    given = {
        "model": model,
        "device": device,
        "dtype": dtype,
        "codec_dtype": codec_dtype,
        "audio_chunk_size": audio_chunk_size,
        "max_text_length": max_text_length,
        "speaker": speaker,
        "language": language,
        "vram_limit": vram_limit,
        "enable_cleanup": enable_cleanup,
    }
    values, settings_file = configured(context, config, given)
    model, language = str(values["model"]), str(values["language"])
    speaker = cast("str | None", values["speaker"])
    if output == "-" and (not stream or as_json):
        raise UsageError("-o - goes with --stream and without --json")
    if stream and (sidecar or parallel_parts):
        raise UsageError("--stream goes without --sidecar and without --parallel-parts")
    if (save_voice is not None and reference is None) or (voice is not None and reference is not None):
        raise UsageError("give --reference (then --save-voice keeps its voice), or --voice, not both")
    unsafe: Literal["refuse", "escape"] = "escape" if escape else "refuse"
    tasks = tasks_of(
        read_text(text, file),
        output,
        audio_format=audio_format,
        overwrite=overwrite,
        skip_existing=skip_existing,
        unsafe=unsafe,
        bounded=not stream,
    )
    if not tasks:
        note("every line has its file already")
    from toolkit.synthesis.fast.path import check_path
    from toolkit.synthesis.pocket_voice import POCKET_NOTE, POCKET_SPEAKER, is_pocket
    from toolkit.synthesis.result import SpeechWarning
    from toolkit.synthesis.speaker import load

    if is_pocket(model) and speaker is None and voice is None and reference is None:
        speaker = POCKET_SPEAKER
    hub = cast("Literal['hf', 'modelscope']", source)
    check_path(path)
    _check_names(model, revision, hub, speaker, language)
    if is_pocket(model) and not as_json:
        note(POCKET_NOTE)
    with warnings.catch_warnings():
        # Each of them is a note of the model, the voice or the result, and shown as such.
        warnings.simplefilter("ignore", SpeechWarning)
        speech = load(
            model,
            path=cast("AskedPath", path),
            text_embedding_on_cpu="auto" if settings_file is None else settings_file.text_embedding_on_cpu,
            **{name: value for name, value in values.items() if name not in _CALL},  # type: ignore[arg-type]
            revision=revision,
            source=hub,
        )
        _use_one_thread_for_tiny(speech)
        notes = speech.model.notes
        for told in notes:
            note(told)
        sampling = speech.sampling(temperature=temperature, subtalker_temperature=temperature)
        speaking = _Speaking(
            speech=speech,
            speaker=speaker,
            language=language,
            instruct=instruct,
            voice=_voice_of(speech, reference, voice, ref_text, x_vector_only, save_voice, overwrite),
            common={
                "seed": seed,
                "settings": sampling.greedy() if greedy else sampling,
                "unsafe_text": unsafe,
            },
            parallel_parts=_rows(context, parallel_parts, settings_file),
            chunk_frames=None if settings_file is None else tuple(settings_file.chunk_frames),
        )
        rows = []
        for task in tasks:
            report = speaking.stream(task, overwrite) if stream else speaking.speak(task, overwrite, sidecar)
            rows.append({"file": str(task.path), "line": task.line, **report.to_json()})
            if not as_json:
                _tell(task, report, speech.path.value)
    if as_json:
        way = asdict(speech.path)
        print(json_text({"schema": 1, "kind": "speech", "path": way, "notes": list(notes), "files": rows}))


def _check_names(
    model: str, revision: str | None, source: Literal["hf", "modelscope"], speaker: str | None, language: str
) -> None:
    """A misspelt name is told before gigabytes are loaded."""
    from toolkit.synthesis.config import ModelConfig
    from toolkit.synthesis.hub import find_model

    config = ModelConfig.read(find_model(model, revision=revision, source=source).folder)
    config.language(language)
    if speaker is not None and config.kind == "custom_voice":
        config.speaker(speaker)


class _Speaking:
    """Speaks one task after the other with the same settings."""

    def __init__(
        self,
        *,
        speech: Speech,
        speaker: str | None,
        language: str,
        instruct: str | None,
        voice: Voice | None,
        common: dict[str, object],
        parallel_parts: bool | int,
        chunk_frames: tuple[int, ...] | None,
    ) -> None:
        self._speech = speech
        self._speaker = speaker
        self._language = language
        self._instruct = instruct
        self._voice = voice
        self._common = common
        self._parallel = parallel_parts
        self._pieces = chunk_frames

    def speak(self, task: Task, overwrite: bool, sidecar: bool) -> SpeechReport:
        speech, voice, style = self._speech, self._voice, self._instruct
        with _progress(task) as bar:
            options: dict[str, object] = {
                **self._common,
                "language": self._language,
                "parallel_parts": self._parallel,
                "on_progress": bar,
            }
            if voice is not None or (speech.kind == "base" and self._speaker is None):
                if style is not None:
                    raise UsageError("a base model takes no --instruct; leave it out")
                result = speech.clone(task.text, voice=voice, **options)  # type: ignore[arg-type]
            elif speech.kind == "voice_design" and self._speaker is None:
                result = speech.design(task.text, style or "", **options)  # type: ignore[arg-type]
            else:
                result = speech.speak(
                    task.text,
                    speaker=self._speaker,
                    instruct=style,
                    **options,  # type: ignore[arg-type]
                )
        result.save(task.path, sidecar=sidecar, overwrite=overwrite)
        return result

    def stream(self, task: Task, overwrite: bool) -> SpeechReport:
        from toolkit.synthesis.audio_file import AudioFile
        from toolkit.synthesis.codec_config import SAMPLE_RATE_HZ
        from toolkit.synthesis.streaming import CHUNK_FRAMES

        with _progress(task) as bar:
            pieces = self._speech.stream(
                task.text,
                speaker=self._speaker,
                voice=self._voice,
                language=self._language,
                instruct=self._instruct,
                on_progress=bar,
                chunk_frames=self._pieces or CHUNK_FRAMES,
                **self._common,  # type: ignore[arg-type]
            )
            if task.path == Path("-"):
                for samples, _ in pieces:
                    sys.stdout.buffer.write((samples * 32767).astype("<i2").tobytes())
                    sys.stdout.buffer.flush()
            else:
                with AudioFile(task.path, SAMPLE_RATE_HZ, overwrite=overwrite) as file:
                    for samples, _ in pieces:
                        file.append(samples)
        assert pieces.report is not None  # noqa: S101 - for the type checker; there after the last piece
        return pieces.report


def _rows(context: typer.Context, parallel_parts: bool, file: SpeechConfig | None) -> bool | int:
    """Parts side by side: as the command line says, else as the file does."""
    source = context.get_parameter_source("parallel_parts")
    if file is None or (source is not None and source.name == "COMMANDLINE"):
        return parallel_parts
    return file.batch if file.batch > 1 else False


def _use_one_thread_for_tiny(speech: Speech) -> None:
    """Products of the pocket voice and of demo models are over sooner than a second thread is awake; where other
    programs keep the cores busy, waiting for it costs ten-fold and more."""
    import torch

    if speech.model.device.type == "cpu" and speech.model.plan.total_bytes < _TINY_BYTES:
        torch.set_num_threads(1)


def _voice_of(
    speech: Speech,
    reference: ReferenceSource | None,
    saved: Path | None,
    ref_text: str | None,
    x_vector_only: bool,
    keep: Path | None,
    overwrite: bool,
) -> Voice | None:
    """The voice to clone: read, or taken from the recording once for all lines."""
    from toolkit.synthesis.voices import VOICE_SUFFIX, load_voice
    from toolkit.synthesis.voices import save_voice as write_voice

    if saved is not None:
        if ref_text is not None:
            raise UsageError("a saved voice carries its own text; leave --ref-text out")
        found = load_voice(saved)
        return found.vector_only() if x_vector_only else found
    if reference is None:
        return None
    name = "unsaved" if keep is None or keep.is_dir() else keep.name.removesuffix(VOICE_SUFFIX)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        voice = speech.make_voice(name, reference, ref_text=ref_text, x_vector_only=x_vector_only)
    for warning in told:
        note(str(warning.message))
    if keep is not None:
        note(f"saved {write_voice(voice, keep, overwrite=overwrite)}")
    return voice


def _tell(task: Task, report: SpeechReport, way: str) -> None:
    told = note if task.path == Path("-") else print
    where = "spoke" if task.path == Path("-") else f"wrote {task.path}:"
    told(
        f"{where} {report.seconds:.2f} s, {report.x_real_time:.2f} x real time, "
        f"first audio after {report.first_audio_s:.2f} s, seed {report.seed}, {report.dtype.value} on {report.device}, "
        f"path: {way}"
    )
    for sentence in report.notes:
        note(sentence)


def _progress(task: Task) -> AbstractContextManager[OnProgress | None]:
    """A bar on standard error when that is a terminal."""
    if not sys.stderr.isatty():
        return nullcontext(None)
    from toolkit.cli.progress_bar import ProgressBar

    return ProgressBar(task.path.name if task.line is None else f"line {task.line}")
