"""``qwen-audio listen``: exit codes, JSON, and one sentence for what is no recording to listen to."""

from __future__ import annotations

import json
import subprocess
import sys
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


def test_twenty_minutes_are_heard_in_bounded_memory(tmp_path: Path) -> None:
    wave, rate = soundfile.read(CLEAN, dtype="float32")
    spoken = np.resize(wave[:: rate // 8000], 8000 * 5)
    path = tmp_path / "long.wav"
    hole = int(np.argmax(np.abs(spoken)))
    with soundfile.SoundFile(path, "w", 8000, 1, "PCM_16") as file:
        for number in range(240):
            part = spoken.copy() if number % 12 == 0 else np.zeros(8000 * 5, np.float32)
            if number == 144:
                part[hole - 80 : hole + 80] = 0.0
            file.write(part)
    program = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from toolkit.acoustics.hearing import hear_file\n"
        "heard = hear_file(sys.argv[1])\n"
        # Not getrusage, whose peak is at first that of the process that starts this one.
        "peak = re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1]\n"
        "print(heard.duration_s, peak)\n"
        "print([round(fault.place_s, 2) for fault in heard.faults if fault.name == 'dropout'])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True, timeout=120, cwd=ROOT
    )
    first, places = ran.stdout.splitlines()
    duration_s, peak_kib = map(float, first.split())
    assert duration_s == 1200.0
    assert peak_kib < 500 * 1024
    assert round(144 * 5 + (hole - 80) / 8000, 2) in json.loads(places)


def test_a_leak_is_told_beside_the_reference(run: Run, tmp_path: Path) -> None:
    wave, rate = soundfile.read(CLEAN, dtype="float32")
    other = CLEAN.with_name("pocket_english-30-percent-slower.flac")
    slower, _ = soundfile.read(other, dtype="float32")
    last = int(np.flatnonzero(np.abs(slower) > 0.02 * np.abs(slower).max())[-1])
    soundfile.write(tmp_path / "out.wav", np.concatenate((slower[last - rate // 2 : last], wave)), rate)
    ran = run("listen", tmp_path / "out.wav", "--reference", other, "--json")
    assert "leaked-reference" in {fault["name"] for fault in ran.json["files"][0]["faults"]}
    assert run("listen", CLEAN, "--reference", other).code == 0
    missing = run("listen", CLEAN, "--reference", tmp_path / "no.wav")
    assert (missing.code, missing.out) == (2, "")
