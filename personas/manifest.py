"""Which patient belongs to which split, frozen: ``library/manifest.json`` holds every file's hash and the hash of all.

``python -m therapysim.personas.lint`` says whether the library is as it was frozen; ``--freeze`` freezes it anew.
A patient keeps its split for good: a benchmark whose test patients had once been trained on would measure memory.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from therapysim.errors import PersonaError
from therapysim.files import write_json

__all__ = ["MANIFEST", "changes", "of_folder", "read", "write"]

#: The manifest's name in its folder.
MANIFEST = "manifest.json"
_VERSION = 1


def of_folder(folder: Path, splits: dict[str, str]) -> dict[str, Any]:
    """The manifest of a folder as it is now.

    Args:
        folder: holds one YAML file a patient.
        splits: id -> train, dev or test.
    """
    patients = {i: {"split": split, "sha256": _hash(folder / f"{i}.yaml")} for i, split in sorted(splits.items())}
    whole_hash = hashlib.sha256(json.dumps(patients, sort_keys=True).encode()).hexdigest()
    return {"format": "therapysim-library", "version": _VERSION, "sha256": whole_hash, "patients": patients}


def read(folder: Path) -> dict[str, Any] | None:
    """The manifest kept in a folder; None where there is none.

    Raises:
        PersonaError: it cannot be read, or is no manifest of this version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        patients = {str(i): (str(row["split"]), str(row["sha256"])) for i, row in kept["patients"].items()}
        format_, version, _ = kept["format"], kept["version"], kept["sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PersonaError(f"manifest {path}: cannot be read ({error!r}), expected what --freeze writes") from error
    if (format_, version) != ("therapysim-library", _VERSION) or not patients:
        raise PersonaError(f"manifest {path}: is {format_!r} version {version!r}, expected version {_VERSION}")
    return dict(kept)


def write(folder: Path, splits: dict[str, str]) -> dict[str, Any]:
    """Freezes a folder: new patients are added, changed ones hashed anew.

    Raises:
        PersonaError: a patient that was frozen has gone, or changed its split.
    """
    before, after = read(folder), of_folder(folder, splits)
    for i, row in (before or {"patients": {}})["patients"].items():
        now = after["patients"].get(i)
        if now is None or now["split"] != row["split"]:
            found = "gone" if now is None else f"in {now['split']}"
            raise PersonaError(f"manifest {folder / MANIFEST}: {i!r} was frozen in {row['split']} and is {found} now; "
                               "a patient keeps its split: undo that, or give a new patient a new id")  # fmt: skip
    write_json(folder / MANIFEST, after)
    return after


def changes(folder: Path, splits: dict[str, str]) -> list[str]:
    """What differs from the frozen library, one line a patient; empty where nothing does, or nothing was frozen."""
    kept = read(folder)
    if kept is None:
        return []
    before, now = kept["patients"], of_folder(folder, splits)["patients"]
    lines = [f"{i} is not in the manifest" for i in now.keys() - before.keys()]
    lines += [f"{i} is in the manifest, but there is no such file" for i in before.keys() - now.keys()]
    for i in now.keys() & before.keys():
        if now[i]["split"] != before[i]["split"]:
            lines.append(f"{i} is in split {now[i]['split']}, frozen in {before[i]['split']}")
        elif now[i]["sha256"] != before[i]["sha256"]:
            lines.append(f"{i}.yaml differs from the frozen file")
    if not lines and now and kept["sha256"] != of_folder(folder, splits)["sha256"]:
        lines.append("the hash of all does not fit the patients' hashes")
    return sorted(lines)


def _hash(path: Path) -> str:
    # Read as text: line ends that a checkout changed do not make another patient.
    return hashlib.sha256(path.read_text(encoding="utf-8").encode()).hexdigest()
