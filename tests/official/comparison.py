"""Our core on the cases that the official package has answered: what differs, and by how much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from codec_models import decoder_at, encoder_at, speaker_at
from golden_set import GoldenCase, GoldenSet, RecordingBackend, make_prompts, prefill_hidden
from torch import Tensor

from toolkit.synthesis.codec_config import SAMPLES_PER_FRAME
from toolkit.synthesis.codec_decoder import pad_code_rows, reference_samples
from toolkit.synthesis.config import ModelConfig
from toolkit.synthesis.decoding import generate
from toolkit.synthesis.prompt import ClonedVoice, Prompt, PromptBuilder
from toolkit.synthesis.resampling import mono, resample_to_24k
from toolkit.synthesis.result import SpeechResult
from toolkit.synthesis.sampling import DecodeSettings
from toolkit.synthesis.speaker import Speech
from toolkit.synthesis.talker import load_talker
from toolkit.synthesis.text import clean_text
from toolkit.synthesis.tokenizer import TextTokenizer

__all__ = [
    "NEAR_TIE",
    "Difference",
    "Side",
    "compare_codec",
    "compare_interface",
    "compare_low_precision",
    "compare_speech",
    "plainly_asked",
]

NEAR_TIE = 3e-4
"""Official best and second-best logits that are nearer than this may change places by the order of a sum."""

_TOLERANCE = 2e-4
_WAVE_TOLERANCE = 1e-4
_SPEAKER_TOLERANCE = 1e-4
_LEAST_COSINE = 0.999

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be."""

    case: str
    row: int
    what: str
    detail: str


