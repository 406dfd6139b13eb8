"""What the challenge set's shares are held against: keywords, the sensor's answers shuffled, and their intervals."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from therapysim.rewards.matrix import LABELS

Floats = NDArray[np.float32]

#: texts -> probabilities, (n, 28), columns in the order of LABELS. Where it has ``thresholds``, (28,), they are used.
Sensor = Callable[[Sequence[str]], Floats]

NEUTRAL = LABELS.index("neutral")

#: Words of the keyword baseline, a label's words a line; what any programmer would write down in five minutes.
KEYWORDS = {
    "admiration": "wonderful amazing brilliant beautiful impressed admire kind best great",
    "amusement": "hilarious funny laugh laughed laughing haha amusing",
    "anger": "angry furious hate rage livid shouted loathe",
    "annoyance": "annoying annoys annoyed irritating",
    "approval": "good agree nice pleased fine okay",
    "caring": "care caring",
    "confusion": "understand confused",
    "curiosity": "what when how why",
    "disappointment": "disappointed letdown hopeless",
    "disapproval": "disapprove wrong bad",
    "disgust": "disgusting disgusts revolting sick",
    "embarrassment": "embarrassed ashamed mortified shame",
    "excitement": "excited exciting thrilled",
    "fear": "afraid scared terrified fear frightened dread",
    "gratitude": "thank thanks grateful thankful",
    "grief": "grief died funeral",
    "joy": "happy happier joy glad enjoyed overjoyed lovely",
    "love": "love loved adore",
    "nervousness": "nervous anxious worried panic",
    "optimism": "hope hopeful",
    "pride": "proud pride",
    "relief": "relief relieved phew",
    "remorse": "sorry regret guilty forgive",
    "sadness": "sad unhappy lonely cry cried crying awful miss heartbroken devastated",
}


def keywords(texts: Sequence[str]) -> Floats:
    """The keyword baseline: 0.6 for each label one of whose words stands in the text, else neutral 0.9."""
    rows = np.zeros((len(texts), len(LABELS)), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        words = set(re.findall(r"[a-z']+", text.lower()))
        row[[LABELS.index(label) for label, known in KEYWORDS.items() if words & set(known.split())]] = 0.6
        row[NEUTRAL] = 0.0 if row.any() else 0.9
    return rows


class Shuffled:
    """The floor: a sensor that answers each text with its reading of another one, drawn by a seed."""

    def __init__(self, sensor: Sensor, seed: int = 0) -> None:
        self._sensor, self._seed = sensor, seed
        self.thresholds = getattr(sensor, "thresholds", np.ones(len(LABELS)))

    def __call__(self, texts: Sequence[str]) -> Floats:
        return self._sensor(texts)[np.random.default_rng(self._seed).permutation(len(texts))]


@dataclass(frozen=True, slots=True)
class Share:
    """``right`` of ``n``, with its 95 % interval."""

    right: int
    n: int

    @property
    def value(self) -> float:
        return self.right / self.n if self.n else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Source: Wilson 1927, the score interval; it stays in [0, 1] where few or all are right."""
        if not self.n:
            return 0.0, 1.0
        z, p = 1.959964, self.value
        scale = 1 + z**2 / self.n
        centre, half = p + z**2 / (2 * self.n), z * sqrt(p * (1 - p) / self.n + z**2 / (4 * self.n**2))
        return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.2f} [{low:.2f}, {high:.2f}]"
