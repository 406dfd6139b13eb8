"""``therapysim calibrate``: scores fitted to human ratings."""

import argparse
import sys
from pathlib import Path

from therapysim.agents.figures import save
from therapysim.agents.probes.ratings import Ratings, read_ratings
from therapysim.agents.probes.reliability import cross_validate, draw_reliability
from therapysim.agents.probes.tables import DELIMITERS
from therapysim.cli.options import refuse_existing
from therapysim.errors import CalibrationError
from therapysim.rewards.calibration import Calibration, fit

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The ratings, how they are fitted, and where to."""
    add = parser.add_argument
    add("ratings", metavar="FILE.csv", help="a header and one rated text a row, at least 30, UTF-8")
    add("--method", choices=("isotonic", "platt"), default="isotonic", help="platt: ratings of 0 and 1")
    add("--score", metavar="COLUMN", help="default score; without it, the polarity that the sensor reads in the texts")
    add("--text", metavar="COLUMN", help="the texts that the sensor reads; default text, where there is no score")
    add("--rating", metavar="COLUMN", default="rating", help="default rating")
    add("--delimiter", choices=tuple(DELIMITERS), help="between cells; default: the one that shows the rating's column")
    add("--drop-missing", action="store_true", help="leave out rows that lack a value; else they are refused")
    add("--out", metavar="FILE", default="calibration.json", help="default calibration.json")
    add("--plot", metavar="FILE", help="a reliability plot, .png or .svg")
    add("--folds", type=int, default=5, help="of the cross-validation, default 5")
    add("--seed", type=int, default=0, help="of the cross-validation, default 0")
    add("--note", default="", help="kept in the file, such as the ratings' origin and licence")
    add("--force", action="store_true", help="replace files that exist")


def run(chosen: argparse.Namespace) -> None:
    """Fits, cross-validates, prints the table, and only then writes."""
    _check_outputs(chosen)
    held = read_ratings(
        chosen.ratings, chosen.score, chosen.rating,
        text=chosen.text, delimiter=chosen.delimiter, drop_missing=chosen.drop_missing,
    )  # fmt: skip
    scores, ratings = held.scores, held.ratings
    fitted = _fit(held, chosen)
    assessed = cross_validate(scores, ratings, chosen.method, folds=chosen.folds, seed=chosen.seed)
    drawn = draw_reliability(fitted, assessed) if chosen.plot else None
    left_out = f", {len(held.dropped)} rows without a value left out" if held.dropped else ""
    print(f"{chosen.ratings}: {chosen.folds} folds, seed {chosen.seed}{left_out}")
    print(f"scores: {held.scored}\n{assessed.table()}")
    print(assessed.held_out)
    if assessed.held_out.warning:
        print(f"therapysim: warning: {assessed.held_out.warning}", file=sys.stderr)
    fitted.save(chosen.out)
    print(f"calibration in {chosen.out}")
    if drawn:
        print(f"plot in {save(drawn, chosen.plot)}")


def _fit(held: Ratings, chosen: argparse.Namespace) -> Calibration:
    """The map; where there is none, the error says what was scored."""
    try:
        return fit(held.scores, held.ratings, chosen.method, note=chosen.note)
    except CalibrationError as error:
        words = ", how pleasant its words are: for rated therapist turns give --score COLUMN" if held.by_sensor else ""
        raise CalibrationError(f"{error}; scores: {held.scored}{words}") from error


def _check_outputs(chosen: argparse.Namespace) -> None:
    """Refuses, before any work, files that must not or cannot be written."""
    places = [Path(p) for p in (chosen.out, chosen.plot) if p]
    if len({p.resolve() for p in [*places, Path(chosen.ratings)]}) <= len(places):
        raise CalibrationError(f"the ratings, --out and --plot name one file twice: {chosen.ratings}, {places}")
    if chosen.plot and places[-1].suffix.lower() not in (".png", ".svg"):
        raise CalibrationError(f"--plot is {chosen.plot!r}, expected a name ending in .png or .svg")
    refuse_existing(places, chosen.force)
