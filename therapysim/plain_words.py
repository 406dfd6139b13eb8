"""Plain words: a text as patterns over words read it."""

import re
import unicodedata
from functools import lru_cache

__all__ = ["normalise"]

#: Letters of other alphabets that look like Latin ones.
_LOOKALIKE = str.maketrans("аеорсухіјѕԁһքαορνικτυε’‘ʼ`—–", "aeopcyxijsdhpaopviktue''''--", '"“”«»*_')
_WRITTEN_OUT = tuple(
    (mark, re.compile(pattern), whole)  # only where the mark stands in the text
    for mark, pattern, whole in (
        ("can", r"\bcan't\b|\bcan not\b", "cannot"),
        ("'", r"\bwon't\b", "will not"),
        ("'", r"n't\b", " not"),
        ("'", r"\blet's\b", "let us"),
        ("re", r"'re\b|(?<=\byou)re\b", " are"),
        ("'", r"\bi'm\b", "i am"),
        ("'", r"'ve\b", " have"),
        ("'", r"'ll\b", " will"),
        ("'", r"\byou'd better\b", "you had better"),
        ("'", r"'d\b", " would"),
        ("'", r"\b(it|that|this|what|there|he|she|who|where|how|nobody|everything)'s\b", r"\1 is"),
        ("-", r"\s*-{2,}\s*|\s-+\s", ", "),
        (" ?", r"(?<=[.!?])\s\s*[.!?][\s.!?]*(?=\s|$)", ""),  # a bare mark behind a sentence asks nothing
    )
)


@lru_cache(maxsize=1024)  # several readers ask for the same turn
def normalise(text: str) -> str:
    """Lower case Latin letters, straight quotes, single spaces, contractions written out."""
    plain = (text if text.isascii() else unicodedata.normalize("NFKC", text)).lower()
    if not plain.isascii():
        plain = "".join(c for c in plain if c.isascii() or unicodedata.category(c) != "Cf")
    plain = plain.translate(_LOOKALIKE)
    for mark, pattern, whole in _WRITTEN_OUT:
        if mark in plain:
            plain = pattern.sub(whole, plain)
    return " ".join(plain.split())
