"""Shortcuts: how far length, or the surface of the words, tells the chosen turn of a pair from the rejected one.

A learner that finds such a shortcut learns it in place of what makes a turn good. Pairs that give it away are dropped
until neither tells the sides apart better than a limit.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from therapysim.agents.probes.surface import Surface
from therapysim.train.pairs.likeness import words_of

__all__ = ["FOLDS", "LEAST", "Shortcuts", "Sides", "auc", "balance", "features", "measure"]

Floats = NDArray[np.float64]

#: Folds of the cross-validation; all pairs of a patient lie in one.
FOLDS = 5
#: First words that are common in a set have a feature each, so many at most.
_FIRSTS = 20
#: Of the pairs, the share that is dropped before everything is measured again.
_STEP = 0.02
#: Fewer pairs tell no AUC from chance, and are left as they are.
LEAST = 20

_FUNCTION = (
    "a the and or but so if because that this it is are was be have has do did not no to of in on at for with from by "
    "as you your i me my what how when which who would could should will there here more"
).split()


@dataclass(frozen=True, slots=True)
class Sides:
    """The texts of one pair, and its patient."""

    chosen: str
    rejected: str
    patient: str


@dataclass(frozen=True, slots=True)
class Shortcuts:
    """How well the sides are told apart; .5 is chance.

    Attributes:
        length: AUC of the number of words, whichever side is the longer.
        surface: AUC of a logistic regression on ``features``, cross-validated by patient.
        surface_pairs: share of pairs in which that regression scores the chosen side higher.
    """

    length: float
    surface: float
    surface_pairs: float


def auc(above: Floats, below: Floats) -> float:
    """The chance that one of ``above`` exceeds one of ``below``, a tie counting one half; nan where one is empty.

    Source: Mann & Whitney 1947.
    """
    if not len(above) or not len(below):
        return float("nan")
    order = np.sort(below)
    under, upto = np.searchsorted(order, above, "left"), np.searchsorted(order, above, "right")
    return float((under + upto).sum() / (2.0 * len(above) * len(below)))


def features(texts: Sequence[str], firsts: Sequence[str]) -> Floats:
    """What the regression sees of each text, (n, f): length, marks, questions, first word, function words."""
    opened = [_opens(text) for text in texts]
    first = np.array([[own == word for word in firsts] for own in opened], dtype=np.float64)
    return np.hstack([np.array([_plain(text) for text in texts]), first.reshape(len(texts), len(firsts))])


def measure(pairs: Sequence[Sides]) -> Shortcuts:
    """How far the shortcuts go in a set; nan where it has fewer than LEAST pairs or one patient."""
    return _told(_scores(pairs))


def balance(pairs: Sequence[Sides], most: float) -> list[int]:
    """Places of the pairs that stay, once those that give the sides away were dropped, the plainest first.

    Args:
        pairs: the set.
        most: the limit for both AUCs and for the share of pairs; 1 drops none.
    """
    kept = list(range(len(pairs)))
    while most < 1.0 and len(kept) >= LEAST:
        scores = _scores([pairs[i] for i in kept])
        seen = _told(scores)
        worst = max((value, name) for name, value in (
            ("length", seen.length), ("surface", max(seen.surface, seen.surface_pairs))))  # fmt: skip
        if not worst[0] > most:  # nan too
            return kept
        leaning = _leaning(scores[worst[1]])
        out = set(np.argsort(-leaning, kind="stable")[: max(1, int(_STEP * len(kept)))].tolist())
        kept = [i for place, i in enumerate(kept) if place not in out]
    return kept


def _leaning(drawn: Floats) -> Floats:
    """By how much each pair helps to tell the sides apart, (n,)."""
    gaps = drawn[:, 0] - drawn[:, 1]
    return gaps if auc(drawn[:, 0], drawn[:, 1]) >= 0.5 else -gaps


def _told(scores: dict[str, Floats]) -> Shortcuts:
    length, surface = scores["length"], scores["surface"]
    if np.isnan(surface).any() or not len(surface):
        return Shortcuts(float("nan"), float("nan"), float("nan"))
    by_length = auc(length[:, 0], length[:, 1])
    right = (1.0 + np.sign(surface[:, 0] - surface[:, 1])) / 2.0
    return Shortcuts(max(by_length, 1.0 - by_length), auc(surface[:, 0], surface[:, 1]), float(right.mean()))


def _scores(pairs: Sequence[Sides]) -> dict[str, Floats]:
    """Length and surface scores of both sides, (n, 2) each."""
    texts = [text for pair in pairs for text in (pair.chosen, pair.rejected)]
    length = np.array([_count(text) for text in texts], dtype=np.float64).reshape(-1, 2)
    return {"length": length, "surface": _cross_fit(pairs, texts)}


def _cross_fit(pairs: Sequence[Sides], texts: Sequence[str]) -> Floats:
    """Surface scores by regressions that saw no pair of the same patient, (n, 2)."""
    patients = sorted({pair.patient for pair in pairs})
    fold = {name: place % FOLDS for place, name in enumerate(np.random.default_rng(0).permutation(patients).tolist())}
    folds, scores = np.array([fold[pair.patient] for pair in pairs]), np.full((len(pairs), 2), np.nan)
    if len(pairs) < LEAST or len(patients) < 2:
        return scores
    drawn = features(texts, _common_firsts(texts)).reshape(len(pairs), 2, -1)
    for one in np.unique(folds):
        held = folds == one
        scores[held] = Surface.fit(drawn[~held]).of(drawn[held])
    return scores


def _common_firsts(texts: Sequence[str]) -> list[str]:
    counts = Counter(word for word in map(_opens, texts) if word)
    return [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_FIRSTS]]


# Every step of ``balance`` asks for the same texts again.
@lru_cache(maxsize=1 << 17)
def _opens(text: str) -> str:
    """The first word; "" of a text without one."""
    return next(iter(words_of(text)), "")


@lru_cache(maxsize=1 << 17)
def _count(text: str) -> int:
    return len(words_of(text))


@lru_cache(maxsize=1 << 17)
def _plain(text: str) -> Floats:
    """The features that do not hang on the other texts, (f,)."""
    words = words_of(text)
    count, counts = max(1, len(words)), Counter(words)
    marks = [np.log1p(text.count(mark)) for mark in (",", ".", "?", "!", ";", ":", "'", '"')]
    ends = float(bool(re.search(r"\?\s*$", text)))
    lengths = [np.log1p(len(words)), sum(map(len, words)) / count, len(counts) / count]
    return np.array([*lengths, *marks, ends, *(counts[word] / count for word in _FUNCTION)], dtype=np.float64)
