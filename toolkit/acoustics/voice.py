"""One clip of speech in numbers: pace, pitch, melody, level, pauses, end and colour of the voice."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics.delivery import measure_delivery
from toolkit.acoustics.levels import Levels
from toolkit.acoustics.melody import f0_range_st, f0_slope_st_per_s, final_lengthening, final_movement_st
from toolkit.acoustics.pauses import Pause
from toolkit.acoustics.pitch import PitchTrack
from toolkit.acoustics.syllables import count_syllables
from toolkit.acoustics.timbre import dynamic_range_db, harmonics_to_noise_db, long_term_spectrum, loudness_lufs

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TITLES", "UNITS", "VALUE_NAMES", "Pause", "Voice", "measure_voice"]

_TABLE = (
    ("duration_s", "duration", "s"),
    ("sounding_s", "speech, pauses apart", "s"),
    ("syllables_per_s", "pace, from the sound", "syllables/s"),
    ("text_rate_per_s", "pace, from the text", "syllables/s"),
    ("median_f0_hz", "median pitch", "Hz"),
    ("f0_range_st", "range of the pitch", "semitones"),
    ("f0_slope_st_per_s", "slope of the pitch in a phrase", "semitones/s"),
    ("final_movement_st", "rise (+) or fall (-) at the end", "semitones"),
    ("level_dbfs", "level", "dBFS"),
    ("dynamic_range_db", "range of the level", "dB"),
    ("loudness_lufs", "loudness", "LUFS"),
    ("pause_count", "pauses", ""),
    ("pause_total_s", "pauses together", "s"),
    ("final_lengthening", "last syllable against the others", ""),
    ("tail_s", "tail after the last syllable's centre", "s"),
    ("voiced_share", "voiced share", ""),
    ("hnr_db", "harmonics against noise", "dB"),
    ("tilt_db_per_octave", "tilt of the spectrum", "dB/octave"),
    ("centroid_hz", "brightness (centre of the spectrum)", "Hz"),
)

VALUE_NAMES: tuple[str, ...] = tuple(name for name, *_ in _TABLE)
"""Names of the scalars, in the order in which they are shown."""
TITLES: dict[str, str] = {name: title for name, title, _ in _TABLE}
"""What each scalar is, in words."""
UNITS: dict[str, str] = {name: unit for name, _, unit in _TABLE}
"""Unit of each scalar; empty for counts, shares and ratios."""


@dataclass(frozen=True, eq=False)
class Voice:
    """Measures of one clip; NaN where there is nothing to measure.

    Attributes:
        duration_s: length of the clip.
        sounding_s: length of the speech from its first to its last sound, pauses apart.
        syllables_per_s: syllables a second of ``sounding_s``, told from the sound.
        text_rate_per_s: syllables of the text a second of ``sounding_s``; a CJK character is one.
        median_f0_hz: median pitch.
        f0_range_st: from the 5th to the 95th percentile of the pitch.
        f0_slope_st_per_s: slope of the pitch within phrases; speech that declines has a negative one.
        final_movement_st: pitch at the end of the last voiced stretch against that before: + rises, - falls.
        level_dbfs: RMS level of what is not quiet, in dB of full scale 1.0.
        dynamic_range_db: from the 5th to the 95th percentile of the level of what is not quiet.
        loudness_lufs: integrated loudness (ITU-R BS.1770-4); NaN below 0.4 s.
        pause_count: number of pauses of 0.15 s and more, as a float.
        pause_total_s: their length.
        final_lengthening: length of the last syllable over the median length of the others.
        tail_s: from the centre of the last syllable to the end of the last sound.
        voiced_share: share of the sound that has a pitch: 0 for a whisper.
        hnr_db: harmonics against noise in the voiced part.
        tilt_db_per_octave: slope of the spectrum from 200 Hz to 5 kHz.
        centroid_hz: mean frequency, weighted by power.
        pauses: where the pauses are.
        pitch: pitch of each 10 ms.
        levels: contour of the energy: level of each 20 ms, every 10 ms.
        start_s, stop_s: beginning of the first and end of the last sound.
        syllables_s: centres of the syllables, float64 ``[syllables]``.
    """

    duration_s: float
    sounding_s: float
    syllables_per_s: float
    text_rate_per_s: float
    median_f0_hz: float
    f0_range_st: float
    f0_slope_st_per_s: float
    final_movement_st: float
    level_dbfs: float
    dynamic_range_db: float
    loudness_lufs: float
    pause_count: float
    pause_total_s: float
    final_lengthening: float
    tail_s: float
    voiced_share: float
    hnr_db: float
    tilt_db_per_octave: float
    centroid_hz: float
    pauses: tuple[Pause, ...]
    pitch: PitchTrack
    levels: Levels
    start_s: float
    stop_s: float
    syllables_s: NDArray[np.float64]

    def values(self) -> dict[str, float]:
        """The scalars by name, in the order of ``VALUE_NAMES``."""
        return {name: float(getattr(self, name)) for name in VALUE_NAMES}


def measure_voice(samples: NDArray[np.float32], sample_rate_hz: int, text: str | None = None) -> Voice:
    """Measure a clip of mono speech.

    Args:
        samples: float ``[n]``, full scale 1.0; values that are not numbers count as 0.
        sample_rate_hz: of the samples.
        text: what is said, if it is known: for ``text_rate_per_s``.

    Raises:
        UsageError: not mono, shorter than 0.05 s, or of a rate below 3,600 Hz.
    """
    delivery = measure_delivery(samples, sample_rate_hz)
    mono = np.asarray(np.nan_to_num(samples, posinf=0.0, neginf=0.0), np.float32)
    track, levels, phrases = delivery.pitch, delivery.levels, delivery.phrases
    spectrum = long_term_spectrum(mono, levels)
    said = count_syllables(text) if text else 0
    syllables_s = delivery.syllables_s
    is_silent = not phrases.sounding_s > 0
    return Voice(
        duration_s=delivery.duration_s,
        sounding_s=delivery.sounding_s,
        syllables_per_s=delivery.syllables_per_s,
        text_rate_per_s=nan if is_silent or not said else said / phrases.sounding_s,
        median_f0_hz=delivery.median_f0_hz,
        f0_range_st=f0_range_st(track),
        f0_slope_st_per_s=f0_slope_st_per_s(track, phrases),
        final_movement_st=final_movement_st(track),
        level_dbfs=delivery.level_dbfs,
        dynamic_range_db=dynamic_range_db(levels),
        loudness_lufs=loudness_lufs(mono, sample_rate_hz),
        pause_count=nan if is_silent else float(len(phrases.pauses)),
        pause_total_s=nan if is_silent else sum((pause.length_s for pause in phrases.pauses), 0.0),
        final_lengthening=final_lengthening(levels, phrases, syllables_s),
        tail_s=max(phrases.stop_s - float(syllables_s[-1]), 0.0) if len(syllables_s) else nan,
        voiced_share=nan if is_silent else delivery.voiced_share,
        hnr_db=harmonics_to_noise_db(mono, sample_rate_hz, track),
        tilt_db_per_octave=spectrum.tilt_db_per_octave(),
        centroid_hz=spectrum.centroid_hz(),
        pauses=phrases.pauses,
        pitch=track,
        levels=levels,
        start_s=phrases.start_s,
        stop_s=phrases.stop_s,
        syllables_s=syllables_s,
    )
