"""How something was said: its length, pace, pitch and level, whatever the words are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10, nan
from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics.levels import frame_levels
from toolkit.acoustics.pitch import PitchTrack, median_f0_hz, track_pitch, voiced_share
from toolkit.acoustics.speech import syllable_times_s
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Delivery", "joined_delivery", "measure_delivery"]

_SHORTEST_S = 0.05


@dataclass(frozen=True, eq=False)
class Delivery:
    """Measures of one piece of speech; NaN where there is nothing to measure.

    Attributes:
        duration_s: length of the clip.
        sounding_s: length of what is not quiet, so without pauses and ends.
        syllables_per_s: syllables a second of ``sounding_s``, told from the sound.
        median_f0_hz: median pitch.
        spread_st: standard deviation of the pitch in semitones: near 0 is monotone.
        voiced_share: share of the sound that has a pitch: 0 for a whisper.
        level_dbfs: RMS level of what is not quiet, in dB of full scale 1.0.
        pitch: the track that the pitch was taken from.
    """

    duration_s: float
    sounding_s: float
    syllables_per_s: float
    median_f0_hz: float
    spread_st: float
    voiced_share: float
    level_dbfs: float
    pitch: PitchTrack


def measure_delivery(samples: NDArray[np.float32], sample_rate_hz: int) -> Delivery:
    """Measure mono speech.

    Quiet is what lies 26 dB below the louder speech (:mod:`toolkit.acoustics.levels`), syllables are counted as by de
    Jong and Wempe (:func:`toolkit.acoustics.speech.syllable_times_s`), pitch is that of :mod:`toolkit.acoustics.pitch`.

    Raises:
        UsageError: not mono, shorter than 0.05 s, or of a rate too low to track a pitch in.
    """
    if samples.ndim != 1 or samples.size < _SHORTEST_S * sample_rate_hz:
        raise UsageError(f"delivery is measured in at least {_SHORTEST_S} s of mono speech, not {samples.shape}")
    mono = np.asarray(np.nan_to_num(samples, posinf=0.0, neginf=0.0), np.float32)
    track = track_pitch(mono, sample_rate_hz)
    levels = frame_levels(mono, sample_rate_hz)
    loud_db = levels.frames_db[levels.is_loud]
    sounding_s = len(loud_db) * levels.hop / sample_rate_hz
    syllables = len(syllable_times_s(mono, levels)) if sounding_s else 0
    return Delivery(
        duration_s=samples.size / sample_rate_hz,
        sounding_s=sounding_s,
        syllables_per_s=syllables / sounding_s if syllables else nan,
        median_f0_hz=median_f0_hz(track),
        spread_st=track.spread_st(),
        voiced_share=voiced_share(track),
        level_dbfs=10 * log10(float(np.mean(10 ** (loud_db / 10)))) if len(loud_db) else nan,
        pitch=track,
    )


def joined_delivery(parts: Sequence[Delivery]) -> Delivery:
    """Delivery of a long recording from that of its parts, which follow each other; one part is given back as it is.

    Quiet was told by the level of each part, so a soft chapter counts as speech beside a loud one.
    """
    if len(parts) == 1:
        return parts[0]
    begins = np.cumsum([0.0, *(part.duration_s for part in parts)])[:-1]
    track = PitchTrack(
        np.concatenate([part.pitch.times_s + begin for part, begin in zip(parts, begins, strict=True)]),
        np.concatenate([part.pitch.f0_hz for part in parts]),
        np.concatenate([part.pitch.is_active for part in parts]),
    )
    sounding_s = sum(part.sounding_s for part in parts)
    spoken = [part for part in parts if part.syllables_per_s == part.syllables_per_s]
    loud = [part for part in parts if part.level_dbfs == part.level_dbfs]
    power = sum(part.sounding_s * 10 ** (part.level_dbfs / 10) for part in loud)
    syllables = sum(part.syllables_per_s * part.sounding_s for part in spoken)
    return Delivery(
        duration_s=sum(part.duration_s for part in parts),
        sounding_s=sounding_s,
        syllables_per_s=syllables / sounding_s if syllables else nan,
        median_f0_hz=median_f0_hz(track),
        spread_st=track.spread_st(),
        voiced_share=voiced_share(track),
        level_dbfs=10 * log10(power / sum(part.sounding_s for part in loud)) if power else nan,
        pitch=track,
    )
