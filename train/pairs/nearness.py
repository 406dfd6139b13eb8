"""Texts that say nearly the same as some others in other words: by a vector for each, and the cosine of two.

The shipped vectors weigh the stems of words by how rare they are in the other texts. An encoder of sentences knows that
two words mean the same; its vectors can be taken instead.
"""

import math
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from therapysim.errors import ConfigError, SensorError
from therapysim.rewards.reading.pretrained import PretrainedEncoder
from therapysim.train.pairs.likeness import words_of

__all__ = ["Nearness", "Stems", "open_encoder"]

Floats = NDArray[np.float32]

# A stem is so many letters; stems share so many columns.
_LETTERS, _COLUMNS = 5, 4096
# Other texts that are compared at once.
_ROWS = 4096
_ROUNDING = 1e-6


class Stems:
    """Texts -> vectors of word stems in unit length, (n, 4096).

    A stem weighs (1 + log count) · (1 + log((1 + texts) / (1 + texts with it))).

    Args:
        texts: in which it is counted how rare a stem is.

    Source: Salton & Buckley 1988, "Term-weighting approaches in automatic text retrieval"; columns by hash as in
    Weinberger et al. 2009, "Feature hashing for large scale multitask learning".
    """

    def __init__(self, texts: Sequence[str]) -> None:
        seen = np.zeros(_COLUMNS)
        for text in texts:
            seen[list(_counts(text))] += 1
        self._rarity = 1.0 + np.log((1 + len(texts)) / (1 + seen))

    def __call__(self, texts: Sequence[str]) -> Floats:
        table = np.zeros((len(texts), _COLUMNS), dtype=np.float32)
        for row, text in zip(table, texts, strict=True):
            for column, count in _counts(text).items():
                row[column] = (1 + math.log(count)) * self._rarity[column]
        return _unit(table)


class Nearness:
    """Tells texts that are near to one of others.

    Args:
        others: the texts to keep clear of.
        least: the cosine, in (0, 1], from which on a text is near.
        model: folder or hub id of an encoder, mean-pooled over tokens; "" for ``Stems``.

    Raises:
        ConfigError: the encoder cannot be had or read.
    """

    def __init__(self, others: Sequence[str], least: float, model: str = "") -> None:
        others = [text for text in dict.fromkeys(others) if text.strip()]
        self._least = least
        self._embed: Callable[[Sequence[str]], Floats] = open_encoder(model) if model else Stems(others)
        self._others = others

    def near(self, texts: Sequence[str]) -> list[bool]:
        """Whether each is, in order."""
        own = self._embed(texts) if len(texts) else np.zeros((0, 1), dtype=np.float32)
        most = np.full(len(texts), -1.0, dtype=np.float32)
        for at in range(0, len(self._others) if len(texts) else 0, _ROWS):  # one block at a time: there may be many
            most = np.maximum(most, (own @ self._embed(self._others[at : at + _ROWS]).T).max(axis=1))
        return (most >= self._least - _ROUNDING).tolist()  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def open_encoder(model: str) -> Callable[[Sequence[str]], Floats]:
    """Texts -> an encoder's vectors in unit length, mean-pooled over tokens; opened once a process.

    Args:
        model: folder or hub id.

    Raises:
        ConfigError: it cannot be had or read.
    """
    try:
        encode = PretrainedEncoder(model)
    except SensorError as error:
        raise ConfigError(f"against_model is {model!r}, expected folder or hub id of an encoder: {error}") from error
    return lambda texts: _unit(encode(texts))


def _counts(text: str) -> Counter[int]:
    return Counter(zlib.crc32(word[:_LETTERS].encode()) % _COLUMNS for word in words_of(text))


def _unit(rows: Floats) -> Floats:
    """Rows of length 1; those of zeros stay zeros."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)
