"""What is wrong with a record, in the house's words: field, found, expected, next step.

What is expected comes from the record's JSON schema, so that what is published and what is said are one.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import filterfalse
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

__all__ = ["differences", "every_fault", "first_fault", "hint", "printable", "shown", "wrong", "wrong_each"]

Schema = Mapping[str, Any]

_LONGEST, _MOST_NAMES = 60, 8
_MOST_DIGITS = 4_000
# What pydantic calls a field that a model, or a dataclass, does not have.
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
# What pydantic calls a text in place of something that YAML reads without quotes.
_UNQUOTED = ("bool_type", "float_type", "int_type")


def first_fault(fault: ValidationError, schema: Schema) -> str:
    """The first mistake, such as ``phq9 is 31, expected 0–27, a whole number``, and how many more there are.

    A wrong format or version is said first, then an unknown field, which is most often another one misspelt.

    Args:
        fault: as pydantic raised it.
        schema: the record's JSON schema; {} where it has none.
    """
    details = sorted(filterfalse(_echoes, fault.errors(include_url=False)), key=_rank)
    places = {
        _find(schema, detail["loc"])[0] + _name(detail) for detail in details
    }  # each once, whatever a union tried
    return _tell(details[0], schema) + (f" (and {len(places) - 1} more)" if len(places) > 1 else "")


def every_fault(fault: ValidationError, schema: Schema) -> list[str]:
    """Every mistake, each place once, in the words and the order of ``first_fault``.

    Args:
        fault, schema: as for ``first_fault``.
    """
    details = sorted(filterfalse(_echoes, fault.errors(include_url=False)), key=_rank)
    told: dict[str, str] = {}
    for detail in details:
        if detail["type"] == "none_required" and any(_below(other, detail) for other in details):
            continue  # what is wrong in it is said, not that there might have been nothing
        told.setdefault(_find(schema, detail["loc"])[0] + _name(detail), _tell(detail, schema))
        for more in detail.get("ctx", {}).get("more", ()):
            place = _joined(_find(schema, detail["loc"])[0], more["place"])
            told.setdefault(place, f"{place} is {more['found']}, expected {more['expected']}")
    return list(told.values())


def differences(name: str, before: Any, now: Any) -> str:
    """What differs between two values of plain data, such as ``rubric.mood was 10.0 and is 2.0``, field by field.

    Args:
        name: what they are called.
        before, now: what JSON can hold; mappings are compared within.
    """
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        inner = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return "; ".join(differences(f"{name}.{key}", before.get(key), now.get(key)) for key in inner)
    return f"{name} was {_short(before)} and is {_short(now)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _below(one: ErrorDetails, other: ErrorDetails) -> bool:
    return len(one["loc"]) > len(other["loc"]) and one["loc"][: len(other["loc"])] == other["loc"]


def wrong_each(faults: Sequence[tuple[str, str, str]]) -> PydanticCustomError:
    """As ``wrong``, for a validator that found several mistakes: found, expected and place of each, at least one."""
    first, *more = ({"place": place, "found": found, "expected": expected} for found, expected, place in faults)
    return PydanticCustomError("wrong", "found something else", {**first, "more": more})


def wrong(found: str, expected: str, place: str = "") -> PydanticCustomError:
    """What a validator of one's own raises, in the house's wording.

    Args:
        found, expected: what stands there, and what should.
        place: where below the value that is validated, such as ``[2].depth``; "" for the value itself.
    """
    # Braces would be read as a template; the words travel as data instead.
    return PydanticCustomError("wrong", "found something else", {"place": place, "found": found, "expected": expected})


def hint(word: str, known: Sequence[str]) -> str:
    """The known word that is meant, perhaps; "" where none is near."""
    close = get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def shown(value: Any) -> str:
    """A value as a message shows it: short, and without characters that could act on a terminal."""
    if isinstance(value, int) and abs(value) >= 10**_MOST_DIGITS:
        return "a number of thousands of digits"
    text = "empty" if value is None else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def printable(name: str) -> str:
    """A name as a message shows it: as it is, unless it is long or could act on a terminal."""
    return name if name.isprintable() and len(name) <= _LONGEST else shown(name)


def _rank(detail: ErrorDetails) -> int:
    if detail["loc"] in (("format",), ("version",)):
        return 0
    return 1 if detail["type"] in _UNKNOWN else 2


def _echoes(detail: ErrorDetails) -> bool:
    """A list that is long enough is called too short as well where one of its items is wrong."""
    return detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]


def _name(detail: ErrorDetails) -> str:
    return str(detail["loc"][-1]) if detail["type"] in _UNKNOWN else ""


def _tell(detail: ErrorDetails, schema: Schema) -> str:
    kind, context, loc = detail["type"], detail.get("ctx", {}), detail["loc"]
    if kind in _UNKNOWN:
        place, node = _find(schema, loc[:-1])
        return _unknown(str(loc[-1]), place, list(_fields(schema, node)))
    if kind == "missing" and isinstance(loc[-1], int):
        place, node = _find(schema, loc[:-1])
        return f"{place} is a list of {loc[-1]}, expected {_expected(schema, node)}"
    place, node = _find(schema, loc)
    if kind == "missing":
        return f"{place} is missing, expected {_expected(schema, node) or 'a value'}; add the field"
    if kind == "wrong":
        return f"{_joined(place, context['place'])} is {context['found']}, expected {context['expected']}"
    if kind == "value_error":  # settings that check themselves
        return f"{place}: {context['error']}" if place else str(context["error"])
    if kind == "json_invalid":
        return f"the content holds what no text may hold: {context['error']}; write it again"
    found = f"a list of {len(detail['input'])}" if kind in ("too_short", "too_long") else _shown_of(detail, node)
    expected = _expected(schema, node) or detail["msg"]
    return f"{place or 'the content'} is {found}, expected {expected}" + _meant(detail, schema, node) + _next_step(loc)


def _meant(detail: ErrorDetails, schema: Schema, node: Schema) -> str:
    """What a text stands for, perhaps: one of a few words, or a number in quotes."""
    if not isinstance(detail["input"], str):
        return ""
    known = [str(word) for option in _options(schema, node) for word in option.get("enum", ())]
    return ", without quotes" if detail["type"] in _UNQUOTED else hint(detail["input"], known)


def _shown_of(detail: ErrorDetails, node: Schema) -> str:
    return "a secret that is not shown" if node.get("writeOnly") else shown(detail["input"])


def _next_step(loc: tuple[int | str, ...]) -> str:
    return "; update TherapySim to read a newer file" if loc == ("version",) else ""


def _unknown(name: str, place: str, known: Sequence[str]) -> str:
    meant = hint(name, known) or f"; known are {', '.join(known)}"
    return f"{_joined(place, printable(name))} is an unknown field{meant}"


def _joined(place: str, name: str) -> str:
    return f"{place}{name}" if not place or not name or name.startswith("[") else f"{place}.{name}"


def _find(schema: Schema, loc: Sequence[int | str]) -> tuple[str, Schema]:
    """Where a mistake lies, such as ``facts[2].depth``, and the schema of what should stand there."""
    place, node = "", schema
    for step in loc:
        inner = _step(schema, node, step)
        if inner is not None:  # else it names a member of a union, not a place
            place, node = _joined(place, f"[{step}]" if isinstance(step, int) else printable(step)), inner
    return place, node


def _step(schema: Schema, node: Schema, step: int | str) -> Schema | None:
    for option in _options(schema, node):
        items, others = option.get("items"), option.get("additionalProperties")
        if isinstance(step, int):
            first = option.get("prefixItems", [])
            found = first[step] if step < len(first) else items
        else:
            found = option.get("properties", {}).get(step, others if step != "[key]" else None)
        if isinstance(found, Mapping) or found is True:
            return {} if found is True else found
    return None


def _fields(schema: Schema, node: Schema) -> Iterator[str]:
    for option in _options(schema, node):
        yield from option.get("properties", {})


def _options(schema: Schema, node: Schema) -> Iterator[Schema]:
    """A schema without references and unions: all that may stand there."""
    if "$ref" in node:
        yield from _options(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
    elif inner := node.get("anyOf", node.get("oneOf")):
        for option in inner:
            yield from _options(schema, option)
    else:
        yield node


def _expected(schema: Schema, node: Schema) -> str:
    """What a schema asks for, in words; "" where it asks for nothing that can be said."""
    return " or ".join(dict.fromkeys(filter(None, (_said(schema, o) for o in _options(schema, node)))))


def _said(schema: Schema, node: Schema) -> str:
    if "enum" in node or "const" in node:
        options = [str(option) for option in node.get("enum", [node.get("const")])]
        return options[0] if len(options) == 1 else f"one of {', '.join(options)}"
    kind = node.get("type")
    if kind in ("integer", "number"):
        return _number(node, "a whole number" if kind == "integer" else "a finite number")
    if kind == "string":
        return _text(node)
    if kind == "array":
        return _list(schema, node)
    if kind == "object":
        return f"a mapping{_of(list(node.get('properties', ())))}"
    return {"boolean": "true or false", "null": "nothing"}.get(str(kind), "")


def _of(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f" of {', '.join(names[:_MOST_NAMES])}{rest}" if names else ""


def _number(node: Schema, noun: str) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        return f"{low}–{high}, {noun}"
    bounds = (("minimum", "of at least"), ("exclusiveMinimum", "above"), ("maximum", "of at most"),
              ("exclusiveMaximum", "below"))  # fmt: skip
    return " ".join([noun, " and ".join(f"{words} {node[name]}" for name, words in bounds if name in node)]).strip()


def _text(node: Schema) -> str:
    if "pattern" in node:
        return str(node.get("description", f"a text like {node['pattern']}"))
    least, most = node.get("minLength", 0), node.get("maxLength")
    size = f" of at most {most} characters" if most else ""
    return f"a text{size}{' that is not empty' if least else ''} (put it in quotes)"


def _list(schema: Schema, node: Schema) -> str:
    least, most = node.get("minItems", 0), node.get("maxItems")
    item = next(_options(schema, node.get("items", {})), {})
    if "prefixItems" in node:
        item = next(_options(schema, node["prefixItems"][0]), {})
    nouns = {"string": "texts", "integer": "whole numbers", "number": "numbers"}
    noun = nouns.get(item.get("type", ""), f"{item['title'].lower()}s" if "title" in item else "items")
    if least == most:
        return f"a list of {least} {noun}"
    return f"a list of {f'at least {least} ' if least else ''}{noun}{f', at most {most}' if most else ''}"
