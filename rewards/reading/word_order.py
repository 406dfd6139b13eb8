"""Do a text's small words follow one another as in English? A table of neighbours among the commonest words.

A heap of words such as "and the me did more when" has no verb that fits and no noun where one must come, yet every
word of it is plain and kind. What gives it away is the order: "the me" and "did more when" hardly occur. The table
holds, for each pair of the commonest words and the edges of a sentence, how much more often than by chance the second
follows the first, log((n(a, b) + 1) / (n(a) n(b) / N + 1)), counted by ``therapysim.train.sensor.count_order``.
"""

import re
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from therapysim.errors import SensorError

__all__ = ["EDGE", "LEAST", "MOST", "SCALE", "Order", "in_order", "load_order", "steps"]

#: Where the table lies.
TABLE = Path(__file__).parent / "weights" / "order.npz"
#: The edge of a sentence, a word among the others.
EDGE = "^"
#: The table's whole numbers a unit of log, and the range that each step is kept within: one odd pair is not everything.
SCALE, LEAST, MOST = 32, -3.0, 1.0

#: A short text is given the benefit of the doubt: as if so many pairs more had the step of ordinary English.
_DOUBT, _USUAL = 4, 0.5
#: Between these mean steps a text goes from a heap to English.
_HEAP, _ENGLISH = -0.5, 0.0
_WORD = re.compile(r"\d+|[^\W\d_]+(?:'[^\W\d_]+)?")
_END = re.compile(r"[.!?;:]+")


class Order(NamedTuple):
    """The table: a number for each word, and shape (n, n) steps in log units."""

    numbers: dict[str, int]
    steps: NDArray[np.float32]


def steps(text: str) -> list[list[str]]:
    """The words and numbers of each sentence, lower case, an edge before and behind."""
    plain = text.lower().replace("\u2019", "'")
    found = (_WORD.findall(sentence) for sentence in _END.split(plain))
    return [[EDGE, *words, EDGE] for words in found if words]


def in_order(text: str) -> float:
    """Whether the words stand in an order of English, in [0, 1]: 1 where they do, or too few of them are known.

    Example: "And how is that for you?" is 1, "how and that for is you" 0.
    """
    table = load_order()
    known = [
        table.steps[table.numbers[a], table.numbers[b]]
        for words in steps(text)
        for a, b in pairwise(words)
        if a in table.numbers and b in table.numbers
    ]
    mean = (float(np.clip(known, LEAST, MOST).sum()) + _DOUBT * _USUAL) / (len(known) + _DOUBT)
    return min(1.0, max(0.0, (mean - _HEAP) / (_ENGLISH - _HEAP)))


@lru_cache(maxsize=2)
def load_order(path: Path = TABLE) -> Order:
    """The table, read once a process.

    Raises:
        SensorError: it is missing or no such table.
    """
    try:
        with np.load(path) as kept:
            words, table = [str(w) for w in kept["words"]], kept["steps"].astype(np.float32) / SCALE
    except (OSError, ValueError, KeyError) as error:
        raise SensorError(
            f"word order {path} cannot be read ({error}), expected beside the weights; install anew"
        ) from error
    return Order({word: i for i, word in enumerate(words)}, table)
