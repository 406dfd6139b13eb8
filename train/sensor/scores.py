"""How well a sensor reads: F1 with thresholds that no text helped to choose for itself, and calibration error."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from therapysim.rewards.calibration import platt
from therapysim.rewards.matrix import LABELS
from therapysim.train.sensor.sensor_settings import SensorTrainConfig

__all__ = ["calibration_error", "cross_fit", "interval", "pick_thresholds", "sigmoid"]

Matrix = NDArray[np.float64]


def cross_fit(logits: Matrix, targets: Matrix, config: SensorTrainConfig) -> dict[str, Any]:
    """Scores every fold of dev with a calibration and thresholds chosen on the others."""
    fold = np.random.default_rng(config.seed).permutation(len(logits)) % config.folds
    probabilities, predicted = np.zeros_like(logits), np.zeros(logits.shape, dtype=bool)
    for k in range(config.folds):
        own, others = fold == k, fold != k
        slope, intercept = platt(logits[others], targets[others])
        probabilities[own] = sigmoid(logits[own] * slope + intercept)
        rest = sigmoid(logits[others] * slope + intercept)
        predicted[own] = probabilities[own] > pick_thresholds(rest, config)
    return {
        "scores": scores(predicted, targets) | {"ece": calibration_error(probabilities, targets)},
        "interval": interval(predicted, targets, config.seed),
        "labels": label_table(predicted, targets),
        "texts": len(logits),
    }


def interval(predicted: NDArray[np.bool_], targets: Matrix, seed: int, draws: int = 1000) -> dict[str, list[float]]:
    """95 % bootstrap intervals of macro- and micro-F1 over the texts."""
    rng = np.random.default_rng(seed)
    hits, found, there = predicted & (targets > 0), predicted.astype(float), targets
    weights = rng.multinomial(len(targets), np.full(len(targets), 1 / len(targets)), size=draws).astype(float)
    h, f, t = weights @ hits.astype(float), weights @ found, weights @ there
    macro = (2 * h / np.maximum(1, f + t)).mean(1)
    micro = 2 * h.sum(1) / (f.sum(1) + t.sum(1))
    return {
        name: [round(float(v), 4) for v in np.quantile(values, (0.025, 0.975))]
        for name, values in (("macro_f1", macro), ("micro_f1", micro))
    }


def sigmoid(values: Matrix) -> Matrix:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -60, 60))))


def pick_thresholds(probabilities: Matrix, config: SensorTrainConfig) -> Matrix:
    """Thresholds, (28,), at which each label's expected F1 is greatest, moved towards the median of all.

    Expected by the calibrated probabilities themselves: hits = Σ p over the texts above the threshold. Counting hits
    instead rests a rare label's threshold on a dozen texts.

    Source: Lipton, Elkan & Naryanaswamy 2014, "Optimal Thresholding of Classifiers to Maximize F1 Measure".
    """
    grid = np.linspace(0.03, 0.7, 68)
    above = [probabilities > t for t in grid]
    expected = [2 * (probabilities * a).sum(0) / np.maximum(1e-9, a.sum(0) + probabilities.sum(0)) for a in above]
    best = grid[np.argmax(expected, axis=0)]
    return np.asarray((1 - config.shrinkage) * best + config.shrinkage * np.median(best))


def f1_table(predicted: NDArray[np.bool_], targets: Matrix) -> Matrix:
    hits = (predicted & (targets > 0)).sum(0)
    return np.asarray(2 * hits / np.maximum(1, predicted.sum(0) + targets.sum(0)))


def scores(predicted: NDArray[np.bool_], targets: Matrix) -> dict[str, float]:
    hits = float((predicted & (targets > 0)).sum())
    micro = 2 * hits / (float(predicted.sum()) + float(targets.sum()))
    return {"macro_f1": float(f1_table(predicted, targets).mean()), "micro_f1": micro}


def told(found: Mapping[str, float]) -> str:
    """Scores on one line."""
    return ", ".join(f"{name} {value:.4f}" for name, value in found.items())


def label_table(predicted: NDArray[np.bool_], targets: Matrix) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and the number of positives of every label."""
    hits = (predicted & (targets > 0)).sum(0)
    precision, recall = hits / np.maximum(1, predicted.sum(0)), hits / np.maximum(1, targets.sum(0))
    columns = {"precision": precision, "recall": recall, "f1": f1_table(predicted, targets), "n": targets.sum(0)}
    return {label: {k: round(float(v[i]), 4) for k, v in columns.items()} for i, label in enumerate(LABELS)}


def calibration_error(probabilities: Matrix, targets: Matrix, bins: int = 15) -> float:
    """Expected calibration error over all labels pooled, equal-width bins. Source: Guo et al. 2017."""
    p, y = probabilities.ravel(), targets.ravel()
    bucket = np.minimum((p * bins).astype(int), bins - 1)
    gaps = [abs(p[bucket == b].sum() - y[bucket == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(p))
