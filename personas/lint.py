"""``python -m therapysim.personas.lint``: checks patients' files, or the whole library, its splits and its manifest."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from therapysim.errors import PersonaError
from therapysim.personas.consistency import check, check_splits
from therapysim.personas.load import LIBRARY, load_persona, read_folder
from therapysim.personas.manifest import changes, write
from therapysim.personas.schema import Persona

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what is wrong. Returns the exit code: 1 where something is."""
    parser = argparse.ArgumentParser(prog="python -m therapysim.personas.lint", description=__doc__)
    parser.add_argument("files", nargs="*", metavar="FILE.yaml", help="default: the shipped library as a whole")
    parser.add_argument("--freeze", action="store_true", help="then write the library's manifest anew")
    chosen = parser.parse_args(arguments)
    try:
        problems = _check_files(chosen.files) if chosen.files else _check_library(LIBRARY, chosen.freeze)
    except PersonaError as error:
        problems = [str(error)]
    print("\n".join(problems) or "every patient agrees with itself")
    return 1 if problems else 0


def _check_files(files: Sequence[str]) -> list[str]:
    return [problem for file in files for problem in _named(load_persona(file))]


def _check_library(folder: Path, freeze: bool) -> list[str]:
    """The patients, then the splits, then the manifest: nothing wrong is ever frozen."""
    found = read_folder(folder)
    splits = {i: p.split for i, p in found.items()}
    problems = [problem for persona in found.values() for problem in _named(persona)]
    problems = problems or check_splits(list(found.values()))
    if problems or not freeze:
        return problems or changes(folder, splits)
    print(write(folder, splits).sha256)
    return []


def _named(persona: Persona) -> list[str]:
    return [f"{persona.id}: {problem}" for problem in check(persona)]


if __name__ == "__main__":
    sys.exit(main())
