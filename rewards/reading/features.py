"""What a head reads of a turn: the sensor's reading of both speakers, the patterns' findings, a few counts, and words.

Of an answer y to the words x:

    dense  f(x), f(y): log-odds of the 28 emotions and the pooled embedding, 412 numbers each; one flag for each name in
           ``patterns.PATTERNS``; eight counts (``COUNTS``), each up to 3
    grams  the runs of one to three words within a sentence of y, "^" at its start; each is there or not

All but the sensor's reading is cheap, and that is made anyway.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from therapysim.rewards.matrix import LABELS
from therapysim.rewards.reading.emotions import EmotionSensor
from therapysim.rewards.reading.patterns import PATTERNS, names_danger, normalise, spot_plain
from therapysim.rewards.reading.words import content_words

__all__ = ["COUNTS", "Features", "dense_width", "featurise", "grams"]

Floats = NDArray[np.float32]

#: What is counted, in order; each is scaled, and 3 at most.
COUNTS = ("questions", "ends in ?", "words", "I", "you", "share taken up", "words taken up", "share of the heard")

_COLUMN = {name: i for i, name in enumerate(PATTERNS)}
_SENTENCE, _WORD = re.compile(r"[^.?!]+[.?!]*"), re.compile(r"[a-z']+|[?!]")
_I, _YOU = re.compile(r"\b(?:i|my|me)\b"), re.compile(r"\byou(?:r|rs|rself)?\b")


class Features(NamedTuple):
    """Features of n turns.

    Attributes:
        dense: shape (n, dense_width(sensor)).
        grams: one set a turn.
        spotted: what the patterns found, one set a turn.
        danger: whether the turn names a danger.
    """

    dense: Floats
    grams: list[frozenset[str]]
    spotted: list[frozenset[str]]
    danger: list[bool]


def dense_width(sensor: EmotionSensor) -> int:
    """Columns of ``Features.dense``."""
    return 2 * sensor.width + len(PATTERNS) + len(COUNTS)


def featurise(sensor: EmotionSensor, heard: Sequence[str], texts: Sequence[str]) -> Features:
    """Features of each turn as an answer to what was heard.

    Raises:
        SensorError: one of the two is a single string, or something in them is not text.
    """
    readings = _reading(sensor, heard), _reading(sensor, texts)
    plain = [normalise(text) for text in texts]
    spotted = [spot_plain(text) for text in plain]
    flags = np.zeros((len(plain), len(PATTERNS)), dtype=np.float32)
    for row, found in zip(flags, spotted, strict=True):
        row[[_COLUMN[name] for name in found]] = 1.0
    counts = np.array([_counts(*row) for row in zip(heard, plain, strict=True)], dtype=np.float32)
    dense = np.hstack([*readings, flags, counts.reshape(len(plain), len(COUNTS))])
    return Features(dense, [grams(text) for text in plain], spotted, [names_danger(text) for text in plain])


def grams(plain: str) -> frozenset[str]:
    """The word runs of a text in ``patterns.normalise``'s spelling."""
    found: set[str] = set()
    for sentence in _SENTENCE.findall(plain):
        words = ["^", *_WORD.findall(sentence)]
        pairs = [f"{a} {b}" for a, b in pairwise(words)]
        found.update(words, pairs, (f"{pair} {c}" for pair, c in zip(pairs, words[2:], strict=False)))
    return frozenset(found)


def _counts(heard: str, plain: str) -> tuple[float, ...]:
    words = len(plain.split())
    said, known = content_words(plain), content_words(heard)
    shared = len(said & known)
    return (
        min(3, plain.count("?")),
        float(plain.endswith("?")),
        min(3.0, words / 20),
        min(3.0, len(_I.findall(plain)) / 5),
        min(3.0, len(_YOU.findall(plain)) / 5),
        shared / max(1, len(said)),
        min(2.0, shared / 3),
        shared / max(1, len(known)),
    )


def _reading(sensor: EmotionSensor, texts: Sequence[str]) -> Floats:
    rows = sensor.features(texts)
    p = np.clip(rows[:, : len(LABELS)], 1e-4, 1.0 - 1e-4)
    return np.hstack([np.log(p / (1.0 - p)), rows[:, len(LABELS) :]])
