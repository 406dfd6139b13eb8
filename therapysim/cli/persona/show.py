"""``therapysim persona show``: who a patient is, and what it can answer."""

import argparse

from therapysim.personas.answerable import describe_answers
from therapysim.personas.load import open_persona, patients_named

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Who is shown."""
    parser.add_argument("patients", nargs="+", metavar="ID|FILE|FOLDER", help="shipped patients, or your own")


def run(chosen: argparse.Namespace) -> None:
    """Prints each of them.

    Raises:
        PersonaError: a name is none, or a file is wrong; every mistake is said.
    """
    print("\n\n".join(describe_answers(open_persona(name)) for name in patients_named(chosen.patients)))
