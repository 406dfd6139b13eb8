"""Files read through typed records: the record, or an error that says file, field, found, expected and what to do.

A record is a pydantic model (``Record``) or a frozen dataclass with ``__pydantic_config__ = STRICT``. Values are read
as JSON gives them: a list is a tuple, a whole number is a float where one is asked for; nothing else is converted.
"""

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from therapysim.documents import MOST_BYTES, Unreadable, json_value, read_bytes, read_document, text_of
from therapysim.faults import every_fault, first_fault, hint, shown, wrong, wrong_each

__all__ = [
    "STRICT",
    "Record",
    "explain",
    "hint",
    "mistakes",
    "numbered_rows",
    "read_record",
    "read_rows",
    "record_of",
    "schema_of",
    "shown",
    "wrong",
    "wrong_each",
]

#: What every record holds to: no conversion, no unknown field, no change, no number that is not finite.
STRICT = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

T = TypeVar("T")


class Record(BaseModel):
    """The base of records that are pydantic models."""

    model_config = STRICT


def read_record(
    path: str | Path, kind: type[T], error: type[Exception], where: str = "", most_bytes: int = MOST_BYTES
) -> T:
    """One file as a record.

    Args:
        path: JSON where the name ends in ``.json`` (``.json.gz``), else YAML.
        kind: a ``Record``, or a dataclass or other type that pydantic knows.
        error: the class of what is raised.
        where: what the message calls the file; its path by default.
        most_bytes: a larger file is refused.

    Raises:
        error: the file cannot be read, or a field is missing, unknown, mistyped or out of range.
    """
    try:
        value = read_document(Path(path), most_bytes)
    except Unreadable as fault:
        raise error(f"{where or path}: {fault}") from fault
    return record_of(value, kind, error, where or str(path))


def read_rows(
    path: str | Path,
    kind: type[T],
    error: type[Exception],
    where: str = "",
    *,
    broken_end: bool = False,
    most_bytes: int = 2**30,
) -> Iterator[T]:
    """The rows of a file of JSON lines, ``.jsonl`` or ``.jsonl.gz``; blank lines are no rows.

    Args:
        path, kind, error, where, most_bytes: as in ``read_record``.
        broken_end: leave out a last line without a line end, as a killed run leaves it.

    Raises:
        error: the file cannot be read, or a line is no such record; names the line.
    """
    for _, row in numbered_rows(path, kind, error, where, broken_end=broken_end, most_bytes=most_bytes):
        yield row


def numbered_rows(
    path: str | Path,
    kind: type[T],
    error: type[Exception],
    where: str = "",
    *,
    broken_end: bool = False,
    most_bytes: int = 2**30,
) -> Iterator[tuple[int, T]]:
    """As ``read_rows``, each row with the number of its line, for messages of one's own."""
    name = where or str(path)
    try:
        *lines, rest = read_bytes(Path(path), most_bytes).split(b"\n")
    except Unreadable as fault:
        raise error(f"{name}: {fault}") from fault
    # An editor may leave out the last line end; a run that was killed leaves half a row.
    for i, line in enumerate(lines if broken_end else [*lines, rest], 1):
        if line.strip():
            yield i, _row(line, kind, error, f"{name}: line {i}")


def _row(line: bytes, kind: type[T], error: type[Exception], where: str) -> T:
    try:
        value = json_value(text_of(line))
    except Unreadable as fault:
        raise error(f"{where}: {fault}") from fault
    return record_of(value, kind, error, where)


def record_of(value: Any, kind: type[T], error: type[Exception], where: str) -> T:
    """Plain data, as JSON would give it, as a record.

    Args:
        value: texts, numbers, true, false, None, lists and mappings with texts as names.
        kind: as in ``read_record``.
        error: the class of what is raised.
        where: what the message begins with, such as ``persona 'anna' (library/anna.yaml)``.

    Raises:
        error: says which field is wrong, what was found and what was expected.
    """
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError) as fault:
        raise error(f"{where}: it is no plain data ({fault}), expected texts, numbers, lists and mappings") from fault
    try:
        record: T = _adapter(kind).validate_json(text)  # type: ignore[arg-type]
    except ValidationError as fault:
        raise error(f"{where}: {explain(fault, kind)}") from fault
    return record


def mistakes(value: Any, kind: type[T]) -> tuple[T | None, list[str]]:
    """Plain data as a record; or None, and every mistake in it, each with field, found and expected.

    Args:
        value, kind: as in ``record_of``.
    """
    try:
        return _adapter(kind).validate_json(json.dumps(value)), []  # type: ignore[arg-type]
    except ValidationError as fault:
        return None, every_fault(fault, schema_of(kind))


def explain(fault: ValidationError, kind: Any) -> str:
    """The first mistake of a record in words, and how many more there are; see ``faults.first_fault``."""
    try:
        schema = schema_of(kind)
    except PydanticUserError:
        schema = {}
    return first_fault(fault, schema)


def schema_of(kind: Any) -> dict[str, Any]:
    """The JSON schema of a record (draft 2020-12).

    Raises:
        PydanticUserError: the record holds something that JSON schema has no word for.
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_adapter(kind).json_schema()}


@lru_cache(maxsize=256)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind, config=STRICT if get_origin(kind) in (dict, list, tuple) else None)
