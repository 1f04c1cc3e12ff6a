"""All measures of a recording that rules and reports know (``audio.*``), from one pass over its samples."""

from __future__ import annotations

from math import log10
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit.acoustics.clicks import find_clicks
from toolkit.acoustics.faults import find_faults
from toolkit.acoustics.gaps import find_gaps, starts_with_header
from toolkit.acoustics.levels import Levels, frame_levels
from toolkit.acoustics.reading import Recording, read_wav
from toolkit.acoustics.sound_faults import CAP_TOLERANCE_S, FRAME_CAPS, FRAME_S
from toolkit.acoustics.speech import is_noise_like, speech_rate_ratio, zero_crossing_rates
from troubleshoot.facts import NA

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FRAME_CAPS", "MEASURES", "measure", "measure_file"]

SILENT_PEAK = 1e-4
CLIPPED = 0.999
"""Full scale less a thousandth: the codec clamps to 1.0, and 16 bits end at 0.99997."""

MEASURES: tuple[str, ...] = (
    "audio.duration_s", "audio.sample_rate", "audio.channels", "audio.peak", "audio.rms_dbfs",
    "audio.nonfinite_fraction", "audio.clipped_fraction", "audio.dc_offset", "audio.silent", "audio.truncated",
    "audio.header_duration_s", "audio.at_frame_cap", "audio.tail_quiet_s", "audio.leading_quiet_s", "audio.tail_zcr",
    "audio.body_zcr", "audio.click_count", "audio.click_period_s", "audio.zero_gap_count", "audio.zero_gap_ms",
    "audio.edge_jump", "audio.start_burst", "audio.seconds_per_character", "audio.speech_rate_ratio",
    "audio.noise_like", "audio.faults",
)  # fmt: skip
"""Names of all measures, in the order of docs/rule-format.md."""

_SILENT = NA("the recording is silent")
_ABOUT_SOUND = (
    "audio.tail_quiet_s", "audio.leading_quiet_s", "audio.tail_zcr", "audio.body_zcr", "audio.click_period_s",
    "audio.speech_rate_ratio", "audio.noise_like",
)  # fmt: skip


def measure(recording: Recording, text: str | None = None) -> dict[str, object]:
    """Every measure of :data:`MEASURES`; NA with a reason where one makes no sense.

    ``text`` is what was to be spoken. Levels are of full scale 1.0, ``rms_dbfs`` in dB of it, times in seconds, rates
    of zero crossings per sample at 24 kHz. Samples that are not numbers count as 0 but for their own share.
    """
    finite = np.isfinite(recording.samples)
    mono = recording.finite_mono()
    peak = float(np.max(np.abs(recording.samples), where=finite, initial=0.0))
    facts: dict[str, object] = {
        **_format(recording),
        **_amplitude(recording, finite, peak),
        **(_sound(recording, mono) if peak >= SILENT_PEAK else {**dict.fromkeys(_ABOUT_SOUND, _SILENT), **_NO_BREAKS}),
        "audio.start_burst": starts_with_header(recording.samples),
        "audio.faults": ", ".join(sorted({fault.name for fault in find_faults(recording)})) or "none",
        "audio.seconds_per_character": _seconds_per_character(recording, text),
    }
    return {name: facts[name] for name in MEASURES}


def measure_file(path: str | Path, text: str | None = None) -> dict[str, object]:
    """:func:`measure` of a file; raises :class:`toolkit.errors.BadAudio` for what is not a recording."""
    return measure(read_wav(path), text)


_NO_BREAKS: dict[str, object] = {"audio.click_count": 0, "audio.zero_gap_count": 0, "audio.zero_gap_ms": 0.0}


def _format(recording: Recording) -> dict[str, object]:
    header_s = recording.header_duration_s
    return {
        "audio.duration_s": round(recording.duration_s, 4),
        "audio.sample_rate": recording.sample_rate,
        "audio.channels": recording.channel_count,
        "audio.truncated": recording.is_truncated,
        "audio.header_duration_s": header_s if isinstance(header_s, NA) else round(header_s, 4),
        "audio.at_frame_cap": any(abs(recording.duration_s - cap * FRAME_S) <= CAP_TOLERANCE_S for cap in FRAME_CAPS),
    }


def _amplitude(recording: Recording, finite: NDArray[np.bool_], peak: float) -> dict[str, object]:
    samples, count = recording.samples, int(finite.sum())
    if not count:
        rms_db: object = NA("no sample is a number")
        offset: object = rms_db
    else:
        power = float(np.sum(np.square(samples, dtype=np.float64), where=finite)) / count
        rms_db = round(10 * log10(power), 2) if power > 1e-20 else NA("every sample is 0")
        offset = round(float(np.sum(samples, where=finite, dtype=np.float64)) / count, 6)
    clipped = int(np.count_nonzero((np.abs(samples) >= CLIPPED) & finite))
    ends = np.abs(np.where(finite, samples, 0.0)[[0, -1]])
    return {
        "audio.peak": round(peak, 6),
        "audio.rms_dbfs": rms_db,
        "audio.nonfinite_fraction": round(1.0 - count / samples.size, 6),
        "audio.clipped_fraction": round(clipped / samples.size, 6),
        "audio.dc_offset": offset,
        "audio.silent": peak < SILENT_PEAK,
        "audio.edge_jump": round(float(ends.max()), 5),
    }


def _sound(recording: Recording, mono: NDArray[np.float32]) -> dict[str, object]:
    levels: Levels = frame_levels(mono, recording.sample_rate)
    leading_s, tail_s = levels.quiet_ends_s()
    body_zcr, tail_zcr = zero_crossing_rates(mono, levels)
    gaps = find_gaps(mono, levels)
    # Where a gap begins and ends the waveform breaks too; that is one fault, not three.
    clicks = find_clicks(mono, recording.sample_rate, [edge for gap in gaps for edge in (gap.start, gap.stop)])
    gap_s = float(np.median([gap.length for gap in gaps])) / recording.sample_rate if gaps else 0.0
    return {
        "audio.leading_quiet_s": round(leading_s, 3),
        "audio.tail_quiet_s": round(tail_s, 3),
        "audio.body_zcr": body_zcr,
        "audio.tail_zcr": tail_zcr,
        "audio.click_count": len(clicks.times_s),
        "audio.click_period_s": clicks.period_s,
        "audio.zero_gap_count": len(gaps),
        "audio.zero_gap_ms": round(gap_s * 1000, 2),
        "audio.speech_rate_ratio": speech_rate_ratio(mono, levels),
        "audio.noise_like": is_noise_like(mono, levels),
    }


def _seconds_per_character(recording: Recording, text: str | None) -> object:
    length = len(text.strip()) if text else 0
    return round(recording.duration_s / length, 4) if length else NA("the text is not known")
