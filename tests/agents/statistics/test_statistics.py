"""Intervals by patient cover what they say, differences pair, corrections and power agree with what is known."""

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import scipy.stats

from tests.measures.coverage_simulation import balanced, sessions
from therapysim.agents.statistics.comparisons import benjamini_hochberg, detectable, holm, minimum_detectable
from therapysim.agents.statistics.intervals import (
    FEW,
    LEAST_PATIENTS,
    Interval,
    mean_interval,
    paired_difference,
    pass_k,
    proportion,
    worst_decile,
)
from therapysim.agents.statistics.student import t_cdf, t_quantile
from therapysim.errors import ConfigError

Played = dict[tuple[str, int], float]


def names(patients: int, seeds: int = 4) -> list[str]:
    return [f"p{i:02}" for i in range(patients) for _ in range(seeds)]


def played(values: np.ndarray) -> Played:
    """(patients, seeds) -> by (patient, seed)."""
    return {(f"p{i:02}", seed): float(v) for i, row in enumerate(values) for seed, v in enumerate(row)}


def drawn(patients: int, seeds: int = 4, icc: float = 0.4, number: int = 0) -> np.ndarray:
    own = sessions("normal", balanced(patients, seeds, icc), 1, np.random.default_rng(number))
    return own.reshape(patients, seeds)


# Intervals by patient


