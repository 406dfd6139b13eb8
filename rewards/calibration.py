"""Calibration: a monotone map from a score to what people said, fitted to human ratings, and kept.

    fitted = fit(scores, human_ratings, method="isotonic", note="ward diaries, two raters, CC BY 4.0")
    fitted.save("calibration.json");  load("calibration.json")(new_scores)

"isotonic" takes ratings on any scale, "platt" takes 0 and 1. Applying either needs numpy alone; fitting an isotonic map
needs scipy (the extra ``report``). How well a map does on ratings it has not seen:
``therapysim.agents.probes.reliability``.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from therapysim.errors import CalibrationError, require_count
from therapysim.files import whole

__all__ = ["MIN_POINTS", "Calibration", "fit", "load", "platt"]

Floats = NDArray[np.float64]
Method = Literal["isotonic", "platt"]

#: Fewer ratings than this are refused: they make three bins of ten, too few to see a curve in.
MIN_POINTS = 30

_FORMAT, _VERSION = "therapysim-calibration", 1
_METHODS = ("isotonic", "platt")


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted map from score to rating: rises or stays level, and never leaves the range of the ratings.

    Attributes:
        method: "isotonic" (straight lines between knots, level outside them) or "platt" (a logistic curve).
        points: how many ratings it was fitted to.
        low: the least of those ratings.
        high: the greatest.
        knots: isotonic: (score, rating), scores rising, ratings never falling.
        slope: platt: of the logit in the score, at least 0.
        intercept: platt: the logit at score 0.
        note: anything worth keeping, such as the ratings' origin and licence.

    Raises:
        CalibrationError: a field is not what it should be.
    """

    method: Method
    points: int
    low: float
    high: float
    knots: tuple[tuple[float, float], ...] = ()
    slope: float = 0.0
    intercept: float = 0.0
    note: str = ""

    def __post_init__(self) -> None:
        wrong = _first_fault(self)
        if wrong:
            raise CalibrationError(f"calibration: {wrong}; fit it again")

    def __call__(self, scores: ArrayLike) -> Floats:
        """The rating to expect at each score: any shape in, the same shape out, float64 in [low, high].

        Raises:
            CalibrationError: a score is not a finite number.
        """
        values = _numbers("scores", scores)
        if self.method == "platt":
            with np.errstate(over="ignore"):
                return _sigmoid(self.slope * values + self.intercept)
        x, y = np.array(self.knots).T
        # Rounding can lift the end of a line above the knot it runs to, by one bit; that would be a fall.
        above = y[np.minimum(np.searchsorted(x, values), len(x) - 1)]
        return np.asarray(np.minimum(np.interp(values, x, y), above))

    def save(self, path: str | Path) -> None:
        """Writes JSON, the whole file or none; what was there is replaced.

        Raises:
            CalibrationError: the file cannot be written.
        """
        target = Path(path)
        unused = ("knots",) if self.method == "platt" else ("slope", "intercept")
        kept = {name: value for name, value in asdict(self).items() if name not in unused}
        text = json.dumps({"format": _FORMAT, "version": _VERSION, **kept}, indent=1, ensure_ascii=False)
        try:
            with whole(target) as part:
                part.write_text(text + "\n", encoding="utf-8")
        except (OSError, ValueError) as error:
            raise CalibrationError(f"calibration '{path}' cannot be written: {error}; choose another path") from error


