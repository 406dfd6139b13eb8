"""What every emotion sensor can do; the sensor over another's model; the one place where a sensor is opened by name."""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from therapysim.errors import SensorError
from therapysim.rewards.matrix import LABELS, affect
from therapysim.rewards.reading.emotions import NEUTRAL, EmotionSensor, readings, shipped_sensor
from therapysim.rewards.reading.memory import Memory
from therapysim.rewards.reading.pretrained import PretrainedSettings, TextModel, spell
from therapysim.state import Reading

__all__ = ["PretrainedSensor", "Sensor", "open_sensor"]

Floats = NDArray[np.float32]

_GENERIC = re.compile(r"label_?\d+")


class Sensor(Protocol):
    """Reads emotions from text; ``EmotionSensor`` documents each method."""

    thresholds: Floats

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Probability of each emotion, (n, 28) in [0, 1], columns as ``LABELS``."""

    def detect(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Which emotions each text shows, (n, 28)."""

    def affect(self, texts: Sequence[str]) -> Floats:
        """The Hourglass vector of each text, (n, 4) in [-1, 1]."""

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """The full reading of each text."""

    def embed(self, texts: Sequence[str]) -> Floats:
        """The encoder's embedding of each text, (n, width)."""


class PretrainedSensor:
    """Reads emotions with a GoEmotions classifier from the hub or a folder; behaves as ``EmotionSensor`` does.

    The columns are put in the order of ``LABELS`` by the names in the model's ``config.id2label``, whatever their
    case and spaces; labels beyond the 28 are left out. The labels are read as independent (sigmoid). A model that says
    ``problem_type: single_label_classification`` is refused: its probabilities share one unit, so that a second emotion
    lowers the first, and neither thresholds nor the matrix would hold. One that says nothing is taken as multi-label,
    as older GoEmotions checkpoints are. Probabilities are the model's own, uncalibrated. Threads may share one; a
    forked process must open its own, since PyTorch does not survive a fork in the middle of its work.

    Args:
        name: a hub id such as ``"SamLowe/roberta-base-go_emotions"``, or a folder with ``config.json``.
        settings: windows, batches, cache, device, precision.

    Raises:
        SensorError: the model cannot be had or read, or its labels are not the 28 of GoEmotions.
    """

    def __init__(self, name: str | Path, settings: PretrainedSettings | None = None) -> None:
        self.name, self.settings = str(name), settings or PretrainedSettings()
        self._model = TextModel(self.name, self.settings, classifier=True)
        self._model.require_kind("multi_label_classification")
        self._columns = _columns(self._model)
        #: Shape (28,): a label is present where its probability lies above this.
        self.thresholds: Floats = np.full(len(LABELS), self.settings.threshold, dtype=np.float32)
        self._probabilities = Memory(self._read, len(LABELS), self.settings.cache_mb)
        self._embeddings = Memory(self._model.embed, self._model.width, self.settings.cache_mb)

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Probability of each emotion, (n, 28) float32 in [0, 1], columns as ``LABELS``; blank text reads as neutral.

        Raises:
            SensorError: ``texts`` is one string, or holds something other than strings.
        """
        return self._probabilities(texts)

    def detect(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Which emotions each text shows, (n, 28): probabilities above ``thresholds``."""
        return self(texts) > self.thresholds

    def affect(self, texts: Sequence[str]) -> Floats:
        """The Hourglass vector of each text, (n, 4) in [-1, 1]."""
        return affect(self(texts))

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """The full reading of each text: probabilities, Hourglass vector, polarity."""
        return readings(texts, self(texts))

    def embed(self, texts: Sequence[str]) -> Floats:
        """What the encoder makes of each text, (n, width): the mean of its last layer over tokens; blank text, 0."""
        return self._embeddings(texts)

    def _read(self, texts: Sequence[str]) -> Floats:
        p = self._model.classify(texts, "sigmoid")[:, self._columns]
        p[[i for i, text in enumerate(texts) if not text.strip()]] = NEUTRAL
        return p

    def __deepcopy__(self, memo: dict[int, Any]) -> "PretrainedSensor":
        return self  # the copy of an environment's spec shares it, as threads may

    def __reduce__(self) -> tuple[Any, ...]:
        return PretrainedSensor, (self.name, self.settings)


def open_sensor(name: str | Path | None = None, settings: PretrainedSettings | None = None) -> Sensor:
    """An emotion sensor by name; opened once a process for equal arguments, so that environments share its cache.

    Args:
        name: None for the shipped sensor; a folder that ``therapysim train emotions`` wrote; or, for a model run by
            transformers, a folder with ``config.json`` or a hub id such as ``"SamLowe/roberta-base-go_emotions"``.
        settings: for a model run by transformers; the others do not look at them.

    Raises:
        SensorError: nothing can be read under that name, or it is no classifier of the 28 emotions.
    """
    if name is None:
        return shipped_sensor()
    if not isinstance(name, str | Path) or not str(name).strip():
        raise SensorError(
            f"emotions is {name!r}, expected a folder, or a hub id such as 'SamLowe/roberta-base-go_emotions'"
        )
    path = Path(name).expanduser()
    if not path.exists():
        return _open(str(name), settings or PretrainedSettings())
    # A folder written anew is opened anew.
    stamp = max((file.stat().st_mtime_ns for file in path.glob("*.json")), default=0)
    return _open(str(path.resolve()), settings or PretrainedSettings(), stamp)


@lru_cache(maxsize=2)
def _open(name: str, settings: PretrainedSettings, stamp: int = 0) -> Sensor:
    if (Path(name) / "emotions.json").is_file():
        return EmotionSensor(name)
    return PretrainedSensor(name, settings)


def _columns(model: TextModel) -> list[int]:
    """Where each of ``LABELS`` stands among the model's labels, found by name."""
    names = [spell(label) for label in model.labels]
    missing = [label for label in LABELS if names.count(spell(label)) != 1]
    if not missing:
        return [names.index(spell(label)) for label in LABELS]
    if all(_GENERIC.fullmatch(name) for name in names):
        raise SensorError(
            f"emotion model '{model.name}': its {len(names)} labels are called {model.labels[0]}, … in config.json, "
            "which does not say what they mean: download it, write their names from its card into id2label there, and "
            "give that folder. If it is a bare encoder, it has to be trained on GoEmotions first"
        )
    unknown = [label for label in model.labels if spell(label) not in LABELS] or ["none"]
    raise SensorError(
        f"emotion model '{model.name}': of the 28 GoEmotions labels its config.id2label lacks, or has twice, "
        f"{', '.join(missing)}; unknown here: {', '.join(unknown)}. Give a model of all 28, such as "
        "'SamLowe/roberta-base-go_emotions', or mend the names in its config.json"
    )
