"""One patient's file: YAML in, a checked Persona out, or an error that names every mistake in it at once."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, get_type_hints

from therapysim.documents import Unreadable, read_document
from therapysim.errors import PersonaError
from therapysim.faults import printable, shown
from therapysim.files import whole
from therapysim.personas.consistency import CHECKS
from therapysim.personas.schema import RULES, Persona
from therapysim.records import mistakes

__all__ = ["faults_in", "load_persona", "persona_files", "read_folder", "told", "where", "write_new"]

# A file larger than this is no patient; the largest that ships has 53 kB.
_MOST_BYTES = 2**20

T = TypeVar("T")


def load_persona(path: str | Path) -> Persona:
    """One patient, read and checked.

    Args:
        path: a YAML file named after the persona's id.

    Raises:
        PersonaError: the file cannot be read, or fields are missing, unknown, mistyped or out of range; the message
            names persona and file, and of every mistake the field, what was found and what was expected.
    """
    path = Path(path)
    persona, faults = _read(_content(path), path.stem)
    if persona is None or faults:
        raise PersonaError(told(where(path), faults))
    return persona


def faults_in(path: Path) -> list[str]:
    """All that is wrong in one file: its mistakes, and what contradicts what as far as its fields can be read.

    Raises:
        PersonaError: the file cannot be read at all.
    """
    value = _content(path)
    return list(dict.fromkeys([*_read(value, path.stem)[1], *_found(CHECKS, _parts(value))]))


def write_new(path: Path, text: str) -> None:
    """Writes a patient's file where there is none, whole or not at all.

    Raises:
        PersonaError: the path is no new file that ends in .yaml, or it cannot be written.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise PersonaError(f"persona file is {shown(str(path))}, expected a name that ends in .yaml")
    if path.exists():
        raise PersonaError(f"persona file {path} is there already; name another")
    try:
        with whole(path) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PersonaError(f"persona file {path} cannot be written: {error.strerror or error}") from error


def read_folder(folder: Path) -> dict[str, Persona]:
    """Every patient of a folder by id, sorted by id, whatever its manifest says.

    Raises:
        PersonaError: the folder holds no persona file, files are wrong, or two files bear one id; every mistake of
            every file is said.
    """
    found: dict[str, Persona] = {}
    faults: list[str] = []
    for path in persona_files(folder):
        try:
            persona = load_persona(path)
        except PersonaError as error:
            faults.append(str(error))
            continue
        if persona.id in found:
            expected = "expected one file an id; rename one"
            faults.append(f"{where(path)}: id is {persona.id!r} twice in this folder, {expected}")
        found[persona.id] = persona
    if faults:
        raise PersonaError("\n".join(faults))
    return dict(sorted(found.items()))


def persona_files(folder: Path) -> list[Path]:
    """The files of a folder's patients, sorted.

    Raises:
        PersonaError: there is none.
    """
    paths = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    if not paths:
        raise PersonaError(f"persona folder {folder}: found no persona file, expected *.yaml, one a patient")
    return paths


def told(place: str, faults: list[str]) -> str:
    """The mistakes of one file: one behind its name, several in a line each below it."""
    if len(faults) == 1:
        return f"{place}: {faults[0]}"
    return "\n".join([f"{place}: {len(faults)} mistakes", *(f"  {fault}" for fault in faults)])


def where(path: Path) -> str:
    """What a message calls a patient's file."""
    folder = f"{printable(path.parent.name)}/" if path.parent.name else ""
    return f"persona {path.stem!r} ({folder}{printable(path.name)})"


def _read(value: Any, stem: str) -> tuple[Persona | None, list[str]]:
    """The patient, if it can be read, and every mistake."""
    persona, faults = mistakes(value, Persona)
    if persona is None:
        faults += [_said(fault) for fault in _found(RULES, _parts(value))]
    named = persona.id if persona else value.get("id") if isinstance(value, dict) else None
    if isinstance(named, str) and named != stem and not any(fault.startswith("id is") for fault in faults):
        faults.append(f"id is {named!r}, expected {stem!r}, the file's name without its suffix")
    return persona, faults


def _content(path: Path) -> Any:
    try:
        return read_document(path, _MOST_BYTES)
    except Unreadable as fault:
        raise PersonaError(f"{where(path)}: {fault}") from fault


def _parts(value: Any) -> Any:
    """The fields that are right by themselves; the rest are missing."""
    parts, kinds = SimpleNamespace(), get_type_hints(Persona, include_extras=True)
    for field in fields(Persona):
        if isinstance(value, dict) and field.name in value:
            part, faults = mistakes(value[field.name], kinds[field.name])
            if not faults:
                setattr(parts, field.name, part)
    return parts


def _found(checks: Iterable[Callable[[Any], Iterable[T]]], parts: Any) -> list[T]:
    """What the checks yield; one that looks at a field that is missing ends there."""
    found: list[T] = []
    for check in checks:
        with suppress(AttributeError):
            for fault in check(parts):
                found.append(fault)
    return found


def _said(fault: tuple[str, str, str]) -> str:
    found, expected, place = fault
    return f"{place} is {found}, expected {expected}"
