"""One mapping of a persona file, read field by field, with errors that say where to look."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from therapysim.errors import PersonaError

__all__ = ["Fields", "error_of", "hint", "mapping", "shown"]


class Fields:
    """One mapping of a persona file, read field by field.

    Attributes:
        values: the mapping as YAML gave it.
        path: the file, for messages.
        prefix: where in the file the mapping lies, such as ``facts[2].``.
    """

    def __init__(self, values: dict[str, Any], path: Path, prefix: str) -> None:
        self.values, self.path, self.prefix = values, path, prefix

    def wrong(self, field: str, found: str, expected: str) -> PersonaError:
        """The error for one field, ready to be raised."""
        return error_of(self.path, f"{self.prefix}{field} is {found}, expected {expected}")

    def only(self, known: Sequence[str]) -> None:
        """Refuses a field that nobody reads: most often it is a known one misspelt."""
        for field in self.values:
            if field not in known:
                meant = hint(str(field), known) or f"; known are {', '.join(known)}"
                raise error_of(self.path, f"{self.prefix}{field} is an unknown field{meant}")

    def get(self, field: str) -> Any:
        """The raw value."""
        if field not in self.values:
            raise error_of(self.path, f"{self.prefix}{field} is missing, expected a value; add the field")
        return self.values[field]

    def text(self, field: str) -> str:
        """A text that is not blank, stripped."""
        value = self.get(field)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(field, shown(value), "a text that is not empty (put it in quotes)")
        return value.strip()

    def texts(self, field: str, least: int = 1) -> tuple[str, ...]:
        """At least so many texts, none blank, none twice."""
        value = self.get(field)
        if not isinstance(value, list) or len(value) < least:
            found = f"a list of {len(value)}" if isinstance(value, list) else shown(value)
            raise self.wrong(field, found, f"a list of at least {least} texts")
        items = Fields({f"{field}[{i}]": v for i, v in enumerate(value)}, self.path, self.prefix)
        texts = tuple(items.text(name) for name in items.values)
        for i, text in enumerate(texts):
            if text in texts[:i]:
                raise self.wrong(f"{field}[{i}]", f"{text!r} a second time", "texts that differ")
        return texts

    def integer(self, field: str, low: int, high: int) -> int:
        """A whole number in [low, high]; true and false are not numbers."""
        value = self.get(field)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(field, shown(value), f"{low}–{high}, a whole number")
        return value

    def number(self, field: str, low: float, high: float) -> float:
        """A number in [low, high]; true and false are not numbers, and neither is .nan."""
        value = self.get(field)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.wrong(field, shown(value), f"{low}–{high}, a number")
        return float(value)

    def boolean(self, field: str) -> bool:
        """true or false; false where the field is left out."""
        value = self.values.get(field, False)
        if not isinstance(value, bool):
            raise self.wrong(field, shown(value), "true or false")
        return value

    def choice(self, field: str, options: Sequence[str]) -> Any:
        """One of the options."""
        value = self.get(field)
        if value not in options:
            raise self.wrong(field, shown(value), f"one of {', '.join(options)}")
        return value

    def inner(self, field: str, known: Sequence[str]) -> "Fields":
        """The mapping under a field, which may hold the known fields only."""
        value = self.get(field)
        if not isinstance(value, dict):
            raise self.wrong(field, shown(value), f"a mapping of {', '.join(known)}")
        inner = Fields(value, self.path, f"{self.prefix}{field}.")
        inner.only(known)
        return inner


# libyaml reads ten times as fast; not every build of PyYAML has it.
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc]
    """YAML without the silence over a field given twice, where the last one would win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                problem = f"field {key!r} is given twice, expected once"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


def mapping(path: Path) -> dict[str, Any]:
    """The fields of a persona file.

    Raises:
        PersonaError: the file is no YAML mapping, or gives a field twice.
    """
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise error_of(path, f"the file cannot be read as YAML: {reason}; expected a mapping of fields") from error
    if not isinstance(value, dict):
        raise error_of(path, f"the file is {shown(value)}, expected a mapping of fields")
    fields: dict[str, Any] = value
    return fields


def error_of(path: Path, message: str) -> PersonaError:
    """An error that names the patient and its file."""
    return PersonaError(f"persona {path.stem!r} ({_short(path)}): {message}")


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def hint(word: str, known: Sequence[str]) -> str:
    """The known word that is meant, perhaps; "" where none is near."""
    close = get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def shown(value: Any) -> str:
    """A value as a message shows it."""
    text = "empty" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
