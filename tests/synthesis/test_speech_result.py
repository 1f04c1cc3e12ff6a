"""The result: numbers that follow from it, files that are whole or absent, and the player in a notebook."""

from __future__ import annotations

import base64
import errno
import io
import json
import os
import re
import stat
import subprocess
import sys
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from toolkit.errors import BadOutput, DiskFull, QwenAudioError
from toolkit.synthesis import audio_file, whole_file
from toolkit.synthesis.audio_file import AudioFile
from toolkit.synthesis.precision import Choice
from toolkit.synthesis.result import INLINE_S, PartResult, SpeechResult, wav_bytes
from toolkit.synthesis.whole_file import WholeFile


def make_result(seconds: float = 1.0, **changes: object) -> SpeechResult:
    count = round(seconds * 24000)
    wave_ = (0.5 * np.sin(np.arange(count) / 20)).astype(np.float32)
    result = SpeechResult(
        samples=wave_,
        codes=np.zeros((round(seconds * 12.5), 16), np.int16),
        text="Hello there.",
        parts=(PartResult("Hello there.", round(seconds * 12.5), 7, "eos"),),
        seconds=count / 24000,
        frames=round(seconds * 12.5),
        seed=7,
        finish_reason="eos",
        model="demo",
        device="cpu",
        dtype=Choice("float32", "asked for"),
        codec_dtype=Choice("float32", "asked for"),
        timings_s={"prompt": 0.1, "decode": 0.2, "codec": 0.1, "join": 0.0, "total": 0.4},
        first_audio_s=0.4,
        peak_bytes=1000,
    )
    return replace(result, **changes)  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("suffix", "tolerance"), [(".wav", 5e-5), (".flac", 5e-5), (".ogg", 0.1), (".WAV", 5e-5)])
def test_a_result_is_saved_in_the_format_of_its_suffix(tmp_path: Path, suffix: str, tolerance: float) -> None:
    result = make_result()
    path = result.save(tmp_path / f"out{suffix}")
    samples, rate = soundfile.read(path, dtype="float32")
    assert (rate, samples.shape) == (24000, result.samples.shape)
    assert float(np.abs(samples - result.samples).max()) < tolerance
    assert names(tmp_path) == [f"out{suffix}"]


def test_full_scale_does_not_wrap_around(tmp_path: Path) -> None:
    loud = np.array([1.0, -1.0, 0.99999, 1.5], np.float32)
    path = make_result(samples=loud).save(tmp_path / "out.wav")
    assert soundfile.read(path, dtype="int16")[0].tolist() == [32767, -32768, 32767, 32767]
    with wave.open(io.BytesIO(wav_bytes(loud, 24000))) as file:
        assert np.frombuffer(file.readframes(4), "<i2").tolist() == [32767, -32768, 32767, 32767]


def test_minutes_of_vorbis_are_written(tmp_path: Path) -> None:
    path = make_result(300.0).save(tmp_path / "long.ogg")
    assert soundfile.info(str(path)).frames == 300 * 24000


def test_the_sidecar_holds_everything_but_samples_and_codes(tmp_path: Path) -> None:
    result = make_result()
    path = result.save(tmp_path / "out.wav", sidecar=True)
    beside = json.loads((tmp_path / "out.wav.json").read_text("utf-8"))
    assert beside == json.loads(json.dumps(result.to_json()))
    assert beside["dtype"] == {"value": "float32", "reason": "asked for", "warning": ""}
    assert beside["x_real_time"] == 2.5
    assert names(tmp_path) == [path.name, "out.wav.json"]


