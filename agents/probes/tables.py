"""Tables in text files: a header and rows, parted by whatever sign the header shows, each row with its line."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import suppress

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
    sign = DELIMITERS[delimiter] if delimiter else _shown(path, what, wanted, error)
    header, *rows = list(_read(path, what, sign, error)) or [(1, [])]
    return [name.strip() for name in header[1]], rows


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no value."""
    return cell.strip().lower() in MISSING


def _shown(path: str, what: str, wanted: Sequence[str], error: type[TherapySimError]) -> str:
    """The first delimiter by which the header has a wanted column; where none does, that of the most columns."""
    columns: dict[str, int] = {}
    for sign in DELIMITERS.values():
        with suppress(error):  # by the wrong sign, quotes may end in the midst of a cell; the reading itself tells more
            _, header = next(_read(path, what, sign, error), (1, []))
            if set(wanted) & {name.strip() for name in header}:
                return sign
            columns[sign] = len(header)
    return max(columns, key=columns.__getitem__, default=DELIMITERS["comma"])


def _read(path: str, what: str, delimiter: str, error: type[TherapySimError]) -> Iterator[tuple[int, list[str]]]:
    line = 1
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for cells in reader:
                if cells:
                    yield line, cells
                line = reader.line_num + 1
    except OSError as fault:
        why = "no such file" if isinstance(fault, FileNotFoundError) else fault.strerror
        raise error(f"{what} {path!r}: {why}, expected a CSV file; check the path") from fault
    except (UnicodeDecodeError, csv.Error) as fault:
        raise error(f"{what} {path!r}, from line {line}: not readable as UTF-8 CSV: {fault}") from fault
