"""``therapysim judge``: how often the automated judge prefers the turn that is known to be better."""

import argparse
import sys
from pathlib import Path

from therapysim.agents.probes.judge_report import judge_pairs
from therapysim.agents.probes.pair_files import read_pairs
from therapysim.agents.probes.pairs import Pairs
from therapysim.agents.probes.tables import DELIMITERS
from therapysim.cli.options import keep, require_place
from therapysim.errors import ConfigError
from therapysim.faults import hint
from therapysim.rewards.rubric_settings import PRESETS, RubricSettings

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The pairs, who judges them, and what is kept."""
    add = parser.add_argument
    add("pairs", type=Path, metavar="PAIRS",
        help="JSON lines or a .csv of context, better, worse, or of prompt, chosen, rejected")  # fmt: skip
    add("--rubric", default="judge", metavar="NAME", help="a preset: judge (default), default, grpo or user")
    add("--fit", type=Path, metavar="DEV.jsonl",
        help="pairs to fit the surface regression on; default: cross-fitted on PAIRS.jsonl")  # fmt: skip
    add("--delimiter", choices=tuple(DELIMITERS), help="of a .csv; default: the one that shows the columns")
    add("--drop-missing", action="store_true", help="leave out lines that are no pair; else they are refused")
    add("--terms", action="store_true", help="show each term of the rubric as the only judge")
    add("--out", type=Path, metavar="FILE.json", help="keep every figure and score; no text of a pair")


def run(chosen: argparse.Namespace) -> None:
    """Reads the pairs, has them judged, writes the file, and prints the tables."""
    import vaderSentiment  # type: ignore[import-untyped]  # noqa: F401 - to be named before the work, if it is missing

    _require_preset(chosen.rubric)
    _refuse_inputs(chosen)
    require_place(chosen.out)
    files = [(path, read_pairs(path, chosen.delimiter)) for path in (chosen.pairs, chosen.fit) if path]
    for path, found in files:
        _refuse_faults(path, found, chosen.drop_missing)
    judged = judge_pairs(files, chosen.rubric)
    keep(chosen.out, judged.as_dict())
    print(judged.tables(terms=chosen.terms))
    if judged.warning:
        print(f"therapysim: warning: {judged.warning}", file=sys.stderr)


def _require_preset(name: str) -> None:
    try:
        RubricSettings.preset(name)
    except ConfigError as error:
        raise ConfigError(f"{error}; judge takes presets alone, no file and no class{hint(name, [*PRESETS])}") from None


def _refuse_faults(path: Path, found: Pairs, drop: bool) -> None:
    """Refuses a file with lines that are no pair, unless they are to be left out."""
    if found.faults and not drop:
        more = f"; and {len(found.faults) - 10} more" if len(found.faults) > 10 else ""
        raise ConfigError(
            f"pairs {str(path)!r}: {len(found.faults)} of {len(found.faults) + len(found.pairs)} lines are no pair: "
            f"{'; '.join(map(str, found.faults[:10]))}{more}; mend them, or leave them out with --drop-missing"
        )


def _refuse_inputs(chosen: argparse.Namespace) -> None:
    """Refuses to write over what is read."""
    for path in (chosen.pairs, chosen.fit):
        if path and chosen.out and chosen.out.exists() and path.exists() and chosen.out.samefile(path):
            raise ConfigError(f"--out is {chosen.out}, which holds the pairs, expected another file; name a new one")
