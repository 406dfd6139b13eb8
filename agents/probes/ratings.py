"""Human ratings from a CSV file, each mistake named by its line."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from therapysim.agents.probes.tables import Lines, is_missing, read_table
from therapysim.errors import CalibrationError

__all__ = ["Ratings", "read_ratings"]

_COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*")


@dataclass(frozen=True)
class Ratings:
    """What a file of ratings holds.

    Attributes:
        scores, ratings: a pair a row.
        dropped: the lines of rows that lack a value, left out.
    """

    scores: list[float]
    ratings: list[float]
    dropped: tuple[int, ...] = ()


def read_ratings(
    path: str, score: str | None, rating: str, *, delimiter: str | None = None, drop_missing: bool = False
) -> Ratings:
    """Scores and ratings of a CSV file; texts without a score are read by the shipped sensor.

    Args:
        path: a header and a rated text a row.
        score: the column of scores; None takes ``score``, or where there is none the sensor's polarity of ``text``.
        rating: the column of ratings.
        delimiter: a name of ``tables.DELIMITERS``; None finds it.
        drop_missing: leave out rows that lack a value, an empty text too; else they are refused.

    Raises:
        CalibrationError: the file cannot be read, or a row is wrong; names the lines.
    """
    header, rows = read_table(path, "ratings", (rating,), CalibrationError, delimiter)
    by_sensor = score is None and "score" not in header and "text" in header
    wanted = _columns(path, header, ("text" if by_sensor else score or "score", rating))
    if not rows:
        raise CalibrationError(f"ratings {path!r}: a header and no rows, expected one a rated text; add some")
    dropped = tuple(line for line, cells in rows if drop_missing and _lacks(cells, header, wanted))
    rows = [(line, cells) for line, cells in rows if line not in set(dropped)]
    _refuse_faults(path, rows, header, wanted, by_sensor)
    if not rows:
        raise CalibrationError(f"ratings {path!r}: every one of {len(dropped)} rows lacks a value; give others")
    first, ratings = ([cells[i] for _, cells in rows] for i in wanted)
    scores = _polarities(first) if by_sensor else [float(v) for v in first]
    return Ratings(scores, [float(v) for v in ratings], dropped)


def _columns(path: str, header: list[str], names: Sequence[str]) -> list[int]:
    for name in names:
        if header.count(name) != 1:
            raise CalibrationError(
                f"ratings {path!r}: {header.count(name)} columns are named {name!r}, expected one; the first line has "
                f"{', '.join(map(repr, header)) or 'nothing'}; choose columns with --score and --rating"
            )
    return [header.index(name) for name in names]


def _lacks(cells: list[str], header: list[str], wanted: Sequence[int]) -> bool:
    """Whether a value is not there; of a text only where it is empty, since "none" is a word."""
    return len(cells) == len(header) and any(
        is_missing(cells[i]) if header[i] != "text" else not cells[i].strip() for i in wanted
    )


def _refuse_faults(path: str, rows: Lines, header: list[str], wanted: Sequence[int], by_sensor: bool) -> None:
    bad = [fault for line, cells in rows if (fault := _fault(line, cells, header, wanted, by_sensor))]
    if not bad:
        return
    more = [f"and {len(bad) - 10} more"] if len(bad) > 10 else []
    lacking = sum(_lacks(cells, header, wanted) for _, cells in rows)
    hint = f"; {lacking} of them lack a value: --drop-missing leaves those out" if lacking else ""
    raise CalibrationError(f"ratings {path!r}: mend or leave out these rows: {'; '.join(bad[:10] + more)}{hint}")


def _fault(line: int, cells: list[str], header: list[str], wanted: Sequence[int], by_sensor: bool) -> str | None:
    """What is wrong with a row, if anything: the number of cells, an empty text, or a cell that is no finite number."""
    if len(cells) != len(header):
        return f"line {line} has {len(cells)} cells, expected {len(header)}"
    if by_sensor and not cells[wanted[0]].strip():
        return f"line {line} has an empty text, expected words"
    wrong = [i for i in wanted[by_sensor:] if not _is_number(cells[i])]
    if not wrong:
        return None
    point = " with a decimal point" if _COMMA.fullmatch(cells[wrong[0]]) else ""
    return f"line {line} has {header[wrong[0]]} {cells[wrong[0]]!r}, expected a number{point}"


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _polarities(texts: list[str]) -> list[float]:
    from therapysim.rewards import shipped_sensor

    return [reading.polarity for reading in shipped_sensor().read(texts)]
