"""The tone guard: how negative a line is, and whether it is too negative to be said to a patient."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from therapysim.errors import ConfigError, SensorError, require_number
from therapysim.rewards.matrix import LABELS
from therapysim.rewards.reading.memory import check_texts
from therapysim.rewards.reading.open_sensor import Sensor, open_sensor
from therapysim.rewards.reading.pretrained import PretrainedClassifier, PretrainedSettings, spell
from therapysim.rewards.reading.relevance import Gold, load_gold

__all__ = [
    "SENTIMENT",
    "EmotionNegativity",
    "Negativity",
    "SentimentNegativity",
    "ToneGuard",
    "ToneGuardSettings",
    "open_tone_guard",
]

Floats = NDArray[np.float32]

#: The hub id of the sentiment model of this project's rule.
SENTIMENT = "Varnikasiva/sentiment-classification-bert-mini"

_HOSTILE = [LABELS.index(label) for label in ("anger", "annoyance", "disapproval", "disgust")]
_NEGATIVE, _POSITIVE = ("negative", "neg"), ("positive", "pos")


class Negativity(Protocol):
    """How negative a text is."""

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Shape (n,), float32 in [0, 1]; 0 for blank text."""


@dataclass(frozen=True, slots=True)
class ToneGuardSettings:
    """Settings of the tone guard.

    Attributes:
        reject_at: a line is rejected where its negativity is at least this; 0.99 is a given of this project.
    """

    reject_at: float = 0.99

    def __post_init__(self) -> None:
        require_number("reject_at", self.reject_at, 0.0, 1.0)


class ToneGuard:
    """Says which lines are too negative to be said to a patient.

    Args:
        negativity: texts -> negativity.
        settings: from where on a line is rejected.
    """

    def __init__(self, negativity: Negativity, settings: ToneGuardSettings | None = None) -> None:
        self._negativity, self.settings = negativity, settings or ToneGuardSettings()

    def negativity(self, texts: Sequence[str]) -> Floats:
        """How negative each line is, (n,) float32 in [0, 1]; 0 for blank text.

        Raises:
            SensorError: ``texts`` is one string, or holds something other than strings.
        """
        check_texts(texts)
        return self._negativity(texts) if len(texts) else np.zeros(0, dtype=np.float32)

    def rejects(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Which lines are rejected, (n,): negativity >= ``reject_at``."""
        return self.negativity(texts) >= self.settings.reject_at


class SentimentNegativity:
    """The chance of "negative" by a sentiment model (softmax).

    Its classes are found by name: one of negative/neg and one of positive/pos, in any case; others, such as neutral,
    take their share of the softmax.

    Args:
        classify: the sentiment model.

    Raises:
        SensorError: its classes are not named so.
    """

    def __init__(self, classify: PretrainedClassifier) -> None:
        names = [spell(label) for label in classify.labels]
        negative = [i for i, name in enumerate(names) if name in _NEGATIVE]
        if len(negative) != 1 or sum(name in _POSITIVE for name in names) != 1:
            raise SensorError(
                f"sentiment model '{classify.name}': its classes are {', '.join(classify.labels)}, expected one called "
                "negative and one called positive. Where they are LABEL_0, LABEL_1, …, take their meaning from the "
                "model's card and give it: labels=('negative', 'neutral', 'positive') in the model's order"
            )
        self._classify, self._column = classify, negative[0]

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Shape (n,), float32 in [0, 1]; 0 for blank text."""
        return np.ascontiguousarray(self._classify(texts)[:, self._column])


class EmotionNegativity:
    """The stand-in without a sentiment model: hostility by the emotion sensor, on a scale set by the gold corpus.

        h(x) = 1 - Π (1 - p_i)  over anger, annoyance, disapproval, disgust: the chance of any of them
        negativity = 1 / (1 + exp(-k (logit h - m)))

    m lies midway between the median logit h of the clinical phrases and that of the hostile lines, so that 0.5 is as
    far from the one as from the other. k puts 0.99 where half the hostile lines reach it, or further up where more
    than one clinical phrase in a hundred would. The scale is set anew for each sensor.

    Sadness and fear are left out on purpose: a good therapist names them, and a guard that took "you sound hopeless"
    for a negative tone would punish reflection.

    Args:
        sensor: reads the 28 emotions.
        gold: the corpus; the shipped one by default.

    Raises:
        SensorError: by this sensor the hostile lines are no more hostile than the clinical ones.
    """

    def __init__(self, sensor: Sensor, gold: Gold | None = None) -> None:
        self._sensor, gold = sensor, gold or load_gold()
        clinical, hostile = self._hostility(gold.phrases), self._hostility(gold.hostile)
        low, high = float(np.median(clinical)), float(np.median(hostile))
        if high - low < 1e-3:
            raise SensorError(
                f"the emotion sensor reads hostile lines (median log-odds {high:.2f}) as no more hostile than clinical "
                f"phrases ({low:.2f}), so no tone can be told from it: use another sensor or a sentiment model"
            )
        self._middle = (low + high) / 2
        self._slope = float(np.log(99.0) / (max(high, float(np.quantile(clinical, 0.99))) - self._middle))

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Shape (n,), float32 in [0, 1]; 0 for blank text."""
        negativity = 1.0 / (1.0 + np.exp(-self._slope * (self._hostility(texts) - self._middle)))
        return np.array([n if t.strip() else 0.0 for t, n in zip(texts, negativity, strict=True)], dtype=np.float32)

    def _hostility(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Log-odds that a text shows any hostile emotion, (n,)."""
        absent = np.prod(1.0 - self._sensor(texts)[:, _HOSTILE].astype(np.float64), axis=1)
        absent = np.clip(absent, 1e-6, 1.0 - 1e-6)
        return np.asarray(np.log((1.0 - absent) / absent))


def open_tone_guard(
    model: str | Path | None = None,
    *,
    sensor: Sensor | None = None,
    gold: Gold | None = None,
    labels: Sequence[str] | None = None,
    settings: ToneGuardSettings | None = None,
    pretrained: PretrainedSettings | None = None,
) -> ToneGuard:
    """The tone guard.

    Args:
        model: the id or folder of a Hugging Face sentiment model, such as ``SENTIMENT``; None for the embedded
            stand-in over ``sensor``.
        sensor: for the stand-in; the shipped one by default.
        gold: for the stand-in's scale; the shipped corpus by default.
        labels: the model's classes in its order, where its own names say nothing.
        settings: from where on a line is rejected.
        pretrained: how a Hugging Face model is run.

    Raises:
        ConfigError: an argument of the stand-in is given beside a model, or one of a model without it.
        SensorError: the model cannot be had or read, or has no negative and positive class.
    """
    if model is not None and (sensor is not None or gold is not None):
        raise ConfigError("sensor and gold are the stand-in's, and a model is given: give one or the other")
    if model is None and (labels is not None or pretrained is not None):
        raise ConfigError("labels and pretrained are a model's, and none is given: name a model or leave them out")
    if model is None:
        return ToneGuard(EmotionNegativity(sensor or open_sensor(), gold), settings)
    return ToneGuard(SentimentNegativity(PretrainedClassifier(model, pretrained, labels)), settings)
