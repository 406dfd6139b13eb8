"""``therapysim export-sessions``: kept sessions as chats, pairs or a table, for other trainers."""

import argparse
import sys
from pathlib import Path

from therapysim.errors import ConfigError

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which sessions, and in what form."""
    add = parser.add_argument
    add("results", type=Path, metavar="RESULTS",
        help="a benchmark's folder or file of results, or a folder of session files")  # fmt: skip
    add("--format", choices=("messages", "pairs", "csv"), default="messages",
        help="messages (default): a chat a row; pairs: two turns of one state a row; csv: a turn a row")  # fmt: skip
    add("--out", required=True, type=Path, metavar="FOLDER", help="the new folder; written whole or not at all")
    add("--policy", action="append", default=[], metavar="NAME", help="whose sessions, once a policy; default all")
    add("--min-return", type=float, metavar="X", help="leave out what earned less; of pairs, by the chosen side")
    add("--header", choices=("long", "short", "none"),
        help="the state before a patient's words: long (default), as in training; short; none")  # fmt: skip
    add("--force", action="store_true", help="replace an earlier export; nothing else is ever replaced")


def run(chosen: argparse.Namespace) -> None:
    """Writes the folder, warns of test patients, and says what it holds.

    Raises:
        ConfigError: the results cannot be used, nothing is left, or the folder is taken.
    """
    if chosen.header and chosen.format == "csv":
        raise ConfigError("--header is for messages and pairs: the table has e_t in columns; leave it out")
    from therapysim.train.chats.export_chats import export_chats

    made = export_chats(chosen.results, chosen.out, chosen.format, policies=chosen.policy, min_return=chosen.min_return,
                        header=chosen.header or "long", force=chosen.force)  # fmt: skip
    if made.told["warning"]:
        print(f"therapysim: warning: {made.told['warning']}", file=sys.stderr)
    policies = ", ".join(f"{n} of {name or 'nobody'}" for name, n in made.told["policies"].items())
    print(f"{made.rows} rows from {made.told['sessions']} sessions ({policies}) in {made.file}")
    print(f"{chosen.out / 'README.md'} says what they are")
