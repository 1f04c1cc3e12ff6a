"""Reading the recording of a voice: what is taken, what is noted, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from test_speech_result import make_result

from toolkit.errors import BadAudio, UsageError
from toolkit.synthesis.reference import read_reference

Samples = NDArray[np.float32]


def speech(seconds: float, rate: int = 24000, level: float = 0.1) -> Samples:
    return (level * np.random.default_rng(0).standard_normal(round(seconds * rate))).clip(-1, 1).astype(np.float32)


def written(path: Path, samples: Samples, rate: int = 24000) -> Path:
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


def test_half_a_second_of_silence_comes_behind(tmp_path: Path) -> None:
    found = read_reference(written(tmp_path / "a.wav", speech(4.0)))
    assert (found.seconds, found.notes) == (4.0, ())
    assert found.samples.dtype == np.float32
    assert found.samples.shape == (4 * 24000 + 12000,)
    assert not found.samples[-12000:].any()
    plain = read_reference(tmp_path / "a.wav", append_silence_s=0.0)
    assert np.array_equal(plain.samples, found.samples[:-12000])
    assert plain.sha256 == found.sha256


@pytest.mark.parametrize("suffix", ["flac", "ogg", "wav"])
def test_any_format_of_the_library_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, speech(4.0, 48000), 48000)
    assert read_reference(str(path)).seconds == pytest.approx(4.0, abs=0.01)


def test_stereo_becomes_the_mean_of_its_channels(tmp_path: Path) -> None:
    left, right = speech(4.0), speech(4.0)[::-1]
    found = read_reference(written(tmp_path / "a.wav", np.stack((left, right), 1)))
    assert found.samples[: left.size] == pytest.approx((left + right) / 2, abs=1e-4)
    assert found.notes == ("the reference a.wav has 2 channels; their mean was taken.",)


def test_eight_kilohertz_is_taken_with_a_note(tmp_path: Path) -> None:
    found = read_reference(written(tmp_path / "a.wav", speech(4.0, 8000), 8000))
    assert found.samples.shape == (4 * 24000 + 12000,)
    assert found.notes == (
        "the reference a.wav has 8000 Hz; what lies above 4000 Hz is missing, and the voice will sound dull.",
    )


def test_a_recording_that_is_cut_off_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", speech(8.0))
    path.write_bytes(path.read_bytes()[: 44 + 4 * 48000])
    found = read_reference(path)
    assert found.seconds == pytest.approx(4.0, abs=0.001)
    assert found.notes == ("the reference a.wav is cut off: 4.0 s fewer than its header says; what is there was used.",)


@pytest.mark.parametrize("suffix", ["flac", "ogg"])
def test_a_compressed_recording_that_is_cut_off_is_noted_or_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, speech(8.0), 24000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    seconds, told = 0.0, "is damaged"
    try:
        seconds = read_reference(path).seconds
    except BadAudio as error:
        told = str(error)
    assert seconds < 8.0
    assert "is damaged" in told


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        (np.zeros(96000, np.float32), r"is silent \(below -60 dB\)"),
        (np.full(96000, 0.3, np.float32), "is silent"),
        (speech(4.0, level=1e-5), "is silent"),
        (speech(0.003), "is 3 ms long, too short for a voice; 3 to 30 seconds of clear speech serve best"),
        (speech(600, 8000), "is 200 s long, more than 120; cut it"),
        (np.where(np.arange(96000) == 5, np.nan, 0.1).astype(np.float32), "not finite"),
        (np.full(96000, np.inf, np.float32), "not finite"),
        (np.zeros(0, np.float32), "is 0 ms long"),
        (np.zeros((2, 3, 4), np.float32), r"must be \[samples\] or \[samples, channels\], found shape"),
        (np.array(["a", "b"]), "must hold numbers"),
    ],
)
def test_what_cannot_serve_is_refused_with_one_sentence(samples: Samples, told: str) -> None:
    with pytest.raises(BadAudio, match=told) as caught:
        read_reference((samples, 24000))
    assert "\n" not in str(caught.value)


def test_ten_minutes_are_refused_without_being_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.wav", speech(600, 8000), 8000)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    with pytest.raises(BadAudio, match="is 600 s long, more than 120"):
        read_reference(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "does not exist"),
        (b"", r"is empty \(0 bytes\)"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "is no recording that can be read, or is damaged"),
        (b"<html>not found</html>" * 10, "is no recording that can be read"),
    ],
)
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadAudio, match=told):
        read_reference(path)


def test_a_folder_and_strange_things_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadAudio, match="is a folder"):
        read_reference(tmp_path)
    with pytest.raises(BadAudio, match=r"must be a file or \(samples, rate\), found int"):
        read_reference(3)  # type: ignore[arg-type]
    with pytest.raises(BadAudio, match="sampling rate must be 1000 to 768000 Hz, found 0"):
        read_reference((speech(4.0), 0))
    with pytest.raises(UsageError, match="append_silence_s must lie between 0 and 10"):
        read_reference((speech(4.0), 24000), append_silence_s=-1)


def test_whole_numbers_are_scaled() -> None:
    whole = (speech(4.0) * 32768).astype(np.int16)
    assert read_reference((whole, 24000)).samples[:96000] == pytest.approx(whole / 32768, abs=1e-7)


def test_a_result_of_this_toolkit_is_a_reference() -> None:
    assert read_reference(make_result(4.0)).seconds == 4.0


def test_length_and_clipping_are_noted(tmp_path: Path) -> None:
    assert read_reference((speech(1.0), 24000)).notes == ("the reference is 1.0 s long; 3 to 30 s serve best.",)
    assert "is clipped" in read_reference((np.sign(speech(4.0)), 24000)).notes[0]
