"""Texts that are alike: near duplicates by word 3-grams, and overlap with files that a set must keep clear of."""

import math
import re
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

from therapysim.documents import Unreadable, json_value, read_bytes, text_of
from therapysim.errors import ConfigError

__all__ = ["Likeness", "Reserved", "alike", "grams", "words_of"]

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_MOST_BYTES = 2**30
# .28 of 25 is a little more than 7 in floating point.
_ROUNDING = 1e-9


def words_of(text: str) -> list[str]:
    """Words in lower case, without marks."""
    return _WORD.findall(text.lower().replace("’", "'"))


def grams(text: str, n: int) -> frozenset[tuple[str, ...]]:
    """All runs of n words; of a shorter text its words as they are, of one without words none."""
    words = words_of(text)
    return frozenset(tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))) if words else frozenset()


def alike(one: str, other: str, near: float) -> bool:
    """Whether two short texts have nearly the same words: the Jaccard index of these is ``near`` or more.

    Example: "How are these?" and "How are those?" have two of four words in common, an index of .5.
    """
    first, second = grams(one, 1), grams(other, 1)
    return len(first & second) / max(1, len(first | second)) >= near


class Likeness:
    """Tells duplicates of what was kept before.

    Args:
        near: the Jaccard index of word 3-grams, in (0, 1], from which on two texts are near duplicates.

    A text that is near shares ``near`` of this one's n-grams or more, so that it has one of any few more than it may
    lack: only texts with one of the rarest are looked at.

    Source: Broder 1997, "On the resemblance and containment of documents", with all shingles instead of a sketch;
    Chaudhuri et al. 2006, "A primitive operator for similarity joins in data cleaning" (which texts are looked at).
    """

    def __init__(self, near: float) -> None:
        self._near, self._exact = near, set[Hashable]()
        self._kept: list[frozenset[tuple[str, ...]]] = []
        self._holders: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)

    def add(self, text: str) -> str:
        """ "exact" or "near" where the text is a duplicate; else "", and the text is kept."""
        exact, own = " ".join(words_of(text)), grams(text, 3)
        if exact in self._exact:
            return "exact"
        if any(len(own & other) / len(own | other) >= self._near for other in self._alike(own)):
            return "near"
        self._exact.add(exact)
        for gram in own:
            self._holders[gram].append(len(self._kept))
        self._kept.append(own)
        return ""

    def _alike(self, own: frozenset[tuple[str, ...]]) -> Iterator[frozenset[tuple[str, ...]]]:
        """Every kept text that may be near, by its n-grams."""
        rarest = sorted(own, key=lambda gram: (len(self._holders.get(gram, ())), gram))
        spare = len(own) - math.ceil(self._near * len(own) - _ROUNDING)
        places = {place for gram in rarest[: spare + 1] for place in self._holders.get(gram, ())}
        return map(self._kept.__getitem__, sorted(places))


class Reserved:
    """What stands in files that a set must not overlap with.

    Args:
        files: ``.jsonl`` (every text in every object), or anything else as plain text, a text a line.
        n: a run of so many words in common is an overlap; a text of fewer counts as a whole.

    Raises:
        ConfigError: a file cannot be read, is not UTF-8, or a line of a ``.jsonl`` is no JSON.
    """

    def __init__(self, files: Sequence[str | Path], n: int) -> None:
        self._n = n
        self._runs: set[tuple[str, ...]] = set()
        #: What stands there, in order.
        self.texts = [text for file in files for text in _texts(Path(file))]
        for text in self.texts:
            self._runs |= grams(text, n)

    def holds(self, *texts: str) -> bool:
        """Whether any of the texts has a run of words in common with the files."""
        return bool(self._runs) and any(not self._runs.isdisjoint(grams(text, self._n)) for text in texts)


def _texts(path: Path) -> Iterator[str]:
    where = f"against: {path}"
    try:
        lines = text_of(read_bytes(path, _MOST_BYTES)).split("\n")
    except Unreadable as fault:
        raise ConfigError(f"{where}: {fault}") from fault
    if path.suffix != ".jsonl":
        yield from lines
        return
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield from _held(json_value(line))
            except Unreadable as fault:
                raise ConfigError(f"{where}: line {number}: {fault}; mend or remove the line") from fault


def _held(value: Any) -> Iterator[str]:
    """Every text in plain data, names left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for own in value.values():
            yield from _held(own)
    elif isinstance(value, list):
        for own in value:
            yield from _held(own)
