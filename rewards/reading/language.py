"""Is a text English? What is not is told so, read as unknown, and neither paid nor punished."""

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from therapysim.rewards.reading.words import small_words

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

__all__ = ["ENGLISH", "UNKNOWN", "language"]

ENGLISH, UNKNOWN = "en", "unknown"

#: A language is told where it is this likely, and English this unlikely; else a text passes for English.
_LIKELY, _UNLIKELY = 0.2, 0.005
#: With this share of English small words a text of plain letters is not looked at further.
_PLAIN = 0.3
_LETTERS = re.compile(r"[^\W\d_]+")


@lru_cache(maxsize=4096)
def language(text: str) -> str:
    """The language of a text as ISO 639-1 code: "en" for English and in doubt, "unknown" for a script not recognised.

    Example: "Cuéntame más." is "es", "你愿意多说一点吗？" "zh", "mm-hm" "en".

    Source: py3langid, Lui & Baldwin 2012, "langid.py".
    """
    words = _LETTERS.findall(text)
    if not words or (text.isascii() and small_words(text) >= _PLAIN * len(words)):
        return ENGLISH
    identifier = _identifier()
    best, likely = identifier.classify(text)
    if best == ENGLISH:
        return ENGLISH
    if not _latin(words):
        return str(best) if float(likely) >= _LIKELY else UNKNOWN
    english = next((float(p) for name, p in identifier.rank(text) if name == ENGLISH), 0.0)
    return str(best) if float(likely) >= _LIKELY and english <= _UNLIKELY else ENGLISH


def _latin(words: list[str]) -> bool:
    """Whether most letters are of the Latin alphabet."""
    letters = "".join(words)
    return 2 * sum(unicodedata.name(letter, "").startswith("LATIN") for letter in letters) >= len(letters)


@lru_cache(maxsize=1)
def _identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # half a second, and seldom needed

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
