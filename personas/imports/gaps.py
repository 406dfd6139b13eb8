"""A patient's file with gaps: what was carried over, and null where a person is to write, with what the source says.

Or, where that is asked for, the example's line in place of each null, marked, so that the file works at once.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any, get_args, get_type_hints

from therapysim.documents import yaml_value
from therapysim.errors import PersonaError
from therapysim.faults import shown
from therapysim.personas.case import Case, Situation
from therapysim.personas.imports.carried import Carried, readable
from therapysim.personas.persona_file import write_new
from therapysim.personas.schema import Persona
from therapysim.personas.template import template_text
from therapysim.records import mistakes
from therapysim.visible import visible

__all__ = ["gaps_in", "report", "write_gaps"]

_WIDTH = 120
#: Written whole by a person, where there is any: not every patient has it.
_ONLY_WHERE = ("danger",)
_EXPECTED = re.compile(r"^(?P<place>\S+) is .*?, expected (?P<what>.*)$", re.DOTALL)


def write_gaps(carried: Carried, path: Path, source: str, *, example: bool = False) -> list[str]:
    """Writes the file, whole or not at all.

    Args:
        carried: what there is.
        path: a new file; its name is the patient's id.
        source: what the file says it came from.
        example: fills each gap with what ``persona new`` writes there, and marks it; the gaps are the same.

    Returns:
        The gaps, one a place.

    Raises:
        PersonaError: the path is no new file that ends in .yaml, its name is no id, or it cannot be written.
    """
    plain = _skeleton(carried, path.stem)
    expected = dict(_gaps(plain))
    if "id" in expected:
        raise PersonaError(f"persona file is {shown(str(path))}: its name is the id, expected {expected['id']}")
    source = " ".join(readable(source).split())
    marks = {place: f"  # gap: {what}" for place, what in expected.items()}
    head = f"# From {source}. Each null is a gap that a person fills in; `therapysim persona check` names them.\n"
    if example:
        filled = _fill(plain, yaml_value(template_text(path.stem)), "", expected)
        marks |= {place: f"  # {how}" for place, how in filled.items()}
        head = (
            f"# From {source}. What is marked is the example's, and of nobody: a person writes it anew, line by line.\n"
        )
    write_new(path, head + "\n".join(_lines(plain, "", 0, carried, marks)) + "\n")
    return list(expected)


def gaps_in(carried: Carried, persona_id: str) -> list[str]:
    """The places that a person has to fill in."""
    return [place for place, _ in _gaps(_skeleton(carried, persona_id))]


def report(carried: Carried, gaps: list[str]) -> str:
    """What was carried over, what is only noted, what was left out, and what is missing; lines of text."""
    rows = [f"carried over: {len(carried.mapped)} fields"]
    rows += [f"  {name} -> {', '.join(places)}" for name, places in carried.mapped.items()]
    noted = [(name, place, why) for place, own in carried.notes.items() for name, _, why in own]
    rows += [f"noted beside a gap: {len(noted)} fields"]
    rows += [f"  {name} -> {place} ({why})" for name, place, why in noted]
    rows += [f"left out: {len(carried.left_out)} fields"]
    rows += [f"  {name} ({why})" for name, why in carried.left_out.items()]
    return "\n".join([*rows, f"missing, to be filled in by a person: {len(gaps)} fields", *_grouped(gaps)])


def _grouped(gaps: list[str]) -> Iterator[str]:
    sections: dict[str, list[str]] = {}
    for place in gaps:
        section, _, name = place.rpartition(".")
        sections.setdefault(section, []).append(name)
    for section, names in sections.items():
        head = f"{section}: " if section else ""
        yield from wrap(f"{head}{', '.join(names)}", _WIDTH, initial_indent="  ", subsequent_indent="    ")


def _skeleton(carried: Carried, persona_id: str) -> dict[str, Any]:
    """Every field of a patient, None where nothing was carried over."""
    plain = _empty(Persona)
    plain["id"] = persona_id
    if any(place.startswith("case.situations[0]") for place in (*carried.values, *carried.notes)):
        plain["case"]["situations"] = [_empty(Situation)]
    for place, value in carried.values.items():
        *folders, name = place.replace("[0]", ".0").split(".")
        node: Any = plain
        for step in folders:
            node = node[int(step) if step.isdigit() else step]
        node[name] = value
    return plain


def _fill(node: dict[str, Any], example: Mapping[str, Any], place: str, gaps: Mapping[str, str]) -> dict[str, str]:
    """Puts the example's values where there are gaps, and behind lists that are too short; place -> its mark."""
    filled = dict[str, str]()
    for name, value in node.items():
        at, own = f"{place}.{name}" if place else name, example.get(name)
        if isinstance(value, dict):
            filled |= _fill(value, example[name], at, gaps)
            continue
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for i, item in enumerate(value):
                filled |= _fill(item, example[name][i], f"{at}[{i}]", gaps)
        if at in gaps and value is None and own is not None:
            node[name], filled[at] = own, "the example's"
        elif at in gaps and isinstance(value, list) and isinstance(own, list) and len(value) < len(own):
            node[name] = [*value, *own[len(value) :]]
            filled[at] = f"the example's behind the first {len(value)}"
    return filled


def _empty(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    names = [own.name for own in fields(kind) if not (kind is Case and own.name in _ONLY_WHERE)]
    return {name: _empty(hints[name]) if _is_record(hints[name]) else None for name in names}


def _is_record(kind: Any) -> bool:
    return is_dataclass(kind) and not get_args(kind)


def _gaps(plain: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Place -> what is expected there, of all that a patient still lacks."""
    for fault in mistakes(plain, Persona)[1]:
        found = _EXPECTED.match(fault)
        yield (found["place"], found["what"]) if found else (fault.split()[0], "")


def _lines(
    node: Mapping[str, Any], place: str, depth: int, carried: Carried, marks: Mapping[str, str]
) -> Iterator[str]:
    indent = "  " * depth
    for name, value in node.items():
        at = f"{place}.{name}" if place else name
        for source, text, _ in carried.notes.get(at, ()):
            told = visible(f"the source's {source}: {text}")
            yield from wrap(told, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   ")
        if isinstance(value, Mapping):
            yield f"{indent}{name}:{marks.get(at, '')}"
            yield from _lines(value, at, depth + 1, carried, marks)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield f"{indent}{name}:{marks.get(at, '')}"
            for i, item in enumerate(value):
                # A comment may stand before the item's first field.
                yield f"{indent}  -"
                yield from _lines(item, f"{at}[{i}]", depth + 2, carried, marks)
        else:
            yield f"{indent}{name}: {json.dumps(value, ensure_ascii=False)}{marks.get(at, '')}"
