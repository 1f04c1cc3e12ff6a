"""``qwen-audio model`` and ``qwen-audio demo-model``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.constants
import pytest

ROOT = Path(__file__).parents[2]
Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_hub(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, and a hub that must not be asked."""

    def refuse(*_: object, **__: object) -> str:
        raise AssertionError("the hub was asked")

    empty = tmp_path_factory.mktemp("hub")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(empty))
    monkeypatch.setenv("HF_HUB_CACHE", str(empty))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(empty))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)


@pytest.fixture
def model(run: Run, tmp_path: Path) -> Path:
    """Written by the command itself."""
    assert run("demo-model", tmp_path / "model").code == 0
    return tmp_path / "model"


def test_a_demo_model_says_that_it_speaks_noise(run: Run, tmp_path: Path) -> None:
    ran = run("demo-model", tmp_path / "m", "--kind", "base", "--size", "0b6", "--seed", 3)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"wrote {tmp_path / 'm'}: random weights, so that it speaks noise. It is for tests and demos.\n"
    again = run("demo-model", tmp_path / "n", "--kind", "base", "--size", "0b6", "--seed", 3, "--json")
    assert set(again.json["sha256"]) == {"model.safetensors", "speech_tokenizer/model.safetensors"}
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == (tmp_path / "n" / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("options", "told"),
    [(["--kind", "talking"], "kind must be one of"), (["--size", "7B"], "size must be one"), ([], "is not an empty")],
)
def test_a_demo_model_that_cannot_be_made_is_one_line(
    run: Run, tmp_path: Path, options: list[str], told: str
) -> None:
    folder = tmp_path / "m"
    if not options:
        folder.mkdir()
        (folder / "mine").write_text("x")
    ran = run("demo-model", folder, *options)
    assert (ran.code, told in ran.line) == (2, True)


def test_a_whole_model_is_verified(run: Run, model: Path) -> None:
    ran = run("model", "verify", model, "--values")
    assert ran.code == 0
    assert ran.out.endswith(f"{model}: complete.\n")
    data = run("model", "verify", model, "--json").json
    assert (data["kind"], data["exit_code"], data["state"], data["problem"]) == ("model-verify", 0, "complete", "none")


def test_a_model_that_is_cut_off_fails(run: Run, model: Path) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100_000])
    ran = run("model", "verify", model)
    assert ran.code == 3
    assert "incomplete" in ran.out
    assert run("model", "verify", model, "--json").json["exit_code"] == 3


def test_what_a_model_is(run: Run, model: Path) -> None:
    ran = run("model", "info", model)
    assert ran.code == 0
    assert "kind            custom_voice" in ran.out
    data = run("model", "info", model, "--json").json
    assert (data["kind"], data["model"]["size"], data["model"]["takes_instruct"]) == ("model-info", "1.7B", True)
    assert "vivian" in data["model"]["speakers"]
    assert data["model"]["path"].startswith("plain (")
    assert data["model"]["memory_bytes"]["float32"] > data["model"]["memory_bytes"]["bfloat16"]


def test_a_model_that_is_not_here_is_one_line(run: Run) -> None:
    ran = run("model", "info", "1.7B-CustomVoice")
    assert ran.code == 2
    assert "is not on this machine; fetch it with: qwen-audio model download Qwen/" in ran.line
    assert run("model", "verify", "1.7B-CustomVoice").code == 3
    ran = run("model", "info", "nothing-of-the-kind")
    assert "there is no such folder, and it names no model; known: Qwen/" in ran.line


def test_a_model_is_downloaded_at_its_pinned_revision(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def download(name: str, revision: str, **options: object) -> str:
        asked.append((name, revision, options["local_dir"]))
        return str(model)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    ran = run("model", "download", "0.6b-base")
    assert (ran.code, ran.out) == (0, f"{model}\n")
    assert run("model", "download", "0.6b-base", "--to", model, "--json").json["folder"] == str(model)
    pinned = "5d83992436eae1d760afd27aff78a71d676296fc"
    assert asked == [("Qwen/Qwen3-TTS-12Hz-0.6B-Base", pinned, None), ("Qwen/Qwen3-TTS-12Hz-0.6B-Base", pinned, model)]


@pytest.fixture
def pocket(model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Noise in place of the voice that comes with the toolkit."""
    from toolkit.synthesis import pocket_voice

    monkeypatch.setattr(pocket_voice, "FOLDER", model)
    monkeypatch.setattr(pocket_voice, "PINS_FILE", model.parent / "pins.json")
    pocket_voice.write_pins(model)
    return model


def test_the_pocket_voice_is_found_by_its_name(run: Run, pocket: Path) -> None:
    assert run("model", "info", "Pocket").code == 0
    ran = run("model", "download", "pocket")
    assert (ran.code, ran.out) == (0, f"{pocket}\n")
    ran = run("model", "download", "pocket", "--to", pocket.parent / "other")
    assert (ran.code, "there is nothing to fetch" in ran.line) == (2, True)
    ran = run("model", "verify", "pocket", "--values")
    assert (ran.code, ran.out.endswith(f"{pocket}: complete.\n")) == (0, True)


def test_an_altered_pocket_voice_fails(run: Run, pocket: Path) -> None:
    with (pocket / "merges.txt").open("a", encoding="utf-8") as file:
        file.write("x y\n")
    ran = run("model", "verify", "pocket")
    assert ran.code == 3
    assert "wrong-hash" in ran.out
    assert "merges.txt does not have the hash of this version; reinstall the toolkit" in ran.out
    data = run("model", "verify", "pocket", "--json").json
    assert (data["exit_code"], data["state"], data["problem"]) == (3, "incomplete", "wrong-hash")
    assert [row["name"] for row in data["files"] if row["verdict"] != "ok"] == ["merges.txt"]
    ran = run("model", "info", "pocket")
    assert (ran.code, "merges.txt is altered" in ran.line) == (2, True)
    (pocket / "model.safetensors").unlink()
    data = run("model", "verify", "pocket", "--json").json
    assert (data["exit_code"], data["problem"]) == (3, "missing-files")


def test_the_25_hertz_family_is_refused(run: Run) -> None:
    ran = run("model", "download", "Qwen/Qwen3-TTS-25Hz-1.7B-Base")
    assert (ran.code, "25 Hz tokenizer are another network" in ran.line) == (2, True)


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from toolkit.cli.main import app\n"
        "for name in ('speak', 'model', 'demo-model'):\n"
        "    try: app([name, '--help'], prog_name='qwen-audio')\n"
        "    except SystemExit: pass\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
