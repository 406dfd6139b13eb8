"""Fit the map from the sensor's softened polarity to EmoBank's valence, and show what each step of it is worth.

    therapysim train valence --data EMOBANK/emobank.csv --out rewards/reading/weights/valence.json

The CSV has the columns split, V and text. Settings are compared and the map is fitted on its train rows; every r that
is printed is on its dev rows. No other split is read.
"""

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from therapysim.errors import CalibrationError
from therapysim.rewards.calibration import fit
from therapysim.rewards.matrix import affect, polarity, valence
from therapysim.rewards.reading.emotions import WEIGHTS, shipped_sensor
from therapysim.rewards.reading.valence import ValenceSettings, soft_polarity
from therapysim.train.sensor.corpus import file_hash

__all__ = ["fit_valence", "grid", "read_emobank", "steps", "steps_table"]

Floats = NDArray[np.float64]

_TEMPERATURES, _WIDTHS = (1.0, 1.5, 2.0, 2.5, 3.0), (0.05, 0.1, 0.2)
_NOTE = "Fitted to the train split of EmoBank (Buechel & Hahn 2017, JULIELab), CC BY-SA 4.0, as this file is; sensor "


def fit_valence(data: str, out: str) -> list[dict[str, Any]]:
    """Writes the map and returns the table of ``steps``."""
    texts, ratings = read_emobank(data, "train")
    p = shipped_sensor()(texts).astype(np.float64)
    fitted = fit(soft_polarity(p), ratings, "isotonic", note=_NOTE + file_hash(WEIGHTS / "emotions.onnx")[:12])
    fitted.save(out)
    dev, dev_ratings = read_emobank(data, "dev")
    return steps(shipped_sensor()(dev).astype(np.float64), dev_ratings, fitted)


def read_emobank(path: str, split: str) -> tuple[list[str], Floats]:
    """Texts of one split and their valence, 1 to 5.

    Raises:
        CalibrationError: the file cannot be read, lacks a column, or has no such split.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == split]
        ratings = np.array([float(row["V"]) for row in rows])
        texts = [row["text"] for row in rows]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CalibrationError(f"{path!r} is no EmoBank file with the columns split, V, text: {error!r}") from error
    if not rows:
        raise CalibrationError(f"{path!r} has no rows of the split {split!r}")
    return texts, ratings


def steps_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """What ``fit_valence`` returns, in Markdown."""
    lines = [f"| {row['step']} | {row['r']:.3f} | {row['low']:.3f} to {row['high']:.3f} |" for row in rows]
    return "\n".join(["| reading | r with human valence, EmoBank dev | 95 % interval |", "|---|---|---|", *lines])


def steps(probabilities: Floats, ratings: Floats, fitted: Callable[[Floats], Floats]) -> list[dict[str, Any]]:
    """Pearson r with the ratings after each step, with a 95 % bootstrap interval."""
    raw, chosen = affect(probabilities), ValenceSettings()
    scores: dict[str, Any] = {
        "Σ p · VALENCE_MAP": valence(probabilities),
        "matrix, hard count, eps 0.01": polarity(raw, eps=0.01),
        "matrix, hard count, eps 0.05 (the state's polarity)": polarity(raw),
        "matrix, smooth count": polarity(raw, count="smooth", width=chosen.width),
        f"and softened, T = {chosen.temperature:g}": soft_polarity(probabilities),
        "and isotonic": fitted(soft_polarity(probabilities)),
    }
    return [{"step": name, **_correlation(np.asarray(s, dtype=np.float64), ratings)} for name, s in scores.items()]


def grid(
    data: str, temperatures: tuple[float, ...] = _TEMPERATURES, widths: tuple[float, ...] = _WIDTHS, folds: int = 5
) -> list[dict[str, Any]]:
    """Cross-fitted r on the train rows for each pair of settings: how the defaults were chosen."""
    texts, ratings = read_emobank(data, "train")
    p = shipped_sensor()(texts).astype(np.float64)
    part = np.random.default_rng(0).permutation(len(texts)) % folds
    rows = []
    for temperature in temperatures:
        for width in widths:
            q = soft_polarity(p, replace(ValenceSettings(), temperature=temperature, width=width))
            held = np.zeros(len(q))
            for k in range(folds):
                held[part == k] = fit(q[part != k], ratings[part != k], "isotonic")(q[part == k])
            rows.append({"T": temperature, "w": width, "r": float(np.corrcoef(held, ratings)[0, 1])})
    return rows


def _correlation(scores: Floats, ratings: Floats, draws: int = 2000) -> dict[str, float]:
    rng, n = np.random.default_rng(0), len(ratings)
    drawn = [np.corrcoef(scores[i], ratings[i])[0, 1] for i in rng.integers(0, n, (draws, n))]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {"r": float(np.corrcoef(scores, ratings)[0, 1]), "low": float(low), "high": float(high)}