class Side:
    """Our core with one checkpoint in one dtype; ``pack`` as in :func:`load_talker`."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float32, *, pack: bool = True) -> None:
        self.folder, self.dtype, self.pack = folder, dtype, pack
        self.config = ModelConfig.read(folder)
        self.talker = load_talker(folder, self.config, dtype=dtype, pack=pack)
        self.prompts = PromptBuilder(self.talker, TextTokenizer(folder, self.config))

    def wave(self, codes: Tensor, reference: Tensor | None = None) -> Tensor:
        """Samples of ``[frames, 16]``, behind a reference that is decoded and cut off."""
        whole = codes if reference is None else torch.cat((reference, codes))
        wave = decoder_at(self.folder, self.dtype, pack=self.pack).decode_official(whole.T[None])[0]
        before = len(whole) - len(codes)
        return wave[reference_samples(before, len(whole), wave.shape[0]) :] if before else wave


def settings_of(config: ModelConfig, case: GoldenCase) -> DecodeSettings:
    """What the caller gave to the official package, in our words."""
    given = case.spec["settings"]
    assert isinstance(given, dict)
    names = {name.replace("subtalker_dosample", "subtalker_do_sample"): value for name, value in given.items()}
    return DecodeSettings.of(config.generation, max_new_tokens=case.max_new_tokens, **names)


def _heard(goldens: GoldenSet, name: str) -> tuple[Tensor, int]:
    """A recording at 24 kHz, and the rate that it had."""
    samples, rate = soundfile.read(goldens.folder / "refs" / f"{name}.wav", dtype="float32")
    return torch.from_numpy(resample_to_24k(mono(samples), rate).copy()), rate


def _voices(side: Side, goldens: GoldenSet, case: GoldenCase) -> list[ClonedVoice]:
    """One voice per row. Officially a list of recordings of one rate is encoded together, others one by one."""
    names = [case.reference(row) for row in range(case.batch)]
    heard = {name: _heard(goldens, name) for name in names}
    encoder, speaker = encoder_at(side.folder, pack=side.pack), speaker_at(side.folder)
    if isinstance(case.spec["ref"], list) and len({heard[name][1] for name in names}) == 1:
        codes = encoder.encode_rows([heard[name][0] for name in names])
    else:
        codes = [encoder.encode_rows([heard[name][0]])[0] for name in names]
    return [
        ClonedVoice(speaker.embed(heard[name][0][None])[0])
        if case.vector_only(row)
        else ClonedVoice(speaker.embed(heard[name][0][None])[0], codes[row], case.text_argument("ref_text", row))
        for row, name in enumerate(names)
    ]


@torch.inference_mode()
def compare_speech(side: Side, goldens: GoldenSet, case: GoldenCase) -> Iterator[Difference]:
    """A case in float32: everything that is not equal, or not within the tolerances of the goldens."""
    voices = _voices(side, goldens, case) if case.method == "voice_clone" else []
    for row, voice in enumerate(voices):
        vector = case.needed(row, "spk_embedding")
        yield from _far(case, row, "speaker vector", voice.speaker, vector, _SPEAKER_TOLERANCE)
        yield from _unequal(case, row, "reference codes", voice.codes, case.array(row, "ref_code"))
    prompts = make_prompts(side.prompts, case, lambda _, row: voices[row])
    for row, prompt in enumerate(prompts):
        yield from _prompt_differences(side, case, row, prompt)
    settings, backend = settings_of(side.config, case), RecordingBackend(side.talker)
    stream = generate(side.talker, prompts, settings, seed=int(str(case.spec["seed"])), backend=backend)
    hidden = stream.state.hidden
    codes = stream.collect()
    first_frame: list[Tensor] = []

    def forced(logits: Tensor) -> Tensor:
        first_frame.append(logits)
        return torch.stack([frames[0, len(first_frame)] for frames in official])

    official = [torch.from_numpy(case.needed(row, "codes").astype(np.int64)) for row in range(case.batch)]
    side.talker.predictor.frame(hidden, torch.stack([frames[0, 0] for frames in official]), forced)
    for row, found in enumerate(codes):
        yield from _far(case, row, "hidden state", hidden[row], case.needed(row, "prefill_last"))
        yield from _far(case, row, "first logits", backend.steps[0][row], case.needed(row, "logits")[0])
        frame_logits = torch.stack(first_frame)[:, row]
        yield from _far(case, row, "first frame's logits", frame_logits, case.needed(row, "pred_logits"))
        same = list(_unequal(case, row, "codes", found, case.needed(row, "codes"), _first_difference(case, row, found)))
        yield from same
        if not same:
            ended = stream.finish_reasons[row] == "eos"
            if ended != case.result["ended"][row]:
                yield Difference(case.id, row, "end", f"ours {stream.finish_reasons[row]}, official {not ended}")
        reference = voices[row].codes if voices else None
        yield from _far(
            case, row, "wave", side.wave(official[row], reference), case.needed(row, "wav"), _WAVE_TOLERANCE
        )


def _prompt_differences(side: Side, case: GoldenCase, row: int, prompt: Prompt) -> Iterator[Difference]:
    reference = () if prompt.reference_ids is None else prompt.reference_ids.whole
    for what, found, name in (
        ("text ids", prompt.ids.whole, "input_ids"),
        ("instruction ids", prompt.instruct_ids, "instruct_ids"),
        ("transcript ids", reference, "ref_ids"),
    ):
        wanted = case.array(row, name)
        if what == "instruction ids" and not side.config.instructs and case.method == "custom_voice":
            # Officially an instruction to a small model may be tokenised before it is dropped.
            wanted = np.zeros(0, np.int32)
        yield from _unequal(case, row, what, torch.tensor(found), np.zeros(0) if wanted is None else wanted)
    yield from _far(case, row, "prompt", prompt.rows, case.needed(row, "prefill_embeds"))
    hidden = prefill_hidden(side.talker, prompt.rows)
    yield from _far(case, row, "hidden states", hidden, case.needed(row, "prefill_hidden"))
    wanted = case.needed(row, "trailing")
    missing = wanted.shape[0] - prompt.trail.shape[0]
    if missing < 0:
        yield Difference(case.id, row, "trail", f"{-missing} vectors more than officially")
        return
    yield from _far(case, row, "trail", torch.cat((prompt.trail, prompt.pad.expand(missing, -1))), wanted)


@torch.inference_mode()
def compare_low_precision(side: Side, goldens: GoldenSet, case: GoldenCase) -> Iterator[Difference]:
    """A case in bfloat16. Sums of another order flip near ties there, so codes are not compared, only the first step.

    Voices are those that the official package heard.
    """
    prompts = make_prompts(side.prompts, case, GoldenCase.stored_voice)
    backend = RecordingBackend(side.talker)
    stream = generate(side.talker, prompts, settings_of(side.config, case), seed=0, backend=backend)
    next(stream)
    for row in range(case.batch):
        ours, wanted = backend.steps[0][row], torch.from_numpy(case.needed(row, "logits")[0].copy())
        cosine = float(torch.nn.functional.cosine_similarity(ours, wanted, dim=0))
        if not cosine >= _LEAST_COSINE:
            yield Difference(case.id, row, "first logits", f"cosine {cosine:.6f}")


@torch.inference_mode()
def compare_codec(side: Side, goldens: GoldenSet, case: GoldenCase) -> Iterator[Difference]:
    """The codec alone."""
    if case.method == "codec_decode":
        lengths = case.listed("lengths")
        rows = [torch.from_numpy(case.needed(row, "codes").astype(np.int64)) for row in range(len(lengths))]
        waves = decoder_at(side.folder, pack=side.pack).decode_official(pad_code_rows(rows))
        for row, wave in enumerate(waves):
            samples = wave[: len(rows[row]) * SAMPLES_PER_FRAME]
            yield from _far(case, row, "wave", samples, case.needed(row, "wav"), _WAVE_TOLERANCE)
        return
    cut = []
    for name, count in case.listed("items"):
        samples, rate = soundfile.read(goldens.folder / "refs" / f"{name}.wav", dtype="float32")
        cut.append(torch.from_numpy(resample_to_24k(mono(samples[:count]), rate).copy()))
    for row, codes in enumerate(encoder_at(side.folder, pack=side.pack).encode_rows(cut)):
        yield from _unequal(case, row, "codes", codes, case.needed(row, "codes"))


def plainly_asked(case: GoldenCase) -> bool:
    """Whether the Python interface asks the model the very same: one text, and nothing in it that would be tidied."""
    if case.batch > 1:
        return False
    given = [case.texts[0], case.text_argument("instruct", 0), case.text_argument("ref_text", 0)]
    if case.method == "voice_design" and not given[1]:
        return False
    return all(clean_text(text) == text for text in given if text)


def compare_interface(speech: Speech, goldens: GoldenSet, case: GoldenCase) -> Iterator[Difference]:
    """A case through the Python interface, see :func:`plainly_asked`: its codes and its waveform."""
    result = _asked(speech, goldens, case, settings_of(speech.model.config, case))
    wanted = case.needed(0, "codes")
    yield from _unequal(case, 0, "codes", torch.from_numpy(result.codes), wanted)
    if len(result.codes) == len(wanted):
        yield from _far(case, 0, "wave", torch.from_numpy(result.samples), case.needed(0, "wav"), _WAVE_TOLERANCE)


def _asked(speech: Speech, goldens: GoldenSet, case: GoldenCase, settings: DecodeSettings) -> SpeechResult:
    text, language = case.texts[0], case.text_argument("language", 0)
    seed, frames = int(str(case.spec["seed"])), case.max_new_tokens - 1
    if case.method == "custom_voice":
        return speech.speak(
            text, speaker=case.text_argument("speaker", 0), language=language, seed=seed, settings=settings,
            instruct=case.text_argument("instruct", 0), non_streaming_text=case.non_streaming, max_frames=frames,
            official_chunking=True,
        )  # fmt: skip
    if case.method == "voice_design":
        return speech.design(
            text, case.text_argument("instruct", 0) or "", language=language, seed=seed, settings=settings,
            non_streaming_text=case.non_streaming, max_frames=frames, official_chunking=True,
        )  # fmt: skip
    return speech.clone(
        text, goldens.folder / "refs" / f"{case.reference(0)}.wav", ref_text=case.text_argument("ref_text", 0),
        x_vector_only=case.vector_only(0), append_silence_s=0.0, language=language, seed=seed, settings=settings,
        non_streaming_text=case.non_streaming, max_frames=frames, official_chunking=True,
    )  # fmt: skip


def _first_difference(case: GoldenCase, row: int, found: Tensor) -> str:
    """Where codes part, and how near the official choice was to a tie there (which says nothing about a draw)."""
    wanted = case.needed(row, "codes")
    common = min(len(wanted), len(found))
    unequal = np.argwhere(found[:common].numpy() != wanted[:common])
    frame, group = (int(at) for at in unequal[0]) if len(unequal) else (common, 0)
    margins = case.needed(row, "margin_talker" if group == 0 else "margin_pred")
    margin = float(margins[frame]) if frame < len(margins) else float("nan")
    near = " (a near tie)" if margin < NEAR_TIE else ""
    where = f"first at frame {frame}, codebook {group}, margin {margin:.1e}{near}"
    return f"{len(found)} frames, official {len(wanted)}; {where}"


def _unequal(
    case: GoldenCase, row: int, what: str, found: Tensor | None, wanted: Array | None, detail: str = ""
) -> Iterator[Difference]:
    if found is None or wanted is None:
        if (found is None) != (wanted is None):
            yield Difference(case.id, row, what, "only one side has them")
        return
    if not np.array_equal(found.numpy(), wanted):
        share = "" if found.shape != wanted.shape else f"{int((found.numpy() != wanted).sum())} of {wanted.size} differ"
        yield Difference(case.id, row, what, detail or share or f"{list(found.shape)}, official {list(wanted.shape)}")


def _far(
    case: GoldenCase, row: int, what: str, found: Tensor, wanted: Array, tolerance: float = _TOLERANCE
) -> Iterator[Difference]:
    got = found.float().numpy()
    if got.shape != wanted.shape:
        yield Difference(case.id, row, what, f"{list(got.shape)}, official {list(wanted.shape)}")
        return
    error = float(np.abs(got - wanted).max(initial=0.0))
    if not error <= tolerance:
        yield Difference(case.id, row, what, f"error {error:.1e}, allowed {tolerance:.0e}")
