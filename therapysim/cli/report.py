"""``therapysim report``: a benchmark's results as a page, a table for a paper and tidy CSV."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from therapysim.agents.bench.report.latex import latex_tables
from therapysim.agents.bench.report.page import report_page
from therapysim.agents.bench.report.runs import read_runs
from therapysim.agents.bench.report.summary import summarise
from therapysim.agents.bench.report.tables import csv_table, markdown_tables
from therapysim.cli.options import require_place
from therapysim.errors import ConfigError, require_count
from therapysim.files import whole

__all__ = ["add_options", "run"]

_FILES = ("results.jsonl", "results.jsonl.gz")
_BESIDE = ("settings.json", "timing.jsonl", "failures.json")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which results, and the files that show them."""
    add = parser.add_argument
    add("results", nargs="+", type=Path, metavar="RESULTS",
        help="results folders, or files ending in .jsonl or .jsonl.gz")  # fmt: skip
    add("--out", required=True, type=Path, metavar="FILE.html", help="the page, one file that needs no other")
    add("--markdown", type=Path, metavar="FILE", help="a table for a paper")
    add("--latex", type=Path, metavar="FILE", help="the same as LaTeX tables, with booktabs")
    add("--csv", type=Path, metavar="FILE", help="every number, a row each")
    add("--reference", metavar="POLICY", help="what the others are compared to; default: the first")
    add("--price", action="append", default=[], metavar="POLICY=IN/OUT",
        help="dollars for a million tokens read, and written; once a policy")  # fmt: skip
    add("--transcripts", type=int, metavar="N", help="sessions a policy in the page; default all")
    add("--force", action="store_true", help="replace files that exist")


def run(chosen: argparse.Namespace) -> None:
    """Reads, counts, writes the files, and prints the table.

    Raises:
        ConfigError: the results are no one benchmark, a file is there already, or an option is wrong.
    """
    places = [place for place in (chosen.out, chosen.markdown, chosen.latex, chosen.csv) if place is not None]
    _refuse_places(places, chosen.results, chosen.force)
    prices = dict(map(_price, chosen.price))
    if chosen.transcripts is not None:
        require_count("transcripts", chosen.transcripts, 0)
    runs = read_runs(chosen.results)
    summary = summarise(runs, chosen.reference, prices)
    table = markdown_tables(summary, runs.told)
    _write(chosen.out, report_page(runs, summary, chosen.transcripts))
    if chosen.markdown:
        _write(chosen.markdown, table)
    if chosen.latex:
        _write(chosen.latex, latex_tables(summary, runs.told))
    if chosen.csv:
        _write(chosen.csv, csv_table(summary))
    warned = "".join(f"note: {text}\n" for text in summary.warnings)
    print(f"{table}\n{warned}{', '.join(map(str, places))}")


def _refuse_places(places: Sequence[Path], results: Sequence[Path], force: bool) -> None:
    """Refuses, before any work, files that must not or cannot be written."""
    if len({place.resolve() for place in (*places, *results)}) < len(places) + len({r.resolve() for r in results}):
        raise ConfigError(
            f"the results, --out, --markdown, --latex and --csv name one file twice: {', '.join(map(str, places))}"
        )
    folders = {path if path.is_dir() else path.parent for path in results}
    held = {(folder / name).resolve() for folder in folders for name in (*_FILES, *_BESIDE)}
    for place in places:
        if place.resolve() in held:
            raise ConfigError(f"{place} belongs to the results that are read; name another file")
        if place.exists() and not force and not place.is_dir():
            raise ConfigError(f"{place} is there already; name another, or add --force")
        require_place(place)


def _price(text: str) -> tuple[str, tuple[float, float]]:
    """``POLICY=IN/OUT``; a policy's name may hold = and /."""
    policy, equals, amounts = text.rpartition("=")
    parts = amounts.split("/")
    try:
        read, written = (float(part) for part in parts)
        good = bool(policy and equals) and all(math.isfinite(v) and v >= 0 for v in (read, written))
    except ValueError:
        good = False
    if not good:
        raise ConfigError(
            f"--price is {text!r}, expected POLICY=IN/OUT, dollars for a million tokens read and written, such as "
            "my-model=0.5/1.5"
        )
    return policy, (read, written)


def _write(place: Path, text: str) -> None:
    """Whole or not at all; a broken character becomes a question mark."""
    try:
        with whole(place) as part:
            part.write_bytes(text.encode("utf-8", "replace"))
    except OSError as error:
        raise ConfigError(f"{place} cannot be written: {error.strerror or error}; name another file") from error