@pytest.mark.parametrize("patients", [2, 3, 8, 48])
def test_patients_of_no_skew_get_scipys_t_interval_of_their_means(patients: int) -> None:
    half = np.abs(drawn(patients, 1)[: patients // 2, 0])
    effects = np.concatenate([half, -half, [0.0] * (patients % 2)])
    values = 3 + effects[:, None] + np.array([-0.2, 0.1, 0.1])
    low, high = scipy.stats.t.interval(0.95, patients - 1, values.mean(), scipy.stats.sem(values.mean(axis=1)))
    found = mean_interval(values.ravel(), names(patients, 3))
    assert (found.mean, found.low, found.high) == pytest.approx((values.mean(), low, high))
    assert found.n == 3 * patients


def test_skewed_patients_push_the_end_on_their_long_side_out() -> None:
    """By hand: mean 1, standard error 1, skewness 2 over the root of 4; Johnson 1978 adds a sixth of 1 + 2 t^2."""
    assert scipy.stats.skew([0, 0, 0, 4], bias=False) == pytest.approx(2)
    t = scipy.stats.t.ppf(0.975, 3)
    assert ends([0.0, 0.0, 0.0, 4.0], list("abcd")) == pytest.approx((1 - t, 1 + t + (1 + 2 * t**2) / 6))
    assert ends([0.0, 0.0, 0.0, -4.0], list("abcd")) == pytest.approx((-1 - t - (1 + 2 * t**2) / 6, -1 + t))


def test_the_skew_is_scipys_over_the_root_of_the_patients() -> None:
    values = np.exp(drawn(9, 1)[:, 0])
    t, error = scipy.stats.t.ppf(0.975, 8), scipy.stats.sem(values)
    skew = scipy.stats.skew(values, bias=False) / 3
    low, high = ends(list(values), names(9, 1))
    assert low == pytest.approx(values.mean() - t * error)
    assert high == pytest.approx(values.mean() + (t + skew * (1 + 2 * t**2) / 6) * error)


def test_patients_of_unequal_numbers_of_sessions_are_left_out_one_by_one() -> None:
    """By hand: a with 0 and 0, b with 3, c with 6 three times amount to 36 / 14 patients, of two degrees of freedom."""
    found = mean_interval([0.0, 0.0, 3.0, 6.0, 6.0, 6.0], list("aabccc"))
    pulls = 21 / 6 - np.array([21 / 4, 18 / 5, 3 / 3])
    error, t = math.sqrt(2 / 3 * float(pulls @ pulls)), scipy.stats.t.ppf(0.975, 2)
    skew = float((pulls**3).mean() / (pulls**2).mean() ** 1.5) * math.sqrt(2)
    assert 0 < skew < 1
    assert (found.low, found.high) == pytest.approx((3.5 - t * error, 3.5 + (t + skew * (1 + 2 * t**2) / 6) * error))


def test_one_patient_against_all_is_the_most_skew_there_is() -> None:
    """Unequal numbers of sessions could give 2.4, and then no p."""
    who, values = ["a", "b"] + ["c"] * 30, np.array([0.0] * 2 + [9.0] * 30) - 8.45
    shifted = {(name, seed): value for seed, (name, value) in enumerate(zip(who, values, strict=True))}
    assert paired_difference(dict.fromkeys(shifted, 0.0), shifted).p == 1
    found, t = mean_interval(values, who), scipy.stats.t.ppf(0.975, 1)
    assert (found.high - found.mean) / (found.mean - found.low) == pytest.approx(1 + (1 + 2 * t**2) / 6 / t)


def ends(values: list[float], who: list[str]) -> tuple[float, float]:
    found = mean_interval(values, who)
    return found.low, found.high


@pytest.mark.parametrize("scale", [1e-150, 1e-9, 1e9, 1e100])
def test_the_scale_of_a_measure_changes_nothing_but_the_scale(scale: float) -> None:
    values, who = np.exp(drawn(8)).ravel(), names(8)
    plain, scaled = mean_interval(values, who), mean_interval(scale * values, who)
    assert (scaled.low, scaled.high) == pytest.approx((scale * plain.low, scale * plain.high), rel=1e-12, abs=0)


@pytest.mark.parametrize("measure", [mean_interval, worst_decile, proportion])
def test_the_order_of_sessions_changes_no_bit(measure: Callable[..., Interval]) -> None:
    values, who = 1 / (1 + np.exp(drawn(10).ravel())), np.array(names(10))
    for number in range(5):
        order = np.random.default_rng(number).permutation(len(values))
        assert measure(values[order], who[order]) == measure(values, who)


def test_a_patient_with_more_sessions_counts_by_its_sessions() -> None:
    found = mean_interval([1.0] * 6 + [0.0] * 8, ["a"] * 6 + list("bcdefghi"))
    assert found.mean == 6 / 14 and found.n == 14 and found.low < 6 / 14 < found.high


def test_one_patient_says_nothing_of_others_and_few_say_little() -> None:
    assert mean_interval([1.0, 2.0], ["a", "a"]) == Interval(1.5, -math.inf, math.inf, 2)
    two = mean_interval([0.0, 1.0], ["a", "b"])
    assert two.low < -5 and two.high > 6


def test_degenerate_input() -> None:
    none = mean_interval([], [])
    assert none.n == 0 and math.isnan(none.mean) and math.isnan(none.low) and math.isnan(none.high)
    assert mean_interval([0.1] * 8, list("abcdefgh")).low == pytest.approx(0.1)
    with pytest.raises(ConfigError, match=r"values\[1\] of patient 'b' is nan"):
        mean_interval([1.0, math.nan], ["a", "b"])
    with pytest.raises(ConfigError, match="shape"):
        mean_interval([1.0, 2.0], ["a"])


def test_other_units_than_patients_are_named_in_errors() -> None:
    assert mean_interval([1.0, 2.0, 4.0], [7, 7, 9]) == mean_interval([1.0, 2.0, 4.0], ["x", "x", "y"])
    for measure in (mean_interval, worst_decile, proportion):
        with pytest.raises(ConfigError, match=r"values\[1\] of post 'b' is nan"):
            measure([1.0, math.nan], ["a", "b"], unit="post")
        with pytest.raises(ConfigError, match=r"and posts \(1,\)"):
            measure([1.0, 2.0], ["a"], unit="post")


def test_of_how_few_patients_nothing_is_called_a_finding() -> None:
    assert (LEAST_PATIENTS, FEW) == (5, 10)


# The worst tenth


@pytest.mark.parametrize(("n", "taken"), [(1, 1), (10, 1), (11, 2), (64, 7)])
def test_the_worst_tenth_is_the_mean_of_the_lowest_sessions(n: int, taken: int) -> None:
    values = np.random.default_rng(0).permutation(n).astype(float)
    assert worst_decile(values, [f"p{i}" for i in range(n)]).mean == np.arange(taken).mean()


def test_the_worst_tenth_is_found_anew_without_each_patient() -> None:
    """Ten patients of two sessions: without one of them a tenth of eighteen is 1.8 sessions."""
    values, who = drawn(10, 2).ravel(), np.array(names(10, 2))
    worst = []
    for name in dict.fromkeys(who):
        first, second = np.sort(values[who != name])[:2]
        worst.append((first + 0.8 * second) / 1.8)
    found = worst_decile(values, who)
    pulls = found.mean - np.array(worst)
    error = math.sqrt(9 / 10 * float(pulls @ pulls))
    near, far = sorted((found.high - found.mean, found.mean - found.low))
    assert near == pytest.approx(scipy.stats.t.ppf(0.975, 9) * error) and far > 1.1 * near
    assert found.mean - found.low == far  # the long side is the low one


def test_the_worst_tenth_of_one_patient_says_nothing_of_others() -> None:
    found = worst_decile([3.0, 1.0, 2.0], ["a", "a", "a"])
    assert (found.mean, found.low, found.high, found.n) == (1.0, -math.inf, math.inf, 3)
    assert worst_decile([], []).n == 0 and math.isnan(worst_decile([], []).mean)


# Paired differences


def test_only_sessions_that_both_have_are_compared() -> None:
    first = {("a", 0): 1.0, ("a", 1): 5.0, ("b", 0): 2.0, ("c", 0): 9.0}
    second = {("a", 0): 2.0, ("b", 0): 5.0, ("b", 1): 7.0, ("c", 0): 9.5}
    found = paired_difference(first, second)
    assert found.interval.mean == pytest.approx(1.5) and (found.n_patients, found.n_sessions) == (3, 3)


def test_a_difference_turned_around_has_the_other_sign_and_the_same_p() -> None:
    one, other = played(drawn(12)), played(drawn(12, number=1) + 0.5)
    there, back = paired_difference(one, other), paired_difference(other, one)
    assert there.interval.low == pytest.approx(-back.interval.high)
    assert there.p == pytest.approx(back.p) and 0 < there.p < 1


def test_p_is_scipys_where_patients_are_not_skewed_and_larger_where_they_are() -> None:
    even = np.array([-0.3, -0.1, 0.1, 0.3]) + 0.2
    assert paired_difference(played(np.zeros((4, 1))), played(even[:, None])).p == pytest.approx(
        scipy.stats.ttest_1samp(even, 0).pvalue
    )
    skewed = np.array([0.0, 0.0, 0.0, -4.0]) + 3  # mean 2, standard error 1, skewness -2 over the root of 4
    t = (-1 + math.sqrt(1 + 4 / 3 * 11 / 6)) * 3 / 2  # t + (1 + 2 t^2) / 6 = 2
    found = [paired_difference(played(np.zeros((4, 1))), played(side * skewed[:, None])) for side in (1, -1)]
    assert [own.p for own in found] == pytest.approx([2 * scipy.stats.t.sf(t, 3)] * 2)
    assert found[0].p > scipy.stats.ttest_1samp(skewed, 0).pvalue


@pytest.mark.parametrize("patients", [2, FEW - 1, FEW, 16])
def test_p_is_below_a_twentieth_just_where_the_interval_leaves_zero_out(patients: int) -> None:
    sides = set()
    for number in range(200):
        gaps = drawn(patients, number=number) + number / 150
        found = paired_difference(played(0 * gaps), played(gaps))
        outside = not found.interval.low <= 0 <= found.interval.high
        assert (found.p < 0.05) == outside
        sides.add(outside)
    assert sides == {True, False}


def test_p_of_no_difference_is_evenly_spread() -> None:
    p = [paired_difference(played(0 * drawn(16)), played(drawn(16, number=n))).p for n in range(1_000)]
    for level in (0.05, 0.2, 0.5, 0.8):
        assert np.mean(np.array(p) < level) == pytest.approx(level, abs=0.045)


def test_p_is_no_coarser_than_a_correction_for_many_comparisons_needs() -> None:
    gaps = drawn(16)
    p = [paired_difference(played(0 * gaps), played(gaps + shift)).p for shift in (0.5, 1, 2, 4)]
    assert p == sorted(p, reverse=True) and 0 < p[-1] < 1e-6


def test_degenerate_differences() -> None:
    none = paired_difference({("a", 0): 1.0}, {("b", 0): 1.0})
    assert none.n_patients == none.n_sessions == none.interval.n == 0 and math.isnan(none.p)
    same = {(name, 0): 1.0 for name in "abcdefgh"}
    assert paired_difference(same, same).p == 1 and paired_difference(same, same).interval.mean == 0
    assert paired_difference(same, {key: 1.1 for key in same}).p == 2**-7
    assert paired_difference({("a", 0): 1.0}, {("a", 0): 2.0}).p == 1
    with pytest.raises(ConfigError, match="'b' is nan"):
        paired_difference({("a", 0): 1.0, ("b", 0): 1.0}, {("a", 0): 1.0, ("b", 0): math.nan})


# Rates


def test_of_one_session_a_patient_the_interval_is_wilsons() -> None:
    """At the t quantile of 15 degrees in place of the normal one."""
    found = proportion([1.0] * 4 + [0.0] * 12, names(16, 1))
    level = 1 - 2 * scipy.stats.norm.sf(scipy.stats.t.ppf(0.975, 15))
    known = scipy.stats.binomtest(4, 16).proportion_ci(level, method="wilson")
    assert (found.low, found.high) == pytest.approx((known.low, known.high))
    t2 = t_quantile(0.975, 15) ** 2 / 16
    half = math.sqrt(t2 * 0.25 * 0.75 + t2**2 / 4)
    assert found.low == pytest.approx((0.25 + t2 / 2 - half) / (1 + t2))
    assert found.high == pytest.approx((0.25 + t2 / 2 + half) / (1 + t2))


def test_a_rate_of_nothing_or_all_is_not_certain() -> None:
    none, all_ = proportion([0.0] * 64, names(16)), proportion([1.0] * 64, names(16))
    assert (none.mean, none.low, none.n) == (0, 0, 64) and none.high == pytest.approx(0.221, abs=0.001)
    assert (all_.mean, all_.high) == (1, 1) and all_.low == pytest.approx(1 - none.high)
    assert proportion([0.0] * 4, ["a"] * 4) == Interval(0.0, 0.0, 1.0, 4)
    assert proportion([], []).n == 0
    with pytest.raises(ConfigError, match="from 0 to 1"):
        proportion([0.0, 1.5], ["a", "b"])
    with pytest.raises(ConfigError, match=r"go from -0\.5 to 1"):
        proportion([-0.5, 1.0], ["a", "b"])


def test_a_rate_counts_as_many_sessions_as_the_scatter_of_the_patients_says() -> None:
    """By hand: 3, 3, 1 and 1 of 4; the rate's variance 4 / 3 * 4 / 256 is that of 12 sessions."""
    found = proportion([1.0, 1, 1, 0] * 2 + [1.0, 0, 0, 0] * 2, names(4))
    level = 1 - 2 * scipy.stats.norm.sf(scipy.stats.t.ppf(0.975, 3))
    known = scipy.stats.binomtest(6, 12).proportion_ci(level, method="wilson")
    assert (found.low, found.high) == pytest.approx((known.low, known.high))


def test_patients_who_differ_widen_the_interval() -> None:
    alike = proportion(np.tile([1.0, 1, 0, 0], 16), names(16))
    apart = proportion(np.repeat([1.0, 0.0], 32), names(16))
    assert alike.mean == apart.mean and alike.high - alike.low < 0.6 * (apart.high - apart.low)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_pass_k_is_the_share_of_choices_that_are_all_safe(k: int) -> None:
    hits = np.random.default_rng(2).random((9, 4)) < 0.7
    safe = {(f"p{i}", seed): bool(v) for i, row in enumerate(hits) for seed, v in enumerate(row)}
    brute = np.mean([np.mean([all(chosen) for chosen in combinations(row, k)]) for row in hits])
    found = pass_k(safe, k)
    assert found.mean == pytest.approx(brute) and found.n == 9 and 0 <= found.low < brute < found.high <= 1


def test_pass_k_counts_choices_apart_from_each_other_as_independent() -> None:
    halves = {(f"p{i:02}", seed): seed < 2 for i in range(16) for seed in range(4)}
    t2 = t_quantile(0.975, 15) ** 2
    for k, rate, size in ((1, 1 / 2, 64), (2, 1 / 6, 32)):
        half = math.sqrt(t2 / size * rate * (1 - rate) + (t2 / size) ** 2 / 4)
        found = pass_k(halves, k)
        assert found.high - found.low == pytest.approx(2 * half / (1 + t2 / size))


def test_pass_k_at_its_ends() -> None:
    every = pass_k({(f"p{i:02}", seed): True for i in range(16) for seed in range(4)}, 4)
    assert every.mean == every.high == 1 and every.low == pytest.approx(0.779, abs=0.001)
    assert pass_k({}, 1).n == 0
    with pytest.raises(ConfigError, match="'b': 1"):
        pass_k({("a", 0): True, ("a", 1): True, ("b", 0): True}, 2)
    with pytest.raises(ConfigError, match="k is 0"):
        pass_k({("a", 0): True}, 0)


# Many comparisons


def test_corrections_give_the_known_values_in_the_order_given() -> None:
    p = [0.04, 0.01, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert benjamini_hochberg(p) == pytest.approx([0.04, 0.02, 0.04, 0.02])
    assert benjamini_hochberg([0.02, 0.01, 0.021]) == pytest.approx([0.021] * 3)


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
def test_corrections_are_monotone_capped_and_pass_over_nan(correct: Callable[[list[float]], list[float]]) -> None:
    p = [0.9, math.nan, 0.2, 0.6, 0.0]
    found = correct(p)
    assert math.isnan(found[1])
    kept = [value for i, value in enumerate(found) if i != 1]
    assert kept == correct([0.9, 0.2, 0.6, 0.0])
    assert [kept[i] for i in (3, 1, 2, 0)] == sorted(kept) and max(kept) <= 1
    assert correct([]) == [] and correct([0.3]) == [0.3]
    with pytest.raises(ConfigError, match="expected 0 to 1"):
        correct([0.1, 1.2])


# Power


@pytest.mark.parametrize(("patients", "power"), [(8, 0.8), (16, 0.8), (16, 0.9)])
def test_the_smallest_detectable_difference_is_found_as_often_as_told(patients: int, power: float) -> None:
    gap = minimum_detectable(0.6, 0.8, patients, 4, power=power)
    rng = np.random.default_rng(3)
    values = gap + rng.normal(0, 0.6, (4_000, patients, 1)) + rng.normal(0, 0.8, (4_000, patients, 4))
    means = values.mean(axis=2)
    t = means.mean(axis=1) / (means.std(axis=1, ddof=1) / math.sqrt(patients))
    assert np.mean(t > t_quantile(0.975, patients - 1)) == pytest.approx(power, abs=0.025)


def test_the_smallest_detectable_difference_by_hand() -> None:
    t = scipy.stats.t(3)
    error = math.sqrt((0.6**2 + 0.8**2 / 4) / 4)
    assert minimum_detectable(0.6, 0.8, 4, 4) == pytest.approx((t.ppf(0.975) + t.ppf(0.8)) * error)


def test_more_patients_and_more_seeds_find_less() -> None:
    base = minimum_detectable(0.5, 1.0, 16, 4)
    assert minimum_detectable(0.5, 1.0, 32, 4) < minimum_detectable(0.5, 1.0, 16, 8) < base
    assert minimum_detectable(0.5, 1.0, 16, 4, power=0.9) > base < minimum_detectable(0.5, 1.0, 16, 4, alpha=0.01)
    assert minimum_detectable(0.5, 1.0, 1, 4) == math.inf
    with pytest.raises(ConfigError, match="sd_within"):
        minimum_detectable(0.5, -1.0, 16, 4)
    with pytest.raises(ConfigError, match="power"):
        minimum_detectable(0.5, 1.0, 16, 4, power=1.0)
    with pytest.raises(ConfigError, match="alpha is 1e-09"):
        minimum_detectable(0.5, 1.0, 16, 4, alpha=1e-9)


def test_what_is_detectable_is_told_from_the_sessions_own_variances() -> None:
    found = detectable(played(drawn(400, number=4)))
    assert found == pytest.approx(minimum_detectable(math.sqrt(0.4), math.sqrt(0.6), 400, 4), rel=0.1)
    one_each = drawn(20, 1)
    assert detectable(played(one_each)) == pytest.approx(minimum_detectable(float(one_each.std(ddof=1)), 0, 20, 1))
    alike = np.tile([1.0, -1.0], (10, 1))  # between would be negative
    assert detectable(played(alike)) == pytest.approx(minimum_detectable(0, math.sqrt(2), 10, 2))
    ragged = {("a", 0): 0.0, ("a", 1): 2.0, ("a", 2): 4.0, ("b", 0): 12.0}  # mean squares 75 and 4, n0 = 1.5
    assert detectable(ragged) == pytest.approx(minimum_detectable(math.sqrt(71 / 1.5), 2, 2, 2))
    assert detectable(played(drawn(1))) == math.inf and math.isnan(detectable({}))


# Student's t


@pytest.mark.parametrize(
    ("p", "freedom", "value"),
    [
        (0.975, 1, 12.706205),
        (0.975, 2, 4.302653),
        (0.975, 3, 3.182446),
        (0.975, 7, 2.364624),
        (0.975, 15, 2.131450),
        (0.975, 47, 2.011741),
        (0.995, 5, 4.032143),
        (0.95, 10, 1.812461),
        (0.8, 15, 0.866245),
        (0.4, 5, -0.267181),
    ],
)
def test_quantiles_of_t_are_those_of_the_tables(p: float, freedom: int, value: float) -> None:
    assert t_quantile(p, freedom) == pytest.approx(value, abs=1e-5)
    assert t_quantile(1 - p, freedom) == pytest.approx(-value, abs=1e-5)
    assert t_cdf(t_quantile(p, freedom), freedom) == pytest.approx(p, abs=1e-12)


def test_t_refuses_what_it_has_no_quantile_for() -> None:
    for p, freedom in ((0.0, 5), (1.0, 5), (0.5, 0)):
        with pytest.raises(ConfigError):
            t_quantile(p, freedom)
    assert t_quantile(0.5, 4) == pytest.approx(0, abs=1e-9)
