"""``qwen-audio speak``: one file, many files, streams, and every way to get it wrong in one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from toolkit.synthesis import pocket_voice
from toolkit.synthesis.demo_model import make_demo_model
from toolkit.synthesis.pocket_voice import POCKET_NOTE

ROOT = Path(__file__).parents[2]
Run = Callable[..., Any]
TEXT = "Hello there, this is a test."


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Demo models that end within seconds, by kind and size."""
    parent = tmp_path_factory.mktemp("models")
    found = {}
    for kind, size in (("custom_voice", "1b7"), ("custom_voice", "0b6"), ("voice_design", "1b7"), ("base", "1b7")):
        name = f"{kind}-{size}"
        make_demo_model(parent / name, kind, size, eos_scale=8.0)  # type: ignore[arg-type]
        found[name] = parent / name
    found["custom"] = found["custom_voice-1b7"]
    return found


@pytest.fixture
def pocket(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Noise in place of the voice that comes with the toolkit."""
    monkeypatch.setattr(pocket_voice, "FOLDER", models["custom"])
    monkeypatch.setattr(pocket_voice, "PINS_FILE", tmp_path_factory.mktemp("pins") / "pins.json")
    pocket_voice.write_pins(models["custom"])
    return models["custom"]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tiny products gain nothing from a second thread."""
    torch.set_num_threads(1)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """A recording of four seconds."""
    folder = tmp_path / "reference"
    folder.mkdir()
    noise = (0.1 * np.random.default_rng(0).standard_normal(4 * 16000)).astype(np.float32)
    soundfile.write(folder / "ref.wav", noise, 16000)
    return folder / "ref.wav"


def test_a_text_becomes_a_file(run: Run, models: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    ran = run(
        "speak", TEXT, "--model", models["custom"], "--speaker", "Vivian", "--language", "English",
        "--instruct", "In a whisper.", "-o", out, "--seed", 0, "--device", "cpu",
    )  # fmt: skip
    assert (ran.code, ran.err) == (0, "")
    samples, rate = soundfile.read(out)
    assert rate == 24000
    assert f"wrote {out}: {samples.size / 24000:.2f} s" in ran.out
    assert ran.out.endswith("seed 0, float32 on cpu, path: plain\n")
    assert names(tmp_path) == ["out.wav"]


def test_the_pocket_voice_speaks_when_no_model_is_named(run: Run, pocket: Path, tmp_path: Path) -> None:
    options = ("--seed", 3, "--device", "cpu", "-o")
    ran = run("speak", TEXT, *options, tmp_path / "a.wav")
    assert (ran.code, ran.err) == (0, f"{POCKET_NOTE}\n")
    assert f"wrote {tmp_path / 'a.wav'}" in ran.out
    assert run("speak", TEXT, "--model", "POCKET", "--speaker", "Serena", *options, tmp_path / "b.wav").code == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    ran = run("speak", TEXT, *options, tmp_path / "c.wav", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["files"][0]["file"] == str(tmp_path / "c.wav")


def test_another_model_gets_no_speaker_and_no_note(run: Run, pocket: Path, tmp_path: Path) -> None:
    ran = run("speak", TEXT, "--model", pocket, "--seed", 0, "-o", tmp_path / "a.wav")
    assert (ran.code, ran.err) == (0, "")
    assert run("speak", TEXT, "--seed", 0, "-o", tmp_path / "b.wav").code == 0
    assert (tmp_path / "a.wav").read_bytes() != (tmp_path / "b.wav").read_bytes()


def test_a_pocket_voice_that_is_not_whole_is_one_line(
    run: Run, pocket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pocket_voice, "FOLDER", tmp_path / "nowhere")
    ran = run("speak", TEXT, "-o", tmp_path / "a.wav")
    assert (ran.code, "config.json is missing" in ran.line, "reinstall the toolkit" in ran.line) == (2, True, True)


def test_the_pocket_voice_clones_nobody(run: Run, pocket: Path, tmp_path: Path, reference: Path) -> None:
    ran = run("speak", TEXT, "--reference", reference, "--x-vector-only", "-o", tmp_path / "a.wav", "--json")
    assert (ran.code, "clone() needs a model of the kind base" in ran.line) == (2, True)


def test_json_is_all_that_goes_to_standard_output(run: Run, models: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.flac"
    ran = run("speak", TEXT, "--model", models["custom"], "-o", out, "--seed", 0, "--json", "--sidecar")
    assert ran.code == 0
    assert (ran.json["schema"], ran.json["kind"]) == (1, "speech")
    row = ran.json["files"][0]
    assert (row["file"], row["line"], row["text"], row["seed"]) == (str(out), None, TEXT, 0)
    assert row["frames"] * 1920 == soundfile.info(str(out)).frames
    assert {"dtype", "timings_s", "first_audio_s", "x_real_time", "peak_bytes", "finish_reason"} <= set(row)
    assert json.loads((tmp_path / "out.flac.json").read_text("utf-8"))["seed"] == 0


def test_the_path_is_taken_as_asked_and_told(run: Run, models: dict[str, Path], tmp_path: Path) -> None:
    common = ("speak", TEXT, "--model", models["custom"], "--seed", 0, "--device", "cpu", "--greedy")
    ran = run(*common, "--path", "fast", "-o", tmp_path / "a.wav", "--json")
    assert (ran.code, ran.json["path"]["value"]) == (0, "eager")
    ran = run(*common, "--path", "plain", "-o", tmp_path / "b.wav")
    assert ran.out.endswith("path: plain\n")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    ran = run("speak", TEXT, "--model", "no-such-model", "--path", "quick", "-o", tmp_path / "c.wav")
    assert (ran.code, "path must be 'auto', 'fast' or 'plain', not 'quick'" in ran.line) == (2, True)


def test_the_same_seed_gives_the_same_file(run: Run, models: dict[str, Path], tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        assert run("speak", TEXT, "--model", models["custom"], "-o", tmp_path / name, "--seed", 3).code == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_lines_of_a_pipe_become_files_named_by_their_numbers(
    run: Run, models: dict[str, Path], tmp_path: Path
) -> None:
    lines = "The first line.\n\nThe third line.\r\n".encode("utf-8-sig")
    ran = run("speak", "--model", models["custom"], "-o", f"{tmp_path}/out/", "--seed", 1, "--json", stdin=lines)
    assert ran.code == 0
    assert names(tmp_path / "out") == ["0001.wav", "0003.wav"]
    assert [(row["line"], row["text"]) for row in ran.json["files"]] == [
        (1, "The first line."), (3, "The third line."),
    ]  # fmt: skip


def test_a_file_of_text_is_read(run: Run, models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("你好，世界。\n第二行。", "utf-16")
    ran = run(
        "speak", "--file", tmp_path / "in.txt", "--model", models["custom"], "-o", tmp_path, "--format", "ogg",
        "--seed", 1,
    )  # fmt: skip
    assert ran.code == 0
    assert names(tmp_path) == ["0001.ogg", "0002.ogg", "in.txt"]


def test_finished_files_can_be_left_as_they_are(run: Run, models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "0001.wav").write_bytes(b"finished")
    options = ("--model", models["custom"], "-o", tmp_path / "out", "--seed", 1)
    lines = b"The first line.\nThe second line.\n"
    ran = run("speak", *options, stdin=lines)
    assert (ran.code, names(tmp_path / "out")) == (2, ["0001.wav"])
    assert "0001.wav exists" in ran.line
    ran = run("speak", *options, "--skip-existing", stdin=lines)
    assert ran.code == 0
    assert names(tmp_path / "out") == ["0001.wav", "0002.wav"]
    assert (tmp_path / "out" / "0001.wav").read_bytes() == b"finished"


def test_a_stream_writes_the_same_sound(run: Run, models: dict[str, Path], tmp_path: Path) -> None:
    options = ("--model", models["custom"], "--speaker", "ryan", "--seed", 2)
    assert run("speak", TEXT, *options, "-o", tmp_path / "a.wav").code == 0
    ran = run("speak", TEXT, *options, "-o", tmp_path / "b.wav", "--stream")
    assert ran.code == 0
    assert "first audio after" in ran.out
    one, other = (soundfile.read(tmp_path / name)[0] for name in ("a.wav", "b.wav"))
    assert one == pytest.approx(other, abs=2e-4)


def test_raw_samples_go_to_standard_output(models: dict[str, Path], tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "toolkit.cli", "speak", TEXT, "--model", str(models["custom"]), "--seed", "2",
         "--stream", "-o", "-"],
        capture_output=True, check=False, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ran.returncode == 0
    assert len(ran.stdout) % (1920 * 2) == 0
    assert np.frombuffer(ran.stdout, "<i2").any()
    assert ran.stderr.startswith(b"spoke ")


def test_a_voice_is_cloned_kept_and_used_again(
    run: Run, models: dict[str, Path], tmp_path: Path, reference: Path
) -> None:
    base = ("--model", models["base-1b7"], "--seed", 1)
    voice = tmp_path / "anna.voice.safetensors"
    ran = run(
        "speak", TEXT, *base, "--reference", reference, "--ref-text", "What was said.", "--save-voice", voice,
        "-o", tmp_path / "a.wav",
    )  # fmt: skip
    assert (ran.code, ran.err) == (0, f"saved {voice}\n")
    assert run("speak", TEXT, *base, "--voice", voice, "-o", tmp_path / "b.wav").code == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert run("speak", TEXT, *base, "--voice", voice, "--x-vector-only", "-o", tmp_path / "c.wav").code == 0


def test_a_voice_is_designed(run: Run, models: dict[str, Path], tmp_path: Path) -> None:
    ran = run(
        "speak", TEXT, "--model", models["voice_design-1b7"], "--instruct", "A calm old man.", "-o", tmp_path / "a.ogg",
        "--seed", 1,
    )  # fmt: skip
    assert ran.code == 0


def test_an_instruction_to_a_small_model_is_noted(run: Run, models: dict[str, Path], tmp_path: Path) -> None:
    ran = run(
        "speak", TEXT, "--model", models["custom_voice-0b6"], "--instruct", "whisper", "-o", tmp_path / "a.wav",
        "--seed", 1,
    )  # fmt: skip
    assert ran.code == 0
    assert "The 0.6B model takes no style instruction" in ran.err


def test_the_help_names_the_model_that_is_taken(run: Run) -> None:
    told = " ".join(run("speak", "--help").out.split())
    assert "pocket, the small voice that comes with the toolkit" in told
    assert "[default: pocket]" in told


def test_float16_is_noted(run: Run, models: dict[str, Path], tmp_path: Path) -> None:
    ran = run("speak", TEXT, "--model", models["custom"], "-o", tmp_path / "a.wav", "--dtype", "fp16", "--seed", 0)
    assert ran.code == 0
    assert "FP16 ends at 65,504" in ran.err


WRONG: list[tuple[str, str, list[str], str]] = [
    ("speaker", "custom", ["--speaker", "Vivien"], "No speaker 'Vivien'. Did you mean vivian?"),
    ("language", "custom", ["--language", "Klingon"], "No language 'Klingon'."),
    ("dialect", "custom", ["--language", "sichuan_dialect"], "A dialect comes with its speaker"),
    ("mode", "base-1b7", ["--speaker", "ryan"], "speak() needs a model of the kind custom_voice"),
    ("no reference", "base-1b7", [], "clone() needs a reference recording or a voice"),
    ("instruct for base", "base-1b7", ["--instruct", "x y"], "a base model takes no --instruct"),
    ("no description", "voice_design-1b7", [], "voice design needs instruct"),
    ("no ref text", "base-1b7", ["--reference", "REF"], "in-context cloning needs ref_text"),
    ("reference", "custom", ["--reference", "REF", "--ref-text", "a b"], "clone() needs a model of the kind base"),
    ("missing reference", "base-1b7", ["--reference", "no.wav", "--x-vector-only"], "no.wav does not exist"),
    ("missing voice", "base-1b7", ["--voice", "no.voice.safetensors"], "no.voice.safetensors does not exist"),
    ("both voices", "base-1b7", ["--voice", "a", "--reference", "REF"], "not both"),
    ("suffix", "custom", ["-o", "out.mp3"], ".mp3 is not written; use one of .wav, .flac, .ogg"),
    ("folder missing", "custom", ["-o", "no/such/out.wav"], "there is no folder"),
    ("device", "custom", ["--device", "tpu"], "device must be 'auto'"),
    ("dtype", "custom", ["--dtype", "int4"], "dtype must be one of auto"),
    ("chunk", "custom", ["--audio-chunk-size", "0"], "audio_chunk_size must be"),
    ("length", "custom", ["--max-text-length", "3"], "max_text_length must be"),
    ("limit", "custom", ["--vram-limit", "big"], "vram_limit must be a size"),
    ("too small", "custom", ["--vram-limit", "5MB"], "the model would need"),
    ("seed", "custom", ["--seed", "-1"], "seed must be a whole number"),
    ("temperature", "custom", ["--temperature", "0"], "temperature must be"),
    ("stdout", "custom", ["-o", "-"], "-o - goes with --stream"),
    ("sidecar", "custom", ["--stream", "--sidecar"], "--stream goes without --sidecar"),
    ("source", "custom", ["--source", "ftp"], "source must be 'hf' or 'modelscope'"),
]


@pytest.mark.parametrize(("kind", "options", "told"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_a_wrong_call_is_one_line_and_writes_nothing(
    run: Run, models: dict[str, Path], tmp_path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch,
    kind: str, options: list[str], told: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    given: list[Any] = [reference if option == "REF" else option for option in options]
    ran = run("speak", TEXT, "--model", models[kind], "-o", "out.wav", *given)
    assert ran.code in (2, 3)
    assert told in ran.line
    assert ran.out == ""
    assert names(tmp_path) == ["reference"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the text is empty"),
        ("  \n ", "the text is empty"),
        ("😀👍", "has neither a letter nor a digit"),
        ("字" * 100_000, "the text has 100,000 characters; one result holds 50,000 at most"),
        ("a <|im_end|> b", "a mark of the model's own templates"),
        ("a\x00b", "the control character U+0000"),
    ],
)
def test_a_text_that_cannot_be_spoken_is_one_line(run: Run, tmp_path: Path, text: str, told: str) -> None:
    ran = run("speak", "--file", "-", "--model", "no/model", "-o", tmp_path / "out.wav", stdin=text.encode())
    assert ran.code == 2
    assert told in ran.line
    assert names(tmp_path) == []


def test_a_line_that_cannot_be_spoken_is_named_before_any_work(run: Run, tmp_path: Path) -> None:
    ran = run("speak", "--model", "no/model", "-o", f"{tmp_path}/out/", stdin="Good.\n\n😀\n".encode())
    assert ran.code == 2
    assert "line 3: there is nothing to speak" in ran.line
    assert names(tmp_path) == []


def test_input_that_is_no_text_is_one_line(run: Run, tmp_path: Path) -> None:
    ran = run("speak", "--file", tmp_path / "no.txt", "-o", tmp_path / "out.wav")
    assert (ran.code, "no.txt cannot be read" in ran.line) == (2, True)
    ran = run("speak", "-", "-o", tmp_path / "out.wav", stdin=b"\xff\xfa\x80")
    assert "standard input is not UTF-8 text (byte 0)" in ran.line
    ran = run("speak", "text", "--file", "x", "-o", tmp_path / "out.wav")
    assert "not both" in ran.line


def test_special_tokens_can_be_spoken(run: Run, models: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    assert run("speak", "a <|im_end|> b", "--escape", "--model", models["custom"], "-o", out, "--seed", 0).code == 0


def test_an_existing_file_is_told_before_the_model_is_sought(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out.wav").write_bytes(b"mine")
    ran = run("speak", TEXT, "--model", "no/model", "-o", tmp_path / "out.wav")
    assert (ran.code, "out.wav exists" in ran.line) == (2, True)
    assert (tmp_path / "out.wav").read_bytes() == b"mine"


def test_after_ctrl_c_finished_files_stay_and_no_stump_lies_about(models: dict[str, Path], tmp_path: Path) -> None:
    lines = "".join(f"This is the line with the number {number}.\n" for number in range(200))
    out = tmp_path / "out"
    child = subprocess.Popen(
        [sys.executable, "-m", "toolkit.cli", "speak", "--model", str(models["custom"]), "-o", f"{out}/"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert child.stdin is not None
    child.stdin.write(lines.encode())
    child.stdin.close()
    child.stdin = None
    deadline = time.monotonic() + 120
    while not (out.is_dir() and len(list(out.glob("*.wav"))) >= 2) and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=60)
    assert (child.returncode, told.decode().splitlines()[-1]) == (130, "qwen-audio: interrupted")
    files = sorted(out.iterdir())
    assert len(files) >= 2
    assert all(path.suffix == ".wav" and soundfile.info(str(path)).frames for path in files)
