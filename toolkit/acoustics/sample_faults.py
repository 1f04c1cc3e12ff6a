"""Faults that show in the samples themselves: no numbers, clipping, wrap-round, offset, wrong bytes, gaps, repeats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.acoustics.faults import Fault, Sound, detector, surely, whole_detector
from troubleshoot.facts import NA

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from toolkit.acoustics.overview import Overview

__all__: list[str] = []

_FLAT = 1e-4
_REPEATED = 24
"""Samples that must agree before two places count as the same: 1 ms at 24 kHz."""
_REPEAT_S = (0.035, 2.0)
"""Lags of a repeat: the lower end lies above the period of a mains hum, which repeats itself in silence."""
_REPEATED_SHARE = 0.5
"""Share of the lag that must agree: a piece that comes again at once agrees all along, while a synthesiser that plays
one and the same stored s twice agrees for a small part of the time between."""


@detector("not-finite")
def _not_finite(sound: Sound) -> Iterator[Fault]:
    bad = np.flatnonzero(~np.isfinite(sound.own_samples).all(axis=1)) + (sound.own.start or 0)
    if len(bad):
        length_s = (int(bad[-1]) - int(bad[0]) + 1) / sound.rate
        says = f"{len(bad)} samples are not numbers (NaN or infinite): FP16 overflowed, most likely"
        yield Fault("not-finite", int(bad[0]) / sound.rate, length_s, len(bad), "samples", 1.0, "fail", says)


@detector("clipping")
def _clipping(sound: Sound) -> Iterator[Fault]:
    """Flat tops: three or more samples in a row at the peak of their channel, at several places."""
    samples = np.nan_to_num(sound.own_samples, posinf=0.0, neginf=0.0)
    at_peak = np.zeros(len(samples), bool)
    is_coarse = _is_coarse(samples)
    for channel in samples.T:
        for side in (channel, -channel):
            top = float(side.max())
            # With 8 bits several samples in a row share one step; only full scale is a top that was cut then.
            if top > 0.05 and (top > 0.98 or not is_coarse):
                at_peak |= side >= top * (1 - _FLAT)
    starts, stops = _runs(at_peak, 3)
    count = int((stops - starts).sum())
    if len(starts):
        # A long flat stretch is an offset or a square wave of somebody's choice, not a top that was cut.
        short = (stops - starts) < 0.02 * sound.rate
        starts, stops = starts[short], stops[short]
    if len(starts):
        says = f"{count} samples in {len(starts)} flat tops at {sound.peak:.2f} of full scale"
        yield Fault(
            "clipping", sound.own_start_s + int(starts[0]) / sound.rate,
            (int(stops[-1]) - int(starts[0])) / sound.rate, count, "samples",
            surely(len(starts), 3, 8), "fail", says,
        )  # fmt: skip


@detector("wrap-round")
def _wrap_round(sound: Sound) -> Iterator[Fault]:
    """Jumps of nearly two full scales that are none when 2 is added: int16 arithmetic went over its edge."""
    for channel in np.nan_to_num(sound.own_samples, posinf=0.0, neginf=0.0).T:
        step = np.diff(channel)
        places = np.flatnonzero(np.abs(step) > 1.3)
        places = places[(places > 0) & (places < len(step) - 1)]
        # The slope before and after the jump is that of the jump itself once it is unwrapped; a clipped wave stays
        # at the edge instead, so its samples are exactly full scale.
        mended = step[places] - 2 * np.sign(step[places])
        around = (step[places - 1] + step[places + 1]) / 2
        edge = np.maximum(np.abs(channel[places]), np.abs(channel[places + 1])) < 0.9995
        good = places[(np.abs(mended - around) < 0.3) & edge]
        if len(good):
            says = f"{len(good)} jumps from one end of the scale to the other: int16 overflow instead of clipping"
            yield Fault(
                "wrap-round", sound.own_start_s + int(good[0]) / sound.rate,
                int(good[-1] - good[0]) / sound.rate, len(good), "count",
                surely(len(good), 2, 6), "fail", says,
            )  # fmt: skip
            return


@whole_detector("dc-offset")
def _dc_offset(overview: Overview) -> Iterator[Fault]:
    offset = overview.mean
    share = abs(offset) / max(overview.rms, 1e-9)
    if abs(offset) > 0.003:
        says = f"the samples' mean is {offset:+.3f} of full scale instead of 0"
        yield Fault(
            "dc-offset", 0.0, overview.duration_s, abs(offset), "full scale",
            min(surely(abs(offset), 0.010, 0.022), surely(share, 0.06, 0.15)), "warn", says,
        )  # fmt: skip


@detector("half-precision-bytes")
def _half_precision_bytes(sound: Sound) -> Iterator[Fault]:
    """Sound read as 16-bit integers that is smooth only when its bits are read as BF16 or FP16 numbers."""
    words = np.clip(np.round(sound.recording.samples[:, 0] * 32768.0), -32768, 32767)
    if not np.isfinite(words).all() or len(words) < 0.1 * sound.rate or sound.is_silent:
        return
    bits = words.astype(np.int16)
    plain = _smoothness(words)
    shorts = bits.view(np.uint16)
    readings: dict[str, NDArray[Any]] = {
        "BF16": (shorts.astype(np.uint32) << 16).view(np.float32),
        "FP16": bits.view(np.float16),
    }
    for name, values in readings.items():
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = values.astype(np.float64)
        usable = np.isfinite(numbers) & (np.abs(numbers) < 8)
        if usable.mean() < 0.999:
            continue
        mended = _smoothness(np.where(usable, numbers, 0.0))
        if mended > plain and np.abs(numbers[usable]).max() > 0.005:
            says = f"the bytes are {name} numbers written as 16-bit integers: read so, they are smooth speech"
            yield Fault(
                "half-precision-bytes", 0.0, sound.duration_s, mended - plain, "correlation",
                surely(mended - plain, 0.1, 0.3), "fail", says,
            )  # fmt: skip
            return


@whole_detector("click")
def _clicks(overview: Overview) -> Iterator[Fault]:
    """Breaks of the waveform; four or more in a beat are the seams of chunks."""
    clicks = overview.clicks
    times = clicks.times_s
    if not times:
        return
    period_s = clicks.period_s
    if not isinstance(period_s, NA):
        says = f"{len(times)} clicks, one every {period_s:g} s ({period_s / 0.08:g} frames): seams of chunks"
        yield Fault("click", times[0], times[-1] - times[0], len(times), "count", 0.98, "fail", says)
        return
    if overview.chunk_s is not None:
        seams = [time for time in times if abs((time + 0.004) % overview.chunk_s - 0.004) < 0.004 and time > 0.01]
        if seams:
            says = f"{len(seams)} of {len(times)} clicks lie at the seams of chunks of {overview.chunk_s:g} s"
            yield Fault(
                "click", seams[0], seams[-1] - seams[0], len(seams), "count",
                surely(len(seams), 0.5, 2), "fail", says,
            )  # fmt: skip
            return
    says = f"{len(times)} clicks without a beat"
    yield Fault("click", times[0], times[-1] - times[0], len(times), "count", surely(len(times), 1.5, 3), "warn", says)


@detector("stutter")
def _stutter(sound: Sound) -> Iterator[Fault]:
    """A piece that is followed by itself, sample for sample, which no voice and no network does."""
    quantised = np.round(np.clip(sound.mono, -64, 64) * 32767).astype(np.int64)
    if len(quantised) < 4 * _REPEATED:
        return
    hashes = np.zeros(len(quantised) - _REPEATED + 1, np.uint64)
    for offset in range(_REPEATED):
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + quantised[offset : offset + len(hashes)].astype(np.uint64)
    spread = np.abs(np.diff(quantised, prepend=0)) > 2
    busy = np.convolve(spread, np.ones(_REPEATED, np.int64))[_REPEATED - 1 : _REPEATED - 1 + len(hashes)]
    places = np.flatnonzero(busy > _REPEATED // 2)
    order = places[np.argsort(hashes[places], kind="stable")]
    same = hashes[order[1:]] == hashes[order[:-1]]
    earlier, lags = order[:-1][same], (order[1:] - order[:-1])[same]
    within = (lags >= _REPEAT_S[0] * sound.rate) & (lags <= _REPEAT_S[1] * sound.rate)
    earlier, lags = earlier[within], lags[within]
    if not len(lags):
        return
    values, counts = np.unique(lags, return_counts=True)
    best = int(values[counts.argmax()])
    length_s = int(counts.max()) / sound.rate
    if int(counts.max()) < _REPEATED_SHARE * best:
        return
    place_s = int(earlier[lags == best].min()) / sound.rate
    says = f"a piece comes again, sample for sample, {best / sound.rate:.3f} s later"
    yield Fault("stutter", place_s, best / sound.rate, length_s, "s", surely(length_s, 0.015, 0.03), "fail", says)


def _runs(mask: NDArray[np.bool_], shortest: int) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    turns = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False]))))
    starts, stops = turns[::2], turns[1::2]
    long = stops - starts >= shortest
    return starts[long], stops[long]


def _is_coarse(samples: NDArray[np.float32]) -> bool:
    """Whether all samples are steps of 8 bits."""
    steps = samples[:: max(1, len(samples) // 20_000)] * 128
    return bool(np.all(steps == np.round(steps)))


def _smoothness(values: NDArray[np.floating]) -> float:
    """Correlation of each sample with the next: near 1 for speech, near 0 for noise."""
    centred = values - values.mean()
    power = float(np.mean(centred * centred))
    return float(np.mean(centred[1:] * centred[:-1])) / power if power > 0 else 0.0
