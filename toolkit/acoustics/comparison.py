"""Compares two readings of one text along a time warp: differences with size and place, beside the seeds' spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, isfinite, log, log2, nan
from typing import TYPE_CHECKING, Literal

import numpy as np

from toolkit.acoustics.alignment import HOP_S, TOP_HZ, Spectra, Warp, align, cepstral_distances_db, spectra_of
from toolkit.acoustics.levels import Levels
from toolkit.acoustics.spread import (
    FEWEST_SEEDS,
    Scatter,
    Spread,
    Verdict,
    magnitude_scatter,
    signed_scatter,
    value_scatter,
)
from toolkit.acoustics.voice import TITLES, UNITS, Voice, measure_voice
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Comparison", "Difference", "Take", "compare", "spread_of"]

Kind = Literal["ratio", "semitones", "difference"]

_NOISE_DBFS = -100.0
"""Below it there is no noise worth the name: 16 bits' own lies at -98."""
_LOUD_DB = -26.0
_NEIGHBOURS = 3
"""Each seed is aligned with the next three (of eight seeds that is 24 of 28 pairs): the time grows with the seeds."""

_STEP_FRAMES = 12
_STEP_SPAN_S = 0.6
_SMOOTH_FRAMES = 9
_STRETCH_FRAMES = 25
_MOST_STRETCH = 8.0


@dataclass(frozen=True)
class _Measure:
    """How a difference of two values is expressed, and the least that the measure can tell apart.

    ``resolution`` is in the unit of the difference: the natural logarithm of a ratio, semitones, or the own unit.
    """

    kind: Kind
    resolution: float


_VALUES: dict[str, _Measure] = {
    "duration_s": _Measure("ratio", 0.01),
    "sounding_s": _Measure("ratio", 0.02),
    "syllables_per_s": _Measure("ratio", 0.05),
    "text_rate_per_s": _Measure("ratio", 0.02),
    "median_f0_hz": _Measure("semitones", 0.17),
    "f0_range_st": _Measure("difference", 0.3),
    "f0_slope_st_per_s": _Measure("difference", 0.1),
    "final_movement_st": _Measure("difference", 0.5),
    "level_dbfs": _Measure("difference", 0.1),
    "dynamic_range_db": _Measure("difference", 0.5),
    "loudness_lufs": _Measure("difference", 0.1),
    "pause_count": _Measure("difference", 0.5),
    "pause_total_s": _Measure("difference", 0.04),
    "final_lengthening": _Measure("ratio", 0.1),
    "tail_s": _Measure("difference", 0.02),
    "voiced_share": _Measure("difference", 0.01),
    "hnr_db": _Measure("difference", 0.5),
    "tilt_db_per_octave": _Measure("difference", 0.2),
    "centroid_hz": _Measure("ratio", 0.01),
    "noise_floor_dbfs": _Measure("difference", 0.5),
    "snr_db": _Measure("difference", 0.5),
}
_SIZE_UNITS = {"dBFS": "dB", "LUFS": "LU", "semitones": "st", "semitones/s": "st/s", "dB/octave": "dB/oct"}
_OWN_TITLES = {
    "noise_floor_dbfs": ("noise floor", "dBFS"),
    "snr_db": ("speech above the noise floor", "dB"),
}


@dataclass(frozen=True)
class _Along:
    title: str
    unit: str
    kind: Kind
    resolution: float
    is_magnitude: bool = False


_ALONG: dict[str, _Along] = {
    "f0_along_st": _Along("pitch, along the speech", "st", "difference", 0.1),
    "f0_step_st": _Along("largest step of the pitch", "st", "difference", 0.3, True),
    "energy_along_db": _Along("energy, along the speech", "dB", "difference", 0.2),
    "energy_largest_db": _Along("largest change of energy", "dB", "difference", 0.5, True),
    "stretch_along": _Along("stretch of the sounds", "x", "ratio", 0.02),
    "stretch_largest": _Along("largest local stretch", "x", "ratio", 0.1, True),
    "mel_cepstral_db": _Along("mel-cepstral distance", "dB", "difference", 0.1, True),
}


