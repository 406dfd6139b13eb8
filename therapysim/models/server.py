"""A server by name, ``URL#MODEL``, and the secrets that no name may hold.

A name is printed, logged, kept with results and shown in a report, so that a user, a password or a key in it would be
published. Every name is read here, before the first byte is written, and no error of this module shows what it refuses.
A key stands in an environment variable, and the variable's name is all that a command or a file is told.
"""

import os
import re
import unicodedata
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from therapysim.errors import ConfigError

__all__ = ["Server", "refuse_secrets", "require_url", "require_variable", "server_of"]

_SERVER = re.compile(r"\s*https?:", re.IGNORECASE)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.\-]*:(?:/|\\){2}\S*", re.IGNORECASE)
_QUERY = re.compile(r"[?&]\S*")
# Before the host, with the slashes or where they were forgotten: me:password@host.
_USER = re.compile(r"[^/\\]*[/\\]{2,}[^/?#]*@")
_BARE_USER = re.compile(r"[^\s/:@\\]+:/?[^\s/@]+@\S+")
_FIELD = re.compile(r"([\w.\-]+)\s*=")
# A field is a secret's where its name, without signs and case, ends in one of these.
_SECRET = re.compile(r".*(?:key|token|secret|password|passwd|pass|pwd|pw|auth|authorization|bearer|sig|signature"
                     r"|credentials?)")  # fmt: skip
_SIGNS = re.compile(r"[\W_]+")
# Per cent codes of per cent codes: more levels than anybody writes by chance.
_LEVELS = 5
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OUT = (
    "take it out: a key stands in an environment variable, named by --api-key-env or --patient-key-env "
    "(api_key_env in Python)"
)


class Server(NamedTuple):
    """What comes before ``/chat/completions``, and the name under which the server knows the model."""

    url: str
    model: str


def server_of(name: str, role: str) -> Server | None:
    """The server and model that a name stands for; None where it is another kind of name.

    Args:
        name: such as ``http://localhost:8000/v1#my-model``.
        role: whose name it is, for the errors: "policy" or "patient".

    Raises:
        ConfigError: it holds a secret, its URL is none, or no model is named.
    """
    refuse_secrets(name, f"the {role}'s name")
    if not _SERVER.match(name):
        return None
    address, _, model = name.partition("#")
    url = require_url(address, role)
    if not model.strip():
        raise ConfigError(f"{role} {name!r} names a server without a model, expected URL#MODEL")
    return Server(url, model)


def require_url(url: str, where: str) -> str:
    """A server's URL without a slash at its end.

    Raises:
        ConfigError: it is none, or holds anything beside scheme, host, port and path.
    """
    refuse_secrets(url, f"{where}: the url")
    if any(c.isspace() or not c.isprintable() for c in url):  # not shown: what is behind the space may be a password
        raise ConfigError(f"{where}: the url holds a space or a character that cannot be seen, expected neither")
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port out of range, a bad IPv6 address
        raise ConfigError(f"{where}: the url's host or port cannot be read, expected 'http://host:port/v1'") from None
    if "@" in url or "?" in url or "#" in url:
        raise ConfigError(f"{where}: the url holds a user, a query or a fragment, expected none of them; {_OUT}")
    if not sound:
        raise ConfigError(f"{where}: url is {url!r}, expected one such as 'http://localhost:8000/v1'")
    return url.rstrip("/")


def refuse_secrets(text: str, where: str) -> None:
    """Refuses a text in which a URL holds a user, a password or a key, in any case and under any per cent codes.

    Raises:
        ConfigError: says where it stands, and never what it is.
    """
    if _holds_secret(text):
        raise ConfigError(f"{where} holds a user, a password or a key in a URL (not shown here), expected none; {_OUT}")


def _holds_secret(text: str) -> bool:
    text = unicodedata.normalize("NFKC", text)
    for _ in range(_LEVELS):
        if _shows_secret(text):
            return True
        decoded = unquote(text)
        if decoded == text:
            return False
        text = decoded
    return True


def _shows_secret(text: str) -> bool:
    addresses = _ADDRESS.findall(text)
    if _BARE_USER.fullmatch(text) or any(_USER.match(address) for address in addresses):
        return True
    fields = (name for part in [*addresses, *_QUERY.findall(text)] for name in _FIELD.findall(part))
    return any(_SECRET.fullmatch(_SIGNS.sub("", name).lower()) for name in fields)


def require_variable(name: str | None) -> None:
    """Refuses, unseen, what can be no environment variable's name: a key may have been given in its place.

    Raises:
        ConfigError: it has another form, or looks like no name that is in use and is not set.
    """
    if name is None or (_VARIABLE.fullmatch(name) and (name in os.environ or name == name.upper())):
        return
    raise ConfigError(
        "the name given for the key's environment variable (not shown here: it may be the key) is that of none that "
        "is set, expected a name such as MY_KEY; set it by `export MY_KEY=…`, and name it"
    )
