"""What a reader sees of a text: no control, escape, direction or zero-width characters, and no half a letter.

Foreign words are passed through here before anyone else gets them, whoever wrote them: a policy, a patient, a server.
What is left cannot steer a terminal, cannot hide a second text in the first, and can be written to any UTF-8 file.
"""

import re
import unicodedata

__all__ = ["JOINERS", "visible"]

# Blank characters that Unicode does not class as format or control, and the tag-like variation selectors.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\U000e0000-\U000e0fff]")

#: Zero-width, and at home in some scripts and between emoji.
JOINERS = "\u200c\u200d"


def visible(text: str) -> str:
    """The text without what nobody can see in it; line breaks, tabs and every visible character stay."""
    if text.isascii() and text.replace("\n", "").isprintable():  # most texts by far, and nothing can hide in them
        return text
    return "".join(c for i, c in enumerate(text) if _is_visible(c) or _joins(text, i))


def _is_visible(char: str) -> bool:
    # Cc control, Cf format (zero-width, bidi), Cs lone surrogate, Co private use.
    return char in "\n\t" or not (unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co") or _BLANK.match(char))


def _joins(text: str, i: int) -> bool:
    # Joiners belong after an emoji or a letter of scripts that join (Persian, Hindi); after a Latin one they only hide.
    before = text[i - 1] if i else " "
    return text[i] in JOINERS and before > "\u02ff" and unicodedata.category(before)[0] in "LMS"
