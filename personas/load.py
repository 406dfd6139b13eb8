"""The only reader of persona files: YAML in, a checked Persona out, or an error that says where to look."""

from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

from therapysim.errors import PersonaError
from therapysim.faults import hint, printable, shown
from therapysim.personas.manifest import MANIFEST, changes, read
from therapysim.personas.schema import SPLITS, Persona
from therapysim.personas.vary import MARK, vary
from therapysim.records import read_record

__all__ = [
    "LIBRARY",
    "find",
    "library",
    "library_hash",
    "load_persona",
    "personas",
    "read_folder",
    "training_ids",
]

#: The folder of the patients that ship with the package.
LIBRARY = Path(__file__).parent / "library"

# A file larger than this is no patient; the largest that ships has 53 kB.
_MOST_BYTES = 2**20
# A variant's seed is part of file names.
_MOST_DIGITS = 18


def load_persona(path: str | Path) -> Persona:
    """One patient, read and checked.

    Args:
        path: a YAML file named after the persona's id.

    Raises:
        PersonaError: the file cannot be read, or a field is missing, unknown, mistyped or out of range; the message
            names persona, file and field, what was found and what was expected.
    """
    path = Path(path)
    persona = read_record(path, Persona, PersonaError, _where(path), _MOST_BYTES)
    if persona.id != path.stem:
        expected = f"{path.stem!r}, the file's name without its suffix"
        raise PersonaError(f"{_where(path)}: id is {persona.id!r}, expected {expected}")
    return persona


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
    """Ids of the patients that a policy may learn from: the ids given, else the split's.

    Raises:
        PersonaError: one of them is a test patient, an id or the split is unknown. A policy that has met a test patient
            can no longer be benchmarked: its score would measure memory.
    """
    chosen = [find(i) for i in ids] or personas(split)
    kept_apart = sorted(p.id for p in chosen if p.split == "test")
    if kept_apart:
        raise PersonaError(
            f"test patients ({', '.join(kept_apart)}) are kept apart for benchmarks: nothing may be trained on them; "
            "choose patients of train or dev"
        )
    return tuple(p.id for p in chosen)


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
    found = read_folder(folder)
    if changed := changes(folder, {i: p.split for i, p in found.items()}):
        raise PersonaError(
            f"persona folder {folder}: not as frozen in {MANIFEST}: {'; '.join(changed)}. Undo that, or freeze it anew "
            "with `python -m therapysim.personas.lint --freeze`; results with other patients do not compare"
        )
    return found


def read_folder(folder: Path) -> dict[str, Persona]:
    """Every patient of a folder by id, sorted by id, whatever its manifest says.

    Raises:
        PersonaError: the folder holds no persona file, a file is wrong, or two files bear one id.
    """
    paths = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    if not paths:
        raise PersonaError(f"persona folder {folder}: found no persona file, expected *.yaml, one a patient")
    found: dict[str, Persona] = {}
    for path in paths:
        persona = load_persona(path)
        if persona.id in found:
            raise PersonaError(
                f"{_where(path)}: id is {persona.id!r} twice in this folder, expected one file an id; rename one"
            )
        found[persona.id] = persona
    return dict(sorted(found.items()))


def _where(path: Path) -> str:
    return f"persona {path.stem!r} ({printable(path.parent.name)}/{printable(path.name)})"
