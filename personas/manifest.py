"""Which patient belongs to which split, frozen: ``library/manifest.json`` holds every file's hash and the hash of all.

``python -m therapysim.personas.lint`` says whether the library is as it was frozen; ``--freeze`` freezes it anew.
A patient keeps its split for good: a benchmark whose test patients had once been trained on would measure memory.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from therapysim.errors import PersonaError
from therapysim.files import write_json
from therapysim.personas.schema import Split
from therapysim.records import Record, read_record

__all__ = ["MANIFEST", "Frozen", "Manifest", "changes", "of_folder", "read", "write"]

#: The manifest's name in its folder.
MANIFEST = "manifest.json"

_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="a SHA-256, 64 digits from 0 to f")]


class Frozen(Record):
    """One patient as it was frozen: its split, and the SHA-256 of its file."""

    split: Split
    sha256: _Hash


class Manifest(Record):
    """The patients of a folder by id, and the SHA-256 of them all."""

    format: Literal["therapysim-library"] = "therapysim-library"
    version: Literal[1] = 1
    sha256: _Hash
    patients: Annotated[dict[str, Frozen], Field(min_length=1)]


def of_folder(folder: Path, splits: Mapping[str, Split]) -> Manifest:
    """The manifest of a folder as it is now.

    Args:
        folder: holds one YAML file a patient.
        splits: id -> train, dev or test.
    """
    patients = {i: Frozen(split=split, sha256=_hash(folder, i)) for i, split in sorted(splits.items())}
    rows = {i: row.model_dump() for i, row in patients.items()}
    return Manifest(sha256=hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest(), patients=patients)


def read(folder: Path) -> Manifest | None:
    """The manifest kept in a folder; None where there is none.

    Raises:
        PersonaError: it cannot be read, or is no manifest of this version.
    """
    path = folder / MANIFEST
    return read_record(path, Manifest, PersonaError, f"manifest {path}") if path.is_file() else None


def write(folder: Path, splits: Mapping[str, Split]) -> Manifest:
    """Freezes a folder: new patients are added, changed ones hashed anew.

    Raises:
        PersonaError: a patient that was frozen has gone, or changed its split.
    """
    before, after = read(folder), of_folder(folder, splits)
    for i, row in (before.patients if before else {}).items():
        now = after.patients.get(i)
        if now is None or now.split != row.split:
            found = "gone" if now is None else f"in {now.split}"
            raise PersonaError(f"manifest {folder / MANIFEST}: {i!r} was frozen in {row.split} and is {found} now; "
                               "a patient keeps its split: undo that, or give a new patient a new id")  # fmt: skip
    write_json(folder / MANIFEST, after.model_dump())
    return after


def changes(folder: Path, splits: Mapping[str, Split]) -> list[str]:
    """What differs from the frozen library, one line a patient; empty where nothing does, or nothing was frozen."""
    kept = read(folder)
    if kept is None:
        return []
    whole = of_folder(folder, splits)
    before, now = kept.patients, whole.patients
    lines = [f"{i} is not in the manifest" for i in now.keys() - before.keys()]
    lines += [f"{i} is in the manifest, but there is no such file" for i in before.keys() - now.keys()]
    for i in now.keys() & before.keys():
        if now[i].split != before[i].split:
            lines.append(f"{i} is in split {now[i].split}, frozen in {before[i].split}")
        elif now[i].sha256 != before[i].sha256:
            lines.append(f"{i}.yaml differs from the frozen file")
    if not lines and kept.sha256 != whole.sha256:
        lines.append("the hash of all does not fit the patients' hashes")
    return sorted(lines)


def _hash(folder: Path, persona_id: str) -> str:
    path = next(path for suffix in (".yaml", ".yml") if (path := folder / f"{persona_id}{suffix}").is_file())
    # Read as text: line ends that a checkout changed do not make another patient.
    return hashlib.sha256(path.read_text(encoding="utf-8").encode()).hexdigest()
