"""Texts of the controls in Chinese and English, and the switch between them."""

from __future__ import annotations

import locale
import os
import weakref
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ipywidgets import ToggleButtons, Widget

from toolkit.errors import ToolkitFault, UsageError

__all__ = ["LANGUAGES", "Texts", "language_switch", "shared_texts"]

LANGUAGES = {"en": "English", "zh": "中文"}
_FOLDER = Path(__file__).parent / "texts"


@cache
def _load(language: str) -> Mapping[str, str]:
    loaded = yaml.safe_load((_FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
    return {str(key): str(value) for key, value in loaded.items()}


class _Values(dict[str, Any]):
    """A name without a value stays as it is written, since a text with a gap is better than none."""

    def __missing__(self, name: str) -> str:
        return f"{{{name}}}"


class Texts:
    """The texts of one language at a time; controls that follow change with it.

    ``language`` is ``en`` or ``zh``; left out, it is what QWEN_AUDIO_LANGUAGE or the system says.
    """

    def __init__(self, language: str | None = None) -> None:
        self._language = _checked(language or _preferred())
        self._followers: list[tuple[weakref.ref[Widget], str, str, dict[str, object]]] = []
        self._listeners: list[Callable[[], None]] = []

    @property
    def language(self) -> str:
        """``en`` or ``zh``."""
        return self._language

    @language.setter
    def language(self, language: str) -> None:
        self._language = _checked(language)
        alive = []
        for follower in self._followers:
            reference, trait, key, values = follower
            widget = reference()
            if widget is not None and widget.comm is not None:  # closed ones have none any more
                setattr(widget, trait, self.say(key, **values))
                alive.append(follower)
        self._followers = alive
        for listener in list(self._listeners):
            listener()

    def say(self, key: str, **values: object) -> str:
        """The text of a key with its values filled in. Raises ToolkitFault for a key that there is not."""
        text = _load(self._language).get(key)
        if text is None:
            raise ToolkitFault(f"there is no text {key!r} in {self._language}.yaml")
        return text.format_map(_Values(values)) if values else text

    def has(self, key: str) -> bool:
        """Whether there is a text of this key."""
        return key in _load(self._language)

    def tell(self, key_or_sentence: str, values: Mapping[str, Any] | None = None) -> str:
        """A key's text, or, where there is no such key, the sentence itself; values filled in."""
        if self.has(key_or_sentence):
            return self.say(key_or_sentence, **(values or {}))
        return key_or_sentence.format_map(_Values(values)) if values else key_or_sentence

    def follow(self, widget: Widget, key: str, trait: str = "description", **values: object) -> None:
        """Set a trait of a control to a text, now and whenever the language changes."""
        setattr(widget, trait, self.say(key, **values))
        self._followers = [
            one for one in self._followers if one[0]() is not None and not (one[0]() is widget and one[1] == trait)
        ]
        self._followers.append((weakref.ref(widget), trait, key, values))

    def on_switch(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after each change of language. Returns a function that ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None


@cache
def shared_texts() -> Texts:
    """The texts that all controls of a notebook share, so that one switch turns them all."""
    return Texts()


def language_switch(texts: Texts | None = None) -> ToggleButtons:
    """Two buttons, English and Chinese, reachable by keyboard, that turn the texts."""
    texts = texts or shared_texts()
    switch = ToggleButtons(options=[(name, code) for code, name in LANGUAGES.items()], value=texts.language)
    texts.follow(switch, "language.label")

    def turn(change: Mapping[str, Any]) -> None:
        texts.language = change["new"]

    switch.observe(turn, "value")
    return switch


def _checked(language: str) -> str:
    if language not in LANGUAGES:
        raise UsageError(f"there is no language {language!r}; there are {', '.join(LANGUAGES)}")
    return language


def _preferred() -> str:
    given = os.environ.get("QWEN_AUDIO_LANGUAGE")
    if given:
        return given
    return "zh" if (locale.getlocale()[0] or "").lower().startswith(("zh", "chinese")) else "en"
