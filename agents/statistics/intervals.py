"""Means with intervals when sessions come in patients, paired differences, and rates.

Sessions with one patient are alike, so it is the number of patients that says how much is known; the patients played
stand for others like them.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from therapysim.agents.statistics.student import t_cdf, t_quantile
from therapysim.errors import ConfigError, require_count

__all__ = [
    "Difference",
    "Floats",
    "Interval",
    "bootstrap",
    "by_patient",
    "clustered",
    "grouped",
    "paired_difference",
    "pass_k",
    "proportion",
    "worst_decile",
]

Floats = NDArray[np.float64]
Statistic = Literal["mean", "worst_decile"]

#: Of fewer patients the extremes of the draws lie too near: none goes beyond the patients' own extremes, and three
#: patients all lie on one side of the truth once in four.
FEW = 10


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % bootstrap interval over n sessions."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


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


def bootstrap(values: Sequence[float], *, draws: int = 2_000, seed: int = 0) -> Interval:
    """Mean and percentile bootstrap interval. Source: Efron & Tibshirani 1993, chapter 13."""
    x: Floats = np.asarray(values, dtype=np.float64)
    if not len(x):
        return _nothing()
    picks = np.random.default_rng(seed).integers(len(x), size=(draws, len(x)))
    low, high = np.percentile(x[picks].mean(axis=1), [2.5, 97.5])
    return Interval(float(x.mean()), float(low), float(high), len(x))


def clustered(values: Floats, owner: NDArray[np.int64], *, draws: int = 1_000, seed: int = 0) -> Interval:
    """Mean over observations, and its 95 % percentile interval under resampling of whole clusters, such as sessions.

    Args:
        values: shape (n,), one an observation.
        owner: shape (n,), the number of the cluster that each belongs to; observations of one are not independent.

    Source: Davison & Hinkley 1997, section 3.8, resampling of clusters.
    """
    _, rows = np.unique(owner, return_inverse=True)
    sums, counts = np.bincount(rows, values), np.bincount(rows)
    times = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=draws)
    low, high = np.percentile((times @ sums) / (times @ counts), [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high), len(sums))


def by_patient(
    values: ArrayLike, patients: Sequence[str], *, draws: int = 2_000, seed: int = 0, statistic: Statistic = "mean"
) -> Interval:
    """A mean over sessions, and its 95 % interval for patients like these.

    Patients are drawn and each keeps its own sessions: their means scatter by what differs between patients and within
    them, so that drawing the sessions too would count the scatter within twice. Of k patients a percentile interval is
    too narrow by sqrt((k - 1) / k) and by the normal quantile in place of t's, so outer percentiles are read that mend
    both. Fewer than ten patients get the same reach in standard errors of the draws; such an interval can leave a
    measure's range. One patient says nothing of others: -inf to inf. Patients all alike give an interval without
    width; for rates see ``proportion``.

    Simulated, 94 to 95 % of the intervals hold the truth; where the patients' effects are exponential, 92 to 95 % with
    8 to 16 patients (``python -m tests.measures.coverage_simulation``).

    Args:
        values: shape (n,), one a session; finite: failed sessions are left out before.
        patients: shape (n,), whose session each is.
        draws: of the bootstrap, at least 100.
        seed: of the bootstrap.
        statistic: "mean", or "worst_decile", the mean of the lowest tenth of sessions.

    Returns:
        n counts sessions. Of no session: nan, n = 0.

    Raises:
        ConfigError: the shapes differ, a value is not finite, or a setting is unknown or out of range.

    Source: Davison & Hinkley 1997, section 3.8 (groups drawn, members kept); Hesterberg 2015, "What Teachers Should
        Know About the Bootstrap", section 4.3 (expanded percentile interval).
    """
    if statistic not in _STATISTICS:
        raise ConfigError(f"statistic is {statistic!r}, expected one of {', '.join(_STATISTICS)}")
    x, rows = grouped(values, patients)
    return _draw(x, rows, draws, seed, statistic).interval() if len(x) else _nothing()


def worst_decile(values: ArrayLike, patients: Sequence[str], *, draws: int = 2_000, seed: int = 0) -> Interval:
    """Mean of the lowest tenth of sessions, ceil(n / 10) of them; of a measure where high is bad, pass its negative.

    The tenth is found anew in each draw; the interval is even, as of few patients. It is a rough guide: the worst of
    few sessions lie above the worst of many, and with 16 patients of four sessions about 86 % of such intervals hold
    the latter, with 48 about 90 % (``python -m tests.measures.coverage_simulation``). Else as ``by_patient``.
    """
    return by_patient(values, patients, draws=draws, seed=seed, statistic="worst_decile")


def paired_difference(
    first: Mapping[tuple[str, int], float],
    second: Mapping[tuple[str, int], float],
    *,
    draws: int = 2_000,
    seed: int = 0,
) -> Difference:
    """Second less first, session by session under the same patient and seed; the interval is ``by_patient``'s.

    p is read off the same draws as the interval: their share beyond zero. Where no draw lies there, the distance to
    zero in standard errors of the draws stands for it, so that p can pass below 1 / draws, as a correction for many
    comparisons needs. Patients who all differ by exactly the same get the sign test's 2^(1 - k).

    Args:
        first, second: by (patient, seed); keys of one alone are left out. No key in common: nan.

    Raises:
        ConfigError: a value is not finite, or draws is below 100.
    """
    shared = sorted(first.keys() & second.keys())
    gaps = [float(second[key]) - float(first[key]) for key in shared]
    x, rows = grouped(gaps, [patient for patient, _ in shared])
    if not len(x):
        return Difference(_nothing(), math.nan, 0, 0)
    found = _draw(x, rows, draws, seed, "mean")
    return Difference(found.interval(), found.p(), found.patients, found.sessions)


def proportion(hits: ArrayLike, patients: Sequence[str]) -> Interval:
    """A rate over sessions, and its 95 % Wilson interval, at the number of independent sessions that they amount to.

    That number is p (1 - p) over the variance of p between patients, from as many as there are patients to as many
    as there are sessions. Nothing is known of the variance where nothing or everything hit: the number of patients
    stands there, so 0 of 16 patients reads [0, 0.22]. One patient: [0, 1].

    Args:
        hits: shape (n,), in [0, 1]: true or false, or a share.
        patients: shape (n,), whose session each is.

    Raises:
        ConfigError: the shapes differ or a value lies outside [0, 1].

    Source: Wilson 1927; Korn & Graubard 1998, "Confidence intervals for proportions with small expected number of
        positive counts estimated from survey data" (effective sample size, t quantile).
    """
    x, rows = grouped(hits, patients)
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


@dataclass(frozen=True)
class _Draws:
    """What a bootstrap over patients found."""

    found: float
    values: Floats  # sorted
    patients: int
    sessions: int
    even: bool  # whether the draws' standard deviation is used alone, for want of draws to trust at the ends

    def interval(self) -> Interval:
        if self.patients == 1:
            return Interval(self.found, -math.inf, math.inf, self.sessions)
        reach = t_quantile(0.975, self.patients - 1) * self._shrunk()
        if self.even:
            half = reach * float(self.values.std())
            return Interval(self.found, self.found - half, self.found + half, self.sessions)
        rank = math.ceil(NormalDist().cdf(-reach) * len(self.values))
        return Interval(self.found, float(self.values[rank - 1]), float(self.values[-rank]), self.sessions)

    def p(self) -> float:
        """``interval``'s reach where its end would touch zero, as a tail of t."""
        if self.patients == 1 or self.found == 0:
            return 1.0
        spread = float(self.values.std())
        if spread <= 1e-12 * abs(self.found):
            return 2.0 ** (1 - self.patients)
        far = abs(self.found) / spread
        far = far if self.even else self._reach(far)
        return min(1.0, 2 * t_cdf(-far / self._shrunk(), self.patients - 1))

    def _reach(self, errors: float) -> float:
        """How many normal standard errors zero lies from the middle of the draws."""
        beyond = min(int((self.values <= 0).sum()), int((self.values >= 0).sum()), len(self.values) // 2)
        edge = -NormalDist().inv_cdf(max(beyond, 1) / len(self.values))
        return edge if beyond else max(errors, edge)

    def _shrunk(self) -> float:
        """Draws of k patients scatter by (k - 1) / k of the variance of their mean."""
        return math.sqrt(self.patients / (self.patients - 1))


def _draw(x: Floats, rows: NDArray[np.int64], draws: int, seed: int, statistic: Statistic) -> _Draws:
    count, k = require_count("draws", draws, 100), int(rows[-1]) + 1
    picks = np.random.default_rng(seed).integers(k, size=(count, k)) + k * np.arange(count)[:, None]
    times = np.bincount(picks.ravel(), minlength=count * k).reshape(count, k).astype(np.float64)
    measure, even = _STATISTICS[statistic], statistic != "mean" or k < FEW
    found = float(measure(x, rows, np.ones((1, k)))[0])
    return _Draws(found, np.sort(measure(x, rows, times)), k, len(x), even)


def _mean(x: Floats, rows: NDArray[np.int64], times: Floats) -> Floats:
    """Of each draw; times: (draws, patients), how often each was drawn."""
    means: Floats = (times @ np.bincount(rows, x)) / (times @ np.bincount(rows))
    return means


def _worst_decile(x: Floats, rows: NDArray[np.int64], times: Floats) -> Floats:
    """As ``_mean``: sessions from the lowest up, until a tenth is taken."""
    order = np.argsort(x, kind="stable")
    each = times[:, rows[order]]
    before = np.cumsum(each, axis=1) - each
    need = np.ceil(each.sum(axis=1, keepdims=True) / 10)
    means: Floats = (np.clip(need - before, 0, each) @ x[order]) / need[:, 0]
    return means


_STATISTICS: dict[str, Callable[[Floats, NDArray[np.int64], Floats], Floats]] = {
    "mean": _mean,
    "worst_decile": _worst_decile,
}


def grouped(values: ArrayLike, patients: Sequence[str]) -> tuple[Floats, NDArray[np.int64]]:
    """The values sorted by patient, then by size, so that the order given changes no bit; and each one's patient."""
    x, names = np.asarray(values, dtype=np.float64), np.asarray(patients)
    if x.ndim != 1 or x.shape != names.shape:
        raise ConfigError(f"values have shape {x.shape} and patients {names.shape}, expected (n,) for both")
    if not np.isfinite(x).all():
        where = int(np.flatnonzero(~np.isfinite(x))[0])
        raise ConfigError(f"values[{where}] of patient {str(names[where])!r} is {x[where]}, expected finite numbers; "
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


def _nothing() -> Interval:
    return Interval(math.nan, math.nan, math.nan, 0)
