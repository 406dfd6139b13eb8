"""Utterance: a space of any Unicode text up to a length, known to all of Gymnasium's functions on spaces."""

from collections.abc import Iterable
from typing import Any

import gymnasium as gym
import numpy as np

from therapysim.errors import ConfigError, require_count

__all__ = ["Utterance"]

_WORDS = "I feel that you what how did this hear sounds hard more tell me about it today and when the".split()


class Utterance(gym.Space[str]):
    """Any text of at most ``max_chars`` characters, the empty text included.

    ``gymnasium.spaces.Text`` holds only the characters of a charset, by default letters and digits without the space;
    people write "I can’t, sorry 😔".

    What Gymnasium does with spaces, it does with this one (``envs.dispatch``). Its flat form, as of ``Text``, has a
    number for each character: its code point + 1, and 0 behind the end; shape (max_chars,), int32.

    Args:
        max_chars: the longest text, in characters (code points).
        seed: for ``sample``, which draws short nonsense of real words.
    """

    def __init__(self, max_chars: int = 2_000, seed: int | np.random.Generator | None = None) -> None:
        self.max_chars = require_count("max_chars", max_chars, 1)
        super().__init__(dtype=str, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Text has a flat form of fixed width, padded."""
        return True

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """Three to twelve words, cut to ``max_chars``; masks have no meaning here."""
        if mask is not None or probability is not None:
            raise ConfigError("an Utterance takes neither mask nor probability")
        count = int(self.np_random.integers(3, 13))
        return " ".join(str(w) for w in self.np_random.choice(_WORDS, count))[: self.max_chars]

    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and len(x) <= self.max_chars

    def to_jsonable(self, sample_n: Iterable[str]) -> list[str]:
        return list(sample_n)

    def from_jsonable(self, sample_n: list[str]) -> list[str]:
        return list(sample_n)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Utterance) and other.max_chars == self.max_chars

    def __repr__(self) -> str:
        return f"Utterance(max_chars={self.max_chars})"
