"""Another way to compute the codec's last stages: it is used in recorded steps alone, and given up when it fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from codec_models import decoder_at, in_steps, random_codes
from numpy.typing import NDArray
from tape import TapeRecorder
from torch import Tensor

from toolkit.synthesis.codec_decoder import CodecDecoder
from toolkit.synthesis.codec_layers import History
from toolkit.synthesis.fast.capture import EagerRecorder, Recorder
from toolkit.synthesis.fast.codec_runner import GRAPH, CodecRunner, choose_codec_path
from toolkit.synthesis.fast.codec_stages import waveform_stages
from toolkit.synthesis.precision import Choice

SIZES = [1, 2, 4, 8, 5]


class OwnStages:
    """The decoder's own stages from outside, as kernels would stand there."""

    kernels = ()

    def __init__(self, decoder: CodecDecoder, places: int, fault: Exception | None = None) -> None:
        self.decoder, self.places, self.fault, self.steps = decoder, places, fault, 0

    def step_in_place(self, x: Tensor, history: Sequence[Tensor]) -> Tensor:
        if self.fault is not None:
            raise self.fault
        self.steps += 1
        before = len(self.decoder.layout.columns) - self.places
        past = History([torch.empty(0)] * before + list(history), in_place=True)
        wave: Tensor = self.decoder.decoder(x, past)
        return wave.float().clamp(-1.0, 1.0)


@pytest.fixture
def decoder(checkpoint: Callable[[str], Path]) -> CodecDecoder:
    return decoder_at(checkpoint("base_1b7_a"))


def places(decoder: CodecDecoder) -> int:
    """Tensors of the history from the first of the last stages on."""
    first = decoder.decoder[0]._place
    assert isinstance(first, int)
    return len(decoder.layout.columns) - first


def spoken(run: CodecRunner, codes: Tensor) -> NDArray[np.float32]:
    session = run.open()
    parts = torch.split(codes, [*SIZES, codes.shape[2] - sum(SIZES)], 2)
    return np.concatenate([session.feed(part, last=part is parts[-1]).read() for part in parts], 1)


@pytest.mark.parametrize("recorder", [EagerRecorder, TapeRecorder])
def test_steps_go_through_other_stages_and_sound_the_same(
    decoder: CodecDecoder, recorder: Callable[[], Recorder]
) -> None:
    stages, codes = OwnStages(decoder, places(decoder)), random_codes(24)
    run = CodecRunner(decoder, Choice(GRAPH, "a test"), recorder=recorder, stages=stages)
    wanted = in_steps(decoder, codes, [*SIZES, 24]).numpy()
    assert np.abs(spoken(run, codes) - wanted).max() < 5e-5
    assert stages.steps >= 6
    assert run.path == Choice(GRAPH, "a test")


def test_stages_that_fail_are_given_up_and_the_speech_goes_on(decoder: CodecDecoder) -> None:
    stages, codes = OwnStages(decoder, places(decoder), RuntimeError("no such instruction\nmore")), random_codes(24)
    run = CodecRunner(decoder, Choice(GRAPH, "a test"), recorder=TapeRecorder, stages=stages)
    assert np.abs(spoken(run, codes) - in_steps(decoder, codes, [*SIZES, 24]).numpy()).max() < 5e-5
    told = "the codec's kernels could not be used: no such instruction"
    assert run.stages is None
    assert run.path == Choice(GRAPH, told, f"{told}. Speech is the same, but slower.")


def test_full_memory_is_no_reason_to_give_them_up(decoder: CodecDecoder) -> None:
    stages = OwnStages(decoder, places(decoder), torch.OutOfMemoryError("CUDA out of memory"))
    run = CodecRunner(decoder, Choice(GRAPH, "a test"), recorder=TapeRecorder, stages=stages)
    with pytest.raises(torch.OutOfMemoryError):
        spoken(run, random_codes(24))
    assert run.stages is stages


def test_kernels_are_for_cards_and_for_products_on_matrix_units(decoder: CodecDecoder) -> None:
    assert waveform_stages(decoder) == (None, "float32 needs the exact products of PyTorch")
    rounded = CodecDecoder(decoder.config)
    rounded.tf32 = True
    rounded.codebook = decoder.codebook
    assert waveform_stages(rounded) == (None, "a CPU has no CUDA graphs")


def test_the_path_tells_of_kernels_where_there_are_graphs() -> None:
    found = choose_codec_path("cuda", fast=True, kernels="fused")
    assert found.reason == "the codec runs beside the talker's frames; fused"
    assert choose_codec_path("cpu", fast=True, kernels="fused").reason == "a CPU has no CUDA graphs"
