"""Sound of whole texts side by side: decoded together in pieces, while their frames are made or after."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolkit.errors import ToolkitFault
from toolkit.synthesis.codec_config import SAMPLES_PER_FRAME
from toolkit.synthesis.fast.codec_runner import GRAPH, CodecPiece, CodecRunner
from toolkit.synthesis.fast.codec_steps import longest_step

__all__ = ["RowSound", "frames_at_once", "sound_of"]

Samples = NDArray[np.float32]


def frames_at_once(runner: CodecRunner, rows: int, audio_chunk_size: int) -> int:
    """Frames of a piece of so many rows: at most ``audio_chunk_size`` of all together, for which memory was planned."""
    if runner.path.value != GRAPH:
        return max(1, audio_chunk_size // rows)
    return longest_step(rows, audio_chunk_size)


class RowSound:
    """Rows that speak side by side and end when they like. What lies behind the end of a row is never heard.

    Either feed it with :meth:`add`, frame by frame, or with :meth:`feed`; then :meth:`finish` it, once. Close it in the
    end, whatever happens.

    Args:
        runner: of the codec.
        references: for each row the codes before its own, or None; see :meth:`CodecRunner.open`.
        audio_chunk_size: most frames decoded at once, of all rows together.
    """

    def __init__(self, runner: CodecRunner, references: Sequence[Tensor | None], audio_chunk_size: int) -> None:
        self.waited_s = 0.0
        """Seconds spent on the codec, of which most are waiting."""
        began = time.perf_counter()
        self._runner = runner
        self._at_once = frames_at_once(runner, len(references), audio_chunk_size)
        self._rows = list(range(len(references)))
        self._index: Tensor | None = None
        self._frames: list[Tensor] = []
        self._done = 0
        self._sent: deque[tuple[CodecPiece, list[tuple[int, int]]]] = deque()
        self._parts: list[list[Samples]] = [[] for _ in references]
        self._session = runner.open(references, audio_chunk_size)
        self.waited_s += time.perf_counter() - began

    @property
    def rows(self) -> int:
        """Rows that are decoded, with those that ended and are not worth leaving out."""
        return len(self._rows)

    def add(self, frame: Tensor, counts: Sequence[int]) -> None:
        """Take the next frame of all rows.

        Args:
            frame: int64 ``[rows, 16]``; anything in rows that have ended.
            counts: frames of each row so far, with this one.
        """
        self._frames.append(frame)
        if len(self._frames) == self._at_once:
            self._flush(counts, last=False)

    def feed(self, codes: Tensor, counts: Sequence[int], *, last: bool) -> None:
        """Take the next frames of all rows at once, int64 ``[rows, 16, frames]``; see :meth:`add`."""
        began = time.perf_counter()
        going = self._going(counts)
        if going and self._runner.shrinks(len(self._rows), len(going)):
            self._session.keep([place for place, _ in going])
            self._rows = [row for _, row in going]
            self._index = torch.tensor(self._rows).to(codes.device)
            going = self._going(counts)
        if going:
            own = codes if self._index is None else codes.index_select(0, self._index)
            # Rows that have ended hold anything; a code that there is not would be read from beyond the codebook.
            own = own.clamp(0, self._runner.decoder.config.codebook_size - 1)
            self._sent.append((self._session.feed(own, last=last), going))
        self._done += codes.shape[2]
        while self._sent and self._sent[0][0].ready:
            self._take()
        self.waited_s += time.perf_counter() - began

    def finish(self, counts: Sequence[int]) -> list[Samples]:
        """Wait for the rest; float32 ``[frames * 1920]`` of each row, ``counts`` being their frames.

        Raises:
            ToolkitFault: a waveform that is not finite.
        """
        if self._frames:
            self._flush(counts, last=True)
        began = time.perf_counter()
        while self._sent:
            self._take()
        waves = [np.concatenate(parts) if parts else np.zeros(0, np.float32) for parts in self._parts]
        waves = [wave[: count * SAMPLES_PER_FRAME] for wave, count in zip(waves, counts, strict=True)]
        if not all(np.isfinite(wave).all() for wave in waves):
            raise ToolkitFault("the codec made a waveform that is not finite; decode it in float32")
        self.waited_s += time.perf_counter() - began
        return waves

    def close(self) -> None:
        """Let go of what is left."""
        self._session.close()
        self._sent.clear()
        self._frames.clear()

    def _going(self, counts: Sequence[int]) -> list[tuple[int, int]]:
        """Rows that have frames left, with their places in the session."""
        return [(place, row) for place, row in enumerate(self._rows) if counts[row] > self._done]

    def _flush(self, counts: Sequence[int], *, last: bool) -> None:
        codes = torch.stack(self._frames, 2)
        self._frames.clear()
        self.feed(codes, counts, last=last)

    def _take(self) -> None:
        """Copy the oldest piece that is under way out of the memory that it arrived in."""
        piece, going = self._sent.popleft()
        samples = piece.read()
        for place, row in going:
            self._parts[row].append(samples[place].copy())


def sound_of(
    runner: CodecRunner, codes: Sequence[Tensor], references: Sequence[Tensor | None], audio_chunk_size: int
) -> list[Samples]:
    """Decode rows whose codes are all there, int64 ``[frames, 16]`` each, together.

    Raises:
        UsageError: codes that no codebook has.
        ToolkitFault: a waveform that is not finite.
    """
    waves: list[Samples] = []
    for start in range(0, len(codes), audio_chunk_size):
        stop = start + audio_chunk_size
        waves += _together(runner, codes[start:stop], references[start:stop], audio_chunk_size)
    return waves


def _together(
    runner: CodecRunner, codes: Sequence[Tensor], references: Sequence[Tensor | None], audio_chunk_size: int
) -> list[Samples]:
    for row in codes:
        runner.decoder.check_range(row)
    counts = [len(row) for row in codes]
    whole = torch.nn.utils.rnn.pad_sequence(list(codes), batch_first=True).transpose(1, 2).to(runner.decoder.device)
    sound = RowSound(runner, references, audio_chunk_size)
    try:
        done = 0
        while done < max(counts):
            size = frames_at_once(runner, sound.rows, audio_chunk_size)
            part = whole[..., done : done + size]
            done += size
            sound.feed(part, counts, last=done >= max(counts))
        return sound.finish(counts)
    finally:
        sound.close()
