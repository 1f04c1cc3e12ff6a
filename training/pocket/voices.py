"""The voices: nine of the pocket voice, each with its whisper, and other ones that only the recogniser hears."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

__all__ = ["OTHER_VOICES", "SPEAKERS", "Voice", "shifts_st", "variant_name", "variants"]

Gender = Literal["female", "male"]

SHIFTS_ST = tuple(range(-7, 13))
"""Semitones by which a speaker may be moved: what a style may command."""

OTHER_SHIFTS_ST = (-5, 0, 5, 10)
"""The same for the other voices; the engine knows 349 voices at most."""

_PITCH_OFFSET_HZ = 4  # of the engine's scale; with it an octave is 12.0 +- 0.2 semitones for all voices


@dataclass(frozen=True)
class Voice:
    """A variant of espeak-ng's voice.

    Attributes:
        name: name of the speaker, and of the variant.
        pitch_hz: where its pitch starts, at the engine's pitch 50 and range 0.
        movement: how far the pitch moves above that, as a share.
        formants_percent: frequency of the formants 1 to 4 and of all higher ones against the engine's own.
        widths_percent: bandwidths of the formants.
        tilt: heights of the formants 2 and up, against the first, in percent; lower is duller.
        breath: noise in the voice, 0 to 12.
        flutter, roughness: how unsteady the pitch is, 0 to 20 and 0 to 3.
    """

    name: str
    gender: Gender
    pitch_hz: int
    movement: float
    formants_percent: tuple[int, int, int, int, int]
    widths_percent: int = 110
    tilt: int = 100
    breath: int = 2
    flutter: int = 2
    roughness: int = 0

    def variant(self, *, shift_st: int = 0, whisper: bool = False) -> str:
        """The voice in the format of espeak-ng's variant files (documented in its docs/voices.md).

        The engine's own pitch parameter moves the start of the pitch, not its movement, and ends below an octave up;
        a shift here moves both and leaves the formants where they are.
        """
        factor = 2 ** (shift_st / 12)
        start = _PITCH_OFFSET_HZ + factor * (self.pitch_hz - _PITCH_OFFSET_HZ)
        lines = [
            "language variant",
            f"name {variant_name(self.name, shift_st=shift_st, whisper=whisper)}",
            f"gender {self.gender}",
            f"pitch {round(start)} {round(start + factor * self.pitch_hz * self.movement)}",
            f"flutter {self.flutter}",
            f"roughness {self.roughness}",
        ]
        for index in range(9):
            percent = self.formants_percent[max(0, min(index - 1, 4))] if index else 100
            height = 100 if index < 2 else self.tilt
            if whisper:
                height = 0 if index == 0 else (60 if index == 1 else height)
            lines.append(f"formant {index} {percent} {height} {self.widths_percent + (40 if whisper else 0)}")
        if whisper:
            # As the engine's own whispers: hardly any voicing, and noise shaped by the formants.
            lines += ["voicing 15", "breath 75 75 60 45 20 10", "breathw 150 150 200 200 400 400"]
        elif self.breath:
            lines.append("breath 0 " + " ".join([str(self.breath)] * 5))
        return "\n".join(lines) + "\n"


SPEAKERS: dict[str, Voice] = {
    voice.name: voice
    for voice in (
        Voice("serena", "female", 170, 0.42, (106, 109, 110, 112, 113), 110, 96, 3),
        Voice("vivian", "female", 192, 0.50, (112, 116, 115, 117, 118), 105, 104, 2),
        Voice("ono_anna", "female", 204, 0.44, (118, 122, 120, 121, 122), 115, 100, 4),
        Voice("sohee", "female", 184, 0.36, (110, 106, 116, 112, 116), 100, 92, 1, 4),
        Voice("uncle_fu", "male", 94, 0.36, (94, 92, 94, 95, 95), 110, 90, 3, 4, 1),
        Voice("ryan", "male", 104, 0.50, (98, 100, 99, 100, 100), 100, 104, 1),
        Voice("aiden", "male", 118, 0.44, (102, 104, 103, 103, 104), 105, 100, 2),
        Voice("eric", "male", 98, 0.44, (96, 97, 99, 98, 98), 115, 96, 2, 3),
        Voice("dylan", "male", 110, 0.40, (104, 98, 101, 104, 102), 110, 98, 4, 2, 1),
    )
}


def _others() -> dict[str, Voice]:
    source = random.Random("voices that only the recogniser hears")
    found = {}
    for index in range(30):
        female = index % 2 == 0
        low, high = (155, 215) if female else (82, 132)
        size = source.uniform(1.04, 1.24) if female else source.uniform(0.9, 1.08)
        formants = tuple(round(100 * size * source.uniform(0.96, 1.04)) for _ in range(5))
        found[f"other{index}"] = Voice(
            f"other{index}",
            "female" if female else "male",
            source.randint(low, high),
            source.uniform(0.3, 0.55),
            (formants[0], formants[1], formants[2], formants[3], formants[4]),
            source.randint(95, 120),
            source.randint(86, 106),
            source.randint(0, 5),
            source.randint(0, 5),
            source.randint(0, 1),
        )
    return found


OTHER_VOICES: dict[str, Voice] = _others()


def variants() -> dict[str, str]:
    """All variant files by name."""
    texts = {}
    for name, voice in (SPEAKERS | OTHER_VOICES).items():
        texts[variant_name(name, whisper=True)] = voice.variant(whisper=True)
        for shift in shifts_st(name):
            texts[variant_name(name, shift_st=shift)] = voice.variant(shift_st=shift)
    return texts


def shifts_st(voice: str) -> tuple[int, ...]:
    """The shifts that a voice has variants for."""
    return SHIFTS_ST if voice in SPEAKERS else OTHER_SHIFTS_ST


def variant_name(voice: str, *, shift_st: int = 0, whisper: bool = False) -> str:
    """Name of a variant file."""
    return f"{voice}-whisper" if whisper else f"{voice}{shift_st:+d}" if shift_st else voice
