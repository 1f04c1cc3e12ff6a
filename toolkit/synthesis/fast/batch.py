"""Continuous batching: sequences join and leave between frames, and none of them notices the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from toolkit.errors import UsageError
from toolkit.synthesis.decoding import FinishReason
from toolkit.synthesis.fast.engine import Engine
from toolkit.synthesis.fast.state import ENDED, FRAME, OUT_OF_ROOM, Seat
from toolkit.synthesis.prompt import Prompt
from toolkit.synthesis.sampling import DecodeSettings

__all__ = ["ContinuousBatch", "Heard"]

_REASONS: dict[int, FinishReason] = {ENDED: "eos", OUT_OF_ROOM: "length"}


@dataclass(frozen=True)
class Heard:
    """News of one sequence: a frame (``codes`` int64 ``[16]``, on the host), or its end with the reason."""

    sequence: int
    codes: Tensor | None
    finish_reason: FinishReason | None


class ContinuousBatch:
    """Sequences in the rows of one engine, which must be theirs alone.

    A sequence that finds no free row waits. The row of one that has ended goes to the next; when few are left they move
    together, so that frames run in a smaller bucket. What a sequence says depends on its prompt, settings and seed, not
    on who sits beside it or when it came.

    Args:
        engine: with nobody in it; its frames are recorded here for all buckets.
        ahead: frames that are launched before the oldest is waited for; what a sequence that ends is late to be seen.
    """

    def __init__(self, engine: Engine, *, ahead: int = 0) -> None:
        if not 0 <= ahead < engine.size.ring:
            raise UsageError(f"ahead must be a number from 0 to {engine.size.ring - 1}, not {ahead!r}")
        engine.prepare_all()
        self._engine, self._ahead = engine, ahead
        self._rows: list[int | None] = [None] * engine.size.rows
        self._waiting: deque[tuple[int, Seat]] = deque()
        # Who sat where when each frame under way was launched.
        self._seating: deque[tuple[int | None, ...]] = deque()
        self._numbers = 0

    @property
    def active(self) -> tuple[int, ...]:
        """Sequences that sit in a row."""
        return tuple(number for number in self._rows if number is not None)

    @property
    def waiting(self) -> tuple[int, ...]:
        """Sequences for which there was no row yet, in their order."""
        return tuple(number for number, _ in self._waiting)

    def join(self, prompt: Prompt, settings: DecodeSettings, seed: int, frame_limit: int | None = None) -> int:
        """Let a sequence speak from the next frame on, or when a row is free; returns its number.

        Args:
            frame_limit: most frames, where that is less than ``max_new_tokens - 1``.

        Raises:
            UsageError: prompt and frames are longer than the buffers, or a limit that is none.
        """
        most = settings.max_new_tokens - 1
        limit = most if frame_limit is None else min(most, frame_limit)
        if limit < 1:
            raise UsageError(f"frame_limit must be at least 1, not {frame_limit!r}")
        seat = Seat(prompt.rows, prompt.trail, prompt.pad, settings, seed, limit)
        size, need = self._engine.size, seat.size
        if not size.holds(need):
            raise UsageError(
                f"the buffers of this batch hold {size.slots} positions and {size.trail} text vectors a row; this "
                f"sequence needs {need.slots} and {need.trail}"
            )
        number = self._numbers
        self._numbers += 1
        self._waiting.append((number, seat))
        return number

    def leave(self, number: int) -> None:
        """Stop a sequence, whether it speaks or waits; nothing more is heard of it. One that has ended is no error."""
        self._waiting = deque(pair for pair in self._waiting if pair[0] != number)
        if number in self._rows:
            self._free(self._rows.index(number))

    def step(self) -> list[Heard]:
        """Launch what is to be launched and return the news of one frame; none when nobody speaks or waits.

        After an error in a frame every sequence that sat in a row is gone; those that wait are not. After an error in
        reading a prompt only the sequences that were to join together are gone. The batch can be used on.
        """
        self._compact()
        self._admit()
        try:
            while self.active and len(self._seating) <= self._ahead:
                self._launch()
            return self._read() if self._seating else []
        except BaseException:
            self._rows = [None] * len(self._rows)
            self._seating.clear()
            self._engine.reset()
            raise

    def run(self, hear: Callable[[Heard], None]) -> None:
        """Step until nobody speaks or waits. An error in ``hear`` ends the loop and leaves the batch as it is."""
        while self._waiting or self.active or self._seating:
            for heard in self.step():
                hear(heard)

    def _launch(self) -> None:
        self._engine.launch(self._used())
        self._seating.append(tuple(self._rows))

    def _read(self) -> list[Heard]:
        seating = self._seating[0]
        _, report = self._engine.read(len(seating))
        self._seating.popleft()
        news = []
        for row, number in enumerate(seating):
            # Who left or was moved since the launch is known by number; a row may be another's by now.
            if number is None or number not in self._rows:
                continue
            status = report.status[row]
            if status == FRAME:
                news.append(Heard(number, report.codes[row], None))
            elif status in _REASONS:
                self._free(self._rows.index(number))
                news.append(Heard(number, None, _REASONS[status]))
        return news

    def _admit(self) -> None:
        """Seat those who wait in the lowest free rows; neighbours' prompts are read in one pass."""
        while self._waiting and None in self._rows:
            start = self._rows.index(None)
            stop = start
            while stop < len(self._rows) and self._rows[stop] is None and stop - start < len(self._waiting):
                stop += 1
            joining = [self._waiting.popleft() for _ in range(stop - start)]
            self._engine.admit(start, [seat for _, seat in joining])
            self._rows[start:stop] = [number for number, _ in joining]

    def _compact(self) -> None:
        """Move the last sequences to the front where that makes the bucket smaller and nobody waits for the rows."""
        while not self._waiting and self.active:
            last = self._used() - 1
            target = self._rows.index(None) if None in self._rows else last
            if target >= last or self._engine.bucket(len(self.active)) == self._engine.bucket(last + 1):
                return
            self._engine.move(last, target)
            self._rows[target], self._rows[last] = self._rows[last], None

    def _free(self, row: int) -> None:
        self._rows[row] = None
        self._engine.vacate(row, row + 1)

    def _used(self) -> int:
        """Rows up to the last one that is taken."""
        return max(row for row, number in enumerate(self._rows) if number is not None) + 1
