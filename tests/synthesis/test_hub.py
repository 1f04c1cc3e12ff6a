"""Finding a model: folders, the caches of this machine, downloads by stand-ins for the two hubs."""

from __future__ import annotations

import errno
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import huggingface_hub.errors
import pytest

from toolkit.errors import BadModelFolder, DiskFull, DownloadFailed, UsageError
from toolkit.synthesis import hub
from toolkit.synthesis.hub import NEEDED_FILES, PINNED, download_model, find_model, missing_files, repository

NAME = "Qwen/Qwen3-TTS-12Hz-1.7B-CustomVoice"
OTHER = "f" * 40


def fill(folder: Path, *, without: str = "") -> Path:
    """A folder that looks whole."""
    for name in NEEDED_FILES:
        if name != without:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(json.dumps({"model_type": "qwen3_tts"}))
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches, and hubs that must not be asked."""

    def refuse(*_: object, **__: object) -> str:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "modelscope"))
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=10**12))
    return tmp_path / "hub"


def snapshot(cache: Path, revision: str, *, without: str = "", name: str = NAME) -> Path:
    folder = cache / ("models--" + name.replace("/", "--"))
    return fill(folder / "snapshots" / revision, without=without)


Answers = Callable[..., list[dict[str, object]]]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Lets the hub answer with a folder or an error; returns the calls."""

    def prepare(answer: Path | Exception) -> list[dict[str, object]]:
        calls: list[dict[str, object]] = []

        def download(name: str, **options: object) -> str:
            calls.append({"name": name, **options})
            if isinstance(answer, Exception):
                raise answer
            return str(answer)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        return calls

    return prepare


def test_a_folder_goes_before_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill(tmp_path / "work" / "Qwen" / "Qwen3-TTS-12Hz-1.7B-CustomVoice")
    assert find_model(folder).folder == folder
    monkeypatch.chdir(tmp_path / "work")
    found = find_model(NAME)
    assert (found.folder, found.repository, found.name) == (Path(NAME), None, "Qwen3-TTS-12Hz-1.7B-CustomVoice")


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("1.7B-CustomVoice", NAME),
        ("0.6b-base", "Qwen/Qwen3-TTS-12Hz-0.6B-Base"),
        ("qwen3-tts-12hz-1.7b-voicedesign", "Qwen/Qwen3-TTS-12Hz-1.7B-VoiceDesign"),
        (NAME.lower(), NAME),
        ("someone/their-model", "someone/their-model"),
    ],
)
def test_a_repository_is_known_by_its_end(given: str, full: str) -> None:
    assert repository(given) == full


@pytest.mark.parametrize("given", ["no-such-folder", "/no/such/folder", "a/b/c", "", "x/model.safetensors", "../x"])
def test_what_is_neither_folder_nor_name_is_refused(given: str) -> None:
    with pytest.raises(BadModelFolder, match=r"there is no such folder, and it names no model; known: Qwen/"):
        repository(given)


@pytest.mark.parametrize("given", ["Qwen/Qwen3-TTS-25Hz-1.7B-Base", "qwen3-tts-25hz-0.6b-customvoice"])
def test_the_25_hertz_family_is_refused_with_one_sentence(given: str) -> None:
    with pytest.raises(BadModelFolder, match="25 Hz tokenizer are another network and cannot be used; take one of"):
        find_model(given)


def test_a_folder_of_the_25_hertz_family_is_refused(tmp_path: Path) -> None:
    folder = fill(tmp_path / "model")
    (folder / "config.json").write_text(json.dumps({"tokenizer_type": "qwen3_tts_tokenizer_25hz"}))
    with pytest.raises(BadModelFolder, match="25 Hz tokenizer are another network"):
        find_model(folder)


def test_every_published_model_is_pinned_to_a_whole_commit() -> None:
    assert len(PINNED) == 5
    assert all(len(revision) == 40 for revision in PINNED.values())


def test_the_cache_is_asked_first_and_the_hub_not_at_all(cache: Path) -> None:
    folder = snapshot(cache, PINNED[NAME])
    found = find_model("1.7B-CustomVoice")
    assert (found.folder, found.repository, found.revision, found.note) == (folder, NAME, PINNED[NAME], "")


def test_another_revision_in_the_cache_is_taken_with_a_note(cache: Path) -> None:
    folder = snapshot(cache, OTHER)
    found = find_model(NAME)
    assert found.folder == folder
    assert found.note == "revision ffffffffffff is in the cache and was taken; this version is made for 0c0e3051f131."


def test_a_revision_that_was_asked_for_is_not_replaced_by_another(cache: Path, answers: Answers) -> None:
    snapshot(cache, PINNED[NAME])
    calls = answers(snapshot(cache, OTHER))
    assert find_model(NAME, revision="main").revision == "main"
    assert calls[0]["revision"] == "main"
    (cache / "models--Qwen--Qwen3-TTS-12Hz-1.7B-CustomVoice" / "refs").mkdir()
    (cache / "models--Qwen--Qwen3-TTS-12Hz-1.7B-CustomVoice" / "refs" / "main").write_text(OTHER)
    assert find_model(NAME, revision="main").revision == OTHER
    assert len(calls) == 1


