"""Two readings compared: planted differences come out as planted, none beside itself, and seeds set the scale."""

from __future__ import annotations

from functools import cache
from math import isfinite, isnan, log2

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from toolkit.acoustics.comparison import Take, compare, spread_of
from toolkit.acoustics.difference_table import COLUMNS, difference_rows
from toolkit.acoustics.figures import View, draw_speech, picture_bytes
from toolkit.acoustics.spread import (
    Scatter,
    Spread,
    magnitude_scatter,
    signed_scatter,
    value_scatter,
)
from toolkit.acoustics.voice import VALUE_NAMES
from toolkit.errors import UsageError
from training.pocket.speech import render
from training.pocket.style import Style
from training.pocket.voices import SPEAKERS

RATE = 24_000
FIRST = "The quick brown fox jumps over the lazy dog."
SECOND = "Then it sleeps for a very long time."
Wave = NDArray[np.float32]


@cache
def said(text: str, **style: float | bool) -> Wave:
    voice = next(iter(SPEAKERS.values()))
    wave = render(text, "english", voice, Style(**style)).wave  # type: ignore[arg-type]
    noise = 1e-4 * np.random.default_rng(0).standard_normal(len(wave))
    return np.asarray(wave + noise, np.float32)


@cache
def reference() -> Take:
    return Take.of(np.concatenate((said(FIRST), said(SECOND))), RATE, f"{FIRST} {SECOND}")


def test_a_clip_beside_itself_has_no_difference() -> None:
    found = compare(reference(), reference())
    assert {one.name for one in found.differences} >= {*VALUE_NAMES, "snr_db", "mel_cepstral_db"}
    assert all(one.strength == 0 for one in found.differences if isfinite(one.size))
    assert not [one.name for one in found.differences if not isfinite(one.size)]
    assert all(isnan(one.place_s) for one in found.differences)


def test_a_gain_is_a_gain_and_nothing_else() -> None:
    found = compare(reference(), Take.of(reference().samples * np.float32(0.5), RATE, f"{FIRST} {SECOND}"))
    for name in ("level_dbfs", "loudness_lufs", "energy_along_db", "noise_floor_dbfs"):
        assert found[name].size == pytest.approx(-6.02, abs=0.1), name
    others = {one.name: one.strength for one in found.differences}
    for name in ("f0_along_st", "snr_db", "mel_cepstral_db", "stretch_along", "duration_s", "energy_largest_db"):
        assert others[name] == pytest.approx(0, abs=0.05), name


@pytest.mark.parametrize("factor", [0.85, 1.2])
def test_a_resampled_clip_is_longer_and_lower(factor: float) -> None:
    slower = soxr.resample(reference().samples, RATE, RATE * factor).astype(np.float32)
    found = compare(reference(), Take.of(slower, RATE, f"{FIRST} {SECOND}"))
    assert found["duration_s"].size == pytest.approx(factor, rel=0.01)
    assert found["stretch_along"].size == pytest.approx(factor, rel=0.05)
    for name in ("median_f0_hz", "f0_along_st"):
        assert found[name].size == pytest.approx(-12 * log2(factor), abs=0.2), name


def test_a_step_of_the_pitch_is_found_where_it_is() -> None:
    stepped = np.concatenate((said(FIRST), said(SECOND, pitch_st=3.0)))
    found = compare(reference(), Take.of(stepped, RATE))
    assert found["f0_step_st"].size == pytest.approx(3.0, abs=0.3)
    assert found["f0_step_st"].place_s == pytest.approx(len(said(FIRST)) / RATE, abs=0.4)
    assert abs(found["f0_along_st"].size) < 3.1


