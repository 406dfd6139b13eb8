"""Secrets taken out of what a server said: our key however it is spelt, and whatever else looks like anybody's.

A server may repeat the key that it was sent, in an error as in a reply, and what it says is shown, recorded and kept.
The key is found as it is, in any case, and as JSON (``sk\\/…``, ``\\u0073k``), a URL (``%73k``) or a page (``&#115;k``)
would spell it, mixed and nested. It is not found in base64, in hex, reversed or in pieces: that is no formatter's
habit, there is no end of such codes, and a server that means harm has had the key already.

Other people's secrets are known by their surroundings (an ``Authorization`` header, ``token=…``, a URL's user) or their
shape (``sk-…``, a JWT, twenty-four letters and digits in a row). A password in plain words is not found.
"""

import html
import re
from functools import lru_cache, partial

from pydantic import SecretStr

from therapysim.visible import visible

__all__ = ["HIDDEN", "QUOTED_CHARS", "in_brief", "redact", "redact_reply"]

#: What stands in the key's place.
HIDDEN = "[the API key]"
#: So much of another's words is shown in a message.
QUOTED_CHARS = 300
_ANY = "[hidden]"
# More is not looked at: a body may have megabytes.
_READ_CHARS = 20_000
_SECRET_NAME = r"[\w.\-]{0,40}(?:key|token|auth|sig|signature|credentials?|session|cookie)"
_PASSWORD_NAME = r"[\w.\-]{0,40}(?:secret|password|passwd|pwd)"
_KEY_NAME = r"[\w.\-]{0,40}(?:api|access|private)[_\-]?(?:key|token)"
# All that a bracket holds is one value.
_HELD = r"[\[{(][^\]})]*[\]})]?"
_SET = r"\\{0,4}[\"']?\s{0,3}[:=]\s{0,3}\\{0,4}[\"']?"
# What stands before a secret, kept, and the secret, as groups; the last says whether any value is one.
_AROUND = (
    (re.compile(rf"(authorization{_SET})({_HELD}|(?:[a-z0-9\-]{{1,20}}[ ]+)?[^\s\"',;]+)", re.IGNORECASE), True),
    (re.compile(rf"(\b{_PASSWORD_NAME}{_SET})({_HELD}|[^\s\"',;&]+)", re.IGNORECASE), True),
    (re.compile(rf"(\b{_KEY_NAME}{_SET})({_HELD}|[^\s\"',;&]+)", re.IGNORECASE), True),
    (re.compile(rf"(\b{_SECRET_NAME}{_SET})({_HELD}|[^\s\"',;&]{{8,}})", re.IGNORECASE), False),
    (re.compile(r"(\b(?:key|token|password)\s{1,3}is\s{1,3})([^\s\"',;]{6,})", re.IGNORECASE), False),
    (re.compile(r"(\b(?:bearer|basic|token)\s{1,3})([\w.~+/=\-]{8,})", re.IGNORECASE), False),
    (re.compile(r"(://)([^\s\"']{1,200}@)"), True),
)
_SHAPED = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:sk|pk|rk|gsk|hf|gh[oprsu]|github_pat|glpat|xox[abeprs]|nvapi|pplx)[-_][\w\-*.]{4,}"
    r"|AIza[\w\-]{20,}|(?:AKIA|ASIA)[0-9A-Z]{12,}|eyJ[\w\-]{8,}(?:\.[\w\-]+){0,2})"
)
_LONG = re.compile(r"(?<![A-Za-z0-9+=])[A-Za-z0-9+=]{24,}")
# Plain words are no secrets; a long name, as of a model, has signs between its parts, or a figure or two.
_MIXED = re.compile(r"[a-z][A-Z]|\d|\*{2}")
_LEAST_DIGITS = 3
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


def in_brief(text: str, most: int = QUOTED_CHARS) -> str:
    """Another's words for a message or a file: one line of at most so many characters, without what may be a secret."""
    shown = visible(text[:_READ_CHARS])
    if len(text) > _READ_CHARS:
        shown = (shown.rsplit(None, 1) or [""])[0]  # half a secret may look like none
    for pattern, certain in _AROUND:
        shown = pattern.sub(partial(_hidden, certain=certain), shown)
    shown = _SHAPED.sub(lambda found: _ANY if _MIXED.search(found[0]) else found[0], shown)
    line = " ".join(_LONG.sub(_hidden_run, shown).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _hidden(found: re.Match[str], *, certain: bool) -> str:
    """What stood before it, and in its place that something did; a plain word may be no secret."""
    return f"{found[1]}{_ANY}" if certain or _MIXED.search(found[2]) else found[0]


def _hidden_run(found: re.Match[str]) -> str:
    return _ANY if sum(c.isdigit() for c in found[0]) >= _LEAST_DIGITS else found[0]


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