def test_an_unfinished_snapshot_is_completed(cache: Path, answers: Answers) -> None:
    snapshot(cache, PINNED[NAME], without="speech_tokenizer/model.safetensors")
    calls = answers(fill(cache / "fetched"))
    assert find_model(NAME).folder == cache / "fetched"
    assert calls[0]["revision"] == PINNED[NAME]
    assert calls[0]["local_dir"] is None


def test_a_model_that_is_not_here_names_the_command(cache: Path) -> None:
    with pytest.raises(BadModelFolder, match="is not on this machine; fetch it with: qwen-audio model download Qwen/"):
        find_model(NAME, download=False)


def test_a_download_into_a_folder_of_its_own(tmp_path: Path, answers: Answers) -> None:
    calls = answers(fill(tmp_path / "own"))
    assert download_model(NAME, to=tmp_path / "own").folder == tmp_path / "own"
    assert calls[0]["local_dir"] == tmp_path / "own"


def http_error(kind: str) -> Exception:
    import httpx

    response = httpx.Response(404, request=httpx.Request("GET", "https://hub.invalid/api"))
    made: Exception = getattr(huggingface_hub.errors, kind)("not found", response=response)
    return made


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("RepositoryNotFoundError", "is not on the hub, or is private"),
        ("GatedRepoError", "asks for its conditions to be accepted"),
        ("RevisionNotFoundError", "has no revision 0c0e3051"),
        (huggingface_hub.errors.OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE forbids asking the hub"),
        (huggingface_hub.errors.LocalEntryNotFoundError("no\nnet"), r"could not be fetched \(no net\); check the"),
        (ConnectionResetError("reset by peer"), r"could not be fetched \(reset by peer\).*it goes on from there"),
        (ValueError("bad name"), "could not be fetched"),
    ],
)
def test_a_download_that_fails_says_why_in_one_sentence(answers: Answers, error: Exception | str, told: str) -> None:
    answers(http_error(error) if isinstance(error, str) else error)
    with pytest.raises(DownloadFailed, match=told) as caught:
        find_model(NAME)
    assert "\n" not in str(caught.value)
    assert (caught.value.exit_code, caught.value.http_status) == (3, 502)


def test_a_disk_that_fills_up_is_told_as_such(answers: Answers) -> None:
    answers(OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(DiskFull, match="make room and try again: it goes on"):
        find_model(NAME)


def test_a_disk_that_is_too_small_is_told_before_the_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=10**9))
    with pytest.raises(DiskFull, match=r"needs 4\.5 GB and .* has 1\.0 GB left"):
        find_model(NAME)


def test_a_repository_of_something_else_is_refused(tmp_path: Path, answers: Answers) -> None:
    answers(fill(tmp_path / "x", without="merges.txt"))
    with pytest.raises(DownloadFailed, match=r"the repository has no merges\.txt"):
        find_model("someone/their-model")


def test_modelscope_is_used_when_its_package_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, object]] = []
    folder = fill(tmp_path / "ms")

    def download(name: str, revision: object = None, local_dir: object = None) -> str:
        calls.append((name, revision))
        return str(folder)

    monkeypatch.setitem(sys.modules, "modelscope", types.SimpleNamespace(snapshot_download=download))
    assert find_model(NAME, source="modelscope").folder == folder
    assert calls == [(NAME, None)]


def test_modelscope_without_its_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modelscope", None)
    with pytest.raises(UsageError, match="needs its package: python -m pip install modelscope"):
        find_model(NAME, source="modelscope")


def test_the_cache_of_modelscope_is_known_without_its_package(tmp_path: Path) -> None:
    folder = fill(tmp_path / "modelscope" / "hub" / "models" / NAME.replace(".", "___"))
    assert find_model(NAME, source="modelscope").folder == folder


def test_modelscope_errors_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise RuntimeError("server\nis away")

    monkeypatch.setitem(sys.modules, "modelscope", types.SimpleNamespace(snapshot_download=fail))
    with pytest.raises(DownloadFailed, match=r"could not be fetched \(server is away\)"):
        find_model(NAME, source="modelscope")


def test_another_source_is_refused() -> None:
    with pytest.raises(UsageError, match="source must be 'hf' or 'modelscope', not 'ftp'"):
        find_model(NAME, source="ftp")  # type: ignore[arg-type]


def test_empty_files_count_as_missing(tmp_path: Path) -> None:
    folder = fill(tmp_path / "x")
    (folder / "vocab.json").write_text("")
    assert missing_files(folder) == ["vocab.json"]
