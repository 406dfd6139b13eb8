"""A run's files of JSON lines: a row an update, a validation or a session, each with the update it belongs to."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from therapysim.errors import ConfigError

__all__ = ["append", "lines", "read_rows"]


def append(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Adds rows to a file of JSON lines; closed, and so flushed, after every call."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines, oldest first; none where there is no file. A half-written one is left out.

    Unlike ``therapysim.records.read_rows``, it takes a nan, which earlier versions wrote.

    Raises:
        ConfigError: a row is no JSON object with a ``step``.
    """
    return [_row(path, number, line) for number, line in enumerate(lines(path), 1)]


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(line)
        int(row["step"])
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"{path}: row {number} is no JSON object with a step ({error!r}); mend or remove the row"
        ) from error
    return row


def lines(path: Path) -> list[bytes]:
    """The lines that were written to their end.

    Not by ``splitlines``, which a line separator within a text ends too; as bytes, since a crash may halve a letter.
    """
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []
