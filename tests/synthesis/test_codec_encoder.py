"""The encoder: the official codes, whatever the length, with full attention."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from codec_models import codec_file, encoder_at, reference
from golden_set import GoldenSet

from toolkit.errors import BadAudio
from toolkit.synthesis import codec_encoder
from toolkit.synthesis.codec_config import CodecConfig
from toolkit.synthesis.codec_encoder import CodecEncoder, encoder_tensors
from toolkit.synthesis.codec_layers import CodecAttention
from toolkit.synthesis.demo_shapes import codec_json, model_shape
from toolkit.synthesis.demo_tensors import codec_plan

Checkpoints = Callable[[str], Path]
TINY = "base_1b7_a"


def test_recordings_give_the_official_codes(goldens: GoldenSet, checkpoint: Checkpoints) -> None:
    cases = goldens.codec_cases("codec_encode")
    assert len(cases) == 8
    for case in cases:
        items = case.spec["items"]
        assert isinstance(items, list)
        found = encoder_at(checkpoint(case.checkpoint)).encode_rows([reference(goldens, *item) for item in items])
        assert [len(codes) for codes in found] == case.result["frames"]
        for row, codes in enumerate(found):
            np.testing.assert_array_equal(codes.numpy(), case.needed(row, "codes"), err_msg=case.id)


def test_references_of_clones_give_the_official_codes(goldens: GoldenSet, checkpoint: Checkpoints) -> None:
    compared = 0
    for name in goldens.checkpoints:
        for case in goldens.cases(name):
            if case.method != "voice_clone":
                continue
            stored = case.spec["ref"]
            names = stored if isinstance(stored, list) else [stored]
            encoder = encoder_at(checkpoint(name))
            codes = encoder.encode_rows([reference(goldens, str(item)) for item in names])
            for row in range(case.batch):
                wanted = case.array(row, "ref_code")
                if wanted is not None:
                    np.testing.assert_array_equal(codes[row % len(codes)].numpy(), wanted, err_msg=f"{name} {case.id}")
                    compared += 1
    assert compared > 20


@pytest.mark.parametrize("pack", [True, False])
def test_pieces_of_the_convolutions_join_without_a_seam(
    goldens: GoldenSet, checkpoint: Checkpoints, monkeypatch: pytest.MonkeyPatch, pack: bool
) -> None:
    encoder = encoder_at(checkpoint(TINY), pack=pack)
    wave = reference(goldens, "ref_a")[None, :50_123]
    monkeypatch.setattr(codec_encoder, "_PIECE_POSITIONS", 10_000)
    whole = encoder._positions(wave)
    for positions in (1, 3):
        monkeypatch.setattr(codec_encoder, "_PIECE_POSITIONS", positions)
        assert (encoder._positions(wave) - whole).abs().max() < 2e-5


def test_the_configured_window_has_no_effect(
    goldens: GoldenSet, checkpoint: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 12.2 seconds are 305 positions, more than the window of 250; applied, it would change the codes.
    assert (
        json.loads((checkpoint(TINY) / "speech_tokenizer" / "config.json").read_text("utf-8"))["encoder_config"][
            "sliding_window"
        ]
        == 250
    )
    encoder = encoder_at(checkpoint(TINY))
    wave = reference(goldens, "ref_long")[None]
    full = encoder.encode(wave)[0]
    attend = CodecAttention.attend

    def windowed(self: CodecAttention, *heads: torch.Tensor) -> torch.Tensor:
        queries, keys, values, _ = heads
        rows = torch.arange(queries.shape[1])
        distance = rows[:, None] - rows
        return attend(self, queries, keys, values, (distance >= 0) & (distance < 250))

    monkeypatch.setattr(CodecAttention, "attend", windowed)
    narrow = encoder.encode(wave)[0]
    assert torch.equal(full[:, :124], narrow[:, :124])
    assert not torch.equal(full, narrow)


def test_a_shorter_row_differs_at_most_in_its_last_frame(goldens: GoldenSet, checkpoint: Checkpoints) -> None:
    encoder = encoder_at(checkpoint(TINY))
    waves = [reference(goldens, "ref_a", 30_011), reference(goldens, "ref_b", 20_000)]
    together = encoder.encode_rows(waves)
    for codes, wave in zip(together, waves, strict=True):
        alone = encoder.encode(wave[None])[0].T
        assert alone.shape == codes.shape
        assert torch.equal(alone[:-1], codes[:-1])


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (959, 1), (1920, 1), (1921, 2), (3840, 2), (100_001, 53)])
def test_a_begun_frame_is_a_frame(checkpoint: Checkpoints, samples: int, frames: int) -> None:
    wave = torch.randn(1, samples, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    codes = encoder_at(checkpoint(TINY)).encode(wave)
    assert codes.shape == (1, 16, frames)
    assert codes.dtype == torch.int64
    assert 0 <= int(codes.min()) <= int(codes.max()) < 256


def test_sixteen_of_thirty_two_quantizers_are_read(checkpoint: Checkpoints, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(codec_json("real")), "utf-8")
    table = encoder_tensors(CodecConfig.read(tmp_path).encoder)
    planned = {plan.name: plan.shape for plan in codec_plan(model_shape("real", "1b7"))}
    assert {name: shape for name, (shape, _) in table.items()} == {
        name: shape for name, shape in planned.items() if name.startswith("encoder.")
    }
    assert len(table) == 225
    sums = {name for name, (_, slot) in table.items() if slot is not None and name.endswith("embed_sum")}
    assert len(sums) == 16
    acoustic = "encoder.quantizer.acoustic_residual_vector_quantizer.layers."
    assert f"{acoustic}14.codebook.embed_sum" in sums
    assert f"{acoustic}15.codebook.embed_sum" not in sums


def test_distances_are_float32_in_a_bfloat16_encoder(
    goldens: GoldenSet, checkpoint: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = encoder_at(checkpoint(TINY), torch.bfloat16)
    seen: set[torch.dtype] = set()
    measure = torch.cdist

    def watched(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        seen.update((left.dtype, right.dtype))
        return measure(left, right)

    monkeypatch.setattr(torch, "cdist", watched)
    rough = encoder.encode(reference(goldens, "ref_a")[None])
    exact = encoder_at(checkpoint(TINY)).encode(reference(goldens, "ref_a")[None])
    assert seen == {torch.float32}
    assert encoder.codebook.dtype == torch.bfloat16
    assert 0.5 < float((rough[:, 0] == exact[:, 0]).float().mean()) <= 1.0
    assert not torch.equal(rough, exact)


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (torch.zeros(1, 0), r"at least one sample, found \[1, 0\]"),
        (torch.zeros(100), r"must be \[batch, samples\]"),
        (torch.full((1, 100), float("nan")), "not finite"),
    ],
)
def test_what_is_no_recording_is_refused(checkpoint: Checkpoints, wave: torch.Tensor, message: str) -> None:
    with pytest.raises(BadAudio, match=message):
        encoder_at(checkpoint(TINY)).encode(wave)


def test_an_empty_row_is_refused(checkpoint: Checkpoints) -> None:
    with pytest.raises(BadAudio, match="no samples"):
        encoder_at(checkpoint(TINY)).encode_rows([torch.zeros(100), torch.zeros(0)])


def test_every_weight_has_the_dtype_that_was_asked_for(checkpoint: Checkpoints) -> None:
    config = CodecConfig.read(checkpoint(TINY) / "speech_tokenizer").encoder
    encoder = CodecEncoder.load(config, codec_file(checkpoint(TINY)), dtype=torch.bfloat16, pack=False)
    loaded = {item.dtype for item in encoder.parameters() if item.device.type == "cpu"}
    assert loaded == {torch.bfloat16}
