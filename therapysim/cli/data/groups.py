"""``therapysim data groups``: eight ranked turns for one state, judged by what becomes of the patient."""

import argparse
from functools import partial

from therapysim.cli.data_set import add_set_options, make

__all__ = ["add_options", "run"]

_DESCRIPTION = """\
As `therapysim data pairs`, with eight ranked completions for each state: groups.jsonl, with sheet.md."""

add_options = partial(
    add_set_options, usage="therapysim data groups --out FOLDER [--SETTING VALUE ...]", told=_DESCRIPTION
)


def run(chosen: argparse.Namespace) -> None:
    """Draws what is missing, makes the groups, and says what came of it."""
    make("groups", chosen)
