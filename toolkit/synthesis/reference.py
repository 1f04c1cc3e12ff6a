"""Reads the recording of a voice to clone: any format of libsndfile, brought to one channel and 24 kHz."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import soundfile
from numpy.typing import NDArray

from toolkit.errors import BadAudio, UsageError
from toolkit.synthesis.codec_config import SAMPLE_RATE_HZ
from toolkit.synthesis.joining import active_level
from toolkit.synthesis.resampling import MAX_RATE_HZ, MIN_RATE_HZ, mono, resample_to_24k

__all__ = [
    "APPENDED_SILENCE_S",
    "MAX_REFERENCE_S",
    "MIN_REFERENCE_S",
    "Recording",
    "Reference",
    "ReferenceSource",
    "read_reference",
]

APPENDED_SILENCE_S = 0.5
"""Silence put behind the recording. Without it the end of the recording leaks into the beginning of the speech; the
silence lets the model begin from rest. The official package appends none."""

MIN_REFERENCE_S = 0.5
GOOD_REFERENCE_S = (3.0, 30.0)
MAX_REFERENCE_S = 120.0
"""Every second is 12.5 positions of the prompt and 25 of the encoder, which attends to all of them; above two minutes
the cost grows with the square and the voice gains nothing."""

_SILENCE_LEVEL = 1e-3  # -60 dBFS
_CLIPPED_SHARE = 0.01
_NARROW_RATE_HZ = 16000


@runtime_checkable
class Recording(Protocol):
    """Anything with samples and a rate, such as the result of a voice design."""

    @property
    def samples(self) -> NDArray[np.float32]:
        """Float samples."""

    @property
    def sample_rate(self) -> int:
        """In Hz."""


ReferenceSource = str | PathLike[str] | tuple[NDArray[np.floating], int] | Recording
"""A file; samples ``[n]`` or ``[n, channels]`` in [-1, 1] with their rate in Hz; or a result of this toolkit."""


@dataclass(frozen=True)
class Reference:
    """A recording ready for the encoders.

    ``samples`` are float32 ``[n]`` at 24 kHz with the silence behind, ``seconds`` is the length without it, ``sha256``
    that of the samples without it, ``notes`` are sentences about what is less than ideal.
    """

    samples: NDArray[np.float32]
    seconds: float
    sha256: str
    notes: tuple[str, ...] = field(default=())


def read_reference(source: ReferenceSource, *, append_silence_s: float = APPENDED_SILENCE_S) -> Reference:
    """Read a recording for cloning.

    Args:
        source: see :data:`ReferenceSource`. Several channels become their mean.
        append_silence_s: seconds of silence put behind; 0 as in the official package.

    Raises:
        BadAudio: no recording, damaged, silent, NaN, shorter than 0.5 s or longer than 120 s.
        UsageError: a length of silence that is none.
    """
    if not math.isfinite(append_silence_s) or not 0 <= append_silence_s <= 10:
        raise UsageError(f"append_silence_s must lie between 0 and 10 seconds, not {append_silence_s!r}")
    notes: list[str] = []
    if isinstance(source, str | PathLike):
        name = f"the reference {Path(source).name}"
        samples, rate = _from_file(Path(source), name, notes)
    else:
        name = "the reference"
        samples, rate = _from_memory(source)
    _check_length(samples.shape[0] / rate, name)
    if samples.ndim == 2 and samples.shape[1] > 1:
        notes.append(f"{name} has {samples.shape[1]} channels; their mean was taken.")
    one = mono(samples)
    _check_sound(one, rate, name, notes)
    ready = np.ascontiguousarray(resample_to_24k(one, rate), np.float32)
    silence = np.zeros(round(append_silence_s * SAMPLE_RATE_HZ), np.float32)
    digest = hashlib.sha256(ready.tobytes()).hexdigest()
    return Reference(np.concatenate((ready, silence)), ready.size / SAMPLE_RATE_HZ, digest, tuple(notes))


def _from_file(path: Path, name: str, notes: list[str]) -> tuple[NDArray[np.floating], int]:
    if path.is_dir():
        raise BadAudio(f"{name} is a folder; name the recording in it")
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise BadAudio(f"{name} does not exist: {path}") from None
    except OSError as error:
        raise BadAudio(f"{name} cannot be read: {error.strerror or error}") from None
    if not size:
        raise BadAudio(f"{name} is empty (0 bytes)")
    try:
        with soundfile.SoundFile(str(path)) as file:
            rate, promised = int(file.samplerate), int(file.frames)
            _check_length(promised / rate if rate > 0 else 0.0, name)
            samples = file.read(dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise BadAudio(f"{name} is no recording that can be read, or is damaged ({error})") from None
    missing_s = max(promised - samples.shape[0], _missing_wav_frames(path)) / rate
    if missing_s > 0.01:
        notes.append(f"{name} is cut off: {missing_s:.1f} s fewer than its header says; what is there was used.")
    return samples, rate


def _from_memory(source: object) -> tuple[NDArray[np.floating], int]:
    if isinstance(source, Recording):
        samples: NDArray[np.generic] = np.asarray(source.samples)
        rate = source.sample_rate
    elif isinstance(source, tuple) and len(source) == 2:
        samples, rate = np.asarray(source[0]), source[1]
    else:
        raise BadAudio(f"the reference must be a file or (samples, rate), found {type(source).__name__}")
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer) or not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        raise BadAudio(f"the reference's sampling rate must be {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, found {rate!r}")
    if samples.ndim not in (1, 2):
        raise BadAudio(f"the reference must be [samples] or [samples, channels], found shape {samples.shape}")
    if np.issubdtype(samples.dtype, np.signedinteger):
        return samples.astype(np.float32) / np.float32(2 ** (8 * samples.dtype.itemsize - 1)), int(rate)
    if not np.issubdtype(samples.dtype, np.floating):
        raise BadAudio(f"the reference must hold numbers from -1 to 1, or signed whole numbers, found {samples.dtype}")
    return samples.astype(np.float32), int(rate)


def _check_length(seconds: float, name: str) -> None:
    wanted = f"{GOOD_REFERENCE_S[0]:.0f} to {GOOD_REFERENCE_S[1]:.0f} seconds of clear speech serve best"
    if seconds < MIN_REFERENCE_S:
        raise BadAudio(f"{name} is {seconds * 1000:.0f} ms long, too short for a voice; {wanted}")
    if seconds > MAX_REFERENCE_S:
        raise BadAudio(f"{name} is {seconds:.0f} s long, more than {MAX_REFERENCE_S:.0f}; cut it: {wanted}")


def _check_sound(samples: NDArray[np.float32], rate: int, name: str, notes: list[str]) -> None:
    seconds = samples.size / rate
    if active_level(samples - samples.mean(), rate) < _SILENCE_LEVEL:
        raise BadAudio(f"{name} is silent (below -60 dB); check the recording")
    if not GOOD_REFERENCE_S[0] <= seconds <= GOOD_REFERENCE_S[1]:
        notes.append(f"{name} is {seconds:.1f} s long; 3 to 30 s serve best.")
    if rate < _NARROW_RATE_HZ:
        notes.append(f"{name} has {rate} Hz; what lies above {rate // 2} Hz is missing, and the voice will sound dull.")
    if float((np.abs(samples) >= 0.999).mean()) > _CLIPPED_SHARE:
        notes.append(f"{name} is clipped; the distortion becomes part of the voice.")


def _missing_wav_frames(path: Path) -> int:
    """Frames that the header of a WAV file promises beyond the end of the file; libsndfile passes over them.

    0 for other formats, and for a length that says "not known" (a file that was streamed).
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return 0
        end = path.stat().st_size
        frame_bytes = 0
        while len(chunk := file.read(8)) == 8:
            size = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"fmt ":
                frame_bytes = int.from_bytes(file.read(16)[12:14], "little")
                file.seek(size - 16, 1)
            elif chunk[:4] == b"data":
                known = 0 < size < 0xFFFFFF00 and frame_bytes
                return max(0, size - (end - file.tell())) // frame_bytes if known else 0
            else:
                file.seek(size, 1)
            if size % 2:
                file.seek(1, 1)
    return 0
