"""Valence as people rate it: the sensor's probabilities, softened, through the matrix, onto EmoBank's scale.

    z = logit p              what the sensor reads, calibrated to GoEmotions
    p' = 1 / (1 + exp(-z / T))   softened: a faint emotion counts for more than its probability
    d = clip(p' · M, -1, 1)  the matrix, unchanged
    q = Σ d / max(1, Σ d² / (d² + w²))   polarity with the smooth count
    rating = isotonic(q)     fitted to EmoBank's train split

The state of a session does not go through this: there e_t is p · M, and polarity has the hard count. This is for
whoever wants one number that agrees with people as well as the matrix can; ``rewards/README.md`` has the gain of each
step.

Source: Buechel & Hahn 2017, "EmoBank", EACL: sentences with valence rated from 1 to 5. ``weights/valence.json`` is
derived from its ratings and stands under their licence, CC BY-SA 4.0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from therapysim.errors import require_number
from therapysim.rewards.calibration import Calibration, load
from therapysim.rewards.matrix import affect, polarity
from therapysim.rewards.reading.emotions import WEIGHTS, shipped_sensor
from therapysim.rewards.reading.open_sensor import Sensor

__all__ = ["VALENCE", "ValenceReader", "ValenceSettings", "soft_polarity", "soften"]

#: The shipped map from softened polarity to rating.
VALENCE = WEIGHTS / "valence.json"

# EmoBank's scale.
_LOW, _HIGH = 1.0, 5.0


@dataclass(frozen=True, slots=True)
class ValenceSettings:
    """Settings of the reading, chosen on EmoBank's train split for the shipped sensor.

    Attributes:
        temperature: T; 1 leaves the probabilities as they are.
        width: w, the half-width of the smooth count.
    """

    temperature: float = 2.0
    width: float = 0.1

    def __post_init__(self) -> None:
        require_number("temperature", self.temperature, 0.1, 100.0)
        require_number("width", self.width, 1e-6, 2.0)


class ValenceReader:
    """Reads how pleasant people would find a text.

    Args:
        sensor: reads the emotions; the shipped one by default, for which the settings and the map were made.
        calibration: from softened polarity to a rating from 1 to 5; the shipped one by default.
        settings: temperature and width.

    Raises:
        CalibrationError: the shipped map is missing or damaged.
    """

    def __init__(
        self,
        sensor: Sensor | None = None,
        calibration: Calibration | None = None,
        settings: ValenceSettings | None = None,
    ) -> None:
        self._sensor = sensor or shipped_sensor()
        self._calibration = calibration or _shipped_calibration()
        self._settings = settings or ValenceSettings()

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Valence of each text, (n,) in [-1, 1]: the rating to expect, 1 to 5, moved to that range."""
        return 2.0 * (self.ratings(texts) - _LOW) / (_HIGH - _LOW) - 1.0

    def ratings(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """The rating to expect of each text, (n,), on EmoBank's scale from 1 (unpleasant) to 5 (pleasant)."""
        return self._calibration(soft_polarity(self._sensor(texts), self._settings))


def soften(probabilities: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Probabilities with their log-odds divided by the temperature, any shape.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", temperature scaling, here label by label.
    """
    p = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-7, 1.0 - 1e-7)
    return np.asarray(1.0 / (1.0 + np.exp(-np.log(p / (1.0 - p)) / temperature)))


def soft_polarity(probabilities: ArrayLike, settings: ValenceSettings | None = None) -> NDArray[np.float64]:
    """Polarity of softened probabilities with the smooth count: (n, 28) -> (n,) in [-1, 1]."""
    chosen = settings or ValenceSettings()
    dimensions = affect(soften(probabilities, chosen.temperature))
    return polarity(dimensions, count="smooth", width=chosen.width).astype(np.float64)


@lru_cache(maxsize=1)
def _shipped_calibration() -> Calibration:
    return load(Path(VALENCE))
