"""Words of a text: its subject's words, roughly stemmed; how much two word sets share; whether it is prose at all."""

import re
from collections.abc import Set
from functools import lru_cache
from itertools import pairwise

__all__ = ["content_words", "count_words", "overlap", "prose", "small_words", "word_set"]

_STOP = frozenset(
    "a about after again all also am an and any are as at be because been before being but by can could did do does "
    "doing don down even ever every for from get go going got had has have having he her here hers him his how i if "
    "in into is it its just know like make me more most much my no not now of off on one only or other our out over "
    "own really said say she should so some still such than that the their them then there these they thing things "
    "think this those through to too up us very was way we well were what when where which while who why will with "
    "would you your yours".split()
)
_WORD = re.compile(r"[^\W\d_]{2,}")
_ANY = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


@lru_cache(maxsize=2048)  # a turn is held against every earlier one of its session
def word_set(text: str) -> frozenset[str]:
    """All words of two letters or more, lower case."""
    return frozenset(_WORD.findall(text.lower().replace("\u2019", "'")))


def count_words(text: str) -> int:
    """How many words a text has: runs of letters, an apostrophe within; neither numbers nor punctuation."""
    return len(_ANY.findall(text.replace("\u2019", "'")))


def small_words(text: str) -> int:
    """How many of a text's words are English small words, such as "the" and "you"."""
    return sum(word.partition("'")[0] in _STOP for word in _ANY.findall(text.lower().replace("\u2019", "'")))


@lru_cache(maxsize=1024)  # asked for by several terms of one turn
def content_words(text: str) -> frozenset[str]:
    """The words of a text that carry its subject, lower case and roughly stemmed."""
    return frozenset(_stem(word) for word in word_set(text) if word not in _STOP)


def prose(text: str) -> float:
    """Whether a text is made of sentences, in [0, 1]: 1 for prose, 0 for a heap of words.

    Falls where word pairs come again (from 9 in 10 distinct down to 6 in 10), and where the small words are missing
    that hold a sentence together (from a quarter of all words down to a tenth). English only: any other language has
    none of the small words. Below six words there is too little to tell, and the answer is 1.
    """
    words = _ANY.findall(text.lower().replace("\u2019", "'"))
    if len(words) < 6:
        return 1.0
    pairs = list(pairwise(words))
    distinct = len(set(pairs)) / len(pairs)
    small = sum(word.partition("'")[0] in _STOP for word in words) / len(words)
    return _ramp(distinct, 0.6, 0.9) * _ramp(small, 0.1, 0.25)


def _ramp(x: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (x - low) / (high - low)))


def overlap(a: Set[str], b: Set[str]) -> float:
    """Jaccard index of two word sets."""
    shared = len(a & b)
    either = len(a) + len(b) - shared
    return shared / either if either else 0.0


@lru_cache(maxsize=4096)  # common words come in nearly every text
def _stem(word: str) -> str:
    for ending in ("ing", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
