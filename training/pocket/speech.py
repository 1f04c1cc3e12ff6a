"""From a text and a style to a sound whose every quantity is known: rate, pitch, spread, level, whisper, pauses."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
import soxr
from numpy.typing import NDArray

from training.pocket.espeak import Engine, Phone, RawSpeech
from training.pocket.sentences.chinese_reading import reading
from training.pocket.style import Style
from training.pocket.voices import Voice, shifts_st, variant_name, variants

__all__ = ["FRAME_SAMPLES", "LEVEL_DBFS", "SAMPLE_RATE_HZ", "Language", "Spoken", "clauses", "render"]

Language = Literal["english", "chinese"]

SAMPLE_RATE_HZ = 24000
FRAME_SAMPLES = 1920

LEVEL_DBFS = -23.0
"""Usual level of active speech; whispers are 4 dB softer. 6 dB louder still keeps peaks below full scale."""
_WHISPER_DB = -4.0
_PEAK = 0.97

_LEAD_S, _TAIL_S = 0.04, 0.12
_FADE_S = 0.008

_CODES: dict[Language, str] = {"english": "en-us", "chinese": "cmn"}
_USUAL_WORDS_PER_MINUTE = 160

# Words a minute asked for, and the speaking rate that comes out, relative to 175; measured with the library's version
# 1.52 on one sentence a language (pauses apart). Between the points it is interpolated.
_WORDS_PER_MINUTE = (90, 100, 110, 120, 140, 160, 175, 200, 225, 250, 280, 300, 330)
_RATES: dict[Language, tuple[float, ...]] = {
    "english": (0.532, 0.589, 0.644, 0.697, 0.811, 0.923, 1.0, 1.141, 1.266, 1.396, 1.559, 1.643, 1.797),
    "chinese": (0.497, 0.554, 0.609, 0.662, 0.783, 0.903, 1.0, 1.155, 1.350, 1.496, 1.701, 1.848, 2.002),
}

# Usual pauses in seconds after a mark that ends a clause, a sentence, or an item of a list.
_CLAUSE_PAUSE_S, _SENTENCE_PAUSE_S, _ITEM_PAUSE_S = 0.20, 0.40, 0.12
_SENTENCE_MARKS = ".!?。！？…"
_ABBREVIATIONS = ("dr", "mr", "mrs", "ms", "st", "prof", "no", "vs", "etc", "a.m", "p.m", "e.g", "i.e")
_BREAK = re.compile(r"[，。！？；：、…]+[”’」』）]*|[,.!?;:]+[\"')]*(?=\s|$)")


@dataclass(frozen=True)
class Spoken:
    """One utterance: float32 samples at 24 kHz, a whole number of 80 ms frames, and what is where.

    Attributes:
        wave: ``[samples]``.
        phones: sounds and silences (named "_") in order.
        char_times_s: when each character of the text is spoken, float32 ``[characters]``, never falling.
        pauses_s: lengths of the pauses between clauses.
        speech_s: length of all clauses, pauses apart.
    """

    wave: NDArray[np.float32]
    phones: tuple[Phone, ...]
    char_times_s: NDArray[np.float32]
    pauses_s: tuple[float, ...]
    speech_s: float


@cache
def _engine() -> Engine:
    return Engine(variants())


def clauses(text: str) -> list[tuple[int, int]]:
    """Spans of the clauses of a text, each with its closing marks: ``(start, stop)``, covering the whole text."""
    spans = []
    start = 0
    for match in _BREAK.finditer(text):
        before = text[start : match.start()].rsplit(None, 1)
        if match[0] == "." and before and before[-1].lower() in _ABBREVIATIONS and match.end() < len(text):
            continue
        spans.append((start, match.end()))
        start = match.end()
    if text[start:].strip():
        spans.append((start, len(text)))
    elif spans:
        spans[-1] = (spans[-1][0], len(text))
    return spans


def render(text: str, language: Language, voice: Voice, style: Style) -> Spoken:
    """Speak a text. Mandarin is written out first, since the engine spells some of it in English otherwise.

    Raises:
        ValueError: there is nothing to speak in it.
        EngineMissing: espeak-ng is not on this machine.
    """
    if language == "english":
        return _render(text, language, voice, style)
    said = reading(text)
    spoken = _render(said.text, language, voice, style)
    places = np.searchsorted(said.origins, np.arange(len(text))).clip(max=len(said.text) - 1)
    return replace(spoken, char_times_s=spoken.char_times_s[places])


def _render(text: str, language: Language, voice: Voice, style: Style) -> Spoken:
    moved = min(shifts_st(voice.name), key=lambda candidate: abs(candidate - style.pitch_st))
    name = f"{_CODES[language]}+{variant_name(voice.name, shift_st=moved, whisper=style.whisper)}"
    usual = float(np.interp(_USUAL_WORDS_PER_MINUTE, _WORDS_PER_MINUTE, _RATES[language]))
    speed = round(float(np.interp(style.rate * usual, _RATES[language], _WORDS_PER_MINUTE)))
    pitch = round(50 + 50 * (style.pitch_st - moved) / 12)  # the engine's parameter, for what is left
    spread = round(50 * style.spread)
    pieces: list[NDArray[np.float32]] = []
    phones: list[Phone] = []
    pauses: list[float] = []
    times = np.zeros(len(text), np.float32)
    clock, speech = _LEAD_S, 0.0
    rate_hz: int = 22050
    pieces.append(np.zeros(round(_LEAD_S * rate_hz), np.float32))
    phones.append(Phone("_", 0.0, clock))
    pending = 0.0
    for start, stop in clauses(text):
        raw = _engine().speak(
            text[start:stop].strip(), name, words_per_minute=speed, pitch=pitch, pitch_range=min(spread, 100)
        )
        first, last = _edges(raw)
        if last <= first:
            times[start:stop] = clock
            continue
        rate_hz = raw.rate_hz
        if pending > 0:
            pieces.append(np.zeros(round(pending * rate_hz), np.float32))
            phones.append(Phone("_", clock, clock + pending))
            pauses.append(pending)
            clock += pending
        pieces.append(_faded(raw.samples[round(first * rate_hz) : round(last * rate_hz)], rate_hz))
        shift = clock - first
        for phone in raw.phones:
            if phone.start_s < last and phone.stop_s > first and phone.stop_s > phone.start_s:
                begin, end = max(phone.start_s, first) + shift, min(phone.stop_s, last) + shift
                phones.append(Phone(phone.name, begin, end, phone.tone))
        _spread_characters(times, raw, text, start, stop, shift, last)
        clock += last - first
        speech += last - first
        pending = _pause(text[start:stop].rstrip(), style)
    if not pauses and speech == 0.0:
        raise ValueError(f"there is nothing to speak in {text!r}")
    wave = soxr.resample(np.concatenate(pieces), rate_hz, SAMPLE_RATE_HZ).astype(np.float32)
    frames = -(-(len(wave) + round(_TAIL_S * SAMPLE_RATE_HZ)) // FRAME_SAMPLES)
    padded = np.zeros(frames * FRAME_SAMPLES, np.float32)
    padded[: len(wave)] = wave
    phones.append(Phone("_", clock, len(padded) / SAMPLE_RATE_HZ))
    return Spoken(_levelled(padded, style), tuple(phones), np.maximum.accumulate(times), tuple(pauses), speech)


def _edges(raw: RawSpeech) -> tuple[float, float]:
    sounds = [phone for phone in raw.phones if phone.name != "_"]
    if not sounds:
        return 0.0, 0.0
    return sounds[0].start_s, min(sounds[-1].stop_s + 0.015, len(raw.samples) / raw.rate_hz)


def _faded(samples: NDArray[np.int16], rate_hz: int) -> NDArray[np.float32]:
    piece = samples.astype(np.float32) / 32768.0
    count = min(round(_FADE_S * rate_hz), len(piece) // 2)
    ramp = np.linspace(0.0, 1.0, count, dtype=np.float32)
    piece[:count] *= ramp
    if count:
        piece[-count:] *= ramp[::-1]
    return piece


def _spread_characters(
    times: NDArray[np.float32], raw: RawSpeech, text: str, start: int, stop: int, shift: float, last: float
) -> None:
    """Times of the characters of a clause: even steps within a word; marks and spaces come with what is before."""
    offset = start + len(text[start:stop]) - len(text[start:stop].lstrip())
    times[start:stop] = (raw.words[0].time_s if raw.words else 0.0) + shift
    for index, word in enumerate(raw.words):
        until = raw.words[index + 1].time_s if index + 1 < len(raw.words) else last
        begin, end = offset + word.start, min(offset + word.stop, stop)
        following = min(offset + raw.words[index + 1].start if index + 1 < len(raw.words) else stop, stop)
        count = max(1, end - begin)
        times[begin:end] = word.time_s + shift + (until - word.time_s) * np.arange(end - begin) / count
        times[end:following] = until + shift


def _pause(clause: str, style: Style) -> float:
    if style.pause_s is not None:
        return style.pause_s
    mark = clause.rstrip("\"')”’」』）")[-1:]
    usual = _SENTENCE_PAUSE_S if mark in _SENTENCE_MARKS else _ITEM_PAUSE_S if mark == "、" else _CLAUSE_PAUSE_S
    return usual / style.rate


def _levelled(wave: NDArray[np.float32], style: Style) -> NDArray[np.float32]:
    """Give the active part (blocks of 20 ms within 30 dB of the loudest) the commanded level."""
    blocks = np.square(wave[: len(wave) // 480 * 480].reshape(-1, 480)).mean(1)
    active = blocks[blocks > blocks.max() * 1e-3]
    wanted = LEVEL_DBFS + style.level_db + (_WHISPER_DB if style.whisper else 0.0)
    gain = 10 ** (wanted / 20) / float(np.sqrt(active.mean()))
    peak = float(np.abs(wave).max()) * gain
    return (wave * gain * min(1.0, _PEAK / peak)).astype(np.float32)
