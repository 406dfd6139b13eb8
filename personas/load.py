"""The only reader of persona files: YAML in, a checked Persona out, or an error that says where to look."""

from collections.abc import Sequence
from dataclasses import fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, get_args

import yaml

from therapysim.errors import PersonaError
from therapysim.personas.schema import MOODS, SPLITS, Fact, Persona, Severity, Style, Voice

__all__ = ["LIBRARY", "find", "library", "load_persona", "personas"]

#: The folder of the patients that ship with the package.
LIBRARY = Path(__file__).parent / "library"

_DEPTHS = (1, 2, 3)
_VOICE_LEAST = {"opening": 3, "express": 10, "change": 6, "sustain": 6, "ask": 4}


def load_persona(path: str | Path) -> Persona:
    """One patient, read and checked.

    Args:
        path: a YAML file named after the persona's id.

    Raises:
        PersonaError: the file cannot be read, or a field is missing, unknown, mistyped or out of range; the message
            names persona, file and field, what was found and what was expected.
    """
    path = Path(path)
    fields_of = _Fields(_mapping(path), path, "")
    fields_of.only([f.name for f in fields(Persona)])
    persona = _persona(fields_of)
    if persona.id != path.stem:
        raise fields_of.wrong("id", f"{persona.id!r}", f"{path.stem!r}, the file's name without its suffix")
    _check_risk(fields_of, persona)
    return persona


def library(folder: str | Path | None = None) -> dict[str, Persona]:
    """Every patient of a folder by id, sorted by id; read once a process.

    Args:
        folder: holds one YAML file a patient; the shipped library where None.

    Raises:
        PersonaError: the folder holds no persona file, a file is wrong, or two files bear one id.
    """
    return dict(_read_folder(Path(folder or LIBRARY).resolve()))


def personas(split: str | None = None) -> tuple[Persona, ...]:
    """The shipped patients of a split, or all of them, sorted by id.

    Raises:
        PersonaError: there is no such split.
    """
    if split is not None and split not in SPLITS:
        raise PersonaError(f"persona split is {split!r}, expected one of {', '.join(SPLITS)}, or None for all")
    return tuple(p for p in library().values() if split in (None, p.split))


def find(persona_id: str) -> Persona:
    """The shipped patient of that id.

    Raises:
        PersonaError: there is none; the message lists those there are.
    """
    shipped = library()
    if not isinstance(persona_id, str) or persona_id not in shipped:
        there = ", ".join(shipped)
        raise PersonaError(
            f"persona {persona_id!r} is unknown{_hint(str(persona_id), list(shipped))}; there are {there}"
        )
    return shipped[persona_id]


@cache
def _read_folder(folder: Path) -> dict[str, Persona]:
    paths = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    if not paths:
        raise PersonaError(f"persona folder {folder}: found no persona file, expected *.yaml, one a patient")
    found: dict[str, Persona] = {}
    for path in paths:
        persona = load_persona(path)
        if persona.id in found:
            raise _error(path, f"id is {persona.id!r} twice in this folder, expected one file an id; rename one")
        found[persona.id] = persona
    return dict(sorted(found.items()))


class _Fields:
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
        return _error(self.path, f"{self.prefix}{field} is {found}, expected {expected}")

    def only(self, known: Sequence[str]) -> None:
        """Refuses a field that nobody reads: most often it is a known one misspelt."""
        for field in self.values:
            if field not in known:
                hint = _hint(str(field), known) or f"; known are {', '.join(known)}"
                raise _error(self.path, f"{self.prefix}{field} is an unknown field{hint}")

    def get(self, field: str) -> Any:
        """The raw value."""
        if field not in self.values:
            raise _error(self.path, f"{self.prefix}{field} is missing, expected a value; add the field")
        return self.values[field]

    def text(self, field: str) -> str:
        """A text that is not blank, stripped."""
        value = self.get(field)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(field, _shown(value), "a text that is not empty (put it in quotes)")
        return value.strip()

    def texts(self, field: str, least: int = 1) -> tuple[str, ...]:
        """At least so many texts, none blank, none twice."""
        value = self.get(field)
        if not isinstance(value, list) or len(value) < least:
            found = f"a list of {len(value)}" if isinstance(value, list) else _shown(value)
            raise self.wrong(field, found, f"a list of at least {least} texts")
        items = _Fields({f"{field}[{i}]": v for i, v in enumerate(value)}, self.path, self.prefix)
        texts = tuple(items.text(name) for name in items.values)
        for i, text in enumerate(texts):
            if text in texts[:i]:
                raise self.wrong(f"{field}[{i}]", f"{text!r} a second time", "texts that differ")
        return texts

    def integer(self, field: str, low: int, high: int) -> int:
        """A whole number in [low, high]; true and false are not numbers."""
        value = self.get(field)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(field, _shown(value), f"{low}–{high}, a whole number")
        return value

    def number(self, field: str, low: float, high: float) -> float:
        """A number in [low, high]; true and false are not numbers, and neither is .nan."""
        value = self.get(field)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.wrong(field, _shown(value), f"{low}–{high}, a number")
        return float(value)

    def boolean(self, field: str) -> bool:
        """true or false; false where the field is left out."""
        value = self.values.get(field, False)
        if not isinstance(value, bool):
            raise self.wrong(field, _shown(value), "true or false")
        return value

    def choice(self, field: str, options: Sequence[str]) -> Any:
        """One of the options."""
        value = self.get(field)
        if value not in options:
            raise self.wrong(field, _shown(value), f"one of {', '.join(options)}")
        return value

    def inner(self, field: str, known: Sequence[str]) -> "_Fields":
        """The mapping under a field, which may hold the known fields only."""
        value = self.get(field)
        if not isinstance(value, dict):
            raise self.wrong(field, _shown(value), f"a mapping of {', '.join(known)}")
        inner = _Fields(value, self.path, f"{self.prefix}{field}.")
        inner.only(known)
        return inner


