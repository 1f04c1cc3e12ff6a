"""The time warp between two readings: known stretches, inserted pauses, levels that do not matter, known distances."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from toolkit.acoustics.alignment import Spectra, align, cepstral_distances_db, mel_cepstra, spectra_of
from toolkit.errors import UsageError

RATE = 24_000
Voice = Callable[..., NDArray[np.float32]]


def cheapest_slowly(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Total of the cheapest path, cell by cell, without a band: diagonal steps count twice, others cost 0.3 more."""
    cost = np.sqrt(np.square(first[:, None] - second[None]).sum(axis=2))
    total = np.full(cost.shape, np.inf)
    for row in range(len(first)):
        for other in range(len(second)):
            ways = [0.0] if row == other == 0 else []
            if row and other:
                ways.append(total[row - 1, other - 1] + cost[row, other])
            if row:
                ways.append(total[row - 1, other] + 0.3)
            if other:
                ways.append(total[row, other - 1] + 0.3)
            total[row, other] = min(ways) + cost[row, other]
    return float(total[-1, -1])


@pytest.mark.parametrize(("count", "others"), [(40, 40), (30, 55), (2, 90), (1, 7), (7, 1), (1, 1)])
def test_the_path_is_the_cheapest(count: int, others: int) -> None:
    from toolkit.acoustics.alignment import _cheapest_path

    rng = np.random.default_rng(count)
    first, second = rng.standard_normal((count, 3)), rng.standard_normal((others, 3))
    rows, columns = _cheapest_path(first, second)
    steps = list(pairwise(zip(rows.tolist(), columns.tolist(), strict=True)))
    moves = [(b[0] - a[0], b[1] - a[1]) for a, b in steps]
    assert set(moves) <= {(1, 1), (1, 0), (0, 1)}
    assert (rows[0], columns[0], rows[-1], columns[-1]) == (0, 0, count - 1, others - 1)
    cost = np.sqrt(np.square(first[rows] - second[columns]).sum(axis=1))
    total = cost.sum() + sum(cost[place + 1] if move == (1, 1) else 0.3 for place, move in enumerate(moves))
    assert total == pytest.approx(cheapest_slowly(first, second))


def test_a_clip_lies_on_itself_whatever_its_level(voice: Voice) -> None:
    spoken = voice(3.0)
    heard = spectra_of(spoken, RATE)
    softer = spectra_of(0.05 * spoken, RATE)
    assert np.array_equal(align(heard, heard).frames, np.arange(300))
    assert np.abs(align(heard, softer).frames - np.arange(300)).max() == 0
    assert cepstral_distances_db(heard.cepstra, softer.cepstra).max() < 1e-3


@pytest.mark.parametrize("factor", [0.7, 1.25])
def test_a_known_stretch_is_found(voice: Voice, factor: float) -> None:
    heard = spectra_of(voice(4.0), RATE)
    places = np.arange(0, 399, 1 / factor)
    columns = [np.interp(places, np.arange(400), column) for column in heard.cepstra.T]
    stretched = Spectra(np.stack(columns, axis=1), np.interp(places, np.arange(400), heard.levels_db))
    missed = np.abs(align(heard, stretched).frames - factor * np.arange(400))[20:380]
    assert np.median(missed) < 1.0
    assert np.percentile(missed, 95) < 4.0


def test_an_inserted_pause_is_jumped_over(voice: Voice) -> None:
    spoken = voice(4.0)
    place = round(2.0 * RATE)
    paused = np.concatenate((spoken[:place], np.zeros(round(0.8 * RATE), np.float32), spoken[place:]))
    warp = align(spectra_of(spoken, RATE), spectra_of(paused, RATE))
    lag_s = warp.other_times_s - warp.times_s
    assert np.abs(lag_s[20:185]).max() < 0.02
    assert np.abs(lag_s[215:390] - 0.8).max() < 0.02


def test_a_longer_quiet_tail_pulls_at_nothing(voice: Voice) -> None:
    spoken = voice(3.0)
    longer = np.concatenate((spoken, 1e-4 * np.random.default_rng(1).standard_normal(3 * RATE).astype(np.float32)))
    warp = align(spectra_of(spoken, RATE), spectra_of(longer, RATE))
    assert np.abs(warp.frames - np.arange(300))[:280].max() <= 1


def test_the_distance_is_the_rms_of_the_difference_of_the_smooth_spectra() -> None:
    places = (np.arange(26) + 0.5) / 26 * np.pi
    planted_db = 6.0 * np.cos(2 * places) + 20.0  # the constant is a level, and does not count
    flat = np.ones((5, 26))
    found = cepstral_distances_db(mel_cepstra(flat), mel_cepstra(flat * 10 ** (planted_db / 10)))
    assert found == pytest.approx(6.0 / np.sqrt(2))


def test_silence_and_single_frames_can_be_aligned() -> None:
    silence = spectra_of(np.zeros(RATE, np.float32), RATE)
    short = spectra_of(np.zeros(10, np.float32), RATE)
    assert len(align(silence, short).frames) == 100
    assert len(align(short, silence).frames) == 1
    assert isinstance(short, Spectra)


def test_a_rate_too_low_for_the_band_is_refused() -> None:
    with pytest.raises(UsageError, match="8000 Hz has no spectrum up to 8000 Hz"):
        spectra_of(np.zeros(8000, np.float32), 8000)


def test_thirty_seconds_are_quick(voice: Voice) -> None:
    first = spectra_of(np.tile(voice(6.0), 5), RATE)
    second = spectra_of(np.tile(voice(5.0, seed=3), 6), RATE)
    start = time.perf_counter()
    align(first, second)
    assert time.perf_counter() - start < 3.0  # 0.2 s on an idle core; others may be at work beside
