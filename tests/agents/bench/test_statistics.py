"""Intervals by patient cover what they say, differences pair, corrections and power agree with what is known."""

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest

from tests.measures.coverage_simulation import Sets, coverage, rates, sessions
from therapysim.agents.statistics.comparisons import benjamini_hochberg, detectable, holm, minimum_detectable
from therapysim.agents.statistics.intervals import (
    FEW,
    Interval,
    bootstrap,
    by_patient,
    clustered,
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
    return sessions(False)(1, patients, seeds, icc, np.random.default_rng(number))[0]


# Intervals by patient


@pytest.mark.parametrize("patients", [3, 8, 16, 48])
def test_balanced_normal_sessions_get_about_the_t_interval(patients: int) -> None:
    values = drawn(patients)
    means = values.mean(axis=1)
    half = t_quantile(0.975, patients - 1) * means.std(ddof=1) / math.sqrt(patients)
    found = by_patient(values.ravel(), names(patients), draws=20_000)
    assert found.mean == pytest.approx(values.mean()) and found.n == 4 * patients
    assert found.low == pytest.approx(found.mean - half, abs=0.12 * half)
    assert found.high == pytest.approx(found.mean + half, abs=0.12 * half)


@pytest.mark.parametrize(
    ("draw", "interval", "truth", "patients", "low", "high"),
    [
        (sessions(False), by_patient, 0.0, 16, 0.93, 0.97),
        (sessions(False), by_patient, 0.0, 8, 0.93, 0.97),
        (sessions(False), by_patient, 0.0, 48, 0.93, 0.97),
        (sessions(False), by_patient, 0.0, 3, 0.93, 0.97),
        (sessions(True), by_patient, 0.0, 16, 0.90, 0.97),
        (rates(0.1), proportion, 0.1, 16, 0.93, 1.0),
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(
    draw: Sets, interval: Callable[..., Interval], truth: float, patients: int, low: float, high: float
) -> None:
    assert low <= coverage(interval, draw, truth, (patients, 4), 0.4, 1_500)[0] <= high


def test_intervals_that_take_sessions_for_independent_hold_it_too_seldom() -> None:
    def naive(values: np.ndarray, _: list[str]) -> Interval:
        return bootstrap(list(values))

    assert coverage(naive, sessions(False), 0.0, (16, 4), 0.4, 300)[0] < 0.90


@pytest.mark.parametrize("measure", [by_patient, worst_decile, proportion])
def test_the_order_of_sessions_changes_no_bit(measure: Callable[..., Interval]) -> None:
    values, who = 1 / (1 + np.exp(drawn(10).ravel())), np.array(names(10))
    for number in range(5):
        order = np.random.default_rng(number).permutation(len(values))
        assert measure(values[order], who[order]) == measure(values, who)


def test_a_patient_with_more_sessions_counts_by_its_sessions() -> None:
    found = by_patient([1.0] * 6 + [0.0] * 8, ["a"] * 6 + list("bcdefghi"))
    assert found.mean == 6 / 14 and found.n == 14 and found.low < 6 / 14 < found.high


def test_one_patient_says_nothing_of_others_and_few_say_little() -> None:
    assert by_patient([1.0, 2.0], ["a", "a"]) == Interval(1.5, -math.inf, math.inf, 2)
    two = by_patient([0.0, 1.0], ["a", "b"])
    assert two.low < -5 and two.high > 6


def test_degenerate_input() -> None:
    none = by_patient([], [])
    assert none.n == 0 and math.isnan(none.mean) and math.isnan(none.low) and math.isnan(none.high)
    assert by_patient([0.1] * 8, list("abcdefgh")).low == pytest.approx(0.1)
    with pytest.raises(ConfigError, match=r"values\[1\] of patient 'b' is nan"):
        by_patient([1.0, math.nan], ["a", "b"])
    with pytest.raises(ConfigError, match="shape"):
        by_patient([1.0, 2.0], ["a"])
    with pytest.raises(ConfigError, match="draws"):
        by_patient([1.0, 2.0], ["a", "b"], draws=10)
    with pytest.raises(ConfigError, match="worst_decile"):
        by_patient([1.0], ["a"], statistic="mode")  # type: ignore[arg-type]


def test_the_seed_decides_the_draws() -> None:
    values, who = drawn(16).ravel(), names(16)
    assert by_patient(values, who, seed=1) == by_patient(values, who, seed=1) != by_patient(values, who, seed=2)


def test_the_older_intervals_are_as_they_were() -> None:
    values, owner = np.arange(24.0) ** 2, np.repeat(np.arange(6), 4)
    one, groups, fewer = bootstrap(list(values)), clustered(values, owner), clustered(values, owner, draws=500, seed=3)
    assert (one.low, one.high, one.n) == (pytest.approx(114.744792), pytest.approx(245.210417), 24)
    assert (groups.low, groups.high, groups.n) == (pytest.approx(67.5), pytest.approx(318.166667), 6)
    assert (fewer.low, fewer.high) == (pytest.approx(52.166667), pytest.approx(321.283333))
    assert one.mean == groups.mean == pytest.approx(180.166667)
    assert bootstrap([]).n == 0 and str(groups) == "+180.17 [+67.50, +318.17]"


# The worst tenth


@pytest.mark.parametrize(("n", "taken"), [(1, 1), (10, 1), (11, 2), (64, 7)])
def test_the_worst_tenth_is_the_mean_of_the_lowest_sessions(n: int, taken: int) -> None:
    values = np.random.default_rng(0).permutation(n).astype(float)
    assert worst_decile(values, [f"p{i}" for i in range(n)]).mean == np.arange(taken).mean()


def test_the_worst_tenth_of_a_draw_is_that_of_the_sessions_it_holds() -> None:
    values, who = drawn(8).ravel(), np.array(names(1, 16) + [f"p{i:02}" for i in range(1, 8) for _ in range(16 // 7)])
    values = values[: len(who)]  # one patient has 16 sessions, seven have two
    rng, means = np.random.default_rng(1), []
    for _ in range(4_000):
        held = np.concatenate([values[who == f"p{i:02}"] for i in rng.integers(8, size=8)])
        means.append(np.sort(held)[: math.ceil(len(held) / 10)].mean())
    found = worst_decile(values, who, draws=20_000)
    half = t_quantile(0.975, 7) * math.sqrt(8 / 7) * np.std(means)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.05)


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
    assert there.p == pytest.approx(back.p)


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
    found = proportion([1.0] * 4 + [0.0] * 12, names(16, 1))
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


def test_more_patients_and_more_seeds_find_less() -> None:
    base = minimum_detectable(0.5, 1.0, 16, 4)
    assert minimum_detectable(0.5, 1.0, 32, 4) < minimum_detectable(0.5, 1.0, 16, 8) < base
    assert minimum_detectable(0.5, 1.0, 16, 4, power=0.9) > base < minimum_detectable(0.5, 1.0, 16, 4, alpha=0.01)
    assert minimum_detectable(0.5, 1.0, 1, 4) == math.inf
    with pytest.raises(ConfigError, match="sd_within"):
        minimum_detectable(0.5, -1.0, 16, 4)
    with pytest.raises(ConfigError, match="power"):
        minimum_detectable(0.5, 1.0, 16, 4, power=1.0)


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
