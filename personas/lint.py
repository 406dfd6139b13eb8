"""``python -m therapysim.personas.lint``: checks patients' files and folders, or the shipped library as a whole.

``therapysim persona check`` is the same for patients of one's own.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from therapysim.errors import PersonaError
from therapysim.personas.consistency import check_splits
from therapysim.personas.load import LIBRARY
from therapysim.personas.manifest import changes, write
from therapysim.personas.persona_file import faults_in, persona_files, read_folder, told, where

__all__ = ["Checked", "check_file", "check_folder", "main"]


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found in a folder.

    Attributes:
        problems: what must be mended; nothing is frozen where there are any.
        warnings: what need not be: the splits' balance in a folder of one's own.
        frozen: the hash of all, where the folder was frozen; else "".
    """

    problems: list[str]
    warnings: list[str]
    frozen: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what is wrong. Returns the exit code: 1 where something is."""
    parser = argparse.ArgumentParser(prog="python -m therapysim.personas.lint", description=__doc__)
    parser.add_argument("files", nargs="*", metavar="FILE.yaml|FOLDER", help="default: the shipped library as a whole")
    parser.add_argument("--freeze", action="store_true", help="then write the folders' manifests anew")
    chosen = parser.parse_args(arguments)
    problems: list[str] = []
    for path in map(Path, chosen.files or [LIBRARY]):
        found = check_folder(path, freeze=chosen.freeze) if path.is_dir() else Checked(check_file(path), [])
        problems += found.problems
        for line in [*(f"warning: {line}" for line in found.warnings), *[found.frozen] * bool(found.frozen)]:
            print(line)
    print("\n".join(problems) or "every patient agrees with itself")
    return 1 if problems else 0


def check_file(path: Path) -> list[str]:
    """All that is wrong in one file: every mistake, and every contradiction as far as its fields can be read."""
    try:
        faults = faults_in(path)
    except PersonaError as error:
        return [str(error)]
    return [told(where(path), faults)] if faults else []


def check_folder(folder: Path, *, freeze: bool = False) -> Checked:
    """A folder's patients, then the splits, then the manifest, which ``freeze`` writes anew where nothing is wrong.

    The splits' balance is a problem of the shipped library alone, and no hindrance to freezing either.
    """
    try:
        problems = [problem for path in persona_files(folder) for problem in check_file(path)]
        people = {} if problems else read_folder(folder)
        splits = {i: p.split for i, p in people.items()}
        balance = check_splits(list(people.values()))
        if folder == LIBRARY and not freeze:
            problems, balance = problems + balance, []
        if problems or not freeze:
            mend = f"undo that, or freeze it anew: therapysim persona check {folder} --freeze"
            return Checked(problems or [f"{folder}: {line}; {mend}" for line in changes(folder, splits)], balance)
        return Checked([], balance, write(folder, splits).sha256)
    except PersonaError as error:
        return Checked([str(error)], [])


if __name__ == "__main__":
    sys.exit(main())
