"""Says quantities of speech in words, Chinese, English or both, so that the reader of effects reads them back."""

from __future__ import annotations

import re

from toolkit.tuning.effects import Effects

__all__ = ["language_of", "say", "say_one"]


def language_of(text: str) -> str:
    """ "zh", "en" or "mixed", by the scripts; units such as dB make no mixture."""
    han = re.search(r"[\u3400-\u9fff]", text)
    latin = re.search(r"(?<![A-Za-z])(?!(?:dB|db|ms|s|x)(?![A-Za-z]))[A-Za-z]+", text)
    return "mixed" if han and latin else "zh" if han else "en"


def say(effects: Effects, language: str) -> str:
    """All that is asked for, in "zh", "en" or "mixed" (each quantity in both)."""
    named = effects.named()
    if language != "mixed":
        separator = "，" if language == "zh" else ", "
        return separator.join(say_one(name, float(value), language) for name, value in named.items())
    return ", ".join(
        f"{say_one(name, float(value), 'zh')} {say_one(name, float(value), 'en')}" for name, value in named.items()
    )


def say_one(field: str, value: float, language: str) -> str:
    """One quantity, in "zh" or "en"; ``value`` in the unit that Effects gives the field."""
    zh = language == "zh"
    if field == "whisper":
        return "用气声说" if zh else "whisper"
    if field == "rate":
        share = f"{abs(value - 1) * 100:.4g}%"
        return (
            f"语速{'加快' if value >= 1 else '放慢'}{share}"
            if zh
            else f"{share} {'faster' if value >= 1 else 'slower'}"
        )
    if field == "pitch_st":
        size = f"{abs(value):.4g}"
        if zh:
            return f"音调{'升高' if value >= 0 else '降低'}{size}个半音"
        return f"{size} semitone{'' if size == '1' else 's'} {'higher' if value >= 0 else 'lower'}"
    if field == "level_db":
        size = f"{abs(value):.4g}"
        return (
            f"音量{'提高' if value >= 0 else '降低'}{size}分贝"
            if zh
            else f"{size} dB {'louder' if value >= 0 else 'softer'}"
        )
    if field == "pause_s":
        return f"每句之间停顿{value:.4g}秒" if zh else f"pause {value:.4g} seconds between sentences"
    if value >= 1:
        return f"语调变化增加{(value - 1) * 100:.4g}%" if zh else f"{(value - 1) * 100:.4g}% more inflection"
    if value == 0:
        return "语调单调" if zh else "monotone"
    return f"语调变化减少{(1 - value) * 100:.4g}%" if zh else f"{(1 - value) * 100:.4g}% less inflection"
