"""``therapysim judge``: how often the automated judge prefers the turn that is known to be better."""

import argparse
from pathlib import Path

from therapysim.agents.probes.judge_report import judge_pairs
from therapysim.agents.probes.pairs import read_pairs
from therapysim.cli.options import keep, require_place
from therapysim.errors import ConfigError
from therapysim.rewards.rubric import RubricSettings

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The pairs, who judges them, and what is kept."""
    add = parser.add_argument
    add("pairs", type=Path, metavar="PAIRS.jsonl",
        help="a pair a line: context, better, worse; if need be worse_context, source, group")  # fmt: skip
    add("--rubric", default="judge", metavar="NAME", help="judge (default), default, grpo or user")
    add("--fit", type=Path, metavar="DEV.jsonl",
        help="pairs to fit the surface regression on; default: cross-fitted on PAIRS.jsonl")  # fmt: skip
    add("--terms", action="store_true", help="show each term of the rubric as the only judge")
    add("--out", type=Path, metavar="FILE.json", help="keep every figure and score; no text of a pair")


def run(chosen: argparse.Namespace) -> None:
    """Reads the pairs, has them judged, writes the file, and prints the tables."""
    import vaderSentiment  # type: ignore[import-untyped]  # noqa: F401 - to be named before the work, if it is missing

    RubricSettings.preset(chosen.rubric)
    _refuse_inputs(chosen)
    require_place(chosen.out)
    judged = judge_pairs([(path, read_pairs(path)) for path in (chosen.pairs, chosen.fit) if path], chosen.rubric)
    keep(chosen.out, judged.as_dict())
    print(judged.tables(terms=chosen.terms))


def _refuse_inputs(chosen: argparse.Namespace) -> None:
    """Refuses to write over what is read."""
    for path in (chosen.pairs, chosen.fit):
        if path and chosen.out and chosen.out.exists() and path.exists() and chosen.out.samefile(path):
            raise ConfigError(f"--out is {chosen.out}, which holds the pairs, expected another file; name a new one")