def test_pitch_pace_and_level_planted_together_come_out_apart() -> None:
    changed = np.concatenate((said(FIRST, pitch_st=4.0, rate=1.25), said(SECOND, pitch_st=4.0, rate=1.25)))
    found = compare(reference(), Take.of(changed * np.float32(0.5), RATE, f"{FIRST} {SECOND}"))
    assert found["f0_along_st"].size == pytest.approx(4.0, abs=0.3)
    assert found["text_rate_per_s"].size == pytest.approx(1.25, rel=0.05)
    assert found["stretch_along"].size == pytest.approx(1 / 1.25, rel=0.06)
    assert found["energy_along_db"].size == pytest.approx(-6.0, abs=0.7)


def test_an_inserted_pause_is_told_by_place_and_length() -> None:
    place = len(said(FIRST))
    pause = 1e-4 * np.random.default_rng(1).standard_normal(RATE // 2)
    paused = np.concatenate((reference().samples[:place], pause.astype(np.float32), reference().samples[place:]))
    found = compare(reference(), Take.of(paused, RATE))
    assert found["pause_total_s"].size == pytest.approx(0.5, abs=0.03)
    assert found["duration_s"].clip - found["duration_s"].reference == pytest.approx(0.5, abs=0.01)
    assert found["stretch_largest"].size > 1.3
    assert found["stretch_largest"].place_s == pytest.approx(place / RATE, abs=0.6)
    assert found["mel_cepstral_db"].size < 0.5


def test_added_noise_raises_the_floor_by_as_much() -> None:
    rng = np.random.default_rng(2)
    noisy = reference().samples + (3e-3 * rng.standard_normal(len(reference().samples))).astype(np.float32)
    found = compare(reference(), Take.of(noisy, RATE))
    planted_db = 10 * np.log10(1 + 30**2)
    assert found["noise_floor_dbfs"].size == pytest.approx(planted_db, abs=0.5)
    assert found["snr_db"].size == pytest.approx(-planted_db, abs=0.7)
    assert found["mel_cepstral_db"].size > 1.0


def test_a_whisper_has_no_pitch_to_compare() -> None:
    found = compare(reference(), Take.of(np.concatenate((said(FIRST, whisper=True), said(SECOND, whisper=True))), RATE))
    assert found["f0_step_st"].verdict == "not measured"
    assert found["median_f0_hz"].verdict == "not measured"
    assert found["voiced_share"].size < -0.5


def test_clips_of_two_sample_rates_are_compared_where_both_have_sound() -> None:
    narrow = soxr.resample(reference().samples, RATE, 8_000).astype(np.float32)
    found = compare(reference(), Take.of(narrow, 8_000))
    assert found["mel_cepstral_db"].size < 1.0
    assert found["f0_along_st"].size == pytest.approx(0, abs=0.05)
    assert found["stretch_along"].size == pytest.approx(1, abs=0.01)


def test_silence_and_very_short_clips_are_not_measured_rather_than_wrong() -> None:
    silence, short = Take.of(np.zeros(RATE, np.float32), RATE), Take.of(reference().samples[:1500], RATE)
    for first, second in ((reference(), silence), (silence, reference()), (silence, silence)):
        found = compare(first, second)
        for name in ("f0_step_st", "f0_along_st", "energy_largest_db"):
            assert found[name].verdict == "not measured", name
        assert isfinite(found["duration_s"].size)
    for first, second in ((reference(), short), (short, reference()), (short, short)):
        found = compare(first, second)
        assert isfinite(found["duration_s"].size)
        assert isnan(found["stretch_largest"].size) == (first is short)


def test_the_seeds_set_the_scale() -> None:
    seeds = [
        Take.of(np.concatenate((said(FIRST, pitch_st=shift, rate=rate), said(SECOND, pitch_st=shift, rate=rate))), RATE)
        for shift, rate in ((0.0, 1.0), (0.3, 1.03), (-0.3, 0.97), (0.2, 0.99))
    ]
    spread = spread_of(seeds)
    # The engine moves its pitch in steps of a quarter of a semitone.
    wanted = np.sqrt(2) * np.std([12 * log2(seed.voice.median_f0_hz) for seed in seeds], ddof=1)
    assert 0.2 < wanted < 0.5
    assert spread.scatters["median_f0_hz"].size == pytest.approx(wanted)
    assert spread.scatters["f0_along_st"].size == pytest.approx(wanted, rel=0.2)
    near = compare(seeds[0], seeds[1]).against(spread)
    assert {one.name: one.verdict for one in near.differences if one.verdict == "beyond"} == {}
    assert near.seeds == 4
    far = np.concatenate((said(FIRST, pitch_st=5.0), said(SECOND, pitch_st=5.0)))
    found = compare(seeds[0], Take.of(far, RATE)).against(spread)
    for name in ("median_f0_hz", "f0_along_st"):
        assert found[name].verdict == "beyond", name
        assert found[name].multiple == pytest.approx(5.0 / wanted, rel=0.25), name
    assert found["duration_s"].verdict == "within"


def test_a_spread_needs_three_seeds() -> None:
    with pytest.raises(UsageError, match="3 clips or more, not from 2"):
        spread_of([reference(), reference()])


def test_equal_seeds_do_not_make_every_hair_a_difference() -> None:
    assert value_scatter([2.0, 2.0, 2.0], 0.5).size == 0.5
    assert value_scatter([2.0, 2.0, 2.0], 0.5).limit > 1.0


@pytest.mark.parametrize("seeds", [3, 8])
def test_a_difference_by_chance_is_beyond_in_one_of_a_hundred(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    drawn = rng.standard_normal((1500, seeds + 2))
    beyond = [abs(row[0] - row[1]) > value_scatter(row[2:], 1e-9).limit for row in drawn]
    assert 0.002 < np.mean(beyond) < 0.02


def test_what_three_pairs_cannot_say_is_no_spread() -> None:
    nan = float("nan")
    for scatter in (
        value_scatter([1.0, nan, 2.0], 0.1),
        signed_scatter([1.0, nan], 3, 0.1),
        magnitude_scatter([nan], 3, 0.1),
    ):
        assert isnan(scatter.limit)
        assert Spread(3, {"a": scatter}).verdict("a", 9.0) == "no spread"
    assert Spread(3, {}).verdict("a", nan) == "not measured"
    assert Spread(3, {"a": Scatter(1.0, 2.0)}).verdict("a", -3.0) == "beyond"
    assert magnitude_scatter([3.0, 3.2, 2.8], 3, 0.1).limit > 3.2


def test_the_table_tells_sizes_places_and_verdicts() -> None:
    found = compare(reference(), Take.of(np.concatenate((said(FIRST), said(SECOND, pitch_st=3.0))), RATE))
    rows = {row[0]: row for row in difference_rows(found)}
    assert all(len(row) == len(COLUMNS) for row in rows.values())
    assert rows["duration, s"][3] == "x 1.00"
    assert rows["largest step of the pitch"][3].startswith("+3.0") or " at " in rows["largest step of the pitch"][3]
    assert rows["largest step of the pitch"][1:3] == ("-", "-")
    assert not rows["mel-cepstral distance"][3].startswith("+")
    assert "-0.00" not in " ".join(" ".join(row) for row in rows.values())


def test_a_comparison_is_drawn_on_the_references_time() -> None:
    slower = Take.of(np.concatenate((said(FIRST, rate=0.8), said(SECOND, rate=0.8, pitch_st=3.0))), RATE)
    found = compare(reference(), slower)
    views = [View(name, take.samples, RATE, take.voice.pitch) for name, take in (("a", reference()), ("b", slower))]
    figure = draw_speech(views, found)
    pitch, table = figure.axes[-3], figure.axes[-1]
    assert max(line.get_xdata().max() for line in pitch.get_lines()[:2]) <= reference().voice.duration_s
    assert [text.get_text().strip() for text in pitch.texts] == [f"step {found['f0_step_st'].size:+.2f} st"]
    assert "median pitch, Hz" in {text.get_text() for text in table.texts}
    assert picture_bytes(figure).startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="a comparison is drawn of two clips, not of 1"):
        draw_speech(views[:1], found)
