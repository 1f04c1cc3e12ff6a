"""A recording is read whole, or its fault is told: what is missing, what is odd, and what it is instead."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.acoustics import Recording, read_wav
from toolkit.acoustics.wav_header import read_wav_header
from toolkit.errors import BadAudio
from troubleshoot.facts import NA

RATE = 24_000
TONE = (0.5 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)).astype(np.float32)


def wav_bytes(samples: np.ndarray = TONE, rate: int = RATE, subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


def raw_header(*, data_bytes: int, channels: int = 1, rate: int = RATE, riff_bytes: int = 0xFFFF_FFFF) -> bytes:
    fmt = (1).to_bytes(2, "little") + channels.to_bytes(2, "little") + rate.to_bytes(4, "little")
    fmt += min(rate * channels * 2, 0xFFFF_FFFF).to_bytes(4, "little")
    fmt += min(channels * 2, 0xFFFF).to_bytes(2, "little") + (16).to_bytes(2, "little")
    head = b"RIFF" + riff_bytes.to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little") + fmt
    return head + b"data" + data_bytes.to_bytes(4, "little")


PCM = (TONE * 32767).astype("<i2").tobytes()


def put(folder: Path, content: bytes, name: str = "x.wav") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_kind_of_sample_becomes_float32(tmp_path: Path, subtype: str) -> None:
    recording = read_wav(put(tmp_path, wav_bytes(subtype=subtype)))
    assert recording.samples.dtype == np.float32
    assert recording.samples.shape == (RATE, 1)
    assert np.abs(recording.samples[:, 0] - TONE).max() < 1e-4
    assert (recording.duration_s, recording.header_duration_s, recording.is_truncated) == (1.0, 1.0, False)


@pytest.mark.parametrize("form", ["FLAC", "OGG", "RF64", "AIFF"])
def test_other_formats_of_libsndfile_are_read(tmp_path: Path, form: str) -> None:
    soundfile.write(tmp_path / "x", TONE, RATE, format=form)
    recording = read_wav(tmp_path / "x")
    assert recording.frame_count == RATE
    assert not recording.is_truncated


def test_a_big_endian_wav_is_followed(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", TONE, RATE, format="WAV", endian="BIG", subtype="PCM_16")
    header = read_wav_header(tmp_path / "x.wav")
    assert header is not None
    assert (header.promised_frames, header.sample_rate) == (RATE, RATE)


def test_stereo_keeps_both_channels(tmp_path: Path) -> None:
    recording = read_wav(put(tmp_path, wav_bytes(np.stack([TONE, -TONE], axis=1))))
    assert recording.channel_count == 2
    assert np.abs(recording.finite_mono()).max() < 1e-4


@pytest.mark.parametrize("missing_frames", [1, 100, 23_999])
def test_a_truncated_file_tells_both_lengths(tmp_path: Path, missing_frames: int) -> None:
    recording = read_wav(put(tmp_path, wav_bytes()[: -2 * missing_frames]))
    assert recording.is_truncated
    assert recording.frame_count == RATE - missing_frames
    assert recording.header_duration_s == 1.0


def test_a_cut_inside_a_sample_is_a_missing_frame(tmp_path: Path) -> None:
    assert read_wav(put(tmp_path, wav_bytes()[:-1])).is_truncated


def test_chunks_after_the_data_may_be_missing(tmp_path: Path) -> None:
    content = wav_bytes() + b"LIST" + (26).to_bytes(4, "little") + b"INFO"
    assert not read_wav(put(tmp_path, content)).is_truncated


@pytest.mark.parametrize("data_bytes", [0xFFFF_FFFF, 0x7FFF_FFFF - 36, 0x7FFF_0000])
def test_the_header_of_a_stream_promises_nothing(tmp_path: Path, data_bytes: int) -> None:
    recording = read_wav(put(tmp_path, raw_header(data_bytes=data_bytes) + PCM))
    assert recording.frame_count == RATE
    assert recording.header_duration_s == NA("the header gives no length, as that of a stream does")
    assert not recording.is_truncated


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (wav_bytes()[:44], "holds no samples"),
        (raw_header(data_bytes=0) + PCM, "its header was never completed"),
        (raw_header(data_bytes=len(PCM), rate=0) + PCM, "x.wav: "),
        (raw_header(data_bytes=len(PCM), rate=4_000_000_000) + PCM, "x.wav: "),
        (raw_header(data_bytes=len(PCM), rate=7_999) + PCM, "sample rate 7999 Hz; 8000 to 192000 are measured"),
        (raw_header(data_bytes=len(PCM), rate=200_000) + PCM, "sample rate 200000 Hz"),
        (raw_header(data_bytes=len(PCM), channels=3) + PCM, "3 channels; one or two are measured"),
        (raw_header(data_bytes=len(PCM), channels=65_535) + PCM, "x.wav: "),
        (b"RIFF\x24\x00\x00\x00WAVE", "has a damaged WAV header"),
        (b"<!DOCTYPE html><html>", "is a web page, not a recording"),
        (b'{"detail": "not found"}', "is JSON, not a recording"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer, not a recording"),
        (PCM, "is not a recording that libsndfile reads"),
    ],
)
def test_what_is_no_recording_is_told(tmp_path: Path, content: bytes, sentence: str) -> None:
    with pytest.raises(BadAudio) as caught:
        read_wav(put(tmp_path, content))
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("x.wav: ")


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    loop = tmp_path / "loop.wav"
    loop.symlink_to(loop)
    for path in (tmp_path, tmp_path / "absent.wav", loop, Path("a\0b.wav")):
        with pytest.raises(BadAudio):
            read_wav(path)


def test_values_that_are_no_numbers_are_kept_unless_refused(tmp_path: Path) -> None:
    broken = TONE.copy()
    broken[10:13] = [np.nan, np.inf, -np.inf]
    path = put(tmp_path, wav_bytes(broken, subtype="FLOAT"))
    recording = read_wav(path)
    assert np.count_nonzero(~np.isfinite(recording.samples)) == 3
    assert np.isfinite(recording.finite_mono()).all()
    with pytest.raises(BadAudio, match=r"3 of 24000 samples are not numbers"):
        read_wav(path, require_finite=True)


def test_a_chunk_that_claims_the_world_ends_the_search(tmp_path: Path) -> None:
    content = b"RIFF\xff\xff\xff\xffWAVE" + b"junk" + (0xFFFF_FFF0).to_bytes(4, "little") + bytes(100)
    assert read_wav_header(put(tmp_path, content)) is None


def test_a_recording_refuses_other_arrays() -> None:
    good = TONE[:, None]
    double: np.ndarray = good.astype(np.float64)
    for samples, rate in ((TONE, RATE), (double, RATE), (good[:0], RATE), (good, 1), (good, True)):
        with pytest.raises(BadAudio):
            Recording(samples, rate)
    with pytest.raises(BadAudio, match="3 channels"):
        Recording(np.zeros((4, 3), np.float32), RATE)
    assert "samples" not in repr(Recording(good, RATE))


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 80), st.binary(max_size=40), st.integers(0, 400))
def test_a_damaged_header_gives_a_recording_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, noise: bytes, length: int
) -> None:
    content = bytearray(wav_bytes(TONE[:100]))
    content[place : place + len(noise)] = noise
    path = put(tmp_path_factory.mktemp("fuzz"), bytes(content[: 44 + length]))
    try:
        recording = read_wav(path)
    except BadAudio as error:
        problem = str(error)
        assert problem.startswith("x.wav: ")
        return
    assert recording.frame_count > 0
