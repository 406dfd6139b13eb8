"""Patients of one's own: files that are named by path, and known everywhere by name and content.

``own/anna.yaml`` is the patient ``anna@1f0c52e8a9b3``: the file's name, and the first digits of the SHA-256 of what it
says (not of its comments or its layout). Results, session files, ratings and settings bear that id, so that two
patients of one name never mix, and one that was edited is another. Settings keep ``own/anna.yaml@1f0c52e8a9b3``: a file
that says something else by then is refused. ``~17`` behind either is a variant, as of the shipped patients.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path

from therapysim.errors import PersonaError
from therapysim.personas.persona_file import load_persona, where
from therapysim.personas.schema import MOODS, Persona
from therapysim.personas.vary import MARK, vary
from therapysim.records import mistakes

__all__ = ["HASH", "base_name", "id_of", "identified", "is_file_name", "persona_hash", "pinned", "read_own"]

#: Between a patient's name and the hash of what its file says.
HASH = "@"
_DIGITS = 12
_NAMED = re.compile(
    rf"(?P<file>.+\.ya?ml)(?:{HASH}(?P<pin>[0-9a-f]{{{_DIGITS}}}))?(?:{MARK}(?P<seed>0|[1-9][0-9]{{0,17}}))?", re.DOTALL
)


def persona_hash(persona: Persona) -> str:
    """SHA-256 of all that a patient's file says, 64 digits; comments, layout and line ends do not count."""
    return _as_read(persona)[1]


def identified(persona: Persona, shipped: Mapping[str, Persona]) -> Persona:
    """The patient under the id that its name and content make; a shipped one is itself.

    Args:
        persona: from a file, or made by code.
        shipped: the shipped patients by id.
    """
    if shipped.get(persona.id) == persona:
        return shipped[persona.id]
    (persona, sha256), name = _as_read(persona), base_name(persona.id)
    if name in shipped and shipped[name] == replace(persona, id=name):
        return shipped[name]
    return replace(persona, id=f"{name}{HASH}{sha256[:_DIGITS]}")


def base_name(persona_id: str) -> str:
    """The name alone: of ``anna@1f0c52e8a9b3~17`` it is ``anna``, of ``marta~3`` ``marta``."""
    return persona_id.partition(MARK)[0].partition(HASH)[0]


def is_file_name(name: str) -> bool:
    """Whether a name is a file's, with or without its content's digits and a variant's seed; no id is."""
    return _NAMED.fullmatch(name) is not None


def read_own(name: str, shipped: Mapping[str, Persona]) -> Persona:
    """The patient of a file, or its variant.

    Args:
        name: as ``is_file_name`` knows it.
        shipped: the shipped patients by id.

    Raises:
        PersonaError: the file is wrong, every mistake at once; it says something else than it did; or it is to be
            varied and is not of split train.
    """
    given = _matched(name)
    persona = identified(_loaded(Path(given["file"])), shipped)
    pin = persona_hash(persona)[:_DIGITS]
    if given["pin"] not in (None, pin):
        raise PersonaError(
            f"{where(Path(given['file']))}: what it says has changed: its hash is {pin}, expected {given['pin']}; undo "
            "that, or begin anew in another folder: results with another patient do not compare"
        )
    return persona if given["seed"] is None else vary(persona, int(given["seed"]))


def pinned(name: str, shipped: Mapping[str, Persona]) -> str:
    """The file's name with its content's digits, as settings keep it; the id where it is a shipped patient's file.

    Raises:
        PersonaError: as ``read_own``.
    """
    persona, given = read_own(name, shipped), _matched(name)
    if HASH not in persona.id:
        return persona.id
    seed = "" if given["seed"] is None else f"{MARK}{given['seed']}"
    return f"{given['file']}{HASH}{persona.id.partition(HASH)[2].partition(MARK)[0]}{seed}"


def id_of(name: str) -> str:
    """The id of the patient that settings call so, without reading its file; an id stays what it is."""
    given = _NAMED.fullmatch(name)
    if given is None:
        return name
    pin = f"{HASH}{given['pin']}" if given["pin"] else ""
    return f"{Path(given['file']).stem}{pin}" + (f"{MARK}{given['seed']}" if given["seed"] else "")


def _as_read(persona: Persona) -> tuple[Persona, str]:
    """The patient as its file would be read, where 1 is 1.0 and a list a tuple, and the SHA-256 of what it says."""
    try:
        return _as_read_once(persona)
    except TypeError:  # one made by code with lists cannot be looked up
        return _read_anew(persona)


def _read_anew(persona: Persona) -> tuple[Persona, str]:
    named = replace(persona, id=base_name(persona.id))
    by_name = dict(zip(MOODS, named.mood, strict=False))  # as a file gives it
    found = mistakes({**asdict(named), "mood": by_name}, Persona)[0] or named
    plain = json.dumps(asdict(found), sort_keys=True)
    return replace(found, id=persona.id), hashlib.sha256(plain.encode()).hexdigest()


_as_read_once = lru_cache(maxsize=1_024)(_read_anew)


def _matched(name: str) -> re.Match[str]:
    if (given := _NAMED.fullmatch(name)) is None:
        raise PersonaError(f"persona file is {name!r}, expected a name that ends in .yaml or .yml")
    return given


def _loaded(path: Path) -> Persona:
    """Read once, until the file is written anew."""
    try:
        state = path.stat()
    except OSError:
        return load_persona(path)  # says what is wrong
    return _kept(path.absolute(), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1_024)
def _kept(path: Path, written_ns: int, size: int) -> Persona:
    return load_persona(path)
