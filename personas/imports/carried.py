"""One profile of another simulator as the fields of a patient: what is carried over, what only noted, what left out."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from therapysim.documents import Unreadable, read_document
from therapysim.errors import PersonaError
from therapysim.personas.consistency import METHOD
from therapysim.personas.imports.formats import FORMATS, Format, Row
from therapysim.visible import visible

__all__ = ["Carried", "carry", "read_profile", "readable"]

# A file larger than this is no profile.
_MOST_BYTES = 16 * 2**20
_NOT_YAML = re.compile("[\ufffe\uffff]")
_METHOD_NAMED = "names a method of harm, which no patient may"


@dataclass(slots=True)
class Carried:
    """What became of a profile.

    Attributes:
        values: place -> value.
        mapped: field of the profile -> places.
        notes: place -> (field, what it says, why it is only noted), one a field.
        left_out: field -> why.
    """

    values: dict[str, Any] = field(default_factory=dict)
    mapped: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def read_profile(path: Path, number: int | None = None) -> Mapping[str, Any]:
    """One profile of a file, JSON or YAML.

    Args:
        path: holds a mapping, or a list of them.
        number: which of a list, from 1; may be left out where there is one.

    Raises:
        PersonaError: it cannot be read, holds no mapping, or several and no number says which.
    """
    try:
        held = read_document(path, _MOST_BYTES)
    except Unreadable as fault:
        raise PersonaError(f"profile {path}: {fault}") from fault
    profiles = held if isinstance(held, list) else [held]
    if number is None and len(profiles) != 1:
        raise PersonaError(f"profile {path}: it holds {len(profiles)} profiles; say which by --number, from 1")
    which = 1 if number is None else number
    if not 1 <= which <= len(profiles):
        raise PersonaError(f"profile {path}: --number is {number}, expected 1 to {len(profiles)}")
    if not isinstance(found := profiles[which - 1], Mapping) or not found:
        holds = type(found).__name__ if found or not isinstance(found, Mapping) else "no field"
        raise PersonaError(f"profile {path}: it holds {holds}, expected a mapping of fields")
    return found


def carry(profile: Mapping[str, Any], name: str) -> Carried:
    """The profile's fields, each carried over, noted or left out.

    Args:
        profile: plain data.
        name: of ``FORMATS``.
    """
    told, form = Carried(), FORMATS[name]
    for path, texts in _flat(profile):
        _place(told, form, path, texts)
    return told


def _place(told: Carried, form: Format, path: str, texts: list[str]) -> None:
    name = path.rpartition(".")[2]
    rows = [row for row in form.rows if name in row.sources]
    if not texts:
        told.left_out[path] = "empty"
    elif any(METHOD.search(text) for text in texts):
        told.left_out[path] = _METHOD_NAMED
    elif not rows:
        known = sorted({source for row in form.rows for source in row.sources})
        told.left_out[path] = (
            form.left_out.get(name) or f"no field of ours, or unknown to this reader{_near(name, known)}"
        )
    for row in rows if path not in told.left_out else ():
        if (value := _value(told, row, texts)) is None:
            why = row.why if row.how == "note" else "no value that the field may have"
            told.notes.setdefault(row.place, []).append((path, "; ".join(texts), why))
        else:
            told.values[row.place] = value
            told.mapped.setdefault(path, []).append(row.place)


def _near(name: str, known: list[str]) -> str:
    """The field that is meant, perhaps: however it is spelt, in one or in several."""
    plain = re.sub(r"[\W_]+", "", name.lower())
    of = {re.sub(r"[\W_]+", "", one.lower()): one for one in known}
    close = get_close_matches(plain, of, n=1, cutoff=0.75)
    return f"; did you mean {of[close[0]]!r}?" if close else ""


def _value(told: Carried, row: Row, texts: list[str]) -> Any:
    """What the field holds then; None where the text is only noted."""
    before = told.values.get(row.place)
    if row.how == "text":
        return _joined([*([before] if before else []), *texts])
    if row.how == "list":
        return [*(before or []), *(text for text in texts if text not in (before or []))]
    if row.how == "number":
        return int(texts[0]) if len(texts) == 1 and texts[0].isascii() and texts[0].isdigit() else None
    return row.words.get(texts[0].lower()) if row.how == "word" and len(texts) == 1 else None


def _joined(texts: list[str]) -> str:
    """One text of several: a semicolon stands where none ended a sentence."""
    return " ".join([*(t if t[-1] in ".;,:!?…" else f"{t};" for t in texts[:-1]), texts[-1]])


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Every field that holds texts or numbers, with what it says; a list of mappings says all its texts."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{readable(name)}" if path else readable(name))
    else:
        yield path, [text for one in (value if isinstance(value, list) else [value]) for text in _texts(one)]


def readable(value: Any) -> str:
    """As a text that can be seen, written, and read again as YAML."""
    return _NOT_YAML.sub("", visible(str(value)))


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping | list):
        inner = value.values() if isinstance(value, Mapping) else value
        return [text for one in inner for text in _texts(one)]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return []
    text = " ".join(readable(value).split())
    return [text] if text else []
