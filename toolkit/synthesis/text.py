"""Text as a person gives it, made safe to speak: composed, without invisible characters, refused when it is empty."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Literal

from toolkit.errors import BadText

__all__ = ["SPECIAL_TOKEN", "Unsafe", "clean_text", "is_speakable", "spoken_length"]

Unsafe = Literal["refuse", "escape"]
"""What happens to control characters and special tokens: one clear error, or they are made harmless."""

SPECIAL_TOKEN = re.compile(r"<\|[^<>|\s]{1,60}\|>|<tts_[a-z_]{1,40}>|</?(?:think|tool_call|tool_response)>")
"""Text that the tokenizer of this family reads as a mark of its templates instead of speaking it. A superset of the 33
added tokens of the published vocabulary."""

_MOST_MARKS = 30
"""Combining marks in a row; Unicode's stream-safe text format (UAX #15, section 13) ends at the same number. Longer
runs are no language, and composing them takes time that grows with the square of their length."""

# Neither spoken nor shown: byte order mark, soft hyphen, zero-width space and word joiner, marks and isolates of
# bidirectional text, tags. Zero-width joiners stay: Persian and the scripts of India spell with them.
_INVISIBLE = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\U000e0000-\U000e007f]"
)
_LINE_END = re.compile("\r\n?|[\u0085\u2028\v\f]")
_PARAGRAPH = re.compile("\u2029|\n[^\\S\n]*(?:\n\\s*)+")
_BLANK = re.compile(r"[^\S\n]+")
_AROUND_LINE_END = re.compile(r" ?\n ?")
_CONTROL = re.compile("[\0-\x08\x0e-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_KEYCAP = re.compile("[0-9#*]\ufe0f?\u20e3")
_WIDE_SCRIPTS = re.compile(
    "[\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3041-\u312f\u3130-\u318f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f"
    "\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9d\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)


def clean_text(text: str, *, unsafe: Unsafe = "refuse") -> str:
    """Compose a text (NFC, as the tokenizer does) and tidy its white space.

    Line ends become ``\\n``, blank lines one blank line, other white space one space. Characters that nobody sees or
    hears (byte order mark, soft hyphen, marks of bidirectional text, zero-width space) are left out.

    Args:
        text: what shall be spoken.
        unsafe: "refuse" refuses control characters and special tokens such as ``<|im_end|>``; "escape" makes a space of
            a control character and breaks a special token with a space, so that it is spoken.

    Raises:
        BadText: nothing to speak (empty, or neither letter nor digit), half of a surrogate pair, more than 30 combining
            marks in a row, or, with "refuse", a control character or a special token.
    """
    if not isinstance(text, str):
        raise BadText(f"the text must be a string, found {type(text).__name__}")
    _refuse_broken(text)
    text = _INVISIBLE.sub("", text)
    text = _LINE_END.sub("\n", text)
    text = _PARAGRAPH.sub("\n\n", text)
    if unsafe == "escape":
        text = _CONTROL.sub(" ", text)
    else:
        _refuse(text, _CONTROL, lambda found: f"the control character U+{ord(found):04X}")
    text = unicodedata.normalize("NFC", text)
    if unsafe == "escape":
        text = SPECIAL_TOKEN.sub(lambda found: f"< {found.group()[1:]}", text)
    else:
        _refuse(text, SPECIAL_TOKEN, lambda found: f"{found}, a mark of the model's own templates")
    text = _AROUND_LINE_END.sub("\n", _BLANK.sub(" ", text)).strip()
    if not is_speakable(text):
        raise BadText(_nothing_in(text))
    return text


def is_speakable(text: str) -> bool:
    """Whether there is a letter or a digit in it. Emoji made of a digit (keycaps) do not count."""
    if "\u20e3" in text:
        text = _KEYCAP.sub("", text)
    return any(unicodedata.category(char)[0] in "LN" for char in text)


def spoken_length(text: str) -> int:
    """How much there is to speak: 1 for a letter or digit, 2 for a character of Chinese, Japanese or Korean writing."""
    if text.isascii():
        return sum(map(str.isalnum, text))
    letters = sum(unicodedata.category(char)[0] in "LN" for char in text)
    return letters + len(_WIDE_SCRIPTS.findall(text))


def _refuse_broken(text: str) -> None:
    _refuse(text, _SURROGATE, lambda found: f"half of a surrogate pair (U+{ord(found):04X}, wrongly decoded)")
    if text.isascii():
        return
    run = 0
    for index, char in enumerate(text):
        run = run + 1 if unicodedata.combining(char) else 0
        if run > _MOST_MARKS:
            raise BadText(
                f"the text holds more than {_MOST_MARKS} combining marks in a row before character {index + 1}; "
                "no language writes so"
            )


def _refuse(text: str, pattern: re.Pattern[str], name: Callable[[str], str]) -> None:
    found = pattern.search(text)
    if found is not None:
        raise BadText(f"the text holds {name(found.group())}, at character {found.start() + 1}")


def _nothing_in(text: str) -> str:
    if not text:
        return "there is nothing to speak: the text is empty"
    shown = text if len(text) <= 20 else text[:20] + "..."
    return f"there is nothing to speak: the text ({shown}) has neither a letter nor a digit"
