"""Goldens in their shared layout: what was asked of the official package, what came out, and a comparison with it."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from toolkit.synthesis.decoding import DecodeState, TorchBackend, generate
from toolkit.synthesis.demo_model import make_demo_model
from toolkit.synthesis.layers import KeyValueCache, rotary_table
from toolkit.synthesis.prompt import ClonedVoice, Prompt, PromptBuilder
from toolkit.synthesis.sampling import DecodeSettings, choose
from toolkit.synthesis.talker import Talker

__all__ = [
    "HIDDEN_TOLERANCE",
    "Comparison",
    "GoldenCase",
    "GoldenSet",
    "RecordingBackend",
    "Voices",
    "compare_case",
    "make_prompts",
    "prefill_hidden",
    "settings_of",
    "worst",
]

HIDDEN_TOLERANCE = 2e-4
Array = npt.NDArray[np.generic]
Voices = Callable[["GoldenCase", int], ClonedVoice]
"""Gives the voice of one row of a voice-clone case."""


@dataclass(frozen=True)
class GoldenCase:
    """One call of the official package, with one or more rows."""

    checkpoint: str
    spec: dict[str, object]
    arrays: dict[str, Array]

    @property
    def id(self) -> str:
        return str(self.spec["id"])

    @property
    def method(self) -> str:
        return str(self.spec["method"])

    @property
    def result(self) -> dict[str, list[int]]:
        result = self.spec["result"]
        assert isinstance(result, dict)
        return result

    @property
    def args(self) -> dict[str, object]:
        args = self.spec["args"]
        assert isinstance(args, dict)
        return args

    @property
    def texts(self) -> list[str]:
        text = self.args["text"]
        return [str(item) for item in text] if isinstance(text, list) else [str(text)]

    @property
    def batch(self) -> int:
        return len(self.texts)

    @property
    def max_new_tokens(self) -> int:
        return int(str(self.spec["max_new_tokens"]))

    @property
    def non_streaming(self) -> bool:
        return bool(self.spec["non_streaming_mode"])

    def array(self, row: int, name: str) -> Array | None:
        return self.arrays.get(f"{self.id}.{row}.{name}")

    def needed(self, row: int, name: str) -> Array:
        """An array that must be there."""
        return self.arrays[f"{self.id}.{row}.{name}"]

    def text_argument(self, name: str, row: int) -> str | None:
        """An argument of one row; a single value holds for all rows."""
        value = self.args.get(name)
        if isinstance(value, list):
            value = value[row]
        return None if value is None else str(value)

    def listed(self, name: str) -> list[Any]:
        """A list of the case's own description."""
        values = self.spec[name]
        assert isinstance(values, list)
        return values

    def vector_only(self, row: int) -> bool:
        value = self.args["x_vector_only_mode"]
        return bool(value[row] if isinstance(value, list) else value)

    def reference(self, row: int) -> str:
        """Name of the reference recording of a row."""
        value = self.spec["ref"]
        return str(value[row] if isinstance(value, list) else value)

    def stored_voice(self, row: int) -> ClonedVoice:
        """The voice as the official package heard it."""
        speaker, codes = self.array(row, "spk_embedding"), self.array(row, "ref_code")
        assert speaker is not None
        return ClonedVoice(
            torch.from_numpy(speaker.astype(np.float32)),
            None if codes is None else torch.from_numpy(codes.astype(np.int64)),
            None if codes is None else self.text_argument("ref_text", row),
        )


