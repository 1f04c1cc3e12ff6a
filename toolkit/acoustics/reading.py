"""Reads a recording whole, or says in one sentence why it is not one that can be measured."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics.wav_header import WavHeader, read_wav_header
from toolkit.errors import BadAudio, UsageError
from troubleshoot.facts import NA

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MAX_RATE_HZ", "MIN_RATE_HZ", "Recording", "Stream", "open_stream", "read_wav"]

MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 192_000
"""Rates that recordings of speech have; a header outside them is damaged (the codec's own is 24,000)."""
MAX_CHANNELS = 2
MAX_SAMPLES = 100_000_000
"""Samples of all channels that are read, 400 MB as float32: 69 minutes of 24 kHz mono."""


@dataclass(frozen=True, eq=False)
class Recording:
    """Samples as float32 [frames, channels], full scale 1.0, possibly with NaN; ``sample_rate`` in Hz.

    ``header_frames`` is what the file's header promises, NA when it promises nothing. Raises :class:`BadAudio` for
    arrays of another shape or type, a rate outside 8 to 192 kHz, or no samples.
    """

    samples: NDArray[np.float32] = field(repr=False)
    sample_rate: int
    name: str = "recording"
    header_frames: int | NA = field(default=NA("it was not read from a file"))

    def __post_init__(self) -> None:
        samples = self.samples
        if not isinstance(samples, np.ndarray) or samples.ndim != 2 or samples.dtype != np.float32:
            raise BadAudio(f"{self.name}: samples have to be a float32 array of frames and channels")
        if not 1 <= samples.shape[1] <= MAX_CHANNELS:
            raise BadAudio(f"{self.name}: {samples.shape[1]} channels; one or two are measured")
        if isinstance(self.sample_rate, bool) or not MIN_RATE_HZ <= self.sample_rate <= MAX_RATE_HZ:
            raise BadAudio(f"{self.name}: {_rate_fault(self.sample_rate)}")
        if not samples.shape[0]:
            raise BadAudio(f"{self.name}: holds no samples")

    @property
    def frame_count(self) -> int:
        return int(self.samples.shape[0])

    @property
    def channel_count(self) -> int:
        return int(self.samples.shape[1])

    @property
    def duration_s(self) -> float:
        return self.frame_count / self.sample_rate

    @property
    def header_duration_s(self) -> float | NA:
        """Length that the header promises, in seconds."""
        return self.header_frames if isinstance(self.header_frames, NA) else self.header_frames / self.sample_rate

    @property
    def is_truncated(self) -> bool:
        """Whether the header promises more frames than the file holds."""
        return not isinstance(self.header_frames, NA) and self.header_frames > self.frame_count

    def finite_mono(self) -> NDArray[np.float32]:
        """The mean of the channels, with 0 for samples that are not numbers."""
        finite = np.nan_to_num(self.samples, nan=0.0, posinf=0.0, neginf=0.0)
        mono: NDArray[np.float32] = finite[:, 0] if finite.shape[1] == 1 else finite.mean(axis=1, dtype=np.float32)
        return mono


def read_wav(path: str | Path, *, require_finite: bool = False, max_samples: int = MAX_SAMPLES) -> Recording:
    """Read a WAV file, or FLAC, OGG or another format that libsndfile reads.

    A header that promises more than the file holds is not an error: ``is_truncated`` says so. NaN and infinite samples
    are kept, since they are evidence; ``require_finite`` makes them an error.
    ``max_samples`` of all channels are read at most; a longer file is an error. Raises :class:`BadAudio`.
    """
    path = Path(path)
    name = path.name or str(path)
    header, size = _header_of(path, name)
    samples, rate, frames = _decode(path, name, max_samples)
    if not len(samples):
        raise BadAudio(f"{name}: holds no samples{_hint(header, size)}")
    recording = Recording(samples, rate, name, _header_frames(header, frames))
    if require_finite and not np.isfinite(samples).all():
        count = int(np.count_nonzero(~np.isfinite(samples)))
        raise BadAudio(f"{name}: {count} of {samples.size} samples are not numbers (NaN or infinite)")
    return recording


@dataclass(frozen=True, eq=False)
class Stream:
    """An open recording: ``blocks`` gives float32 ``[frames, channels]``, each read when it is asked for.

    ``header_frames`` is what the header promises, NA when it promises nothing.
    """

    sample_rate: int
    channel_count: int
    header_frames: int | NA
    blocks: Iterator[NDArray[np.float32]] = field(repr=False)


@contextmanager
def open_stream(path: str | Path, block_samples: int = 200_000) -> Iterator[Stream]:
    """Open a recording of any length to read it in blocks of ``block_samples`` samples of all channels.

    Raises :class:`BadAudio`, as :func:`read_wav` does; a fault in the middle of the file shows while it is read.
    """
    path = Path(path)
    name = path.name or str(path)
    header, size = _header_of(path, name)
    sound = _soundfile()
    with _one_sentence(path, name), sound.SoundFile(os.fspath(path)) as file:
        _check_format(name, file.samplerate, file.channels)

        def blocks() -> Iterator[NDArray[np.float32]]:
            frames = 0
            while len(block := file.read(max(1, block_samples // file.channels), dtype="float32", always_2d=True)):
                frames += len(block)
                yield block
            if not frames:
                raise BadAudio(f"{name}: holds no samples{_hint(header, size)}")

        yield Stream(file.samplerate, file.channels, _header_frames(header, file.frames), blocks())


def _header_of(path: Path, name: str) -> tuple[WavHeader | None, int]:
    """WAV header, when it is one, and the size of a file that has something in it."""
    try:
        size = path.stat().st_size
        header = read_wav_header(path) if path.is_file() else None
    except (OSError, ValueError) as error:
        raise BadAudio(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not path.is_file():
        raise BadAudio(f"{name}: is not a file")
    if size == 0:
        raise BadAudio(f"{name}: is empty")
    return header, size


@contextmanager
def _one_sentence(path: Path, name: str) -> Iterator[None]:
    """What the decoder complains about, as one :class:`BadAudio`."""
    try:
        yield
    except BadAudio:
        raise
    except (_soundfile().LibsndfileError, RuntimeError, ValueError, OSError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise BadAudio(f"{name}: {_what_it_is(path)} ({reason})") from None


def _check_format(name: str, rate: int, channels: int) -> None:
    if channels > MAX_CHANNELS:
        raise BadAudio(f"{name}: {channels} channels; one or two are measured")
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        raise BadAudio(f"{name}: {_rate_fault(rate)}")


def _decode(path: Path, name: str, max_samples: int) -> tuple[NDArray[np.float32], int, int]:
    """Samples, rate, and the number of frames that the decoder announced."""
    sound = _soundfile()
    with _one_sentence(path, name), sound.SoundFile(os.fspath(path)) as file:
        rate, channels, frames = file.samplerate, file.channels, file.frames
        _check_format(name, rate, channels)
        # Read up to one frame more than the limit: a stream's header announces more frames than there are.
        samples = file.read(min(max(frames, 0), max_samples // channels + 1), dtype="float32", always_2d=True)
    if samples.size > max_samples:
        limit_min = max_samples // channels / rate / 60
        raise BadAudio(f"{name}: is longer than {limit_min:.0f} minutes; cut out the part in question")
    return samples, rate, frames


def _rate_fault(rate: int) -> str:
    return f"sample rate {rate} Hz; {MIN_RATE_HZ} to {MAX_RATE_HZ} are measured"


def _soundfile() -> ModuleType:
    try:
        import soundfile
    except ImportError:
        raise UsageError("reading a recording needs soundfile: `python -m pip install soundfile`") from None
    except OSError as error:
        raise UsageError(f"soundfile does not find libsndfile ({error}): reinstall soundfile") from None
    module: ModuleType = soundfile
    return module


def _header_frames(header: WavHeader | None, decoded_frames: int) -> int | NA:
    if header is None:
        return decoded_frames
    if header.promised_frames is None:
        return NA("the header gives no length, as that of a stream does")
    return header.promised_frames


def _hint(header: WavHeader | None, size: int) -> str:
    if header is not None and header.promised_bytes == 0 and size > 100:
        return f", by its header; the file has {size} bytes, so its header was never completed"
    return ""


def _what_it_is(path: Path) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return "cannot be read"
    start = head.lstrip()[:10].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, not a recording"
    if start.startswith((b"{", b"[")) and b"\0" not in head:
        return "is JSON, not a recording: a server's error message, most likely"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not a recording"
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return "has a damaged WAV header"
    return "is not a recording that libsndfile reads"
