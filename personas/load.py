"""Who there is: the shipped patients by id and by split, and patients of one's own by file or folder."""

import os
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

from therapysim.errors import PersonaError
from therapysim.faults import hint, shown
from therapysim.personas.manifest import MANIFEST, changes, read
from therapysim.personas.own import HASH, identified, is_file_name, pinned, read_own
from therapysim.personas.persona_file import load_persona, persona_files, read_folder
from therapysim.personas.schema import SPLITS, Persona
from therapysim.personas.vary import MARK, vary

__all__ = [
    "LIBRARY",
    "find",
    "library",
    "library_hash",
    "load_persona",
    "open_persona",
    "patients_named",
    "personas",
    "read_folder",
    "training_ids",
]

#: The folder of the patients that ship with the package.
LIBRARY = Path(__file__).parent / "library"

# A variant's seed is part of file names.
_MOST_DIGITS = 18


def library(folder: str | Path | None = None) -> dict[str, Persona]:
    """Every patient of a folder by id, sorted by id; read once a process.

    Args:
        folder: holds one YAML file a patient; the shipped library where None.

    Raises:
        PersonaError: the folder holds no persona file, a file is wrong, two files bear one id, or the folder's manifest
            says that a patient was changed, added or moved since it was frozen.
    """
    try:
        place = Path(folder or LIBRARY).resolve()
    except (TypeError, ValueError) as error:
        raise PersonaError(f"persona folder is {shown(folder)}, expected a folder's path: {error}") from error
    return dict(_checked_folder(place))


def library_hash() -> str:
    """SHA-256 of the shipped library as frozen: what a result should name.

    Raises:
        PersonaError: the library is not as it was frozen, or was never frozen.
    """
    library()
    kept = read(LIBRARY)
    if kept is None:
        raise PersonaError(f"manifest {LIBRARY / MANIFEST} is missing, expected beside the patients; install anew")
    return kept.sha256


def personas(split: str | None = None) -> tuple[Persona, ...]:
    """The shipped patients of a split, or all of them, sorted by id.

    Raises:
        PersonaError: there is no such split.
    """
    if split is not None and split not in SPLITS:
        raise PersonaError(f"persona split is {split!r}, expected one of {', '.join(SPLITS)}, or None for all")
    return tuple(p for p in library().values() if split in (None, p.split))


def training_ids(split: str = "train", ids: Sequence[str] = ()) -> tuple[str, ...]:
    """The patients that a policy may learn from: those given, as ``patients_named`` has them, else the split's ids.

    Args:
        split: train, dev or test.
        ids: ids, and files or folders of one's own.

    Raises:
        PersonaError: one of them is a test patient, a name or the split is unknown, or a file is wrong. A policy that
            has met a test patient can no longer be benchmarked: its score would measure memory.
    """
    names = patients_named(ids) or tuple(p.id for p in personas(split))
    kept_apart = sorted(p.id for p in map(open_persona, names) if p.split == "test")
    if kept_apart:
        raise PersonaError(
            f"test patients ({', '.join(kept_apart)}) are kept apart for benchmarks: nothing may be trained on them; "
            "choose patients of train or dev"
        )
    return names


def open_persona(named: Persona | str | Path) -> Persona:
    """A patient by id, by its file, or as it is; one of one's own under the id that its content makes.

    A Persona that bears the id of a variant of one's own, such as ``anna@1f0c52e8a9b3~3``, is given back as it is: the
    patient that it varies, by which it could be checked, is not at hand. Give one that was edited an id of its own.

    Args:
        named: an id such as ``marta`` or ``marta~17``; a file such as ``own/anna.yaml``; or a Persona made by code.

    Raises:
        PersonaError: the id is unknown, or the file is wrong; every mistake of it is said.
    """
    if isinstance(named, Persona):
        return named if _is_variant(named) else identified(named, library())
    if isinstance(named, Path) or (isinstance(named, str) and is_file_name(named)):
        return read_own(str(named), library())
    if isinstance(named, str) and named not in library() and Path(named).is_dir():
        raise PersonaError(f"persona {named!r} is a folder, expected one of its files, such as {named}/anna.yaml")
    return find(named)