class GoldenSet:
    """A folder with ``cases.json``, one ``CHECKPOINT.npz`` per checkpoint, ``codec.npz`` and ``refs``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._arrays: dict[str, dict[str, Array]] = {}
        self.document = json.loads((folder / "cases.json").read_text(encoding="utf-8"))

    @property
    def checkpoints(self) -> dict[str, dict[str, object]]:
        checkpoints: dict[str, dict[str, object]] = self.document["checkpoints"]
        return checkpoints

    def build(self, checkpoint: str, parent: Path) -> Path:
        """Write a checkpoint anew; it must be, bit for bit, the one that the goldens were made with."""
        recipe = {key: value for key, value in self.checkpoints[checkpoint].items() if key != "sha256"}
        made = make_demo_model(parent / checkpoint, **recipe)  # type: ignore[arg-type]
        assert dict(made.sha256) == self.checkpoints[checkpoint]["sha256"], f"{checkpoint} was not rebuilt bit for bit"
        return made.folder

    def cases(self, checkpoint: str) -> list[GoldenCase]:
        arrays = self.arrays(checkpoint)
        return [
            GoldenCase(checkpoint, spec, arrays) for spec in self.document["cases"] if spec["checkpoint"] == checkpoint
        ]

    def case(self, checkpoint: str, case_id: str) -> GoldenCase:
        """One case."""
        return next(case for case in self.cases(checkpoint) if case.id == case_id)

    def codec_cases(self, method: str) -> list[GoldenCase]:
        """Cases of the codec alone; ``method`` is codec_decode or codec_encode."""
        arrays = self.arrays("codec")
        rows = [spec for spec in self.document["codec_cases"] if spec["method"] == method]
        return [GoldenCase(spec["checkpoint"], spec, arrays) for spec in rows]

    def arrays(self, name: str) -> dict[str, Array]:
        if name not in self._arrays:
            with np.load(self.folder / f"{name}.npz") as stored:
                self._arrays[name] = {key: stored[key] for key in stored.files}
        return self._arrays[name]

    def recording(self, name: str) -> tuple[npt.NDArray[np.float32], int]:
        """Samples and rate of a reference recording."""
        with wave.open(str(self.folder / "refs" / f"{name}.wav"), "rb") as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            return samples.astype(np.float32) / np.float32(32768.0), file.getframerate()


class RecordingBackend(TorchBackend):
    """The plain backend; keeps the raw logits of the first codes."""

    def __init__(self, talker: Talker) -> None:
        super().__init__(talker)
        self.steps: list[Tensor] = []

    def logits(self, state: DecodeState) -> Tensor:
        logits = super().logits(state)
        self.steps.append(logits)
        return logits


def settings_of(case: GoldenCase, repetition_penalty: float = 1.05) -> DecodeSettings:
    """Greedy, as all goldens are."""
    return DecodeSettings(repetition_penalty=repetition_penalty, max_new_tokens=case.max_new_tokens).greedy()


def make_prompts(builder: PromptBuilder, case: GoldenCase, voices: Voices) -> list[Prompt]:
    """The prompts of a case, whatever its mode."""
    return [_prompt(builder, case, row, voices) for row in range(case.batch)]


def _prompt(builder: PromptBuilder, case: GoldenCase, row: int, voices: Voices) -> Prompt:
    text, language = case.texts[row], case.text_argument("language", row)
    if case.method == "custom_voice":
        speaker, instruct = case.text_argument("speaker", row), case.text_argument("instruct", row)
        return builder.custom_voice(
            text, speaker, language=language, instruct=instruct, non_streaming=case.non_streaming
        )
    if case.method == "voice_design":
        instruct = case.text_argument("instruct", row) or ""
        return builder.voice_design(text, instruct, language=language, non_streaming=case.non_streaming)
    return builder.voice_clone(text, voices(case, row), language=language, non_streaming=case.non_streaming)


@torch.inference_mode()
def prefill_hidden(talker: Talker, rows: Tensor) -> Tensor:
    """Normed hidden states of all positions of one prompt, ``[positions, hidden]``."""
    shape, length = talker.config.talker.decoder, rows.shape[0]
    cache = KeyValueCache(shape, 1, length, length, dtype=talker.dtype, device=talker.device)
    angles = rotary_table(shape.head_dim, shape.rope_theta, length, dtype=talker.dtype, device=talker.device)
    return talker.stack.normed(talker.stack(rows[None], angles.span(0, length), cache, None))[0]


@dataclass(frozen=True)
class Comparison:
    """Our codes of every row, and the largest differences by name; what must be exact differs by 0 or infinity."""

    codes: list[Tensor]
    findings: list[tuple[str, float]]


@torch.inference_mode()
def compare_case(talker: Talker, builder: PromptBuilder, case: GoldenCase, voices: Voices) -> Comparison:
    """Run a case without the codec."""
    prompts = make_prompts(builder, case, voices)
    backend = RecordingBackend(talker)
    stream = generate(talker, prompts, settings_of(case), backend=backend)
    hidden = stream.state.hidden
    codes = stream.collect()
    picked: list[Tensor] = []

    def pick(logits: Tensor) -> Tensor:
        picked.append(logits)
        return choose(logits, settings_of(case).predictor)

    talker.predictor.frame(hidden, torch.stack([row[0, 0] for row in codes]), pick)
    findings: list[tuple[str, float]] = []
    for row, prompt in enumerate(prompts):
        reference = () if prompt.reference_ids is None else prompt.reference_ids.whole
        findings += [
            ("input_ids", _exact(prompt.ids.whole, case.array(row, "input_ids"))),
            ("instruct_ids", _exact(prompt.instruct_ids, case.array(row, "instruct_ids"))),
            ("ref_ids", _exact(reference, case.array(row, "ref_ids"))),
            ("prefill_tokens", _exact(prompt.rows.shape[0], case.result["prefill_tokens"][row])),
            ("prefill_embeds", _error(prompt.rows, case.array(row, "prefill_embeds"))),
            ("prefill_hidden", _error(prefill_hidden(talker, prompt.rows), case.array(row, "prefill_hidden"))),
            ("prefill_last", _error(hidden[row], case.array(row, "prefill_last"))),
            ("trailing", _trail_error(prompt, case.array(row, "trailing"))),
            ("logits", _error(torch.stack(backend.steps[:3])[:, row], case.array(row, "logits"))),
            ("pred_logits", _error(torch.stack(picked)[:, row], case.array(row, "pred_logits"))),
            ("codes", _exact(codes[row], case.array(row, "codes"))),
            ("frames", _exact(stream.frame_counts[row], case.result["frames"][row])),
            ("ended", _exact(stream.finish_reasons[row] == "eos", case.result["ended"][row])),
        ]
    if case.spec.get("rp1"):
        without_penalty = generate(talker, prompts, settings_of(case, 1.0)).collect()
        findings += [
            ("codes_rp1", _exact(found, case.array(row, "codes_rp1"))) for row, found in enumerate(without_penalty)
        ]
    return Comparison(codes, findings)


def _trail_error(prompt: Prompt, wanted: Array | None) -> float:
    """Officially the trail is filled up to the longest of its batch; the rest of it must be the pad vector."""
    if wanted is None:
        return 0.0
    missing = wanted.shape[0] - prompt.trail.shape[0]
    return _error(torch.cat((prompt.trail, prompt.pad.expand(missing, -1))), wanted)


def _error(found: Tensor, wanted: Array | None) -> float:
    if wanted is None:
        return 0.0
    got = found.float().numpy()
    return float("inf") if got.shape != wanted.shape else float(np.abs(got - wanted).max(initial=0.0))


def _exact(found: object, wanted: object) -> float:
    if wanted is None:
        return 0.0 if found in ((), None) else float("inf")
    return 0.0 if np.array_equal(np.asarray(found), np.asarray(wanted)) else float("inf")


def worst(findings: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The largest difference under each name."""
    table: dict[str, float] = {}
    for name, value in findings:
        table[name] = max(table.get(name, 0.0), value)
    return table
