"""How long a text may last: a cap on frames, so that speech whose end the model misses does not run for minutes."""

from __future__ import annotations

import math
import unicodedata

from toolkit.errors import BadText
from toolkit.synthesis.text import spoken_length

__all__ = [
    "FRAMES_PER_SECOND",
    "MAX_CHARACTERS",
    "check_length",
    "expected_frames",
    "frame_cap",
    "longest_part_frames",
    "part_seed",
]

FRAMES_PER_SECOND = 12.5

MAX_CHARACTERS = 50_000
"""Most characters of one result: an hour of English, three of Chinese. The result is held in memory whole, 350 MB an
hour; longer texts are streamed, or given line by line."""

# Seconds of ordinary speech, by Pellegrino, Coupé and Marsico ("A cross-language perspective on speech information
# rate", 2011): 5.2 syllables a second in Mandarin, 6.2 in English with about 2.5 letters each.
_WIDE_S = 0.2
_LETTER_S = 0.065
_DIGIT_S = 0.3
_MARK_S = 0.3

_SLOWEST = 3.0
"""Share by which slow, dramatic or instructed speech may exceed ordinary speech before it counts as run away."""

_SLACK_S = 4.0
"""Beginnings, breaths and pauses, which short texts have as well."""

_SEED_MODULUS = 2**63 - 25


def expected_frames(text: str) -> int:
    """Frames that ordinary speech of a text takes, for a progress bar."""
    letters = sum(unicodedata.category(char)[0] == "L" for char in text)
    digits = sum(unicodedata.category(char)[0] == "N" for char in text)
    marks = sum(unicodedata.category(char)[0] in "PS" for char in text)
    wide = spoken_length(text) - letters - digits
    seconds = wide * _WIDE_S + max(0, letters - wide) * _LETTER_S + digits * _DIGIT_S + marks * _MARK_S
    return max(1, math.ceil(seconds * FRAMES_PER_SECOND))


def frame_cap(text: str) -> int:
    """Most frames that a text may take: three times ordinary speech, and four seconds."""
    return math.ceil(_SLOWEST * expected_frames(text) + _SLACK_S * FRAMES_PER_SECOND)


def longest_part_frames(max_text_length: int) -> int:
    """Frames of an ordinary part of so many Chinese characters, the densest writing; for a forecast of memory."""
    return math.ceil(max_text_length * _WIDE_S * FRAMES_PER_SECOND)


def part_seed(seed: int, part: int, attempt: int) -> int:
    """Seed of an attempt at a part. The first attempt at the first part has the seed itself."""
    return (seed + 1_000_003 * part + 15_485_863 * attempt) % _SEED_MODULUS


def check_length(text: str) -> None:
    """Whether one result may hold a text.

    Raises:
        BadText: it is too long.
    """
    if len(text) > MAX_CHARACTERS:
        raise BadText(
            f"the text has {len(text):,} characters; one result holds {MAX_CHARACTERS:,} at most. "
            "Stream it, or give it line by line (one file a line)"
        )
