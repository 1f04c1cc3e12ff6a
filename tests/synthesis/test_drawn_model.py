"""Models of random weights drawn where they run: the shapes of the published ones, no file, no end of speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import toolkit
from toolkit.errors import BadModelFolder, ToolkitFault
from toolkit.synthesis.demo_model import make_demo_model
from toolkit.synthesis.drawn_model import drawn_model
from toolkit.synthesis.hub import find_model
from toolkit.synthesis.speaker import Speech
from toolkit.synthesis.weights import SafetensorsFile

MODEL, CODEC = "model.safetensors", "speech_tokenizer/model.safetensors"


def loaded(seed: int = 0, dtype: str = "float32") -> Speech:
    with drawn_model("1b7", "tiny", seed=seed) as found:
        return toolkit.load(found, device="cpu", dtype=dtype)


@pytest.mark.parametrize("name", [MODEL, CODEC])
def test_it_has_the_tensors_of_a_written_one(tmp_path: Path, name: str) -> None:
    written = SafetensorsFile(make_demo_model(tmp_path / "demo").folder / name)
    with drawn_model("1b7", "tiny") as found:
        drawn = found.weights(name)
        assert not (found.folder / name).exists()
    assert {key: (entry.shape, entry.dtype) for key, entry in drawn.tensors.items()} == {
        key: (entry.shape, entry.dtype) for key, entry in written.tensors.items()
    }


def test_the_published_shapes_are_checked_without_drawing_them() -> None:
    with drawn_model("1b7", "real") as found:
        entries = found.weights(MODEL).tensors
    assert entries["talker.model.layers.27.mlp.gate_proj.weight"].shape == (6144, 2048)
    # 1.7B custom voice in BF16: 3.83 GB.
    assert sum(entry.byte_count for entry in entries.values()) == pytest.approx(3.83e9, rel=0.01)


def test_it_speaks_exactly_as_many_frames_as_it_may() -> None:
    result = loaded().speak("今天天气很好。", speaker="vivian", seed=1, max_frames=150)
    assert (result.frames, result.finish_reason) == (150, "length")
    assert np.isfinite(result.samples).all()
    assert result.samples.std() > 0.01


def test_the_seed_decides_the_weights() -> None:
    first, again, other = (loaded(seed).model.talker.stack.norm for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_spread_is_that_of_the_demo_model(tmp_path: Path) -> None:
    written = toolkit.load(make_demo_model(tmp_path / "demo").folder, device="cpu", dtype="float32").model
    drawn = loaded().model
    for name in ("codes.table", "text.table", "stack.norm"):
        ours, theirs = (model.talker.get_parameter(name) for model in (drawn, written))
        assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=0.1), name
    assert float(drawn.decoder.codebook.std()) == pytest.approx(float(written.decoder.codebook.std()), rel=0.1)


def test_a_found_model_is_taken_as_it_is() -> None:
    with drawn_model("0b6", "tiny") as found:
        assert find_model(found) is found
        assert found.name == "random-tiny-0b6"
        with pytest.raises(ToolkitFault, match="has no file other"):
            found.weights("other")


def test_a_written_folder_gives_its_own_weights(tmp_path: Path) -> None:
    found = find_model(make_demo_model(tmp_path / "demo").folder)
    assert found.weights(MODEL).path == tmp_path / "demo" / MODEL
    (tmp_path / "demo" / MODEL).unlink()
    with pytest.raises(BadModelFolder, match="is missing"):
        found.weights(MODEL)
