"""Corrections for many comparisons, and the smallest difference that a benchmark of some size would find."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from therapysim.agents.statistics.intervals import Floats, grouped
from therapysim.agents.statistics.student import t_quantile
from therapysim.errors import ConfigError, require_count, require_number

__all__ = ["benjamini_hochberg", "detectable", "holm", "minimum_detectable"]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected so that one false finding among them all stays as rare as told; in the order given.

    A nan stays one and is not counted.

    Raises:
        ConfigError: a value lies outside [0, 1].

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    return _adjust(p_values, lambda p: np.maximum.accumulate(p * np.arange(len(p), 0, -1)))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """p-values corrected so that of what is found the share told is false; for tables of many terms. Else as ``holm``.

    Source: Benjamini & Hochberg 1995, "Controlling the false discovery rate".
    """
    return _adjust(p_values, lambda p: np.minimum.accumulate((p * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1])


def minimum_detectable(
    sd_between: float, sd_within: float, patients: int, seeds: float, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """The smallest mean paired difference that would be found with this power.

    Args:
        sd_between: of the patients' true differences; sd_within: of one patient's differences between seeds.
        patients: how many are played; one finds nothing: inf.
        seeds: sessions a patient, on average.
        alpha: the two-sided level; power: in (0.5, 1).

    Raises:
        ConfigError: a setting is out of range.

    Source: Bloom 1995, "Minimum detectable effects", (t_{1-alpha/2} + t_power) standard errors, k - 1 degrees.
    """
    for name, value, low, high in (("sd_between", sd_between, 0, math.inf), ("sd_within", sd_within, 0, math.inf),
                                   ("seeds", seeds, 1, math.inf), ("alpha", alpha, 2e-9, 0.5),
                                   ("power", power, 0.5, 1 - 1e-9)):  # fmt: skip
        require_number(name, value, low, high)
    if require_count("patients", patients, 1) == 1:
        return math.inf
    error = math.sqrt((sd_between**2 + sd_within**2 / seeds) / patients)
    return (t_quantile(1 - alpha / 2, patients - 1) + t_quantile(power, patients - 1)) * error


def detectable(differences: Mapping[tuple[str, int], float]) -> float:
    """``minimum_detectable`` of as many patients and seeds as these, at their own variances. Of nothing: nan.

    Between and within are told apart by a one-way analysis of variance, between at least 0; with one seed a patient all
    of it is between.

    Source: Searle, Casella & McCulloch 1992, "Variance Components", section 3.6 (unbalanced data).
    """
    x, rows = grouped(list(differences.values()), [patient for patient, _ in differences])
    k, n = len(np.unique(rows)), len(x)
    if k < 2:
        return math.inf if k else math.nan
    counts = np.bincount(rows)
    means = np.bincount(rows, x) / counts
    among = float(counts @ (means - x.mean()) ** 2) / (k - 1)
    within = float(((x - means[rows]) ** 2).sum()) / (n - k) if n > k else 0.0
    between = max(0.0, among - within) / ((n - float(counts @ counts) / n) / (k - 1))
    return minimum_detectable(math.sqrt(between), math.sqrt(within), k, n / k)


def _adjust(p_values: Sequence[float], correct: Callable[[Floats], Floats]) -> list[float]:
    p = np.asarray(p_values, dtype=np.float64)
    kept = np.flatnonzero(~np.isnan(p))
    if (p[kept] < 0).any() or (p[kept] > 1).any():
        raise ConfigError(f"p-values go from {p[kept].min():g} to {p[kept].max():g}, expected 0 to 1")
    order = kept[np.argsort(p[kept], kind="stable")]
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(1.0, correct(p[order]))
    return [float(value) for value in adjusted]
