"""``qwen-audio listen --against``, ``--spread`` and ``--plot``: tables, JSON, pictures; one sentence for what fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from running import ROOT, Run

PLAIN = ROOT / "docs" / "samples" / "pocket_english-plain.flac"
SLOWER = ROOT / "docs" / "samples" / "pocket_english-30-percent-slower.flac"


def gained(folder: Path, gain: float) -> Path:
    wave, rate = soundfile.read(PLAIN, dtype="float32")
    path = folder / f"gain-{gain}.wav"
    soundfile.write(path, wave * np.float32(gain), rate, subtype="FLOAT")
    return path


def test_what_differs_is_told_by_measure(run: Run) -> None:
    ran = run("listen", SLOWER, "--against", PLAIN, "--json")
    assert (ran.code, ran.err) == (0, "")
    (one,) = ran.json["comparisons"]
    assert (one["file"], one["against"], one["seeds"]) == (str(SLOWER), str(PLAIN), 0)
    found = {difference["name"]: difference for difference in one["differences"]}
    assert found["stretch_along"]["difference"] == pytest.approx(1.43, abs=0.06)
    assert found["duration_s"]["difference_unit"] == "x"
    assert found["f0_along_st"]["difference"] == pytest.approx(0, abs=0.3)
    assert found["f0_along_st"]["reference"] is None
    assert {difference["verdict"] for difference in found.values()} <= {"no spread", "not measured"}
    text = run("listen", SLOWER, "--against", PLAIN).out
    assert "give three or more recordings of the same text by other seeds" in " ".join(text.split())
    assert max(map(len, text.split("\n"))) <= 80 + len(str(SLOWER))


def test_the_spread_of_seeds_gives_verdicts(run: Run, tmp_path: Path) -> None:
    seeds = [word for gain in (0.9, 1.0, 1.1) for word in ("--spread", gained(tmp_path, gain))]
    ran = run("listen", gained(tmp_path, 0.05), gained(tmp_path, 0.95), "--against", PLAIN, *seeds, "--json")
    softer, near = (
        {difference["name"]: difference for difference in one["differences"]} for one in ran.json["comparisons"]
    )
    assert softer["level_dbfs"]["verdict"] == "beyond"
    assert softer["level_dbfs"]["spread"] == pytest.approx(
        np.sqrt(2) * np.std(20 * np.log10([0.9, 1, 1.1]), ddof=1), 0.01
    )
    assert softer["median_f0_hz"]["verdict"] == "within"
    assert near["level_dbfs"]["verdict"] == "within"
    text = run("listen", gained(tmp_path, 0.05), "--against", PLAIN, *seeds).out
    assert "differences go beyond what 3 seeds differ by chance" in " ".join(text.split())


def test_without_another_recording_nothing_is_compared(run: Run) -> None:
    assert "comparisons" not in run("listen", PLAIN, "--json").json


def test_faults_of_the_other_recording_do_not_count(run: Run, tmp_path: Path) -> None:
    wave, rate = soundfile.read(PLAIN, dtype="float32")
    soundfile.write(tmp_path / "offset.wav", wave + np.float32(0.05), rate, subtype="FLOAT")
    assert run("listen", PLAIN, "--against", tmp_path / "offset.wav", "--json").code == 0
    assert run("listen", tmp_path / "offset.wav", "--against", PLAIN, "--json").code == 4


@pytest.mark.parametrize(("name", "head"), [("a.png", b"\x89PNG"), ("b.SVG", b"<?xml")])
def test_a_picture_is_written_beside_the_result(run: Run, tmp_path: Path, name: str, head: bytes) -> None:
    (tmp_path / name).write_bytes(b"older")
    ran = run("listen", PLAIN, SLOWER, "--plot", tmp_path / name, "--json")
    assert (ran.code, ran.line) == (0, f"wrote {tmp_path / name}")
    assert len(ran.json["files"]) == 2
    assert (tmp_path / name).read_bytes().startswith(head)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_comparison_is_drawn(run: Run, tmp_path: Path) -> None:
    ran = run("listen", SLOWER, "--against", PLAIN, "--plot", tmp_path / "输出.png", "--json")
    assert ran.code == 0
    assert (tmp_path / "输出.png").stat().st_size > 50_000


def test_options_that_do_not_fit_are_one_sentence_before_any_work(run: Run, tmp_path: Path) -> None:
    missing = tmp_path / "missing.wav"
    for words, says in [
        (("--spread", PLAIN), "name the other recording too (--against FILE)"),
        (("--against", PLAIN, "--spread", PLAIN), "--spread needs 3 recordings of the same text by other seeds"),
        (("--plot", tmp_path / "a.jpg"), "a picture is written as .png or .svg, not as .jpg"),
        (("--plot", tmp_path / "no" / "a.png"), "there is no folder"),
        ((missing, "--against", PLAIN, "--plot", tmp_path / "a.png"), "name one FILE"),
        ((missing,) * 4 + ("--plot", tmp_path / "a.png"), "draws up to 4 recordings in one picture, not 5"),
    ]:
        ran = run("listen", missing, *words)
        assert (ran.code, ran.out) == (2, ""), words
        assert says in ran.line
    assert list(tmp_path.iterdir()) == []


def test_recordings_too_short_to_compare_or_draw_are_one_sentence(run: Run, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.zeros(100, np.float32), 24_000)
    ran = run("listen", tmp_path / "short.wav", "--against", PLAIN)
    assert (ran.code, ran.out) == (2, "")
    assert "short.wav: 0.004 s of sound are too short to be compared" in ran.line
    ran = run("listen", tmp_path / "short.wav", "--plot", tmp_path / "a.png")
    assert ran.code == 2
    assert "short.wav: speech is drawn from 0.025 s of mono or more" in ran.line
    assert not (tmp_path / "a.png").exists()
    assert "is empty" not in run("listen", PLAIN, "--against", tmp_path / "missing.wav").line
