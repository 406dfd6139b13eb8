"""``therapysim persona check``: every mistake of patients' files at once; ``--freeze`` freezes a folder."""

import argparse
from pathlib import Path

from therapysim.personas.lint import Checked, check_file, check_folder
from therapysim.personas.load import open_persona
from therapysim.personas.persona_file import load_persona, persona_files
from therapysim.personas.template import spoken, still_example

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """What is checked."""
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILE|FOLDER", help="patients' files, or folders of them")
    told = "then write each folder's manifest: it loads only as it is now; what is unbalanced is warned of"
    add("--freeze", action="store_true", help=told)


def run(chosen: argparse.Namespace) -> None:
    """Says what is wrong, or who is there.

    Raises:
        SystemExit: with code 1, where something is wrong.
    """
    sound = [_check(path, freeze=chosen.freeze) for path in chosen.files]
    if not all(sound):
        raise SystemExit(1)


def _check(path: Path, *, freeze: bool) -> bool:
    found = check_folder(path, freeze=freeze) if path.is_dir() else Checked(check_file(path), [])
    for line in found.problems:
        print(line)
    if found.problems:
        return False
    for file in persona_files(path) if path.is_dir() else [path]:
        print(f"{file}: nothing wrong; {_about(file)}")
    for line in found.warnings:
        print(f"warning: balance of the splits: {line}")
    if found.frozen:
        print(f"{path}: frozen, {found.frozen}")
    return True


def _about(file: Path) -> str:
    persona = load_persona(file)
    left, lines = still_example(persona), spoken(persona)
    who = f"{open_persona(persona).id}, split {persona.split}, risk {persona.risk}, {len(lines)} lines"
    return who + (f", of which {len(left)} are still the example's, such as {left[0]!r}" if left else "")
