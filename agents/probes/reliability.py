"""How far a score can be believed: cross-validated calibration, reliability bins, and a drawing of both.

The points are taken as independent. Several ratings of one session are not, and these numbers are then too kind:
average such ratings first.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from therapysim.agents.figures import figure
from therapysim.agents.statistics.intervals import Interval, mean_interval
from therapysim.errors import CalibrationError, require_count
from therapysim.rewards.calibration import (
    Calibration,
    Floats,
    Method,
    check_lengths,
    checked_pairs,
    checked_vector,
    fit_pairs,
    is_binary,
    pearson,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Assessment", "Bin", "HeldOut", "cross_validate", "draw_reliability", "reliability"]

_BLUE, _GREY, _INK = "#0072B2", "#B0B0B0", "#222222"
_DIAGONAL: dict[str, Any] = {"color": _GREY, "linestyle": "--", "linewidth": 1, "label": "prediction = rating"}
_Z = 1.959964  # of a two-sided 95 % interval


@dataclass(frozen=True, slots=True)
class Bin:
    """Points of like prediction: what was predicted of them, and what people said.

    Attributes:
        predicted: mean prediction.
        observed: mean rating.
        low: lower end of the 95 % interval of ``observed``.
        high: upper end.
        count: how many points.
    """

    predicted: float
    observed: float
    low: float
    high: float
    count: int


def reliability(predicted: ArrayLike, human_ratings: ArrayLike, bins: int = 10) -> tuple[Bin, ...]:
    """Sorts points into bins of about equal count by their prediction, and sets prediction beside rating.

    Args:
        predicted: shape (n,): calibrated values, or raw scores.
        human_ratings: shape (n,).
        bins: at most this many, and at most one for ten points; equal predictions share a bin, so that where many are
            equal the bins differ in size.

    Returns:
        The bins in rising order. Intervals: Wilson's score for ratings of 0 and 1, else Student's t.

    Raises:
        CalibrationError: the two are not (n,) arrays of finite numbers.
    """
    x, y = checked_vector("predicted", predicted), checked_vector("human_ratings", human_ratings)
    check_lengths("predicted", x, y)
    wanted = max(1, min(require_count("bins", bins, 1), len(x) // 10))
    # The middle rank of equal predictions says which bin they share; quantiles as edges fall together on ties.
    _, group, tied = np.unique(x, return_inverse=True, return_counts=True)
    middle = (np.cumsum(tied) - tied / 2) / len(x)
    place, binary = (middle * wanted).astype(int)[group], is_binary(y)
    return tuple(_bin(x[place == b], y[place == b], binary) for b in np.unique(place))


@dataclass(frozen=True)
class HeldOut:
    """A map on ratings it has not seen, beside no map at all, with 95 % intervals over the ratings.

    Attributes:
        r: Pearson's r of prediction and rating; None for ratings of 0 and 1, or where it is not defined.
        error: mean squared error, for ratings of 0 and 1 the Brier score.
        gain: how much smaller that is than the error of foretelling each rating by the mean of the other folds.
    """

    r: Interval | None
    error: Interval
    gain: Interval

    @property
    def warning(self) -> str:
        """What to say where the map is no better than none; "" where it is."""
        if self.gain.low > 0:
            return ""
        few = "these ratings cannot tell the map from none"
        what = few if self.gain.mean > 0 else "the map is no better than none"
        return (
            f"{what}: "
            "on ratings it has not seen, its squared error is less than that of the "
            f"mean rating by {_spread(self.gain, '.3g')}, an interval that holds 0 or lies below it; give more "
            "ratings, or another score"
        )

    def __str__(self) -> str:
        r = f"r {_spread(self.r, '.3f')}; " if self.r else ""
        return (
            f"on ratings held out, 95 %: {r}squared error {_spread(self.error, '.3g')}, less than that of the mean "
            f"rating by {_spread(self.gain, '.3g')}"
        )


@dataclass(frozen=True, eq=False)
class Assessment:
    """How well a calibration does on ratings it has not seen.

    Attributes:
        method: "isotonic" or "platt".
        scores: shape (n,), as given.
        ratings: shape (n,), as given.
        predicted: shape (n,), each by a fit to the other folds.
        level: shape (n,), the mean rating of the other folds: what a map that says nothing foretells.
        fold: shape (n,), the fold each point was held out in.
        quality: row -> measure -> value. Rows: "scores as they are"; a reference, cross-fitted too: the best straight
            line, or the base rate for ratings of 0 and 1; and the method. Measures over all n points: r, RMSE, MAE, or
            Brier score, log loss (probabilities kept 1e-6 from 0 and 1) and ECE. Not a number where a measure is not
            defined, as for the Brier score of scores outside [0, 1].
    """

    method: Method
    scores: Floats
    ratings: Floats
    predicted: Floats
    level: Floats
    fold: NDArray[np.int64]
    quality: dict[str, dict[str, float]]

    @property
    def held_out(self) -> HeldOut:
        """The method's own errors, and whether it is better than no map."""
        off, none = (self.predicted - self.ratings) ** 2, (self.level - self.ratings) ** 2
        each = np.arange(len(off))
        error, gain = (mean_interval(values, each, unit="rating") for values in (off, none - off))
        r = math.nan if is_binary(self.ratings) else pearson(self.predicted, self.ratings)
        return HeldOut(None if math.isnan(r) else _fisher(r, len(off)), error, gain)

    def table(self) -> str:
        """The rows as text, with n."""
        measures = list(next(iter(self.quality.values())))
        head = f"{f'n = {len(self.scores)}':<28}" + "".join(f"{name:>10}" for name in measures)
        rows = [
            f"{name:<28}" + "".join(f"{'–' if math.isnan(v) else f'{v:.4f}':>10}" for v in row.values())
            for name, row in self.quality.items()
        ]
        return "\n".join([head, *rows])


