"""Human ratings from a CSV file, each mistake named by its line."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from therapysim.agents.probes.tables import Lines, is_missing, read_table
from therapysim.errors import CalibrationError
from therapysim.faults import hint
from therapysim.rewards.calibration import MIN_POINTS

__all__ = ["Ratings", "read_ratings"]

_COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*")


@dataclass(frozen=True)
class Ratings:
    """What a file of ratings holds.

    Attributes:
        scores, ratings: a pair a row, at least ``MIN_POINTS``.
        dropped: the lines of rows that lack a value, left out.
        column: where the scores are from: a column of numbers, or of texts.
        by_sensor: the scores are the sensor's polarities of texts.
        silent: how many rows count although their text is empty, since it is not what is scored.
    """

    scores: list[float]
    ratings: list[float]
    dropped: tuple[int, ...]
    column: str
    by_sensor: bool
    silent: int

    @property
    def scored(self) -> str:
        """What was scored, in words."""
        counted = f" (empty texts: {self.silent}, counted)" if self.silent else ""
        return f"{'polarity of ' if self.by_sensor else ''}column {self.column}{counted}"


@dataclass(frozen=True)
class _Columns:
    """Where each row has its score, or with ``texts`` the text to be scored, and its rating."""

    header: list[str]
    scored: int
    rating: int
    texts: bool

    @property
    def numbers(self) -> list[int]:
        return [self.rating] if self.texts else [self.scored, self.rating]

    def lacks(self, cells: list[str]) -> bool:
        """Whether a value is not there; of a text only where it is empty, since "none" is a word."""
        if len(cells) != len(self.header):
            return False
        return any(is_missing(cells[i]) for i in self.numbers) or (self.texts and not cells[self.scored].strip())

    def fault(self, line: int, cells: list[str]) -> str | None:
        """What is wrong with a row, if anything: the number of cells, an empty text, or a cell that is no number."""
        if len(cells) != len(self.header):
            return f"line {line} has {len(cells)} cells, expected {len(self.header)}"
        if self.texts and not cells[self.scored].strip():
            return f"line {line} has an empty text, expected words"
        wrong = [i for i in self.numbers if not _is_number(cells[i])]
        if not wrong:
            return None
        point = " with a decimal point" if _COMMA.fullmatch(cells[wrong[0]]) else ""
        return f"line {line} has {self.header[wrong[0]]} {cells[wrong[0]]!r}, expected a number{point}"


def read_ratings(
    path: str,
    score: str | None,
    rating: str,
    *,
    text: str | None = None,
    delimiter: str | None = None,
    drop_missing: bool = False,
) -> Ratings:
    """Scores and ratings of a CSV file; texts without a score are read by the shipped sensor.

    Args:
        path: a header and a rated text a row.
        score: the column of scores; None takes ``score``, or where there is none the sensor's polarity of ``text``.
        rating: the column of ratings.
        text: the column of texts, read even beside ``score``; None takes ``text`` where there are no scores.
        delimiter: a name of ``tables.DELIMITERS``; None finds it.
        drop_missing: leave out rows that lack a value, an empty text too where texts are read; else they are refused.

    Raises:
        CalibrationError: the file cannot be read, a row is wrong, or fewer than ``MIN_POINTS`` are left; names the
            lines.
    """
    if text is not None and score is not None:
        raise CalibrationError(f"--text is {text!r} and --score {score!r}, expected one of them; leave out the other")
    header, rows = read_table(path, "ratings", (rating,), CalibrationError, delimiter)
    columns = _columns(path, header, score, text, rating)
    if not rows:
        raise CalibrationError(f"ratings {path!r}: a header and no rows, expected one a rated text; add some")
    dropped = tuple(line for line, cells in rows if drop_missing and columns.lacks(cells))
    rows = [(line, cells) for line, cells in rows if line not in set(dropped)]
    _refuse_faults(path, rows, columns)
    _refuse_few(path, len(rows), len(dropped))
    first, ratings = ([cells[i] for _, cells in rows] for i in (columns.scored, columns.rating))
    return Ratings(
        scores=_polarities(first) if columns.texts else [float(v) for v in first],
        ratings=[float(v) for v in ratings],
        dropped=dropped,
        column=header[columns.scored],
        by_sensor=columns.texts,
        silent=0 if columns.texts else _silent(header, rows),
    )


def _silent(header: list[str], rows: Lines) -> int:
    return sum(not cells[header.index("text")].strip() for _, cells in rows) if "text" in header else 0


def _columns(path: str, header: list[str], score: str | None, text: str | None, rating: str) -> _Columns:
    texts = score is None and (text is not None or "score" not in header)
    names = ((text or "text") if texts else score or "score", rating)
    if wrong := [name for name in names if header.count(name) != 1]:
        told = " and ".join(f"{header.count(name)} columns are named {name!r}" for name in wrong)
        raise CalibrationError(
            f"ratings {path!r}: {told}, expected one{' of each' * (len(wrong) - 1)}; the first line has "
            f"{', '.join(map(repr, header)) or 'nothing'}; choose columns with --text or --score, and --rating"
            f"{hint(wrong[0], header) if wrong[0] not in header else ''}"
        )
    return _Columns(header, header.index(names[0]), header.index(rating), texts)


def _refuse_faults(path: str, rows: Lines, columns: _Columns) -> None:
    """Names the wrong rows, and says beside them whether enough would be left."""
    bad = [fault for line, cells in rows if (fault := columns.fault(line, cells))]
    if not bad:
        return
    more = [f"and {len(bad) - 10} more"] if len(bad) > 10 else []
    lacking = sum(columns.lacks(cells) for _, cells in rows)
    leave = f"; {lacking} of them lack a value: --drop-missing leaves those out" if lacking else ""
    raise CalibrationError(
        f"ratings {path!r}: mend or leave out these rows: {'; '.join(bad[:10] + more)}{leave}"
        f"{_told_few(len(rows), len(bad))}"
    )


def _told_few(rows: int, bad: int) -> str:
    if rows < MIN_POINTS:
        return f"; all {rows} rows are fewer than the {MIN_POINTS} ratings that are needed: collect more too"
    if rows - bad < MIN_POINTS:
        return (
            f"; mend them or collect more: without them {rows - bad} rows are left, and at least {MIN_POINTS} ratings "
            "are needed"
        )
    return ""


def _refuse_few(path: str, rows: int, dropped: int) -> None:
    if rows < MIN_POINTS:
        left = f"; {dropped} rows that lack a value were left out: mend them or" if dropped else ";"
        raise CalibrationError(f"ratings {path!r}: {rows} ratings, expected at least {MIN_POINTS}{left} collect more")


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _polarities(texts: Sequence[str]) -> list[float]:
    from therapysim.rewards import shipped_sensor

    return [reading.polarity for reading in shipped_sensor().read(texts)]
