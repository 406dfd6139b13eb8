"""Is a text clinical talk at all? Its nearness to a gold corpus of clinical phrases, in an encoder's space."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import yaml
from numpy.typing import NDArray

from therapysim.errors import ConfigError, require_count, require_number
from therapysim.rewards.reading.open_sensor import Sensor, open_sensor
from therapysim.rewards.reading.pretrained import PretrainedEncoder, PretrainedSettings

__all__ = [
    "GOLD",
    "PSYCHBERT",
    "STAND_IN",
    "Embedder",
    "Gold",
    "GoldRelevance",
    "Relevance",
    "RelevanceSettings",
    "load_gold",
    "open_relevance",
]

Floats = NDArray[np.float32]

#: Texts -> embeddings, (n, width). Blank text may embed as zeros, which is near to nothing.
Embedder = Callable[[Sequence[str]], Floats]

#: The hub id of an encoder of mental-health text (BERT-base, cased).
PSYCHBERT = "mnaylor/psychbert-cased"

#: The shipped gold corpus.
GOLD = Path(__file__).parent / "gold.yaml"

_SECTIONS = ("clinical", "background", "hostile")


class Relevance(Protocol):
    """How clinical a text is."""

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Shape (n,), float32 in [-1, 1]; 0 for blank text."""


@dataclass(frozen=True, slots=True)
class Gold:
    """A gold corpus, as ``load_gold`` reads it.

    Attributes:
        clinical: group -> phrases that a therapist may well say.
        background: plain talk of other matters, which marks where ordinary text lies.
        hostile: lines that no therapist may say; only the tone guard looks at them.
    """

    clinical: Mapping[str, tuple[str, ...]]
    background: tuple[str, ...]
    hostile: tuple[str, ...]

    @property
    def phrases(self) -> tuple[str, ...]:
        """The clinical phrases of all groups, in order."""
        return tuple(phrase for group in self.clinical.values() for phrase in group)


@dataclass(frozen=True, slots=True)
class RelevanceSettings:
    """Settings of the relevance judge.

    Attributes:
        nearest: a text's relevance is the mean cosine to this many of its nearest clinical phrases. One would hang on
            a single phrase's wording; all would ask a text to be near safety planning and grief at once.
        centred: the mean of the background is taken off the embeddings first: an encoder's embeddings share a
            direction, which lifts every cosine and tells nothing.
        contrast: from 0 to 1, how much the cosine to the nearest background lines counts against a text.
    """

    nearest: int = 5
    centred: bool = True
    contrast: float = 0.0

    def __post_init__(self) -> None:
        require_count("nearest", self.nearest, 1)
        require_number("contrast", self.contrast, 0.0, 1.0)


#: The stand-in's own settings: the sensor's embedding tells a subject less well than an encoder made for that, and
#: beside the background the clinical lines stand out better.
STAND_IN = RelevanceSettings(contrast=1.0)


