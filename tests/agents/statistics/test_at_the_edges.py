"""The statistics at the edges of what they take: defaults, messages, and differences that differ by rounding alone."""

import math
from collections.abc import Callable

import pytest

from therapysim.agents.statistics.comparisons import benjamini_hochberg, holm, minimum_detectable
from therapysim.agents.statistics.intervals import (
    Interval,
    mean_interval,
    paired_difference,
    pass_k,
    proportion,
    worst_decile,
)
from therapysim.agents.statistics.student import t_cdf, t_quantile
from therapysim.errors import ConfigError


@pytest.mark.parametrize("measure", [mean_interval, worst_decile, proportion])
def test_a_unit_is_a_patient_unless_it_is_said_to_be_something_else(measure: Callable[..., Interval]) -> None:
    with pytest.raises(ConfigError, match=r"^values\[1\] of patient 'b' is nan, expected finite numbers; leave failed"):
        measure([1.0, math.nan], ["a", "b"])
    with pytest.raises(ConfigError, match=r"^values have shape \(2,\) and patients \(1,\), expected \(n,\) for both"):
        measure([1.0, 1.0], ["a"])
    with pytest.raises(ConfigError, match=r"shape \(1, 2\)"):
        measure([[1.0, 1.0]], [["a", "b"]])


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_patients_who_differ_by_the_same_get_the_sign_test_whatever_the_scale(size: float) -> None:
    gaps = [size, size * (1 + 1e-14), size, size * (1 - 1e-14)]
    first = {(name, 0): 0.0 for name in "abcd"}
    second = {(name, 0): gap for name, gap in zip("abcd", gaps, strict=True)}
    assert paired_difference(first, second).p == 2**-3
    apart = {key: gap * (1 + 1e-6 * i) for i, (key, gap) in enumerate(second.items())}
    assert paired_difference(first, apart).p < 1e-6


@pytest.mark.parametrize(
    ("name", "ends", "beyond"),
    [
        ("sd_between", (0, 5.0), (-0.1,)),
        ("sd_within", (0, 5.0), (-0.1,)),
        ("seeds", (1, 1.5), (0.9,)),
        ("alpha", (1e-6, 0.5), (0.0, 0.51)),
        ("power", (0.5, 0.999), (0.49, 1.0)),
        ("patients", (1, 40), (0, 1.5)),
    ],
)
def test_what_a_power_calculation_takes(name: str, ends: tuple[float, ...], beyond: tuple[float, ...]) -> None:
    plain = {"sd_between": 0.5, "sd_within": 1.0, "patients": 16, "seeds": 4}
    assert all(minimum_detectable(**plain | {name: value}) >= 0 for value in ends)  # type: ignore[arg-type]
    for value in beyond:
        with pytest.raises(ConfigError, match=f"^{name} is {value}"):
            minimum_detectable(**plain | {name: value})  # type: ignore[arg-type]


def test_a_power_calculation_by_hand() -> None:
    error = math.sqrt((0.25 + 1.0 / 4) / 16)
    assert minimum_detectable(0.5, 1.0, 16, 4) == pytest.approx((t_quantile(0.975, 15) + t_quantile(0.8, 15)) * error)
    found = minimum_detectable(0.5, 1.0, 16, 4, alpha=0.1, power=0.9)
    assert found == pytest.approx((t_quantile(0.95, 15) + t_quantile(0.9, 15)) * error)
    assert minimum_detectable(0.5, 1.0, 2, 4) < math.inf == minimum_detectable(0.5, 1.0, 1, 4)


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
def test_p_values_lie_from_zero_to_one(correct: Callable[..., list[float]]) -> None:
    assert correct([0.0, 1.0]) == [0.0, 1.0] and correct([0, 1]) == [0.0, 1.0]
    for wrong in (-0.01, 1.01):
        with pytest.raises(ConfigError, match=r"^p-values go from .*, expected 0 to 1$"):
            correct([0.5, wrong, math.nan])


def test_a_rate_lies_from_zero_to_one_and_its_interval_in_it() -> None:
    for wrong in (-0.01, 1.01):
        with pytest.raises(ConfigError, match=r"^hits go from .*, expected rates from 0 to 1$"):
            proportion([0.5, wrong], ["a", "b"])
    for hits in ([0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.5, 0.5, 0.5]):
        found = proportion(hits, list("abc"))
        assert 0.0 <= found.low < found.mean < found.high <= 1.0 and found.n == 3


def test_of_one_patient_a_rate_says_nothing_of_others_and_of_two_hardly_anything() -> None:
    assert proportion([1.0, 0.0, 0.0, 1.0], ["a"] * 4) == Interval(0.5, 0.0, 1.0, 4)
    two = proportion([1.0, 0.0], ["a", "b"])
    t2 = t_quantile(0.975, 1) ** 2 / 2
    half = math.sqrt(t2 * 0.25 + t2**2 / 4)
    assert (two.low, two.high) == pytest.approx(((0.5 + t2 / 2 - half) / (1 + t2), (0.5 + t2 / 2 + half) / (1 + t2)))


def test_a_rate_is_known_as_well_as_from_so_many_independent_sessions() -> None:
    """By hand: four patients of eight sessions, rates 3/4, 3/4, 1/4, 1/4, amount to 1/4 over 1/48, twelve sessions."""
    hits = [float(i < good) for good in (6, 6, 2, 2) for i in range(8)]
    found = proportion(hits, [name for name in "abcd" for _ in range(8)])
    t2 = t_quantile(0.975, 3) ** 2 / 12
    half = math.sqrt(t2 * 0.25 + t2**2 / 4)
    assert (found.low, found.high) == pytest.approx(
        ((0.5 + t2 / 2 - half) / (1 + t2), (0.5 + t2 / 2 + half) / (1 + t2))
    )


def test_pass_k_takes_as_many_as_the_least_played() -> None:
    safe = {("a", 0): True, ("a", 1): False, ("b", 0): True, ("b", 1): True, ("b", 2): True}
    assert pass_k(safe, 2).mean == (0 + 1) / 2 and pass_k(safe, 1).mean == (1 / 2 + 1) / 2
    with pytest.raises(ConfigError, match=r"k is 3, but patients have fewer sessions: \{'a': 2\}; lower k"):
        pass_k(safe, 3)


def test_t_at_its_middle_and_its_ends() -> None:
    for freedom in (1, 2, 5, 40):
        assert t_cdf(0.0, freedom) == 0.5 and t_cdf(1.0, freedom) == pytest.approx(1 - t_cdf(-1.0, freedom))
        assert 0.0 <= t_cdf(-1e9, freedom) < 1e-6 and 1 - 1e-6 < t_cdf(1e9, freedom) <= 1.0
    assert t_cdf(1.0, 1) == pytest.approx(0.75) and t_cdf(1.0, 2) == pytest.approx(0.5 + 1 / (2 * math.sqrt(3)))
    for p, freedom, name in ((0.0, 3, "p"), (1.0, 3, "p"), (0.5, 0, "freedom"), (0.5, 1.5, "freedom")):
        with pytest.raises(ConfigError, match=f"^{name} is"):
            t_quantile(p, freedom)  # type: ignore[arg-type]


def test_an_interval_reads_as_mean_and_ends() -> None:
    assert str(Interval(0.126, -1.0, 2.5, 4)) == "+0.13 [-1.00, +2.50]"
