"""Which code a benchmark is played with: a hash a room, so that an error can say which room changed.

Files are found as Python finds the package, so that it makes no difference whether a room is a folder, a link to one or
a part of a ZIP.
"""

import hashlib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from therapysim.errors import ConfigError

__all__ = ["code_hashes", "file_hashes"]

_ROOMS = ("models", "personas", "rewards", "envs", "agents")
#: What changes no result: the reports, the reference board, and the probes, which no benchmark plays.
_ASIDE = frozenset(("agents/bench/board", "agents/bench/report", "agents/probes"))
_KINDS = (".py", ".yaml")


def code_hashes() -> dict[str, str]:
    """Room -> SHA-256 of its code and texts, those of its floors included; no trainers, commands or reports.

    Raises:
        ConfigError: a room holds no code, so that nobody could tell whether it changed.
    """
    # The root's own folders may be links to the rooms.
    return {"therapysim": _digest("therapysim", _own(files("therapysim")))} | {
        room: _digest(room, _files(files(f"therapysim.{room}"), room)) for room in _ROOMS
    }


def file_hashes(package: str, folder: str, names: tuple[str, ...]) -> dict[str, str]:
    """Name -> SHA-256 of that file in a package's folder."""
    held = files(package) / folder
    return {name: hashlib.sha256((held / name).read_bytes()).hexdigest() for name in names}


def _digest(room: str, found: Iterator[tuple[str, Traversable]]) -> str:
    rows = [f"{place}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n" for place, file in found]
    if not rows:
        raise ConfigError(
            f"room {room!r} of the installed package holds no code, expected some of {', '.join(_KINDS)}: a change in "
            "it would go unseen; install therapysim anew"
        )
    return hashlib.sha256("".join(rows).encode()).hexdigest()


def _own(folder: Traversable) -> Iterator[tuple[str, Traversable]]:
    """Place and file of what lies in the folder itself, by name."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(_KINDS) and entry.is_file():
            yield entry.name, entry


def _files(folder: Traversable, place: str) -> Iterator[tuple[str, Traversable]]:
    """The same of the folder and all folders in it, but for those aside."""
    yield from ((f"{place}/{name}", file) for name, file in _own(folder))
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir() and f"{place}/{entry.name}" not in _ASIDE:
            yield from _files(entry, f"{place}/{entry.name}")
