"""Tables in text files: a header and rows, parted by whatever sign the header shows, each row with its line."""

import csv
from collections.abc import Sequence

from therapysim.errors import TherapySimError

__all__ = ["DELIMITERS", "MISSING", "Lines", "is_missing", "read_table"]

#: Name of a delimiter, as an option has it -> the sign.
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
#: What stands for a value that is not there, whatever the case; and an empty cell.
MISSING = ("", "na", "n/a", "nan", "null", "none", ".", "-")

Lines = list[tuple[int, list[str]]]


def read_table(
    path: str, what: str, wanted: Sequence[str], error: type[TherapySimError], delimiter: str | None = None
) -> tuple[list[str], Lines]:
    """The header, and each row with the line it begins on; empty lines are passed over.

    Args:
        path: a file in UTF-8, cells in double quotes where they hold the delimiter or a line break.
        what: the file holds, for errors.
        wanted: a column that must be there, or others of the same use: the first delimiter that shows one is taken.
        error: the class of what is raised.
        delimiter: one of ``DELIMITERS`` by name; None finds it.

    Raises:
        error: the file cannot be read as such a table.
    """
    signs = [DELIMITERS[delimiter]] if delimiter else list(DELIMITERS.values())
    first = _read(path, what, signs[0], error)
    for sign in signs:
        rows = first if sign == signs[0] else _read(path, what, sign, error)
        header = [name.strip() for name in rows[0][1]] if rows else []
        if set(wanted) & set(header):
            return header, rows[1:]
    return ([name.strip() for name in first[0][1]] if first else []), first[1:]


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no value."""
    return cell.strip().lower() in MISSING


def _read(path: str, what: str, delimiter: str, error: type[TherapySimError]) -> Lines:
    rows: Lines = []
    line = 1
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for cells in reader:
                rows += [(line, cells)] if cells else []
                line = reader.line_num + 1
    except OSError as fault:
        why = "no such file" if isinstance(fault, FileNotFoundError) else fault.strerror
        raise error(f"{what} {path!r}: {why}, expected a CSV file; check the path") from fault
    except (UnicodeDecodeError, csv.Error) as fault:
        raise error(f"{what} {path!r}, from line {line}: not readable as UTF-8 CSV: {fault}") from fault
    return rows
