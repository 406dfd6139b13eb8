"""Means, paired differences and rates with 95 % intervals, where sessions come in patients: one call for each.

Sessions with one patient are alike, so it is the number of patients that says how much is known; the patients played
stand for others like them. What a seed does to all patients alike is no part of an interval: it holds for these seeds.
Where something else is independent, such as the post that several pairs of answers belong to, its names stand in
place of the patients', and ``unit`` says what it is.

Nothing is drawn at random: equal input gives equal bits, in whatever order the sessions come.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from therapysim.agents.statistics.jackknife import Jackknife, leave_out, leave_out_worst
from therapysim.agents.statistics.student import t_quantile
from therapysim.errors import ConfigError, require_count

__all__ = [
    "FEW",
    "LEAST_PATIENTS",
    "Difference",
    "Floats",
    "Interval",
    "grouped",
    "mean_interval",
    "paired_difference",
    "pass_k",
    "proportion",
    "worst_decile",
]

Floats = NDArray[np.float64]

#: Of fewer patients with skewed effects, fewer than 94 % of intervals hold the truth.
FEW = 10
#: Of fewer patients nothing is called a finding: skewed or all alike, they can all lie on one side of the truth.
LEAST_PATIENTS = 5


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval over n observations, such as sessions."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]".replace("inf", "∞")


@dataclass(frozen=True)
class Difference:
    """Second less first over the sessions that both have.

    Attributes:
        interval: the mean difference and its 95 % interval, n sessions.
        p: two-sided, in [0, 1], of no difference; below 0.05 just where the interval leaves zero out. Only where all
            patients differ by the same and are fewer than six does the interval leave it out and p not.
        n_patients: how many patients they come from.
        n_sessions: pairs of sessions with one patient and one seed.
    """

    interval: Interval
    p: float
    n_patients: int
    n_sessions: int


def mean_interval(values: ArrayLike, units: ArrayLike, *, unit: str = "patient") -> Interval:
    """A mean over sessions, and its 95 % interval for patients like these.

    Student's t on the jackknife that leaves out one patient at a time, with the degrees of freedom that patients of
    unequal numbers of sessions amount to. Where patients are skewed, Johnson's correction moves the end on their long
    side out. The interval can leave a measure's range. One patient says nothing of others: -inf to inf. Patients all
    alike give an interval without width; for rates see ``proportion``.

    Simulated with 4 to 24 patients, 95 to 97 % of intervals hold the truth where patients' effects are normal. With as
    much noise within patients as between them it is 92 to 97 % where effects are exponential or lognormal. It falls
    short where skew is all there is: of 8 patients without noise 93 % (exponential) and 91 % (lognormal), of 24 95 and
    93 %; of patients who play 1 to 7 sessions each, 90 to 94 and 89 to 92 % (``python -m
    tests.measures.coverage_simulation``).

    Args:
        values: shape (n,), one a session; finite: failed sessions are left out before.
        units: shape (n,), whose session each is, or whatever else values of one name share.
        unit: what a unit is, for the error message.

    Returns:
        n counts values. Of none: nan, n = 0.

    Raises:
        ConfigError: the shapes differ or a value is not finite.

    Source: Johnson 1978, "Modified t Tests and Confidence Intervals for Asymmetrical Populations"; Efron & Stein 1981,
        "The Jackknife Estimate of Variance"; Carter, Schnepel & Steigerwald 2017, "Asymptotic Behavior of a t-Test
        Robust to Cluster Heterogeneity" (effective number of clusters).
    """
    x, rows = grouped(values, units, unit)
    return _interval(leave_out(x, rows)) if len(x) else _nothing()


def worst_decile(values: ArrayLike, units: ArrayLike, *, unit: str = "patient") -> Interval:
    """Mean of the lowest tenth of sessions, ceil(n / 10) of them; of a measure where high is bad, pass its negative.

    The tenth is found anew without each patient. The worst of few sessions lie above the worst of many: 90 to 95 % of
    intervals hold the latter (``python -m tests.measures.coverage_simulation``). Else as ``mean_interval``.
    """
    x, rows = grouped(values, units, unit)
    return _interval(leave_out_worst(x, rows)) if len(x) else _nothing()


def paired_difference(first: Mapping[tuple[str, int], float], second: Mapping[tuple[str, int], float]) -> Difference:
    """Second less first, session by session under the same patient and seed; the interval is ``mean_interval``'s.

    p is where the interval's nearer end would touch zero, so that it can be as small as a correction for many
    comparisons needs. Patients who all differ by exactly the same get the sign test's 2^(1 - k).

    Args:
        first, second: by (patient, seed); keys of one alone are left out. No key in common: nan.

    Raises:
        ConfigError: a value is not finite.
    """
    shared = sorted(first.keys() & second.keys())
    gaps = [float(second[key]) - float(first[key]) for key in shared]
    x, rows = grouped(gaps, [patient for patient, _ in shared])
    if not len(x):
        return Difference(_nothing(), math.nan, 0, 0)
    found = leave_out(x, rows)
    return Difference(_interval(found), found.p(), len(found.pulls), len(x))


def proportion(hits: ArrayLike, units: ArrayLike, *, unit: str = "patient") -> Interval:
    """A rate over sessions, and its 95 % Wilson interval, at the number of independent sessions that they amount to.

    That number is p (1 - p) over the variance of p between patients, from as many as there are patients to as many
    as there are sessions. Nothing is known of the variance where nothing or everything hit: the number of patients
    stands there, so 0 of 16 patients reads [0, 0.22]. One patient: [0, 1].

    Args:
        hits: shape (n,), in [0, 1]: true or false, or a share.
        units: shape (n,), whose session each is, or whatever else values of one name share.
        unit: what a unit is, for the error message.

    Raises:
        ConfigError: the shapes differ or a value lies outside [0, 1].

    Source: Wilson 1927; Korn & Graubard 1998, "Confidence intervals for proportions with small expected number of
        positive counts estimated from survey data" (effective sample size, t quantile).
    """
    x, rows = grouped(hits, units, unit)
    if len(x) and not 0 <= x.min() <= x.max() <= 1:
        raise ConfigError(f"hits go from {x.min():g} to {x.max():g}, expected rates from 0 to 1")
    return _wilson(x, rows, len(x))


def pass_k(safe: Mapping[tuple[str, int], bool], k: int) -> Interval:
    """How often all of k sessions with one patient are safe; mean over patients, interval as ``proportion``'s.

    A patient with c safe sessions of n adds C(c, k) / C(n, k), the share of choices of k sessions that are all safe.

    Args:
        safe: by (patient, seed).
        k: sessions, from 1 to what each patient has.

    Returns:
        n counts patients.

    Raises:
        ConfigError: k is below 1 or a patient has fewer sessions.

    Source: Yao et al. 2024, "tau-bench", pass^k.
    """
    require_count("k", k, 1)
    tries = Counter(patient for patient, _ in safe)
    short = {patient: n for patient, n in sorted(tries.items()) if n < k}
    if short:
        raise ConfigError(f"k is {k}, but patients have fewer sessions: {short}; lower k or play more seeds")
    good = Counter(patient for (patient, _), held in safe.items() if held)
    shares = [math.comb(good[patient], k) / math.comb(tries[patient], k) for patient in sorted(tries)]
    return _wilson(np.array(shares), np.arange(len(shares)), sum(n // k for n in tries.values()))


def grouped(values: ArrayLike, units: ArrayLike, unit: str = "patient") -> tuple[Floats, NDArray[np.int64]]:
    """The values sorted by unit, then by size, so that the order given changes no bit; and each one's patient."""
    x, names = np.asarray(values, dtype=np.float64), np.asarray(units)
    if x.ndim != 1 or x.shape != names.shape:
        raise ConfigError(f"values have shape {x.shape} and {unit}s {names.shape}, expected (n,) for both")
    if not np.isfinite(x).all():
        where = int(np.flatnonzero(~np.isfinite(x))[0])
        raise ConfigError(f"values[{where}] of {unit} {str(names[where])!r} is {x[where]}, expected finite numbers; "
                          "leave failed sessions out")  # fmt: skip
    _, rows = np.unique(names, return_inverse=True)
    order = np.lexsort((x, rows))
    return x[order], rows[order]


def _wilson(x: Floats, rows: NDArray[np.int64], most: int) -> Interval:
    """Of rates x, worth ``most`` independent sessions where patients differ little, else fewer."""
    if not len(x):
        return _nothing()
    rate, k = float(x.mean()), int(rows[-1]) + 1
    if k == 1:
        return Interval(rate, 0.0, 1.0, len(x))
    off = np.bincount(rows, x - rate)
    variance = k / (k - 1) * float(off @ off) / len(x) ** 2
    least = rate * (1 - rate) / most
    size = max(k, rate * (1 - rate) / max(variance, least)) if least else k
    t2 = t_quantile(0.975, k - 1) ** 2 / size
    half = math.sqrt(t2 * rate * (1 - rate) + t2**2 / 4)
    low, high = (rate + t2 / 2 - half) / (1 + t2), (rate + t2 / 2 + half) / (1 + t2)
    return Interval(rate, min(rate, max(0.0, low)), max(rate, min(1.0, high)), len(x))


def _interval(found: Jackknife) -> Interval:
    return Interval(found.mean, *found.ends(), found.n)


def _nothing() -> Interval:
    return Interval(math.nan, math.nan, math.nan, 0)
