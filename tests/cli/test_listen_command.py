"""``qwen-audio listen``: exit codes, JSON, and one sentence for what is no recording to listen to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from running import ROOT, Run

from toolkit.acoustics.voice import TITLES, VALUE_NAMES

CLEAN = ROOT / "docs" / "samples" / "pocket_english-plain.flac"
RATE = 24_000


def damaged(folder: Path, *, offset: float = 0.0, hole: bool = False, nan: bool = False) -> Path:
    wave, rate = soundfile.read(CLEAN, dtype="float32")
    loud = int(np.argmax(np.abs(wave)))
    wave = wave + np.float32(offset)
    if hole:
        wave[loud - 240 : loud + 240] = 0.0
    if nan:
        wave[100] = np.nan
    path = folder / "out.wav"
    soundfile.write(path, wave, rate, subtype="FLOAT")
    return path


def test_clean_speech_is_well(run: Run) -> None:
    ran = run("listen", CLEAN, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert (ran.json["schema"], ran.json["kind"], ran.json["exit_code"]) == (1, "listen", 0)
    (one,) = ran.json["files"]
    assert one["faults"] == []
    assert 60 < one["measures"]["median_f0_hz"] < 300
    assert "no faults heard" in run("listen", CLEAN).out


def test_faults_have_a_place_and_an_exit_code(run: Run, tmp_path: Path) -> None:
    ran = run("listen", CLEAN, damaged(tmp_path, hole=True), "--json")
    assert ran.code == 3
    assert [[fault["name"] for fault in one["faults"]] for one in ran.json["files"]] == [[], ["dropout"]]
    assert run("listen", damaged(tmp_path, offset=0.05)).code == 4
    text = run("listen", damaged(tmp_path, nan=True))
    assert text.code == 3
    assert "not-finite" in text.out
    assert max(map(len, text.out.split("\n"))) <= 80 + len(str(tmp_path))


def test_silence_and_one_sample_are_measured(run: Run, tmp_path: Path) -> None:
    for count in (1, RATE):
        soundfile.write(tmp_path / "s.wav", np.zeros(count, np.float32), RATE)
        ran = run("listen", tmp_path / "s.wav", "--json")
        assert ran.code == 3
        assert ran.json["files"][0]["measures"]["median_f0_hz"] is None


def test_eight_bits_and_192_khz_are_measured(run: Run, tmp_path: Path) -> None:
    wave = np.sin(np.arange(192_000) / 192_000 * 2 * np.pi * 200) * np.hanning(192_000)
    soundfile.write(tmp_path / "a.wav", 0.3 * wave, 192_000, subtype="PCM_U8")
    ran = run("listen", tmp_path / "a.wav", "--json")
    assert ran.json["files"][0]["measures"]["median_f0_hz"] == pytest.approx(200, rel=0.01)


def test_a_truncated_file_is_told(run: Run, tmp_path: Path) -> None:
    path = damaged(tmp_path)
    path.write_bytes(path.read_bytes()[:-20_000])
    assert "cut-end" in {fault["name"] for fault in run("listen", path, "--json").json["files"][0]["faults"]}


@pytest.mark.parametrize(("content", "says"), [(b"", "is empty"), (b'{"detail": 1}', "is JSON, not a recording")])
def test_what_is_no_recording_is_one_sentence(run: Run, tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "x.wav").write_bytes(content)
    ran = run("listen", tmp_path / "x.wav")
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.line


def test_a_recording_of_hours_is_refused(run: Run, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(3 * 3600 * 8000, np.int16), 8000)
    ran = run("listen", tmp_path / "long.wav")
    assert ran.code == 2
    assert "is longer than 10 minutes; cut out the part in question" in ran.line


def test_all_measures_are_shown_and_the_text_gives_a_pace(run: Run) -> None:
    ran = run("listen", CLEAN, "--text", "今天天气很好，我们去公园。", "--json")
    (one,) = ran.json["files"]
    assert tuple(one["measures"]) == VALUE_NAMES
    assert one["measures"]["text_rate_per_s"] == pytest.approx(11 / one["measures"]["sounding_s"], rel=1e-3)
    assert len(one["pauses"]) == one["measures"]["pause_count"]
    assert all(0 < pause["start_s"] < pause["stop_s"] < one["duration_s"] for pause in one["pauses"])
    plain = run("listen", CLEAN)
    assert all(title in plain.out for title in TITLES.values())
    assert run("listen", CLEAN, "--json").json["files"][0]["measures"]["text_rate_per_s"] is None