class GoldRelevance:
    """Relevance by nearness to the gold corpus: the mean of the ``nearest`` largest cosines.

        z(x) = e(x) / |e(x)| - b    b: mean of e / |e| over the background
        r(x) = (near(x, clinical) - contrast · near(x, background)) / (1 + contrast)
        near(x, G) = mean of the k largest cos(z(x), z(g)), g in G

    Args:
        embed: texts -> embeddings.
        gold: the corpus; the shipped one by default.
        settings: how many neighbours, centred or not, contrast.

    Source: clinical relevance as cosine to a gold corpus is a given of this project. The shared direction: Ethayarajh
    2019, "How Contextual are Contextualized Word Representations?", section 4.1.
    """

    def __init__(self, embed: Embedder, gold: Gold | None = None, settings: RelevanceSettings | None = None) -> None:
        self._embed, self.settings = embed, settings or RelevanceSettings()
        gold = gold or load_gold()
        kinds = _unit(embed(gold.phrases)), _unit(embed(gold.background))
        if self.settings.nearest > min(map(len, kinds)):
            raise ConfigError(
                f"nearest is {self.settings.nearest}, the gold corpus has {len(kinds[0])} clinical phrases and "
                f"{len(kinds[1])} of background"
            )
        self._centre = kinds[1].mean(axis=0) * np.float32(self.settings.centred)
        self._clinical, self._background = map(self._place, kinds)

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Shape (n,), float32 in [-1, 1]; 0 for blank text.

        Raises:
            SensorError: ``texts`` is one string, or holds something other than strings.
        """
        if not len(texts):
            return np.zeros(0, dtype=np.float32)
        placed = self._place(_unit(self._embed(texts)))
        weight = self.settings.contrast
        near = self._near(placed, self._clinical) - weight * self._near(placed, self._background)
        spoken = np.array([bool(text.strip()) for text in texts])
        return np.asarray(np.where(spoken, np.clip(near / (1.0 + weight), -1.0, 1.0), 0.0), dtype=np.float32)

    def _place(self, units: Floats) -> Floats:
        return _unit(units - self._centre)

    def _near(self, placed: Floats, phrases: Floats) -> Floats:
        # Row by row: a product of whole matrices adds up in another order, and a score must not hang on its batch.
        cosines = np.stack([phrases @ row for row in placed])
        return np.asarray(np.sort(cosines, axis=1)[:, -self.settings.nearest :].mean(axis=1), dtype=np.float32)


def open_relevance(
    model: str | Path | None = None,
    *,
    sensor: Sensor | None = None,
    gold: Gold | None = None,
    settings: RelevanceSettings | None = None,
    pretrained: PretrainedSettings | None = None,
) -> GoldRelevance:
    """The relevance judge.

    Args:
        model: the id or folder of a Hugging Face encoder, such as ``PSYCHBERT``, mean-pooled over tokens; None for
            the embedded stand-in, the embeddings of ``sensor``'s encoder.
        sensor: for the stand-in; the shipped one by default.
        gold: the corpus; the shipped one by default.
        settings: neighbours, centring, contrast; ``RelevanceSettings()`` for a model, ``STAND_IN`` without.
        pretrained: how a Hugging Face model is run.

    Raises:
        ConfigError: a sensor is given beside a model, or settings of a model without one.
        SensorError: the model cannot be had or read.
    """
    if model is not None and sensor is not None:
        raise ConfigError("sensor is the stand-in's, and a model is given: give one or the other")
    if model is None and pretrained is not None:
        raise ConfigError("pretrained is a model's, and none is given: name a model or leave it out")
    if model is not None:
        return GoldRelevance(PretrainedEncoder(model, pretrained), gold, settings)
    return GoldRelevance((sensor or open_sensor()).embed, gold, settings or STAND_IN)


def load_gold(path: str | Path | None = None) -> Gold:
    """A gold corpus from a YAML file: ``clinical`` (group -> phrases), ``background`` and ``hostile`` (phrases).

    Args:
        path: the file; the shipped corpus where None.

    Raises:
        ConfigError: the file cannot be read, or a section is missing, unknown, empty, or holds what is no text, or a
            phrase stands there twice.
    """
    return _shipped_gold() if path is None else _read_gold(Path(path))


@lru_cache(maxsize=1)
def _shipped_gold() -> Gold:
    return _read_gold(GOLD)


def _read_gold(path: Path) -> Gold:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"gold corpus {path} cannot be read as YAML: {error}") from error
    if not isinstance(found, dict) or set(found) != set(_SECTIONS):
        sections = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
        raise ConfigError(f"gold corpus {path} holds {sections}, expected the sections {', '.join(_SECTIONS)}")
    groups = found["clinical"]
    if not isinstance(groups, dict) or not groups:
        raise ConfigError(f"gold corpus {path}: clinical is {groups!r}, expected named groups of phrases")
    clinical = {str(name): _phrases(path, f"clinical.{name}", phrases) for name, phrases in groups.items()}
    gold = Gold(MappingProxyType(clinical), *(_phrases(path, s, found[s]) for s in _SECTIONS[1:]))
    _refuse_doubles(path, [*gold.phrases, *gold.background, *gold.hostile])
    return gold


def _phrases(path: Path, where: str, found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not found:
        raise ConfigError(f"gold corpus {path}: {where} is {found!r}, expected a list of phrases")
    for i, phrase in enumerate(found):
        if not isinstance(phrase, str) or not phrase.strip():
            raise ConfigError(
                f"gold corpus {path}: {where}[{i}] is {phrase!r}, expected text; quote it if it has a colon"
            )
    return tuple(phrase.strip() for phrase in found)


def _refuse_doubles(path: Path, phrases: Sequence[str]) -> None:
    plain = [" ".join(phrase.split()).casefold() for phrase in phrases]
    twice = sorted({phrase for phrase in plain if plain.count(phrase) > 1})
    if twice:
        raise ConfigError(f"gold corpus {path} has {len(twice)} phrases twice, expected each once: {twice[0]!r}")


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), dtype=np.float32)
