"""Tone and relevance of candidates: by the shipped sensor, or by models of one's own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from therapysim.errors import ConfigError, ModelError, SensorError
from therapysim.models.fingerprint import fingerprint
from therapysim.rewards.reading.relevance import PSYCHBERT, Relevance, open_relevance
from therapysim.rewards.reading.tone_guard import SENTIMENT, ToneGuard, open_tone_guard

__all__ = ["EMBEDDED", "TextScorer", "open_scorer"]

#: What stands in where no model is named.
EMBEDDED = "embedded"

_SENTIMENT = f"folder or hub id of a sentiment model with the classes negative and positive, such as {SENTIMENT}"
_ENCODER = f"folder or hub id of an encoder, such as {PSYCHBERT}"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TextScorer:
    """Reads what a judge of words alone can tell, many texts at once.

    Attributes:
        tone: how negative a text is.
        relevance: how near a text lies to a gold corpus of clinical text.
        about: judge -> fingerprint of its model, or ``EMBEDDED``.
    """

    tone: ToneGuard
    relevance: Relevance
    about: Mapping[str, str]

    def __call__(self, texts: Sequence[str]) -> list[tuple[float, float]]:
        """Negativity in [0, 1] and relevance in [-1, 1] of each text, in order; both are 0 for blank text."""
        return list(zip(self.tone.negativity(texts).tolist(), self.relevance(texts).tolist(), strict=True))


@lru_cache(maxsize=1)
def open_scorer(tone_model: str = "", relevance_model: str = "") -> TextScorer:
    """The scorer; opened once a process for equal names.

    Args:
        tone_model: folder or hub id of a sentiment model with a negative and a positive class, such as ``SENTIMENT``;
            "" for the shipped sensor's reading of hostility.
        relevance_model: folder or hub id of an encoder, such as ``PSYCHBERT``; "" for the shipped sensor's embeddings.

    Raises:
        ConfigError: a model cannot be had or read, or is of another kind; names the setting.
    """
    tone = _opened("tone_model", tone_model, open_tone_guard, _SENTIMENT)
    relevance = _opened("relevance_model", relevance_model, open_relevance, _ENCODER)
    about = {"tone": _told(tone_model), "relevance": _told(relevance_model)}
    return TextScorer(tone, relevance, MappingProxyType(about))


def _opened(setting: str, name: str, opens: Callable[[str | None], T], expected: str) -> T:
    try:
        return opens(name or None)
    except SensorError as error:
        raise ConfigError(f"{setting} is {name!r}, expected {expected}: {error}") from error


def _told(name: str) -> str:
    try:
        return fingerprint(Path(name).expanduser()) if name else EMBEDDED
    except ModelError as error:
        raise ConfigError(str(error)) from error
