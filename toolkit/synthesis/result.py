"""What speaking returns: the waveform, how it came about, and how to keep it or hear it."""

from __future__ import annotations

import base64
import io
import json
import wave
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.synthesis.audio_file import AudioFile
from toolkit.synthesis.codec_config import SAMPLE_RATE_HZ
from toolkit.synthesis.precision import Choice
from toolkit.synthesis.whole_file import WholeFile, check_output

__all__ = ["INLINE_S", "PartResult", "SpeechReport", "SpeechResult", "SpeechWarning", "wav_bytes"]

INLINE_S = 180
"""Seconds that a notebook plays inline; three minutes are 11 MB inside the notebook's file."""


class SpeechWarning(UserWarning):
    """Something was left out or is likely to disappoint; the sentence is also among the notes of the result."""


@dataclass(frozen=True)
class PartResult:
    """One part of the text, as it was spoken.

    ``finish_reason`` is "eos" when the model ended the speech and "length" when the cap did. ``attempts`` counts how
    often it was spoken: a part that ran into the cap is tried again with another seed. ``pause_s`` is the silence
    after it.
    """

    text: str
    frames: int
    seed: int
    finish_reason: str
    attempts: int = 1
    pause_s: float = 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class SpeechReport:
    """The circumstances of one piece of speech.

    Attributes:
        seconds: length of the speech, pauses included.
        frames: frames of codes, 80 ms each; pauses between parts have none.
        seed: gives the same speech again, with the same model, text, settings, device and versions.
        finish_reason: "eos", or "length" when a part ran into the length cap (it may be cut off or run on).
        dtype, codec_dtype: what it was computed in, and why.
        timings_s: seconds by stage: ``prompt`` (and the first pass over it), ``decode``, ``codec``, ``join``,
            ``total``. A row of a batch is charged by its share of the frames.
        first_audio_s: from the call to the first samples.
        peak_bytes: highest memory: of the card during this call, or of the process so far where there is no card.
        notes: sentences for the person who asked.
    """

    text: str
    parts: tuple[PartResult, ...]
    seconds: float
    frames: int
    seed: int
    finish_reason: str
    model: str
    device: str
    dtype: Choice
    codec_dtype: Choice
    timings_s: Mapping[str, float]
    first_audio_s: float
    peak_bytes: int | None
    notes: tuple[str, ...] = field(default=())
    sample_rate: int = SAMPLE_RATE_HZ

    @property
    def x_real_time(self) -> float:
        """Seconds of speech made in one second; below 1 it is slower than it plays."""
        total = self.timings_s.get("total", 0.0)
        return self.seconds / total if total > 0 else 0.0

    def to_json(self) -> dict[str, object]:
        """All of it as JSON values."""
        return {
            "text": self.text,
            "seconds": round(self.seconds, 4),
            "sample_rate": self.sample_rate,
            "frames": self.frames,
            "seed": self.seed,
            "finish_reason": self.finish_reason,
            "parts": [asdict(part) for part in self.parts],
            "model": self.model,
            "device": self.device,
            "dtype": asdict(self.dtype),
            "codec_dtype": asdict(self.codec_dtype),
            "timings_s": {name: round(value, 4) for name, value in self.timings_s.items()},
            "first_audio_s": round(self.first_audio_s, 4),
            "x_real_time": round(self.x_real_time, 3),
            "peak_bytes": self.peak_bytes,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class SpeechResult(SpeechReport):
    """Speech and its circumstances; shown by a notebook as a player.

    Attributes:
        samples: float32 ``[n]`` in [-1, 1], mono, at ``sample_rate``.
        codes: int16 ``[frames, 16]``, those of all parts in a row.
    """

    samples: NDArray[np.float32]
    codes: NDArray[np.int16]

    def save(self, path: str | Path, *, sidecar: bool = False, overwrite: bool = False) -> Path:
        """Write a WAV, FLAC or OGG file, by the suffix, whole or not at all.

        Args:
            path: where; the folder must exist.
            sidecar: also write ``PATH.json`` with everything but the samples and the codes.
            overwrite: replace what is there.

        Raises:
            BadOutput: it exists, the folder is missing or closed, or the suffix is not written.
            DiskFull: no room; nothing is left behind.
        """
        path = Path(path)
        beside = path.with_name(path.name + ".json")
        if not sidecar:
            self._write(path, overwrite)
            return path
        check_output(beside, overwrite=overwrite)
        with WholeFile(beside, overwrite=overwrite) as document:
            document.write((json.dumps(self.to_json(), ensure_ascii=False, indent=1) + "\n").encode())
            self._write(path, overwrite)
        return path

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= 40 else self.text[:37] + "..."
        return (
            f"SpeechResult({text!r}, {self.seconds:.2f} s, {self.finish_reason}, seed {self.seed}, "
            f"{self.x_real_time:.2f} x real time)"
        )

    def _write(self, path: Path, overwrite: bool) -> None:
        with AudioFile(path, self.sample_rate, overwrite=overwrite) as file:
            file.append(self.samples)

    def _repr_html_(self) -> str:
        shown = self.samples[: INLINE_S * self.sample_rate]
        data = base64.b64encode(wav_bytes(shown, self.sample_rate)).decode()
        told = f"{self.seconds:.2f} s, seed {self.seed}, {self.x_real_time:.2f} x real time, {self.dtype.value}"
        if shown.size < self.samples.size:
            told += f"; the first {INLINE_S} s are played here"
        if self.finish_reason == "length":
            told += "; ran into the length cap"
        notes = "".join(f"<br>{escape(note)}" for note in self.notes)
        return f'<audio controls src="data:audio/wav;base64,{data}"></audio><div>{escape(told)}{notes}</div>'


def wav_bytes(samples: NDArray[np.float32], sample_rate: int) -> bytes:
    """A WAV file of 16 bits in memory, from float32 samples in [-1, 1]."""
    whole = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(whole.tobytes())
    return buffer.getvalue()
