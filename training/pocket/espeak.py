"""The speech engine that makes the training data: espeak-ng's library, called in-process, with times of all phones.

espeak-ng is GPL-3.0-or-later software and is not part of this project: the library is found on the machine (the Python
package ``espeakng-loader``, or the system's ``libespeak-ng``). Names and numbers of the interface are those of its
header ``speak_lib.h``.
"""

from __future__ import annotations

import atexit
import ctypes
import ctypes.util
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Engine", "EngineMissing", "Phone", "RawSpeech", "Word", "split_tones"]

_SYNCHRONOUS = 2
_PHONE_EVENTS = 1
_UTF8 = 1
_END_PAUSE = 0x1000
_WORD, _PHONE = 1, 7
_RATE, _PITCH, _RANGE, _WORD_GAP = 1, 3, 4, 7

# Tone contours as the engine writes them after a Mandarin nucleus (Chao tone numbers), and the tone that they are.
_TONES = {"55": 1, "35": 2, "214": 3, "21": 3, "51": 4, "53": 4, "11": 5, "22": 5, "33": 5, "44": 5}
_LANGUAGES = ("gmw/en-US", "sit/cmn")
_SILENCES = ("_", "_:", "_|", "_::", "_!", "||", "|")


class EngineMissing(RuntimeError):
    """espeak-ng is not on this machine."""


@dataclass(frozen=True)
class Phone:
    """A sound or, named "_", a silence. ``tone`` is 1 to 5 on the nucleus of a Mandarin syllable (5 is neutral)."""

    name: str
    start_s: float
    stop_s: float
    tone: int = 0


@dataclass(frozen=True)
class Word:
    """A word of the text: its characters ``start`` to ``stop - 1``, and when it begins."""

    start: int
    stop: int
    time_s: float


@dataclass(frozen=True)
class RawSpeech:
    """What the engine made of one clause: samples (int16, mono) at ``rate_hz``, phones and words in order of time."""

    samples: NDArray[np.int16]
    rate_hz: int
    phones: tuple[Phone, ...]
    words: tuple[Word, ...]


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Engine:
    """The library, once a process (it has global state): build one and keep it.

    Args:
        variants: voice variants of ours by name, in the format of espeak-ng's files ``voices/!v/NAME``.

    Raises:
        EngineMissing: no library, or no data files.
    """

    def __init__(self, variants: Mapping[str, str]) -> None:
        self._library, data = _find()
        self._folder = Path(tempfile.mkdtemp(prefix="pocket-voices-"))
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        _private_data(data, self._folder, variants)
        library = self._library
        library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._rate_hz: int = library.espeak_Initialize(_SYNCHRONOUS, 0, str(self._folder).encode(), _PHONE_EVENTS)
        if self._rate_hz <= 0:
            raise EngineMissing(f"espeak-ng cannot read its data in {data}")
        self._chunks: list[bytes] = []
        self._events: list[tuple[int, int, int, int, bytes]] = []
        self._callback = _Callback(self._receive)  # kept: the library holds only its address
        library.espeak_SetSynthCallback(self._callback)
        self._voice = ""
        self._parameters: dict[int, int] = {}

    def speak(self, text: str, voice: str, *, words_per_minute: int, pitch: int, pitch_range: int) -> RawSpeech:
        """One clause.

        Args:
            text: what to say.
            voice: the engine's name of language and variant, such as ``en-us+ryan``.
            words_per_minute: 80 to 450.
            pitch, pitch_range: 0 to 100; 50 is the variant's own.

        Raises:
            ValueError: no such voice.
        """
        self._select(voice)
        for parameter, value in ((_RATE, words_per_minute), (_PITCH, pitch), (_RANGE, pitch_range), (_WORD_GAP, 0)):
            if self._parameters.get(parameter) != value:
                self._library.espeak_SetParameter(parameter, value, 0)
                self._parameters[parameter] = value
        self._chunks.clear()
        self._events.clear()
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8 | _END_PAUSE, None, None)
        samples = np.frombuffer(b"".join(self._chunks), np.int16)
        tones = split_tones(self.phonemes(text, voice)) if voice.startswith("cmn") else None
        return RawSpeech(samples, self._rate_hz, self._phones(len(samples), tones), self._words(len(text)))

    def phonemes(self, text: str, voice: str) -> str:
        """The engine's phoneme string, all clauses joined, tones included."""
        self._select(voice)
        data = ctypes.create_string_buffer(text.encode())
        pointer = ctypes.c_void_p(ctypes.addressof(data))
        parts = []
        while pointer.value:
            parts.append(self._library.espeak_TextToPhonemes(ctypes.byref(pointer), _UTF8, 0).decode())
        return "_|".join(parts)

    def _select(self, voice: str) -> None:
        if voice != self._voice:
            if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise ValueError(f"espeak-ng has no voice {voice!r}")
            self._voice = voice
            self._parameters.clear()  # a voice brings its own

    def _receive(self, samples: object, count: int, events: object) -> int:
        if count > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * count))  # type: ignore[arg-type]
        index = 0
        while True:
            event = events[index]  # type: ignore[index]
            if event.type == 0:
                return 0
            name = event.id.string if event.type == _PHONE else b""
            self._events.append((event.type, event.text_position, event.length, event.sample, name))
            index += 1

    def _phones(self, samples: int, tones: list[tuple[int, int]] | None) -> tuple[Phone, ...]:
        found = [(name.decode(), sample) for kind, _, _, sample, name in self._events if kind == _PHONE]
        phones: list[Phone] = []
        length = 0
        tone_at = dict(tones or ())
        for index, (raw, sample) in enumerate(found):
            stop = found[index + 1][1] if index + 1 < len(found) else samples
            name = "_" if raw in _SILENCES or raw.startswith("_") else raw.lstrip("',%=")
            tone = 0
            if name != "_":
                before, length = length, length + len(name)
                tone = next((tone_at[end] for end in range(before + 1, length + 1) if end in tone_at), 0)
            phones.append(Phone(name or "_", sample / self._rate_hz, max(stop, sample) / self._rate_hz, tone))
        return tuple(phones)

    def _words(self, characters: int) -> tuple[Word, ...]:
        words: list[Word] = []
        for kind, position, length, sample, _ in self._events:
            start = position - 1
            if kind == _WORD and 0 <= start < characters and not (words and start <= words[-1].start):
                words.append(Word(start, min(start + length, characters), sample / self._rate_hz))
        return tuple(words)


