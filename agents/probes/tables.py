"""Tables in text files: a header and rows, parted by whatever sign the header shows, each row with its line."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from therapysim.errors import TherapySimError
from therapysim.faults import shown

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
    sign = DELIMITERS[_delimiter(path, what, wanted, error, delimiter)]
    header, *rows = list(_read(path, what, sign, error)) or [(1, [])]
    return _names(header[1]), rows


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no value."""
    return cell.strip().lower() in MISSING


def _delimiter(path: str, what: str, wanted: Sequence[str], error: type[TherapySimError], named: str | None) -> str:
    """The one that is named, or the first that shows a wanted column; where none does, that of the most columns."""
    headers = _headers(path, what, error)
    fits = [name for name, header in headers.items() if set(wanted) & set(header)]
    if named is None:
        return fits[0] if fits else max(headers, key=lambda name: len(headers[name]), default="comma")
    if fits and named not in fits:
        first = ", ".join(map(shown, headers.get(named, ()))) or "no cells"
        raise error(
            f"{what} {path!r}: parted by {named} the first line has {first}, expected "
            f"{' or '.join(map(repr, wanted))} in it; give --delimiter {fits[0]}"
        )
    return named


def _headers(path: str, what: str, error: type[TherapySimError]) -> dict[str, list[str]]:
    """Delimiter -> the first line's cells by it, where it can be read so: by the wrong one, quotes may end in a cell.

    Of a file that cannot be read by any, the reading itself tells more.
    """
    found = {}
    for name, sign in DELIMITERS.items():
        with suppress(error):
            found[name] = _names(next(_read(path, what, sign, error), (1, []))[1])
    return found


def _names(header: list[str]) -> list[str]:
    return [name.strip() for name in header]


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
    except UnicodeDecodeError as fault:
        raise error(f"{what} {path!r}, {_not_utf8(path)}; save it as UTF-8") from fault
    except csv.Error as fault:
        raise error(
            f"{what} {path!r}, from line {line}: not readable as CSV: {fault}; check its double quotes"
        ) from fault


def _not_utf8(path: str) -> str:
    """The line and the byte at which a file is no UTF-8; the reading knows them by the block alone."""
    raw = Path(path).read_bytes()
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as fault:
        line = raw[: fault.start].count(b"\n") + 1
        return f"line {line}: not UTF-8 (byte {raw[fault.start]:#04x})"
    return "not UTF-8"
