"""A key taken out of what a server said, however the server's own formatter spelt it.

A server may repeat the key that it was sent, in an error as in a reply, and what it says is shown, recorded and kept.
The key is found as it is, in any case, and as JSON (``sk\\/…``, ``\\u0073k``), a URL (``%73k``) or a page (``&#115;k``)
would spell it, mixed and nested. It is not found in base64, in hex, reversed or in pieces: that is no formatter's
habit, there is no end of such codes, and a server that means harm has had the key already.
"""

import html
import re
from functools import lru_cache

from pydantic import SecretStr

from therapysim.visible import visible

__all__ = ["HIDDEN", "redact", "redact_reply"]

#: What stands in the key's place.
HIDDEN = "[the API key]"
# A shorter one, such as EMPTY, is a placeholder and a word: taken out of a patient's words it would change them.
_LEAST_CHARS = 8


def redact(text: str, key: SecretStr) -> str:
    """A text to be shown in an error: what can be seen of it, without the key."""
    shown = visible(text)  # first: what is hidden between its letters would part the key
    return _pattern(key).sub(HIDDEN, shown) if key.get_secret_value() else shown


def redact_reply(text: str, key: SecretStr) -> str:
    """A model's reply without the key; one of fewer than 8 characters stays, since it may be a word like any other."""
    if len(key.get_secret_value()) < _LEAST_CHARS or not _pattern(key).search(visible(text)):
        return text
    return redact(text, key)


@lru_cache(maxsize=8)
def _pattern(key: SecretStr) -> re.Pattern[str]:
    """Of bounded repeats, so that no text takes long."""
    first, *others = (_spellings(char) for char in key.get_secret_value())
    return re.compile("".join([first, *(rf"\\{{0,8}}{other}" for other in others)]), re.IGNORECASE)


def _spellings(char: str) -> str:
    """One character, as it is or as JSON, a URL and a page write it."""
    code = ord(char)
    named = re.escape(html.escape(char)) + ("|&apos;" if char == "'" else "")
    page = rf"{named}|&#0{{0,6}}{code};?|&#x0{{0,6}}{code:x};?"
    return rf"(?:{re.escape(char)}|u00{code:02x}|x{code:02x}|%(?:25){{0,4}}{code:02x}|{page})"
