"""The only reader of persona files: YAML in, a checked Persona out, or an error that says where to look."""

from collections.abc import Sequence
from dataclasses import fields
from functools import cache, lru_cache
from pathlib import Path
from typing import get_args

from therapysim.errors import PersonaError
from therapysim.personas.fields import Fields, error_of, hint, mapping, shown
from therapysim.personas.manifest import MANIFEST, changes, read
from therapysim.personas.schema import MOODS, SPLITS, Fact, Persona, Severity, Style, Temperament, Voice
from therapysim.personas.vary import MARK, vary

__all__ = [
    "LIBRARY",
    "find",
    "library",
    "library_hash",
    "load_persona",
    "personas",
    "read_folder",
    "training_ids",
]

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
    fields_of = Fields(mapping(path), path, "")
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
        PersonaError: the folder holds no persona file, a file is wrong, two files bear one id, or the folder's manifest
            says that a patient was changed, added or moved since it was frozen.
    """
    return dict(_checked_folder(Path(folder or LIBRARY).resolve()))


def library_hash() -> str:
    """SHA-256 of the shipped library as frozen: what a result should name.

    Raises:
        PersonaError: the library is not as it was frozen, or was never frozen.
    """
    library()
    kept = read(LIBRARY)
    if kept is None:
        raise PersonaError(f"manifest {LIBRARY / MANIFEST} is missing, expected beside the patients; install anew")
    return str(kept["sha256"])


def personas(split: str | None = None) -> tuple[Persona, ...]:
    """The shipped patients of a split, or all of them, sorted by id.

    Raises:
        PersonaError: there is no such split.
    """
    if split is not None and split not in SPLITS:
        raise PersonaError(f"persona split is {split!r}, expected one of {', '.join(SPLITS)}, or None for all")
    return tuple(p for p in library().values() if split in (None, p.split))


def training_ids(split: str = "train", ids: Sequence[str] = ()) -> tuple[str, ...]:
    """Ids of the patients that a policy may learn from: the ids given, else the split's.

    Raises:
        PersonaError: one of them is a test patient, an id or the split is unknown. A policy that has met a test patient
            can no longer be benchmarked: its score would measure memory.
    """
    chosen = [find(i) for i in ids] or personas(split)
    kept_apart = sorted(p.id for p in chosen if p.split == "test")
    if kept_apart:
        raise PersonaError(
            f"test patients ({', '.join(kept_apart)}) are kept apart for benchmarks: nothing may be trained on them; "
            "choose patients of train or dev"
        )
    return tuple(p.id for p in chosen)


def find(persona_id: str) -> Persona:
    """The shipped patient of that id, or the variant of a training patient, such as ``marta~17``.

    Raises:
        PersonaError: there is none; the message lists those there are.
    """
    if isinstance(persona_id, str) and MARK in persona_id:
        return _variant(persona_id)
    shipped = library()
    if not isinstance(persona_id, str) or persona_id not in shipped:
        there = ", ".join(shipped)
        raise PersonaError(
            f"persona {persona_id!r} is unknown{hint(str(persona_id), list(shipped))}; there are {there}"
        )
    return shipped[persona_id]


@lru_cache(maxsize=4_096)
def _variant(persona_id: str) -> Persona:
    base, _, seed = persona_id.partition(MARK)
    if not seed.isdecimal():
        raise PersonaError(
            f"persona {persona_id!r}: {seed!r} after {MARK!r} is no seed, expected such as 'marta{MARK}17'"
        )
    return vary(find(base), int(seed))


@cache
def _checked_folder(folder: Path) -> dict[str, Persona]:
    found = read_folder(folder)
    if changed := changes(folder, {i: p.split for i, p in found.items()}):
        raise PersonaError(
            f"persona folder {folder}: not as frozen in {MANIFEST}: {'; '.join(changed)}. Undo that, or freeze it anew "
            "with `python -m therapysim.personas.lint --freeze`; results with other patients do not compare"
        )
    return found


def read_folder(folder: Path) -> dict[str, Persona]:
    """Every patient of a folder by id, sorted by id, whatever its manifest says.

    Raises:
        PersonaError: the folder holds no persona file, a file is wrong, or two files bear one id.
    """
    paths = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    if not paths:
        raise PersonaError(f"persona folder {folder}: found no persona file, expected *.yaml, one a patient")
    found: dict[str, Persona] = {}
    for path in paths:
        persona = load_persona(path)
        if persona.id in found:
            raise error_of(path, f"id is {persona.id!r} twice in this folder, expected one file an id; rename one")
        found[persona.id] = persona
    return dict(sorted(found.items()))


def _persona(f: Fields) -> Persona:
    return Persona(
        id=f.text("id"),
        split=f.choice("split", SPLITS),
        name=f.text("name"),
        age=f.integer("age", 16, 110),
        pronouns=f.text("pronouns"),
        occupation=f.text("occupation"),
        living=f.text("living"),
        diagnosis=f.text("diagnosis"),
        code=f.text("code"),
        severity=f.choice("severity", get_args(Severity)),
        phq9=f.integer("phq9", 0, 27),
        gad7=f.integer("gad7", 0, 21),
        presenting_problem=f.text("presenting_problem"),
        symptoms=f.texts("symptoms"),
        core_belief=f.text("core_belief"),
        intermediate_beliefs=f.texts("intermediate_beliefs", least=2),
        automatic_thoughts=f.texts("automatic_thoughts", least=3),
        coping=f.text("coping"),
        strengths=f.texts("strengths"),
        triggers=f.texts("triggers"),
        style=f.choice("style", get_args(Style)),
        mood=_mood(f.inner("mood", MOODS)),
        resistance=f.number("resistance", 0.0, 1.0),
        trust=f.number("trust", 0.0, 1.0),
        temperament=_temperament(f.inner("temperament", [field.name for field in fields(Temperament)])),
        risk=f.integer("risk", 0, 3),
        facts=_facts(f),
        circumstances=_circumstances(f),
        voice=_voice(f.inner("voice", list(_VOICE_LEAST))),
    )


def _mood(f: Fields) -> tuple[float, float, float, float]:
    introspection, temper, attitude, sensitivity = (f.number(name, -1.0, 1.0) for name in MOODS)
    return introspection, temper, attitude, sensitivity


def _temperament(f: Fields) -> Temperament:
    return Temperament(f.number("inertia", 0.0, 1.0), f.number("reactivity", 0.0, 1.0))


def _voice(f: Fields) -> Voice:
    return Voice(**{name: f.texts(name, least) for name, least in _VOICE_LEAST.items()})


def _facts(f: Fields) -> tuple[Fact, ...]:
    """The facts in order, so that a therapist who earns trust gets deeper, never shallower."""
    facts: list[Fact] = []
    for i, inner in enumerate(_listed(f, "facts", 6)):
        facts.append(_fact(inner))
        _check_order(inner, facts, i)
    return tuple(facts)


def _circumstances(f: Fields) -> tuple[Fact, ...]:
    """What may have happened lately: facts of depth 1, told readily, without risk, and under ids of their own."""
    taken, found = {fact["id"] for fact in f.get("facts")}, []
    for inner in _listed(f, "circumstances", 3):
        fact = _fact(inner)
        if fact.id in taken or fact.depth != 1 or fact.risk:
            raise inner.wrong("id", f"{fact.id!r}", "an id of its own, depth 1 and no risk")
        taken.add(fact.id)
        found.append(fact)
    return tuple(found)


def _listed(f: Fields, field: str, least: int) -> list[Fields]:
    value = f.get(field)
    if not isinstance(value, list) or len(value) < least:
        found = f"a list of {len(value)}" if isinstance(value, list) and value else shown(value)
        raise f.wrong(field, found, f"a list of at least {least} facts")
    listed = Fields({f"{field}[{i}]": v for i, v in enumerate(value)}, f.path, f.prefix)
    return [listed.inner(name, [known.name for known in fields(Fact)]) for name in listed.values]


def _fact(f: Fields) -> Fact:
    return Fact(
        id=f.text("id"),
        depth=f.integer("depth", _DEPTHS[0], _DEPTHS[-1]),
        lines=f.texts("lines", least=2),
        topics=tuple(topic.lower() for topic in f.texts("topics")),
        risk=f.boolean("risk"),
    )


def _check_order(f: Fields, facts: list[Fact], i: int) -> None:
    fact, earlier = facts[i], facts[:i]
    if fact.id in {e.id for e in earlier}:
        raise f.wrong("id", f"{fact.id!r} a second time", "ids that differ within the persona")
    if earlier and fact.depth < earlier[-1].depth:
        raise f.wrong("depth", str(fact.depth), f"at least {earlier[-1].depth}: facts stand in order of depth")


def _check_risk(f: Fields, persona: Persona) -> None:
    told = [fact.id for fact in persona.facts if fact.risk]
    if persona.risk >= 1 and not told:
        raise f.wrong("risk", str(persona.risk), "0, or at least one fact with 'risk: true' that tells of it")
    if persona.risk == 0 and told:
        raise f.wrong("risk", "0", f"1–3, since fact {told[0]!r} is marked 'risk: true'")