def cross_validate(
    scores: ArrayLike,
    human_ratings: ArrayLike,
    method: Method = "isotonic",
    *,
    folds: int = 5,
    seed: int = 0,
    min_block: int | None = None,
) -> Assessment:
    """Judges a calibration: every point is predicted by a fit to the folds it is not in.

    Args:
        scores: as for ``fit``.
        human_ratings: as for ``fit``.
        method: as for ``fit``.
        folds: 2 or more; for ratings of 0 and 1 each class is dealt out evenly.
        seed: of the dealing.
        min_block: as for ``fit``; the default follows the size of the folds fitted to.

    Raises:
        CalibrationError: as for ``fit``, or a class has fewer points than there are folds.
    """
    x, y = checked_pairs(scores, human_ratings, method)
    binary = is_binary(y)
    fold = _deal(y, binary, require_count("folds", folds, 2), require_count("seed", seed, 0))
    predicted, reference, level = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    for k in range(folds):
        own, others = fold == k, fold != k
        predicted[own] = fit_pairs(x[others], y[others], method, min_block)(x[own])
        level[own] = y[others].mean()
        reference[own] = level[own] if binary else _line(x[others], y[others], x[own])
    measure, name = (_binary_quality, "base rate") if binary else (_scale_quality, "straight line")
    rows = {"scores as they are": x, f"{name}, cross-fitted": reference, f"{method}, cross-fitted": predicted}
    return Assessment(method, x, y, predicted, level, fold, {row: measure(values, y) for row, values in rows.items()})


def draw_reliability(calibration: Calibration, assessment: Assessment) -> "Figure":
    """Two panels over histograms: the fitted curve among the ratings, and cross-fitted prediction against rating.

    Points are bins of like score or prediction with their 95 % intervals; on the diagonal, prediction and rating agree.

    Args:
        calibration: fitted to all the points.
        assessment: of the same points.

    Returns:
        A figure for ``therapysim.agents.figures.save``.
    """
    drawn = figure(10.0, 5.2)
    (fit_axes, agreement), (below_fit, below_agreement) = drawn.subplots(
        2, 2, sharex="col", gridspec_kw={"height_ratios": [4, 1]}
    )
    drawn.suptitle(_headline(assessment), fontsize=11)
    _draw_fit(fit_axes, calibration, assessment)
    _draw_agreement(agreement, assessment)
    for axes, values in ((below_fit, assessment.scores), (below_agreement, assessment.predicted)):
        axes.hist(values, bins=40, color=_GREY)
        axes.set_ylabel("count")
    below_fit.set_xlabel("score")
    below_agreement.set_xlabel("predicted rating, by a fit that had not seen it")
    drawn.align_ylabels()
    for axes in drawn.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return drawn


def _headline(assessment: Assessment) -> str:
    raw, reference, after = assessment.quality.values()
    # Raw scores on a scale of their own would make any map shine; they compare only where they are probabilities.
    name = "straight line"
    if is_binary(assessment.ratings):
        name, reference = ("base rate", reference) if math.isnan(raw["Brier"]) else ("scores as they are", raw)
    changes = [f"{measure} {_number(reference[measure])} → {_number(value)}" for measure, value in after.items()]
    folds = int(assessment.fold.max()) + 1
    head = f"{len(assessment.scores):,} ratings, {folds} folds, {name} → {assessment.method}: "
    return head + ", ".join(changes)