@dataclass(frozen=True, eq=False)
class Take:
    """One reading of a text: its sound, its measures, and what it is aligned by. Make it with :meth:`of`."""

    samples: NDArray[np.float32]
    sample_rate_hz: int
    voice: Voice
    spectra: Spectra
    noise_floor_dbfs: float
    snr_db: float

    @classmethod
    def of(
        cls, samples: NDArray[np.float32], sample_rate_hz: int, text: str | None = None, voice: Voice | None = None
    ) -> Take:
        """Measure mono speech, float32 ``[n]``; ``voice`` are its measures if they are known already.

        Raises:
            UsageError: what cannot be measured, see :func:`toolkit.acoustics.voice.measure_voice`.
        """
        found = voice if voice is not None else measure_voice(samples, sample_rate_hz, text)
        mono = np.asarray(np.nan_to_num(samples, posinf=0.0, neginf=0.0), np.float32)
        noise_dbfs, snr_db = _noise(found.levels)
        top_hz = min(TOP_HZ, sample_rate_hz / 2)
        return cls(mono, sample_rate_hz, found, spectra_of(mono, sample_rate_hz, top_hz), noise_dbfs, snr_db)

    def values(self) -> dict[str, float]:
        """Every measure that one clip has alone, by name."""
        return {**self.voice.values(), "noise_floor_dbfs": self.noise_floor_dbfs, "snr_db": self.snr_db}

    def spectra_below(self, top_hz: float) -> Spectra:
        """Its spectra up to ``top_hz``."""
        if top_hz == self.spectra.top_hz:
            return self.spectra
        return spectra_of(self.samples, self.sample_rate_hz, top_hz)


@dataclass(frozen=True)
class Difference:
    """How a clip differs from the reference in one measure.

    Attributes:
        name, title: of the measure.
        reference, clip: its values, in ``unit``; NaN for what only two clips together have.
        unit: of the two values.
        size: the clip's value over the reference's (``size_unit`` "x"), or less the reference's. NaN: not measured.
        size_unit: "x" for a ratio, "st" for semitones, dB, s, or the measure's own.
        place_s: where in the reference it was found; NaN where it belongs to the whole.
        spread: root mean square of the same difference between two seeds; NaN without a spread. For a ratio it is a
            share (0.05 is 5 %).
        multiple: the difference over ``spread``, never negative.
        verdict: whether seeds differ as much by chance.
        is_distance: the size has no direction and is never negative.
    """

    name: str
    title: str
    reference: float
    clip: float
    unit: str
    size: float
    size_unit: str
    place_s: float = nan
    spread: float = nan
    multiple: float = nan
    verdict: Verdict = "no spread"
    is_distance: bool = False

    @property
    def strength(self) -> float:
        """The difference on a scale on which 0 is none: the natural logarithm of a ratio, else ``size``."""
        return _strength(self.size, self.size_unit)


@dataclass(frozen=True, eq=False)
class Comparison:
    """A clip beside a reference.

    Attributes:
        differences: of all measures, those of single clips first.
        warp: where each moment of the reference lies in the clip.
        f0_st: pitch of the clip above that of the reference at the same sound, float64 ``[frames of the reference]``;
            NaN where one of them has none.
        seeds: clips that the spread was taken from, 0 without one.
    """

    differences: tuple[Difference, ...]
    warp: Warp
    f0_st: NDArray[np.float64]
    seeds: int = 0

    def __getitem__(self, name: str) -> Difference:
        for difference in self.differences:
            if difference.name == name:
                return difference
        raise KeyError(name)

    def against(self, spread: Spread) -> Comparison:
        """The same, each difference beside the spread of its measure between seeds."""
        return replace(
            self, differences=tuple(_judged(one, spread) for one in self.differences), seeds=spread.seeds
        )  # fmt: skip


def compare(reference: Take, clip: Take) -> Comparison:
    """Differences of ``clip`` from ``reference``, another reading of the same text.

    Every measure of :class:`toolkit.acoustics.voice.Voice`, the noise floor and the speech above it; and along the time
    warp, at the same sounds: pitch (median and largest step), energy (median and largest change from it), stretch (mean
    and largest), and the mel-cepstral distance. A clip beside itself has no difference anywhere.
    """
    top_hz = min(reference.spectra.top_hz, clip.spectra.top_hz)
    first, second = reference.spectra_below(top_hz), clip.spectra_below(top_hz)
    warp = align(first, second)
    f0_st = _f0_differences(reference, clip, warp)
    return Comparison((*_of_values(reference, clip), *_along(first, second, warp, f0_st)), warp, f0_st)


