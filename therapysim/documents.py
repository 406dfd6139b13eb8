"""YAML and JSON files as plain data: texts, numbers, true, false, null, lists and mappings, and nothing else.

YAML is read as version 1.2 reads it, which is how a person means it: ``030`` is thirty, and ``yes``, ``on``,
``1_000``, ``1:30`` and ``2024-01-31`` are texts. What could hide a mistake or harm the reader is refused: a name given
twice, a name that is no text, tags, numbers that are not finite, aliases that grow beyond the limit, deep nesting,
files that are too large.
"""

import gzip
import json
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

__all__ = ["MOST_BYTES", "Unreadable", "json_value", "read_bytes", "read_document", "text_of", "yaml_value"]

#: A file larger than this is no document of ours, unless the caller says otherwise.
MOST_BYTES = 64 * 2**20

_DEPTH = 100
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    form: value for word, value in (("true", True), ("false", False)) for form in (word, word.title(), word.upper())
}
_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
# libyaml reads ten times as fast; not every build of PyYAML has it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Unreadable(ValueError):
    """What is wrong in a file, without the file's name: the reader of the file adds it."""


def read_document(path: Path, most_bytes: int = MOST_BYTES) -> Any:
    """The content of a file as plain data: JSON where its name ends in ``.json`` or ``.json.gz``, else YAML.

    Raises:
        Unreadable: it cannot be read, is too large, or is no such document; says where in it.
    """
    text = text_of(read_bytes(path, most_bytes))
    return json_value(text) if path.name.endswith((".json", ".json.gz")) else yaml_value(text, most_bytes)


def read_bytes(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """A file's bytes, unpacked where its name ends in ``.gz``.

    Raises:
        Unreadable: it cannot be read or unpacked, or holds more than ``most_bytes``.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data: bytes = file.read(most_bytes + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unreadable(f"the file cannot be read: {reason}; check the path") from error
    if len(data) > most_bytes:
        raise Unreadable(f"the file is too large, expected at most {most_bytes:,} bytes")
    return data


def text_of(data: bytes) -> str:
    """UTF-8 as text, without a byte order mark.

    Raises:
        Unreadable: it is not UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(
            f"the file cannot be read as text: byte {error.start + 1} is no UTF-8; save it as UTF-8"
        ) from error


def json_value(text: str) -> Any:
    """One JSON value.

    Raises:
        Unreadable: it is no JSON, gives a name twice, or holds a number that is not finite.
    """
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_finite, parse_float=_finite)
    except Unreadable:
        raise
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the file cannot be read as JSON: {error}; expected a JSON document") from error


def yaml_value(text: str, most_chars: int = MOST_BYTES) -> Any:
    """One YAML document; what an alias stands for counts towards ``most_chars``.

    Raises:
        Unreadable: it is no YAML, or one of the things that this module refuses; says at which line and column.
    """
    try:
        return _Builder(yaml.parse(text, _LOADER), most_chars).document()
    except yaml.YAMLError as error:
        raise Unreadable(
            f"the file cannot be read as YAML: {_why(error)}; expected a YAML document, and "
            "the mistake may stand some lines above"
        ) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Unreadable(f"{twice!r} is given twice, expected once; drop one")
    return made


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Unreadable(f"{text[:60]} is no number that can be used, expected a finite one")
    return number


def _why(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", None) or error)
    return " ".join((problem if mark is None else f"{_place(mark)}: {problem}").split())


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


class _Builder:
    """Plain data from YAML's events, so that nothing is made which was not asked for."""

    def __init__(self, events: Iterator[Any], most_chars: int) -> None:
        self._events, self._left, self._depth = events, most_chars, 0
        # Anchor -> what it stands for, and how many characters that is written out.
        self._anchors: dict[str, tuple[Any, int]] = {}

    def document(self) -> Any:
        next(self._events)  # the stream begins
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None
        value = self._value(next(self._events))
        next(self._events)  # the document ends
        if not isinstance(event := next(self._events), yaml.StreamEndEvent):
            raise self._wrong(event, "a second document begins, expected one a file")
        return value

    def _value(self, event: Any) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag is not None:
            raise self._wrong(event, f"the tag {event.tag!r} is not read here; drop it")
        left = self._left
        value = self._scalar(event) if isinstance(event, yaml.ScalarEvent) else self._collection(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, left - self._left
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise self._wrong(event, f"*{event.anchor} stands for nothing above it; write &{event.anchor} there")
        value, size = self._anchors[event.anchor]
        self._spend(event, size)
        return value

    def _spend(self, event: Any, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise self._wrong(event, "the file grows too large through its aliases (*); write out what is meant")

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        self._spend(event, len(text) + 1)
        if not event.implicit[0]:  # it stands in quotes, or is a block of text
            return text
        if text in _WORDS:
            return _WORDS[text]
        if not _NUMBER.match(text):
            return text
        try:
            return int(text) if _INTEGER.match(text) else _finite(text)
        except ValueError as error:
            raise self._wrong(event, f"{text[:40]} is no number that can be used, expected a finite one") from error

    def _collection(self, event: Any) -> Any:
        self._depth += 1
        if self._depth > _DEPTH:
            raise self._wrong(event, f"more than {_DEPTH} lists and mappings lie in one another")
        value = self._list() if isinstance(event, yaml.SequenceStartEvent) else self._mapping()
        self._depth -= 1
        return value

    def _list(self) -> list[Any]:
        made: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            made.append(self._value(event))
        return made

    def _mapping(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            name = self._value(event)
            if not isinstance(name, str):
                raise self._wrong(event, f"a name is {str(name)[:40]}, expected a text; put it in quotes")
            if name in made:
                raise self._wrong(event, f"{name[:60]!r} is given twice, expected once; drop one")
            made[name] = self._value(next(self._events))
        return made

    def _wrong(self, event: Any, what: str) -> Unreadable:
        return Unreadable(f"the file cannot be read as YAML: {_place(event.start_mark)}: {what}")
