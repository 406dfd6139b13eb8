"""A new patient's file: a commented example of fiction that already works, to be changed line by line."""

import json
from functools import cache
from pathlib import Path
from string import Template
from textwrap import fill
from typing import Literal

from therapysim.documents import yaml_value
from therapysim.errors import PersonaError
from therapysim.faults import shown
from therapysim.personas.consistency import diagnoses, symptoms
from therapysim.personas.persona_file import load_persona, write_new
from therapysim.personas.schema import Persona, Split
from therapysim.records import Record, mistakes, read_record

__all__ = ["spoken", "still_example", "template_text", "write_template"]

_HERE = Path(__file__).parent
_WIDTH = 120


class _Danger(Record):
    """``template_danger.yaml``: the fact of a danger, the no of who is in none, and the ladder of who is in one."""

    fact: str
    none: str
    ladder: str


def template_text(persona_id: str, *, name: str = "", split: Split = "train", risk: Literal[0, 1] = 0) -> str:
    """The text of a new patient's file.

    Args:
        persona_id: the file's name without its suffix.
        name: what the patient is called; the id with a capital by default.
        split: whom it is for.
        risk: 1 adds a fact that tells of passive thoughts of death, and the ladder of answers about it.

    Raises:
        PersonaError: the id or the name is none.
    """
    danger = read_record(_HERE / "template_danger.yaml", _Danger, PersonaError)
    text = Template((_HERE / "template.yaml").read_text(encoding="utf-8")).substitute(
        id=json.dumps(persona_id),
        name=json.dumps(name or persona_id[:1].upper() + persona_id[1:], ensure_ascii=False),
        file=f"{persona_id}.yaml",
        split=split,
        risk=risk,
        diagnoses=_comment("; ".join(f"{one.name}: {one.code}" for one in diagnoses().values())),
        symptoms=_comment("; ".join(f"{sign}: {about}" for sign, about in symptoms().items())),
        fact=danger.fact.rstrip("\n") if risk else "",
        danger=danger.ladder if risk else danger.none,
    )
    _, faults = mistakes(yaml_value(text), Persona)
    if faults:
        raise PersonaError(f"persona id {shown(persona_id)}, name {shown(name)}: {'; '.join(faults)}")
    return text


def write_template(path: Path, *, name: str = "", split: Split = "train", risk: Literal[0, 1] = 0) -> Persona:
    """Writes a new patient's file, whole or not at all; says who is in it.

    Raises:
        PersonaError: the path is no new file that ends in .yaml, its name is no id, or it cannot be written.
    """
    write_new(path, template_text(path.stem, name=name, split=split, risk=risk))
    return load_persona(path)


def spoken(persona: Persona) -> list[str]:
    """Every line of a patient's own, in the order of its file."""
    told = [line for fact in (*persona.facts, *persona.circumstances) for line in fact.lines]
    voice = persona.voice
    return [*told, *voice.opening, *voice.express, *voice.change, *voice.sustain, *voice.ask,
            *(line for _, line in persona.case.spoken())]  # fmt: skip


def still_example(persona: Persona) -> list[str]:
    """The lines of a patient that are the example's, word for word."""
    return [line for line in spoken(persona) if line in _example()]


@cache
def _example() -> frozenset[str]:
    people = (mistakes(yaml_value(template_text("example", risk=risk)), Persona)[0] for risk in (0, 1))  # type: ignore[arg-type]
    return frozenset(line for person in people if person for line in spoken(person))


def _comment(text: str) -> str:
    return fill(text, _WIDTH, initial_indent="#   ", subsequent_indent="#   ", break_on_hyphens=False)
