"""The words of a line that carry meaning, as stems: what the guard compares."""

import re
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["content_of", "runs_of", "stems_of", "words_of"]

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_SMALL_TALK = """
a about after again all also always am an and any anymore anything are as at back be because been before being but by
can can't could couldn't day did didn't do does doesn't doing don't down even ever every everything feel feeling felt
few for from get gets getting go goes going gone got had has have haven't having he he'd he's her here him his how i
i'd i'll i'm i've if in into is isn't it it's its just keep know last let like little lot made make makes many maybe me
mean more most much my myself never no not nothing now of off okay on one only or other our out over people put quite
really right said same say says she she's should so some someone something still such sure take tell than that that's
the their them then there there's they they're thing things think this those though thought time times to told too two
up us very want wanted was wasn't way we well went were what when where which while who why will with won't would
wouldn't yeah yes you you're your
"""
# Words that carry no fact.
_EMPTY_WORDS = frozenset(_SMALL_TALK.split())
# Inflections share their first letters: the cheapest stem that joins "sleep" and "sleeping".
_STEM = 5


def words_of(text: str) -> list[str]:
    """Every word, in lower case."""
    return _WORD.findall(text.lower().replace("’", "'"))


def content_of(texts: Iterable[str]) -> set[str]:
    """Stems of the words that carry meaning."""
    return set().union(*(stems_of(text) for text in texts))


@lru_cache(maxsize=65_536)
def stems_of(text: str) -> frozenset[str]:
    """The same of one text."""
    return frozenset(word.split("'")[0][:_STEM] for word in words_of(text) if word not in _EMPTY_WORDS)


@lru_cache(maxsize=4_096)
def runs_of(text: str, length: int) -> frozenset[tuple[str, ...]]:
    """Every run of so many words."""
    words = words_of(text)
    return frozenset(tuple(words[i : i + length]) for i in range(len(words) - length + 1))