def test_files_have_the_permissions_that_the_user_wants(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = make_result().save(tmp_path / "out.wav")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_an_existing_file_stays_unless_overwriting_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    path.write_bytes(b"mine")
    with pytest.raises(BadOutput, match=r"out.wav exists; choose another name"):
        make_result().save(path)
    assert path.read_bytes() == b"mine"
    make_result().save(path, overwrite=True)
    assert soundfile.info(str(path)).frames == 24000
    assert names(tmp_path) == ["out.wav"]


def test_an_existing_sidecar_stops_the_sound_as_well(tmp_path: Path) -> None:
    (tmp_path / "out.wav.json").write_text("{}")
    with pytest.raises(BadOutput, match=r"out.wav.json exists"):
        make_result().save(tmp_path / "out.wav", sidecar=True)
    assert names(tmp_path) == ["out.wav.json"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("out.mp3", r"\.mp3 is not written; use one of \.wav, \.flac, \.ogg"),
        ("out", "a name without suffix cannot be written"),
        ("missing/out.wav", "there is no folder"),
        ("folder.wav", "it is a folder; name a file in it"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(BadOutput, match=told):
        make_result().save(tmp_path / name)
    assert names(tmp_path) == ["folder.wav"]


def test_a_closed_folder_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_file.os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(BadOutput, match="no permission to write in"):
        make_result().save(tmp_path / "out.wav")


class FullDisk:
    """A file that takes some bytes and then no more."""

    def __init__(self, file: io.FileIO, room: int) -> None:
        self._file = file
        self._room = room

    def write(self, data: bytes) -> int:
        if len(data) > self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._room -= len(data)
        return self._file.write(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


@pytest.mark.parametrize("room", [0, 100, 20_000])
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, room: int
) -> None:
    sink = audio_file._Sink
    monkeypatch.setattr(audio_file, "_Sink", lambda file: sink(FullDisk(file, room)))  # type: ignore[arg-type]
    noise = np.random.default_rng(0).uniform(-1, 1, 96000).astype(np.float32)
    with pytest.raises(DiskFull, match="no room on the disk") as caught:
        make_result(samples=noise).save(tmp_path / f"out{suffix}")
    assert (caught.value.exit_code, caught.value.http_status) == (3, 507)
    assert names(tmp_path) == []


def test_a_real_limit_of_the_system_counts_as_a_full_disk(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from test_speech_result import make_result\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))\n"
        "make_result(3.0).save(sys.argv[1], sidecar=True)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out.wav")],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "DiskFull" in ran.stderr
    assert names(tmp_path) == []


def test_a_file_that_came_out_short_does_not_get_its_name(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskFull, match="100 samples were written and 0 are there"),
        AudioFile(tmp_path / "out.wav", 24000) as file,
    ):
        file.frames += 100
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError])
def test_an_interruption_leaves_nothing_behind(tmp_path: Path, kind: type[BaseException]) -> None:
    def interrupted() -> None:
        with AudioFile(tmp_path / "out.wav", 24000) as file:
            file.append(np.zeros(1000, np.float32))
            assert len(names(tmp_path)) == 1
            raise kind

    with pytest.raises(kind):
        interrupted()
    assert names(tmp_path) == []


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"

    def race() -> None:
        with WholeFile(path) as file:
            file.write(b"ours")
            path.write_bytes(b"theirs")

    with pytest.raises(BadOutput, match="appeared while it was written"):
        race()
    assert path.read_bytes() == b"theirs"
    assert names(tmp_path) == ["out.txt"]


def test_a_file_system_without_links_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(whole_file.os, "link", refuse)
    make_result().save(tmp_path / "out.wav")
    assert names(tmp_path) == ["out.wav"]


def test_a_notebook_plays_the_result() -> None:
    html = make_result(0.5, notes=("<careful>",))._repr_html_()
    data = re.search(r'src="data:audio/wav;base64,([^"]+)"', html)
    assert data is not None
    with wave.open(io.BytesIO(base64.b64decode(data[1]))) as file:
        assert (file.getnframes(), file.getsampwidth(), file.getframerate()) == (12000, 2, 24000)
    assert "&lt;careful&gt;" in html
    assert "seed 7" in html


def test_a_notebook_gets_at_most_three_minutes() -> None:
    html = make_result(INLINE_S + 20)._repr_html_()
    assert f"the first {INLINE_S} s are played here" in html
    assert len(html) < 1.4 * INLINE_S * 48000


def test_a_result_shows_itself_in_one_short_line() -> None:
    assert repr(make_result(text="x" * 500)).count("x") < 50
    assert repr(make_result()) == "SpeechResult('Hello there.', 1.00 s, eos, seed 7, 2.50 x real time)"


def test_errors_of_files_are_ours() -> None:
    assert isinstance(whole_file.output_error(Path("a"), OSError(errno.EIO, "I/O error")), QwenAudioError)