def spread_of(takes: Sequence[Take]) -> Spread:
    """How much clips of one text by several seeds differ among themselves, all else equal.

    Raises:
        UsageError: fewer than three clips.
    """
    count = len(takes)
    if count < FEWEST_SEEDS:
        raise UsageError(f"a spread between seeds is measured from {FEWEST_SEEDS} clips or more, not from {count}")
    values = [take.values() for take in takes]
    scatters: dict[str, Scatter] = {}
    for name, measure in _VALUES.items():
        scaled = [_scaled(one.get(name, nan), measure.kind) for one in values]
        scatters[name] = value_scatter(scaled, measure.resolution)
    pairs = [
        compare(takes[i], takes[j])
        for i in range(count) for j in range(i + 1, count) if min(j - i, count - j + i) <= _NEIGHBOURS
    ]  # fmt: skip
    for name, along in _ALONG.items():
        strengths = [pair[name].strength for pair in pairs]
        scatter = magnitude_scatter if along.is_magnitude else signed_scatter
        sizes = [abs(strength) for strength in strengths] if along.is_magnitude else strengths
        scatters[name] = scatter(sizes, count, along.resolution)
    return Spread(count, scatters)


def _judged(one: Difference, spread: Spread) -> Difference:
    verdict = spread.verdict(one.name, one.strength)
    if verdict not in ("within", "beyond"):
        return replace(one, verdict=verdict)
    size = spread.scatters[one.name].size
    shown = exp(size) - 1 if one.size_unit == "x" else size
    return replace(one, spread=shown, multiple=abs(one.strength) / size, verdict=verdict)


def _of_values(reference: Take, clip: Take) -> list[Difference]:
    before, after = reference.values(), clip.values()
    found = []
    for name, measure in _VALUES.items():
        title, unit = _OWN_TITLES.get(name) or (TITLES[name], UNITS[name])
        one, other = before[name], after[name]
        size, size_unit = other - one, _SIZE_UNITS.get(unit, unit)
        if measure.kind == "ratio":
            size, size_unit = (other / one if one > 0 and other > 0 else nan), "x"
        elif measure.kind == "semitones":
            size, size_unit = (12 * log2(other / one) if one > 0 and other > 0 else nan), "st"
        found.append(Difference(name, title, one, other, unit, size, size_unit, verdict=_unjudged(size)))
    return found


def _along(first: Spectra, second: Spectra, warp: Warp, f0_st: NDArray[np.float64]) -> list[Difference]:
    nearest = warp.nearest(len(second.levels_db))
    loud = (first.levels_db > _LOUD_DB) & (second.levels_db[nearest] > _LOUD_DB)
    energy_db = np.where(loud, second.levels_db[nearest] + second.loud_db - first.levels_db - first.loud_db, np.nan)
    distances = cepstral_distances_db(first.cepstra, second.cepstra[nearest])
    sizes = {
        "f0_along_st": (_median(f0_st), nan),
        "f0_step_st": _largest_step(f0_st),
        "energy_along_db": (_median(energy_db), nan),
        "energy_largest_db": _largest_change(energy_db),
        **_stretches(warp, loud),
        "mel_cepstral_db": (float(distances[loud].mean()) if loud.any() else nan, nan),
    }
    found = []
    for name, along in _ALONG.items():
        size, place_s = sizes[name]
        one = Difference(name, along.title, nan, nan, along.unit, size, along.unit, place_s, verdict=_unjudged(size))
        found.append(replace(one, is_distance=name == "mel_cepstral_db"))
    return found


def _f0_differences(reference: Take, clip: Take, warp: Warp) -> NDArray[np.float64]:
    first, second = reference.voice.pitch.f0_hz, clip.voice.pitch.f0_hz
    count = min(len(warp.frames), len(first))
    difference = np.full(len(warp.frames), np.nan)
    difference[:count] = 12 * np.log2(second[warp.nearest(len(second))[:count]] / first[:count])
    return difference


