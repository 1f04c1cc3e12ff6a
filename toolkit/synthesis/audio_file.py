"""Writes speech to a WAV, FLAC or OGG file, in one go or while it is made; the file appears whole or not at all."""

from __future__ import annotations

from io import FileIO
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile
from numpy.typing import NDArray

from toolkit.errors import BadOutput, DiskFull, ToolkitFault
from toolkit.synthesis.whole_file import WholeFile, output_error

__all__ = ["FORMATS", "AudioFile", "audio_format"]

FORMATS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}
"""Suffix -> format and encoding. 16 bits are what players expect; the codec's noise lies far above their step."""

_BLOCK_FRAMES = 1 << 16  # libsndfile's Vorbis encoder overflows the stack when it is given minutes at once


def audio_format(path: Path) -> tuple[str, str]:
    """Format and encoding that the suffix of a path asks for.

    Raises:
        BadOutput: a suffix that is not written.
    """
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        told = f"{path.suffix} is not" if path.suffix else "a name without suffix cannot be"
        raise BadOutput(f"cannot write {path}: {told} written; use one of {', '.join(FORMATS)}")
    return found


class AudioFile(WholeFile):
    """A mono recording in a ``with`` block. ``frames`` counts the samples appended so far."""

    def __init__(self, path: str | Path, sample_rate: int, *, overwrite: bool = False) -> None:
        self.frames = 0
        self._rate = sample_rate
        self._format, self._encoding = audio_format(Path(path))
        super().__init__(path, overwrite=overwrite)

    def __enter__(self) -> AudioFile:
        super().__enter__()
        self._sink = _Sink(self.file)
        try:
            self._sound = soundfile.SoundFile(
                self._sink, "w", self._rate, 1, format=self._format, subtype=self._encoding
            )
        except soundfile.SoundFileError as error:
            self._abandon()
            raise self._problem(error) from None
        return self

    def append(self, samples: NDArray[np.float32]) -> None:
        """Append float32 samples in [-1, 1].

        Raises:
            DiskFull: the disk is full.
            BadOutput: the file cannot be written any more.
        """
        for start in range(0, samples.size, _BLOCK_FRAMES):
            try:
                self._sound.write(samples[start : start + _BLOCK_FRAMES])
            except (soundfile.SoundFileError, AssertionError) as error:  # it asserts that all was written
                raise self._problem(error) from None
            if self._sink.error is not None:
                raise self._problem(self._sink.error)
        self.frames += samples.size

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        problem = None
        try:
            self._sound.close()
        except (soundfile.SoundFileError, AssertionError) as found:
            problem = found
        if kind is None and (problem or self._sink.error) is not None:
            self._abandon()
            raise self._problem(problem or ToolkitFault("closing")) from None
        super().__exit__(kind, error, traceback)

    def check(self) -> None:
        """The finished file must hold as many samples as were appended."""
        try:
            found = soundfile.info(str(self.temporary)).frames
        except soundfile.SoundFileError:
            found = None
        if found != self.frames:
            raise DiskFull(f"cannot write {self.path}: {self.frames} samples were written and {found or 0} are there")

    def _abandon(self) -> None:
        stop = BadOutput("abandoned")
        super().__exit__(BadOutput, stop, None)

    def _problem(self, error: BaseException) -> Exception:
        if self._sink.error is not None:
            return output_error(self.path, self._sink.error)
        return BadOutput(f"cannot write {self.path}: {error}")


class _Sink:
    """What libsndfile writes to. An error in a callback would be printed and lost, so it is kept."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        done = 0
        try:
            while done < len(data) and self.error is None:
                done += self._file.write(data[done:])
        except OSError as error:
            self.error = error
        return done

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)