def _draw_fit(axes: "Axes", calibration: Calibration, assessment: Assessment) -> None:
    x, y = assessment.scores, assessment.ratings
    grid = np.linspace(x.min(), x.max(), 400)
    if x.min() >= 0 and x.max() <= 1 and is_binary(y):
        axes.plot([0, 1], [0, 1], **_DIAGONAL)
    axes.plot(grid, calibration(grid), color=_BLUE, label=f"{assessment.method} fit")
    _draw_bins(axes, reliability(x, y))
    axes.set(ylabel="mean rating", title="The map")
    axes.legend(loc="upper left", frameon=False)


def _draw_agreement(axes: "Axes", assessment: Assessment) -> None:
    bins = reliability(assessment.predicted, assessment.ratings)
    ends = [min(min(b.low, b.predicted) for b in bins), max(max(b.high, b.predicted) for b in bins)]
    axes.plot(ends, ends, **_DIAGONAL)
    _draw_bins(axes, bins)
    axes.set(ylabel="mean rating", title="Its reliability on ratings held out")
    axes.legend(loc="upper left", frameon=False)


def _draw_bins(axes: "Axes", bins: tuple[Bin, ...]) -> None:
    middle = [b.observed for b in bins]
    reach = [[b.observed - b.low for b in bins], [b.high - b.observed for b in bins]]
    axes.errorbar(
        [b.predicted for b in bins], middle, yerr=reach, fmt="o", color=_INK, markersize=4, capsize=2, linewidth=1,
        label=f"{len(bins)} bins, 95 % interval",
    )  # fmt: skip


def _fisher(r: float, n: int) -> Interval:
    """Source: Fisher 1921, "On the probable error of a coefficient of correlation": atanh r is normal, 1 / √(n - 3)."""
    middle, half = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, r))), _Z / math.sqrt(n - 3)
    return Interval(r, math.tanh(middle - half), math.tanh(middle + half), n)


def _spread(value: Interval, form: str) -> str:
    return f"{value.mean:{form}} [{value.low:{form}}, {value.high:{form}}]"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _deal(y: Floats, binary: bool, folds: int, seed: int) -> NDArray[np.int64]:
    """Which fold each point is held out in: chance alone decides, within each class where there are two."""
    smallest = min((y == 0).sum(), (y == 1).sum()) if binary else len(y)
    if smallest < folds:
        what = "points of the rarer class" if binary else "points"
        raise CalibrationError(f"{smallest} {what} cannot fill {folds} folds; ask for fewer, or give more ratings")
    fold = np.empty(len(y), dtype=np.int64)
    chance = np.random.default_rng(seed).random(len(y))
    fold[np.lexsort((chance, y if binary else np.zeros_like(y)))] = np.arange(len(y)) % folds
    return fold


def _line(x: Floats, y: Floats, at: Floats) -> Floats:
    """The least-squares line through the points, at new scores; level where the scores are all one."""
    slope = float(np.cov(x, y, bias=True)[0, 1] / x.var()) if np.ptp(x) > 0 else 0.0
    return np.asarray(y.mean() + slope * (at - x.mean()))


def _bin(x: Floats, y: Floats, binary: bool) -> Bin:
    n, mean = len(y), float(y.mean())
    middle, half = mean, 0.0
    if binary:
        middle = (mean + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z * math.sqrt(mean * (1 - mean) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    elif n > 1:
        half = _student(n - 1) * float(y.std(ddof=1)) / math.sqrt(n)
    return Bin(float(x.mean()), mean, middle - half, middle + half, n)


def _student(freedom: int) -> float:
    """Student's t at 95 %, by Abramowitz & Stegun 26.7.5; 0.2 % too small at 9 degrees of freedom."""
    return _Z + (_Z**3 + _Z) / (4 * freedom) + (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / (96 * freedom**2)


def _scale_quality(predicted: Floats, y: Floats) -> dict[str, float]:
    off = predicted - y
    return {"r": pearson(predicted, y), "RMSE": float(np.sqrt(np.mean(off**2))), "MAE": float(np.abs(off).mean())}


def _binary_quality(predicted: Floats, y: Floats) -> dict[str, float]:
    if predicted.min() < 0 or predicted.max() > 1:
        return dict.fromkeys(("Brier", "log loss", "ECE"), math.nan)
    p = np.clip(predicted, 1e-6, 1 - 1e-6)
    return {
        "Brier": float(np.mean((predicted - y) ** 2)),
        "log loss": float(-np.mean(np.where(y > 0, np.log(p), np.log1p(-p)))),
        "ECE": sum(b.count * abs(b.predicted - b.observed) for b in reliability(predicted, y)) / len(y),
    }
