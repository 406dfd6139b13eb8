"""``therapysim persona import``: another simulator's profile as a patient's file with marked gaps, and a report."""

import argparse
from pathlib import Path

from therapysim.cli.options import keep, refuse_existing, require_place
from therapysim.errors import ConfigError, PersonaError
from therapysim.personas.imports.carried import carry, read_profile
from therapysim.personas.imports.formats import FORMATS
from therapysim.personas.imports.gaps import report, write_gaps
from therapysim.visible import visible

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The profile, its format, and where the patient goes."""
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="the profile, JSON or YAML")
    add("--format", required=True, choices=tuple(FORMATS), help="whose profile it is")
    add("--out", required=True, type=Path, metavar="FILE.yaml", help="a new file; its name is the patient's id")
    add("--number", type=int, metavar="N", help="which profile of a file that holds a list, from 1")
    add(
        "--example",
        action="store_true",
        help="fill each gap with a marked line of `persona new`, so that it works at once",
    )
    add("--report", type=Path, metavar="FILE.json", help="a new file for the report")


def run(chosen: argparse.Namespace) -> None:
    """Writes the patient with its gaps, and says what was carried over, noted, left out, and is missing.

    Raises:
        PersonaError: the profile cannot be read, or the file not be written.
        ConfigError: the report cannot be written, or is to be the patient's file.
    """
    if chosen.report and chosen.report.resolve() == chosen.out.resolve():
        raise ConfigError(f"--report and --out are both {chosen.out}, expected two files; name another for the report")
    require_place(chosen.report)
    refuse_existing([chosen.report] if chosen.report else [], force=False)
    carried = carry(read_profile(chosen.file, chosen.number), chosen.format)
    if not carried.mapped and not carried.notes:
        raise PersonaError(
            f"profile {chosen.file}, read as {chosen.format}, has no field of that format: it has "
            f"{', '.join(carried.left_out) or 'none'}; is it another of {', '.join(FORMATS)}?"
        )
    source = f"{chosen.file.name}, read as {chosen.format}"
    gaps = write_gaps(carried, chosen.out, source, example=chosen.example)
    noted = [{"field": name, "beside": at, "why": why} for at, own in carried.notes.items() for name, _, why in own]
    told = {"carried": carried.mapped, "noted": noted, "left_out": carried.left_out, "missing": gaps}
    keep(chosen.report, {"profile": visible(str(chosen.file)), "format": chosen.format, **told})
    todo = "write anew what is marked as the example's" if chosen.example else "fill in each null"
    print(f"{report(carried, gaps)}\n{chosen.out}: {todo}, then `therapysim persona check {chosen.out}`")
