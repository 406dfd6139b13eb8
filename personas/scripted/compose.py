"""How a scripted line is put together: from what it must say, clauses that bring it to a mood and to a length."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from therapysim.personas.bank import NEUTRAL
from therapysim.personas.schema import MOODS
from therapysim.state import Vector

__all__ = ["FILLERS", "Aim", "Clauses", "Composed", "Piece", "compose", "led_in", "piece_of", "sentences"]

Floats = NDArray[np.float32]

#: What speakers put before a sentence that begins with "I", so that its first letter stays.
FILLERS = ("I mean, ", "I guess ", "Well, ", "You know, ", "Honestly, ", "Um, ", "Actually, ", "Yeah, ")

_SENTENCE_END = re.compile(r"(?<=[.?!])\s+")
_COMMA = re.compile(r", ")


class Piece(NamedTuple):
    """One written text: its words, its affect (4,), its dimension, and the sentence by which it is known again."""

    text: str
    words: int
    affect: Floats
    kind: int
    key: str


class Clauses(NamedTuple):
    """Pieces side by side: words (n,), affects (n, 4), kinds (n,)."""

    pieces: tuple[Piece, ...]
    words: NDArray[np.int64]
    affects: Floats
    kinds: NDArray[np.int64]

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> "Clauses":
        """The same pieces as arrays."""
        affects = np.array([p.affect for p in pieces], dtype=np.float32).reshape(-1, len(MOODS))
        words, kinds = np.array([p.words for p in pieces]), np.array([p.kind for p in pieces])
        return cls(tuple(pieces), words.astype(np.int64), affects, kinds.astype(np.int64))

    def some(self, rows: list[int]) -> "Clauses":
        """Those of the rows, in their order."""
        return Clauses(tuple(self.pieces[i] for i in rows), self.words[rows], self.affects[rows], self.kinds[rows])


@dataclass(frozen=True, slots=True)
class Aim:
    """What a line should come to.

    Attributes:
        mood: the affect that it should read as.
        words: how long it should be.
        limit: no clause is added that would make it longer.
        pace: what a word short of ``words`` weighs, in L2 of affect.
        gain: a clause is added only where it brings the line closer to the aim by this much, in L2 of affect.
    """

    mood: Vector
    words: int
    limit: int
    pace: float
    gain: float


class Composed(NamedTuple):
    """The clauses added to one content, and how far the line is from its aim: in mood (L2, as estimated), in all."""

    added: list[Piece]
    off: float
    short: float


def piece_of(text: str, affect: Floats, kind: int) -> Piece:
    """A text with what composing needs to know of it."""
    return Piece(text, len(text.split()), affect, kind, max(_SENTENCE_END.split(text), key=len))


def sentences(lines: Iterable[str]) -> frozenset[str]:
    """Every sentence said; and what follows a comma in it, or a filler: it would be heard again as well."""
    said = [s for line in lines for s in _SENTENCE_END.split(line)]  # a line may break off: "it is that I…"
    tails = [s[at.end() :] for s in said for at in _COMMA.finditer(s)]
    bare = [s[len(filler) :] for s in said for filler in FILLERS if s.startswith(filler)]
    return frozenset((*said, *tails, *bare))


def compose(contents: Sequence[Sequence[Piece]], clauses: Clauses, aim: Aim) -> list[Composed]:
    """Adds to each content the clauses that serve it best, one at a time.

    A line of n texts is taken to read as the sum of their readings over the square root of n. Against the shipped
    sensor that errs less than the mean of the readings weighted by words (``python tests/measures/measure.py mood``): a
    sentence without feeling hides its neighbour's feeling only in part.

    At most one clause a dimension: two sentences on one feeling, a mild and a strong one at that, would sound like two
    patients.
    """
    mix = _Mix(contents, aim)
    free = np.ones((len(contents), len(clauses.words)), dtype=np.bool_)
    for row, content in zip(free, contents, strict=True):
        for kind in {piece.kind for piece in content if piece.kind < NEUTRAL}:
            row &= clauses.kinds != kind
    while clauses.pieces and mix.add(clauses, free):
        pass
    return [
        Composed([clauses.pieces[k] for k in added], float(off), float(aim.pace * max(0, aim.words - words)))
        for added, off, words in zip(mix.added, mix.off, mix.words, strict=True)
    ]


class _Mix:
    """Lines in the making, one a content, each as close to the aim as its clauses could bring it."""

    def __init__(self, contents: Sequence[Sequence[Piece]], aim: Aim) -> None:
        self.aim, self.mood = aim, np.array(aim.mood, dtype=np.float32)
        self.counts = np.array([len(content) for content in contents])
        self.words = np.array([sum(p.words for p in content) for content in contents])
        self.totals = np.array([reduce(np.add, [p.affect for p in content]) for content in contents], dtype=np.float32)
        self.off = self._off(self.totals, self.counts)
        self.added: list[list[int]] = [[] for _ in contents]

    def add(self, clauses: Clauses, free: NDArray[np.bool_]) -> bool:
        """Adds the best free clause to each line that it brings closer by the gain; whether any was added."""
        words = self.words[:, None] + clauses.words
        fits = free & (words <= self.aim.limit)
        if not fits.any():
            return False
        off = self._off(self.totals[:, None] + clauses.affects, (self.counts + 1)[:, None])
        cost = np.where(fits, off + self._short(words), np.inf)
        best = cost.argmin(axis=1)
        rows = np.flatnonzero(cost[np.arange(len(best)), best] < self.off + self._short(self.words) - self.aim.gain)
        for row in rows:
            k = int(best[row])
            self.added[row].append(k)
            free[row] &= clauses.kinds != clauses.kinds[k] if clauses.kinds[k] < NEUTRAL else True
            free[row, k] = False
            self.totals[row] += clauses.affects[k]
            self.off[row], self.words[row] = off[row, k], words[row, k]
            self.counts[row] += 1
        return len(rows) > 0

    def _off(self, totals: Floats, counts: NDArray[np.int64]) -> Floats:
        gap = np.minimum(np.maximum(totals / np.sqrt(counts)[..., None], -1), 1) - self.mood
        return np.asarray(np.sqrt((gap * gap).sum(axis=-1)), dtype=np.float32)

    def _short(self, words: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(self.aim.pace * np.maximum(0, self.aim.words - words), dtype=np.float64)


def led_in(line: str, chance: float, rng: np.random.Generator) -> str:
    """The line led in by a filler where it begins with "I", by that chance."""
    draws = rng.random(2)
    if draws[0] >= chance or not line.startswith(("I ", "I'")):
        return line
    return FILLERS[int(draws[1] * len(FILLERS))] + line
