"""The pocket voice is found by its name, checked by its hashes and loaded; a stand-in of noise serves where it is not.

What is true of any folder in the published layout is shown with a stand-in of random weights; how the trained voice
speaks is in test_pocket_speech.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from toolkit.errors import BadModelFolder, UsageError
from toolkit.synthesis import pocket_voice
from toolkit.synthesis.demo_model import make_demo_model
from toolkit.synthesis.hub import download_model, find_model, repository
from toolkit.synthesis.loading import describe_model
from toolkit.synthesis.pocket_voice import (
    PINNED_FILES,
    POCKET_SPEAKER,
    POCKET_TEXT_LENGTH,
    is_pocket,
    pocket_faults,
    pocket_folder,
    write_pins,
)
from toolkit.synthesis.speaker import load

CODEC = "speech_tokenizer/model.safetensors"


def forget() -> None:
    pocket_voice._sound_folder.cache_clear()


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """As in a process that has not looked yet."""
    forget()
    yield
    forget()


@pytest.fixture
def voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in as it ships: BF16 throughout, the codec's decoder alone, hashes in a list."""
    folder = make_demo_model(tmp_path / "package" / "pocket", "custom_voice", "1b7", eos_scale=8.0).folder
    decoder = {name: value for name, value in load_file(folder / CODEC).items() if name.startswith("decoder.")}
    save_file({name: value.bfloat16() for name, value in decoder.items()}, folder / CODEC, metadata={"format": "pt"})
    monkeypatch.setattr(pocket_voice, "FOLDER", folder)
    monkeypatch.setattr(pocket_voice, "PINS_FILE", tmp_path / "package" / "pocket_sha256.json")
    write_pins(folder)
    return folder


def test_the_word_means_the_voice_and_a_path_the_folder(
    voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "pocket").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    for name in ("pocket", "Pocket", "POCKET"):
        assert find_model(name).folder == voice
    for path in ("./pocket", "pocket/", Path("pocket"), tmp_path / "here" / "pocket"):
        assert not is_pocket(path)
        assert find_model(path).folder.resolve() == tmp_path / "here" / "pocket"


def test_it_needs_no_download_and_has_no_revision(voice: Path) -> None:
    found = find_model("pocket", download=False, source="modelscope", offline_first=False)
    assert (found.folder, found.name, found.repository, found.note) == (voice, "pocket", None, "")
    with pytest.raises(UsageError, match="has no revision 'main'"):
        find_model("pocket", revision="main")
    with pytest.raises(UsageError, match="comes with the toolkit, in .*; there is nothing to fetch"):
        download_model("pocket")


def test_it_is_among_the_known_names() -> None:
    with pytest.raises(BadModelFolder, match=r"known: Qwen/.*, pocket$"):
        repository("no-such-model")


def test_it_loads_and_speaks_by_its_name(voice: Path) -> None:
    speech = load("pocket", device="cpu", seed=1, text_embedding_on_cpu="auto")
    assert (speech.kind, speech.model.name, speech.model.notes) == ("custom_voice", "pocket", ())
    assert POCKET_SPEAKER in speech.speakers
    result = speech.speak("Hello there.", speaker=POCKET_SPEAKER, language="English")
    assert result.seconds == result.frames * 0.08
    assert bool(torch.isfinite(torch.from_numpy(result.samples)).all())


def test_long_texts_are_divided_into_what_it_has_learnt(voice: Path) -> None:
    text = "这是一个很长的句子，里面有很多字。" * 8
    parts = [
        speech._requests.any_voice(text, None, None, "auto", None, True, "refuse").parts
        for speech in (load("pocket", device="cpu"), load("pocket", device="cpu", max_text_length=300), load(voice))
    ]
    assert [len(found) for found in parts] == [2, 1, 1]
    assert max(len(part.text) for part in parts[0]) <= POCKET_TEXT_LENGTH


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_its_memory_is_forecast(voice: Path, dtype: str) -> None:
    plan = load("pocket", device="cpu", dtype=dtype).model.plan
    weights = sum(path.stat().st_size for path in voice.rglob("*.safetensors"))
    assert weights < plan.total_bytes < 10**9
    assert describe_model(find_model("pocket"))["memory_bytes"]


@pytest.mark.parametrize("name", PINNED_FILES)
def test_an_altered_file_is_named(voice: Path, name: str) -> None:
    data = bytearray((voice / name).read_bytes())
    data[len(data) // 2] ^= 1
    (voice / name).write_bytes(data)
    with pytest.raises(BadModelFolder, match=rf"the pocket voice in .* is not whole: {name} is altered; reinstall"):
        find_model("pocket")


@pytest.mark.parametrize("name", PINNED_FILES)
def test_a_missing_file_is_named(voice: Path, name: str) -> None:
    (voice / name).unlink()
    with pytest.raises(BadModelFolder, match=rf"{name} is missing; reinstall the toolkit"):
        load("pocket")
    (voice / "vocab.json").unlink(missing_ok=True)
    with pytest.raises(BadModelFolder, match=r"vocab\.json is missing"):
        find_model("pocket")


def test_without_its_hashes_nothing_is_trusted(voice: Path) -> None:
    pocket_voice.PINS_FILE.unlink()
    assert pocket_faults() == dict.fromkeys(PINNED_FILES, "altered")
    pocket_voice.PINS_FILE.write_text("[]", encoding="utf-8")
    with pytest.raises(BadModelFolder, match=r"pocket_sha256\.json: holds \[\] instead of an object"):
        find_model("pocket")


def test_the_files_are_read_once_a_process(voice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pocket_folder() == voice
    monkeypatch.setattr(pocket_voice, "_sha256", lambda path: pytest.fail(f"{path} was read again"))
    assert pocket_folder() == voice


def test_a_voice_put_right_is_found_again(voice: Path) -> None:
    merges = (voice / "merges.txt").read_bytes()
    (voice / "merges.txt").write_bytes(b"")
    with pytest.raises(BadModelFolder):
        pocket_folder()
    (voice / "merges.txt").write_bytes(merges)
    assert pocket_folder() == voice


def test_the_hashes_of_a_new_voice_are_written(voice: Path, tmp_path: Path) -> None:
    pins = write_pins(voice, tmp_path / "pins.json")
    assert json.loads((tmp_path / "pins.json").read_text("utf-8")) == pins
    assert tuple(pins) == PINNED_FILES
    assert all(len(value) == 64 for value in pins.values())
    assert pocket_faults(voice, tmp_path / "pins.json") == {}
    (voice / "config.json").unlink()
    with pytest.raises(BadModelFolder, match=r"config\.json is missing; it is no whole voice"):
        write_pins(voice, tmp_path / "pins.json")