def load(path: str | Path) -> Calibration:
    """Reads what ``Calibration.save`` wrote; every number comes back bit for bit.

    Raises:
        CalibrationError: the file is missing, damaged, or was never a calibration.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CalibrationError(f"calibration '{path}' cannot be read as JSON: {error}; save it again") from error
    kind = (found.pop("format", None), found.pop("version", None)) if isinstance(found, dict) else (None, None)
    if kind != (_FORMAT, _VERSION):
        raise CalibrationError(
            f"'{path}' is no calibration this version can read: format and version are {kind}, expected "
            f"{(_FORMAT, _VERSION)}; give a file that Calibration.save wrote"
        )
    try:
        return Calibration(**found | {"knots": tuple((x, y) for x, y in found.get("knots", ()))})
    except (CalibrationError, TypeError, ValueError) as error:
        raise CalibrationError(f"calibration '{path}' is damaged: {error}; fit and save it again") from error


def fit(
    scores: ArrayLike,
    human_ratings: ArrayLike,
    method: Method = "isotonic",
    *,
    min_block: int | None = None,
    note: str = "",
) -> Calibration:
    """Fits the map from scores to ratings.

    Isotonic: points of equal score are pooled, the best rising step function is found, neighbouring steps are merged
    until each stands on ``min_block`` points, and each becomes one knot at its mean score and mean rating. Without the
    merging the ends, where few points lie, follow single ratings. Platt: see ``platt``.

    Args:
        scores: shape (n,), finite, n at least ``MIN_POINTS``.
        human_ratings: shape (n,); for Platt each 0 or 1.
        method: "isotonic" or "platt".
        min_block: fewest points under a knot; default the square root of n, at least 5.
        note: kept with the calibration.

    Raises:
        CalibrationError: the two differ in length, are not finite numbers, do not vary, are too few, or ratings do not
            rise with scores.
        ConfigError: ``min_block`` is not a positive whole number.

    Source: Oron & Flournoy 2017, "Centered Isotonic Regression", Statistics in Biopharmaceutical Research 9(3), for one
        knot at the middle of each step; the least number of points to a step is ours.
    """
    x, y = checked_pairs(scores, human_ratings, method)
    rise = pearson(x, y)
    if rise <= 0:
        raise CalibrationError(
            f"ratings do not rise with scores: Pearson r is {rise:.3f} over {len(x)} points, expected above 0; if low "
            "ratings mean high scores, turn one of the two round, else check that the rows belong together"
        )
    fitted = fit_pairs(x, y, method, min_block, note)
    if len(fitted.knots) == 1:
        raise CalibrationError(
            f"the best rising map of {len(x)} points is level: scores say too little about these ratings (Pearson r "
            f"{rise:.3f}); give more ratings, or a smaller min_block than {min_block or _block(len(x))}"
        )
    return fitted


def platt(logits: ArrayLike, targets: ArrayLike, steps: int = 100) -> tuple[Floats, Floats]:
    """Platt scaling of each column by itself: p = 1 / (1 + exp(-(slope · logit + intercept))).

    Targets are smoothed to (n₊ + 1) / (n₊ + 2) and 1 / (n₋ + 2), so that the slope stays finite where the classes part
    without overlap. Newton's method on standardised logits, each step halved until the loss does not rise.

    Args:
        logits: shape (n,) or (n, k), finite, on any scale.
        targets: the same shape, 0 or 1.
        steps: Newton steps at most.

    Returns:
        Slope and intercept, each of shape () or (k,). A constant column gets slope 0.

    Raises:
        CalibrationError: the two differ in shape, are empty, or hold something other than finite numbers.

    Source: Platt 1999, "Probabilistic Outputs for Support Vector Machines", eq. 8; Lin, Lin & Weng 2007, "A Note on
        Platt's Probabilistic Outputs for Support Vector Machines", Machine Learning 68, for the step halving.
    """
    x, y = _numbers("logits", logits), _numbers("targets", targets)
    if x.shape != y.shape or not x.ndim or not len(x):
        raise CalibrationError(f"logits has shape {x.shape}, targets {y.shape}, expected both (n,) or both (n, k)")
    centre, spread = x.mean(0), x.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    z, positive = (x - centre) / spread, (y > 0).sum(0)
    soft = np.where(y > 0, (positive + 1) / (positive + 2), 1 / (len(y) - positive + 2))
    rate = soft.mean(0)
    line = np.stack([np.zeros_like(rate), np.log(rate / (1 - rate))])
    for _ in range(steps):
        step = _newton_step(z, soft, line)
        line = line - step
        if np.max(np.abs(step), initial=0.0) < 1e-10:
            break
    slope = np.asarray(line[0] / spread)
    return slope, np.asarray(line[1] - slope * centre)


def fit_pairs(x: Floats, y: Floats, method: Method, min_block: int | None, note: str = "") -> Calibration:
    """``fit`` for pairs already checked, of any number and direction, as the folds of a cross-validation are."""
    if method == "platt":
        slope, intercept = platt(x, y)
        if slope < 0:  # of a curve that may not fall, the level one is then the best
            slope, intercept = platt(np.zeros_like(x), y)
        return Calibration(method, len(x), 0.0, 1.0, slope=float(slope), intercept=float(intercept), note=note)
    least = _block(len(x)) if min_block is None else require_count("min_block", min_block, 1)
    return Calibration(method, len(x), float(y.min()), float(y.max()), _isotonic(x, y, least), note=note)


def _block(points: int) -> int:
    return max(5, round(math.sqrt(points)))


def _isotonic(x: Floats, y: Floats, least: int) -> tuple[tuple[float, float], ...]:
    from scipy.optimize import isotonic_regression

    at, group, weight = np.unique(x, return_inverse=True, return_counts=True)
    mean = np.bincount(group, y) / weight
    steps = isotonic_regression(mean, weights=weight).blocks
    edges = _merge(steps, np.cumsum(weight), least)
    starts = edges[:-1]
    total = np.add.reduceat(weight, starts)
    # Rounding may not carry a knot out of its step, nor let a rating fall or leave the range.
    score = np.clip(np.add.reduceat(at * weight, starts) / total, at[starts], at[edges[1:] - 1])
    rating = np.clip(np.maximum.accumulate(np.add.reduceat(mean * weight, starts) / total), y.min(), y.max())
    return tuple(zip(score.tolist(), rating.tolist(), strict=True))


def _merge(steps: NDArray[np.int64], points: NDArray[np.int64], least: int) -> NDArray[np.int64]:
    """Edges of steps, thinned so that each holds ``least`` points or more; a short last one joins its neighbour."""
    edges, before = [0], 0
    for end in steps[1:]:
        if points[end - 1] - before >= least:
            edges.append(int(end))
            before = points[end - 1]
    return np.array([*edges[: max(1, len(edges) - 1)], steps[-1]], dtype=np.int64)


def _newton_step(z: Floats, soft: Floats, line: Floats) -> Floats:
    """What to take from (slope, intercept), both (k,) or (): Newton's step, halved while it raises the loss."""
    p = _sigmoid(z * line[0] + line[1])
    error, weight = p - soft, p * (1 - p)
    g1, g0 = (error * z).sum(0), error.sum(0)
    # The small ridge keeps a constant column solvable; it changes the path, not where it ends.
    h11, h10, h00 = (weight * z**2).sum(0) + 1e-9, (weight * z).sum(0), weight.sum(0) + 1e-9
    step = np.stack([h00 * g1 - h10 * g0, h11 * g0 - h10 * g1]) / (h11 * h00 - h10**2)
    now = _logistic_loss(z, soft, line)
    for _ in range(30):
        worse = _logistic_loss(z, soft, line - step) > now * (1 + 1e-12)
        if not np.any(worse):
            break
        step = np.where(worse, step / 2, step)
    return np.asarray(step)


