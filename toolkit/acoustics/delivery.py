"""How something was said: its length, pace, pitch and level, whatever the words are."""

from __future__ import annotations

from dataclasses import dataclass
from math import log10, nan
from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics.levels import Levels, frame_levels
from toolkit.acoustics.pauses import Phrases, find_phrases
from toolkit.acoustics.pitch import PitchTrack, median_f0_hz, track_pitch, voiced_share
from toolkit.acoustics.speech import syllable_times_s
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Delivery", "measure_delivery"]

_SHORTEST_S = 0.05


@dataclass(frozen=True, eq=False)
class Delivery:
    """Measures of one piece of speech; NaN where there is nothing to measure.

    :class:`toolkit.acoustics.voice.Voice` has more of them.

    Attributes:
        duration_s: length of the clip.
        sounding_s: length of the speech from its first to its last sound, pauses apart.
        syllables_per_s: syllables a second of ``sounding_s``, told from the sound.
        median_f0_hz: median pitch.
        spread_st: standard deviation of the pitch in semitones: near 0 is monotone.
        voiced_share: share of the sound that has a pitch: 0 for a whisper.
        level_dbfs: RMS level of what is not quiet, in dB of full scale 1.0.
        pitch: the track that the pitch was taken from.
        levels: level of each 20 ms, every 10 ms.
        phrases: where the speech begins, pauses and ends.
        syllables_s: centres of the syllables, float64 ``[syllables]``.
    """

    duration_s: float
    sounding_s: float
    syllables_per_s: float
    median_f0_hz: float
    spread_st: float
    voiced_share: float
    level_dbfs: float
    pitch: PitchTrack
    levels: Levels
    phrases: Phrases
    syllables_s: NDArray[np.float64]


def measure_delivery(samples: NDArray[np.float32], sample_rate_hz: int) -> Delivery:
    """Measure mono speech.

    Quiet is what lies 26 dB below the louder speech (:mod:`toolkit.acoustics.levels`), pauses are those of
    :mod:`toolkit.acoustics.pauses`, syllables are counted as by de Jong and Wempe
    (:func:`toolkit.acoustics.speech.syllable_times_s`), pitch is that of :mod:`toolkit.acoustics.pitch`.

    Raises:
        UsageError: not mono, shorter than 0.05 s, or of a rate too low to track a pitch in.
    """
    if samples.ndim != 1 or samples.size < _SHORTEST_S * sample_rate_hz:
        raise UsageError(f"delivery is measured in at least {_SHORTEST_S} s of mono speech, not {samples.shape}")
    mono = np.asarray(np.nan_to_num(samples, posinf=0.0, neginf=0.0), np.float32)
    track = track_pitch(mono, sample_rate_hz)
    levels = frame_levels(mono, sample_rate_hz)
    loud_db = levels.frames_db[levels.is_loud]
    phrases = find_phrases(mono, levels)
    syllables_s = syllable_times_s(mono, levels) if len(loud_db) else np.zeros(0)
    sounding_s = phrases.sounding_s
    return Delivery(
        duration_s=samples.size / sample_rate_hz,
        sounding_s=sounding_s,
        syllables_per_s=len(syllables_s) / sounding_s if len(syllables_s) and sounding_s > 0 else nan,
        median_f0_hz=median_f0_hz(track),
        spread_st=track.spread_st(),
        voiced_share=voiced_share(track),
        level_dbfs=10 * log10(float(np.mean(10 ** (loud_db / 10)))) if len(loud_db) else nan,
        pitch=track,
        levels=levels,
        phrases=phrases,
        syllables_s=syllables_s,
    )
