"""Saved voices: what is kept comes back, and nothing that was changed or damaged is taken."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from toolkit.errors import BadOutput, BadVoice, UsageError
from toolkit.synthesis.prompt import ClonedVoice
from toolkit.synthesis.voices import Voice, list_voices, load_voice, save_voice


def make_voice(name: str = "anna", *, in_context: bool = True) -> Voice:
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(128, generator=generator)
    # Laid out the other way round in memory, as the encoder gives it.
    codes = torch.randint(0, 256, (16, 30), generator=generator).T
    cloned = ClonedVoice(vector, codes, "What was said. 说了什么。") if in_context else ClonedVoice(vector)
    return Voice(name, cloned, "1b7", "ab" * 32, 4.25)


@pytest.mark.parametrize("in_context", [True, False])
def test_a_voice_comes_back_as_it_was(tmp_path: Path, in_context: bool) -> None:
    voice = make_voice(in_context=in_context)
    path = save_voice(voice, tmp_path)
    assert path == tmp_path / "anna.voice.safetensors"
    found = load_voice(path)
    assert (found.name, found.model_size, found.reference_sha256, found.reference_seconds) == (
        "anna", "1b7", "ab" * 32, 4.25,
    )  # fmt: skip
    assert torch.equal(found.cloned.speaker, voice.cloned.speaker)
    assert found.in_context is in_context
    assert found.cloned.transcript == voice.cloned.transcript
    if voice.cloned.codes is not None:
        assert found.cloned.codes is not None
        assert torch.equal(found.cloned.codes, voice.cloned.codes)
    assert not found.vector_only().in_context
    assert list_voices(tmp_path) == ("anna",)


def test_an_existing_voice_stays(tmp_path: Path) -> None:
    save_voice(make_voice(), tmp_path)
    with pytest.raises(BadOutput, match="exists"):
        save_voice(make_voice(), tmp_path)
    save_voice(make_voice(), tmp_path, overwrite=True)
    with pytest.raises(UsageError, match=r"ends in \.voice\.safetensors"):
        save_voice(make_voice(), tmp_path / "anna.pt")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Anna", "; 'anna' would do"),
        ("../../etc/passwd", "; 'etc-passwd' would do"),
        ("a" * 65, "; '" + "a" * 64 + "' would do"),
        ("con", ""),
        ("", ""),
        ("安娜", ""),
        ("-a", "; 'a' would do"),
        ("a.b", "; 'a-b' would do"),
    ],
)
def test_names_are_safe_in_any_file_system(name: str, hint: str) -> None:
    with pytest.raises(BadVoice) as caught:
        make_voice(name)
    assert str(caught.value).endswith("64 at most" + hint)


def rewritten(path: Path, **changes: object) -> None:
    """Change the description of a saved voice; None takes a field out."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    about = json.loads(header["__metadata__"]["qwen_audio_voice"]) | changes
    about = {name: value for name, value in about.items() if value is not ...}
    path.write_bytes(safetensors.numpy.save(safetensors.numpy.load(data), {"qwen_audio_voice": json.dumps(about)}))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schema": 2}, "written by a newer version \\(schema 2, known 1\\)"),
        ({"schema": "1"}, "wrong 'schema'"),
        ({"name": "../x"}, "cannot name a voice"),
        ({"hidden": 64}, "not 64 finite float32 numbers"),
        ({"transcript": ...}, "wrong 'transcript'"),
        ({"transcript": ""}, "needs the transcript"),
        ({"content_sha256": "00"}, "was changed after it was saved"),
        ({"extra": 1}, "wrong 'extra'"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    path = save_voice(make_voice(), tmp_path)
    rewritten(path, **changes)
    with pytest.raises(BadVoice, match=told):
        load_voice(path)


def test_files_that_are_no_voice_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.voice.safetensors"
    with pytest.raises(BadVoice, match="does not exist"):
        load_voice(path)
    for content in (b"", b"hello", pickle.dumps({"speaker": [1.0]}), b"\xff" * 100, bytes(8)):
        path.write_bytes(content)
        with pytest.raises(BadVoice, match="is no saved voice"):
            load_voice(path)
    path.write_bytes(safetensors.numpy.save({"speaker": np.zeros(4, np.float32)}))
    with pytest.raises(BadVoice, match="it has no description"):
        load_voice(path)
    path.write_bytes(bytes(5 * 2**20))
    with pytest.raises(BadVoice, match="it has 5242880 bytes"):
        load_voice(path)


def test_every_damaged_byte_is_noticed(tmp_path: Path) -> None:
    path = save_voice(make_voice(), tmp_path)
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    for place in range(start, len(data), 97):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1 :])
        with pytest.raises(BadVoice, match="was changed after it was saved"):
            load_voice(path)
    for place in range(0, len(data), 101):
        path.write_bytes(data[:place])
        with pytest.raises(BadVoice):
            load_voice(path)