def _logistic_loss(z: Floats, soft: Floats, line: Floats) -> Floats:
    logit = z * line[0] + line[1]
    return np.asarray((np.logaddexp(0.0, logit) - soft * logit).sum(0))


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -60, 60))))


def pearson(x: Floats, y: Floats) -> float:
    """Pearson's r, or not a number where either does not vary."""
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) > 0 and np.ptp(y) > 0 else math.nan


def checked_pairs(scores: ArrayLike, ratings: ArrayLike, method: str) -> tuple[Floats, Floats]:
    """Both as float64 arrays (n,), or the error that ``fit`` documents."""
    if method not in _METHODS:
        raise CalibrationError(f"method is {method!r}, expected one of {', '.join(_METHODS)}")
    x, y = checked_vector("scores", scores), checked_vector("human_ratings", ratings)
    check_lengths("scores", x, y)
    if len(x) < MIN_POINTS:
        raise CalibrationError(f"{len(x)} ratings, expected at least {MIN_POINTS}; collect more before calibrating")
    if np.ptp(x) == 0:
        raise CalibrationError(f"scores are all {x[0]:g}, expected scores that vary; check the column")
    if method == "platt" and not is_binary(y):
        odd = y[(y != 0) & (y != 1)][0]
        raise CalibrationError(f"human_ratings holds {odd:g}, platt expects 0 and 1 only; use method 'isotonic'")
    if np.ptp(y) == 0:
        raise CalibrationError(f"human_ratings are all {y[0]:g}, expected ratings that vary, of two classes or more")
    return x, y


def check_lengths(name: str, x: Floats, y: Floats) -> None:
    """Refuses scores and ratings that do not come in pairs."""
    if len(x) != len(y) or not len(x):
        raise CalibrationError(f"{name} has {len(x)} entries and human_ratings {len(y)}, expected one of each a text")


def checked_vector(name: str, values: ArrayLike) -> Floats:
    """Finite numbers as float64, shape (n,)."""
    array = _numbers(name, values)
    if array.ndim != 1:
        raise CalibrationError(f"{name} has shape {array.shape}, expected one dimension, (n,)")
    return array


def _numbers(name: str, values: ArrayLike) -> Floats:
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of unequal length
        raise CalibrationError(f"{name} cannot be made an array: {error}; give plain numbers") from error
    if array.dtype.kind not in "biuf":
        raise CalibrationError(f"{name} holds {array.dtype} values, expected numbers; convert them first")
    array = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise CalibrationError(
            f"{name} holds {len(bad)} NaN or infinite value(s), the first at index {bad[0]}; leave those rows out"
        )
    return array


def is_binary(y: Floats) -> bool:
    """Whether every rating is 0 or 1."""
    return bool(np.isin(y, (0.0, 1.0)).all())


def _first_fault(c: Calibration) -> str | None:
    """What is wrong with a calibration's fields, if anything; a file's fields may be of any type."""
    if c.method not in _METHODS:
        return f"method is {c.method!r}, expected one of {', '.join(_METHODS)}"
    if isinstance(c.points, bool) or not isinstance(c.points, int) or c.points < 1 or not isinstance(c.note, str):
        return f"points is {c.points!r} and note {c.note!r}, expected a positive whole number and text"
    flat = [c.low, c.high, c.slope, c.intercept, *(v for knot in c.knots for v in knot)]
    if not all(isinstance(v, int | float) and abs(v) < 1e300 for v in flat):
        return "a range, knot, slope or intercept is not a finite number"
    if c.method == "platt":
        return None if c.slope >= 0 and (c.low, c.high) == (0.0, 1.0) else "expected slope ≥ 0 and ratings of 0 and 1"
    x, y = [k[0] for k in c.knots], [k[1] for k in c.knots]
    rising = bool(x) and x == sorted(set(x)) and y == sorted(y)
    return None if rising and c.low <= y[0] and y[-1] <= c.high else "knots must rise and keep to the ratings' range"
