"""How a sentence is to be spoken: the quantities that an instruction commands and that a measurement can check."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

__all__ = ["LIMITS", "PLAIN", "Style"]

LIMITS: dict[str, tuple[float, float]] = {
    "rate": (0.6, 1.6),
    "pitch_st": (-7.0, 12.0),
    "spread": (0.0, 2.0),
    "level_db": (-12.0, 6.0),
    "pause_s": (0.08, 1.2),
}
"""What the voice is trained for. Men start near 110 Hz, so that seven semitones down is the deepest that the codec
keeps apart; 1.6 times the usual rate is the fastest that one code frame of 80 ms can hold."""


@dataclass(frozen=True)
class Style:
    """One way of speaking; the defaults are the voice's own.

    Attributes:
        rate: factor of the usual speaking rate, pauses apart.
        pitch_st: shift of the median F0, in semitones.
        spread: factor of the pitch movement; 0 is monotone.
        level_db: change of the level, in dB.
        whisper: without voice; pitch and spread then mean nothing.
        pause_s: length of each pause between clauses and sentences, in seconds; None leaves them as usual.
    """

    rate: float = 1.0
    pitch_st: float = 0.0
    spread: float = 1.0
    level_db: float = 0.0
    whisper: bool = False
    pause_s: float | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                raise ValueError(f"{name} must lie between {low} and {high}, found {value}")

    def combined(self, other: Style) -> Style:
        """Both at once: factors multiply, shifts add, and the result is kept within the limits."""
        pause = other.pause_s if other.pause_s is not None else self.pause_s
        return Style(
            rate=_kept("rate", self.rate * other.rate),
            pitch_st=_kept("pitch_st", self.pitch_st + other.pitch_st),
            spread=_kept("spread", self.spread * other.spread),
            level_db=_kept("level_db", self.level_db + other.level_db),
            whisper=self.whisper or other.whisper,
            pause_s=pause,
        )

    def changes(self) -> dict[str, float | bool]:
        """The fields that differ from the voice's own way, for a log or a file."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {item.name: values[item.name] for item in fields(self) if values[item.name] != item.default}

    def with_changes(self, **changes: float | bool | None) -> Style:
        """A copy with some fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]


PLAIN = Style()


def _kept(name: str, value: float) -> float:
    low, high = LIMITS[name]
    return min(high, max(low, value))