def _persona(f: _Fields) -> Persona:
    return Persona(
        id=f.text("id"),
        split=f.choice("split", SPLITS),
        name=f.text("name"),
        age=f.integer("age", 18, 110),
        pronouns=f.text("pronouns"),
        occupation=f.text("occupation"),
        diagnosis=f.text("diagnosis"),
        code=f.text("code"),
        severity=f.choice("severity", get_args(Severity)),
        phq9=f.integer("phq9", 0, 27),
        gad7=f.integer("gad7", 0, 21),
        presenting_problem=f.text("presenting_problem"),
        core_belief=f.text("core_belief"),
        coping=f.text("coping"),
        strengths=f.texts("strengths"),
        triggers=f.texts("triggers"),
        style=f.choice("style", get_args(Style)),
        mood=_mood(f.inner("mood", MOODS)),
        resistance=f.number("resistance", 0.0, 1.0),
        trust=f.number("trust", 0.0, 1.0),
        risk=f.integer("risk", 0, 3),
        facts=_facts(f),
        voice=_voice(f.inner("voice", list(_VOICE_LEAST))),
    )


def _mood(f: _Fields) -> tuple[float, float, float, float]:
    introspection, temper, attitude, sensitivity = (f.number(name, -1.0, 1.0) for name in MOODS)
    return introspection, temper, attitude, sensitivity


def _voice(f: _Fields) -> Voice:
    return Voice(**{name: f.texts(name, least) for name, least in _VOICE_LEAST.items()})


def _facts(f: _Fields) -> tuple[Fact, ...]:
    """The facts in order, so that a therapist who earns trust gets deeper, never shallower."""
    value = f.get("facts")
    if not isinstance(value, list) or not value:
        raise f.wrong("facts", _shown(value), "a list of at least one fact")
    listed = _Fields({f"facts[{i}]": v for i, v in enumerate(value)}, f.path, f.prefix)
    facts: list[Fact] = []
    for i, name in enumerate(listed.values):
        inner = listed.inner(name, [field.name for field in fields(Fact)])
        facts.append(_fact(inner))
        _check_order(inner, facts, i)
    return tuple(facts)


def _fact(f: _Fields) -> Fact:
    return Fact(
        id=f.text("id"),
        depth=f.integer("depth", _DEPTHS[0], _DEPTHS[-1]),
        lines=f.texts("lines", least=2),
        topics=tuple(topic.lower() for topic in f.texts("topics")),
        risk=f.boolean("risk"),
    )


def _check_order(f: _Fields, facts: list[Fact], i: int) -> None:
    fact, earlier = facts[i], facts[:i]
    if fact.id in {e.id for e in earlier}:
        raise f.wrong("id", f"{fact.id!r} a second time", "ids that differ within the persona")
    if earlier and fact.depth < earlier[-1].depth:
        raise f.wrong("depth", str(fact.depth), f"at least {earlier[-1].depth}: facts stand in order of depth")


def _check_risk(f: _Fields, persona: Persona) -> None:
    told = [fact.id for fact in persona.facts if fact.risk]
    if persona.risk >= 1 and not told:
        raise f.wrong("risk", str(persona.risk), "0, or at least one fact with 'risk: true' that tells of it")
    if persona.risk == 0 and told:
        raise f.wrong("risk", "0", f"1–3, since fact {told[0]!r} is marked 'risk: true'")


class _Loader(yaml.SafeLoader):
    """YAML without the silence over a field given twice, where the last one would win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
            if key in seen:
                problem = f"field {key!r} is given twice, expected once"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _mapping(path: Path) -> dict[str, Any]:
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise _error(path, f"the file cannot be read as YAML: {reason}; expected a mapping of fields") from error
    if not isinstance(value, dict):
        raise _error(path, f"the file is {_shown(value)}, expected a mapping of fields")
    return value


def _error(path: Path, message: str) -> PersonaError:
    return PersonaError(f"persona {path.stem!r} ({_short(path)}): {message}")


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _hint(word: str, known: Sequence[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _shown(value: Any) -> str:
    shown = "empty" if value is None else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
