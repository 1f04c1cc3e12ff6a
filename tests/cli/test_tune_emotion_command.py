"""``qwen-audio tune emotion``, ``precision``, ``show``, ``score`` and ``export``: words, files, codes, wrong input."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from running import ROOT, Run, spawn

sys.path.insert(0, str(ROOT / "tests" / "tuning"))
from tone_voice import TEXT, ToneVoice

from toolkit.tuning import trials


@pytest.fixture(autouse=True)
def _toned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_load", ToneVoice)


def test_from_the_sentence_to_the_exported_table(run: Run, tmp_path: Path) -> None:
    book = tmp_path / "b.yaml"
    words = ["tune", "emotion", TEXT, "--instruct", "25% faster", "--variant", "whisper", "--book", book]
    ran = run(*words, "--device", "cpu")
    assert (ran.code, ran.err) == (0, f"wrote {book}\n")
    assert "float32: wordings, the best first" in ran.out
    assert "rate x 1.25 asked, 1.2" in ran.out
    again = run(*words, "--device", "cpu", "--json")
    assert again.err == ""
    assert (again.json["kind"], again.json["exit_code"], again.json["finished"]) == ("tune-emotion", 0, True)
    assert [row["variant"]["origin"] for row in again.json["answers"]] == ["yours", "mixed", "given"]
    assert run("tune", "score", book, "--variant", 2, "--score", 4, "--note", "warm").code == 0
    assert run("tune", "score", book, "--better", "2:1").code == 0
    shown = run("tune", "show", book)
    assert "4.0 (1), A/B 1:0" in " ".join(shown.out.split())
    assert run("tune", "show", book, "--json").json["answers"][1]["scores"] == [4]
    table = tmp_path / "t.csv"
    assert run("tune", "export", book, table).code == 0
    assert len(table.read_text(encoding="utf-8").splitlines()) == 1 + 4 * 8
    assert "exists" in run("tune", "export", book, table).line
    assert run("tune", "export", book, tmp_path / "t.parquet").code == 0


def test_a_wish_that_is_not_met_gives_4(run: Run, tmp_path: Path) -> None:
    ran = run("tune", "emotion", TEXT, "--instruct", "monotone", "--book", tmp_path / "b.yaml", "--device", "cpu")
    assert ran.code == 4
    assert "nothing more than chance" in " ".join(ran.out.split())


def test_precision(run: Run, tmp_path: Path) -> None:
    words = ["tune", "precision", TEXT, "--book", tmp_path / "p.yaml", "--device", "cpu", "--plot", tmp_path / "p.png"]
    ran = run(*words)
    assert ran.code == 4
    assert "2 of 8 runs failed, the first at run 3" in " ".join(ran.out.split())
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    found = run("tune", "show", tmp_path / "p.yaml", "--json").json
    assert [one["failed_runs"] for one in found["comparisons"]] == [[3, 7], []]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["emotion", TEXT, "--instruct", " "], "the instruction is empty"),
        (["emotion", "", "--instruct", "whisper"], "the text"),
        (["emotion", TEXT, "--instruct", "whisper", "--variant", ""], "a further variant is empty"),
        (["emotion", TEXT, "--instruct", "whisper", "--seeds", "2"], "--seeds"),
        (["emotion", TEXT, "--instruct", "whisper", "--precision", "int8"], "give auto, or one or more of bf16"),
        (["emotion", TEXT, "--instruct", "whisper", "--precision", "bf16,bf16"], "each once"),
        (["emotion", TEXT, "--instruct", "whisper", "--speaker", "nobody"], "nobody"),
        (["emotion", TEXT, "--instruct", "whisper", "--language", "klingon"], "klingon"),
        (["emotion", TEXT, "--instruct", "whisper", "--path", "scenic"], "scenic"),
        (["emotion", TEXT, "--instruct", "whisper", "--book", "none/b.yaml"], "there is no folder none"),
        (["precision", TEXT, "--precision", "bf16"], "at least two"),
        (["precision", TEXT, "--plot", "p.gif"], "pictures are .png or .svg"),
        (["show", "none.yaml"], "cannot be read"),
        (["score", "none.yaml"], "give --variant N with --score 1..5, or --better A:B"),
        (["score", "none.yaml", "--variant", "1", "--score", "4", "--better", "1:2"], "give --variant"),
        (["score", "none.yaml", "--better", "1:2"], "cannot be read"),
    ],
)
def test_wrong_input_is_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("tune", *words, *(["--device", "cpu"] if words[0] in ("emotion", "precision") else []))
    assert ran.code == 2
    assert told in ran.line
    assert list(tmp_path.iterdir()) == []


def test_a_score_that_is_none_leaves_the_book_as_it_was(run: Run, tmp_path: Path) -> None:
    book = tmp_path / "b.yaml"
    run("tune", "emotion", TEXT, "--instruct", "whisper", "--seeds", 3, "--book", book, "--device", "cpu")
    before = book.read_bytes()
    for words in (
        ["--variant", 9, "--score", 3],
        ["--variant", 1, "--score", 9],
        ["--better", "1:1"],
        ["--better", "x"],
    ):
        assert run("tune", "score", book, *words).code == 2
    assert book.read_bytes() == before


def test_as_a_process_with_the_pocket_voice(tmp_path: Path) -> None:
    words = ["tune", "emotion", "Good morning.", "--instruct", "whisper", "--seeds", 3, "--device", "cpu", "--json"]
    ran = spawn(*words, "--book", tmp_path / "b.yaml", "--keep-audio", tmp_path / "wavs", OMP_NUM_THREADS="1")
    assert ran.code == 4  # three seeds can show nothing
    assert json.loads(ran.out)["answers"][0]["checks"][0]["verdict"] == "reached"
    assert len(list((tmp_path / "wavs").iterdir())) == 9
