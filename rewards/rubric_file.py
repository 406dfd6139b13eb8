"""A rubric as a file, YAML or JSON: a preset, other weights and gates, terms of one's own.

preset: grpo                  # what it begins with; none for weights of 0 and no gate
weights: {reassurance: 0.5}
gates: [injection, incitement]
terms:
  thanks: {class: "mine:Thanks", weight: 0.2, range: [0, 1]}
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from therapysim.documents import Unreadable, read_document
from therapysim.errors import ConfigError
from therapysim.faults import hint, shown
from therapysim.own_code import is_place
from therapysim.rewards.own_terms import OwnTerm, is_term_name
from therapysim.rewards.rubric_settings import PRESETS, TAKEN, TERMS, RubricSettings
from therapysim.rewards.terms.safety import GATES

__all__ = ["NONE", "is_rubric_file", "read_rubric_file", "rubric_settings"]

#: The preset without weights and gates, which only a file begins with.
NONE = "none"
_PRESETS = (*PRESETS, NONE)
_FIELDS = ("preset", "weights", "gates", "terms")
_OF_A_TERM = ("class", "weight", "range")
_SUFFIXES = (".yaml", ".yml", ".json")


def is_rubric_file(name: str) -> bool:
    """Whether a name is one of a file: it ends in .yaml, .yml or .json."""
    return name.lower().endswith(_SUFFIXES)


def read_rubric_file(path: str | Path) -> RubricSettings:
    """The settings that a file says.

    Raises:
        ConfigError: it cannot be read; or all that is wrong in it, a line each: field, found, expected.
    """
    try:
        content = read_document(Path(path))
    except Unreadable as fault:
        raise ConfigError(f"rubric file {path}: {fault}") from fault
    return rubric_settings(content, f"rubric file {path}")


def rubric_settings(content: Any, where: str) -> RubricSettings:
    """The settings that plain data says, in the form of a file.

    Args:
        content: a mapping of ``preset``, ``weights``, ``gates`` and ``terms``; each may be left out.
        where: what errors call it.

    Raises:
        ConfigError: all that is wrong in it, a line each.
    """
    if not isinstance(content, Mapping):
        raise ConfigError(f"{where} is {shown(content)}, expected a mapping of some of {', '.join(_FIELDS)}")
    faults = list(_faults(content))
    settings = None if faults else _made(content, faults)
    if settings is None:
        count = "1 mistake" if len(faults) == 1 else f"{len(faults)} mistakes"
        raise ConfigError("\n  ".join([f"{where}: {count}", *faults]))
    return settings


def _made(content: Mapping[str, Any], faults: list[str]) -> RubricSettings | None:
    """The settings; None, and one fault more each, where the parts do not go together or a term cannot be had."""
    weights, gates = _base(content.get("preset") or "default")
    own = tuple(_term(name, told) for name, told in (content.get("terms") or {}).items())
    for term in own:
        try:
            term.open()
        except ConfigError as error:
            faults.append(f"terms.{term.name}.class: {error}")
    weights = weights | (content.get("weights") or {})
    chosen = content.get("gates")
    try:
        made = RubricSettings(**weights, gates=gates if chosen is None else tuple(chosen), own=own)  # type: ignore[arg-type]
    except ConfigError as error:
        faults.append(str(error))
    return None if faults else made


def _base(preset: str) -> tuple[dict[str, float], tuple[str, ...]]:
    if preset == NONE:
        return dict.fromkeys(TERMS, 0.0), ()
    return PRESETS[preset].weights, PRESETS[preset].gates


def _term(name: str, told: Mapping[str, Any]) -> OwnTerm:
    low, high = told.get("range") or (-1.0, 1.0)
    return OwnTerm(name, told["class"], told.get("weight", 1.0), float(low), float(high))


def _faults(content: Mapping[str, Any]) -> Iterator[str]:
    """Every field that is wrong by itself."""
    yield from _unknown("", content, _FIELDS)
    preset = content.get("preset")
    if preset is not None and preset not in _PRESETS:
        near = hint(preset, _PRESETS) if isinstance(preset, str) else ""
        yield f"preset: found {shown(preset)}, expected one of {', '.join(_PRESETS)}{near}"
    yield from _each("weights", content.get("weights"), "a mapping of terms to numbers", _weight)
    gates = content.get("gates")
    if gates is not None and not isinstance(gates, list | tuple):
        yield f"gates: found {shown(gates)}, expected a list of names"
    for gate in gates if isinstance(gates, list | tuple) else ():
        if gate not in GATES:
            near = hint(gate, GATES) if isinstance(gate, str) else ""
            yield f"gates: found {shown(gate)}, expected some of {', '.join(GATES)}{near}"
    yield from _each("terms", content.get("terms"), "a mapping of names to class, weight and range", _own)


def _each(field: str, held: Any, expected: str, look: Callable[[str, str, Any], Iterator[str]]) -> Iterator[str]:
    if held is not None and not isinstance(held, Mapping):
        yield f"{field}: found {shown(held)}, expected {expected}"
    for name, value in held.items() if isinstance(held, Mapping) else ():
        yield from look(f"{field}.{name}", str(name), value)


def _weight(place: str, name: str, value: Any) -> Iterator[str]:
    if name not in TERMS:
        near = hint(name, list(TERMS)) or "; one of your own stands under terms"
        yield f"{place}: no such term, expected a name of docs/rewards.md{near}"
    if not _is_number(value) or value < 0:
        yield f"{place}: found {shown(value)}, expected a finite number of at least 0"


def _own(place: str, name: str, told: Any) -> Iterator[str]:
    if name in TAKEN or not is_term_name(name):
        why = "taken" if name in TAKEN else "no name"
        yield f"{place}: this is {why}, expected another of small letters, digits and _"
    if not isinstance(told, Mapping):
        yield f"{place}: found {shown(told)}, expected a mapping of {', '.join(_OF_A_TERM)}"
        return
    yield from _unknown(f"{place}.", told, _OF_A_TERM)
    kind, weight, span = (told.get(name) for name in _OF_A_TERM)
    if not isinstance(kind, str) or not is_place(kind):
        yield f"{place}.class: found {shown(kind)}, expected package.module:Name, in quotes"
    if weight is not None and (not _is_number(weight) or weight < 0):
        least = "a finite number of at least 0; a cost has values below 0"
        yield f"{place}.weight: found {shown(weight)}, expected {least}"
    pair = isinstance(span, list | tuple) and len(span) == 2 and all(map(_is_number, span))
    if span is not None and not (pair and span[0] <= span[1]):
        yield f"{place}.range: found {shown(span)}, expected two numbers, the lower first, such as [-1, 1]"


def _unknown(place: str, held: Mapping[str, Any], known: Sequence[str]) -> Iterator[str]:
    for name in held:
        if name not in known:
            yield f"{place}{name}: no such field, expected some of {', '.join(known)}{hint(str(name), known)}"


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    except OverflowError:  # a whole number beyond what a float holds
        return False
