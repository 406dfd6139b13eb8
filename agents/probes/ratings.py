"""Human ratings from a CSV file, each mistake named by its line."""

import csv
import math
from collections.abc import Sequence

from therapysim.errors import CalibrationError

__all__ = ["read_ratings"]


def read_ratings(path: str, score: str | None, rating: str) -> tuple[list[float], list[float]]:
    """Scores and ratings of a CSV file; texts without a score are read by the shipped sensor."""
    header, rows = _read_csv(path)
    by_sensor = score is None and "score" not in header and "text" in header
    wanted = _columns(path, header, ("text" if by_sensor else score or "score", rating))
    if not rows:
        raise CalibrationError(f"ratings {path!r}: a header and no rows, expected one a rated text; add some")
    bad = [fault for line, cells in rows if (fault := _fault(line, cells, header, wanted[by_sensor:]))]
    if bad:
        more = [f"and {len(bad) - 10} more"] if len(bad) > 10 else []
        raise CalibrationError(f"ratings {path!r}: mend or leave out these rows: " + "; ".join(bad[:10] + more))
    first, ratings = ([cells[i] for _, cells in rows] for i in wanted)
    return _polarities(first) if by_sensor else [float(v) for v in first], [float(v) for v in ratings]


def _read_csv(path: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each row with the line it begins on; empty lines are passed over."""
    rows, line = [], 1
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                rows += [(line, cells)] if cells else []
                line = reader.line_num + 1
    except OSError as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise CalibrationError(f"ratings {path!r}: {why}, expected a CSV file; check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CalibrationError(f"ratings {path!r}, from line {line}: not readable as UTF-8 CSV: {error}") from error
    return ([name.strip() for name in rows[0][1]] if rows else []), rows[1:]


def _columns(path: str, header: list[str], names: Sequence[str]) -> list[int]:
    for name in names:
        if header.count(name) != 1:
            raise CalibrationError(
                f"ratings {path!r}: {header.count(name)} columns are named {name!r}, expected one; the first line has "
                f"{', '.join(map(repr, header)) or 'nothing'}; choose columns with --score and --rating"
            )
    return [header.index(name) for name in names]


def _fault(line: int, cells: list[str], header: list[str], numbers: Sequence[int]) -> str | None:
    """What is wrong with a row, if anything: the number of cells, or a cell that is no finite number."""
    if len(cells) != len(header):
        return f"line {line} has {len(cells)} cells, expected {len(header)}"
    wrong = [i for i in numbers if not _is_number(cells[i])]
    return f"line {line} has {header[wrong[0]]} {cells[wrong[0]]!r}, expected a number" if wrong else None


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _polarities(texts: list[str]) -> list[float]:
    from therapysim.rewards import shipped_sensor

    return [reading.polarity for reading in shipped_sensor().read(texts)]
