"""``therapysim data pairs``: a chosen and a rejected turn for one state, judged by what becomes of the patient."""

import argparse
from functools import partial

from therapysim.cli.data_set import add_set_options, make

__all__ = ["add_options", "run"]

_DESCRIPTION = """\
Plays sessions by teacher policies, draws good candidates and deliberate clinical errors for states along the way, says
each in the very same state, lets each branch go on under one common policy, and keeps pairs of which one side is worse
by a margin: pairs.jsonl, with sheet.md. The same command goes on where it was broken off."""

add_options = partial(
    add_set_options, usage="therapysim data pairs --out FOLDER [--SETTING VALUE ...]", told=_DESCRIPTION
)


def run(chosen: argparse.Namespace) -> None:
    """Draws what is missing, makes the pairs, and says what came of it."""
    make("pairs", chosen)
