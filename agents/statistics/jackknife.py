"""What each unit, such as a patient with all its sessions, does to a mean, and how far the truth may lie from it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from therapysim.agents.statistics.student import t_cdf, t_quantile

__all__ = ["Jackknife", "leave_out", "leave_out_worst"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Jackknife:
    """A statistic of n values, and what each unit does to it.

    Attributes:
        mean: the statistic of all values.
        pulls: shape (units,), how much it falls when a unit is left out.
        freedom: degrees of freedom.
        n: how many values.
    """

    mean: float
    pulls: Floats
    freedom: int
    n: int

    def ends(self) -> tuple[float, float]:
        """Of the 95 % interval: Student's, with the end on the long side moved out as far as the skew asks for."""
        if len(self.pulls) == 1:
            return -math.inf, math.inf
        reach, error, skew = t_quantile(0.975, self.freedom), self._error(), self._skew()
        return self.mean - _stretched(reach, -skew) * error, self.mean + _stretched(reach, skew) * error

    def p(self) -> float:
        """Two-sided, of a truth of zero: where the nearer of ``ends`` would touch it."""
        error = self._error()
        if len(self.pulls) == 1 or self.mean == 0:
            return 1.0
        if error <= 1e-12 * abs(self.mean):
            return 2.0 ** (1 - len(self.pulls))
        reach = _unstretched(abs(self.mean) / error, -math.copysign(1.0, self.mean) * self._skew())
        return min(1.0, 2 * t_cdf(-reach, self.freedom))

    def _error(self) -> float:
        """The standard error."""
        return math.sqrt((len(self.pulls) - 1) / len(self.pulls) * float(self.pulls @ self.pulls))

    def _skew(self) -> float:
        """Of the mean of the units: theirs, freed of its bias, over the root of their number; 1 is one against all."""
        k, most = len(self.pulls), float(np.abs(self.pulls).max())
        if k < 3 or not most:
            return 0.0
        own = self.pulls / most
        skewness = float((own**3).mean()) / math.pow(float((own**2).mean()), 1.5)
        return min(1.0, max(-1.0, skewness * math.sqrt(k - 1) / (k - 2)))


def _stretched(t: float, skew: float) -> float:
    """How many standard errors an end lies away, with this much skew on its side."""
    return t + max(0.0, skew) * (1 + 2 * t**2) / 6


def _unstretched(far: float, skew: float) -> float:
    """The inverse of ``_stretched``."""
    rest = far - max(0.0, skew) / 6
    return 2 * rest / (1 + math.sqrt(1 + max(0.0, skew) * rest * 4 / 3))


def leave_out(x: Floats, rows: NDArray[np.int64]) -> Jackknife:
    """Of the mean of values x, shape (n,), at least one; rows are the units' numbers from 0, each of them used."""
    counts = np.bincount(rows)
    n, found = len(x), float(x.mean())
    off = np.bincount(rows, x - found)
    pulls = off / np.maximum(n - counts, 1)  # of one unit nothing is left, and nothing is told
    return Jackknife(found, pulls, _freedom(counts), n)


def leave_out_worst(x: Floats, rows: NDArray[np.int64]) -> Jackknife:
    """Of the mean of the lowest tenth, found again without each unit, in parts of a value where it must be."""
    counts, taken = np.bincount(rows), math.ceil(len(x) / 10)
    order = np.argsort(x, kind="stable")
    kept = (rows[order] != np.arange(len(counts))[:, None]).astype(np.float64)
    need = taken * (len(x) - counts[:, None]) / len(x)
    held = np.clip(need - np.cumsum(kept, axis=1) + kept, 0, kept)
    found = float(x[order[:taken]].mean())
    left = (held @ x[order]) / np.maximum(need[:, 0], 1e-9)
    return Jackknife(found, found - left, _freedom(counts), len(x))


def _freedom(counts: NDArray[np.int64]) -> int:
    """One less than the units of equal size that they amount to."""
    return max(1, round(int(counts.sum()) ** 2 / int(counts @ counts)) - 1)