def _largest_step(f0_st: NDArray[np.float64]) -> tuple[float, float]:
    """Where the pitch difference changes most from 12 voiced frames to the 12 after them, and by how much (signed)."""
    places = np.flatnonzero(np.isfinite(f0_st))
    if len(places) < 2 * _STEP_FRAMES:
        return nan, nan
    medians = np.median(np.lib.stride_tricks.sliding_window_view(f0_st[places], _STEP_FRAMES), axis=1)
    steps = medians[_STEP_FRAMES:] - medians[:-_STEP_FRAMES]
    spans = places[2 * _STEP_FRAMES - 1 :] - places[: len(steps)]
    steps = np.where(spans * HOP_S <= _STEP_SPAN_S, steps, 0.0)
    best = int(np.abs(steps).argmax())
    edge = places[best + _STEP_FRAMES - 1 : best + _STEP_FRAMES + 1].mean()
    return float(steps[best]), float((edge + 0.5) * HOP_S) if steps[best] else nan


def _largest_change(energy_db: NDArray[np.float64]) -> tuple[float, float]:
    """The largest departure from the median, after a running median of 9 loud frames (signed)."""
    places = np.flatnonzero(np.isfinite(energy_db))
    if len(places) < _SMOOTH_FRAMES:
        return nan, nan
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(energy_db[places], _SMOOTH_FRAMES), axis=1)
    smooth -= np.median(smooth)
    best = int(np.abs(smooth).argmax())
    place_s = float((places[best + _SMOOTH_FRAMES // 2] + 0.5) * HOP_S)
    return float(smooth[best]), place_s if smooth[best] else nan


def _stretches(warp: Warp, loud: NDArray[np.bool_]) -> dict[str, tuple[float, float]]:
    """Mean of the clip's time over the reference's in loud sounds, and the largest of half a second relative to it."""
    steps = np.diff(warp.frames)
    sounding = loud[1:] & loud[:-1]
    if not sounding.any() or steps[sounding].sum() <= 0:
        return {"stretch_along": (nan, nan), "stretch_largest": (nan, nan)}
    mean = float(steps[sounding].mean())
    span = 2 * _STRETCH_FRAMES
    if len(warp.frames) <= span:
        return {"stretch_along": (mean, nan), "stretch_largest": (nan, nan)}
    local = (warp.frames[span:] - warp.frames[:-span]) / span / mean
    # Only where the middle sounds: quiet ends are laid along each other by length, not by what is heard.
    local = np.clip(np.where(loud[_STRETCH_FRAMES:-_STRETCH_FRAMES], local, 1.0), 1 / _MOST_STRETCH, _MOST_STRETCH)
    best = int(np.abs(np.log(local)).argmax())
    size = float(local[best])
    place_s = (best + _STRETCH_FRAMES + 0.5) * HOP_S if size != 1.0 else nan
    return {"stretch_along": (mean, nan), "stretch_largest": (size, place_s)}


def _noise(levels: Levels) -> tuple[float, float]:
    """Mean power of the quietest tenth of the frames in dBFS, and the level of the loud speech above it in dB.

    The latter is NaN where there is no noise.
    """
    frames = np.sort(np.maximum(levels.frames_db, _NOISE_DBFS))
    quiet = frames[: max(1, len(frames) // 10)]
    floor_dbfs = float(10 * np.log10(np.mean(10 ** (quiet / 10))))
    # Without noise the distance from it would only be the level once more.
    return floor_dbfs, levels.speech_db - floor_dbfs if floor_dbfs > _NOISE_DBFS + 0.1 else nan


def _median(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else nan


def _scaled(value: float, kind: Kind) -> float:
    if kind == "difference":
        return value
    if not value > 0:
        return nan
    return 12 * log2(value) if kind == "semitones" else log(value)


def _strength(size: float, size_unit: str) -> float:
    if size_unit != "x":
        return size
    return log(size) if size > 0 else nan


def _unjudged(size: float) -> Verdict:
    return "no spread" if isfinite(size) else "not measured"
