"""``qwen-audio tune lint``: its words, its JSON and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import Run


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["20% slower"], 0),
        (["20% slower", "--model", "1.7B-CustomVoice", "--language", "Chinese"], 0),
        (["非常慢"], 4),
        (["slow, rapid"], 3),
        (["20% slower", "--model", "Qwen/Qwen3-TTS-12Hz-0.6B-CustomVoice"], 3),
        (["20% slower", "--model", "1.7B-Base"], 3),
    ],
)
def test_exit_codes(run: Run, words: list[str], code: int) -> None:
    ran = run("tune", "lint", *words, "--json")
    assert ran.code == code
    assert ran.err == ""
    assert (ran.json["schema"], ran.json["kind"], ran.json["exit_code"]) == (1, "tune-lint", code)
    assert run("tune", "lint", *words).code == code


def test_the_text(run: Run) -> None:
    assert run("tune", "lint", "非常慢").out == (
        "asks for  35% slower\n"
        "warning   vague-adverb (told): “非常” is a degree without a quantity.\n"
        "          Write: 语速放慢35%.\n"
        "note      one-language (told): The tutorial says that mixed Chinese and English instructions are more robust; "
        "it is not measured.\n"
        "          Try the mixed wording beside this one, and measure.\n"
        "better    语速放慢35%\n"
        "mixed     语速放慢35% 35% slower\n"
    )


def test_a_folder_says_itself_what_it_is(run: Run, tmp_path: Path) -> None:
    config = {"tts_model_type": "custom_voice", "tts_model_size": "0b6"}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert run("tune", "lint", "slow", "--model", tmp_path, "--json").json["model"] == {
        "kind": "custom_voice",
        "size": "0b6",
    }


@pytest.mark.parametrize("words", [[""], ["x" * 2_001], ["slow", "--model", "nonsense"], []])
def test_wrong_input_is_one_line(run: Run, words: list[str], tmp_path: Path) -> None:
    ran = run("tune", "lint", *words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.line.startswith("qwen-audio: ")
    assert run("tune", "lint", "slow", "--model", tmp_path).code == 2
