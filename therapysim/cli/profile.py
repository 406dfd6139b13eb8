"""``therapysim profile``: the mood over the turns of sessions."""

import argparse
from pathlib import Path

from therapysim.agents.figures import save
from therapysim.agents.sessions.mood_profile import draw_profile, profile_table
from therapysim.agents.sessions.session_file import load_sessions
from therapysim.cli.options import refuse_existing

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which sessions, and where the figure goes."""
    add = parser.add_argument
    add("sessions", nargs="+", metavar="SESSION", help="session files of bench --sessions, or folders of them")
    add("--out", required=True, metavar="FILE", help="the figure, .png or .svg")
    add("--force", action="store_true", help="replace a figure that exists")


def run(chosen: argparse.Namespace) -> None:
    """Draws the profile, and prints it as a table."""
    refuse_existing([Path(chosen.out)], chosen.force)
    records = load_sessions(chosen.sessions)
    written = save(draw_profile(records), chosen.out)
    print(f"{profile_table(records)}\n{written}")