def split_tones(phonemes: str) -> list[tuple[int, int]]:
    """Where the tones of a Mandarin phoneme string stand: (letters of phones before the tone, tone 1 to 5).

    Letters are counted without stress marks, silences and tones, as :class:`Engine` counts those of its phones.
    """
    found = []
    letters = 0
    for part in re.split(r"(\d+)", phonemes):
        if part.isdigit():
            if part in _TONES:
                found.append((letters, _TONES[part]))
        else:
            letters += len(re.sub(r"\([a-z-]+\)|_[:|!]*|\||[',%=\s]", "", part))
    return found


def _find() -> tuple[ctypes.CDLL, Path]:
    try:
        import espeakng_loader
    except ImportError:
        name = ctypes.util.find_library("espeak-ng")
        if name is None:
            raise EngineMissing(
                "espeak-ng is not on this machine; install the Python package espeakng-loader or the system's espeak-ng"
            ) from None
        library = ctypes.CDLL(name)
        library.espeak_Info.restype = ctypes.c_char_p
        path = ctypes.c_char_p()
        library.espeak_Initialize(_SYNCHRONOUS, 0, None, 0)
        library.espeak_Info(ctypes.byref(path))
        library.espeak_Terminate()
        return library, Path((path.value or b"").decode())
    return ctypes.CDLL(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())


def _private_data(data: Path, folder: Path, variants: Mapping[str, str]) -> None:
    """The engine's data by links, with two languages and our voice variants alone: it lists 349 voices at most."""
    if not (data / "phontab").is_file():
        raise EngineMissing(f"espeak-ng's data are not in {data}")
    own = folder / "voices" / "!v"
    own.mkdir(parents=True)
    for entry in data.iterdir():
        if entry.name not in ("voices", "lang"):
            (folder / entry.name).symlink_to(entry)
    for language in _LANGUAGES:
        (folder / "lang" / language).parent.mkdir(parents=True)
        (folder / "lang" / language).symlink_to(data / "lang" / language)
    for name, text in variants.items():
        (own / name).write_text(text, "utf-8")
