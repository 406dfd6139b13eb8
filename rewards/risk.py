"""Risk categories: what a low polarity points to, named after the dimension that drives it.

    depth_i = threshold_i - d_i    the driver is the deepest dimension; a risk is named where its depth and
                                   polarity_below - polarity are both above 0

A category is a word for a pattern in the affect vector of simulated text. It is no diagnosis, it says nothing about
danger to life (that is the persona's ``risk`` and its risk facts), and no reward reads it.

Source: the dimensions and their poles are those of Susanto et al. 2020, "The Hourglass Model Revisited"; which pole
    bears which name is a given fact of this project.
"""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from therapysim.errors import ConfigError, require_number
from therapysim.rewards.matrix import DIMENSIONS, polarity

__all__ = ["CATEGORIES", "Lapse", "Risk", "RiskCategory", "RiskThresholds", "risk", "risk_category", "risks"]


class RiskCategory(StrEnum):
    """What a low polarity points to, named after the dimension that drives it."""

    NONE = "none"
    DEPRESSIVE = "depressive"  # Introspection
    AGGRESSION = "aggression/outburst"  # Temper
    WITHDRAWAL = "withdrawal/contempt"  # Attitude
    ANXIETY = "anxiety/panic"  # Sensitivity


#: dimension -> the category it drives, in the order of DIMENSIONS.
CATEGORIES: dict[str, RiskCategory] = {
    "introspection": RiskCategory.DEPRESSIVE,
    "temper": RiskCategory.AGGRESSION,
    "attitude": RiskCategory.WITHDRAWAL,
    "sensitivity": RiskCategory.ANXIETY,
}


@dataclass(frozen=True, slots=True)
class RiskThresholds:
    """When a risk is named. Each threshold is in [-1, 1]; a value equal to its threshold does not lie below it.

    Attributes:
        polarity_below: no risk is named unless the polarity lies below this; 1 lets every polarity through.
        introspection, temper, attitude, sensitivity: a dimension drives nothing unless it lies below its own; -1
            switches its category off.
        count: which polarity, see ``rewards.matrix.polarity``. "hard", the default, jumps where a dimension leaves
            the 0.05 around 0; "smooth" does not.
    """

    polarity_below: float = -0.3
    introspection: float = -0.3
    temper: float = -0.3
    attitude: float = -0.3
    sensitivity: float = -0.3
    count: Literal["hard", "smooth"] = "hard"

    def __post_init__(self) -> None:
        for f in fields(self):
            if f.name != "count":
                require_number(f"risk threshold {f.name}", getattr(self, f.name), -1.0, 1.0)
        if self.count not in ("hard", "smooth"):
            raise ConfigError(f"risk threshold count is {self.count!r}, expected 'hard' or 'smooth'")

    @property
    def dimensions(self) -> tuple[float, ...]:
        """One threshold a dimension, in the order of DIMENSIONS."""
        return tuple(getattr(self, name) for name in DIMENSIONS)


@dataclass(frozen=True, slots=True)
class Lapse:
    """A dimension that lies ``depth`` below its threshold; depth is in (0, 2]."""

    dimension: str
    depth: float


@dataclass(frozen=True, slots=True)
class Risk:
    """The risk that one affect vector points to, and what drove it.

    Attributes:
        category: NONE where no risk is named.
        driver: the dimension that lies deepest below its threshold; "" where no risk is named.
        depth: how far below, in (0, 2]; 0 where no risk is named.
        others: every other dimension below its own threshold, deepest first. Where the polarity is not low enough for
            a risk to be named, all that lie below.
        polarity: of the vector, in [-1, 1], counted as the thresholds say.
    """

    category: RiskCategory
    driver: str
    depth: float
    others: tuple[Lapse, ...]
    polarity: float


def risk(dimensions: ArrayLike, thresholds: RiskThresholds | None = None) -> Risk:
    """The risk that one affect vector points to.

    Args:
        dimensions: shape (4,), each in [-1, 1], in the order of DIMENSIONS.
        thresholds: -0.3 each by default.

    Returns:
        Its driver is the dimension deepest below its own threshold. Equally deep ones go by the order of DIMENSIONS,
        so that with equal thresholds the driver is always ``deficit_dimension``.

    Raises:
        ValueError: another shape, or a value that is not finite.
    """
    d = np.asarray(dimensions, dtype=np.float32)
    if d.shape != (len(DIMENSIONS),):
        raise ValueError(f"dimensions has shape {d.shape}, expected (4,): {', '.join(DIMENSIONS)}; for rows use risks")
    return risks(d[None], thresholds)[0]


def risks(dimensions: ArrayLike, thresholds: RiskThresholds | None = None) -> tuple[Risk, ...]:
    """``risk`` of each row.

    Args:
        dimensions: shape (n, 4), each in [-1, 1], in the order of DIMENSIONS.
        thresholds: -0.3 each by default.

    Raises:
        ValueError: another shape, or a value that is not finite.
    """
    chosen = thresholds or RiskThresholds()
    d = np.asarray(dimensions, dtype=np.float32)
    if d.ndim != 2 or d.shape[1] != len(DIMENSIONS):
        raise ValueError(f"dimensions has shape {d.shape}, expected (n, 4): {', '.join(DIMENSIONS)}")
    if not np.isfinite(d).all():
        row = int(np.flatnonzero(~np.isfinite(d).all(axis=1))[0])
        raise ValueError(f"dimensions[{row}] is {d[row].tolist()}, expected finite numbers")
    # Both sides rounded to float32, then subtracted exactly: -0.3 is not below -0.3, and no rounding makes a tie.
    depths = np.asarray(chosen.dimensions, dtype=np.float32).astype(np.float64) - d
    overall = polarity(d, count=chosen.count)
    low = overall < np.float32(chosen.polarity_below)
    return tuple(_risk(*row) for row in zip(depths, overall, low, strict=True))


def risk_category(dimensions: ArrayLike, thresholds: RiskThresholds | None = None) -> RiskCategory:
    """Only the name of ``risk``."""
    return risk(dimensions, thresholds).category


def _risk(depths: NDArray[np.float64], overall: np.float32, low: np.bool_) -> Risk:
    order = np.argsort(-depths, kind="stable")
    below = tuple(Lapse(DIMENSIONS[i], float(depths[i])) for i in order if depths[i] > 0)
    if not (low and below):
        return Risk(RiskCategory.NONE, "", 0.0, below, float(overall))
    driver, *others = below
    return Risk(CATEGORIES[driver.dimension], driver.dimension, driver.depth, tuple(others), float(overall))
