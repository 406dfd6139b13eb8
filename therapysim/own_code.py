"""Code of the user's own, named ``package.module:Name``: found, and told by the SHA-256 of its source."""

import hashlib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from therapysim.errors import ConfigError

__all__ = ["find_own", "is_place", "source_of"]

#: module -> file -> its bytes when they were first looked at.
_FIRST: WeakKeyDictionary[ModuleType, dict[str, bytes]] = WeakKeyDictionary()
_PLACE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_place(name: str) -> bool:
    """Whether a name has the form ``package.module:Name``."""
    return bool(_PLACE.fullmatch(name))


def find_own(place: str, what: str, expected: str) -> tuple[Any, str]:
    """What ``package.module:Name`` names, from the working folder too, and the SHA-256 of its source.

    Args:
        place: module and name.
        what: what a message calls it, such as ``policy 'mine:talk'``.
        expected: what a message says where there is no such module.

    Raises:
        ConfigError: there is no such module or name, or importing it fails.
    """
    path, _, attribute = place.partition(":")
    try:
        with _working_folder():
            module = importlib.import_module(path)
        found = getattr(module, attribute)
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        if isinstance(error, ModuleNotFoundError) and f"{path}.".startswith(f"{error.name}."):
            stem = path.removesuffix(".py")
            near = f"; did you mean '{stem}:{attribute}'?" if stem != path else ""
            raise ConfigError(f"{what}: there is no module {path!r}; expected {expected}{near}") from error
        if path in sys.modules and not hasattr(sys.modules[path], attribute):
            close = get_close_matches(attribute, [name for name in vars(sys.modules[path]) if name[0] != "_"], n=1)
            meant = f"did you mean {close[0]!r}?" if close else f"mend {path}"
            raise ConfigError(f"{what} cannot be had: {path} has no {attribute!r}; {meant}") from error
        raise ConfigError(f"{what} cannot be had: {error!r}; mend {path}") from error
    return found, source_of(found, module)


def source_of(found: Any, module: ModuleType | None = None) -> str:
    """SHA-256 of the files that define something: its module, its class or function, and what its class inherits.

    What those files import is not looked at; nor is TherapySim's own code, or what has no file of Python.

    Raises:
        ConfigError: a file has changed since it was first looked at, while the code that it held still runs.
    """
    kind = found if inspect.isroutine(found) or isinstance(found, type) else type(found)
    bases = [base for base in kind.__mro__[1:] if _is_own(base)] if isinstance(kind, type) else []
    digest = hashlib.sha256()
    for part in ([module] if module else []) + [kind, *bases]:
        try:
            file = inspect.getsourcefile(part)
        except (TypeError, OSError):  # built into the interpreter; typed into it, as in a notebook
            continue
        if file and os.path.isfile(file):  # a cell of a notebook has a name, and no file
            digest.update(_imported(part, file))
    return digest.hexdigest()


def _imported(part: Any, file: str) -> bytes:
    """A file as it was when its module was first looked at, which is the code that runs."""
    with open(file, "rb") as held:
        now = held.read()
    module = part if isinstance(part, ModuleType) else sys.modules.get(part.__module__)
    first = now if module is None else _FIRST.setdefault(module, {}).setdefault(file, now)
    if first != now:
        raise ConfigError(f"source {file} has changed since it was imported, and what runs is older; start anew")
    return first


def _is_own(base: type) -> bool:
    return base.__module__.partition(".")[0] not in ("therapysim", *sys.stdlib_module_names)


@contextmanager
def _working_folder() -> Iterator[None]:
    """Looks there first, as `python -m` does, and from then on last: no file there is run in place of a package."""
    here = os.getcwd()
    if here in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
        sys.path.append(here)
