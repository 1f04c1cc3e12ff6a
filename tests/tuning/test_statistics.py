"""The test of effects: exact on small samples, honest about its power, and quiet where nothing happened."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from toolkit.errors import UsageError
from toolkit.tuning.statistics import fewest_pairs, holm, judge_effect, paired_permutation_p

N = 8


def verdicts(*, shift: float, measures: int, correlation: float, trials: int, seed: int) -> tuple[float, float]:
    """Share of trials in which the joint test, and at least one corrected measure, find an effect.

    ``shift`` is in standard deviations of the spread between seeds; ``correlation`` is that of a pair.
    """
    source = np.random.default_rng(seed)
    joint = single = 0
    for _ in range(trials):
        shared = source.normal(size=(measures, N)) * math.sqrt(correlation)
        own = source.normal(size=(2, measures, N)) * math.sqrt(1 - correlation)
        names = [f"m{index}" for index in range(measures)]
        plain = dict(zip(names, (shared + own[0]).tolist(), strict=True))
        instructed = dict(zip(names, (shared + own[1] + shift).tolist(), strict=True))
        judged = judge_effect(instructed, plain)
        joint += judged.found
        single += bool(judged.changed)
    return joint / trials, single / trials


def test_one_deviation_of_the_spread_between_seeds_is_found_in_95_percent_where_pairs_correlate() -> None:
    joint, single = verdicts(shift=1.0, measures=1, correlation=0.85, trials=200, seed=1)
    assert min(joint, single) >= 0.95


def test_one_deviation_of_the_differences_in_four_measures_is_found_in_95_percent() -> None:
    joint, _ = verdicts(shift=1.0, measures=4, correlation=0.5, trials=200, seed=2)
    assert joint >= 0.95


def test_one_deviation_of_the_differences_in_one_measure_is_not() -> None:
    """What the docstring concedes: about 65 %, so nobody should plan on it."""
    joint, _ = verdicts(shift=1.0, measures=1, correlation=0.5, trials=400, seed=3)
    assert 0.58 <= joint <= 0.72


@pytest.mark.parametrize("measures", [1, 4])
@pytest.mark.parametrize("correlation", [0.0, 0.85])
def test_without_an_effect_at_most_five_percent_are_called_one(measures: int, correlation: float) -> None:
    joint, single = verdicts(shift=0.0, measures=measures, correlation=correlation, trials=1000, seed=4)
    # The tests are exact, at a level of 12 / 256; the bound is what 1,000 trials at 0.05 stay below 19 times of 20.
    assert joint <= 0.061
    assert single <= 0.061


def test_one_sure_change_is_not_drowned_by_five_measures_that_wobble() -> None:
    source = np.random.default_rng(9)
    found = 0
    for _ in range(200):
        changes = source.normal(size=(6, N))
        changes[0] += 4.0
        values = {f"m{index}": row.tolist() for index, row in enumerate(changes)}
        found += judge_effect(values, {name: [0.0] * N for name in values}).found
    assert found >= 190


def test_measures_that_hardly_ever_differ_do_not_hide_a_change() -> None:
    changes = {"pause": [0.0, 0.01, 0.0, 0.0, -0.01, 0.0, 0.0, 0.0], "rate": [2.0 + 0.1 * index for index in range(N)]}
    assert judge_effect(changes, {name: [0.0] * N for name in changes}).joint_p == pytest.approx(2 / 256)


def test_the_exact_test_counts_every_flip() -> None:
    values = np.array([0.4, -0.1, 0.9, 0.3, 0.7])
    seen = abs(values.sum())
    flips = [abs((values * flip).sum()) >= seen - 1e-12 for flip in product((1, -1), repeat=5)]
    assert paired_permutation_p(values) == sum(flips) / 32
    assert paired_permutation_p(values) == pytest.approx(
        stats.permutation_test((values,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
    )


def test_drawn_flips_come_near_the_exact_ones_and_repeat() -> None:
    source = np.random.default_rng(5)
    values = source.normal(0.4, 1.0, 20)
    exact = stats.permutation_test((values,), np.sum, permutation_type="samples", n_resamples=2**20).pvalue
    assert paired_permutation_p(values, seed=3) == pytest.approx(exact, abs=0.01)
    assert paired_permutation_p(values, seed=3) == paired_permutation_p(values, seed=3)
    assert paired_permutation_p(np.full(20, 3.0)) == pytest.approx(1 / 10_001)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.5, 0.9]) == pytest.approx((1.0, 1.0))
    with_nan = holm([math.nan, 0.02])
    assert math.isnan(with_nan[0])
    assert with_nan[1] == pytest.approx(0.02)


def test_the_size_of_an_effect_and_its_interval() -> None:
    source = np.random.default_rng(6)
    changes = source.normal(1.5, 1.0, 200)
    judged = judge_effect({"rate": changes.tolist()}, {"rate": [0.0] * 200})
    (test,) = judged.tests
    assert test.effect_d == pytest.approx(changes.mean() / changes.std(ddof=1))
    assert test.low_d < 1.5 < test.high_d
    assert test.high_d - test.low_d < 0.6
    assert not judged.exact
    assert judged == judge_effect({"rate": changes.tolist()}, {"rate": [0.0] * 200})


def test_the_interval_of_eight_pairs_covers_the_truth_about_as_often_as_the_docstring_says() -> None:
    source = np.random.default_rng(7)
    inside = 0
    for trial in range(300):
        changes = source.normal(1.0, 1.0, N)
        (test,) = judge_effect({"x": changes.tolist()}, {"x": [0.0] * N}, seed=trial).tests
        inside += test.low_d <= 1.0 <= test.high_d
    assert 0.90 <= inside / 300 <= 0.98


def test_a_change_in_one_measure_is_named_and_the_others_are_not() -> None:
    source = np.random.default_rng(8)
    plain = {name: source.normal(size=N).tolist() for name in ("rate", "f0", "level")}
    instructed = {name: [value + source.normal(0, 0.1) for value in values] for name, values in plain.items()}
    instructed["f0"] = [value + 12.0 for value in plain["f0"]]
    judged = judge_effect(instructed, plain)
    assert judged.found
    assert judged.changed == ("f0",)
    assert judged.tests[1].mean_change == pytest.approx(12.0)


def test_what_could_not_be_measured_is_left_out_and_said() -> None:
    nothing = [math.nan] * 7 + [1.0]
    plain = {"f0": [1.0] * N, "rate": [float(index) for index in range(N)]}
    judged = judge_effect({"f0": nothing, "rate": [value + 2 for value in plain["rate"]]}, plain)
    assert judged.changed == ("rate",)
    assert math.isnan(judged.tests[0].p_value)
    assert judged.tests[1].adjusted_p == pytest.approx(2 / 256)
    assert judged.tests[1].effect_d == math.inf
    assert math.isnan(judged.tests[1].low_d)
    assert judged.notes == ("f0: only 1 of 8 pairs could be measured",)


def test_equal_sides_are_no_effect() -> None:
    judged = judge_effect({"a": [1.0, 2.0, 3.0]}, {"a": [1.0, 2.0, 3.0]})
    assert (judged.joint_p, judged.found, judged.changed) == (1.0, False, ())
    assert math.isnan(judged.tests[0].effect_d)


def test_too_few_seeds_for_so_many_measures_is_said() -> None:
    assert [fewest_pairs(count) for count in (1, 4, 6, 7)] == [6, 8, 8, 9]
    values = {f"m{index}": [5.0, 6.0, 7.0, 8.0] for index in range(2)}
    judged = judge_effect(values, {name: [0.0] * 4 for name in values})
    assert judged.changed == ()
    assert judged.notes == (
        "4 seeds are too few for 2 measures: no change of one measure, however large, can pass the correction at 0.05; "
        "7 seeds can",
    )


@pytest.mark.parametrize(
    ("instructed", "plain", "message"),
    [
        ({}, {}, "same measures"),
        ({"a": [1.0] * 3}, {"b": [1.0] * 3}, "same measures"),
        ({"a": [1.0] * 3}, {"a": [1.0] * 4}, "one value a seed"),
        ({"a": [1.0] * 2}, {"a": [1.0] * 2}, "at least 3 seeds"),
        ({"a": [math.inf] * 3}, {"a": [1.0] * 3}, "infinite"),
    ],
)
def test_unusable_data_is_named(
    instructed: dict[str, list[float]], plain: dict[str, list[float]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        judge_effect(instructed, plain)
    with pytest.raises(UsageError, match="alpha"):
        judge_effect({"a": [1.0] * 3}, {"a": [1.0] * 3}, alpha=2.0)
    with pytest.raises(UsageError, match="finite differences"):
        paired_permutation_p([1.0, math.nan, 2.0])