def patients_named(names: Sequence[str]) -> tuple[str, ...]:
    """The patients that some names stand for, each in the one form that settings keep and ``open_persona`` reads.

    What ends in .yaml or .yml is a file. A shipped patient's id, or its variant's, is that patient, even where a folder
    here has the same name: write ``./marta`` for the folder. Any other name is a folder, and stands for its files.

    Raises:
        PersonaError: a name is none of these, or files are wrong; every mistake of every file is said.
    """
    found: list[str] = []
    faults: list[str] = []
    for name in map(os.path.expanduser, names):
        try:
            found += _named(name)
        except PersonaError as error:
            faults.append(str(error))
    if faults:
        raise PersonaError("\n".join(faults))
    return tuple(found)


def _named(name: str) -> list[str]:
    shipped = library()
    if is_file_name(name):
        return [pinned(name, shipped)]
    if name not in shipped and Path(name).is_dir():
        return [pinned(str(file), shipped) for file in _files_of(Path(name))]
    if name not in shipped and MARK not in name:
        held = [str(file) for pattern in (f"{name}.yaml", f"*/{name}.yaml") for file in Path().glob(pattern)]
        near = f"; did you mean the file {held[0]!r}?" if held else hint(name, list(shipped))
        raise PersonaError(
            f"persona {shown(name)} is unknown{near}; there is no folder of that name here, and a file's name ends in "
            f".yaml; ids are {', '.join(shipped)}"
        )
    return [find(name).id]


def _files_of(folder: Path) -> list[Path]:
    """A folder's files, once all of them are right and as they were frozen."""
    _checked(folder.resolve())
    return persona_files(folder)


def _is_variant(persona: Persona) -> bool:
    """Whether it is the very variant of a shipped patient that its id says, or bears the id of one's own variant."""
    if MARK not in persona.id or HASH in persona.id:
        return MARK in persona.id
    try:
        return find(persona.id) == persona
    except PersonaError:
        return False


def find(persona_id: str) -> Persona:
    """The shipped patient of that id, or the variant of a training patient, such as ``marta~17``.

    Raises:
        PersonaError: there is none; the message lists those there are.
    """
    if isinstance(persona_id, str) and MARK in persona_id:
        return _variant(persona_id)
    shipped = library()
    if not isinstance(persona_id, str) or persona_id not in shipped:
        there = ", ".join(shipped)
        raise PersonaError(
            f"persona {shown(persona_id)} is unknown{hint(str(persona_id), list(shipped))}; there are {there}"
        )
    return shipped[persona_id]


@lru_cache(maxsize=4_096)
def _variant(persona_id: str) -> Persona:
    base, _, seed = persona_id.partition(MARK)
    # One spelling a variant: "007" and other digits than 0 to 9 would be second names of the same one.
    if not seed.isdecimal() or len(seed) > _MOST_DIGITS or seed != str(int(seed)):
        raise PersonaError(
            f"persona {shown(persona_id)}: {shown(seed)} after {MARK!r} is no seed, expected such as 'marta{MARK}17', "
            f"of at most {_MOST_DIGITS} digits"
        )
    return vary(find(base), int(seed))


@cache
def _checked_folder(folder: Path) -> dict[str, Persona]:
    return _checked(folder)


def _checked(folder: Path) -> dict[str, Persona]:
    found = read_folder(folder)
    if changed := changes(folder, {i: p.split for i, p in found.items()}):
        raise PersonaError(
            f"persona folder {folder}: not as frozen in {MANIFEST}: {'; '.join(changed)}. Undo that, or freeze it anew "
            f"with `therapysim persona check {folder} --freeze`; results with other patients do not compare"
        )
    return found
